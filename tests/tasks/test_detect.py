"""Detection as a task: padding, losses, scores by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from convnext.data.dense.sources import open_detection
from convnext.data.dense.splits import Objects
from convnext.detection.detector import Detector, build_detector
from convnext.detection.spec import DetectorSpec, detector_spec
from convnext.detection.targets import Detections
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import with_overrides
from convnext.recipes import recipe_for
from convnext.tasks.detect import DetectTask, found_score
from convnext.train.chance import chance
from tests.dense_runs import NET

CPU = torch.device("cpu")
SOURCE = open_detection("scenes:10")


def task_of(**changes: bool) -> DetectTask:
    recipe = with_overrides(recipe_for("detect-smoke", "convnext_atto"), ["engine.micro_batch=4"])
    values = {"preprocess": Preprocess(), "has_masks": True, "convention": "openmmlab", "seed": 0} | changes
    return DetectTask(SOURCE, recipe, **values)  # type: ignore[arg-type]


def detector() -> Detector:
    spec = replace(detector_spec(NET, "mask-rcnn", 6), channels=8, hidden=8, sampled_boxes=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_detector(spec)


def test_what_is_around_a_picture_is_zero_after_normalising_and_nothing_else_is() -> None:
    task = task_of()
    batch = next(iter(task.train_batches().epoch(0)))
    ready = task.prepare(batch, CPU, chance(0, torch.Generator()))
    assert any(size != tuple(batch.images.shape[-2:]) for size in batch.sizes), "some picture is padded"
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (Preprocess().mean, Preprocess().std))
    for image, raw, (height, width) in zip(ready.images, batch.images, batch.sizes, strict=True):
        assert not image[:, height:].any() and not image[:, :, width:].any()
        expected = (raw[:, :height, :width] / 255 - mean) / std
        torch.testing.assert_close(image[:, :height, :width], expected)
    assert [len(target.boxes) for target in ready.targets] == [len(boxes) for boxes in batch.boxes]
    for target in ready.targets:
        assert target.masks is not None and target.masks.shape[1:] == ready.images.shape[-2:]


def test_the_total_is_the_sum_of_all_losses_and_all_are_there() -> None:
    task, model = task_of(), detector().train()
    batch = next(iter(task.train_batches().epoch(0)))
    torch.manual_seed(0)
    losses = task.loss(model, task.prepare(batch, CPU, chance(0, torch.Generator())))
    parts = {name: loss for name, loss in losses.items() if name != "total"}
    assert set(parts) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}
    assert all(float(loss.detach()) > 0 for loss in parts.values())
    torch.testing.assert_close(losses["total"], torch.stack(list(parts.values())).sum())


class _Knows(torch.nn.Module):
    """Finds exactly what is there, in pixels of the batch's pictures."""

    def __init__(self, wrong_class: bool = False, shift: float = 0.0) -> None:
        super().__init__()
        self.wrong_class, self.shift = wrong_class, shift
        self.places = iter(range(len(SOURCE.val)))

    def forward(self, images: torch.Tensor, sizes: tuple[tuple[int, int], ...]) -> list[Detections]:
        found = []
        for height, width in sizes:
            truth = SOURCE.val.objects(place := next(self.places))
            original = SOURCE.val.size(place)
            scale = torch.tensor([width / original[1], height / original[0]] * 2)
            labels = torch.from_numpy(truth.labels)
            # A box filled to its edges: the masks of shapes are not that, so that only their boxes are right.
            found.append(
                Detections(
                    boxes=(torch.from_numpy(truth.boxes) + self.shift) * scale,
                    scores=torch.linspace(0.9, 0.5, len(labels)),
                    labels=(labels + 1) % 6 if self.wrong_class else labels,
                    masks=torch.ones(len(labels), 28, 28),
                )
            )
        return found


@pytest.mark.parametrize(("model", "ap", "f1"), [(_Knows(), 100, 100), (_Knows(wrong_class=True), 0, 0)])
def test_what_is_right_in_the_original_pictures_scores_all(model: _Knows, ap: float, f1: float) -> None:
    task = task_of()
    metric = task.metric()
    for batch in task.val_batches():
        ready = task.prepare(batch, CPU, None)
        assert ready.targets == (), "nothing to learn goes to the device"
        metric.update(task.predict(model, ready), ready)
    values = metric.compute()
    assert values["box_ap"] == pytest.approx(ap, abs=0.5) and values["box_ap50"] == pytest.approx(ap)
    # A filled box overlaps a square well and a ring badly.
    assert values["mask_ap"] is not None and (0 < values["mask_ap"] < 95 if ap else values["mask_ap"] == 0)
    assert sorted(metric.pictures) == list(range(len(SOURCE.val)))
    assert list(metric.pictures.values()) == pytest.approx([f1] * len(SOURCE.val))
    classes = metric.per_class()
    assert [name for name, _ in classes] == list(SOURCE.classes)
    assert sum(row["objects"] for _, row in classes) == sum(  # type: ignore[misc]
        len(SOURCE.val.objects(place)) for place in range(len(SOURCE.val))
    )


def test_metrics_of_two_processes_are_one() -> None:
    task = task_of()
    whole, parts = task.metric(), [task.metric(), task.metric()]
    model, again = _Knows(shift=4.0), _Knows(shift=4.0)
    for number, batch in enumerate(task.val_batches()):
        ready = task.prepare(batch, CPU, None)
        whole.update(task.predict(model, ready), ready)
        parts[number % 2].update(task.predict(again, ready), ready)
    parts[0].merge(parts[1])
    assert parts[0].compute() == whole.compute() and parts[0].pictures == whole.pictures


def objects(boxes: list[list[float]], labels: list[int], crowd: list[bool] | None = None) -> Objects:
    count = len(labels)
    return Objects(
        boxes=np.array(boxes, dtype=np.float32).reshape(count, 4),
        labels=np.array(labels, dtype=np.int64),
        crowd=np.array(crowd or [False] * count, dtype=bool),
        areas=np.ones(count, dtype=np.float32),
        masks=None,
    )


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(
        boxes=torch.tensor(boxes).reshape(-1, 4), scores=torch.tensor(scores), labels=torch.tensor(labels).long()
    )


A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 40.0]


@pytest.mark.parametrize(
    ("detections", "truth", "score"),
    [
        (found([A, B], [0, 1], [0.9, 0.8]), objects([A, B], [0, 1]), 100),
        # One of two found: 2 / (2 + 0 + 1).
        (found([A], [0], [0.9]), objects([A, B], [0, 1]), 100 * 2 / 3),
        # The same object twice: the second one is wrong.
        (found([A, A], [0, 0], [0.9, 0.8]), objects([A], [0]), 100 * 2 / 3),
        (found([A], [1], [0.9]), objects([A], [0]), 0),
        # Below the score that is shown.
        (found([A, B], [0, 0], [0.9, 0.1]), objects([A], [0]), 100),
        # An IoU of a half counts, one of less does not.
        (found([[0.0, 0.0, 10.0, 5.0]], [0], [0.9]), objects([A], [0]), 100),
        (found([[0.0, 0.0, 10.0, 4.9]], [0], [0.9]), objects([A], [0]), 0),
        # On a crowd nothing is wrong, and nothing is missed.
        (found([B], [1], [0.9]), objects([A, B], [0, 1], [False, True]), 0),
        (found([A, B], [0, 1], [0.9, 0.8]), objects([A, B], [0, 1], [False, True]), 100),
        (found([], [], []), objects([A], [0]), 0),
        (found([A], [0], [0.9]), objects([], []), 0),
        (found([], [], []), objects([], []), None),
    ],
)
def test_f1_of_a_picture_by_hand(detections: Detections, truth: Objects, score: float | None) -> None:
    assert found_score(detections, truth) == (None if score is None else pytest.approx(score))


def test_data_and_detector_must_fit() -> None:
    with pytest.raises(UserError, match="the detector tells 3 classes, the data has 6"):
        spec = DetectorSpec(backbone=NET, head="mask-rcnn", num_classes=3, channels=8, hidden=8)
        task_of().build(build_detector(spec))
    with pytest.raises(UserError, match="detection trains a detector, got Identity"):
        task_of().build(torch.nn.Identity())
    boxes_only = replace(SOURCE, has_masks=False)
    with pytest.raises(UserError, match="take --head faster-rcnn"):
        recipe = recipe_for("detect-smoke", "convnext_atto")
        DetectTask(boxes_only, recipe, preprocess=Preprocess(), has_masks=True, convention="openmmlab", seed=0)
