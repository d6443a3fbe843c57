"""The process of one program, `python -m convnext.bench.worker`: a JSON request a line in, a JSON answer a line out.

A process each keeps peak memory apart, and one program's compiled code, thread pool and allocator from the others'.
It begins with {"program": ...}, which builds and checks, and {"warm_seconds": S}, goes on with {"calls": N} as often as
it is asked, and ends with {"finish": true}, or at once when whoever asks is gone.
"""

import contextlib
import ctypes
import gc
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import torch

from convnext.bench.program import Runnable, build, timer, warm_up
from convnext.bench.settings import NO_MEMORY, Program
from convnext.errors import UserError
from convnext.machine import held_memory_bytes, peak_memory_bytes, reset_peak_memory

# A GPU comes to its lasting clock, and chooses its algorithms, in the first calls.
WARM_CALLS = {"cpu": 1, "cuda": 10}


class Session:
    """Answers the requests for one program.

    make: builds it from its description
    """

    def __init__(self, make: Callable[[Program], Runnable] = build) -> None:
        self._make = make
        self._runnable: Runnable | None = None
        self._timed: Callable[[int], float] | None = None
        self._device = torch.device("cpu")
        self._rest = 0

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked; an answer with `failed` says in a sentence why it could not be done."""
        try:
            if "program" in request:
                return self._begin(Program.from_dict(request["program"]))
            if "warm_seconds" in request:
                return self._warm_up(request["warm_seconds"])
            if "calls" in request:
                assert self._timed is not None, "a program comes first"
                return {"seconds": self._timed(request["calls"]) / request["calls"]}
            return self._finish()
        # Whatever one program dies of, the others are to be timed all the same.
        except Exception as error:
            return {"failed": _reason(error)}

    def _begin(self, program: Program) -> dict[str, Any]:
        if program.threads is not None:
            torch.set_num_threads(program.threads)
        self._device = torch.device(program.device)
        # The pictures never change their size, so trying the algorithms out pays.
        torch.backends.cudnn.benchmark = True
        self._runnable = self._make(program)
        self._timed = timer(self._runnable, self._device)
        first = self._timed(1)
        check = self._runnable.check()
        if not check.passed:
            return {"failed": check.sentence, "check_error": _finite(check.error), "check_tolerance": check.tolerance}
        return {"params": self._runnable.params, "first_seconds": first, "threads": torch.get_num_threads()}

    def _warm_up(self, seconds: float) -> dict[str, Any]:
        assert self._timed is not None, "a program comes first"
        self._forget_the_past()
        return {"call_seconds": warm_up(self._timed, calls=WARM_CALLS.get(self._device.type, 3), seconds=seconds)}

    def _forget_the_past(self) -> None:
        """Begin to watch memory, with nothing left of what building, compiling and checking held."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        # Once, and no setting is changed: freed pieces that the allocator keeps would hide what calls take.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        reset_peak_memory()
        self._rest = held_memory_bytes()

    def _finish(self) -> dict[str, Any]:
        assert self._runnable is not None, "a program comes first"
        memory, reserved = self._memory(self._runnable)
        check = self._runnable.check()
        if not check.passed:
            return {"failed": check.sentence, "check_error": _finite(check.error), "check_tolerance": check.tolerance}
        return {
            "peak_memory_bytes": memory,
            "reserved_memory_bytes": reserved,
            "check_error": check.error,
            "check_tolerance": check.tolerance,
        }

    def _memory(self, runnable: Runnable) -> tuple[int | None, int | None]:
        """Return (peak, reserved) in bytes: what the program holds between two calls and what a call adds to it."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device), torch.cuda.max_memory_reserved(self._device)
        if self._device.type != "cpu":
            return None, None
        return runnable.held_bytes() + max(0, peak_memory_bytes() - self._rest), None


def _finite(error: float) -> float | None:
    return error if error < float("inf") else None


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        return NO_MEMORY
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason was given'}"


def main() -> None:
    """Answer requests from standard input until it ends."""
    # Whatever a library prints goes to standard error; answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Where memory runs out, this process shall be taken and no other.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    requests: queue.Queue[Mapping[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, requests), daemon=True).start()
    session = Session()
    while True:
        request = requests.get()
        print(json.dumps(session.answer(request)), file=answers, flush=True)
        if "finish" in request:
            return


def _listen(lines: TextIO, requests: "queue.Queue[Mapping[str, Any]]") -> None:
    for line in lines:
        requests.put(json.loads(line))
    # Nobody is left who could read an answer, even where minutes of compiling lie ahead.
    os._exit(0)


if __name__ == "__main__":
    main()
