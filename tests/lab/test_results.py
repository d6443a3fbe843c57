"""What is read from a sweep's folder: the last epoch, the cost of a row, what is not finished, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convnext.errors import UserError
from convnext.lab.results import Pictures, RowResult, Run, read_results
from convnext.lab.sweep import run_folder, write_sweep
from convnext.recipe import with_overrides
from convnext.roadmap import REGIMES
from tests.flops import counted_macs, counted_params, on_meta
from tests.lab.made_results import EPOCHS, MACHINE, SIZE, VERSIONS, made_sweep_of, write_made_up, write_run

# As in Table 10, but for its two last cells, where counting gives less than is printed.
TABLE_10 = "4.09 4.09 4.53 4.42 2.35 5.27 4.64 4.07 4.10 4.15 4.21 4.29 4.15 4.15 4.15 4.15 4.46".split()


def row_of(folder: Path, name: str) -> RowResult:
    found = read_results(folder).row(name)
    assert found is not None
    return found


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def test_a_run_is_its_last_epoch(tmp_path: Path) -> None:
    write_made_up(tmp_path, {"original": [51.5], "gelu": [60.1, 62.3]})
    assert sorted(path.name for path in (tmp_path / "gelu" / "seed-1").iterdir()) == ["log.jsonl", "summary.json"]
    results = read_results(tmp_path)
    assert [row.row.name for row in results.rows if row.runs] == ["original", "gelu"] and len(results.rows) == 17
    first, second = row_of(tmp_path, "gelu").runs
    assert (first.top1, second.top1) == (60.1, 62.3)
    assert first.curve == ((1, pytest.approx(55.1)), (2, pytest.approx(57.6)), (3, pytest.approx(60.1)))
    assert (first.row, first.seed, second.seed, first.seconds, first.images_per_second) == ("gelu", 0, 1, 90, 100)
    assert first.pictures == Pictures(classes=10, train=3000, held_out=1000)
    assert (first.place.machine, first.place.versions) == (MACHINE, VERSIONS)
    assert (first.place.device, first.place.precision, first.place.processes) == ("cpu", "float32", 1)
    assert results.seconds == 270 and results.unfinished == () and results.failures == ()
    assert results.row(None) is None


@pytest.mark.parametrize(("best", "top1", "start"), [("ema", 66.0, 30.0), ("raw", 60.0, 55.0)])
def test_a_run_with_an_average_takes_the_weights_that_it_calls_its_best(
    tmp_path: Path, best: str, top1: float, start: float
) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    place = tmp_path / "gelu" / "seed-0"
    summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    change(
        place / "summary.json", best={**summary["best"], "weights": best}, last={**summary["last"], "ema": {"top1": 66}}
    )
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    averaged = [{**line, "ema": {"top1": 18.0 + 12 * line["epoch"]}} for line in lines]
    (place / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in averaged), encoding="utf-8")
    (run,) = row_of(tmp_path, "gelu").runs
    assert run.top1 == top1 and run.curve[0] == (1, start) and len(run.curve) == EPOCHS


def test_costs_are_those_of_the_network_as_trained_and_as_the_paper_counts(tmp_path: Path) -> None:
    write_made_up(tmp_path / "quarter", {"gelu": [60.0]})
    gelu = row_of(tmp_path / "quarter", "gelu")
    built = on_meta(replace(gelu.row.spec, num_classes=10))
    assert gelu.params == counted_params(built)
    assert gelu.gmacs * 1e9 == pytest.approx(counted_macs(built, SIZE))
    # A row without a run has the same head, for the others tell how many classes there are.
    norms = row_of(tmp_path / "quarter", "fewer_norms")
    assert norms.params == counted_params(on_meta(replace(norms.row.spec, num_classes=10)))
    write_made_up(tmp_path / "full", {"gelu": [80.0]}, regime=REGIMES["resnet50"])
    rows = read_results(tmp_path / "full").rows
    assert [f"{row.gmacs_as_paper:.2f}" for row in rows] == TABLE_10
    assert all(0.05 * row.gmacs_as_paper < row.gmacs < 0.1 * row.gmacs_as_paper for row in rows)


def test_a_scale_that_the_recipe_puts_in_is_counted(tmp_path: Path) -> None:
    sweep = made_sweep_of({"separate_downsampling": [60.0]})
    bare = row_with(tmp_path / "bare", sweep)
    scaled = replace(sweep, modern=with_overrides(sweep.modern, ["regularise.layer_scale=1e-6"]))
    # One number a channel of each block: 3 of 24, 3 of 48, 9 of 96, 3 of 192.
    params = bare.params + 3 * 24 + 3 * 48 + 9 * 96 + 3 * 192
    assert row_with(tmp_path / "scaled", scaled, params=params).params == params


def row_with(folder: Path, sweep: Any, **other: Any) -> RowResult:
    folder.mkdir()
    write_sweep(folder, sweep)
    write_run(folder, sweep, sweep.rows[-1], 0, 60.0, **other)
    return row_of(folder, "separate_downsampling")


def test_what_is_not_finished_is_listed_and_not_used(tmp_path: Path) -> None:
    sweep = write_made_up(tmp_path, {"original": [50.0], "gelu": [60.0, None], "width": [None], "inverted": [70.0]})
    # One that was stopped in its second epoch, with a better accuracy than any.
    stopped = tmp_path / "inverted" / "seed-0"
    (stopped / "summary.json").unlink()
    first = (stopped / "log.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    (stopped / "log.jsonl").write_text("\n".join(first) + "\n", encoding="utf-8")
    failures = tmp_path / "failures"
    failures.mkdir()
    failed = {"row": "width", "seed": 0, "error": "the loss is no number", "when": "2026-11-22 10:00:00"}
    (failures / "width-seed-0.json").write_text(json.dumps({**failed, "details": "..."}), encoding="utf-8")
    since = {**failed, "row": "gelu", "error": "the disk is full"}
    (failures / "gelu-seed-0.json").write_text(json.dumps(since), encoding="utf-8")
    results = read_results(tmp_path)
    assert [(run.row, run.seed, run.top1) for run in results.runs] == [("original", 0, 50.0), ("gelu", 0, 60.0)]
    assert {(run.row, run.seed, run.epoch, run.epochs) for run in results.unfinished} == {
        ("gelu", 1, 0, EPOCHS),
        ("width", 0, 0, EPOCHS),
        ("inverted", 0, 1, EPOCHS),
    }
    assert [(one.row, one.seed, one.error, one.finished) for one in results.failures] == [
        ("gelu", 0, "the disk is full", True),
        ("width", 0, "the loss is no number", False),
    ]
    assert results.failures[1].when == "2026-11-22 10:00:00"
    assert sum(len(seeds) for seeds in sweep.seeds.values()) == len(results.runs) + len(results.unfinished)


def test_runs_that_a_copy_brought_along_count(tmp_path: Path) -> None:
    sweep = write_made_up(tmp_path, {"gelu": [60.0, 61.0]})
    gelu = next(row for row in sweep.rows if row.name == "gelu")
    write_run(tmp_path, sweep, gelu, 11, 62.0)
    write_run(tmp_path, sweep, gelu, 7, 63.0)
    (tmp_path / "gelu" / "seed-old").mkdir()
    assert [(run.seed, run.top1) for run in row_of(tmp_path, "gelu").runs] == [(0, 60), (1, 61), (7, 63), (11, 62)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 3),
        ("split_seed", 1),
        ("epochs", 2),
        ("size", 32),
        ("params", 7),
        ("classes", 9),
        ("model", "quarter:kernel_7"),
        ("recipe", "classic-90"),
    ],
)
def test_a_run_of_another_plan_is_refused(tmp_path: Path, name: str, value: object) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    change(tmp_path / "gelu" / "seed-0" / "summary.json", **{name: value})
    with pytest.raises(UserError, match=r"gelu/seed-0/summary.json is of another run than its place says: \w+ is"):
        read_results(tmp_path)


# The first two pairs have the same number of parameters.
@pytest.mark.parametrize(
    ("there", "here"), [("gelu", "kernel_7"), ("original", "modern_recipe"), ("gelu", "width")], ids=str
)
def test_a_run_in_another_rows_place_is_refused(tmp_path: Path, there: str, here: str) -> None:
    sweep = write_made_up(tmp_path, {there: [60.0], here: [None]})
    rows = {row.name: row for row in sweep.rows}
    shutil.copytree(run_folder(tmp_path, rows[there], 0), run_folder(tmp_path, rows[here], 0))
    said = rf"{here}/seed-0/summary.json is of another run than its place says: model is quarter:{there}, not "
    with pytest.raises(UserError, match=rf"{said}quarter:{here}; move its folder away"):
        read_results(tmp_path)


def with_recipe(folder: Path, *settings: str) -> None:
    sweep = write_made_up(folder, {"original": [50.0], "gelu": [60.0]})
    for name, recipe in (("original", sweep.classic), ("gelu", with_overrides(sweep.modern, settings))):
        path = folder / name / "seed-0" / "recipe.json"
        path.write_text(json.dumps(recipe.to_dict()), encoding="utf-8")


def test_a_run_by_its_rows_recipe_counts_however_it_was_carried_out(tmp_path: Path) -> None:
    with_recipe(tmp_path, "data.workers=7", "engine.log_every=3", "engine.compile=true", "data.batch_size=20")
    assert [run.row for run in read_results(tmp_path).runs] == ["original", "gelu"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optim.lr=0.5", r"optim\.lr is 0\.5, not 0\.004"),
        ("augment.flip=0.25", r"augment\.flip is 0\.25, not 0\.5"),
        ("data.val_fraction=0.4", r"data\.val_fraction is 0\.4, not "),
        # BatchNorm counts within a micro-batch.
        ("engine.micro_batch=3", r"engine\.micro_batch is 3, not 128"),
    ],
)
def test_a_run_by_another_recipe_of_that_name_is_refused(tmp_path: Path, setting: str, said: str) -> None:
    with_recipe(tmp_path, setting)
    with pytest.raises(UserError, match=rf"gelu/seed-0/recipe.json is of another run than its place says: {said}"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"optim": 5}', '{"optim": {"speed": 1}}'])
def test_a_recipe_that_cannot_be_read_is_a_sentence(tmp_path: Path, text: str) -> None:
    with_recipe(tmp_path)
    (tmp_path / "gelu" / "seed-0" / "recipe.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"gelu/seed-0/recipe.json .*; put it back from a copy"):
        read_results(tmp_path)


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"classes": 10}', b"null", b"", b'{"model": "\xff"}', b"\0\0"])
def test_a_summary_that_cannot_be_read_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    (tmp_path / "gelu" / "seed-0" / "summary.json").write_bytes(data)
    with pytest.raises(
        UserError, match=r"gelu/seed-0(/summary\.json)? cannot be read \(.+\); put it back from a copy, or move it away"
    ):
        read_results(tmp_path)


def test_a_summary_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    path = tmp_path / "gelu" / "seed-0" / "summary.json"
    path.unlink()
    # The system refuses to read a folder as it refuses a file without permission.
    path.mkdir()
    with pytest.raises(UserError, match=r"gelu/seed-0/summary\.json cannot be read \(.+\); put it back"):
        read_results(tmp_path)


@pytest.mark.parametrize("data", [b"{", b"{}", b"[1]", b"\xff\xfe"])
def test_a_failure_that_cannot_be_read_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "gelu-seed-0.json").write_bytes(data)
    with pytest.raises(UserError, match=r"failures/gelu-seed-0\.json cannot be read \(.+\); .*move it away"):
        read_results(tmp_path)


@pytest.mark.parametrize("line", [b"5", b"[]", b"{}", b"\xff", b'{"kind": "epoch"}'])
def test_a_log_that_cannot_be_read_is_a_sentence(tmp_path: Path, line: bytes) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    path = tmp_path / "gelu" / "seed-0" / "log.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(UserError, match=r"gelu/seed-0(/log\.jsonl line 1 is| cannot be read)"):
        read_results(tmp_path)


def test_a_folder_without_a_sweep_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no sweep\.json"):
        read_results(tmp_path)


def test_a_log_that_was_lost_costs_the_curve_alone(tmp_path: Path) -> None:
    write_made_up(tmp_path, {"gelu": [60.0]})
    (tmp_path / "gelu" / "seed-0" / "log.jsonl").unlink()
    (run,) = row_of(tmp_path, "gelu").runs
    assert isinstance(run, Run) and run.top1 == 60 and run.curve == ()
