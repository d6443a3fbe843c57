"""Rows of the log arrive in TensorBoard and Weights & Biases, and their failures end no run."""

import errno
import os
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from convnext.errors import UserError
from convnext.train import track
from convnext.train.track import TensorBoardTracker, Tracker, WandbTracker, open_trackers, require_trackers, scalars


def step(number: int) -> dict[str, Any]:
    return {"kind": "step", "step": number, "epoch": 1 + (number - 1) // 2, "loss": 1 / number, "lr": 0.1 * number}


def epoch(number: int) -> dict[str, Any]:
    return {
        "kind": "epoch",
        "epoch": number,
        "step": 2 * number,
        "train_loss": 0.5 / number,
        "seconds": 2.5,
        "raw": {"top1": 10.0 * number, "top5": None, "loss": 1.5},
        "ema": {"top1": 11.0 * number, "top5": None, "loss": 1.25} if number > 1 else None,
        "best": True,
    }


ROWS = [step(1), step(2), epoch(1), {"kind": "resume", "step": 2, "epoch": 1}, step(3), step(4), epoch(2)]


def feed(tracker: Tracker, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        tracker.log(row)
    tracker.close()


def test_each_number_is_a_curve_and_nothing_else_is() -> None:
    assert scalars(step(4)) == {"train/loss": 0.25, "train/lr": 0.4}
    assert scalars(step(4) | {"loss": None}) == {"train/lr": 0.4}
    assert scalars(epoch(1)) == {
        "epoch/train_loss": 0.5,
        "epoch/seconds": 2.5,
        "val/raw/top1": 10.0,
        "val/raw/loss": 1.5,
    }
    assert scalars(epoch(2)).items() >= {"val/raw/top1": 20.0, "val/ema/top1": 22.0, "val/ema/loss": 1.25}.items()
    assert scalars({"kind": "resume", "step": 3, "epoch": 1, "seconds": 2.0}) == {}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    feed(TensorBoardTracker(tmp_path, 0), ROWS)
    assert curves(tmp_path) == {
        "train/loss": [(1, 1.0), (2, 0.5), (3, 0.3333), (4, 0.25)],
        "train/lr": [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)],
        "epoch/train_loss": [(2, 0.5), (4, 0.25)],
        "epoch/seconds": [(2, 2.5), (4, 2.5)],
        "val/raw/top1": [(2, 10.0), (4, 20.0)],
        "val/raw/loss": [(2, 1.5), (4, 1.5)],
        "val/ema/top1": [(4, 22.0)],
        "val/ema/loss": [(4, 1.25)],
    }


def test_tensorboard_hides_what_a_killed_process_wrote_after_the_checkpoint(tmp_path: Path) -> None:
    killed = TensorBoardTracker(tmp_path, 0)
    for number in (1, 2, 3, 4):
        killed.log(step(number) | {"loss": 9.0})
    # Never closed: each row is on its way to the disk when `log` returns.
    assert len(curves(tmp_path)["train/loss"]) == 4
    feed(TensorBoardTracker(tmp_path, 2), [step(3), step(4), step(5)])
    assert curves(tmp_path)["train/loss"] == [(1, 9.0), (2, 9.0), (3, 0.3333), (4, 0.25), (5, 0.2)]
    killed.close()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def records(path: Path) -> list[Record]:
    """Read wandb's local file: protobuf records in the blocks of a LevelDB log, after a header of seven bytes."""
    data, place, parts, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        # No record starts where its header would not fit into a block.
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        # Whole, or the last part of several.
        if kind in (1, 4):
            found.append(Record.FromString(parts))
            parts = b""
    return found


def history(folder: Path) -> list[list[dict[str, float]]]:
    """Return the rows of each of a run's local files, without wandb's own columns."""
    files = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        rows = []
        for record in records(path):
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            if items:
                rows.append({key: float(value) for key, value in items.items() if not key.startswith("_")})
        files.append(rows)
    return files


def test_wandb_keeps_rows_config_and_id_offline(offline: Path) -> None:
    config = {"recipe": {"optim": {"lr": 0.002, "clip": None}}, "model": "convnext_atto"}
    trackers = open_trackers(["wandb"], offline, title="tiny", config=config, first_step=0, warn=pytest.fail)
    for row in ROWS[:4]:
        trackers[0].log(row)
    trackers[0].close()
    resumed = WandbTracker(offline, "tiny", config, mode="offline")
    feed(resumed, ROWS[4:])
    # wandb's own process may be a moment behind with writing.
    deadline = time.monotonic() + 10
    while [len(rows) for rows in history(offline)] != [3, 3] and time.monotonic() < deadline:
        time.sleep(0.1)
    first, second = history(offline)
    assert [row["step"] for row in first] == [1, 2, 2] and [row["step"] for row in second] == [3, 4, 4]
    assert first[1] == {"step": 2, "epoch": 1, "train/loss": 0.5, "train/lr": 0.2}
    assert second[2].items() >= {"epoch": 2, "val/raw/top1": 20.0, "val/ema/top1": 22.0}.items()
    run_id = (offline / "wandb" / "id.txt").read_text().strip()
    paths = sorted(offline.glob("wandb/offline-run-*/*.wandb"))
    runs = [next(record.run for record in records(path) if record.run.run_id) for path in paths]
    assert [(run.run_id, run.display_name, run.project) for run in runs] == [(run_id, "tiny", "convnext")] * 2
    settings = {update.key: update.value_json for update in runs[0].config.update}
    assert settings["model"] == '"convnext_atto"' and '"lr":0.002' in settings["recipe"].replace(" ", "")


def test_what_is_unknown_or_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    require_trackers(["tensorboard", "wandb"])
    with pytest.raises(UserError, match="no tracker tensorbord; did you mean tensorboard"):
        require_trackers(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r'wandb is not installed; .*pip install "convnext\[track\]"'):
        require_trackers(["tensorboard", "wandb"])


def opened(folder: Path, first_step: int, warnings: list[str]) -> list[Tracker]:
    return open_trackers(
        ["tensorboard", "tensorboard"], folder, title="t", config={}, first_step=first_step, warn=warnings.append
    )


def test_a_tracker_that_fails_is_given_up_with_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, *_: object) -> None:
            self.calls = 0

        def log(self, row: Mapping[str, Any]) -> None:
            self.calls += 1
            if self.calls > 1:
                raise ConnectionError("the server is away\nand more")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(track, "TensorBoardTracker", Failing)
    warnings: list[str] = []
    trackers = opened(tmp_path, 0, warnings)
    assert len(trackers) == 1, "asked for twice, opened once"
    feed(trackers[0], ROWS)
    assert warnings == ["tensorboard failed, and the run goes on without it: the server is away"]
    warnings.clear()
    feed(opened(tmp_path, 0, warnings)[0], ROWS[:1])
    assert len(warnings) == 1 and "No space left" in warnings[0]


def test_a_full_disk_under_tensorboard_is_one_warning(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("a device that is always full is Linux's")
    tracker = TensorBoardTracker(tmp_path, 0)
    tracker._records._writer.close()
    tracker._records._writer = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    warnings: list[str] = []
    feed(track._Forgiven("tensorboard", tracker, warnings.append), ROWS)
    assert len(warnings) == 1 and "No space left" in warnings[0]
    tracker.close()


def test_a_new_run_is_told_at_once_and_a_resumed_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr("wandb.init", refuse)
    warnings: list[str] = []
    with pytest.raises(UserError, match=r"wandb cannot be opened: No API key.*WANDB_MODE=offline"):
        open_trackers(["wandb"], tmp_path, title="t", config={}, first_step=0, warn=warnings.append)
    assert warnings == []
    assert open_trackers(["wandb"], tmp_path, title="t", config={}, first_step=5, warn=warnings.append) == []
    assert len(warnings) == 1 and "goes on without it" in warnings[0]
