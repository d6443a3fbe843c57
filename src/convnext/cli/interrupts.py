"""Ctrl-C at the command line: the first unwinds what is going on, another ends the process; neither leaves a traceback.

Within a training its own handlers come before: they save first (`convnext.train.signals`).
"""

import atexit
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

SENTENCE = "convnext: stopped by Ctrl-C"
STOPPED = 130
SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Answers SIGINT from `listen` to the end of the process: with KeyboardInterrupt once, and then with the end.

    came  whether it has raised KeyboardInterrupt
    told  whether the user has read that the command was stopped
    """

    def __init__(self) -> None:
        self.came = self.told = False

    def listen(self) -> None:
        """Take Python's own answer's place; where someone else answers or nobody shall (nohup), nothing is changed."""
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        signal.signal(signal.SIGINT, self._answer)
        # What Python could not raise, as in a destructor, would be printed with its traceback and then forgotten.
        before = sys.unraisablehook
        sys.unraisablehook = lambda lost: self._end() if lost.exc_type is KeyboardInterrupt else before(lost)
        # Registered first, so called last: after it nothing is left that could be waited for.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)

    def tell(self) -> None:
        """Say that the command was stopped, once; not through Python's streams, which a signal may find in use."""
        if not self.told:
            self.told = True
            os.write(2, f"{SENTENCE}\n".encode())

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self.came or self.told:
            self._end()
        self.came = True
        raise KeyboardInterrupt

    def _end(self) -> NoReturn:
        if os.isatty(2):
            # A bar that was on the screen has hidden it.
            os.write(2, SHOW_CURSOR)
        self.tell()
        os._exit(STOPPED)
