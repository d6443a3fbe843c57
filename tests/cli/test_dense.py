"""Detection and segmentation at the command line: train, eval, predict, data check, demo."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.cli.plan import make_plan
from convnext.data.dense.sources import open_detection, open_segmentation
from convnext.errors import UserError
from convnext.run import train_run
from tests.dense_runs import dense_plan

runner = CliRunner()
TINY = ["model.width=8", "model.depths=1,1,1,1", "head.channels=8"]


def invoke(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        runner.invoke(app, list(arguments), catch_exceptions=False)
    return str(error.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dense")
    for task in ("detect", "segment"):
        train_run(dense_plan(task), out=root / task)
    return {task: root / task for task in ("detect", "segment")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    source = open_detection("scenes:12")
    for place in range(2):
        source.val.picture(place).save(root / f"{place}.png")
    return root


def test_train_shows_what_the_task_is_measured_by(tmp_path: Path) -> None:
    settings = [word for one in (*TINY, "head.hidden=8", "schedule.epochs=2") for word in ("--set", one)]
    out = str(tmp_path / "run")
    done = invoke("train", "scenes:8", "--task", "detect", "--recipe", "detect-smoke", *settings, "--out", out)
    assert "best box AP %" in done.stdout and "top-1" not in done.output
    spec = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert spec["head"] == "mask-rcnn" and spec["model"] == "convnext_atto (width=8; depths=1,1,1,1)"
    resumed = invoke("train", "--resume", out)
    assert "is finished" in resumed.stderr


def test_the_task_follows_from_the_recipe_and_the_recipe_from_the_task() -> None:
    common: dict[str, Any] = {"model": None, "weights": None, "epochs": None, "size": None, "seed": 0, "device": "cpu"}
    by_recipe = make_plan("scenes", recipe="ade20k", settings=[], **common)
    assert (by_recipe.task, by_recipe.recipe.name) == ("segment", "ade20k")
    by_task = make_plan(
        "scenes", recipe=None, task="detect", head="faster-rcnn", settings=["head.channels=64"], **common
    )
    assert (by_task.recipe.name, by_task.head, by_task.head_settings) == (
        "detect-small",
        "faster-rcnn",
        {"channels": 64},
    )
    # --size moves every size in proportion.
    smaller = make_plan("scenes", recipe="coco-mask-rcnn", settings=[], **{**common, "size": 400})
    assert smaller.recipe.detect is not None and smaller.recipe.detect.short_sides == (240, 400)
    with pytest.raises(UserError, match="the recipe ade20k is for segment, not detect"):
        make_plan("scenes", recipe="ade20k", task="detect", settings=[], **common)
    with pytest.raises(UserError, match="heads are for --task detect and segment"):
        make_plan("digits", recipe=None, head="mask-rcnn", settings=[], **common)


def test_weights_are_a_detector_or_the_stages_of_a_classifier(runs: dict[str, Path], tmp_path: Path) -> None:
    from convnext.detection.detector import Detector
    from convnext.network import Network
    from convnext.weights.model import save_model

    common: dict[str, Any] = {"model": None, "epochs": None, "size": None, "seed": 0, "device": "cpu", "settings": []}
    whole = make_plan("scenes:8", recipe="detect-smoke", weights=str(runs["detect"]), **common)
    assert isinstance(whole.model, Detector)
    from convnext.models import create_model

    save_model(tmp_path / "atto.safetensors", create_model("convnext_atto", num_classes=3))
    stages = make_plan("scenes:8", recipe="detect-smoke", weights=str(tmp_path / "atto.safetensors"), **common)
    assert isinstance(stages.model, Network)
    with pytest.raises(UserError, match="as weights of --task detect"):
        make_plan("scenes:8", recipe="detect-smoke", weights=str(runs["segment"]), **common)
    with pytest.raises(UserError, match="holds convnext_atto, not convnext_tiny"):
        make_plan(
            "scenes:8", recipe="detect-smoke", weights=str(tmp_path / "atto.safetensors"),
            **{**common, "model": "convnext_tiny"},
        )  # fmt: skip


def test_eval_of_a_detector(runs: dict[str, Path], tmp_path: Path) -> None:
    page, results = tmp_path / "page.html", tmp_path / "results.json"
    done = invoke(
        "eval",
        str(runs["detect"]),
        "scenes:8",
        "--workers",
        "0",
        "--page",
        str(page),
        "--results",
        str(results),
        "--json",
    )
    told = json.loads(done.stdout)
    assert told["task"] == "detect" and told["part"] == "val" and told["weights"] == "ema"
    assert {"box_ap", "box_ap50", "mask_ap", "images"} <= set(told) and len(told["per_class"]) == 6
    rows = json.loads(results.read_text())
    assert all(set(row) == {"image_id", "category_id", "bbox", "score", "segmentation"} for row in rows)
    text = page.read_text(encoding="utf-8")
    assert "data:image/" in text and "http" not in text.replace("http://www.w3.org", "")
    table = invoke("eval", str(runs["detect"]), "scenes:8", "--workers", "0", "--task", "detect").stdout
    assert "box_ap" in table and "circle" in table
    assert "trained to detect, not to segment" in refused("eval", str(runs["detect"]), "scenes:8", "--task", "segment")
    assert "--on belongs to classification" in refused("eval", str(runs["detect"]), "scenes:8", "--on", "c")
    assert "--multi-scale" not in done.stderr and "several scales" in refused(
        "eval", str(runs["detect"]), "scenes:8", "--multi-scale"
    )


def test_eval_of_a_segmenter_at_one_and_at_several_scales(runs: dict[str, Path]) -> None:
    asked = ["eval", str(runs["segment"]), "scenes:8", "--workers", "0", "--json"]
    one, several = (json.loads(invoke(*asked, *more).stdout) for more in ([], ["--multi-scale"]))
    assert one["images"] == several["images"] > 0 and one["miou"] != several["miou"]
    assert set(one["per_class"]["background"]) == {"iou", "accuracy", "pixels"}
    assert "--results is for detection" in refused(*asked, "--results", "x.json")


def test_predict_draws_objects_and_writes_coco_results(runs: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = invoke("predict", str(runs["detect"]), str(pictures), "--out", str(out), "--score", "0", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["path"]).name for one in told] == ["0.png", "1.png"]
    rows = json.loads((out / "results.json").read_text())
    assert len(rows) == sum(len(one["objects"]) for one in told) > 0
    first = rows[0]
    classes = open_detection("scenes:8").classes
    assert {(row["category_id"], row["category"]) for row in rows} <= set(enumerate(classes, start=1))
    with Image.open(pictures / "0.png") as picture:
        size = [picture.height, picture.width]
    assert first["segmentation"]["size"] == size and sum(first["segmentation"]["counts"]) == size[0] * size[1]
    x0, y0, x1, y1 = told[0]["objects"][0]["box"]
    assert first["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
    assert sorted(path.name for path in (out / "drawn").iterdir()) == ["0.png", "1.png"]
    assert "csv is for classification" in refused("predict", str(runs["detect"]), str(pictures), "--format", "csv")


def test_predict_writes_label_pictures(runs: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    table = invoke("predict", str(runs["segment"]), str(pictures), "--out", str(out)).stdout
    assert "%" in table
    classes = open_segmentation("scenes:8").classes
    with Image.open(out / "labels" / "0.png") as labels, Image.open(pictures / "0.png") as picture:
        assert labels.mode == "P" and labels.size == picture.size
        assert int(np.asarray(labels).max()) < len(classes)


def test_data_check_of_objects_and_of_label_maps(tmp_path: Path) -> None:
    good = json.loads(invoke("data", "check", "scenes:8", "--task", "detect", "--json").stdout)
    assert good["ok"] and good["num_train"] == 8 and len(good["classes"]) == 6
    for part in ("train", "val"):
        for name in ("images", "labels"):
            (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / part / "images" / "a.png")
        Image.fromarray(np.full((8, 8), 9, dtype=np.uint8)).save(tmp_path / part / "labels" / "a.png")
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    bad = invoke("data", "check", str(tmp_path), "--task", "segment", code=1).stdout
    assert "a.png" in bad and "9" in bad
    assert "--root and --size are for classification" in refused(
        "data", "check", "scenes:8", "--task", "detect", "--size", "9"
    )


def test_the_recipe_follows_the_network_in_given_weights(tmp_path: Path) -> None:
    from convnext.detection.checkpoint import save_detector
    from convnext.detection.detector import build_detector
    from convnext.detection.spec import detector_spec
    from convnext.models import create_model
    from convnext.weights.model import save_model

    common: dict[str, Any] = {"model": None, "epochs": None, "size": None, "seed": 0, "device": "cpu", "settings": []}
    classifier = tmp_path / "small.safetensors"
    save_model(classifier, create_model("convnext_tiny", num_classes=3))
    plan = make_plan("scenes", recipe="ade20k", weights=str(classifier), **common)
    assert plan.recipe.regularise.drop_path == 0.4, "T's, not Atto's"
    whole = tmp_path / "whole.safetensors"
    save_detector(whole, build_detector(detector_spec("convnext_tiny", "faster-rcnn", 3)))
    plan = make_plan("scenes", recipe="coco-mask-rcnn", weights=str(whole), **common)
    assert (plan.recipe.regularise.drop_path, plan.title) == (0.4, "convnext_tiny")
    with pytest.raises(UserError, match=r"model\.stem_stride cannot be set"):
        make_plan(
            "scenes", recipe="coco-mask-rcnn", weights=str(whole), **{**common, "settings": ["model.stem_stride=2"]}
        )


def test_weights_that_the_recipe_wants_and_the_file_lacks_are_the_others(tmp_path: Path) -> None:
    from convnext.models import create_model
    from convnext.weights.model import save_model

    file = tmp_path / "two.safetensors"
    raw, ema = create_model("convnext_atto", num_classes=3), create_model("convnext_atto", num_classes=3)
    save_model(file, raw, ema=ema)
    common: dict[str, Any] = {"model": None, "epochs": None, "size": None, "seed": 0, "device": "cpu"}
    for start, expected in (("raw", raw), ("ema", ema)):
        plan = make_plan("scenes", recipe="ade20k", weights=str(file), settings=[f"regularise.start={start}"], **common)
        assert torch.equal(plan.model.state_dict()["stages.0.0.dwconv.weight"], expected.stages[0][0].dwconv.weight)  # type: ignore[union-attr, index]


def test_data_without_a_held_out_part_is_scored_whole_unless_it_was_trained_on(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    source = open_segmentation("scenes:12")
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for place in range(10):
        source.train.picture(place).save(tmp_path / "images" / f"{place}.png")
        Image.fromarray(source.train.label_map(place)).save(tmp_path / "labels" / f"{place}.png")
    (tmp_path / "classes.txt").write_text("\n".join(source.classes) + "\n")
    asked = ["eval", str(runs["segment"]), str(tmp_path), "--workers", "0", "--json"]
    done = invoke(*asked)
    told = json.loads(done.stdout)
    assert (told["part"], told["images"]) == ("all", 10) and "all pictures are scored" in done.stderr
    assert json.loads(invoke(*asked, "--part", "val").stdout)["images"] == 2


def test_what_belongs_to_another_task_is_refused(runs: dict[str, Path], pictures: Path) -> None:
    for task, flags, words in (
        ("detect", ["--top", "3"], "--top belongs to classification"),
        ("segment", ["--score", "0.5"], "--score belongs to detection"),
    ):
        assert words in refused("predict", str(runs[task]), str(pictures), *flags)


def test_names_of_drawn_pictures_are_never_taken_twice() -> None:
    from convnext.cli.dense_predict import _names

    assert _names([Path("a/x.jpg"), Path("b/x.jpg"), Path("c/x-2.jpg"), Path("y.png")]) == ["x", "x-2", "x-2-2", "y"]
