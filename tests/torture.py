"""A training that is killed again and again: how it is done, and what it must have in common with one that never was.

`make test` does it with three kills, `make torture` with twenty.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from convnext.files import read_tensors
from convnext.train.checkpoint import read_checkpoint
from convnext.train.journal import Journal

CLASSES, PICTURES, BATCH = 3, 100, 4
STEPS_PER_EPOCH = CLASSES * PICTURES * 4 // 5 // BATCH
TIMES = ("seconds", "images_per_second")
PATIENCE_SECONDS = 120
# Two threads would add in another order than one, and fight for the cores with everything else.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Training(Protocol):
    """A running command, as subprocess.Popen is one."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self) -> int:
        """Wait for the exit code."""


class Starter(Protocol):
    """Starts `convnext` with arguments; what it prints is added to a file."""

    def __call__(self, arguments: Sequence[str], output: Path) -> Training: ...


def command(arguments: Sequence[str], output: Path) -> Training:
    """Start the real command in a process of its own."""
    with output.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "convnext", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=ENVIRONMENT,
        )


class ForkServer:
    """Starts the command by forking a process that has imported it; one training at a time."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("fork_server.py")
        self._server = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=ENVIRONMENT
        )

    def __call__(self, arguments: Sequence[str], output: Path, *, file_size: int | None = None) -> Training:
        asked = {"arguments": list(arguments), "output": str(output), "file_size": file_size}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(asked).encode() + b"\n")
        return _Forked(self._server, int(self._line()))

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _line(self) -> bytes:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


class _Forked:
    def __init__(self, server: subprocess.Popen[bytes], pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.wait()
        return self._code

    def wait(self) -> int:
        if self._code is None:
            assert self._server.stdout is not None
            self._code = int(self._server.stdout.readline())
        return self._code


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A process of the run: the step it went on from, the last it logged, and the step of the checkpoint it left."""

    first: int
    logged: int
    saved: int


def make_pictures(folder: Path) -> None:
    """Write noisy squares of three colours."""
    generator = np.random.default_rng(0)
    for number in range(CLASSES):
        colour = np.full(3, 60) + 120 * np.eye(3)[number]
        (folder / f"class{number}").mkdir(parents=True)
        for index in range(PICTURES):
            noise = generator.integers(-60, 61, (18, 18, 3))
            picture = (colour + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"class{number}" / f"{index}.png")


def new_run(pictures: Path, out: Path, *, epochs: int) -> list[str]:
    """Return the arguments of a run that logs every step and saves many times an epoch."""
    settings = {
        "data.batch_size": BATCH,
        "data.workers": 1,
        "engine.log_every": 1,
        # 30 ms, so that most kills find steps that are done and not saved, but few of them.
        "engine.save_minutes": 0.0005,
        "model.depths": "1,1",
        "model.width": 8,
        "model.stem_stride": 2,
    }
    chosen = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["train", str(pictures), "--size", "16", "--epochs", str(epochs), *chosen, "--out", str(out)]


def tortured(
    start: Starter, new: Sequence[str], folder: Path, output: Path, *, epochs: int, kills: int, seed: int
) -> list[Kill]:
    """Carry out a run that is killed so many times at random moments, and resumed each time until it ends.

    The moments are drawn evenly over the run, one in each of `kills` equal parts of it: a step, and a wait after it.
    Raises AssertionError as soon as a resumed process does not go on from the checkpoint.
    """
    generator = np.random.default_rng(seed)
    part = epochs * STEPS_PER_EPOCH / kills
    done: list[Kill] = []
    for number in range(kills):
        step = int(part * (number + generator.uniform(0, 0.8)))
        training = start(new if number == 0 else ["train", "--resume", str(folder)], output)
        first = done[-1].saved if done else 0
        saved = kill_after(training, folder, step=max(step, first + 1), first=first, wait=generator.uniform(0, 0.1))
        rows = Journal(folder / "log.jsonl").rows()
        # A program that began again from zero would end with the same bits; this is where it is found out.
        assert resumes(rows) == [one.saved for one in done], "a process did not go on from the checkpoint"
        done.append(Kill(first=first, logged=max(row["step"] for row in rows), saved=saved))
    training = start(["train", "--resume", str(folder)], output)
    assert training.wait() == 0, output.read_text()
    rows = Journal(folder / "log.jsonl").rows()
    assert resumes(rows) == [one.saved for one in done], "a process did not go on from the checkpoint"
    return done


def kill_after(training: Training, folder: Path, *, step: int, first: int, wait: float) -> int:
    """Kill a training some seconds after it logged a step, where it left a new checkpoint inside an epoch.

    Return that checkpoint's step. The process is stopped before it is looked at, so that it cannot go on meanwhile;
    where the checkpoint is none that is looked for, it goes on for as long again.
    """
    wait_for_step(training, folder, step)
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        time.sleep(wait)
        os.kill(training.pid, signal.SIGSTOP)
        saved = read_checkpoint(folder / "last.safetensors").progress.step
        if saved > first and saved % STEPS_PER_EPOCH:
            break
        os.kill(training.pid, signal.SIGCONT)
        assert training.poll() is None and time.monotonic() < until, "no checkpoint was left inside an epoch"
    os.kill(training.pid, signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    return saved


def wait_for_step(training: Training, folder: Path, step: int) -> None:
    """Wait until a training has logged a step."""
    until = time.monotonic() + PATIENCE_SECONDS
    while logged_step(folder) < step:
        assert training.poll() is None, f"the training ended before step {step}"
        assert time.monotonic() < until, f"step {step} was not reached"
        time.sleep(0.002)


def logged_step(folder: Path) -> int:
    """Return the last step in a run's log, 0 where there is none; a line may be half written."""
    path = folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def resumes(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Return the steps from which a run was gone on with."""
    return [row["step"] for row in rows if row["kind"] == "resume"]


def steps_done(kills: Sequence[Kill], steps: int) -> int:
    """Return the steps of all processes together; a killed one may have done one more than it logged."""
    ends = [*(kill.logged + 1 for kill in kills), steps]
    starts = [0, *(kill.saved for kill in kills)]
    return sum(ends) - sum(starts)


def require_equal_runs(one: Path, other: Path) -> None:
    """Raise AssertionError unless two runs ended with the same bits, counters, scores and log; times may differ."""
    for name in ("last.safetensors", "best.safetensors"):
        first, second = read_tensors(one / name)[0], read_tensors(other / name)[0]
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
        states = [read_checkpoint(folder / name).progress for folder in (one, other)]
        assert states[0].best == states[1].best
        assert timeless(states[0].history) == timeless(states[1].history)
        assert (states[0].step, states[0].images_seen) == (states[1].step, states[1].images_seen)
    logs = [Journal(folder / "log.jsonl").rows() for folder in (one, other)]
    assert timeless(logs[0]) == timeless(logs[1])


def timeless(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what a clock says and without notes of resuming."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows if row["kind"] != "resume"]
