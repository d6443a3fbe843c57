"""What a person sees of a bench: a bar with the time left on a terminal, a line a row elsewhere."""

import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import ProgressColumn as Column
from rich.text import Text

from convnext.bench.numbers import ratio_text, speed_text
from convnext.bench.record import Row
from convnext.train.progress import clock


class Reporter(Protocol):
    """Hears of a bench; `stop` ends it."""

    def working(self, what: str, seconds_left: float) -> None:
        """Something is being done, and so much is left of the whole."""

    def row(self, row: Row) -> None:
        """A row is there."""

    def stop(self) -> None:
        """The bench ended, for whatever reason."""


class LineReporter:
    """A plain line a row, for files and pipes."""

    def __init__(self, stream: TextIO, total: int, done: int) -> None:
        self._stream, self._total, self._done = stream, total, done
        self._began = False
        self._left = 0.0

    def working(self, what: str, seconds_left: float) -> None:
        """Print how long it may take, the first time; else nothing."""
        if not self._began:
            before = f", of which {self._done} done before" if self._done else ""
            print(
                f"{self._total} row{'s' * (self._total != 1)}{before}, about {clock(seconds_left)}",
                file=self._stream,
                flush=True,
            )
        self._began = True
        self._left = seconds_left

    def row(self, row: Row) -> None:
        """Print the row."""
        self._done += 1
        line = f"{self._done}/{self._total}  {row_line(row)}  {clock(self._left)} left"
        print(line, file=self._stream, flush=True)

    def stop(self) -> None:
        """Print nothing more."""


class LiveReporter:
    """A bar that moves with the rows and tells what is being done, and a line a row above it."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console, self._total, self._done = console, total, done
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[rows]} rows"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            _TimeLeft(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._began = 0.0

    def working(self, what: str, seconds_left: float) -> None:
        """Show what is being done and the time left."""
        if self._task is None:
            self._began = time.monotonic()
            self._task = self._bar.add_task(what, total=1.0, rows=self._rows())
            self._bar.start()
        now = time.monotonic()
        # By time, because a row may take a thousand times as long as another.
        share = (now - self._began) / max(now - self._began + seconds_left, 1e-9)
        self._bar.update(self._task, completed=share, description=what, seconds=seconds_left, told=now)

    def row(self, row: Row) -> None:
        """Print the row above the bar, and move it."""
        self._done += 1
        self._console.print(row_line(row), markup=False, highlight=False)
        if self._task is not None:
            self._bar.update(self._task, rows=self._rows())

    def _rows(self) -> str:
        return f"{self._done}/{self._total}"

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


class _TimeLeft(Column):
    """The time left, which goes on falling while one long thing is done."""

    def render(self, task: Task) -> Text:
        told: float | None = task.fields.get("told")
        if told is None:
            return Text("")
        left = task.fields["seconds"] - (time.monotonic() - told)
        # What takes longer than was thought ends soon, for all that is known.
        return Text(f"{clock(max(1.0, left))} left", style="cyan")


def reporter_for(stream: TextIO, total: int, done: int) -> Reporter:
    """Return the reporter that suits a stream: live on a terminal, lines elsewhere."""
    return LiveReporter(Console(file=stream), total, done) if stream.isatty() else LineReporter(stream, total, done)


def row_line(row: Row) -> str:
    """Return a row in one line."""
    values = row.to_dict()
    if row.failed is not None:
        return f"{row.program.title}: failed: {row.failed}"
    ratio = "" if values["ratio"] is None else f" ({ratio_text(values['ratio'])} times {row.reference})"
    return f"{row.program.title}: {speed_text(values['images_per_second'])} images/s{ratio}"
