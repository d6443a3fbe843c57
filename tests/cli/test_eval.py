"""The command eval at the sets of Table 8: what it prints, what it refuses, and that processes share the work."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.cli.counter import PictureCounter, progress_text
from convnext.errors import UserError
from convnext.labels import imagenet_1k
from convnext.models import create_model
from convnext.preprocess import Preprocess
from convnext.spec import CONVNEXT_TINY
from convnext.weights import save_model
from tests.robustness.made import paint_all

WNIDS = imagenet_1k().wnids
runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    network = create_model(replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("files") / "small.safetensors"
    save_model(path, network, labels=imagenet_1k().names, preprocess=Preprocess(size=32))
    return str(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return paint_all(tmp_path / "data", [f"val/{WNIDS[at % 3]}/ILSVRC2012_val_0000000{at}.JPEG" for at in range(1, 8)])


def run(*arguments: str) -> Any:
    return runner.invoke(app, ["eval", *arguments], catch_exceptions=False)


def as_json(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_reference_stands_beside_the_measured_number(checkpoint, pictures):
    value = as_json(checkpoint, str(pictures), "--on", "imagenet", "--reference", "convnext_tiny-1k-224")
    assert (value["on"], value["images"], value["size"]) == ("imagenet", 7, 32)
    assert {"top1", "top5", "loss", "ece", "per_class", "confusions"} <= set(value)
    assert [one["images"] for one in value["per_class"]] == [2, 3, 2]
    top1, top5 = value["reference"]
    assert (top1["reference"], top1["source"], top1["verdict"]) == (82.1, "Table 8", "none")
    assert (top5["reference"], top5["measured"]) == (95.85, value["top5"]) and "32 pixels" in top5["text"]


def test_the_tables_tell_it_to_people(checkpoint, pictures):
    result = run(checkpoint, str(pictures), "--on", "imagenet", "--reference", "convnext_tiny-1k-224")
    assert "ECE" in result.stdout and "worst classes: " in result.stdout and "most often taken: " in result.stdout
    assert "Table 8" in result.stdout and "82.1" in result.stdout and "no verdict: scored at 32 pixels" in result.stdout


def test_no_row_is_guessed(checkpoint, pictures):
    assert as_json(checkpoint, str(pictures), "--on", "imagenet")["reference"] == []
    assert "there is no published row for this network" in run(checkpoint, str(pictures), "--on", "imagenet").stderr


def test_a_part_of_the_corruptions(checkpoint, pictures):
    flags = ["--on", "c", "--corruptions", "fog, snow", "--severities", "3"]
    value = as_json(checkpoint, str(pictures), *flags)
    assert value["mce"] is None and value["computed"] and value["images"] == 14
    assert [(one["name"], list(one["errors"])) for one in value["corruptions"]] == [("snow", ["3"]), ("fog", ["3"])]
    result = run(checkpoint, str(pictures), *flags)
    assert "no mCE" in result.stdout and "only approximately" in result.stderr and "error % at 3" in result.stdout


def test_data_of_ones_own_has_calibration_classes_and_confusions(checkpoint, pictures, tmp_path):
    value = as_json(checkpoint, str(pictures / "val"), "--confusion", str(tmp_path / "matrix.csv"))
    assert value["part"] == "all" and value["ece"] > 0 and len(value["per_class"]) == 3
    rows = [line.split(",") for line in (tmp_path / "matrix.csv").read_text().splitlines()]
    assert len(rows) == 1001 and sum(int(count) for row in rows[1:] for count in row[-1000:]) == 7


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--corruptions", "fog"], "--corruptions belongs to a set of the paper"),
        (["--reference", "convnext_tiny-1k-224"], "--reference belongs to a set of the paper"),
        (["--on", "v3"], "--on must be one of imagenet, real, v2"),
        (["--on", "imagenet", "--part", "val"], "--part is for data of one's own"),
        (["--on", "imagenet", "--reference", "convnext_tiny"], "did you mean convnext_tiny-1k-224"),
        (["--on", "c", "--severities", "low"], "--severities takes numbers from 1 to 5 such as 1,3, got 'low'"),
        (["--on", "c", "--severities", "9"], "a severity is 1, 2, 3, 4 or 5, got 9"),
        (["--on", "a"], "none of the 200 classes of ImageNet-A"),
        (["--on", "c", "--confusion", "x.csv"], "--on c has no confusion matrix"),
    ],
)
def test_mistakes_are_one_sentence(checkpoint, pictures, flags, words):
    with pytest.raises(UserError, match=words):
        run(checkpoint, str(pictures), *flags)


@pytest.mark.parametrize("on", [None, "imagenet", "real"])
def test_outputs_that_are_no_numbers_are_one_sentence(pictures, tmp_path, on):
    network = create_model(replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8))
    nn.init.constant_(network.classifier.bias, float("nan"))
    save_model(tmp_path / "broken.safetensors", network, labels=imagenet_1k().names, preprocess=Preprocess(size=32))
    (tmp_path / "real.json").write_text(json.dumps([[1]] * 7))
    flags = [] if on is None else ["--on", on, *(["--labels", str(tmp_path / "real.json")] if on == "real" else [])]
    with pytest.raises(UserError, match="outputs of the network are no numbers"):
        run(str(tmp_path / "broken.safetensors"), str(pictures if on else pictures / "val"), *flags, "--json")


def test_a_matrix_that_cannot_be_written_costs_no_score(checkpoint, pictures, capsys):
    arguments = ["eval", checkpoint, str(pictures), "--on", "imagenet", "--confusion", "/nowhere/matrix.csv", "--json"]
    with pytest.raises(UserError, match=r"cannot write /nowhere/matrix\.csv"):
        app(arguments, standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["images"] == 7


def test_processes_share_the_pictures_and_one_speaks(checkpoint, pictures):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "convnext", "eval"]
    done = subprocess.run(
        [*command, checkpoint, str(pictures), "--on", "imagenet", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shared, alone = json.loads(done.stdout), as_json(checkpoint, str(pictures), "--on", "imagenet")
    assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    for name in ("top1", "top5", "images", "per_class", "confusions", "unreadable"):
        assert shared[name] == alone[name]
    assert shared["ece"] == pytest.approx(alone["ece"], rel=1e-6)
    assert done.stderr.count("small.safetensors: ") == 1


def test_the_count_tells_pace_and_time_left(monkeypatch: pytest.MonkeyPatch):
    assert progress_text(2_000, 50_000, 10.0) == "2,000/50,000 pictures  200 a second  0:04:00 left"
    assert progress_text(2_000, 50_000, 10.0, before=1_000).endswith("100 a second  0:08:00 left")
    assert progress_text(1, 2, 0.0).endswith("? left")
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr("convnext.cli.counter.time.monotonic", lambda: now[0])
    with PictureCounter(stream) as counter:
        for step in range(1, 8):
            now[0] = 10.0 * step
            counter(step, 10)
    # Half a minute apart, and the first pictures set the clock.
    assert [line.split("/")[0] for line in stream.getvalue().splitlines()] == ["4", "7"]


def test_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with PictureCounter(stream) as counter:
        counter(1, 4)
        counter(4, 4)
    assert "scoring" in stream.getvalue() and "left" in stream.getvalue()
    quiet = Terminal()
    with PictureCounter(quiet, silent=True) as counter:
        counter(1, 4)
    assert quiet.getvalue() == ""
