"""What a person sees of a run: a live bar on a terminal, a line an epoch elsewhere, or nothing."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from convnext.duration import pace


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What is about to run: title, lengths, its target's name, and how many steps, epochs and seconds are behind it."""

    title: str
    epochs: int
    steps: int
    first_step: int
    first_epoch: int
    target: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step, counted from 1, as epochs are; loss is None for a step without a readable picture."""

    epoch: int
    step: int
    loss: float | None
    lr: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Where a run stands among several: its label, how many runs are done (a fraction counts) of how many, time left.

    seconds_left  of all runs together, None where nothing tells it
    """

    label: str
    done: float
    total: int
    seconds_left: float | None


WholeAt = Callable[[float, float | None], Whole]
"""From how much of the present run is done, 0 to 1, and its own seconds left, to where the whole stands."""


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
    """One plain line an epoch, for files and pipes; `whole` tells of the runs that this one is part of."""

    def __init__(self, stream: TextIO, whole: WholeAt | None = None) -> None:
        self._stream = stream
        self._whole = whole
        self._run: RunStart | None = None
        self._began = 0.0

    def start(self, run: RunStart) -> None:
        """Print the title, and where a resumed run goes on."""
        self._run = run
        self._began = time.monotonic()
        if self._whole is not None:
            self.note(self._whole(run.first_step / run.steps, None).label)
        self.note(start_line(run))

    def step(self, report: StepReport) -> None:
        """Print nothing: a step is too short for a line."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        assert self._run is not None, "start comes first"
        left = seconds_left(self._run, row["step"], time.monotonic() - self._began)
        line = f"{epoch_line(self._run, row)}  {clock(left)} left"
        if self._whole is not None:
            line += f", {clock(self._whole(row['step'] / self._run.steps, left).seconds_left)} in all"
        self.note(line)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.note(f"warning: {text}")

    def note(self, text: str) -> None:
        """Print a line at once."""
        print(text, file=self._stream, flush=True)

    def stop(self) -> None:
        """Print nothing more."""


class LiveReporter:
    """A bar that moves with every report, and a line an epoch above it; a second bar where a run is part of a whole."""

    def __init__(self, console: Console, whole: WholeAt | None = None) -> None:
        self._console = console
        self._whole = whole
        self._run: RunStart | None = None
        self._began = 0.0
        self._bar: Progress | None = None
        self._task = self._outer = TaskID(0)
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
            TextColumn("{task.fields[count]}  {task.fields[facts]}", markup=False),
            console=self._console,
            expand=True,
        )
        self._task = self._bar.add_task(
            f"epoch {run.first_epoch + 1}/{run.epochs}",
            total=run.steps,
            completed=run.first_step,
            count=f"{run.first_step}/{run.steps}",
            facts="starting",
        )
        if self._whole is not None:
            whole = self._whole(run.first_step / run.steps, None)
            self._outer = self._bar.add_task(whole.label, total=whole.total, count="", facts="")
            self._show_whole(whole)
        self._bar.start()

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        assert self._run is not None and self._bar is not None, "start comes first"
        loss = "" if report.loss is None else f"loss {report.loss:.3f}  "
        left = seconds_left(self._run, report.step, time.monotonic() - self._began)
        self._bar.update(
            self._task,
            completed=report.step,
            count=f"{report.step}/{self._run.steps}",
            description=f"epoch {report.epoch}/{self._run.epochs}",
            facts=f"{pace(report.images_per_second)} images/s  {loss}{self._score}{clock(left)} left",
        )
        if self._whole is not None:
            self._show_whole(self._whole(report.step / self._run.steps, left))

    def _show_whole(self, whole: Whole) -> None:
        assert self._bar is not None
        count, left = f"{math.floor(whole.done)}/{whole.total}", f"{clock(whole.seconds_left)} left in all"
        self._bar.update(self._outer, completed=whole.done, count=count, facts=left)

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


def reporter_for(stream: TextIO = sys.stderr, *, silent: bool = False, whole: WholeAt | None = None) -> Reporter:
    """Return the reporter that suits a stream: live on a terminal, lines elsewhere.

    whole  where the run stands among several, to be shown beside it
    """
    if silent:
        return SilentReporter()
    return LiveReporter(Console(file=stream), whole) if stream.isatty() else LineReporter(stream, whole)


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
        f"{'  best' if row['best'] else '      '}  {pace(row['images_per_second'])} images/s"
    )


def score_text(target: str, row: Mapping[str, Any]) -> str:
    """Return the target of the raw and of the averaged weights."""
    texts = [f"{name} {row[name][target]:.2f}" for name in ("raw", "ema") if row[name] is not None]
    return f"{target} {' '.join(texts)}"


def seconds_left(run: RunStart, step: int, seconds: float) -> float | None:
    """Return the seconds to the end at the pace so far, scoring included; None before the first step.

    seconds: since this process began. Where a run goes on, the pace before counts like one epoch more: alone, starting
    up and a scoring soon after it would make the first steps look slow.
    """
    done = step - run.first_step
    if done <= 0:
        return None
    before = min(run.first_step, run.steps // run.epochs) if run.seconds > 0 else 0
    seconds_before = before * run.seconds / max(run.first_step, 1)
    return (seconds + seconds_before) / (done + before) * (run.steps - step)


def clock(seconds: float | None) -> str:
    """Return seconds as h:mm:ss, "?" where they are not known."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
