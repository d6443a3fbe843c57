"""One optimizer step, however it is carried out: micro-batches, precision, clipping, compiling, several processes.

The model and its average stay plain modules with plain names, which are scored and saved; what trains may be a compiled
or distributed view of the same weights.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from convnext.errors import UserError
from convnext.recipe import Recipe
from convnext.train.chance import chance, step_seeds
from convnext.train.device import autocast
from convnext.train.distributed import ALONE, World
from convnext.train.ema import Ema, average_of, ema_decay
from convnext.train.optim import build_optimizer, parameter_groups, set_learning_rate
from convnext.train.schedule import learning_rate
from convnext.train.sharding import is_spread, own, spread
from convnext.train.task import BatchT, ReadyT, Task

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and in which precision a network is trained, and as which of several processes."""

    device: torch.device
    precision: Literal["float32", "bfloat16"] = "float32"
    world: World = ALONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What a step did: the loss summed over its pictures, a float64 scalar on the device, and how many there were.

    Both are of this process alone; `pictures` is 0 where none could be read and nothing was learned.
    """

    loss_sum: Tensor
    pictures: int


class NotFiniteError(Exception):
    """The loss of a micro-batch is no finite number; nothing was learned from it."""

    def __init__(self, loss: float) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss = loss


class Engine(Generic[BatchT, ReadyT]):
    """The model in training, its average and its optimizer, carried out as a recipe says.

    recipe  with a batch that the data can fill
    place   device, precision, and which of several processes this is
    seed    of each step's chance

    `steps` is the length of the whole run, which the schedule and the "auto" average follow. UserError for
    micro-batches of one picture, of which BatchNorm cannot learn.
    """

    def __init__(self, task: Task[BatchT, ReadyT], model: nn.Module, recipe: Recipe, place: Place, seed: int) -> None:
        self.task, self.recipe, self.place, self.seed = task, recipe, place, seed
        self.batches = task.train_batches()
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = recipe.schedule.epochs * self.steps_per_epoch
        self.model = model.to(place.device)
        groups = parameter_groups(self.model, recipe.optim)
        decay = recipe.ema.decay
        average = None if decay is None else average_of(self.model)
        if recipe.engine.parallel == "fsdp" and place.world.size > 1:
            for one in (self.model, average):
                if one is not None:
                    spread(one, place.device, place.world.size)
        self.optimizer = build_optimizer(self.model, groups, recipe.optim)
        self.ema = None if decay is None else Ema(self.model, ema_decay(decay, self.steps), average=average)
        self.forward = self._forward()
        # BatchNorm has no variance to divide by when only one picture of a batch could be read.
        self.fewest = 2 if any(isinstance(layer, BATCH_NORMS) for layer in self.model.modules()) else 1
        # Of this process, in a step in which all can be read.
        self.pictures = recipe.data.batch_size // place.world.size
        if self.pictures // self.batches.micro_batches < self.fewest:
            raise UserError(
                "micro-batches of one picture have no variance, so a net with BatchNorm learns nothing of them; take a "
                "larger engine.micro_batch and data.batch_size"
            )
        self._generator = torch.Generator(place.device)

    def _forward(self) -> nn.Module:
        forward: Any = self.model
        if self.place.world.size > 1 and not is_spread(self.model):
            devices = [self.place.device] if self.place.device.type == "cuda" else None
            forward = DistributedDataParallel(self.model, device_ids=devices, gradient_as_bucket_view=True)
        return torch.compile(forward) if self.recipe.engine.compile else forward  # type: ignore[return-value]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, before the factor of its group."""
        recipe = self.recipe
        return learning_rate(step, recipe.schedule, lr=recipe.optim.lr, steps_per_epoch=self.steps_per_epoch)

    def step(self, batches: Iterable[BatchT], step: int) -> Step:
        """Learn from the micro-batches of a step, counted from 0.

        A picture that cannot be read adds nothing to the gradient, whichever micro-batch or process it fell to.
        NotFiniteError when the loss is no number (on a CPU, where it is at hand; elsewhere whoever reads it will see).
        """
        set_learning_rate(self.optimizer, self.learning_rate(step))
        exact = torch.float32 if self.place.device.type == "mps" else torch.float64
        total = torch.zeros((), dtype=exact, device=self.place.device)
        pictures = 0
        for number, batch in enumerate(batches):
            count = len(batch.indices)
            if count < self.fewest and self._may_pass(batch):
                continue
            last = number == self.batches.micro_batches - 1
            loss = self._backward(batch, step, number, last=last)
            if count:
                total += count * loss
                pictures += count
        if pictures or self.place.world.size > 1:
            self._move()
        return Step(loss_sum=total, pictures=pictures)

    def _backward(self, batch: BatchT, step: int, number: int, *, last: bool) -> Tensor:
        """Add a micro-batch's share of the gradient, by its pictures, and return its mean loss."""
        place = self.place
        model_seed, task_seed = step_seeds(self.seed, step, rank=place.world.rank, micro_batch=number)
        torch.manual_seed(model_seed)
        ready = self.task.prepare(batch, place.device, chance(task_seed, self._generator))
        with self._sharing(last):
            with autocast(place.device, place.precision):
                loss = self.task.loss(self.forward, ready)["total"]
            count = len(batch.indices)
            if count and place.device.type == "cpu" and not bool(torch.isfinite(loss)):
                raise NotFiniteError(loss.item())
            (loss * (count / self.pictures)).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _sharing(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of a micro-batch: only the last one of a step sends gradients to the other processes."""
        if self.place.world.size == 1 or self.batches.micro_batches == 1:
            return nullcontext()
        if is_spread(self.model):
            gathered: Any = self.model
            gathered.set_requires_gradient_sync(last)
            return nullcontext()
        plain: Any = getattr(self.forward, "_orig_mod", self.forward)
        context: AbstractContextManager[object] = nullcontext() if last else plain.no_sync()
        return context

    def _move(self) -> None:
        clip = self.recipe.optim.clip
        if clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()

    def _may_pass(self, batch: BatchT) -> bool:
        """Whether a micro-batch with too few readable pictures may be left out: the other processes wait for it.

        An empty one goes through the network all the same, and its gradient is zero.
        """
        if self.place.world.size == 1:
            return True
        if len(batch.indices) == 0:
            return False
        raise UserError(
            f"process {self.place.world.rank} could read one picture of a micro-batch only, of which BatchNorm cannot "
            f"learn ({next(iter(batch.unreadable.values()), '')}); convnext data check lists the bad files"
        )

    def models(self) -> dict[Literal["raw", "ema"], nn.Module]:
        """Return the weights that are scored, by name, the buffers of all processes made those of the first one."""
        found: dict[Literal["raw", "ema"], nn.Module] = {"raw": self.model}
        if self.ema is not None:
            found["ema"] = self.ema.model
        if self.place.world.size > 1:
            for buffer in (own(buffer) for model in found.values() for buffer in model.buffers()):
                torch.distributed.broadcast(buffer, src=0)
        return found

    def epoch(self, epoch: int, first_step: int) -> Iterator[Iterator[BatchT]]:
        """Yield for each step of an epoch, from `first_step` on, its micro-batches."""
        batches = self.batches.epoch(epoch, first_step)
        for _ in range(first_step, self.steps_per_epoch):
            yield (next(batches) for _ in range(self.batches.micro_batches))
