"""Pascal VOC data: Annotations/*.xml with boxes, JPEGImages, and lists of names in ImageSets/Main."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from convnext.data.dense.cut import box_areas, cut_to, has_area
from convnext.data.dense.files import Files, FileStore, fitted_picture, shown
from convnext.data.dense.names import read_names
from convnext.data.dense.splits import Boxes, DenseSource, DenseSplit, Objects, split_pictures
from convnext.data.pictures import PICTURE_ENDINGS
from convnext.data.splits import Integers
from convnext.errors import UserError

FOLDERS = ("Annotations", "JPEGImages")
SETS = "ImageSets/Main"
# The part to train on and the one held out, the first pair of lists that is there.
PAIRS = (("train", "val"), ("trainval", "test"), ("train", "test"))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Page:
    """What one XML file says: height and width, and of each object its class, its box and whether it is difficult."""

    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: Boxes
    difficult: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class VocStore:
    """The pictures of a VOC folder; objects of picture i are rows starts[i] to starts[i + 1] of the arrays."""

    files: FileStore
    sizes: Integers
    starts: Integers
    boxes: Boxes
    labels: Integers
    difficult: np.ndarray[tuple[int], np.dtype[np.bool_]]

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
        height, width = self.sizes[entry].tolist()
        return height, width

    def picture_id(self, entry: int) -> int:
        """Return the place of the picture, because VOC numbers none."""
        return entry

    def boxes_as_given(self, entry: int) -> tuple[Boxes, Integers]:
        """Return boxes and labels as the files have them."""
        rows = slice(int(self.starts[entry]), int(self.starts[entry + 1]))
        return self.boxes[rows], self.labels[rows]

    def objects(self, entry: int, *, masks: bool) -> Objects:
        """Return the objects; a difficult one counts as a crowd, which is not learned and no error where found."""
        boxes, labels = self.boxes_as_given(entry)
        boxes = cut_to(boxes, *self.size(entry))
        kept = has_area(boxes)
        rows = slice(int(self.starts[entry]), int(self.starts[entry + 1]))
        return Objects(
            boxes=boxes[kept],
            labels=labels[kept],
            crowd=self.difficult[rows][kept],
            areas=box_areas(boxes[kept]),
            masks=None,
        )


def is_voc(files: Files) -> bool:
    """Whether the two folders of VOC are there."""
    return set(FOLDERS) <= set(files.listing.tops())


def open_voc(files: Files, *, seed: int, val_fraction: float) -> DenseSource:
    """Return the source of a VOC folder or zip; one without lists for two parts is split by the seed."""
    xmls = sorted(
        name for name in files.listing.files if name.startswith(f"{FOLDERS[0]}/") and name.lower().endswith(".xml")
    )
    stems = {PurePosixPath(name).stem: name for name in xmls}
    lists = _lists(files, stems)
    wanted = sorted({stem for part in lists for stem in part}) if lists else list(stems)
    if not wanted:
        raise UserError(f"{files.where}/{FOLDERS[0]} has no XML files")
    pictures = _pictures(files, wanted)
    store_of_xmls = files.store(tuple(stems[stem] for stem in wanted))
    pages = [_read(store_of_xmls.encoded(place), f"{files.where}/{stems[stem]}") for place, stem in enumerate(wanted)]
    classes = _classes(files, pages)
    store = _store(files.store(pictures), pages, {name: label for label, name in enumerate(classes)})
    if lists:
        place = {stem: number for number, stem in enumerate(wanted)}
        train, val = (
            DenseSplit(store=store, entries=np.array([place[stem] for stem in part], dtype=np.int64)) for part in lists
        )
    else:
        train, val = split_pictures(store, len(wanted), seed=seed, val_fraction=val_fraction)
    return DenseSource(
        name=files.where,
        kind="objects",
        classes=classes,
        train=train,
        val=val,
        has_masks=False,
        has_own_val=bool(lists),
        category_ids=tuple(range(1, len(classes) + 1)),
    )


def _lists(files: Files, stems: Mapping[str, str]) -> tuple[list[str], ...]:
    """Return the names of the pictures of the two parts; nothing where there are no lists of two parts."""
    here = set(files.listing.files)
    names = next((pair for pair in PAIRS if all(f"{SETS}/{name}.txt" in here for name in pair)), None)
    if names is None:
        return ()
    lists = [
        [line.split()[0] for line in files.text(f"{SETS}/{name}.txt").splitlines() if line.strip()] for name in names
    ]
    for name, listed in zip(names, lists, strict=True):
        absent = [stem for stem in listed if stem not in stems]
        if absent:
            raise UserError(
                f"{files.where}: {SETS}/{name}.txt names {shown(absent)}, which has no XML in {FOLDERS[0]}/"
            )
        if not listed:
            raise UserError(f"{files.where}: {SETS}/{name}.txt is empty")
    return tuple(lists)


def _pictures(files: Files, wanted: Sequence[str]) -> tuple[str, ...]:
    start = f"{FOLDERS[1]}/"
    by_stem = {
        PurePosixPath(name).stem: name
        for name in sorted(files.listing.files)
        if name.startswith(start) and PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS
    }
    absent = [stem for stem in wanted if stem not in by_stem]
    if absent:
        raise UserError(
            f"{files.where}: {len(absent):,} of {len(wanted):,} pictures are not in {start}: {shown(absent)}"
        )
    return tuple(by_stem[stem] for stem in wanted)


def _read(data: bytes, where: str) -> _Page:
    try:
        root = ElementTree.fromstring(data)
        height, width = (int(float(_text(root, f"size/{side}"))) for side in ("height", "width"))
        objects = root.findall("object")
        names = tuple(_text(one, "name") for one in objects)
        boxes = np.array(
            [[float(_text(one, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")] for one in objects],
            dtype=np.float32,
        ).reshape(-1, 4)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{where} cannot be read as a VOC annotation ({error})") from error
    if min(height, width) < 1 or not np.isfinite(boxes).all():
        raise UserError(f"{where} needs a height and a width of the picture from 1, and finite boxes")
    # VOC counts pixels from 1, and the last one is inside.
    boxes[:, :2] -= 1
    difficult = tuple(one.findtext("difficult", "0").strip() == "1" for one in objects)
    return _Page(size=(height, width), names=names, boxes=boxes, difficult=difficult)


def _text(element: ElementTree.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"it has no {path}")
    return text


def _classes(files: Files, pages: Sequence[_Page]) -> tuple[str, ...]:
    found = sorted({name for page in pages for name in page.names})
    given = read_names(files)
    if given is None:
        return tuple(found)
    unknown = [name for name in found if name not in given.names]
    if unknown:
        raise UserError(f"{files.where}: {shown(unknown)} is in the annotations and not in {given.file}; add it there")
    return given.names


def _store(pictures: FileStore, pages: Sequence[_Page], labels: Mapping[str, int]) -> VocStore:
    return VocStore(
        files=pictures,
        sizes=np.array([page.size for page in pages], dtype=np.int64),
        starts=np.cumsum([0, *(len(page.names) for page in pages)], dtype=np.int64),
        boxes=np.concatenate([page.boxes for page in pages]),
        labels=np.array([labels[name] for page in pages for name in page.names], dtype=np.int64),
        difficult=np.array([flag for page in pages for flag in page.difficult], dtype=np.bool_),
    )
