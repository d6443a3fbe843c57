"""Average precision against pycocotools: ties, crowds, sizes, empty pictures, more than a hundred detections."""

import builtins
import contextlib
import io
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as reference_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convnext.errors import UserError
from convnext.metrics.average_precision import AveragePrecision

# pycocotools is older than this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CLASSES = ("cat", "dog", "owl")
SIZE = (130, 150)
NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", None, None, "ar100")


@dataclass(frozen=True)
class Case:
    """A picture, true objects, and what was found in it."""

    picture_id: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    masks: np.ndarray
    found: np.ndarray
    scores: np.ndarray
    found_labels: np.ndarray
    found_masks: np.ndarray


def random_boxes(generator, count):
    """Return boxes of all three sizes that COCO knows: sides from 3 to 120 pixels."""
    sides = np.exp(generator.uniform(np.log(3), np.log(120), (count, 2)))
    corner = generator.random((count, 2)) * (np.array(SIZE[::-1]) - np.minimum(sides, 125))
    return np.concatenate([corner, np.minimum(corner + sides, SIZE[::-1])], axis=1).astype(np.float32)


def filled(boxes):
    masks = np.zeros((len(boxes), *SIZE), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().astype(int), strict=True):
        mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
        mask[top, left : (left + right) // 2] = False
    return masks


def case(generator, picture_id, *, most_found=12):
    count = int(generator.integers(0, 6))
    boxes = random_boxes(generator, count)
    labels = generator.integers(0, len(CLASSES), count)
    # Most detections are true objects moved a little, so that every threshold splits them.
    moved = np.repeat(boxes, 3, axis=0) + generator.normal(0, 2, (3 * count, 4)).astype(np.float32)
    found = np.concatenate([moved, random_boxes(generator, int(generator.integers(0, most_found)))])
    found = np.concatenate([np.minimum(found[:, :2], found[:, 2:] - 1), found[:, 2:]], axis=1).clip(0, 130)
    found_labels = np.concatenate([np.repeat(labels, 3), generator.integers(0, 3, len(found) - 3 * count)])
    masks = filled(boxes)
    return Case(
        picture_id=picture_id,
        boxes=boxes,
        labels=labels,
        crowd=generator.random(count) < 0.3,
        areas=masks.sum(axis=(1, 2)).astype(np.float32),
        masks=masks,
        found=found.astype(np.float32),
        # A coarse scale, so that there are ties.
        scores=(generator.integers(1, 8, len(found)) / 8).astype(np.float32),
        found_labels=found_labels,
        found_masks=filled(found),
    )


def shown(cases, *, masks=True, category_ids=None):
    metric = AveragePrecision(CLASSES, masks=masks, category_ids=category_ids)
    for one in cases:
        add(metric, one)
    return metric


def add(metric, one):
    metric.add(
        picture_id=one.picture_id,
        size=SIZE,
        truth=one,
        boxes=one.found,
        scores=one.scores,
        labels=one.found_labels,
        masks=one.found_masks if metric.masks else None,
    )


def encoded(mask):
    rle = reference_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def xywh(box):
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]


def reference(cases, kind, category_ids=(1, 2, 3)):
    """Return what pycocotools says, by its own way from a results file, in percent; and its table of precision."""
    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = {
            "info": {},
            "images": [{"id": one.picture_id, "height": SIZE[0], "width": SIZE[1]} for one in cases],
            "categories": [{"id": number, "name": name} for number, name in zip(category_ids, CLASSES, strict=True)],
            "annotations": [
                {
                    "image_id": one.picture_id,
                    "category_id": category_ids[one.labels[place]],
                    "bbox": xywh(one.boxes[place]),
                    "area": float(one.areas[place]),
                    "iscrowd": int(one.crowd[place]),
                    "segmentation": encoded(one.masks[place]),
                }
                for one in cases
                for place in range(len(one.labels))
            ],
        }
        for number, row in enumerate(truth.dataset["annotations"]):
            row["id"] = number + 1
        truth.createIndex()
        found = [
            {
                "image_id": one.picture_id,
                "category_id": category_ids[one.found_labels[place]],
                "score": float(one.scores[place]),
                **({"bbox": xywh(one.found[place])} if kind == "bbox" else {"segmentation": encoded(mask)}),
            }
            for one in cases
            for place, mask in enumerate(one.found_masks)
        ]
        evaluation = COCOeval(truth, truth.loadRes(found) if found else COCO(), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: None if value == -1 else 100 * value
        for name, value in zip(NAMES, evaluation.stats, strict=False)
        if name is not None
    }, evaluation.eval["precision"]


def assert_equal(scores, cases):
    for kind, named in (("box", "bbox"), ("mask", "segm")):
        expected, _ = reference(cases, named)
        got = {name.removeprefix(f"{kind}_"): value for name, value in scores.items() if name.startswith(kind)}
        assert set(got) == set(expected)
        for name, value in expected.items():
            assert got[name] == (None if value is None else pytest.approx(value, abs=1e-9)), (kind, name)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_equals_pycocotools(seed, pictures):
    generator = np.random.default_rng(seed)
    # Not in the order of their numbers.
    cases = [case(generator, int(number)) for number in generator.permutation(40)[:pictures]]
    assert_equal(shown(cases).compute(), cases)


def test_more_than_a_hundred_detections_of_a_class():
    generator = np.random.default_rng(0)
    cases = [case(generator, number, most_found=700) for number in range(4)]
    assert max(np.bincount(one.found_labels).max() for one in cases) > 150
    scores = shown(cases).compute()
    assert scores["box_ap"] > 5
    assert_equal(scores, cases)


def nothing_found(one):
    changes = {name: getattr(one, name)[:0] for name in ("found", "scores", "found_labels", "found_masks")}
    return Case(**{**one.__dict__, **changes})


def nothing_there(one):
    changes = {name: getattr(one, name)[:0] for name in ("boxes", "labels", "crowd", "areas", "masks")}
    return Case(**{**one.__dict__, **changes})


@pytest.mark.parametrize("emptied", [nothing_found, nothing_there, lambda one: nothing_found(nothing_there(one))])
def test_empty_pictures(emptied):
    generator = np.random.default_rng(5)
    full, other = case(generator, 3), case(generator, 9)
    assert_equal(shown([full, emptied(other)]).compute(), [full, emptied(other)])
    assert_equal(shown([emptied(full), emptied(other)]).compute(), [emptied(full), emptied(other)])


def test_perfect_detections_score_a_hundred_and_what_is_not_there_nothing():
    boxes = np.array([[10, 10, 60, 50], [5, 70, 20, 90]], dtype=np.float32)
    labels = np.array([0, 2])
    one = Case(4, boxes, labels, np.zeros(2, bool), np.array([2000.0, 300.0], np.float32), filled(boxes), boxes,
               np.array([0.9, 0.8], np.float32), labels, filled(boxes))  # fmt: skip
    scores = shown([one]).compute()
    assert scores["box_ap"] == scores["mask_ap"] == scores["box_ar100"] == pytest.approx(100)
    assert scores["box_ap_medium"] == pytest.approx(100) and scores["box_ap_large"] is None
    rows = shown([one]).per_class()
    assert [(row.name, row.objects) for row in rows] == [("cat", 1), ("dog", 0), ("owl", 1)]
    assert [row.box_ap for row in rows] == [pytest.approx(100), None, pytest.approx(100)]
    assert shown([one], masks=False).per_class()[0].mask_ap is None


def test_each_class_equals_pycocotools():
    generator = np.random.default_rng(11)
    cases = [case(generator, number) for number in range(12)]
    rows = shown(cases).per_class()
    for kind, named in (("box_ap", "bbox"), ("mask_ap", "segm")):
        _, precision = reference(cases, named)
        for label, row in enumerate(rows):
            assert getattr(row, kind) == pytest.approx(100 * precision[:, :, label, 0, 2].mean())
    assert sum(row.objects for row in rows) == sum((~one.crowd).sum() for one in cases)


def test_merging_equals_one_that_saw_everything():
    generator = np.random.default_rng(3)
    cases = [case(generator, number) for number in range(9)]
    merged = shown(cases[5:])
    merged.merge(shown(cases[:5]))
    assert merged.compute() == shown(cases).compute()
    with pytest.raises(UserError, match="5 pictures were scored twice, the first is 0"):
        merged.merge(shown(cases[:5]))
    with pytest.raises(UserError, match="picture 8 was scored already"):
        add(merged, cases[8])


def test_results_are_what_coco_reads():
    """The rows themselves, evaluated by pycocotools with the data's own numbers, give the same score."""
    generator = np.random.default_rng(7)
    cases = [case(generator, number) for number in (70, 31, 52)]
    metric = shown(cases, category_ids=(3, 17, 90))
    rows = metric.results()
    assert {row["category_id"] for row in rows} == {3, 17, 90}
    assert sum(len(one.found) for one in cases) == len(rows)
    first = next(row for row in rows if row["image_id"] == 70)
    assert first["bbox"] == pytest.approx(xywh(cases[0].found[0]))
    assert first["segmentation"] == encoded(cases[0].found_masks[0])
    by_number = sorted(cases, key=lambda one: one.picture_id)
    assert [row["category_id"] for row in rows] == [
        (3, 17, 90)[label] for one in by_number for label in one.found_labels
    ]
    assert "segmentation" not in shown(cases, masks=False).results()[0]


def test_what_is_refused(monkeypatch):
    generator = np.random.default_rng(1)
    one = case(generator, 1)
    with pytest.raises(UserError, match="nothing to score"):
        AveragePrecision(CLASSES).compute()
    with pytest.raises(UserError, match="masks must be"):
        shown([Case(**{**one.__dict__, "found_masks": one.found_masks[:, :-1]})])
    with pytest.raises(UserError, match="found labels must be from 0 to 2"):
        shown([Case(**{**one.__dict__, "found_labels": one.found_labels + 3})])
    with pytest.raises(UserError, match="3 classes and 2 category_ids"):
        AveragePrecision(CLASSES, category_ids=(1, 2))
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("faster_coco_eval"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'convnext\[detect\]'"):
        AveragePrecision(CLASSES)
