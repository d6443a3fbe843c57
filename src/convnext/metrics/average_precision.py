"""COCO's average precision of boxes and masks, gathered picture by picture and computed at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from convnext.errors import UserError

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Masks = NDArray[np.bool_]
Rle = dict[str, Any]  # run lengths in COCO's form: size, counts

# What is reported of each kind: name, precision or recall, threshold (None: mean of 0.50 to 0.95), size of objects.
REPORTED = (
    ("ap", "precision", None, "all"),
    ("ap50", "precision", 0.5, "all"),
    ("ap75", "precision", 0.75, "all"),
    ("ap_small", "precision", None, "small"),
    ("ap_medium", "precision", None, "medium"),
    ("ap_large", "precision", None, "large"),
    ("ar100", "recall", None, "all"),
)
# Detections of a picture that count, for each class; the last entry of the tables.
MOST_DETECTIONS = 100


class Truth(Protocol):
    """The true objects of a picture, in its own pixels."""

    @property
    def boxes(self) -> Floats:
        """Left, top, right, bottom (M, 4)."""

    @property
    def labels(self) -> Integers:
        """Numbers of classes (M,)."""

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """Whether it stands for many objects, which may be found any number of times (M,)."""

    @property
    def areas(self) -> Floats:
        """Square pixels, by which objects are small, medium or large (M,)."""

    @property
    def masks(self) -> Masks | None:
        """(M, height, width); None without masks."""


@dataclass(frozen=True, kw_only=True)
class ClassPrecision:
    """The average precision of one class in percent, None where it has no object; objects: how many, without crowds."""

    name: str
    objects: int
    box_ap: float | None
    mask_ap: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Picture:
    size: tuple[int, int]
    boxes: Floats
    labels: Integers
    crowd: NDArray[np.bool_]
    areas: Floats
    masks: list[Rle] | None
    found_boxes: Floats
    found_scores: Floats
    found_labels: Integers
    found_masks: list[Rle] | None


class AveragePrecision:
    """Average precision over all pictures it was shown.

    classes       names in the order of their numbers
    masks         score masks too; then truth and detections need them
    category_ids  the data's own numbers of the classes, for `results`; 1, 2 ... where None

    Needs the package faster-coco-eval; UserError where it is not there.
    """

    def __init__(
        self, classes: Sequence[str], *, masks: bool = False, category_ids: Sequence[int] | None = None
    ) -> None:
        _evaluator()
        self.classes, self.masks = tuple(classes), masks
        self.category_ids = tuple(category_ids or range(1, len(classes) + 1))
        if len(self.category_ids) != len(self.classes):
            raise UserError(f"there are {len(self.classes)} classes and {len(self.category_ids)} category_ids")
        self._pictures: dict[int, _Picture] = {}

    def add(
        self,
        *,
        picture_id: int,
        size: tuple[int, int],
        truth: Truth,
        boxes: Floats,
        scores: Floats,
        labels: Integers,
        masks: Masks | None = None,
    ) -> None:
        """Add one picture, with or without objects and detections.

        size: its height and width. boxes (D, 4) as in Truth, scores (D,), labels (D,), masks (D, height, width): what
        was found. UserError for a picture that was added before.
        """
        if picture_id in self._pictures:
            raise UserError(f"picture {picture_id} was scored already; each counts once")
        for name, values in (("true", truth.labels), ("found", labels)):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < len(self.classes):
                raise UserError(f"{name} labels must be from 0 to {len(self.classes) - 1}, got {sorted(set(values))}")
        if not len(boxes) == len(scores) == len(labels):
            raise UserError(f"got {len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels of one picture")
        self._pictures[picture_id] = _Picture(
            size=size,
            boxes=truth.boxes,
            labels=truth.labels,
            crowd=truth.crowd,
            areas=truth.areas,
            masks=self._encoded(truth.masks, len(truth.labels), size),
            found_boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            found_scores=np.asarray(scores, dtype=np.float32),
            found_labels=np.asarray(labels, dtype=np.int64),
            found_masks=self._encoded(masks, len(labels), size),
        )

    def merge(self, other: "AveragePrecision") -> None:
        """Add the pictures of another one over the same classes."""
        twice = sorted(set(self._pictures) & set(other._pictures))
        if twice:
            raise UserError(f"{len(twice)} pictures were scored twice, the first is {twice[0]}; each counts once")
        self._pictures.update(other._pictures)

    def compute(self) -> dict[str, float | int | None]:
        """Return box_ap, box_ap50, box_ap75, box_ap_small, _medium, _large and box_ar100, and mask_... likewise.

        Percent; None where there is no object of a kind. A UserError when no picture was shown.
        """
        return {
            f"{kind}_{name}": _mean(table[what], _thresholds(table, threshold), table["areas"].index(area))
            for kind, table in self._tables().items()
            for name, what, threshold, area in REPORTED
        }

    def per_class(self) -> tuple[ClassPrecision, ...]:
        """Return the average precision of each class."""
        tables = self._tables()
        labels = [page.labels[~page.crowd] for page in self._pictures.values()]
        counts = np.bincount(np.concatenate(labels), minlength=len(self.classes)).tolist()

        def of_class(kind: str, label: int) -> float | None:
            return _mean(tables[kind]["precision"][:, :, [label]], slice(None), 0) if kind in tables else None

        return tuple(
            ClassPrecision(name=name, objects=count, box_ap=of_class("box", label), mask_ap=of_class("mask", label))
            for label, (name, count) in enumerate(zip(self.classes, counts, strict=True))
        )

    def results(self) -> list[dict[str, Any]]:
        """Return what was found as COCO's results files have it, pictures and classes by the data's own numbers."""
        rows = []
        for number, page in sorted(self._pictures.items()):
            for place, label in enumerate(page.found_labels.tolist()):
                row: dict[str, Any] = {
                    "image_id": number,
                    "category_id": self.category_ids[label],
                    "bbox": _left_top_width_height(page.found_boxes[place]),
                    "score": float(page.found_scores[place]),
                }
                if page.found_masks is not None:
                    counts = page.found_masks[place]["counts"]
                    text = counts.decode() if isinstance(counts, bytes) else counts
                    row["segmentation"] = {"size": list(page.size), "counts": text}
                rows.append(row)
        return rows

    def _encoded(self, masks: Masks | None, count: int, size: tuple[int, int]) -> list[Rle] | None:
        if not self.masks:
            return None
        if masks is None or masks.shape != (count, *size):
            got = "none" if masks is None else f"{masks.shape}"
            raise UserError(f"masks must be {(count, *size)} (objects, height, width) of the picture, got {got}")
        if count == 0:
            return []
        layers = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
        encoded: list[Rle] = _evaluator().mask.encode(layers)
        return encoded

    def _tables(self) -> dict[str, dict[str, Any]]:
        if not self._pictures:
            raise UserError("there is nothing to score: not one picture was read")
        return {kind: self._table(kind) for kind in (("box", "mask") if self.masks else ("box",))}

    def _table(self, kind: str) -> dict[str, Any]:
        """Return precision [threshold, recall, class, size, most] and recall, which lacks the second axis."""
        coco = _evaluator()
        truth, found = (coco.COCO(self._data_set(kind, found=found)) for found in (False, True))
        evaluation = coco.COCOeval_faster(truth, found, "bbox" if kind == "box" else "segm")
        evaluation.params.maxDets = [1, 10, MOST_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
        return {
            "precision": np.asarray(evaluation.eval["precision"]),
            "recall": np.asarray(evaluation.eval["recall"]),
            "thresholds": np.asarray(evaluation.params.iouThrs),
            "areas": list(evaluation.params.areaRngLbl),
        }

    def _data_set(self, kind: str, *, found: bool) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for number, page in sorted(self._pictures.items()):
            for row in _found_rows(page, kind) if found else _true_rows(page, kind):
                # Numbered from 1: to COCO's tools 0 means that nothing matches.
                rows.append({"id": len(rows) + 1, "image_id": number, **row})
        return {
            "images": [
                {"id": number, "height": page.size[0], "width": page.size[1]}
                for number, page in sorted(self._pictures.items())
            ],
            "annotations": rows,
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(self.classes)],
        }


def _true_rows(page: _Picture, kind: str) -> list[dict[str, Any]]:
    return [
        {
            "category_id": int(label) + 1,
            "bbox": _left_top_width_height(page.boxes[place]),
            "area": float(page.areas[place]),
            "iscrowd": int(page.crowd[place]),
            **_shape(page.masks, place, kind),
        }
        for place, label in enumerate(page.labels)
    ]


def _found_rows(page: _Picture, kind: str) -> list[dict[str, Any]]:
    rows = []
    for place, label in enumerate(page.found_labels):
        box = _left_top_width_height(page.found_boxes[place])
        shape = _shape(page.found_masks, place, kind)
        # A mask is small or large by its own pixels, a box by its own.
        area = float(_evaluator().mask.area(shape["segmentation"])) if shape else box[2] * box[3]
        score = float(page.found_scores[place])
        rows.append({"category_id": int(label) + 1, "bbox": box, "area": area, "iscrowd": 0, "score": score, **shape})
    return rows


def _shape(masks: list[Rle] | None, place: int, kind: str) -> dict[str, Rle]:
    return {"segmentation": dict(masks[place])} if kind == "mask" and masks is not None else {}


def _left_top_width_height(box: Floats) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]


def _thresholds(table: Mapping[str, Any], threshold: float | None) -> Any:
    return slice(None) if threshold is None else np.isclose(table["thresholds"], threshold)


def _mean(values: NDArray[np.float64], thresholds: Any, area: int) -> float | None:
    """Return the mean in percent over what is defined; -1 stands for classes without an object."""
    chosen = values[thresholds, ..., area, -1]
    defined = chosen[chosen > -1]
    return float(100 * defined.mean()) if defined.size else None


def _evaluator() -> ModuleType:
    try:
        import faster_coco_eval
    except ImportError as error:
        raise UserError(
            "average precision needs the package faster-coco-eval; install it with: pip install 'convnext[detect]'"
        ) from error
    module: ModuleType = faster_coco_eval
    return module
