"""Detectors and segmenters go through the whole life of a run: trained, stopped, resumed, scored, used, trained on."""

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from convnext.data.dense.sources import open_detection, open_segmentation
from convnext.data.loader import Share
from convnext.dense_evaluate import DenseScoring, evaluate_dense
from convnext.dense_model import open_dense, task_of_checkpoint
from convnext.dense_predict import find_in_pictures
from convnext.dense_show import best_and_worst
from convnext.detection.detector import Detector, build_detector
from convnext.detection.spec import detector_spec
from convnext.doctor.diagnosis import examine
from convnext.errors import UserError
from convnext.kinds.dense import synchronise_norms
from convnext.kinds.kind import kind_of
from convnext.metrics.mean_iou import MeanIoU
from convnext.models import create_model, model_spec
from convnext.run import resume_run, train_run
from convnext.seeds import SeedsResult, resume, train_seeds
from convnext.segmentation.segmenter import build_segmenter
from convnext.segmentation.spec import SegmenterSpec, segmenter_spec
from convnext.train.checkpoint import read_checkpoint
from tests.dense_runs import NET, dense_plan
from tests.torture import require_equal_runs
from tests.train.tiny import Watcher

TASKS = ("detect", "segment")
TARGETS = {"detect": "box_ap", "segment": "miou"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task."""
    root = tmp_path_factory.mktemp("dense")
    for task in TASKS:
        assert train_run(dense_plan(task), out=root / task).finished
    return {task: root / task for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_stopped_inside_an_epoch_and_resumed_it_ends_with_the_same_bits(
    task: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    parts = train_run(dense_plan(task), out=tmp_path / "parts", reporter=Watcher(signal_after=3))
    assert not parts.finished and read_checkpoint(tmp_path / "parts" / "last.safetensors").progress.step == 3
    watcher = Watcher()
    # Another number of readers, too.
    assert resume_run(tmp_path / "parts", settings=["data.workers=1"], reporter=watcher).finished
    assert watcher.first_step == 3
    require_equal_runs(runs[task], tmp_path / "parts")
    for name in ("curves.png", "predictions.html", "summary.json"):
        assert (tmp_path / "parts" / name).exists()


@pytest.mark.parametrize(("task", "one_size"), [("detect", False), ("segment", True)])
def test_algorithms_are_tried_out_only_where_pictures_keep_their_size(
    task: str, one_size: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def noting(device: torch.device, *, one_size: bool) -> contextlib.AbstractContextManager[None]:
        told.append(one_size)
        return contextlib.nullcontext()

    for module in ("loop", "timing"):
        monkeypatch.setattr(f"convnext.train.{module}.chosen_convolutions", noting)
    train_run(dense_plan(task), out=tmp_path / "run", reporter=Watcher(signal_after=1))
    assert told == [one_size]
    examine(dense_plan(task, "data.workers=0"), timed=True)
    assert len(told) > 1 and set(told) == {one_size}


@pytest.mark.parametrize("task", TASKS)
def test_another_seed_gives_other_weights(task: str, runs: dict[str, Path], tmp_path: Path) -> None:
    train_run(dense_plan(task, "schedule.epochs=2", seed=2), out=tmp_path / "other")
    with pytest.raises(AssertionError):
        require_equal_runs(runs[task], tmp_path / "other")


@pytest.mark.parametrize("task", TASKS)
def test_the_summary_says_what_was_scored_and_scoring_again_agrees(task: str, runs: dict[str, Path]) -> None:
    summary = json.loads((runs[task] / "summary.json").read_text(encoding="utf-8"))
    target = TARGETS[task]
    assert summary["task"] == task and summary["last"]["ema"] is not None
    assert set(summary["per_class"]) == set(summary["labels"]) and summary["gmacs"] > 0
    assert summary["params"] == sum(tensor.numel() for tensor in open_dense(str(runs[task]), task).network.parameters())  # type: ignore[arg-type]
    for kind in ("ema", "raw"):
        model = open_dense(str(runs[task]), task, weights=kind)  # type: ignore[arg-type]
        done = evaluate_dense(model, "scenes:8", part="auto", how=DenseScoring(workers=0, device="cpu"), note=print)
        assert done.weights == kind and done.part == "val"
        if kind == summary["best"]["weights"]:
            assert done.values[target] == pytest.approx(summary["best"][target])
    assert task_of_checkpoint(str(runs[task])) == task


def test_raw_and_averaged_weights_are_not_the_same(runs: dict[str, Path]) -> None:
    raw, ema = (open_dense(str(runs["segment"]), "segment", weights=kind).network for kind in ("raw", "ema"))  # type: ignore[arg-type]
    assert not torch.equal(next(raw.parameters()), next(ema.parameters()))


@pytest.mark.parametrize("task", TASKS)
def test_pictures_are_seen_in_use_as_in_scoring(task: str, runs: dict[str, Path], tmp_path: Path) -> None:
    model = open_dense(str(runs[task]), task)  # type: ignore[arg-type]
    done = evaluate_dense(model, "scenes:8", part="val", how=DenseScoring(workers=0, device="cpu"), note=print)
    source = (open_detection if task == "detect" else open_segmentation)("scenes:8")
    source.val.picture(0).save(tmp_path / "one.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (found, broken) = find_in_pictures(
        model, [tmp_path / "one.png", tmp_path / "broken.png"], least_score=0.0, device="cpu"
    )
    assert broken.picture is None and "broken.png" in str(broken.error)
    if task == "detect":
        rows = [row for row in done.metric.precision.results() if row["image_id"] == source.val.picture_id(0)]  # type: ignore[union-attr]
        assert found.boxes is not None and found.scores is not None and len(rows) == len(found.boxes) > 0
        assert sorted(row["score"] for row in rows) == pytest.approx(sorted(found.scores.tolist()), abs=1e-5)
        assert found.masks is not None and found.masks.shape[1:] == (found.picture.height, found.picture.width)  # type: ignore[union-attr]
    else:
        truth = torch.from_numpy(source.val.label_map(0)).long()
        assert found.classes is not None
        score = done.metric.pictures[0]  # type: ignore[index]
        own = MeanIoU(len(source.classes))
        own.update(torch.from_numpy(found.classes).long(), truth)
        assert own.scores().miou == pytest.approx(score)


def test_a_detector_is_trained_on_from_its_own_run_and_from_a_classifier(runs: dict[str, Path], tmp_path: Path) -> None:
    given = open_dense(str(runs["detect"]), "detect").network
    assert isinstance(given, Detector)
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    plan = dense_plan(
        "detect", "optim.lr=1e-12", "schedule.min_lr=0", "schedule.epochs=2", model=given, head_settings={}
    )
    train_run(plan, out=tmp_path / "on")
    after = read_checkpoint(tmp_path / "on" / "last.safetensors").raw
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=1e-4)
    assert all(torch.equal(given.state_dict()[name], tensor) for name, tensor in before.items()), "it was copied"
    # The stages of a classifier, its own LayerScale included; its head is left.
    network = create_model(replace(NET, layer_scale=0.3), num_classes=7)
    train_run(replace(plan, model=network, head_settings={"channels": 8, "hidden": 8}), out=tmp_path / "stages")
    stages = read_checkpoint(tmp_path / "stages" / "last.safetensors").raw
    for name, tensor in network.state_dict().items():
        if not name.startswith(("norm.", "head.")):
            torch.testing.assert_close(stages[f"backbone.network.{name}"], tensor, atol=1e-6, rtol=1e-4)


def test_a_given_resnet_keeps_its_statistics(tmp_path: Path) -> None:
    spec = replace(model_spec("resnet50"), width=8, depths=(1, 1, 1, 1))
    network = create_model(spec)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.fill_(0.25)
    watcher = Watcher()
    train_run(dense_plan("detect", "schedule.epochs=2", model=network), out=tmp_path / "run", reporter=watcher)
    state = read_checkpoint(tmp_path / "run" / "last.safetensors").raw
    assert torch.equal(state["backbone.network.bn1.running_mean"], torch.full((8,), 0.25))
    assert any("keep their statistics" in text for text in watcher.notes)


@pytest.mark.parametrize(
    ("task", "values", "words"),
    [
        ("detect", {"head": "retina"}, "detection has no head retina"),
        ("segment", {"head": "fcn"}, "segmentation has the head upernet, got fcn"),
        ("detect", {"head_settings": {"chanels": 8}}, "the head has no setting chanels; did you mean channels"),
        ("segment", {"head_settings": {"channels": 0}}, "channels must be a whole number of at least 1, got 0"),
        ("segment", {"model": "swin_tiny"}, "stands on a network of this package"),
        ("detect", {"data": "digits"}, "no such folder or file: digits"),
        ("segment", {"head_settings": {"dropout": "high"}}, "dropout must be at least 0 and below 1, got high"),
        ("detect", {"head_settings": {"freeze_norms": "maybe"}}, "freeze_norms must be true or false"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_written(
    task: str, values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        train_run(dense_plan(task, **values), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("setting", "words"),
    [("engine.parallel=fsdp", "fsdp is for classification"), ("data.size=16", "is too small|must be at")],
)
def test_what_cannot_be_carried_out_is_refused_at_once(task: str, setting: str, words: str, tmp_path: Path) -> None:
    overrides = [setting, *(["segment.stride=16"] if task == "segment" else [])]
    with pytest.raises(UserError, match=words):
        train_run(dense_plan(task, *overrides), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_the_evaluator_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(UserError, match=r"install it with: pip install 'convnext\[detect\]'"):
        train_run(dense_plan("detect"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", TASKS)
def test_a_given_network_is_left_as_it_was(task: str, tmp_path: Path) -> None:
    network = create_model(NET)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    train_run(dense_plan(task, "schedule.epochs=2", model=network), out=tmp_path / "run")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_cascades_recipe_brings_its_head(tmp_path: Path) -> None:
    recipe = replace(dense_plan("detect").recipe, name="coco-cascade-mask-rcnn")
    source = open_detection("scenes:8")
    network = kind_of("detect").network(replace(dense_plan("detect"), recipe=recipe), recipe, source, print)
    assert isinstance(network, Detector) and network.spec.head == "cascade-mask-rcnn"


def test_an_empty_micro_batch_has_losses_of_nothing_that_reach_every_parameter() -> None:
    # What several processes do where none of a process's pictures could be read.
    for convention in ("openmmlab", "torchvision"):
        spec = replace(detector_spec(NET, "mask-rcnn", 6, convention=convention), channels=8, hidden=8)  # type: ignore[arg-type]
        detector = build_detector(spec).train()
        losses = detector(torch.zeros(0, 3, 64, 64), (), ())
        total = sum(losses.values())
        total.backward()
        assert float(total.detach()) == 0
        missing = [name for name, one in detector.named_parameters() if one.requires_grad and one.grad is None]
        assert missing == [], convention


@pytest.mark.parametrize(
    ("count", "best", "worst"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (7, 4, 3), (13, 6, 6), (50, 6, 6)]
)
def test_no_picture_is_among_the_best_and_the_worst(count: int, best: int, worst: int) -> None:
    found = best_and_worst(range(count))
    assert (len(found[0]), len(found[1])) == (best, worst) and not set(found[0]) & set(found[1])
    assert found[0] == sorted(found[0], reverse=True) and found[1] == sorted(found[1])
    assert not count or found[0][0] == count - 1


def test_the_callers_loop_is_not_in_inference_mode(runs: dict[str, Path], tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    for task in TASKS:
        for _ in find_in_pictures(open_dense(str(runs[task]), task), [tmp_path / "one.png"], device="cpu"):  # type: ignore[arg-type]
            assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("task", TASKS)
def test_several_seeds_stop_and_go_on(task: str, runs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    # Whole given weights in one case, given stages in the other.
    given: dict[str, Any] = {"model": create_model(NET, num_classes=3)}
    if task == "segment":
        given = {"model": open_dense(str(runs[task]), task).network, "head_settings": {}}
    plan = dense_plan(task, name="little", **given)

    class Second(Watcher):
        """Stops in the second run only."""

        runs = 0

        def start(self, run: Any) -> None:
            self.runs += 1
            self.signal_after = 1 if self.runs == 2 else None

    first = train_seeds(plan, [1, 4], out=folder, reporter=Second())
    assert not first.finished and [result.finished for result in first.runs] == [True, False]
    second = resume(folder)
    assert isinstance(second, SeedsResult) and second.finished
    require_equal_runs(train_run(replace(plan, seed=4), out=tmp_path / "four").folder, folder / "seed-4")
    summary = json.loads((folder / "seeds.json").read_text(encoding="utf-8"))
    scored = [json.loads((folder / f"seed-{n}" / "summary.json").read_text(encoding="utf-8")) for n in (1, 4)]
    assert [row["best"] for row in summary["runs"]] == [one["best"][TARGETS[task]] for one in scored]
    assert {one["model"] for one in scored} == {"little"}
    assert f"best {'box AP' if task == 'detect' else 'mIoU'} of 2 seeds" in second.message


def test_a_recipe_of_another_task_is_refused(tmp_path: Path) -> None:
    plan = dense_plan("detect")
    with pytest.raises(UserError, match="not one of segmentation"):
        train_run(replace(plan, task="segment", head_settings={}), out=tmp_path / "run")


def test_a_model_of_other_classes_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("train", "val"):
        for part in ("images", "labels"):
            (tmp_path / "data" / name / part).mkdir(parents=True)
    for name in ("train", "val"):
        Image.new("RGB", (40, 40)).save(tmp_path / "data" / name / "images" / "a.png")
        Image.new("L", (40, 40)).save(tmp_path / "data" / name / "labels" / "a.png")
    (tmp_path / "data" / "classes.txt").write_text("road\nsky\n")
    model = open_dense(str(runs["segment"]), "segment")
    with pytest.raises(UserError, match="tells 7 classes apart"):
        evaluate_dense(model, str(tmp_path / "data"), part="auto", how=DenseScoring(workers=0), note=print)


def test_norms_of_heads_count_over_all_processes_on_gpus() -> None:
    spec = segmenter_spec(NET, 7, channels=8, aux_channels=4)
    names = {
        (on_gpu, size): _norm_kinds(spec, Share(world_size=size), on_gpu) for on_gpu in (True, False) for size in (1, 2)
    }
    assert names.pop((True, 2)) == {"SyncBatchNorm"} and set(map(frozenset, names.values())) == {
        frozenset({"BatchNorm2d"})
    }


def _norm_kinds(spec: SegmenterSpec, share: Share, on_gpu: bool) -> set[str]:
    network = build_segmenter(spec)
    before = network.state_dict().keys()
    synchronise_norms(network, share, on_gpu=on_gpu)
    assert network.state_dict().keys() == before
    return {type(module).__name__ for module in network.modules() if "BatchNorm" in type(module).__name__}
