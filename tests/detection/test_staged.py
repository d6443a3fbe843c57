"""Losses and refinement of the staged heads against plainly written ones."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from convnext.detection.assign import Samples
from convnext.detection.spec import HeadName
from convnext.detection.staged import StagedHeads, cut_masks, of_class
from convnext.detection.targets import Target
from tests.detection.made import no_objects, pictures, randomise, target, tiny_detector

SIDE = (96, 96)


def heads_of(head: HeadName) -> tuple[StagedHeads, dict[str, Tensor]]:
    detector = tiny_detector(head)
    randomise(detector, seed=4)
    heads = detector.roi_heads
    assert isinstance(heads, StagedHeads)
    with torch.no_grad():
        features = detector.eval().pyramid(pictures(((96, 96),)))
    heads.train()
    return heads, features


def plain_decode(box: list[float], offsets: list[float], stds: tuple[float, ...]) -> list[float]:
    dx, dy, dw, dh = (offset * std for offset, std in zip(offsets, stds, strict=True))
    width, height = box[2] - box[0], box[3] - box[1]
    limit = math.log(1000 / 16)
    x, y = box[0] + width / 2 + dx * width, box[1] + height / 2 + dy * height
    width *= math.exp(min(max(dw, -limit), limit))
    height *= math.exp(min(max(dh, -limit), limit))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def plain_encode(box: list[float], wanted: list[float], stds: tuple[float, ...]) -> list[float]:
    width, height = box[2] - box[0], box[3] - box[1]
    offsets = [
        ((wanted[0] + wanted[2]) - (box[0] + box[2])) / 2 / width,
        ((wanted[1] + wanted[3]) - (box[1] + box[3])) / 2 / height,
        math.log((wanted[2] - wanted[0]) / width),
        math.log((wanted[3] - wanted[1]) / height),
    ]
    return [offset / std for offset, std in zip(offsets, stds, strict=True)]


def plain_giou(a: list[float], b: list[float]) -> float:
    def area(x0: float, y0: float, x1: float, y1: float) -> float:
        return max(x1 - x0, 0) * max(y1 - y0, 0)

    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    union = area(*a) + area(*b) - shared
    hull = area(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return shared / union - (hull - union) / hull


PROPOSALS = torch.tensor(
    [[6.0, 10.0, 38.0, 42.0], [28.0, 8.0, 88.0, 64.0], [0.0, 60.0, 20.0, 90.0], [50.0, 50.0, 90.0, 95.0]]
)


@pytest.mark.parametrize("head", ["faster-rcnn", "cascade-mask-rcnn"])
def test_losses_of_the_first_stage_are_the_plainly_written_ones(head: HeadName) -> None:
    heads, features = heads_of(head)
    objects = target([[8, 8, 40, 40], [30, 10, 90, 60]], [0, 2])
    losses = heads.losses(features, [PROPOSALS], [SIDE], [objects])
    # All boxes are drawn, objects first: their own two, then the proposals.
    boxes = torch.cat([objects.boxes, PROPOSALS])
    labels, own = [0, 2, 0, 2, 3, 3], [0, 1, 0, 1]
    logits, offsets = heads.predict(0, features, [boxes])
    classes = -sum(logits.log_softmax(dim=1)[row, label] for row, label in enumerate(labels)) / 6
    stds = (0.1, 0.1, 0.2, 0.2)
    total = 0.0
    for row, place in enumerate(own):
        of_label = offsets[row, 4 * labels[row] : 4 * labels[row] + 4].tolist()
        box, wanted = boxes[row].tolist(), objects.boxes[place].tolist()
        if head == "faster-rcnn":
            encoded = plain_encode(box, wanted, stds)
            total += sum(abs(found - want) for found, want in zip(of_label, encoded, strict=True))
        else:
            total += 10 * (1 - plain_giou(plain_decode(box, of_label, stds), wanted))
    prefix = "stage1." if head == "cascade-mask-rcnn" else ""
    torch.testing.assert_close(losses[f"{prefix}loss_classifier"], classes, rtol=1e-4, atol=1e-5)
    assert losses[f"{prefix}loss_box_reg"].item() == pytest.approx(total / 6, rel=1e-4)


def test_later_stages_learn_from_moved_boxes_at_higher_overlaps_and_weigh_less() -> None:
    heads, features = heads_of("cascade-mask-rcnn")
    for predictor in heads.box_predictors:
        torch.nn.init.zeros_(predictor.bbox_pred.weight)
        torch.nn.init.zeros_(predictor.bbox_pred.bias)
    seen: list[list[Tensor]] = []
    original = heads.predict

    def watched(index: int, features: dict[str, Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        seen.append(list(boxes))
        return original(index, features, boxes)

    heads.predict = watched  # type: ignore[method-assign, assignment]
    objects = target([[10, 10, 50, 50]], [1])
    # Overlaps of 0.55, 0.65 and 0.75 with the object: enough for the first stage, the first two, all three.
    low, middle, high = [10.0, 10.0, 50.0, 32.0], [10.0, 10.0, 50.0, 36.0], [10.0, 10.0, 50.0, 40.0]
    losses = heads.losses(features, [torch.tensor([low, middle, high])], [SIDE], [objects])
    # Offsets of zero leave boxes where they are; the object's own box joins each stage once.
    assert [sorted(boxes[0].tolist()) for boxes in seen] == [sorted([low, middle, high, [10.0, 10.0, 50.0, 50.0]])] * 3
    for index, (weight, wrong) in enumerate(((1.0, [low, middle, high]), (0.5, [middle, high]), (0.25, [high]))):
        total = sum(10 * (1 - plain_giou(box, [10.0, 10.0, 50.0, 50.0])) for box in wrong)
        assert losses[f"stage{index + 1}.loss_box_reg"].item() == pytest.approx(weight * total / 4, rel=1e-4)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_boxes_are_moved_by_the_offsets_of_their_class_inside_the_picture(stage: int) -> None:
    heads, _ = heads_of("cascade-mask-rcnn")
    stds = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))[stage]
    offsets = torch.randn(4, 12, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.tensor([2, 0, 1, 2])
    first, second = heads.moved(stage, offsets, labels, [PROPOSALS[:3], PROPOSALS[3:]], [(64, 80), SIDE])
    for row, box in enumerate([*first, *second]):
        start = 4 * int(labels[row])
        plain = plain_decode(PROPOSALS[row].tolist(), offsets[row, start : start + 4].tolist(), stds)
        height, width = SIDE if row == 3 else (64, 80)
        wanted = [min(max(value, 0), limit) for value, limit in zip(plain, (width, height) * 2, strict=True)]
        assert box.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_samples_move_by_their_label_or_else_by_the_likeliest_class() -> None:
    heads, _ = heads_of("cascade-mask-rcnn")
    offsets = torch.zeros(3, 12)
    offsets[:, 0], offsets[:, 4], offsets[:, 8] = 1.0, 2.0, 3.0
    logits = torch.tensor([[0.0, 5.0, 1.0, 0.0], [0.0, 5.0, 1.0, 9.0], [5.0, 0.0, 0.0, 0.0]])
    sample = Samples(
        boxes=torch.tensor([[20.0, 20.0, 30.0, 30.0]] * 3),
        objects=torch.tensor([0, 0]),
        from_data=torch.tensor([False, False, True]),
    )
    (moved,) = heads._refined(0, logits, offsets, [sample], torch.tensor([2, 3, 0]), [SIDE])
    # 10 pixels times 0.1 times 3 for the label 2, times 2 for background that looks like class 1; the object's own
    # box is left out.
    assert moved[:, 0].tolist() == pytest.approx([23.0, 22.0])


def test_logits_and_mask_probabilities_are_averaged_over_the_stages() -> None:
    heads, features = heads_of("cascade-mask-rcnn")
    heads.eval()
    with torch.no_grad():
        (found,) = heads.detect(features, [PROPOSALS], [SIDE])
        boxes = PROPOSALS
        total = torch.zeros(4, 4)
        for index in range(3):
            logits, offsets = heads.predict(index, features, [boxes])
            total += logits / 3
            if index < 2:
                (boxes,) = heads.moved(index, offsets, logits[:, :3].argmax(dim=1), [boxes], [SIDE])
        scores = total.softmax(dim=1)[:, :3]
        assert found.scores[0] == scores.max()
        row, label = divmod(int(scores.argmax()), 3)
        assert int(found.labels[0]) == label
        (best,) = heads.moved(2, offsets, torch.full((4,), label), [boxes], [SIDE])
        torch.testing.assert_close(found.boxes[0], best[row])
        masks = [heads.mask_logits(index, features, [found.boxes])[0, label].sigmoid() for index in range(3)]
        assert found.masks is not None
        torch.testing.assert_close(found.masks[0], (masks[0] + masks[1] + masks[2]) / 3)


def test_the_mask_loss_is_of_the_masks_inside_the_boxes_for_their_class_only() -> None:
    heads, features = heads_of("mask-rcnn")
    objects = target([[8, 8, 36, 36]], [2])
    losses = heads.losses(features, [torch.zeros(0, 4)], [SIDE], [objects])
    logits = heads.mask_logits(0, features, [objects.boxes])
    assert objects.masks is not None
    # The box is 28 pixels wide and whole: the cut is the mask itself.
    wanted = objects.masks[:, 8:36, 8:36].float()
    assert 0.7 < wanted.mean() < 0.85
    assert torch.equal(cut_masks(objects.masks, torch.tensor([0]), objects.boxes, 28), wanted)
    torch.testing.assert_close(losses["loss_mask"], F.binary_cross_entropy_with_logits(logits[:, 2], wanted))


def test_masks_are_cut_by_place_and_rounded() -> None:
    masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
    masks[1, :, 16:] = 1
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 32.0, 32.0], [8.0, 0.0, 20.0, 32.0]])
    cut = cut_masks(masks, torch.tensor([0, 1, 1]), boxes, 4)
    assert cut[0].sum() == 0
    assert cut[1].tolist() == [[0.0, 0.0, 1.0, 1.0]] * 4
    assert cut[2].tolist() == [[0.0, 0.0, 0.0, 1.0]] * 4
    assert cut_masks(masks, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 4).shape == (0, 4, 4)


def test_offsets_of_a_class_are_four_in_a_row() -> None:
    assert of_class(torch.arange(24.0).view(2, 12), torch.tensor([1, 2])).tolist() == [[4, 5, 6, 7], [20, 21, 22, 23]]


def test_without_any_box_there_is_neither_loss_nor_detection() -> None:
    heads, features = heads_of("cascade-mask-rcnn")
    nothing = torch.zeros(0, 4)
    losses = heads.losses(features, [nothing], [SIDE], [no_objects()])
    assert len(losses) == 9 and all(loss.item() == 0 for loss in losses.values())
    assert all(bool(buffer.isfinite().all()) for buffer in heads.buffers())
    heads.eval()
    (found,) = heads.detect(features, [nothing], [SIDE])
    assert found.masks is not None and found.masks.shape == (0, 28, 28) and len(found.boxes) == 0


def test_targets_may_differ_in_number_from_picture_to_picture() -> None:
    heads, _ = heads_of("mask-rcnn")
    features = tiny_detector().pyramid(pictures())
    empty = Target(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), masks=torch.zeros(0, 96, 96))
    losses = heads.losses(features, [PROPOSALS, PROPOSALS], [SIDE, SIDE], [empty, target([[8, 8, 40, 40]], [1])])
    assert all(bool(loss.isfinite()) for loss in losses.values())
