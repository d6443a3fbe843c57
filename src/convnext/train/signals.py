"""Ctrl-C and SIGTERM as a wish that the loop grants at the end of a step, or as one that is granted at once."""

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 - a wish granted is no error
    """A signal asked the run to stop."""


class StopRequest:
    """Notes SIGINT and SIGTERM inside a `with`; a second Ctrl-C acts as it did before, SIGTERM stays a wish.

    Schedulers and torchrun send SIGTERM more than once, and SIGKILL when they lose their patience. Outside the main
    thread Python delivers no signals, and nothing is installed.

    at_once: the first signal also raises KeyboardInterrupt, where there is nothing that must be brought to an end.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.signal_name: str | None = None
        self._at_once = at_once
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            # Known before it is replaced: a signal may come between any two lines.
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            for number in SIGNALS:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signal_name is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A forked worker: Ctrl-C reaches it too, but only the parent decides; SIGTERM is the parent's word.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        first = not self.requested
        self.signal_name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._before.pop(signal.SIGINT))
        if self._at_once and first:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in list(self._before.items()):
            signal.signal(number, handler)
        self._before = {}
