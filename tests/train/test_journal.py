"""The log: each row once, half lines passed over, a full disk said so."""

from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.train.journal import Journal


def step(number: int) -> dict[str, object]:
    return {"kind": "step", "step": number, "epoch": 1 + (number - 1) // 2}


def epoch(number: int) -> dict[str, object]:
    return {"kind": "epoch", "step": 2 * number, "epoch": number}


def resumed(step: int, epoch: int, lost: int) -> dict[str, object]:
    return {"kind": "resume", "step": step, "epoch": epoch, "lost_steps": lost}


def test_going_on_keeps_what_the_checkpoint_knows(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    rows = [step(1), step(2), epoch(1), step(3), step(4), epoch(2), step(5)]
    for row in rows:
        journal.write(row)
    assert journal.rows() == rows
    # Saved in the middle of the scoring of epoch 2: its steps are done, its row is not.
    journal.go_on(step=4, epoch=1)
    assert journal.rows() == [step(1), step(2), epoch(1), step(3), step(4), resumed(4, 2, lost=1)]
    journal.go_on(step=3, epoch=1)
    # That a run went on stays on record, and what that cost.
    again = [resumed(4, 2, lost=1), resumed(3, 2, lost=1)]
    assert journal.rows() == [step(1), step(2), epoch(1), step(3), *again]
    journal.go_on(step=0, epoch=0)
    assert journal.rows() == [*again, resumed(0, 1, lost=3)]


def test_half_a_line_at_the_end_is_dropped_and_elsewhere_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal(path)
    journal.write(step(1))
    with path.open("a") as file:
        file.write('{"kind": "ste')
    assert journal.rows() == [step(1)]
    journal.go_on(step=9, epoch=9)
    journal.write(step(2))
    assert journal.rows() == [step(1), resumed(9, 10, lost=0), step(2)]
    path.write_text('{"kind": "ste\n{"kind": "step", "step": 1}\n')
    with pytest.raises(UserError, match="line 1"):
        journal.rows()


@pytest.mark.parametrize("line", [b"5", b"[1]", b'"text"', b"null", b"{}", b'{"step": 1}'])
def test_a_line_that_is_no_row_is_refused_wherever_it_stands(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    Journal(path).write(step(1))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(UserError, match=r"log\.jsonl line 2 is no row of a log; remove the line"):
        Journal(path).rows()


def test_a_log_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"kind": "\xff\xfe"}\n')
    Journal(path).write(step(1))
    with pytest.raises(UserError, match=r"log\.jsonl line 1 is not JSON; remove the line"):
        Journal(path).rows()
    # At the end it may be half a line.
    path.write_bytes(b'{"kind": "resume"}\n{"kind": "\xe2\x80')
    assert Journal(path).rows() == [{"kind": "resume"}]


def test_a_log_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    # The system refuses to read a folder as it refuses a file without permission.
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"log\.jsonl cannot be read \(.+\); put it back"):
        Journal(tmp_path / "log.jsonl").rows()


def test_no_log_yet(tmp_path: Path) -> None:
    assert Journal(tmp_path / "log.jsonl").rows() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_full_disk_is_a_sentence() -> None:
    with pytest.raises(UserError, match="disk is full"):
        Journal(Path("/dev/full")).write(step(1))
