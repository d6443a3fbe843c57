"""What a person sees of a run: a live bar on a terminal, a line an epoch elsewhere, or nothing."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What is about to run: its title and lengths, how many steps and epochs are behind it, and its target's name."""

    title: str
    epochs: int
    steps: int
    first_step: int
    first_epoch: int
    target: str


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step, counted from 1, as epochs are; loss is None for a step without a readable picture."""

    epoch: int
    step: int
    loss: float | None
    lr: float
    images_per_second: float


class Reporter(Protocol):
    """Hears of a run; `start` and `stop` frame it."""

    def start(self, run: RunStart) -> None:
        """A run begins or goes on."""

    def step(self, report: StepReport) -> None:
        """Steps were done, the last of which is reported."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch was done and scored; `row` is its line in the log."""

    def warn(self, text: str) -> None:
        """Something is wrong and the run goes on."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def stop(self) -> None:
        """The run ended, for whatever reason."""


class SilentReporter:
    """Says nothing."""

    def start(self, run: RunStart) -> None:
        """Say nothing."""

    def step(self, report: StepReport) -> None:
        """Say nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


class LineReporter:
    """One plain line an epoch, for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._run: RunStart | None = None
        self._began = 0.0

    def start(self, run: RunStart) -> None:
        """Print the title, and where a resumed run goes on."""
        self._run = run
        self._began = time.monotonic()
        self.note(start_line(run))

    def step(self, report: StepReport) -> None:
        """Print nothing: a step is too short for a line."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        assert self._run is not None, "start comes first"
        left = time_left(self._run, row["step"], time.monotonic() - self._began)
        self.note(f"{epoch_line(self._run, row)}  {left} left")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.note(f"warning: {text}")

    def note(self, text: str) -> None:
        """Print a line at once."""
        print(text, file=self._stream, flush=True)

    def stop(self) -> None:
        """Print nothing more."""


class LiveReporter:
    """A bar that moves with every report, and a line an epoch above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: RunStart | None = None
        self._began = 0.0
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._score = ""

    def start(self, run: RunStart) -> None:
        """Print the title and show the bar."""
        self._run = run
        self._began = time.monotonic()
        self._score = ""
        self.note(start_line(run))
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[facts]}", markup=False),
            console=self._console,
            expand=True,
        )
        self._task = self._bar.add_task(
            f"epoch {run.first_epoch + 1}/{run.epochs}", total=run.steps, completed=run.first_step, facts="starting"
        )
        self._bar.start()

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        assert self._run is not None and self._bar is not None, "start comes first"
        loss = "" if report.loss is None else f"loss {report.loss:.3f}  "
        left = time_left(self._run, report.step, time.monotonic() - self._began)
        self._bar.update(
            self._task,
            completed=report.step,
            description=f"epoch {report.epoch}/{self._run.epochs}",
            facts=f"{report.images_per_second:,.0f} images/s  {loss}{self._score}{left} left",
        )

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the epoch above the bar."""
        assert self._run is not None, "start comes first"
        self._score = f"{score_text(self._run.target, row)}  "
        self.note(epoch_line(self._run, row))

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self._console.print(f"warning: {text}", style="yellow", markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def reporter_for(stream: TextIO = sys.stderr, *, silent: bool = False) -> Reporter:
    """Return the reporter that suits a stream: live on a terminal, lines elsewhere."""
    if silent:
        return SilentReporter()
    return LiveReporter(Console(file=stream)) if stream.isatty() else LineReporter(stream)


def start_line(run: RunStart) -> str:
    """Return the line that opens a run."""
    if run.first_step == 0:
        return run.title
    return f"{run.title}, going on after step {run.first_step} of {run.steps}"


def epoch_line(run: RunStart, row: Mapping[str, Any]) -> str:
    """Return an epoch in one line."""
    width = len(str(run.epochs))
    loss = "  none" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
    return (
        f"epoch {row['epoch']:>{width}}/{run.epochs}  loss {loss}  {score_text(run.target, row)}"
        f"{'  best' if row['best'] else '      '}  {row['images_per_second']:,.0f} images/s"
    )


def score_text(target: str, row: Mapping[str, Any]) -> str:
    """Return the target of the raw and of the averaged weights."""
    texts = [f"{name} {row[name][target]:.2f}" for name in ("raw", "ema") if row[name] is not None]
    return f"{target} {' '.join(texts)}"


def time_left(run: RunStart, step: int, seconds: float) -> str:
    """Return the time to the end as h:mm:ss at the pace so far, scoring included."""
    done = step - run.first_step
    if done <= 0:
        return "?"
    left = round(seconds / done * (run.steps - step))
    return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
