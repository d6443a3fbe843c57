"""Label pictures in folders: the layouts of ADE20K and Cityscapes, and plain ones; in a folder or a zip.

A layout is recognised by its folders. That of ADE20K (images/training with annotations/training) means that value 0 is
not labelled and that classes count from 1, as they do there; in every other layout value 0 is the first class.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from convnext.data.dense.cityscapes import CLASSES, LABEL_IDS, LARGEST_LABEL_ID
from convnext.data.dense.files import Files, FileStore, fitted_picture, shown
from convnext.data.dense.label_maps import ENDINGS, Meaning, mapped_meaning, meaning, read_values
from convnext.data.dense.names import CLASSES as CLASSES_FILE
from convnext.data.dense.names import read_names
from convnext.data.dense.splits import IGNORED, MOST_CLASSES, DenseSource, DenseSplit, LabelMap, split_pictures
from convnext.data.part_names import TRAIN_NAMES
from convnext.data.pictures import PICTURE_ENDINGS
from convnext.data.tar_index import Note
from convnext.data.tree import VAL_NAMES
from convnext.errors import UserError

PICTURE_FOLDERS = ("images", "imgs", "pictures")
LABEL_FOLDERS = ("labels", "annotations", "masks")
ADE_FOLDERS = ("images/training", "annotations/training")
CITY_FOLDERS = ("leftImg8bit/train", "gtFine/train")
CITY_PICTURE = "_leftImg8bit"
CITY_TRAIN_IDS, CITY_LABEL_IDS = "_gtFine_labelTrainIds", "_gtFine_labelIds"
LAYOUTS = "images/train with labels/train, train/images with train/labels, ADE20K's, Cityscapes', or images with labels"
SLOW_TO_COUNT = 2_000

Pairs = list[tuple[str, str]]  # names of a picture and of its label map


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledStore:
    """Pictures and their label pictures, in the same order."""

    pictures: FileStore
    labels: FileStore
    meaning: Meaning

    def name(self, entry: int) -> str:
        """Return the name of the picture's file."""
        return self.pictures.name(entry)

    def label_name(self, entry: int) -> str:
        """Return the name of the label picture's file."""
        return self.labels.name(entry)

    def picture(self, entry: int) -> Image.Image:
        """Read the picture as its label map lies on it; LabelError where they differ in size."""
        return self.fitted(entry, self.label_map(entry))

    def encoded(self, entry: int) -> bytes:
        """Return the bytes of the picture's file."""
        return self.pictures.encoded(entry)

    def label_map(self, entry: int) -> LabelMap:
        """Return the class of each pixel; LabelError for a value that is no class, PictureError for a bad file."""
        name = self.label_name(entry)
        return self.meaning.classes_of(read_values(self.labels.encoded(entry), name), name)

    def fitted(self, entry: int, labels: LabelMap) -> Image.Image:
        """Return the picture, given its label map, so that this is read once."""
        height, width = labels.shape
        return fitted_picture(self.pictures, entry, (height, width), "its label map is")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layout:
    """The pairs of each part, WHOLE in `train` where `val` is None, and what values mean where that is known.

    first    value of the first class
    known    class names and their meaning, of a layout that has its own
    """

    train: Pairs
    val: Pairs | None
    first: int = 0
    known: tuple[tuple[str, ...], Meaning] | None = None


def open_label_folders(files: Files, *, seed: int, val_fraction: float, note: Note) -> DenseSource:
    """Return the source of a folder or zip of label pictures; one without a part for val is split by the seed.

    Class names come from classes.txt (one a line); without it they are the numbers of the values that occur, for which
    every label picture is read once.
    """
    layout = _layout(files)
    pairs = layout.train + (layout.val or [])
    pictures = files.store(tuple(picture for picture, _ in pairs))
    labels = files.store(tuple(label for _, label in pairs))
    classes, means = layout.known or _named(files, layout.first) or _counted(files, labels, pairs, layout.first, note)
    store = LabelledStore(pictures=pictures, labels=labels, meaning=means)
    if layout.val is None:
        train, val = split_pictures(store, len(pairs), seed=seed, val_fraction=val_fraction)
    else:
        seam = len(layout.train)
        train = DenseSplit(store=store, entries=np.arange(seam))
        val = DenseSplit(store=store, entries=np.arange(seam, len(pairs)))
    return DenseSource(
        name=files.where,
        kind="labels",
        classes=classes,
        train=train,
        val=val,
        has_masks=False,
        has_own_val=layout.val is not None,
    )


def _layout(files: Files) -> _Layout:
    names = files.listing.files

    def holds(folder: str) -> bool:
        return any(name.startswith(f"{folder}/") for name in names)

    if all(map(holds, CITY_FOLDERS)):
        return _cityscapes(files, holds)
    is_ade = all(map(holds, ADE_FOLDERS))
    places = list(_places(holds))
    by_part = {part: (pictures, labels) for part, pictures, labels in places}
    train = next((by_part[part] for part in TRAIN_NAMES if part in by_part), None)
    held_out = next((by_part[part] for part in VAL_NAMES if part in by_part), None)
    whole = train if held_out is None and train else by_part.get("")
    if train and held_out:
        return _Layout(train=_pairs(files, *train), val=_pairs(files, *held_out), first=int(is_ade))
    if whole is None:
        raise UserError(f"{files.where} has no folders of pictures and label pictures that are known here: {LAYOUTS}")
    return _Layout(train=_pairs(files, *whole), val=None, first=int(is_ade))


def _places(holds: Callable[[str], bool]) -> Iterable[tuple[str, str, str]]:
    """Yield part, folder of pictures and folder of label pictures; part "" for data without parts."""
    for pictures in PICTURE_FOLDERS:
        for labels in LABEL_FOLDERS:
            found = False
            for part in (*TRAIN_NAMES, *VAL_NAMES):
                for one, other in (
                    (f"{pictures}/{part}", f"{labels}/{part}"),
                    (f"{part}/{pictures}", f"{part}/{labels}"),
                ):
                    if holds(one) and holds(other):
                        found = True
                        yield part, one, other
            if not found and holds(pictures) and holds(labels):
                yield "", pictures, labels


def _cityscapes(files: Files, holds: Callable[[str], bool]) -> _Layout:
    ending = CITY_TRAIN_IDS if any(CITY_TRAIN_IDS in name for name in files.listing.files) else CITY_LABEL_IDS
    if ending == CITY_TRAIN_IDS:
        means = meaning(len(CLASSES))
    else:
        means = mapped_meaning({value: label for label, value in enumerate(LABEL_IDS)}, LARGEST_LABEL_ID)

    def pairs(part: str) -> Pairs:
        return _pairs(files, f"leftImg8bit/{part}", f"gtFine/{part}", CITY_PICTURE, ending)

    has_val = holds("leftImg8bit/val") and holds("gtFine/val")
    return _Layout(train=pairs("train"), val=pairs("val") if has_val else None, known=(CLASSES, means))


def _pairs(files: Files, pictures: str, labels: str, picture_end: str = "", label_end: str = "") -> Pairs:
    """Return pictures and label maps of two folders by their names without ending; UserError where one has no other."""
    here = sorted(files.listing.files)
    of_pictures = _stems(here, pictures, PICTURE_ENDINGS, picture_end)
    of_labels = _stems(here, labels, ENDINGS, label_end)
    lossy = [] if of_labels else list(_stems(here, labels, PICTURE_ENDINGS, label_end).values())
    if lossy:
        raise UserError(f"{files.where}: label maps must be PNG, which keeps values as they are; {lossy[0]} is not")
    for found, others, kind, folder in (
        (of_pictures, of_labels, "label picture", labels),
        (of_labels, of_pictures, "picture", pictures),
    ):
        lonely = [name for stem, name in found.items() if stem not in others]
        if lonely:
            raise UserError(
                f"{files.where}: {len(lonely):,} of {len(found):,} have no {kind} of the same name in {folder}/: "
                f"{shown(lonely)}"
            )
    if not of_pictures:
        raise UserError(f"{files.where}: {pictures}/ has no pictures ({', '.join(PICTURE_ENDINGS)})")
    return [(name, of_labels[stem]) for stem, name in of_pictures.items()]


def _stems(names: Sequence[str], folder: str, endings: Sequence[str], end: str) -> dict[str, str]:
    """Return the files of a folder by their names in it without ending."""
    found: dict[str, str] = {}
    for name in names:
        inner = PurePosixPath(name.removeprefix(f"{folder}/"))
        stem = inner.with_suffix("").as_posix()
        if name.startswith(f"{folder}/") and inner.suffix.lower() in endings and stem.endswith(end):
            found[re.sub(rf"{re.escape(end)}$", "", stem)] = name
    return found


def _named(files: Files, first: int) -> tuple[tuple[str, ...], Meaning] | None:
    given = read_names(files)
    if given is None:
        return None
    if len(given.names) > MOST_CLASSES:
        raise UserError(
            f"{files.where}/{given.file} has {len(given.names)} classes; at most {MOST_CLASSES} are possible"
        )
    return given.names, meaning(len(given.names), first=first, ignored=given.ignored)


def _counted(files: Files, labels: FileStore, pairs: Pairs, first: int, note: Note) -> tuple[tuple[str, ...], Meaning]:
    """Return as many classes as the highest value tells, named by their numbers."""
    if len(pairs) > SLOW_TO_COUNT:
        note(f"{files.where} has no {CLASSES_FILE}: reading {len(pairs):,} label pictures to count the classes")
    highest = -1
    for place, (_, name) in enumerate(pairs):
        values = read_values(labels.encoded(place), name)
        values = values[values != IGNORED]
        highest = max(highest, int(values.max(initial=-1)))
        if highest >= MOST_CLASSES + first:
            raise UserError(
                f"{files.where}: {name} has the value {highest}; at most {MOST_CLASSES} classes are possible, and "
                f"{IGNORED} means not labelled. Write their names into {CLASSES_FILE} if it is no class"
            )
    names = tuple(str(value) for value in range(first, highest + 1))
    if not names:
        raise UserError(f"{files.where}: no pixel of any label picture is labelled")
    return names, meaning(len(names), first=first)
