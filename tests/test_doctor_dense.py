"""The doctor of detection and segmentation: its numbers are those of the run, and it finds what would spoil one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import convnext.doctor.forecast as forecasting
from convnext.cli.app import app
from convnext.data.dense.splits import DenseSplit, Objects
from convnext.dense_model import open_dense
from convnext.doctor.diagnosis import examine
from convnext.errors import UserError
from convnext.models import build, model_spec
from convnext.run import train_run
from tests.dense_runs import dense_plan

TASKS = ("detect", "segment")


def keys(plan: Any, **how: Any) -> dict[str, str]:
    return {finding.key: finding.level for finding in examine(plan, timed=False, **how).findings}


@pytest.mark.parametrize("task", TASKS)
def test_its_numbers_are_those_of_the_run(task: str, tmp_path: Path) -> None:
    plan = dense_plan(task, "data.workers=0")
    told = examine(plan, timed=True, folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    json.dumps(told.to_dict())
    result = train_run(plan, out=tmp_path / "run")
    assert result.summary is not None
    numbers, facts = told.plan.numbers, told.plan.facts
    for name in ("params", "gmacs", "steps", "size"):
        assert getattr(numbers, name) == result.summary[name], name
    assert (facts.num_train, facts.num_val) == (result.summary["train_images"], result.summary["val_images"])
    assert facts.num_classes == result.summary["classes"] and facts.looked_at_all and facts.median_side_px > 90
    # Two micro-batches of two of four pictures.
    assert (numbers.batch_size, numbers.micro_batches, numbers.micro_batch) == (4, 2, 2)
    assert numbers.times_usual is None
    forecast = told.forecast
    assert forecast is not None and forecast.epochs == 2 and forecast.peak_memory_bytes > 10**8
    assert 0 < forecast.images_per_second < forecast.reading_images_per_second
    found = {finding.key for finding in told.findings}
    assert {"few_pictures", "few_steps"} <= found and not found & {"lr_high", "lr_low", "last_stage", "tight_crop"}


def test_scoring_is_forecast_by_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "time_scoring", lambda engine, batches: 0.25)
    for task in TASKS:
        told = examine(dense_plan(task, "data.workers=0", data="scenes:20"), timed=True)
        assert told.forecast is not None and told.forecast.score_seconds == pytest.approx(4 * 0.25)


def test_what_spoils_a_run_is_found() -> None:
    plan = dense_plan("detect")
    assert keys(dense_plan("detect", "optim.layer_decay=0.7"))["made_for_weights"] == "warning"
    assert (
        keys(dense_plan("segment", "data.batch_size=64", "engine.micro_batch=2"))["batch_larger_than_data"] == "error"
    )
    # No published rates are known that could be carried over.
    assert "lr_high" not in keys(dense_plan("detect", "optim.lr=10"))
    assert keys(replace(plan, recipe=replace(plan.recipe, ema=replace(plan.recipe.ema, decay=0.9999))))["ema_horizon"]


def test_a_run_from_given_weights_has_seen_pictures(tmp_path: Path) -> None:
    train_run(dense_plan("segment"), out=tmp_path / "run")
    given = open_dense(str(tmp_path / "run"), "segment").network
    fresh, pretrained = (
        examine(dense_plan("segment", **changes), timed=False)
        for changes in ({}, {"model": given, "head_settings": {}})
    )
    assert fresh.plan.numbers.params == pretrained.plan.numbers.params
    assert "few_pictures" in {one.key for one in fresh.findings}
    assert "few_pictures" not in {one.key for one in pretrained.findings}


def streets(root: Path) -> Path:
    """Six pictures to train on and six held out, with label maps of two classes."""
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (root / part / kind).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (40, 30), (9 * number, 50, 50)).save(root / part / "images" / f"{number}.png")
            values = np.full((30, 40), number % 2, dtype=np.uint8)
            Image.fromarray(values).save(root / part / "labels" / f"{number}.png")
    (root / "classes.txt").write_text("road\nsky\n")
    return root


@pytest.mark.parametrize("timed", [True, False])
def test_labels_that_would_end_the_run_are_an_error(timed: bool, tmp_path: Path) -> None:
    plan = dense_plan("segment", data=str(streets(tmp_path)))
    assert "wrong_labels" not in keys(plan)
    Image.fromarray(np.full((30, 40), 7, dtype=np.uint8)).save(tmp_path / "train" / "labels" / "3.png")
    (tmp_path / "val" / "images" / "2.png").write_bytes(b"no picture")
    told = examine(plan, timed=timed)
    found = {finding.key: finding for finding in told.findings}
    assert not told.ok and found["wrong_labels"].level == "error" and "3.png" in found["wrong_labels"].names[0]
    assert "data check DATA --task segment" in found["wrong_labels"].advice
    assert "2.png" in found["unreadable"].names[0]


def test_wrong_labels_that_are_met_in_the_timing_are_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dense_plan("segment", data=str(streets(tmp_path)), seed=0)
    Image.fromarray(np.full((30, 40), 7, dtype=np.uint8)).save(tmp_path / "train" / "labels" / "3.png")
    # One picture of each part is looked at, and it is not that one.
    monkeypatch.setattr("convnext.doctor.facts.LOOKED_AT", 2)
    told = examine(plan, timed=True)
    found = {finding.key: finding for finding in told.findings}
    assert not told.ok and told.forecast is None and "3.png" in found["wrong_labels"].names[0]
    assert "met while a few steps were timed" in found["wrong_labels"].title


def test_masks_are_looked_at_where_they_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[bool] = set()
    whole = DenseSplit.objects

    def noting(self: DenseSplit, index: int, *, masks: bool = True) -> Objects:
        asked.add(masks)
        return whole(self, index, masks=masks)

    monkeypatch.setattr(DenseSplit, "objects", noting)
    for head, learned in (("faster-rcnn", False), ("mask-rcnn", True)):
        asked.clear()
        keys(dense_plan("detect", head=head))
        assert asked == {learned}


def test_what_training_refuses_is_refused_without_timing_too() -> None:
    with pytest.raises(UserError, match="fsdp is for classification"):
        keys(dense_plan("detect", "engine.parallel=fsdp"))
    with pytest.raises(UserError, match="micro-batches of one picture"):
        keys(dense_plan("segment", "engine.micro_batch=1"))


def test_a_network_whose_cost_is_not_counted_is_timed_all_the_same() -> None:
    net = replace(model_spec("convnext_isotropic_small"), width=16, depths=(2,))
    told = examine(dense_plan("detect", "data.workers=0", model=net), timed=True)
    assert told.plan.numbers.gmacs is None and told.to_dict()["gmacs"] is None and told.forecast is not None


def test_memory_that_does_not_do_is_never_answered_with_batches_that_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = dense_plan("segment", "data.workers=0")
    monkeypatch.setattr("convnext.doctor.forecast.memory_bytes", lambda: 10)
    (found,) = (one for one in examine(plan, timed=True).findings if one.key == "memory")
    assert "micro_batch" not in found.advice and "smaller --size" in found.advice
    tried: list[int] = []

    def full(run: Any, plan: Any, source: Any, folder: Any, micro_batch: int) -> None:
        tried.append(micro_batch)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(forecasting, "_forecast", full)
    wide = dense_plan("segment", "engine.micro_batch=4")
    found = {one.key: one for one in examine(wide, timed=True).findings}["memory"]
    assert tried == [4, 2] and "not even 2 pictures" in found.title and found.level == "error"
    tried.clear()
    examine(dense_plan("detect", "engine.micro_batch=4"), timed=True)
    assert tried == [4, 2, 1]


def test_batchnorm_over_few_pictures() -> None:
    batch = replace(model_spec("resnet50"), width=8, depths=(1, 1, 1, 1))
    assert keys(dense_plan("detect", model=batch))["batch_norm_few"] == "warning"
    # From given stages the statistics are kept.
    assert "batch_norm_few" not in keys(dense_plan("detect", model=build(batch)))


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["doctor", "scenes:8", "--task", "detect", "--size", "64", "--no-time"])
    assert result.exit_code == 0
    for words in ("recipe detect-small", "6 classes, 8 pictures to train on", "GMACs at 64x102", "every label"):
        assert words in result.output, words
    with pytest.raises(UserError, match="heads are for --task detect and segment"):
        CliRunner().invoke(app, ["doctor", "digits", "--head", "upernet", "--no-time"], catch_exceptions=False)
