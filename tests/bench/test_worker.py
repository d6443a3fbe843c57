"""The process of one program: what it answers, how it dies, that nobody has to look after it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from convnext.bench.check import Check
from convnext.bench.process import FailedError, WorkerProcess
from convnext.bench.settings import NO_MEMORY, Program
from convnext.bench.worker import Session
from convnext.errors import UserError
from tests.bench.made import one

ASKED = {"program": one("convnext_atto").to_dict()}


class Made:
    """A program that takes memory for each call and is right as often as it is told."""

    params = 7

    def __init__(self, right: int = 99) -> None:
        self.calls, self.right = 0, right

    def call(self) -> None:
        self.calls += 1
        # 64 MB, written to, and given back.
        torch.zeros(16_000_000).add_(1)

    def check(self) -> Check:
        return Check(what="logits are off by {}", error=0.0 if self.calls <= self.right else 9.0, tolerance=0.1)

    def held_bytes(self) -> int:
        return 1_000_000


def test_it_begins_calls_and_tells_of_memory() -> None:
    made = Made()
    session = Session(lambda asked: made)
    # What was held before is not the program's.
    ballast = torch.ones(50_000_000)
    begun = session.answer(ASKED)
    assert begun["params"] == 7 and begun["threads"] == torch.get_num_threads() and made.calls == 1
    assert session.answer({"warm_seconds": 0.0})["call_seconds"] > 0
    assert made.calls == 2, "the first one and one to warm up"
    assert session.answer({"calls": 5})["seconds"] > 0 and made.calls == 7
    told = session.answer({"finish": True})
    assert (told["check_error"], told["check_tolerance"], told["reserved_memory_bytes"]) == (0.0, 0.1, None)
    if Path("/proc/self/clear_refs").exists():
        assert 60_000_000 < told["peak_memory_bytes"] < 130_000_000
    del ballast


@pytest.mark.parametrize("right", [0, 3])
def test_wrong_outputs_first_or_later_are_a_failure(right: int) -> None:
    session = Session(lambda asked: Made(right))
    answer = session.answer(ASKED)
    if right:
        session.answer({"warm_seconds": 0.0})
        session.answer({"calls": 4})
        assert "failed" not in answer
        answer = session.answer({"finish": True})
    assert answer == {
        "failed": "its logits are off by 9, and 0.1 is allowed; so no speed is given",
        "check_error": 9.0,
        "check_tolerance": 0.1,
    }


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("a sentence of ours"), "a sentence of ours"),
        (MemoryError(), NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), NO_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), NO_MEMORY),
        (ValueError("\n\n what is wrong\nand a lot more"), "ValueError: what is wrong"),
        (KeyError(), "KeyError: no reason was given"),
    ],
)
def test_reasons_are_one_line(error: Exception, words: str) -> None:
    def fail(asked: Program) -> Any:
        raise error

    assert Session(fail).answer(ASKED) == {"failed": words}


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, NO_MEMORY), (signal.SIGSEGV, r"its process died \(signal 11\)")]
)
def test_a_process_that_is_killed_says_why(number: int, words: str) -> None:
    worker = WorkerProcess()
    try:
        os.kill(worker._process.pid, number)
        with pytest.raises(FailedError, match=words):
            worker.begin(one("convnext_atto"))
    finally:
        worker.stop()
        worker.stop()


def test_stop_ends_it_at_once_and_what_it_started_too() -> None:
    worker = WorkerProcess()
    group = worker._process.pid
    assert os.getpgid(group) == group != os.getpgid(0), "Ctrl-C at the terminal reaches the asking side alone"
    worker.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_it_ends_when_nobody_asks_any_more() -> None:
    # As when the asking side was killed: its end of the pipe is closed.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "convnext.bench.worker"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert done.returncode == 0 and done.stdout == b""
