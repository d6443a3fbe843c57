"""Carry out a sweep: run after run, each in its own folder, until all are done or someone asks to stop."""

import contextlib
import os
import shlex
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convnext.errors import UserError
from convnext.files import cannot_write, write_json
from convnext.folder import SUMMARY
from convnext.lab.pace import Pace
from convnext.lab.rows import Row
from convnext.lab.status import failure_file
from convnext.lab.sweep import Sweep, run_folder, write_sweep
from convnext.run import is_run, resume_run, train_run
from convnext.train.lock import FolderInUseError, is_locked
from convnext.train.progress import Reporter

Outcome = Literal["done", "elsewhere", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """How a start of a sweep ended.

    finished   whether nothing of its share is left to do
    stopped    whether someone asked to stop
    failed     the runs that failed, row and seed, each with a sentence
    elsewhere  runs that another process was training
    message    what to do next
    """

    folder: Path
    finished: bool
    stopped: bool
    failed: tuple[tuple[str, int, str], ...]
    elsewhere: tuple[tuple[str, int], ...]
    message: str


def run_sweep(
    sweep: Sweep,
    folder: Path,
    *,
    share: tuple[int, int] = (1, 1),
    minutes: float | None = None,
    reporter: Callable[[Pace], Reporter],
) -> SweepResult:
    """Do what is left of a sweep, or of a share of it, in its folder.

    share     the number of this share, from 1, and how many there are; shares need nothing of each other
    minutes   after these the run in progress is saved and the sweep stops, as after Ctrl-C
    reporter  makes what a person sees of the runs, from the pace of the whole

    Finished runs are passed over, stopped ones go on and failed ones are tried again; a run that fails does not keep
    the others from being trained. UserError when the folder holds another sweep or cannot be written.
    """
    with _unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep = write_sweep(folder, sweep)
    runs = sweep.share(*share)
    pace = Pace(folder, sweep, runs)
    failed: list[tuple[str, int, str]] = []
    elsewhere: list[tuple[str, int]] = []
    again = f"go on with: convnext roadmap train --resume {shlex.quote(str(folder))}"
    if share != (1, 1):
        again += f" --shard {share[0]}/{share[1]}"
    try:
        with _stopping(minutes):
            for row, seed in runs:
                if (run_folder(folder, row, seed) / SUMMARY).exists():
                    continue
                pace.begin(row, seed)
                outcome, why = _carry_out(sweep, folder, row, seed, reporter(pace))
                pace.end(row, seed)
                if outcome == "failed":
                    failed.append((row.name, seed, why))
                elif outcome == "elsewhere":
                    elsewhere.append((row.name, seed))
                elif outcome == "stopped":
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        stopped, message = True, f"stopped, and saved; {again}"
    else:
        stopped, message = False, f"convnext roadmap report {shlex.quote(str(folder))} shows what came out"
        if failed:
            message = f"{len(failed)} of {len(runs)} runs failed; when their cause is mended, {again}"
        elif elsewhere:
            message = f"{len(elsewhere)} runs are in the hands of another process; convnext roadmap status follows them"
    return SweepResult(
        folder=folder,
        finished=not (stopped or failed or elsewhere),
        stopped=stopped,
        failed=tuple(failed),
        elsewhere=tuple(elsewhere),
        message=message,
    )


def _carry_out(sweep: Sweep, folder: Path, row: Row, seed: int, reporter: Reporter) -> tuple[Outcome, str]:
    """Train, or go on with, one run; say how it ended and, where it failed, why."""
    place = run_folder(folder, row, seed)
    if is_locked(place):
        return _elsewhere(row, seed, reporter)
    try:
        if is_run(place):
            result = resume_run(place, device=sweep.device, reporter=reporter)
        else:
            place.parent.mkdir(exist_ok=True)
            result = train_run(sweep.plan(row, seed), out=place, reporter=reporter)
    except FolderInUseError:
        # It came in between our look and our start.
        return _elsewhere(row, seed, reporter)
    # Whatever one run dies of, the others are to be trained all the same.
    except Exception as error:
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        reporter.warn(f"{row.name}, seed {seed}, failed: {why}")
        _note_failure(folder, row, seed, why, "".join(traceback.format_exception(error)))
        return "failed", why
    failure_file(folder, row, seed).unlink(missing_ok=True)
    return ("done", "") if result.finished and not result.interrupted else ("stopped", "")


def _elsewhere(row: Row, seed: int, reporter: Reporter) -> tuple[Outcome, str]:
    reporter.note(f"{row.name}, seed {seed}, is being trained by another process")
    return "elsewhere", ""


def _note_failure(folder: Path, row: Row, seed: int, why: str, details: str) -> None:
    path = failure_file(folder, row, seed)
    with _unwritable(path):
        path.parent.mkdir(exist_ok=True)
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    write_json(path, {"row": row.name, "seed": seed, "error": why, "when": when, "details": details})


@contextlib.contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def _stopping(minutes: float | None) -> Iterator[None]:
    """Let SIGTERM stop between runs as Ctrl-C does, and send it after that many minutes.

    Within a run its own handlers save before they stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    timer = None
    if minutes is not None:
        timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        signal.signal(signal.SIGTERM, before)
