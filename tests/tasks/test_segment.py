"""Segmentation as a task: losses over labelled pixels, both heads, scores at the pictures' own size."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from convnext.data.dense.sources import open_segmentation
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import with_overrides
from convnext.recipes import recipe_for
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import segmenter_spec
from convnext.tasks.segment import ReadySegment, SegmentTask, pixel_loss
from convnext.train.chance import chance
from tests.dense_runs import NET

CPU = torch.device("cpu")
SOURCE = open_segmentation("scenes:10")


def task_of(*overrides: str, multi_scale: bool = False) -> SegmentTask:
    recipe = with_overrides(recipe_for("segment-smoke", "convnext_atto"), ["engine.micro_batch=4", *overrides])
    return SegmentTask(SOURCE, recipe, preprocess=Preprocess(), seed=0, multi_scale=multi_scale)


def segmenter(num_classes: int = 7) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_segmenter(segmenter_spec(NET, num_classes, channels=8, aux_channels=4, dropout=0.0))


def test_the_loss_is_the_mean_over_the_pixels_that_have_a_class() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator, requires_grad=True)
    maps = torch.randint(3, (2, 8, 8), generator=generator)
    maps[0] = 255
    maps[1, :, :3] = 255
    resized = F.interpolate(logits, size=(8, 8), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(resized.permute(0, 2, 3, 1)[maps != 255], maps[maps != 255])
    torch.testing.assert_close(pixel_loss(logits, maps), expected)
    nothing = pixel_loss(logits, torch.full_like(maps, 255))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing == 0 and logits.grad is not None and not logits.grad.any()


def test_the_auxiliary_head_is_weighted() -> None:
    task, model = task_of("segment.aux_weight=0.3"), segmenter().train()
    batch = next(iter(task.train_batches().epoch(0)))
    losses = task.loss(model, task.prepare(batch, CPU, chance(0, torch.Generator())))
    assert set(losses) == {"total", "main", "aux"} and losses["main"] != losses["aux"]
    torch.testing.assert_close(losses["total"], losses["main"] + 0.3 * losses["aux"])


def test_what_is_around_a_picture_is_zero_and_has_no_class() -> None:
    task = task_of("segment.ratio=0.5,0.5")
    batch = next(iter(task.train_batches().epoch(0)))
    ready = task.prepare(batch, CPU, chance(0, torch.Generator()))
    assert ready.images.shape[-2:] == (64, 64) and any(size != (64, 64) for size in batch.sizes)
    for image, classes, (height, width) in zip(ready.images, ready.maps, batch.sizes, strict=True):
        assert not image[:, height:].any() and not image[:, :, width:].any() and image[:, :height, :width].any()
        assert (classes[height:] == 255).all() and (classes[:, width:] == 255).all()


@pytest.mark.parametrize("multi_scale", [False, True])
def test_pictures_are_scored_at_their_own_size(multi_scale: bool) -> None:
    task, model = task_of(multi_scale=multi_scale), segmenter().eval()
    metric = task.metric()
    pixels = 0
    with torch.inference_mode():
        for batch in task.val_batches():
            ready = task.prepare(batch, CPU, None)
            place = int(batch.indices[0])
            truth = torch.from_numpy(SOURCE.val.label_map(place)).long()
            assert torch.equal(ready.maps[0], truth)
            outputs = task.predict(model, ready)
            assert outputs.shape == ready.maps.shape
            metric.update(outputs, ready)
            pixels += int((truth != 255).sum())
    assert int(metric.counts.scores().confusion.sum()) == pixels
    assert sorted(metric.pictures) == list(range(len(SOURCE.val)))


def test_right_scores_all_and_pictures_have_their_own_score() -> None:
    metric = task_of().metric()
    maps = torch.tensor([[[0, 1], [255, 1]], [[2, 2], [3, 3]], [[255, 255], [255, 255]]])
    outputs = torch.tensor([[[0, 1], [5, 1]], [[2, 3], [3, 3]], [[0, 0], [0, 0]]])
    metric.update(outputs, ReadySegment(images=torch.zeros(3, 3, 2, 2), maps=maps, places=(4, 7, 9)))
    # Of the second: class 2 is 1 of 2, class 3 is 2 of 3.
    assert metric.pictures == {4: 100.0, 7: pytest.approx(100 * (1 / 2 + 2 / 3) / 2), 9: None}
    values = metric.compute()
    assert values["miou"] == pytest.approx(100 * (1 + 1 + 1 / 2 + 2 / 3) / 4)
    assert values["pixel_accuracy"] == pytest.approx(100 * 6 / 7)
    rows = dict(metric.per_class())
    assert rows[SOURCE.classes[2]] == {"iou": pytest.approx(50.0), "accuracy": pytest.approx(50.0), "pixels": 2}
    assert rows[SOURCE.classes[5]] == {"iou": None, "accuracy": None, "pixels": 0}


def test_windows_are_used_in_scoring() -> None:
    # A window as large as the picture sees all of it; smaller ones see less, and say something else.
    whole, windows = (task_of(f"data.size={size}", "segment.stride=40") for size in (320, 48))
    model = segmenter().eval()
    with torch.inference_mode():
        found = [
            task.predict(model, task.prepare(next(iter(task.val_batches())), CPU, None)) for task in (whole, windows)
        ]
    assert not torch.equal(*found)


def test_the_segmenter_itself_is_trained_and_has_the_classes_of_the_data() -> None:
    model = segmenter(7)
    assert task_of().build(model) is model
    with pytest.raises(UserError, match="the segmenter tells 3 classes, the data has 7"):
        task_of().build(segmenter(3))
    with pytest.raises(UserError, match="segmentation trains a segmenter, got Identity"):
        task_of().build(torch.nn.Identity())


def test_a_recipe_of_detection_is_refused() -> None:
    with pytest.raises(UserError, match="not one of segmentation; take segment-small or ade20k"):
        recipe = replace(recipe_for("detect-smoke", "convnext_atto"))
        SegmentTask(SOURCE, recipe, preprocess=Preprocess(), seed=0)
