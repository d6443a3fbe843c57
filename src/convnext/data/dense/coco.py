"""COCO data: instances_train*.json, instances_val*.json and folders of pictures, in a folder or a zip, or one json."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from convnext.data.dense.coco_json import Annotations, read_annotations, read_categories, read_json
from convnext.data.dense.coco_masks import mask_from
from convnext.data.dense.cut import box_areas, cut_to, has_area
from convnext.data.dense.files import Files, FileStore, fitted_picture, open_files, shown
from convnext.data.dense.splits import Boxes, DenseSource, DenseSplit, LabelError, Masks, Objects, split_pictures
from convnext.data.part_names import WHOLE, parts_of
from convnext.data.splits import Integers
from convnext.data.tar_index import Note
from convnext.errors import UserError

STEM = "instances"
FOLDER = "annotations"


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoStore:
    """The pictures of one COCO file."""

    files: FileStore
    annotations: Annotations

    def name(self, entry: int) -> str:
        """Return the name of the file."""
        return self.files.name(entry)

    def picture(self, entry: int) -> Image.Image:
        """Read the picture as its annotations lie on it; LabelError where it has another size."""
        return fitted_picture(self.files, entry, self.size(entry), "its annotations are for")

    def encoded(self, entry: int) -> bytes:
        """Return the bytes of the file."""
        return self.files.encoded(entry)

    def size(self, entry: int) -> tuple[int, int]:
        """Return height and width."""
        height, width = self.annotations.sizes[entry].tolist()
        return height, width

    def picture_id(self, entry: int) -> int:
        """Return COCO's number of the image."""
        return int(self.annotations.ids[entry])

    def boxes_as_given(self, entry: int) -> tuple[Boxes, Integers]:
        """Return boxes and labels as the file has them."""
        rows = self._rows(entry)
        return self.annotations.boxes[rows], self.annotations.labels[rows]

    def objects(self, entry: int, *, masks: bool) -> Objects:
        """Return the objects; those whose box has no area inside the picture are left out."""
        rows, all_of = self._rows(entry), self.annotations
        boxes = cut_to(all_of.boxes[rows], *self.size(entry))
        kept = np.arange(rows.start, rows.stop)[has_area(boxes)]
        boxes = boxes[has_area(boxes)]
        areas = all_of.areas[kept]
        return Objects(
            boxes=boxes,
            labels=all_of.labels[kept],
            crowd=all_of.crowd[kept],
            areas=np.where(areas < 0, box_areas(boxes), areas),
            masks=self._masks(entry, kept, boxes) if masks else None,
        )

    def mask_sizes(self, entry: int) -> Integers:
        """Return how many pixels each mask has, whatever its box; LabelError where one is wrong."""
        rows = np.arange(*self._rows(entry).indices(len(self.annotations.labels)))
        rows = rows[self.annotations.has_segmentation()[rows]]
        sizes: Integers = self._masks(entry, rows, self.annotations.boxes[rows]).sum(axis=(1, 2))
        return sizes

    def _rows(self, entry: int) -> slice:
        return slice(int(self.annotations.starts[entry]), int(self.annotations.starts[entry + 1]))

    def _masks(self, entry: int, rows: Integers, boxes: Boxes) -> Masks:
        """Return the masks of annotations; that of an annotation without a segmentation is its box."""
        height, width = self.size(entry)
        masks = np.zeros((len(rows), height, width), dtype=np.bool_)
        for mask, row, box in zip(masks, rows.tolist(), boxes, strict=True):
            segmentation = self.annotations.segmentation(row)
            if segmentation is None:
                left, top, right, bottom = np.rint(box).astype(np.int64).tolist()
                mask[top:bottom, left:right] = True
                continue
            try:
                mask[:] = mask_from(segmentation, height, width)
            except (ValueError, TypeError) as error:
                number = self.annotations.annotation_ids[row]
                raise LabelError(f"annotation {number} of {self.name(entry)}: {error}; mend the json") from error
        return masks


def is_coco(files: Files) -> bool:
    """Whether there are JSON files where COCO has them."""
    return bool(_jsons(files))


def open_coco(files: Files, *, seed: int, val_fraction: float, note: Note) -> DenseSource:
    """Return the source of a folder or zip with COCO files; one without a part for val is split by the seed."""
    names = _jsons(files)
    parts = parts_of(files.where, names)
    by_part = {part: [name for name in names if parts.get(name) == part] for part in dict.fromkeys(parts.values())}
    for part, several in by_part.items():
        if len(several) > 1:
            which = "of which none is named train and val" if part == WHOLE else f"for {part}"
            raise UserError(f"{files.where} has several COCO files {which}: {shown(several)}; leave one of each")
    held_out = next((part for part in by_part if part not in ("train", WHOLE)), None)
    if held_out is None:
        return _open_whole(files, by_part[WHOLE][0], seed=seed, val_fraction=val_fraction, note=note)
    train_name, val_name = by_part["train"][0], by_part[held_out][0]
    categories, train = _open_part(files, train_name)
    val_categories, val = _open_part(files, val_name)
    if categories != val_categories:
        raise UserError(
            f"{files.where}: {train_name} and {val_name} have different categories "
            f"({_difference(categories, val_categories)}); both need the same ids and names"
        )
    splits = [DenseSplit(store=store, entries=np.arange(len(store.annotations.files))) for store in (train, val)]
    return _source(files.where, categories, (train, val), splits, has_own_val=True, note=note)


def open_json(path: Path, *, seed: int, val_fraction: float, note: Note) -> DenseSource:
    """Return the source of one COCO file; its pictures lie beside it, or beside the folder that it lies in."""
    root = path.resolve().parent
    if root.name == FOLDER:
        root = root.parent
    name = path.resolve().relative_to(root).as_posix()
    files = open_files(root)
    name = name.removeprefix(files.prefix)
    return _open_whole(files, name, seed=seed, val_fraction=val_fraction, note=note)


def _open_whole(files: Files, name: str, *, seed: int, val_fraction: float, note: Note) -> DenseSource:
    categories, store = _open_part(files, name)
    splits = split_pictures(store, len(store.annotations.files), seed=seed, val_fraction=val_fraction)
    return _source(files.where, categories, (store,), splits, has_own_val=False, note=note)


def _source(
    where: str,
    categories: Mapping[int, str],
    stores: Sequence[CocoStore],
    splits: Sequence[DenseSplit],
    *,
    has_own_val: bool,
    note: Note,
) -> DenseSource:
    train, val = splits
    has = np.concatenate([store.annotations.has_segmentation() | store.annotations.crowd for store in stores])
    anywhere = any(store.annotations.has_segmentation().any() for store in stores)
    if anywhere and not has.all():
        note(f"{where}: {np.sum(~has):,} of {len(has):,} objects have a box but no mask, so masks are not used")
    return DenseSource(
        name=where,
        kind="objects",
        classes=tuple(categories.values()),
        train=train,
        val=val,
        has_masks=bool(anywhere and has.all()),
        has_own_val=has_own_val,
        category_ids=tuple(categories),
    )


def _jsons(files: Files) -> list[str]:
    """Return the COCO files: those called instances_..., else all that lie in annotations/, at the top or in a part."""
    names = sorted(name for name in files.listing.files if name.lower().endswith(".json") and name.count("/") < 2)
    return [name for name in names if PurePosixPath(name).name.startswith(STEM)] or names


def _open_part(files: Files, name: str) -> tuple[dict[int, str], CocoStore]:
    where = f"{files.where}/{name}"
    tables = read_json(files.text(name), where)
    categories = read_categories(tables, where)
    annotations = read_annotations(tables, categories, where)
    if not annotations.files:
        raise UserError(f"{where} has no images")
    return categories, CocoStore(files=files.store(_found(files, name, annotations.files)), annotations=annotations)


def _found(files: Files, json_name: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return where each picture lies; UserError that names those that are nowhere."""
    here = frozenset(files.listing.files)
    path = PurePosixPath(json_name)
    part = re.sub(rf"^{STEM}_?|_?{FOLDER}|\.coco", "", path.stem).strip("_.")
    word = re.sub(r"[^A-Za-z]", "", part)
    inner = "" if path.parent.name in ("", FOLDER) else path.parent.as_posix()
    folders = dict.fromkeys((inner, part, f"images/{part}", word, f"images/{word}", "images", ""))
    found = {
        name: next((place for folder in folders if (place := _join(folder, name)) in here), None) for name in wanted
    }
    absent = [name for name, place in found.items() if place is None]
    if absent:
        raise UserError(
            f"{files.where}: {len(absent):,} of {len(found):,} pictures that {json_name} names are not there: "
            f"{shown(absent)}; looked in {', '.join(f'{folder}/' for folder in folders if folder)} and at the top"
        )
    return tuple(str(found[name]) for name in wanted)


def _join(folder: str, name: str) -> str:
    # As it is in a listing; a name that climbs out of the folder is in none.
    return (PurePosixPath(folder) / name.replace("\\", "/")).as_posix()


def _difference(one: Mapping[int, str], other: Mapping[int, str]) -> str:
    rows = sorted(set(one.items()) ^ set(other.items()))
    return shown([f"{number} {name!r}" for number, name in rows])
