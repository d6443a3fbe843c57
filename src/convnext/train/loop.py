"""The training loop: fetch, step, log, score, save. It knows the Task protocol and no task."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from convnext.errors import UserError
from convnext.recipe import Recipe
from convnext.train.alarm import Alarms
from convnext.train.causes import nan_causes
from convnext.train.chance import private_randomness
from convnext.train.checkpoint import BEST, LAST, PREVIOUS, Best, Checkpoint, Progress, save_checkpoint
from convnext.train.device import chosen_convolutions
from convnext.train.distributed import OtherProcessError
from convnext.train.engine import Engine, NotFiniteError, Place
from convnext.train.journal import Journal
from convnext.train.progress import Reporter, RunStart, StepReport
from convnext.train.schedule import warmup_steps
from convnext.train.score import Weights, score
from convnext.train.sharded import LAST_FOLDER, PREVIOUS_FOLDER, forget_other_form, save_sharded
from convnext.train.sharding import is_spread
from convnext.train.signals import Stopped, StopRequest
from convnext.train.task import BatchT, ReadyT, Task
from convnext.train.track import Tracker, open_trackers

LOG = "log.jsonl"
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is carried out, as opposed to what it learns.

    folder       where checkpoints and log go
    title        the line that opens the report
    seed         decides every step's randomness
    place        device, precision, and which of several processes this is
    description  metadata of the checkpoints, by name
    track        services that follow the run: tensorboard, wandb
    """

    folder: Path
    title: str
    seed: int
    place: Place
    description: Mapping[str, Any]
    track: tuple[str, ...] = ()


class Trainer(Generic[BatchT, ReadyT]):
    """Trains a model on a task, from the start or from a checkpoint on."""

    def __init__(
        self,
        task: Task[BatchT, ReadyT],
        model: nn.Module,
        recipe: Recipe,
        settings: Settings,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.task, self.recipe, self.settings, self.reporter = task, recipe, settings, reporter
        self.world = settings.place.world
        self.engine = Engine(task, model, recipe, settings.place, settings.seed)
        self.epochs, self.steps = recipe.schedule.epochs, self.engine.steps
        self.journal = Journal(settings.folder / LOG)
        self.progress = Progress()
        if checkpoint is not None:
            checkpoint.restore(self.engine.model, self.engine.ema, self.engine.optimizer)
            self.progress = checkpoint.progress
        self._spread = is_spread(self.engine.model)
        self.best_of = self._weights_that_choose()
        own = self.progress.of_process(self.world.rank, self.world.size)
        self._tally = _Tally(own, settings.place.device)
        self._unreadable: dict[str, str] = {}
        self._clock = self._lap = self._saved = time.perf_counter()
        self._logged = self.progress.images_seen, self.progress.train_seconds
        self._trackers: list[Tracker] = []
        self._alarms = Alarms(
            recipe, steps=self.steps, target=task.target, chance=task.chance_level, history=self.progress.history
        )
        self._stop = StopRequest()

    @property
    def interrupted(self) -> bool:
        """Whether a signal came, be it only after the last step."""
        return self._stop.requested

    def run(self) -> bool:
        """Train to the end and return True, or False when a signal stopped it after saving.

        UserError when the loss stops being a number or a file cannot be written; last.safetensors is then the last
        good state.
        """
        with self._stop:
            try:
                self._begin()
                device = self.settings.place.device
                with private_randomness(device), chosen_convolutions(device, one_size=self.task.one_size):
                    while self.progress.epoch < self.epochs:
                        self._epoch()
            except Stopped:
                self._save_last()
                return False
            finally:
                for tracker in self._trackers:
                    tracker.close()
                self.reporter.stop()
        return True

    def _begin(self) -> None:
        progress = self.progress
        self._clock = time.perf_counter()
        with self.world.together():
            if self.world.first:
                self.journal.go_on(step=progress.step, epoch=progress.epoch)
                self._trackers = open_trackers(
                    self.settings.track,
                    self.settings.folder,
                    title=self.settings.folder.name,
                    config=self.settings.description,
                    first_step=progress.step,
                    warn=self.reporter.warn,
                )
        self.reporter.start(
            RunStart(
                title=self.settings.title,
                epochs=self.epochs,
                steps=self.steps,
                first_step=progress.step,
                first_epoch=progress.epoch,
                target=self.task.target,
                seconds=progress.seconds,
            )
        )
        if progress.step == 0:
            self._save_last()
        self._saved = time.perf_counter()

    def _epoch(self) -> None:
        self.engine.model.train()
        self._lap = time.perf_counter()
        epoch = self.progress.epoch
        done = self.progress.step - epoch * self.engine.steps_per_epoch
        for batches in self.engine.epoch(epoch, done):
            self._step(batches)
            self._stop_or_save()
        # A GPU may still be working through the last steps; their time belongs to training, not to scoring.
        self._tally.loss_sum.item()
        waited = time.perf_counter() - self._lap
        self.progress = replace(self.progress, train_seconds=self.progress.train_seconds + waited)
        self._end_epoch()

    def _step(self, batches: Iterable[BatchT]) -> None:
        progress = self.progress
        lr = self.engine.learning_rate(progress.step)
        try:
            step = self.engine.step(self._noting_unreadable(batches), progress.step)
        except NotFiniteError as error:
            raise UserError(self._not_finite(error.loss, progress.step + 1)) from error
        self._tally.add(step.loss_sum, step.pictures)
        # From one step's end to the next, so that waiting for pictures counts too.
        now = time.perf_counter()
        self.progress = replace(
            progress, step=progress.step + 1, train_seconds=progress.train_seconds + now - self._lap
        )
        self._lap = now
        self._report(step.loss_sum, step.pictures, lr)

    def _noting_unreadable(self, batches: Iterable[BatchT]) -> Iterator[BatchT]:
        for batch in batches:
            self._unreadable.update(batch.unreadable)
            yield batch

    def _stop_or_save(self) -> None:
        """Do what any process wants: stop, or save because the last time is long ago."""
        due = time.perf_counter() - self._saved >= 60 * self.recipe.engine.save_minutes
        stop, save = self.world.agree(self._stop.requested, due)
        if stop:
            raise Stopped
        # The end of an epoch saves anyway.
        if save and self.progress.step % self.engine.steps_per_epoch:
            self._save_last()

    def _report(self, loss_sum: Tensor, pictures: int, lr: float) -> None:
        step = self.progress.step
        logged = step % self.recipe.engine.log_every == 0 or step % self.engine.steps_per_epoch == 0
        # Reading the loss waits for a GPU, so between lines of the log it is read on the CPU only.
        if not logged and (self.settings.place.device.type != "cpu" or self.world.size > 1):
            return
        total, count = self.world.total(loss_sum.item(), pictures)
        self._update_counts()
        report = StepReport(
            epoch=self.progress.epoch + 1,
            step=step,
            loss=total / count if count else None,
            lr=lr,
            images_per_second=self._images_per_second(),
        )
        self._tell_unreadable()
        self.reporter.step(report)
        if logged:
            self._write(
                {
                    "kind": "step",
                    "step": report.step,
                    "epoch": report.epoch,
                    "loss": report.loss,
                    "lr": lr,
                    "images_per_second": round(report.images_per_second, 1),
                }
            )
            warning = self._alarms.step(step, report.loss)
            if warning is not None:
                self.reporter.warn(warning)
            self._logged = self.progress.images_seen, self.progress.train_seconds

    def _write(self, row: dict[str, Any]) -> None:
        """Write a row of the log and send it on to the trackers."""
        if self.world.first:
            self.journal.write(row)
            for tracker in self._trackers:
                tracker.log(row)

    def _images_per_second(self) -> float:
        """Return the speed since the last line of the log, or over the whole run where there is none."""
        images, seconds = self._logged
        since = self.progress.images_seen - images, self.progress.train_seconds - seconds
        if since[0] == 0:
            since = self.progress.images_seen, self.progress.train_seconds
        return since[0] / max(since[1], 1e-9)

    def _update_counts(self) -> None:
        """Bring the sums over all processes into `progress`; UserError when the loss is no number any more."""
        tallies = self.world.gather(self._tally.values())
        loss_sums, images, images_seen = (tuple(values) for values in zip(*tallies, strict=True))
        if not all(map(math.isfinite, loss_sums)):
            text = self._not_finite(sum(loss_sums), self.progress.step)
            raise UserError(text) if self.world.first else OtherProcessError(text)
        self.progress = replace(self.progress, loss_sums=loss_sums, images=sum(images), images_seen=sum(images_seen))

    def _not_finite(self, loss: float, step: int) -> str:
        last = self.settings.folder / (LAST_FOLDER if self._spread else LAST)
        return (
            f"the loss became {loss} in epoch {self.progress.epoch + 1} by step {step} of {self.steps}, "
            f"learning rate {self.engine.learning_rate(self.progress.step):.3g}; the last good checkpoint is {last}. "
            + nan_causes(
                self.recipe,
                step=step,
                warmup_steps=warmup_steps(self.recipe.schedule, self.engine.steps_per_epoch),
                precision=self.settings.place.precision,
            )
        )

    def _tell_unreadable(self) -> None:
        if self.world.size == 1 and not self._unreadable:
            return
        for reasons in self.world.gather(self._unreadable):
            for name, reason in reasons.items():
                if name not in self.progress.unreadable:
                    self.progress = replace(self.progress, unreadable=(*self.progress.unreadable, name))
                    self.reporter.warn(f"left out: {reason if name in reason else f'{name}: {reason}'}")
        self._unreadable.clear()

    def _end_epoch(self) -> None:
        self._update_counts()
        scores = self._score()
        progress = self.progress
        chosen = scores[self.best_of]
        assert chosen is not None, "the recipe says that there is an average"
        value = float(chosen[self.task.target])
        # Only a better epoch takes its place: among equals the earlier one stays.
        is_best = progress.best is None or value > progress.best.value
        row = {
            "kind": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.images if progress.images else None,
            "images_per_second": round(progress.images_seen / max(progress.train_seconds, 1e-9), 1),
            "seconds": round(self._seconds(), 3),
            **scores,
            "best": is_best,
        }
        self.progress = replace(
            progress,
            epoch=progress.epoch + 1,
            best=Best(epoch=progress.epoch + 1, weights=self.best_of, value=value) if is_best else progress.best,
            history=(*progress.history, row),
        )
        self._tally.new_epoch()
        self._write_epoch(row)

    def _write_epoch(self, row: dict[str, Any]) -> None:
        """Write best, log and last in this order: whatever a kill leaves behind, last goes on and makes the rest."""
        if row["best"]:
            self._save(BEST, with_optimizer=False, metrics=row[self.best_of])
        self._write(row)
        self._save_last()
        self.reporter.epoch(row)
        for warning in self._alarms.epoch(row):
            self.reporter.warn(warning)

    def _score(self) -> dict[str, dict[str, Any] | None]:
        place = self.settings.place
        scores = score(
            self.task,
            self.engine.models(),
            self._unless_stopped(self.task.val_batches()),
            device=place.device,
            precision=place.precision,
            world=self.world,
        )
        self._unreadable.update(scores["raw"].unreadable)
        self._tell_unreadable()
        return {"raw": None, "ema": None} | {name: dict(scored.values) for name, scored in scores.items()}

    def _unless_stopped(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items, of which all processes have equally many; raise Stopped once a signal came to any."""
        for item in items:
            if any(self.world.agree(self._stop.requested)):
                raise Stopped
            yield item

    def _weights_that_choose(self) -> Weights:
        wanted = self.recipe.evaluate.weights
        if wanted == "auto":
            return "raw" if self.engine.ema is None else "ema"
        return wanted

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self._clock

    def _save_last(self) -> None:
        metrics = self.progress.history[-1][self.best_of] if self.progress.history else {}
        self._save(LAST, with_optimizer=True, metrics=metrics)
        self._saved = self._lap = time.perf_counter()

    def _save(self, name: str, *, with_optimizer: bool, metrics: Mapping[str, Any]) -> None:
        self._tell_unreadable()
        self._update_counts()
        self.progress = replace(self.progress, seconds=self._seconds())
        self._clock = time.perf_counter()
        folder, engine = self.settings.folder, self.engine
        description = {**self.settings.description, "weights": self.best_of, "metrics": dict(metrics)}
        if name == LAST and self._spread:
            save_sharded(
                folder / LAST_FOLDER,
                model=engine.model,
                ema=engine.ema,
                optimizer=engine.optimizer,
                progress=self.progress,
                description=description,
                keep=folder / PREVIOUS_FOLDER,
                world=self.world,
            )
        else:
            save_checkpoint(
                folder / name,
                model=engine.model,
                ema=engine.ema,
                optimizer=engine.optimizer if with_optimizer else None,
                progress=self.progress,
                description=description,
                keep=folder / PREVIOUS if name == LAST else None,
                world=self.world,
            )
        if name == LAST and self.world.first:
            forget_other_form(folder, spread=self._spread)


class _Tally:
    """Sums over this process's pictures since the epoch began, and their number since the run began."""

    def __init__(self, progress: Progress, device: torch.device) -> None:
        # float64 holds the sum exactly enough; MPS has none.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.loss_sum = torch.tensor(progress.loss_sum, dtype=exact, device=device)
        self.images, self.images_seen = progress.images, progress.images_seen

    def add(self, loss_sum: Tensor, pictures: int) -> None:
        """Add a step."""
        self.loss_sum += loss_sum
        self.images += pictures
        self.images_seen += pictures

    def values(self) -> tuple[float, int, int]:
        """Return loss sum, pictures of the epoch and pictures of the run; this waits for a GPU."""
        return self.loss_sum.item(), self.images, self.images_seen

    def new_epoch(self) -> None:
        """Begin an epoch."""
        self.loss_sum.zero_()
        self.images = 0
