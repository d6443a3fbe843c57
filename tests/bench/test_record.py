"""A record is whole after every group, is gone on from, and belongs to one machine and one way of measuring."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convnext.bench.record import Row
from convnext.errors import UserError
from tests.bench.made import MACHINE, SETTINGS, VERSIONS, one, record

A, B = one("convnext_tiny"), one("b")


def row(program: Any = A, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "program": program,
        "params": 28_589_128,
        "macs": 4_456_000_000,
        "reference": "a@64",
        "round_seconds": (0.5, 0.25, 1.0),
        "reference_round_seconds": (1.0, 1.0, 1.0),
        "calls": 2,
        "peak_memory_bytes": 123,
        "compile_seconds": 4.5,
        "check_error": 1e-6,
        "check_tolerance": 0.01,
        "threads": 2,
        "measured": "2026-01-02",
        "commit": "abc",
    }
    return Row(**{**values, **changes})


def test_a_row_says_all_that_is_known_of_it() -> None:
    values = row(replace(A, size=224, batch=8)).to_dict()
    assert {
        "model", "input_size", "batch", "dtype", "layout", "compile", "train", "device", "params", "gmacs",
        "images_per_second", "images_per_second_quartiles", "ratio", "ratio_quartiles", "reference", "rounds", "calls",
        "round_seconds", "reference_round_seconds", "peak_memory_bytes", "reserved_memory_bytes", "compile_seconds",
        "check_error", "check_tolerance", "threads", "seed", "measured", "commit", "failed", "paper_params",
        "paper_gmacs", "paper_top1", "paper_top1_22k", "paper_images_per_second", "paper_a100_images_per_second",
        "paper_training_memory_bytes",
    } <= set(values)  # fmt: skip
    assert (values["model"], values["input_size"], values["batch"]) == ("convnext_tiny", 224, 8)
    assert values["images_per_second"] == 16.0 and values["ratio"] == 2.0 and values["rounds"] == 3
    assert values["images_per_second_quartiles"] == [12.0, 24.0]
    assert (values["gmacs"], values["paper_gmacs"], values["paper_top1"]) == (4.456, 4.5, 82.1)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    rows = [row(), row(replace(B, compiled=True, layout="channels_last"), failed="why", round_seconds=())]
    rows.append(row(replace(B, threads=2, batch=7), compile_seconds=None, commit=None))
    record(path).put(rows)
    assert record(path).rows([each.program for each in rows]) == rows
    text = json.loads(path.read_text())
    assert text["machine"] == MACHINE and text["versions"] == VERSIONS and text["settings"]["seconds"] == 1.0
    assert text["rows"][0]["paper_params"] is None, "the paper has no 64 pixels"


def test_rows_are_kept_in_the_order_that_is_asked_for_and_newer_ones_replace_older(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    kept = record(path)
    kept.put([row(B, failed="once")])
    assert not kept.is_done(B) and not kept.is_done(A)
    kept.put([row(A)])
    kept.put([row(B)])
    assert kept.is_done(B) and [each.program for each in record(path).rows([A, B])] == [A, B]
    assert record(path).rows([B, one("c")]) == [row(B)]
    # A setting of the program is another program.
    assert not kept.is_done(replace(A, batch=2)) and not kept.is_done(replace(A, layout="channels_last"))


@pytest.mark.parametrize(
    ("settings", "machine", "words"),
    [
        ({"seconds": 9.0}, {}, "other settings: seconds was 1.0, and is 9.0 now"),
        ({"train": True}, {}, "train was False"),
        ({"dtype": "bf16"}, {}, "dtype was fp32, and is bf16"),
        ({"reference": "b@64"}, {}, "reference was a@64"),
        ({}, {"processor": "another"}, "other machine: processor was a made one, and is another now"),
        ({}, {"threads": 8}, "threads was 1"),
    ],
)
def test_a_record_of_other_settings_or_another_machine_is_refused(
    settings: dict[str, Any], machine: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    record(path).put([row()])
    before = path.read_bytes()
    with pytest.raises(UserError, match=words) as error:
        record(path, replace(SETTINGS, **settings), **machine)
    assert "take another name for --out" in str(error.value) and path.read_bytes() == before


@pytest.mark.parametrize("text", ["{}", '{"rows": 3}', "[]", "half a rec", '{"settings": 1}'])
def test_what_is_no_record_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        record(path)
    assert str(path) in str(error.value) and path.read_text() == text


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ["x"]},
        {"gmacs": float("nan")},
        {"gmacs": float("inf")},
        {"round_seconds": "x"},
        {"round_seconds": [0]},
    ],
)
def test_a_row_that_was_edited_by_hand_is_refused_in_one_sentence(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    record(path).put([row()])
    values = json.loads(path.read_text())
    values["rows"][0] |= changes
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"bench\.json is no record of convnext bench .*; take another name for --out"):
        record(path)


def test_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    record(path).put([row()])
    values = json.loads(path.read_text())
    values["versions"]["torch"] = "1"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="other versions: torch was 1, and is 2 now"):
        record(path)
