"""The training loop: fetch, prepare, loss, step, average, score, save. It knows the Task protocol and no task."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal

import torch
from torch import Tensor, nn

from convnext.errors import UserError
from convnext.recipe import Recipe
from convnext.train.chance import private_randomness, step_seeds
from convnext.train.checkpoint import Best, Checkpoint, Progress, save_checkpoint
from convnext.train.device import autocast
from convnext.train.ema import Ema, ema_decay
from convnext.train.journal import Journal
from convnext.train.optim import build_optimizer, parameter_groups, set_learning_rate
from convnext.train.progress import Reporter, RunStart, StepReport
from convnext.train.schedule import learning_rate, warmup_steps
from convnext.train.score import Weights, score
from convnext.train.signals import Stopped, StopRequest
from convnext.train.task import BatchT, ReadyT, Task

LAST, BEST, LOG = "last.safetensors", "best.safetensors", "log.jsonl"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is carried out, as opposed to what it learns.

    folder       where checkpoints and log go
    title        the line that opens the report
    seed         decides every step's randomness
    log_every    steps between lines of the log; a GPU is waited for only then
    description  metadata of the checkpoints, by name
    """

    folder: Path
    title: str
    seed: int
    device: torch.device
    precision: Literal["float32", "bfloat16"]
    log_every: int
    description: Mapping[str, Any]


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
        self.model = model.to(settings.device)
        self.batches = task.train_batches()
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.epochs = recipe.schedule.epochs
        self.steps = self.epochs * self.steps_per_epoch
        self.warmup_steps = warmup_steps(recipe.schedule.warmup_epochs, self.steps_per_epoch)
        self.journal = Journal(settings.folder / LOG)
        self.optimizer = build_optimizer(
            self.model, parameter_groups(self.model, recipe.optim.weight_decay), recipe.optim
        )
        decay = recipe.ema.decay
        self.ema = None if decay is None else Ema(self.model, ema_decay(decay, self.steps))
        self.progress = Progress()
        if checkpoint is not None:
            checkpoint.restore(self.model, self.ema, self.optimizer)
            self.progress = checkpoint.progress
        self.best_of = self._weights_that_choose()
        # BatchNorm has no variance to divide by when only one picture of a batch could be read.
        self.fewest = 2 if any(isinstance(layer, BATCH_NORMS) for layer in self.model.modules()) else 1
        # float64 holds the sum exactly enough; MPS has none.
        exact = torch.float32 if settings.device.type == "mps" else torch.float64
        self._loss_sum = torch.tensor(self.progress.loss_sum, dtype=exact, device=settings.device)
        self._generator = torch.Generator(settings.device)
        self._clock = self._lap = time.perf_counter()
        self._logged = self.progress.images_seen, self.progress.train_seconds
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
        self._begin()
        try:
            with private_randomness(self.settings.device), self._stop:
                while self.progress.epoch < self.epochs:
                    self._epoch()
        except Stopped:
            self._save_last()
            return False
        finally:
            self.reporter.stop()
        return True

    def _begin(self) -> None:
        progress = self.progress
        self.reporter.start(
            RunStart(
                title=self.settings.title,
                epochs=self.epochs,
                steps=self.steps,
                first_step=progress.step,
                first_epoch=progress.epoch,
                target=self.task.target,
            )
        )
        self._clock = time.perf_counter()
        self.journal.cut(step=progress.step, epoch=progress.epoch)
        if progress.step == 0:
            self._save_last()

    def _epoch(self) -> None:
        self.model.train()
        self._lap = time.perf_counter()
        epoch = self.progress.epoch
        done = self.progress.step - epoch * self.steps_per_epoch
        for batch in self.batches.epoch(epoch, done):
            self._step(batch)
            if self._stop.requested:
                raise Stopped
        assert self.progress.step == (epoch + 1) * self.steps_per_epoch, "the loader gave too few batches"
        # A GPU may still be working through the last steps; their time belongs to training, not to scoring.
        self._loss_sum.item()
        waited = time.perf_counter() - self._lap
        self.progress = replace(self.progress, train_seconds=self.progress.train_seconds + waited)
        self._end_epoch()

    def _step(self, batch: BatchT) -> None:
        progress = self.progress
        lr = self._learning_rate()
        loss: Tensor | None = None
        count = len(batch.indices)
        if count >= self.fewest:
            loss = self._optimize(batch, lr)
            self._loss_sum += loss * count
        else:
            count = 0
        self._warn_of(batch.unreadable)
        # From one step's end to the next, so that waiting for pictures counts too.
        now = time.perf_counter()
        self.progress = replace(
            self.progress,
            step=progress.step + 1,
            images=progress.images + count,
            images_seen=progress.images_seen + count,
            train_seconds=progress.train_seconds + now - self._lap,
        )
        self._lap = now
        self._report(loss, lr)

    def _optimize(self, batch: BatchT, lr: float) -> Tensor:
        model_seed, task_seed = step_seeds(self.settings.seed, self.progress.step)
        torch.manual_seed(model_seed)
        self._generator.manual_seed(task_seed)
        set_learning_rate(self.optimizer, lr)
        ready = self.task.prepare(batch, self.settings.device, self._generator)
        with autocast(self.settings.device, self.settings.precision):
            total = self.task.loss(self.model, ready)["total"]
        loss = total.detach()
        if self.settings.device.type == "cpu":
            self._require_finite(loss, self.progress.step + 1)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()
        return loss

    def _learning_rate(self) -> float:
        return learning_rate(
            self.progress.step,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            lr=self.recipe.optim.lr,
            min_lr=self.recipe.schedule.min_lr,
        )

    def _report(self, loss: Tensor | None, lr: float) -> None:
        progress = self.progress
        logged = progress.step % self.settings.log_every == 0 or progress.step % self.steps_per_epoch == 0
        # Reading the loss waits for a GPU, so between lines of the log it is read on the CPU only.
        if not logged and self.settings.device.type != "cpu":
            return
        self._require_finite(self._loss_sum, progress.step)
        report = StepReport(
            epoch=progress.epoch + 1,
            step=progress.step,
            loss=None if loss is None else loss.item(),
            lr=lr,
            images_per_second=self._images_per_second(),
        )
        self.reporter.step(report)
        if logged:
            self.journal.write(
                {
                    "kind": "step",
                    "step": report.step,
                    "epoch": report.epoch,
                    "loss": report.loss,
                    "lr": lr,
                    "images_per_second": round(report.images_per_second, 1),
                }
            )
            self._logged = self.progress.images_seen, self.progress.train_seconds

    def _images_per_second(self) -> float:
        """Return the speed since the last line of the log, or over the whole run where there is none."""
        images, seconds = self._logged
        since = self.progress.images_seen - images, self.progress.train_seconds - seconds
        if since[0] == 0:
            since = self.progress.images_seen, self.progress.train_seconds
        return since[0] / max(since[1], 1e-9)

    def _require_finite(self, loss: Tensor, step: int) -> None:
        if math.isfinite(loss.item()):
            return
        last = self.settings.folder / LAST
        raise UserError(
            f"the loss became {loss.item()} in epoch {self.progress.epoch + 1} by step {step} of {self.steps}, "
            f"learning rate {self._learning_rate():.3g}; the last good checkpoint is {last}. "
            "Start again with a lower optim.lr or a longer schedule.warmup_epochs"
        )

    def _warn_of(self, unreadable: Mapping[str, str]) -> None:
        for name, reason in unreadable.items():
            if name not in self.progress.unreadable:
                self.progress = replace(self.progress, unreadable=(*self.progress.unreadable, name))
                self.reporter.warn(f"left out: {reason if name in reason else f'{name}: {reason}'}")

    def _end_epoch(self) -> None:
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
            "train_loss": self._loss_sum.item() / progress.images if progress.images else None,
            "images_per_second": round(progress.images_seen / max(progress.train_seconds, 1e-9), 1),
            "seconds": round(self._seconds(), 3),
            **scores,
            "best": is_best,
        }
        self.progress = replace(
            progress,
            epoch=progress.epoch + 1,
            loss_sum=0.0,
            images=0,
            best=Best(epoch=progress.epoch + 1, weights=self.best_of, value=value) if is_best else progress.best,
            history=(*progress.history, row),
        )
        self._loss_sum.zero_()
        self._write_epoch(row)

    def _write_epoch(self, row: dict[str, Any]) -> None:
        """Write best, log and last in this order: whatever a kill leaves behind, last goes on and makes the rest."""
        if row["best"]:
            self._save(BEST, with_optimizer=False, metrics=row[self.best_of])
        self.journal.write(row)
        self._save_last()
        self.reporter.epoch(row)

    def _score(self) -> dict[str, dict[str, Any] | None]:
        models: dict[Weights, nn.Module] = {"raw": self.model}
        if self.ema is not None:
            models["ema"] = self.ema.model
        scores = score(
            self.task,
            models,
            self._stop.until_requested(self.task.val_batches()),
            device=self.settings.device,
            precision=self.settings.precision,
        )
        self._warn_of(scores["raw"].unreadable)
        return {"raw": None, "ema": None} | {name: dict(scored.values) for name, scored in scores.items()}

    def _weights_that_choose(self) -> Weights:
        wanted = self.recipe.evaluate.weights
        if wanted == "auto":
            return "raw" if self.ema is None else "ema"
        return wanted

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self._clock

    def _save_last(self) -> None:
        metrics = self.progress.history[-1][self.best_of] if self.progress.history else {}
        self._save(LAST, with_optimizer=True, metrics=metrics)

    def _save(self, name: str, *, with_optimizer: bool, metrics: Mapping[str, Any]) -> None:
        self._require_finite(self._loss_sum, self.progress.step)
        self.progress = replace(self.progress, seconds=self._seconds(), loss_sum=self._loss_sum.item())
        self._clock = time.perf_counter()
        save_checkpoint(
            self.settings.folder / name,
            model=self.model,
            ema=self.ema,
            optimizer=self.optimizer if with_optimizer else None,
            progress=self.progress,
            description={**self.settings.description, "weights": self.best_of, "metrics": dict(metrics)},
        )
