"""Carry out a sweep: run after run, each in its own folder, until all are done or someone asks to stop."""

import contextlib
import os
import shlex
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from convnext.errors import UserError, explained
from convnext.files import cannot_write, write_json
from convnext.lab.begin import open_pictures
from convnext.lab.pace import Pace
from convnext.lab.rows import Row
from convnext.lab.status import failure_file, is_done
from convnext.lab.sweep import FREE_LEAVES, Sweep, run_folder, write_sweep
from convnext.recipe import leaves
from convnext.run import is_run, resume_run, train_run
from convnext.setting import shown
from convnext.train.device import choose_device
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
    device: str = "auto",
    reporter: Callable[[Pace], Reporter],
) -> SweepResult:
    """Do what is left of a sweep, or of a share of it, in its folder.

    share     the number of this share, from 1, and how many there are; shares need nothing of each other
    minutes   after these the run in progress is saved and the sweep stops, as after Ctrl-C; in the main thread only
    reporter  makes what a person sees of the runs, from the pace of the whole

    Finished runs are passed over, stopped ones go on and failed ones are tried again; a run that fails does not keep
    the others from being trained. What the folder was asked for before and this sweep does not ask for stays there and
    is not trained now. UserError when the folder holds another sweep or cannot be written, or the pictures changed.
    """
    choose_device(device)
    with _unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    asked = write_sweep(folder, sweep)
    runs = replace(asked, seeds=sweep.seeds).share(*share)
    left = [(row, seed) for row, seed in runs if not is_done(run_folder(folder, row, seed))]
    failed: list[tuple[str, int, str]] = []
    elsewhere: list[tuple[str, int]] = []
    again = f"convnext roadmap train --resume {shlex.quote(str(folder))}"
    if share != (1, 1):
        again += f" --shard {share[0]}/{share[1]}"
    stopped = False
    try:
        with _stopping(minutes):
            if left:
                # Once for all: pictures that are gone would fail each run with the same sentence.
                open_pictures(asked, lambda text: None)
            pace = Pace(folder, asked, runs)
            for row, seed in left:
                pace.begin(row, seed)
                outcome, why = _carry_out(asked, folder, row, seed, device, reporter(pace))
                pace.end(row, seed)
                if outcome == "failed":
                    failed.append((row.name, seed, why))
                elif outcome == "elsewhere":
                    elsewhere.append((row.name, seed))
                elif outcome == "stopped":
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        stopped = True
    return SweepResult(
        folder=folder,
        finished=not (stopped or failed or elsewhere),
        stopped=stopped,
        failed=tuple(failed),
        elsewhere=tuple(elsewhere),
        message=_what_next(asked, folder, stopped, len(failed), len(elsewhere), again),
    )


def _what_next(sweep: Sweep, folder: Path, stopped: bool, failed: int, elsewhere: int, again: str) -> str:
    named = shlex.quote(str(folder))
    if stopped:
        return f"stopped, and saved; go on with: {again}"
    if failed:
        return f"{failed} of these runs failed; when their cause is mended, go on with: {again}"
    if elsewhere:
        return f"{elsewhere} of these runs are in the hands of another process; convnext roadmap status {named} follows"
    if all(is_done(run_folder(folder, row, seed)) for row, seed in sweep.runs()):
        return f"all runs are done; convnext roadmap report {named} shows what came out"
    return f"this share is done; convnext roadmap status {named} tells of the others"


def _carry_out(sweep: Sweep, folder: Path, row: Row, seed: int, device: str, reporter: Reporter) -> tuple[Outcome, str]:
    """Train, or go on with, one run; say how it ended and, where it failed, why."""
    place = run_folder(folder, row, seed)
    if is_locked(place):
        return _elsewhere(row, seed, reporter)
    failure_file(folder, row, seed).unlink(missing_ok=True)
    try:
        if is_run(place):
            free = [
                f"{leaf}={shown(value)}" for leaf, value in leaves(sweep.recipe(row)).items() if leaf in FREE_LEAVES
            ]
            result = resume_run(place, device=device, settings=free, reporter=reporter)
        else:
            with _unwritable(place):
                place.parent.mkdir(exist_ok=True)
            result = train_run(sweep.plan(row, seed, device), out=place, reporter=reporter)
    # Whatever one run dies of, the others are to be trained all the same.
    except Exception as error:
        # Another process may have taken it, and even ended it, while this one was opening the pictures.
        if isinstance(error, FolderInUseError) or is_locked(place):
            return _elsewhere(row, seed, reporter)
        if is_done(place):
            return "done", ""
        why = str(error) if isinstance(error, UserError) else explained(error) or f"{type(error).__name__}: {error}"
        reporter.warn(f"{row.name}, seed {seed}, failed: {why}")
        _note_failure(folder, row, seed, why, "".join(traceback.format_exception(error)), reporter)
        return "failed", why
    return ("done", "") if result.finished and not result.interrupted else ("stopped", "")


def _elsewhere(row: Row, seed: int, reporter: Reporter) -> tuple[Outcome, str]:
    reporter.note(f"{row.name}, seed {seed}, is being trained by another process")
    return "elsewhere", ""


def _note_failure(folder: Path, row: Row, seed: int, why: str, details: str, reporter: Reporter) -> None:
    path = failure_file(folder, row, seed)
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        with _unwritable(path):
            path.parent.mkdir(exist_ok=True)
        write_json(path, {"row": row.name, "seed": seed, "error": why, "when": when, "details": details})
    except UserError as error:
        # It is told at the end in any case, and the other runs are worth more than the note.
        reporter.warn(str(error))


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
