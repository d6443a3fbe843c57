"""How far a sweep is: what is done, running, stopped, failed and left, and how much computing that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from convnext.errors import UserError
from convnext.files import read_json
from convnext.folder import SUMMARY
from convnext.lab.rows import Row
from convnext.lab.sweep import FAILURES, Sweep, run_folder
from convnext.run import is_run
from convnext.train.journal import Journal
from convnext.train.lock import is_locked
from convnext.train.loop import LOG

State = Literal["done", "running", "stopped", "failed", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "stopped", "failed", "waiting")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run of a sweep.

    epoch    last one that is logged, of `epochs`; of a run that is done, all
    top1     of the last logged epoch, in percent; None before the first, or where the log cannot be read
    seconds  that its training has taken so far; 0 where the log does not say
    failure  why it failed when it was last tried, or cannot go on, in one sentence; None while it is running
    """

    row: str
    seed: int
    state: State
    epoch: int
    epochs: int
    top1: float | None
    seconds: float
    failure: str | None = None

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1."""
        return 1.0 if self.state == "done" else min(1.0, self.epoch / self.epochs)


@dataclass(frozen=True, kw_only=True)
class Status:
    """All runs of a sweep, and the seconds of computing that are left; None before any pace is known."""

    runs: tuple[RunState, ...]
    seconds_left: float | None

    def count(self, state: State) -> int:
        """Return how many runs are in a state."""
        return sum(run.state == state for run in self.runs)


def status_of(folder: Path, sweep: Sweep) -> Status:
    """Return how far the sweep of a folder is; nothing is changed there."""
    runs = tuple(state_of(folder, sweep, row, seed) for row, seed in sweep.runs())
    return Status(runs=runs, seconds_left=seconds_left(runs))


def state_of(folder: Path, sweep: Sweep, row: Row, seed: int) -> RunState:
    """Return how far one run is.

    One that has a log which cannot be read is done all the same if it is finished; else it counts as failed, for it
    cannot go on. UserError where the folder itself may not be read.
    """
    place = run_folder(folder, row, seed)
    epochs = sweep.recipe(row).schedule.epochs
    epoch, top1, seconds, damage = _logged(place)
    failure = read_failure(folder, row, seed) or damage
    state: State = "waiting"
    if is_done(place):
        state, failure, epoch = "done", None, epochs
    elif is_locked(place):
        # What an earlier start failed of is no news of this one.
        state, failure = "running", None
    elif failure is not None:
        state = "failed"
    elif is_run(place):
        state = "stopped"
    return RunState(
        row=row.name, seed=seed, state=state, epoch=epoch, epochs=epochs, top1=top1, seconds=seconds, failure=failure
    )


def is_done(place: Path) -> bool:
    """Whether the run of a run directory is finished; UserError where the directory may not be read."""
    try:
        (place / SUMMARY).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"{place} cannot be read ({error.strerror}); change its permissions") from None
    return True


def _logged(place: Path) -> tuple[int, float | None, float, str | None]:
    """Return the last epoch that a run has logged, its top-1, the seconds until then, and why the log is unreadable."""
    nothing = 0, None, 0.0
    try:
        logged = [line for line in Journal(place / LOG).rows() if line["kind"] == "epoch"]
        if not logged:
            return *nothing, None
        last: dict[str, Any] = logged[-1]
        return int(last["epoch"]), float(last["raw"]["top1"]), float(last["seconds"]), None
    except UserError as error:
        return *nothing, str(error)
    except (KeyError, TypeError, ValueError) as error:
        why = f"its last epoch lacks something, {type(error).__name__}: {error}"
        return *nothing, f"{place / LOG} cannot be read ({why}); remove the line to go on"


def seconds_left(runs: Sequence[RunState]) -> float | None:
    """Return the seconds of computing that the unfinished runs want at the pace of those that are known.

    A row's own pace counts where one of its runs has logged an epoch, else the mean of all; failed runs count, for the
    next start tries them again. None where no run has logged any.
    """
    paces: dict[str, list[float]] = {}
    for run in runs:
        if run.epoch and run.seconds:
            paces.setdefault(run.row, []).append(run.seconds / run.epoch)
    if not paces:
        return None
    whole = fmean(fmean(own) for own in paces.values())
    return sum(
        (1 - run.fraction) * run.epochs * fmean(paces.get(run.row, [whole])) for run in runs if run.state != "done"
    )


def failure_file(folder: Path, row: Row, seed: int) -> Path:
    """Return where a sweep notes why a run failed."""
    return folder / FAILURES / f"{row.name}-seed-{seed}.json"


def read_failure(folder: Path, row: Row, seed: int) -> str | None:
    """Return why a run failed when it was last tried, None where it did not."""
    path = failure_file(folder, row, seed)
    if not path.exists():
        return None
    try:
        return str(read_json(path)["error"])
    except UserError as error:
        return str(error)
    except KeyError:
        return f"{path} does not say why"
