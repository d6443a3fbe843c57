"""How far a run is said to be where its files are damaged, or a start that failed is followed by another."""

import json
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.lab.results import read_results
from convnext.lab.rows import Row
from convnext.lab.status import RunState, failure_file, is_done, state_of, status_of
from convnext.lab.sweep import Sweep
from convnext.train.lock import run_lock
from tests.lab.made_results import EPOCHS, write_made_up

UNREADABLE = [b"5\n", b"{}\n", b"\xff\n{}\n", b'{"kind": "epoch"}\n', b'{"kind": "epoch", "epoch": 2, "raw": null}\n']


def made(folder: Path) -> tuple[Sweep, Row]:
    """A sweep of one finished run."""
    sweep = write_made_up(folder, {"gelu": [60.0]})
    return sweep, next(row for row in sweep.rows if row.name == "gelu")


def gelu(folder: Path, sweep: Sweep, row: Row) -> RunState:
    return state_of(folder, sweep, row, 0)


def fail(folder: Path, row: Row, data: bytes = b'{"error": "the disk is full"}') -> None:
    path = failure_file(folder, row, 0)
    path.parent.mkdir()
    path.write_bytes(data)


def test_a_finished_run_is_done(tmp_path: Path) -> None:
    found = gelu(tmp_path, *made(tmp_path))
    assert (found.state, found.epoch, found.epochs, found.top1, found.seconds) == ("done", EPOCHS, EPOCHS, 60.0, 90.0)


@pytest.mark.parametrize("data", UNREADABLE)
def test_a_finished_run_stays_done_whatever_its_log(tmp_path: Path, data: bytes) -> None:
    sweep, row = made(tmp_path)
    (tmp_path / "gelu" / "seed-0" / "log.jsonl").write_bytes(data)
    found = gelu(tmp_path, sweep, row)
    assert (found.state, found.epoch, found.top1, found.failure) == ("done", EPOCHS, None, None)
    assert status_of(tmp_path, sweep).count("done") == 1


def test_a_run_without_a_readable_log_tells_no_pace(tmp_path: Path) -> None:
    sweep = write_made_up(tmp_path, {"gelu": [60.0, None], "width": [50.0]})
    # 30 seconds an epoch.
    assert status_of(tmp_path, sweep).seconds_left == pytest.approx(EPOCHS * 30)
    (tmp_path / "gelu" / "seed-0" / "log.jsonl").write_bytes(b"5\n")
    assert status_of(tmp_path, sweep).seconds_left == pytest.approx(EPOCHS * 30)
    (tmp_path / "width" / "seed-0" / "log.jsonl").write_bytes(b"5\n")
    assert status_of(tmp_path, sweep).seconds_left is None


@pytest.mark.parametrize("data", UNREADABLE)
def test_an_unfinished_run_with_an_unreadable_log_has_failed(tmp_path: Path, data: bytes) -> None:
    sweep, row = made(tmp_path)
    (tmp_path / "gelu" / "seed-0" / "summary.json").unlink()
    (tmp_path / "gelu" / "seed-0" / "log.jsonl").write_bytes(data)
    found = gelu(tmp_path, sweep, row)
    assert (found.state, found.epoch, found.top1, found.seconds) == ("failed", 0, None, 0)
    assert found.failure is not None and "log.jsonl" in found.failure and "remove the line" in found.failure
    # The report says so too.
    assert read_results(tmp_path).unfinished == (found,)


def test_what_an_earlier_start_failed_of_is_not_told_of_a_running_one(tmp_path: Path) -> None:
    sweep, row = made(tmp_path)
    place = tmp_path / "gelu" / "seed-0"
    (place / "summary.json").unlink()
    fail(tmp_path, row)
    before = gelu(tmp_path, sweep, row)
    assert (before.state, before.failure) == ("failed", "the disk is full")
    with run_lock(place, warn=print):
        running = gelu(tmp_path, sweep, row)
    assert (running.state, running.epoch, running.failure) == ("running", EPOCHS, None)


@pytest.mark.parametrize("data", [b"[1]", b"{", b"{}", b"5", b"\xff", b""])
def test_a_damaged_note_of_a_failure_is_a_failure(tmp_path: Path, data: bytes) -> None:
    sweep, row = made(tmp_path)
    summary = tmp_path / "gelu" / "seed-0" / "summary.json"
    whole = json.loads(summary.read_text(encoding="utf-8"))
    summary.unlink()
    fail(tmp_path, row, data)
    found = gelu(tmp_path, sweep, row)
    assert found.state == "failed" and found.failure is not None and "gelu-seed-0.json" in found.failure
    summary.write_text(json.dumps(whole), encoding="utf-8")
    assert gelu(tmp_path, sweep, row).state == "done"


def test_a_run_that_may_not_be_looked_at_is_a_sentence(tmp_path: Path) -> None:
    assert not is_done(tmp_path / "none")
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert not is_done(tmp_path / "file")
    # The system refuses this name as it refuses a folder without permission.
    with pytest.raises(UserError, match=r"cannot be read \(.+\); change its permissions"):
        is_done(tmp_path / ("x" * 300))
