"""From the text of a COCO file to flat arrays, with every mistake in it named by its annotation and picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext.data.dense.files import shown
from convnext.data.dense.splits import Boxes
from convnext.data.splits import Integers
from convnext.errors import UserError, nearest

NEEDED = ("images", "annotations", "categories")


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The pictures of a COCO file in its order, and their annotations by picture.

    files          names of the pictures as the file has them
    ids            int64 (N,) numbers of the pictures
    sizes          int64 (N, 2) height and width
    starts         int64 (N + 1,): picture i has the annotations starts[i] to starts[i + 1]
    boxes          (A, 4) left, top, right, bottom as given
    labels, annotation_ids   int64 (A,)
    crowd          (A,)
    areas          float32 (A,); -1 where the file does not tell
    segmentations  uint8 (B,), the JSON of one after another; that of annotation a from segmentation_starts[a] on, and
                   nothing where it has none. As text, because lists of lists would fill the memory
    """

    files: tuple[str, ...]
    ids: Integers
    sizes: Integers
    starts: Integers
    boxes: Boxes
    labels: Integers
    annotation_ids: Integers
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    segmentations: NDArray[np.uint8]
    segmentation_starts: Integers

    def segmentation(self, annotation: int) -> Any:
        """Return the segmentation of an annotation as the file has it, None where it has none."""
        start, end = self.segmentation_starts[annotation : annotation + 2]
        return json.loads(self.segmentations[start:end].tobytes()) if end > start else None

    def has_segmentation(self) -> NDArray[np.bool_]:
        """Return for each annotation whether it has a segmentation."""
        return np.diff(self.segmentation_starts) > 0


def read_json(text: str, where: str) -> dict[str, Any]:
    """Return the tables of a COCO file; UserError where it is none. where: what to call it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error}); copy it again") from error
    absent = [name for name in NEEDED if not isinstance(value, dict) or not isinstance(value.get(name), list)]
    if absent:
        raise UserError(
            f"{where} is not a COCO file of objects: it has no list {', '.join(absent)}; instances_*.json have "
            f"{', '.join(NEEDED)}"
        )
    for name in NEEDED:
        if not all(isinstance(row, dict) for row in value[name]):
            raise UserError(f"{where}: {name} must be a list of tables, got {type(value[name][0]).__name__}")
    return dict(value)


def read_categories(tables: Mapping[str, Any], where: str) -> dict[int, str]:
    """Return the names of the classes by COCO's numbers, sorted by these."""
    rows = tables["categories"]
    for row in rows:
        if not _is_whole(row.get("id")) or not isinstance(row.get("name"), str):
            raise UserError(f"{where}: a category needs a whole number as id and a text as name, got {row}")
    _check_once(where, "category id", [row["id"] for row in rows])
    _check_once(where, "category name", [row["name"] for row in rows])
    if not rows:
        raise UserError(f"{where} has no categories; list the classes there")
    return {row["id"]: row["name"] for row in sorted(rows, key=lambda row: int(row["id"]))}


def read_annotations(tables: Mapping[str, Any], categories: Mapping[int, str], where: str) -> Annotations:
    """Return pictures and annotations; UserError for the first mistake."""
    images = tables["images"]
    for row in images:
        if not (_is_whole(row.get("id")) and isinstance(row.get("file_name"), str)):
            raise UserError(f"{where}: an image needs a whole number as id and a text as file_name, got {row}")
        if not (_is_whole(row.get("height")) and _is_whole(row.get("width")) and min(row["height"], row["width"]) > 0):
            raise UserError(f"{where}: image {row['file_name']} needs height and width in pixels")
    _check_once(where, "image id", [row["id"] for row in images])
    names = {row["id"]: row["file_name"] for row in images}
    annotations = tables["annotations"]
    for row in annotations:
        _check_annotation(row, names, categories, where)
    _check_once(where, "annotation id", [row["id"] for row in annotations])
    places = {row["id"]: place for place, row in enumerate(images)}
    annotations = sorted(annotations, key=lambda row: places[row["image_id"]])
    labels = {number: label for label, number in enumerate(categories)}
    texts = [_segmentation_text(row.get("segmentation")) for row in annotations]
    boxes = np.array([row["bbox"] for row in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    owners = np.array([places[row["image_id"]] for row in annotations], dtype=np.int64)
    return Annotations(
        files=tuple(row["file_name"] for row in images),
        ids=_integers([row["id"] for row in images]),
        sizes=_integers([(row["height"], row["width"]) for row in images]).reshape(-1, 2),
        starts=_ends(np.bincount(owners, minlength=len(images))),
        boxes=boxes.astype(np.float32),
        labels=_integers([labels[row["category_id"]] for row in annotations]),
        annotation_ids=_integers([row["id"] for row in annotations]),
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in annotations], dtype=np.bool_),
        areas=np.array([row.get("area", -1) for row in annotations], dtype=np.float32),
        segmentations=np.frombuffer(b"".join(texts), dtype=np.uint8),
        segmentation_starts=_ends([len(text) for text in texts]),
    )


def _check_annotation(
    row: Mapping[str, Any], names: Mapping[int, str], categories: Mapping[int, str], where: str
) -> None:
    number, image, category, box = (row.get(key) for key in ("id", "image_id", "category_id", "bbox"))
    if not _is_whole(number):
        raise UserError(f"{where}: an annotation needs a whole number as id, got {number!r}")
    if image is None or image not in names:
        raise UserError(f"{where}: annotation {number} belongs to image {image!r}, which is not among the images")
    of_picture = f"{where}: annotation {number} of {names[image]}"
    if category not in categories:
        known = nearest(str(category), map(str, categories)).removeprefix("; ")
        raise UserError(f"{of_picture} has category_id {category!r}, which is not among the categories ({known})")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise UserError(f"{of_picture} needs a bbox of four numbers (left, top, width, height), got {box!r}")
    if not _is_number(row.get("area", 0)):
        raise UserError(f"{of_picture} has the area {row['area']!r}; it must be a number of square pixels")


def _check_once(where: str, what: str, values: Sequence[Any]) -> None:
    if len(set(values)) < len(values):
        seen: set[Any] = set()
        twice = [str(value) for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]
        raise UserError(f"{where} has {what} {shown(twice)} twice; each must be there once")


def _segmentation_text(segmentation: Any) -> bytes:
    return json.dumps(segmentation).encode() if segmentation else b""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integers(values: Any) -> Integers:
    return np.array(values, dtype=np.int64)


def _ends(lengths: Any) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
