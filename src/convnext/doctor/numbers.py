"""The plan of a run in numbers: batch, steps, learning rate, average, size and cost, by arithmetic alone."""

from dataclasses import dataclass, replace

from convnext.doctor.facts import Facts
from convnext.layout import layout, walk
from convnext.models import model_cost
from convnext.peer_spec import Spec
from convnext.recipe import Recipe
from convnext.spec import NetSpec
from convnext.train.distributed import pieces
from convnext.train.ema import ema_decay
from convnext.train.fitted import fitted_batch
from convnext.train.schedule import warmup_steps
from convnext.train.usual_lr import usual_lr

FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a recipe, a network and a data set amount to.

    batch_size           pictures an optimizer step: processes x micro_batches x micro_batch
    steps_per_epoch, steps, warmup_steps   optimizer steps
    usual_lr             what published recipes would have at this batch; None in detection and segmentation, where they
                         have one rate at one batch
    ema_decay            of the average of the weights; None without one
    params, gmacs        of the network; multiply-adds of one picture, in 1e9, None where nobody can count them
    stage_sides_px       side of the maps of each stage, the last one being what the head sees
    """

    batch_size: int
    processes: int
    micro_batches: int
    micro_batch: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    lr: float
    usual_lr: float | None
    ema_decay: float | None
    params: int
    gmacs: float | None
    size: int
    stage_sides_px: tuple[int, ...]

    @property
    def times_usual(self) -> float | None:
        """The learning rate as a multiple of the usual one; None where nothing is usual."""
        return None if self.usual_lr is None else self.lr / self.usual_lr

    @property
    def ema_steps(self) -> float | None:
        """Over how many steps the average reaches; None without one."""
        return None if self.ema_decay is None else 1 / (1 - self.ema_decay)

    @property
    def initial_share(self) -> float:
        """How much of the average is still the initial weights at the end of the run, 0 to 1; 0 without an average."""
        return 0.0 if self.ema_decay is None else float(self.ema_decay**self.steps)


@dataclass(frozen=True, kw_only=True)
class Headed:
    """What is asked of a detector or a segmenter, beside the network below its head.

    params, gmacs  head included; GMACs of a picture of `size`, None where they cannot be counted
    size           height and width in pixels
    has_masks      whether masks are learned
    frozen_norms   whether the network's BatchNorms keep their numbers
    given          whether the head's weights are given too
    """

    params: int
    gmacs: float | None
    size: tuple[int, int]
    has_masks: bool
    frozen_norms: bool
    given: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the rules look at: the recipe with a batch that the data can fill, the batch that was asked for, ...

    spec     of the classifier, or of the network below the head
    headed   the detector or segmenter; None in classification
    """

    recipe: Recipe
    asked_batch: int
    spec: Spec
    facts: Facts
    numbers: Numbers
    headed: Headed | None = None

    @property
    def least_micro_batch(self) -> int:
        """The fewest pictures that may go through the network at once: BatchNorm at a single pixel needs two."""
        return 2 if self.recipe.task == "segment" else 1

    @property
    def weights_bytes(self) -> int:
        """All weights that are saved: raw, and the average where there is one."""
        return FLOAT_BYTES * self.numbers.params * (1 if self.numbers.ema_decay is None else 2)

    @property
    def moments_bytes(self) -> int:
        """What the optimizer keeps of past gradients."""
        return FLOAT_BYTES * self.numbers.params * (1 if self.recipe.optim.name == "sgd" else 2)

    @property
    def state_bytes(self) -> int:
        """What training holds whatever the batch: weights, moments and gradients."""
        return self.weights_bytes + self.moments_bytes + FLOAT_BYTES * self.numbers.params

    @property
    def epoch_bytes(self) -> int:
        """What is written at the end of an epoch that is better than all before."""
        return 2 * self.weights_bytes + self.moments_bytes

    @property
    def run_bytes(self) -> int:
        """Room that a run's files take at most: last, previous and the one being written whole, and the best."""
        return 3 * (self.weights_bytes + self.moments_bytes) + 2 * self.weights_bytes


def plan_of(recipe: Recipe, spec: Spec, facts: Facts, *, headed: Headed | None = None) -> Plan:
    """Return the plan of a run as it would be carried out.

    spec     of the classifier, or of the network below a detector's or segmenter's head
    headed   the detector or segmenter; a classifier is counted here

    UserError when the processes cannot share the batch, or the pictures are too small for the network.
    """
    batch = fitted_batch(
        recipe.data.batch_size,
        facts.num_train,
        processes=facts.processes,
        micro_batch=recipe.engine.micro_batch,
    )
    fitted = replace(recipe, data=replace(recipe.data, batch_size=batch))
    spec = replace(spec, num_classes=facts.num_classes)
    return Plan(
        recipe=fitted,
        asked_batch=recipe.data.batch_size,
        spec=spec,
        facts=facts,
        numbers=_numbers(fitted, spec, facts, headed),
        headed=headed,
    )


def _numbers(recipe: Recipe, spec: Spec, facts: Facts, headed: Headed | None) -> Numbers:
    batch = recipe.data.batch_size
    micro_batches = pieces(batch, facts.processes, recipe.engine.micro_batch)
    steps_per_epoch = facts.num_train // batch
    steps = recipe.schedule.epochs * steps_per_epoch
    params: int
    gmacs: float | None
    usual: float | None
    if headed is None:
        cost = model_cost(spec, recipe.data.size)
        params, gmacs = cost.params, cost.gmacs
        usual = usual_lr(recipe.optim, batch, pretrained=facts.pretrained)
    else:
        params, gmacs, usual = headed.params, headed.gmacs, None
    return Numbers(
        batch_size=batch,
        processes=facts.processes,
        micro_batches=micro_batches,
        micro_batch=batch // facts.processes // micro_batches,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        warmup_steps=warmup_steps(recipe.schedule, steps_per_epoch),
        lr=recipe.optim.lr,
        usual_lr=usual,
        ema_decay=None if recipe.ema.decay is None else ema_decay(recipe.ema.decay, steps),
        params=params,
        gmacs=gmacs,
        size=recipe.data.size,
        stage_sides_px=stage_sides_px(spec, recipe.data.size),
    )


def stage_sides_px(spec: Spec, size: int) -> tuple[int, ...]:
    """Return the side of the maps that each stage works on; of another library's network nothing is known.

    UserError when nothing is left of a picture.
    """
    if not isinstance(spec, NetSpec):
        return ()
    sides: dict[str, int] = {}
    for part, conv, side in walk(layout(spec), size):
        if part != "stem":
            sides[part] = conv.output_size(side)
    return tuple(sides.values())
