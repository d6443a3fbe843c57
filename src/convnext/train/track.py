"""A run's rows sent on to TensorBoard or Weights & Biases; log.jsonl has them all the same.

Both packages are optional and imported only where they are asked for.
"""

import importlib
import importlib.util
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from convnext.errors import UserError, nearest
from convnext.files import write_text

TRACKERS = ("tensorboard", "wandb")


class Tracker(Protocol):
    """Hears of every row of log.jsonl, as `Journal.write` takes it; `close` ends it."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row; kinds that hold no curve are passed over."""

    def close(self) -> None:
        """Have everything written or sent."""


def require_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker that is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"there is no tracker {name}{nearest(name, TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f'{name} is not installed; install it with: pip install "convnext[track]"')


def open_trackers(
    names: Sequence[str],
    folder: Path,
    *,
    title: str,
    config: Mapping[str, Any],
    first_step: int,
    warn: Callable[[str], None],
) -> list[Tracker]:
    """Open the trackers of a run that starts, or goes on after step `first_step`.

    title, config   what a run is called and what it was made with, JSON-able
    warn            hears, once, of a tracker that fails later; the run goes on without it

    UserError for an unknown tracker, one that is not installed, and for one that a new run cannot open. A run that goes
    on does so without it, because nobody may be there to start it again.
    """
    require_trackers(names)
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        tracker: Tracker
        try:
            if name == "tensorboard":
                tracker = TensorBoardTracker(folder / "tensorboard", first_step)
            else:
                tracker = WandbTracker(folder, title, config)
        except Exception as error:
            if first_step == 0:
                raise UserError(f"{name} cannot be opened: {_reason(error)}{_ADVICE[name]}") from error
            warn(f"{name} cannot be opened, and the run goes on without it: {_reason(error)}")
        else:
            opened.append(_Forgiven(name, tracker, warn))
    return opened


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the curves' points in a row of the log: train/loss of a step, epoch/seconds and val/ema/top1 of an epoch.

    What is no number is left out, as is a row that is neither a step nor an epoch.
    """
    if row["kind"] not in ("step", "epoch"):
        return {}
    group = "train" if row["kind"] == "step" else "epoch"
    points: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            points |= {f"val/{name}/{metric}": float(one) for metric, one in value.items() if _is_number(one)}
        elif _is_number(value) and name not in ("step", "epoch"):
            points[f"{group}/{name}"] = float(value)
    return points


class TensorBoardTracker:
    """Writes TensorBoard's event files in this process, each row at once.

    torch's SummaryWriter leaves that to a thread, whose failure would be a traceback on the terminal.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        path = folder / f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}"
        self._records = RecordWriter(path.open("xb", buffering=0))
        self._write(Event(file_version="brain.Event:2"))
        # Whatever an earlier process wrote after the checkpoint is to be hidden.
        self._write(Event(step=first_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def log(self, row: Mapping[str, Any]) -> None:
        """Write a row's curves at its step."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars(row).items()]
        if values:
            self._write(self._event(step=row["step"], summary=self._summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()


class WandbTracker:
    """Sends rows to Weights & Biases, under the same id when a run goes on.

    folder   the run directory; wandb's own files and the id lie in its wandb folder
    mode     "online" or "offline"; None is for wandb to decide (WANDB_MODE, wandb offline)
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        config: Mapping[str, Any],
        *,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        import wandb

        chosen = wandb.setup().settings
        offline = (mode or chosen.mode) == "offline"
        self._run = wandb.init(
            dir=str(folder),
            project=chosen.project or "convnext",
            name=name,
            id=_kept_id(folder / "wandb" / "id.txt"),
            config=dict(config),
            mode=mode,
            # Offline there is nothing to resume from; wandb sync puts the parts together.
            resume=None if offline else "allow",
            # Its capture of the terminal would tear the progress bar.
            settings=wandb.Settings(console="off", quiet=True, reinit="create_new"),
        )
        # wandb's own step only grows, but a run that goes on after a kill repeats some.
        self._run.define_metric("*", step_metric="step")

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row's curves with its step and epoch."""
        points = scalars(row)
        if points:
            self._run.log({"step": row["step"], "epoch": row["epoch"], **points})

    def close(self) -> None:
        """Wait until everything is sent or, offline, written."""
        self._run.finish()


class _Forgiven:
    """A tracker that is given up when it fails, with one warning."""

    def __init__(self, name: str, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._name, self._warn = name, warn
        self._tracker: Tracker | None = tracker

    def log(self, row: Mapping[str, Any]) -> None:
        if self._tracker is not None:
            self._try(self._tracker.log, row)

    def close(self) -> None:
        if self._tracker is not None:
            self._try(self._tracker.close)
            self._tracker = None

    def _try(self, call: Callable[..., None], *arguments: Any) -> None:
        # Whatever these packages may raise, it is not worth a run.
        try:
            call(*arguments)
        except Exception as error:
            self._tracker = None
            self._warn(f"{self._name} failed, and the run goes on without it: {_reason(error)}")


_ADVICE = {
    "tensorboard": "; leave the tracker out, or make its folder writable",
    "wandb": "; log in with: wandb login, or keep the run on this machine with WANDB_MODE=offline",
}


def _kept_id(path: Path) -> str:
    """Return the id in a file, a new one where there is none."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    run_id = secrets.token_hex(4)
    write_text(path, run_id + "\n")
    return run_id


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
