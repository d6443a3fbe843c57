"""What a person sees while pictures are counted: a bar with the time left, or now and then a line."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY_SECONDS = 30.0


class PictureCounter:
    """Called with how many pictures are done and of how many; a context, at whose end the bar goes.

    On a terminal there is a bar; elsewhere a line every half a minute, so that a short evaluation leaves none.
    """

    def __init__(self, stream: TextIO | None = None, *, silent: bool = False) -> None:
        self._stream = stream = stream or sys.stderr
        self._silent = silent
        self._began: float | None = None
        self._said = 0.0
        self._before = 0
        self._bar: Bar | None = None
        if stream.isatty() and not silent:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("scoring"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[facts]}", markup=False),
                console=Console(file=stream),
                transient=True,
                expand=True,
            )
            self._task = self._bar.add_task("", total=None, facts="starting")

    def __enter__(self) -> "PictureCounter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many pictures are done."""
        now = time.monotonic()
        if self._began is None:
            # Counted from the first pictures on: opening the data is not their pace.
            self._began = self._said = now
            self._before = done
        if self._bar is not None:
            # Not before there is something to count: loading may have questions and warnings.
            self._bar.start()
            facts = progress_text(done, total, now - self._began, self._before)
            self._bar.update(self._task, completed=done, total=total, facts=facts)
        elif not self._silent and now - self._said >= LINE_EVERY_SECONDS:
            self._said = now
            print(progress_text(done, total, now - self._began, self._before), file=self._stream, flush=True)


def progress_text(done: int, total: int, seconds: float, before: int = 0) -> str:
    """Return how far a count is, how fast it went in these seconds from `before` on, and the time left at that pace."""
    from convnext.train.progress import clock

    pace = (done - before) / seconds if seconds > 0 else 0
    left = clock((total - done) / pace if pace else None)
    return f"{done:,}/{total:,} pictures  {pace:,.0f} a second  {left} left"
