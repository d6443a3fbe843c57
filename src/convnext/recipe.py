"""Recipe: how a network is trained, as one frozen value made of small parts.

A variant is `dataclasses.replace(base, ...)` or `with_overrides(base, ["optim.lr=1e-3"])`; a recipe saved as JSON
beside a run is enough to run it again. A leaf is named part.field, for example `optim.lr`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from convnext.dense_parts import PARTS_OF_TASKS, not_for
from convnext.dense_parts import Detect as Detect
from convnext.dense_parts import Segment as Segment
from convnext.errors import UserError, nearest
from convnext.policy import parse_randaugment
from convnext.preprocess import Interpolation
from convnext.setting import (
    Part,
    above_zero,
    at_least,
    below_one,
    choice,
    is_fraction,
    read_setting,
    setting,
    shown,
    switch,
)

Weights = Literal["auto", "ema", "raw"]
Task = Literal["classify", "detect", "segment"]


@dataclass(frozen=True, kw_only=True)
class Data(Part):
    """What a batch is.

    size          side of the training pictures in pixels
    batch_size    pictures an optimizer step, over all processes and micro-batches together; pictures left over at the
                  end of an epoch are dropped
    workers       processes that read pictures, for each process that trains; 0 reads in the training process
    val_fraction  part held out for validation where the data has no such part of its own
    reduced_decode  decode large JPEGs at half, quarter or eighth scale where the random crop allows: faster, and the
                  pixels differ a little; the paper's recipes do not
    """

    size: int = setting(64, "a whole number of pixels of at least 8", at_least(8))
    batch_size: int = setting(64, "a whole number of at least 1", at_least(1))
    workers: int = setting(2, "a whole number of at least 0", at_least(0))
    val_fraction: float = setting(0.2, "above 0 and below 1", lambda value: 0 < value < 1)
    reduced_decode: bool = switch(False)


@dataclass(frozen=True, kw_only=True)
class Augment(Part):
    """How a training picture is varied; a source may forbid what would make its labels false.

    crop_scale     share of the picture's area that a random crop takes, lowest and highest
    crop_ratio     width over height of the crop, lowest and highest
    flip           chance of a horizontal flip
    interpolation  how pictures are resized, in training and in evaluation
    randaugment    timm's text of a RandAugment policy, rand-m9-mstd0.5-inc1 in the paper; None for none
    erasing        chance that a rectangle of a picture becomes noise, a fresh normal draw for each pixel
    """

    crop_scale: tuple[float, float] = setting(
        (0.35, 1.0), "two rising numbers above 0 and at most 1", lambda pair: 0 < pair[0] <= pair[1] <= 1
    )
    crop_ratio: tuple[float, float] = setting(
        (3 / 4, 4 / 3), "two rising numbers above 0", lambda pair: 0 < pair[0] <= pair[1] < float("inf")
    )
    flip: float = setting(0.5, "a chance from 0 to 1", is_fraction)
    interpolation: Interpolation = choice("bicubic", Interpolation)
    randaugment: str | None = setting(
        None, "a policy such as rand-m9-mstd0.5-inc1, or none", lambda text: parse_randaugment(text) is not None
    )
    erasing: float = setting(0.0, "a chance from 0 to 1", is_fraction)


@dataclass(frozen=True, kw_only=True)
class Mix(Part):
    """How pictures and targets of a batch are mixed.

    mixup            alpha of Mixup: the share of two pictures is drawn from Beta(alpha, alpha); 0 for none
    cutmix           alpha of CutMix; 0 for none
    chance           of a micro-batch to be mixed at all
    switch           chance of CutMix instead of Mixup where both are on
    label_smoothing  share of the target spread evenly over all classes, inside the mixed target
    """

    mixup: float = setting(0.0, "a number of at least 0", at_least(0))
    cutmix: float = setting(0.0, "a number of at least 0", at_least(0))
    chance: float = setting(1.0, "a chance from 0 to 1", is_fraction)
    switch: float = setting(0.5, "a chance from 0 to 1", is_fraction)
    label_smoothing: float = setting(0.1, "at least 0 and below 1", below_one)

    @property
    def on(self) -> bool:
        """Whether any batch is mixed."""
        return self.chance > 0 and (self.mixup > 0 or self.cutmix > 0)


@dataclass(frozen=True, kw_only=True)
class Optim(Part):
    """The optimizer.

    name          adamw, or sgd with momentum (the ResNet recipe)
    lr            highest learning rate, absolute (not scaled by the batch)
    weight_decay  of matrices and kernels; biases, norms and LayerScale are not decayed
    decay_all     decay biases, norms and LayerScale too (the ResNet recipe)
    betas, eps    of AdamW
    momentum      of SGD
    layer_decay   factor on the learning rate from one group of layers to the one before it; 1 for none
    decay_by      what a group is: "layers", three blocks of a stage in a row, or "stages", as the official code for
                  segmentation has it, where all downsampling learns as slowly as the stem
    clip          greatest norm of the whole gradient; None for no clipping
    """

    name: Literal["adamw", "sgd"] = choice("adamw", Literal["adamw", "sgd"])

    lr: float = setting(2e-3, "a number above 0", above_zero)
    weight_decay: float = setting(0.05, "a number of at least 0", at_least(0))
    betas: tuple[float, float] = setting(
        (0.9, 0.999), "two numbers of at least 0 and below 1", lambda pair: all(0 <= beta < 1 for beta in pair)
    )
    eps: float = setting(1e-8, "a number above 0", above_zero)
    decay_all: bool = switch(False)
    momentum: float = setting(0.9, "at least 0 and below 1", below_one)
    layer_decay: float = setting(1.0, "above 0 and at most 1 (1 for none)", lambda value: 0 < value <= 1)
    decay_by: Literal["layers", "stages"] = choice("layers", Literal["layers", "stages"], rare=True)
    clip: float | None = setting(None, "a number above 0, or none", above_zero)


@dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """How long, and how the learning rate moves: linear from 0 to `optim.lr`, then down, both per step.

    epochs         passes over the training pictures
    warmup_epochs  length of the linear part, in epochs; may be a fraction
    shape          of the way down: a half cosine to `min_lr`; "step", times `step_factor` every `step_epochs`; "drops",
                   times `step_factor` at each of two epochs; "poly", a power of what is left of the run, to `min_lr`
    min_lr         where the cosine and the polynomial end
    step_epochs, step_factor   of the shape "step" (the ResNet recipe)
    drops          of the shape "drops" (COCO), epochs after the start; may be fractions
    power          of the shape "poly" (ADE20K); 1 is a straight line
    warmup_steps   length of the linear part in steps instead of `warmup_epochs`; None for epochs
    """

    epochs: int = setting(20, "a whole number of at least 1", at_least(1))
    warmup_epochs: float = setting(2.0, "a number of at least 0", at_least(0))
    min_lr: float = setting(1e-6, "a number of at least 0", at_least(0))
    shape: Literal["cosine", "step", "drops", "poly"] = choice("cosine", Literal["cosine", "step", "drops", "poly"])
    step_epochs: float = setting(30.0, "a number above 0", above_zero)
    step_factor: float = setting(0.1, "above 0 and at most 1", lambda value: 0 < value <= 1)
    drops: tuple[float, float] = setting(
        (27.0, 33.0), "two rising numbers above 0", lambda pair: 0 < pair[0] <= pair[1] < float("inf"), rare=True
    )
    power: float = setting(1.0, "a number above 0", above_zero, rare=True)
    warmup_steps: int | None = setting(None, "a whole number of at least 0, or none", at_least(0), rare=True)

    @property
    def warms_up(self) -> bool:
        """Whether the learning rate begins at 0."""
        return (self.warmup_epochs if self.warmup_steps is None else self.warmup_steps) > 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape == "drops" and self.drops[1] >= self.epochs:
            raise UserError(
                f"schedule.drops must be below schedule.epochs ({self.epochs}), got {shown(self.drops)}; "
                "--epochs moves them in proportion"
            )
        if self.warmup_steps is None and self.warmup_epochs > self.epochs:
            raise UserError(
                f"schedule.warmup_epochs must be at most schedule.epochs ({self.epochs}), got "
                f"{self.warmup_epochs:g}; a tenth of the epochs is a good start"
            )


@dataclass(frozen=True, kw_only=True)
class Regularise(Part):
    """What the network is built with.

    drop_path    stochastic depth of the last block, growing linearly from 0 over all blocks
    layer_scale  start of LayerScale in fresh weights; None keeps the model's own
    head_scale   factor on the start of a fresh head; the paper fine-tunes with 0.001
    start        which weights training goes on from, where a given checkpoint holds two sets
    """

    drop_path: float = setting(0.05, "at least 0 and below 1", below_one)
    layer_scale: float | None = setting(
        None, "above 0 and at most 10, or none for the model's own", lambda value: 0 < value <= 10
    )
    head_scale: float = setting(1.0, "a number above 0", above_zero)
    start: Weights = choice("auto", Weights)


@dataclass(frozen=True, kw_only=True)
class Ema(Part):
    """The running average of the weights, moved after every step.

    decay  share of the old average that is kept: a number; "auto", so that the average reaches over a tenth of the
           run's steps (a fixed 0.9999 in 300 steps would still be the initial weights); None for no average
    """

    decay: float | Literal["auto"] | None = setting(
        "auto",
        'at least 0 and below 1, "auto" or none for off',
        lambda value: value == "auto" or 0 <= value < 1,
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Part):
    """How validation pictures are shown to the network, and which weights choose the best epoch.

    crop     share of the side that the centre crop keeps; None follows the paper: 0.875 below 384 pixels, from there
             on the whole picture squashed to a square
    weights  "ema", "raw", or "auto": the average where there is one
    """

    crop: float | None = setting(
        None, "above 0 and at most 1, or none for the paper's rule", lambda value: 0 < value <= 1
    )
    weights: Weights = choice("auto", Weights)


@dataclass(frozen=True, kw_only=True)
class Engine(Part):
    """How the arithmetic is carried out; what is learned is the same to rounding, but for the note on micro_batch.

    precision     of the forward pass; "auto" is bfloat16 where a CUDA device has it and float32 elsewhere
    micro_batch   most pictures that go through the network at once on one device; a larger batch is accumulated.
                  Mixing draws and BatchNorm counts within a micro-batch
    compile       torch.compile the network
    parallel      over several processes: "ddp" has the network on each, "fsdp" a share of it (for L and XL)
    save_minutes  time between checkpoints inside an epoch
    log_every     steps between lines of the log
    """

    precision: Literal["auto", "float32", "bfloat16"] = choice("auto", Literal["auto", "float32", "bfloat16"])
    micro_batch: int = setting(128, "a whole number of at least 1", at_least(1))
    compile: bool = switch(False)
    parallel: Literal["ddp", "fsdp"] = choice("ddp", Literal["ddp", "fsdp"])
    save_minutes: float = setting(10.0, "a number of at least 0", at_least(0))
    log_every: int = setting(10, "a whole number of at least 1", at_least(1))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training run except the model and the data.

    detect, segment  parts that only recipes of detection and of segmentation have

    Raises UserError where two parts contradict each other.
    """

    name: str
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    mix: Mix = field(default_factory=Mix)
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Schedule)
    regularise: Regularise = field(default_factory=Regularise)
    ema: Ema = field(default_factory=Ema)
    evaluate: Evaluate = field(default_factory=Evaluate)
    engine: Engine = field(default_factory=Engine)
    detect: Detect | None = None
    segment: Segment | None = None

    @property
    def task(self) -> Task:
        """What a network learns by this recipe."""
        if self.detect is not None:
            return "detect"
        return "classify" if self.segment is None else "segment"

    def __post_init__(self) -> None:
        if self.schedule.min_lr > self.optim.lr:
            raise UserError(
                f"schedule.min_lr must be at most optim.lr ({self.optim.lr:g}), got {self.schedule.min_lr:g}"
            )
        if self.evaluate.weights == "ema" and self.ema.decay is None:
            raise UserError(
                'evaluate.weights is "ema" but ema.decay is none, so that there is no average; '
                "set ema.decay=auto or evaluate.weights=raw"
            )
        if self.detect is not None and self.segment is not None:
            raise UserError("a recipe is of detection or of segmentation, got both parts; leave out detect or segment")
        for part in (self.detect, self.segment):
            if part is not None:
                part.require_size(self.data.size)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, nested as the parts are."""
        values: dict[str, Any] = {"name": self.name}
        for leaf, value in leaves(self).items():
            part, _, name = leaf.partition(".")
            values.setdefault(part, {})[name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from `to_dict` values; a leaf that is missing takes its default, an unknown one is refused."""
        parts = _part_types()
        built: dict[str, Any] = {"name": str(values.get("name", "unnamed"))}
        for key, part in values.items():
            if key == "name":
                continue
            if key not in parts:
                raise UserError(f"a recipe has no part {key}{nearest(key, ['name', 'base', *parts])}")
            if part is None and key in PARTS_OF_TASKS:
                continue
            if not isinstance(part, Mapping):
                raise UserError(f"{key} must be a table of settings, got {part!r}")
            _require_known([f"{key}.{leaf}" for leaf in part])
            built[key] = parts[key](**part)
        return cls(**built)


def leaves(recipe: Recipe) -> dict[str, Any]:
    """Return every setting by its leaf name, part.field, in the order of the parts.

    A classification recipe does not list what only detection and segmentation are trained with, unless it is set.
    """
    found: dict[str, Any] = {}
    for part in _part_types():
        values = getattr(recipe, part)
        for one in () if values is None else fields(values):
            value = getattr(values, one.name)
            if recipe.task != "classify" or not one.metadata["rare"] or value != one.default:
                found[f"{part}.{one.name}"] = value
    return found


def diff(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the leaves in which two recipes differ, each with both values; None where one has no such part."""
    names = [f"{part}.{one.name}" for part, kind in _part_types().items() for one in fields(kind)]
    pairs = {leaf: (value_of(one, leaf), value_of(other, leaf)) for leaf in names}
    return {leaf: pair for leaf, pair in pairs.items() if pair[0] != pair[1]}


def value_of(recipe: Recipe, leaf: str) -> Any:
    """Return the value of a leaf, also of one that `leaves` does not list; None where there is no such part."""
    part, _, name = leaf.partition(".")
    values = getattr(recipe, part)
    return None if values is None else getattr(values, name)


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return the recipe with settings written LEAF=VALUE replaced, all at once.

    Numbers are written as in Python, pairs as 0.9,0.999, and "none" is no value. UserError for an unknown leaf (near
    ones are offered), one of a part that the recipe does not have, or a value that the leaf does not take.
    """
    changes: dict[str, dict[str, Any]] = {}
    for override in overrides:
        leaf, value = read_setting(override)
        _require_known([leaf])
        part, _, name = leaf.partition(".")
        if getattr(recipe, part) is None:
            raise UserError(not_for(leaf, recipe.name))
        changes.setdefault(part, {})[name] = value
    parts = {part: replace(getattr(recipe, part), **values) for part, values in changes.items()}
    return replace(recipe, **parts)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe for another number of epochs, what is counted in epochs shortened or stretched in proportion.

    A warm-up that is counted in steps stays as it is: it is for the optimizer to learn how large gradients are.
    """
    before = recipe.schedule
    stretch = epochs / before.epochs
    schedule = replace(
        before,
        epochs=epochs,
        warmup_epochs=stretch * before.warmup_epochs,
        step_epochs=stretch * before.step_epochs if before.shape == "step" else before.step_epochs,
        drops=(stretch * before.drops[0], stretch * before.drops[1]) if before.shape == "drops" else before.drops,
    )
    return replace(recipe, schedule=schedule)


def with_size(recipe: Recipe, size: int) -> Recipe:
    """Return the recipe for another `data.size`, all other sizes of pictures changed in proportion."""
    data, stretch = replace(recipe.data, size=size), size / recipe.data.size
    detect = recipe.detect and recipe.detect.stretched(stretch)
    segment = recipe.segment and recipe.segment.stretched(stretch)
    return replace(recipe, data=data, detect=detect, segment=segment)


def _part_types() -> dict[str, type[Part]]:
    hints = get_type_hints(Recipe)
    # Of an optional part, Detect | None, the part.
    return {one.name: (*get_args(hints[one.name]), hints[one.name])[0] for one in fields(Recipe) if one.name != "name"}


def _require_known(names: Iterable[str]) -> None:
    known = [f"{part}.{one.name}" for part, kind in _part_types().items() for one in fields(kind)]
    for name in names:
        if name not in known:
            raise UserError(f"a recipe has no setting {name}{nearest(name, known)}")
