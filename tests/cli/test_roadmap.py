"""The commands of the roadmap laboratory, as a user types them."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.cost import total_cost
from convnext.errors import UserError
from convnext.roadmap import REGIMES, spec_at
from convnext.train.journal import Journal
from tests.lab.made import made_pictures
from tests.torture import require_equal_runs

runner = CliRunner()
SMALL = (
    "--width 4 --depths 1,1,1,1 --size 32 --set data.batch_size=8 --set data.workers=0 --set engine.log_every=1".split()
)
TWO = ["--steps", "original,gelu", "--epochs", "2", *SMALL]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made_pictures(tmp_path_factory.mktemp("pictures"))


def invoke(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, ["roadmap", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        runner.invoke(app, ["roadmap", *arguments], catch_exceptions=False)
    return str(error.value)


def test_train_status_and_extend(pictures: str, tmp_path: Path) -> None:
    sweep = str(tmp_path / "sweep")
    result = invoke("train", pictures, *TWO, "--out", sweep)
    assert "run 2 of 2: gelu, seed 0" in result.stderr and "in all" in result.stderr
    assert f"convnext roadmap report {sweep}" in result.stderr
    found = json.loads(invoke("status", sweep, "--json").stdout)
    assert (found["done"], found["waiting"], found["seconds_left"]) == (2, 0, 0)
    assert [(run["row"], run["state"], run["epoch"]) for run in found["runs"]] == [
        ("original", "done", 2),
        ("gelu", "done", 2),
    ]
    # The same command with another seed does only what is new.
    extended = invoke("train", pictures, *TWO, "--out", sweep, "--seeds", "2")
    assert "run 3 of 4: original, seed 1" in extended.stderr and "run 1 of 4" not in extended.stderr
    text = invoke("status", sweep).stdout
    assert "4 done" in text and "seed 1" in text and "left" not in text
    # As it was begun, with nothing to say again.
    assert "run 1" not in invoke("train", "--resume", sweep).stderr
    made = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["made"]
    assert set(made) == {"date", "version", "commit", "command"}


def test_shards_are_named_in_what_to_do_next(pictures: str, tmp_path: Path) -> None:
    sweep = str(tmp_path / "sweep")
    invoke("train", pictures, *TWO, "--out", sweep, "--shard", "2/2")
    found = json.loads(invoke("status", sweep, "--json").stdout)
    assert [run["state"] for run in found["runs"]] == ["waiting", "done"]
    status = invoke("status", sweep)
    assert "1 done, 1 waiting" in status.stdout and "of computing left" in status.stdout
    assert f"convnext roadmap train --resume {sweep}" in status.stderr
    stopped = invoke("train", "--resume", sweep, "--minutes", "0", "--shard", "1/2", code=130)
    assert f"--resume {sweep} --shard 1/2" in stopped.stderr


def test_a_failed_run_is_named_and_the_exit_code_tells(pictures: str, tmp_path: Path) -> None:
    result = invoke(
        "train", pictures, *TWO, "--out", str(tmp_path / "s"), "--set-classic", "optim.lr=1e38", "--json", code=1
    )
    told = json.loads(result.stdout)
    assert told["finished"] is False and [(one["row"], one["seed"]) for one in told["failed"]] == [("original", 0)]
    assert "failed: original, seed 0: the loss became" in result.stderr
    assert "failed: original, seed 0: the loss became" in invoke("status", str(tmp_path / "s")).stdout


def test_a_dry_run_shows_rows_and_costs_and_writes_nothing(pictures: str, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    asked = ["train", pictures, "--size", "64", "--epochs", "3", "--seeds", "2", "--out", str(out), "--dry-run"]
    plan = json.loads(invoke(*asked, "--json").stdout)
    assert plan["runs"] == 34 and plan["regime"] == "quarter" and not out.exists()
    assert plan["rows"][0]["recipe"] == "classic-small" and {row["recipe"] for row in plan["rows"][1:]} == {
        "roadmap-small"
    }
    assert "34 runs" in invoke(*asked).stdout
    left = json.loads(invoke("train", pictures, "--leave-one-out", "--dry-run", "--json").stdout)
    assert (left["kind"], left["runs"]) == ("leave-one-out", 14)
    gmacs = {row["row"]: row["gmacs"] for row in left["rows"]}
    assert gmacs["without_depthwise"] > 5 * gmacs["convnext"]
    order = json.loads(invoke("train", pictures, "--order", "gelu, layernorm", "--dry-run", "--json").stdout)
    assert [row["row"] for row in order["rows"]][:4] == ["modern_recipe", "gelu", "layernorm", "stage_ratio"]
    share = json.loads(invoke("train", pictures, "--shard", "2/8", "--dry-run", "--json").stdout)
    assert [row["row"] for row in share["rows"]] == ["kernel_5", "kernel_11"]


def test_a_dry_run_counts_with_the_classes_of_the_data(tmp_path: Path) -> None:
    there = Path(made_pictures(tmp_path / "pictures"))
    sweep, asked = str(tmp_path / "sweep"), ["--steps", "original", "--epochs", "1", *SMALL]
    spec = spec_at("original", REGIMES["quarter"].scaled(width=4, depths=(1, 1, 1, 1)))
    plan = invoke("train", str(there), *asked, "--dry-run", "--json")
    assert plan.stderr == ""
    assert json.loads(plan.stdout)["rows"][0]["params"] == total_cost(replace(spec, num_classes=3)).params
    invoke("train", str(there), *asked, "--out", sweep, "--minutes", "0", code=130)
    there.rename(tmp_path / "elsewhere")
    gone = invoke("train", "--resume", sweep, "--dry-run", "--json")
    assert json.loads(gone.stdout)["rows"][0]["params"] == total_cost(spec).params
    assert f"{there}" in gone.stderr and "parameters and multiply-adds are those with 1000 classes" in gone.stderr


def test_mistakes_are_one_sentence(pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DATA is missing" in refused("train")
    begun = refused("train", pictures, "--seeds", "2", "--leave-one-out", "--resume", str(tmp_path))
    assert begun == "--resume goes on with a sweep as it was begun, so leave out --seeds, --leave-one-out"
    assert "--order names nothing" in refused("train", pictures, "--order", " , ")
    assert "--steps names nothing" in refused("train", pictures, "--steps", "")
    assert "--shard must be I/N" in refused("train", pictures, "--shard", "\u00b2/3")
    assert "there is no folder" in refused("status", str(tmp_path / "nowhere"))
    assert "holds no sweep.json" in refused("train", "--resume", str(tmp_path))
    assert "holds no sweep.json" in refused("status", str(tmp_path))
    assert "two experiments" in refused("train", pictures, "--leave-one-out", "--order", "gelu")
    assert "--shard must be I/N" in refused("train", pictures, "--shard", "3/2")
    assert "--shard must be I/N" in refused("train", pictures, "--shard", "two")
    assert "--depths must be whole numbers" in refused("train", pictures, "--depths", "3,x")
    assert "no row gellu; did you mean gelu" in refused("train", pictures, "--steps", "gellu")
    assert "no regime half" in refused("train", pictures, "--regime", "half")
    order = "width,stage_ratio"
    assert "the order cannot be built" in refused("train", pictures, "--regime", "resnet200", "--order", order)
    assert "model.kernel cannot be set for a sweep" in refused("train", pictures, "--set", "model.kernel=5")
    assert "nowhere" in refused("train", str(tmp_path / "nowhere"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "divided with --shard" in refused("train", pictures)
    assert not list(tmp_path.iterdir())


def test_killed_in_mid_run_the_same_command_ends_with_the_same_bits(pictures: str, tmp_path: Path) -> None:
    options = [
        "roadmap",
        "train",
        pictures,
        "--steps",
        "gelu",
        "--epochs",
        "30",
        *SMALL,
        "--set",
        "engine.save_minutes=0",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    asked = [*options, "--out", str(killed)]
    # One thread, as the suite has: another number adds in another order.
    process = subprocess.Popen(
        [sys.executable, "-m", "convnext", *asked],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = killed / "gelu" / "seed-0" / "log.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) > 8) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (killed / "gelu" / "seed-0" / "summary.json").exists()
    runner.invoke(app, asked, catch_exceptions=False)
    (resumed,) = [row for row in Journal(log).rows() if row["kind"] == "resume"]
    assert resumed["step"] > 0
    runner.invoke(app, [*options, "--out", str(whole)], catch_exceptions=False)
    require_equal_runs(whole / "gelu" / "seed-0", killed / "gelu" / "seed-0")
