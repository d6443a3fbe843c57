"""The words of dense data: objects of a picture, a label map, stores of both, a split and a source of two splits."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.splits import Integers, Store
from convnext.errors import UserError

Kind = Literal["objects", "labels"]
Boxes = NDArray[np.float32]
Masks = NDArray[np.bool_]
LabelMap = NDArray[np.uint8]

# In a label map: nobody says what is here, so it is neither learned nor scored.
IGNORED = 255
MOST_CLASSES = 255


class LabelError(UserError):
    """The labels of a picture are wrong; the text names it, the value and what is allowed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """The objects of one picture.

    boxes   (M, 4) left, top, right, bottom in pixels from the corner of the picture
    labels  int64 (M,), numbers of classes
    crowd   (M,) whether it stands for many objects that nobody told apart: not learned, and no error where found
    areas   float32 (M,) square pixels of the object, of its box where only that is known
    masks   (M, height, width), or None
    """

    boxes: Boxes
    labels: Integers
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    masks: Masks | None

    def __post_init__(self) -> None:
        count = len(self.labels)
        assert self.boxes.shape == (count, 4) and self.crowd.shape == self.areas.shape == (count,)
        assert self.masks is None or (self.masks.ndim == 3 and len(self.masks) == count)

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, which: NDArray[np.bool_] | Integers) -> "Objects":
        """Return the objects of these places, or where `which` is true."""
        return Objects(
            boxes=self.boxes[which],
            labels=self.labels[which],
            crowd=self.crowd[which],
            areas=self.areas[which],
            masks=None if self.masks is None else self.masks[which],
        )

    def without_masks(self) -> "Objects":
        """Return the objects with their boxes only."""
        return self if self.masks is None else replace(self, masks=None)


class ObjectStore(Store, Protocol):
    """Pictures with objects by number; it can be pickled and read from several processes at once."""

    def size(self, entry: int) -> tuple[int, int]:
        """Return height and width in pixels, without reading the picture."""

    def objects(self, entry: int, *, masks: bool) -> Objects:
        """Return the objects of a picture; LabelError where they are wrong."""

    def boxes_as_given(self, entry: int) -> tuple[Boxes, Integers]:
        """Return the boxes and labels before any is cut to the picture or dropped."""

    def picture_id(self, entry: int) -> int:
        """Return the number that the data itself gives the picture."""


class LabelStore(Store, Protocol):
    """Pictures with label maps by number; it can be pickled and read from several processes at once."""

    def label_map(self, entry: int) -> LabelMap:
        """Return the class of each pixel, IGNORED where there is none; LabelError where it is wrong."""

    def fitted(self, entry: int, labels: LabelMap) -> Image.Image:
        """Return the picture, given its label map; LabelError where they differ in size."""

    def label_name(self, entry: int) -> str:
        """Return what to call the label map in a message."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseSplit:
    """The chosen entries of a store of one kind."""

    store: ObjectStore | LabelStore
    entries: Integers

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """Return what to call picture `index` in a message."""
        return self.store.name(int(self.entries[index]))

    def picture(self, index: int) -> Image.Image:
        """Return picture `index` in mode RGB; PictureError for a bad file, LabelError where its labels have no room."""
        return self.store.picture(int(self.entries[index]))

    def encoded(self, index: int) -> bytes | None:
        """Return the bytes of the file of picture `index`, None where there is none, or raise PictureError."""
        encoded = getattr(self.store, "encoded", None)
        return None if encoded is None else encoded(int(self.entries[index]))

    def objects(self, index: int, *, masks: bool = True) -> Objects:
        """Return the objects of picture `index`, cut to the picture, those without an area left out.

        masks: whether to make the masks too, which takes longer.
        """
        return self._of_objects().objects(int(self.entries[index]), masks=masks)

    def boxes_as_given(self, index: int) -> tuple[Boxes, Integers]:
        """Return boxes (M, 4) and labels (M,) of picture `index` as the data has them, the wrong ones too."""
        return self._of_objects().boxes_as_given(int(self.entries[index]))

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of picture `index` as its annotations have them."""
        return self._of_objects().size(int(self.entries[index]))

    def picture_id(self, index: int) -> int:
        """Return the number that the data itself gives picture `index`: COCO's image id."""
        return self._of_objects().picture_id(int(self.entries[index]))

    def label_map(self, index: int) -> LabelMap:
        """Return the class of each pixel of picture `index`: uint8 (height, width), 255 where it is ignored."""
        return self._of_labels().label_map(int(self.entries[index]))

    def picture_and_map(self, index: int) -> tuple[Image.Image, LabelMap]:
        """Return picture `index` and its label map, which is read once; errors as those of either."""
        entry, store = int(self.entries[index]), self._of_labels()
        labels = store.label_map(entry)
        return store.fitted(entry, labels), labels

    def label_name(self, index: int) -> str:
        """Return what to call the label map of picture `index` in a message."""
        return self._of_labels().label_name(int(self.entries[index]))

    def _of_objects(self) -> ObjectStore:
        assert hasattr(self.store, "objects"), "these pictures have label maps"
        return self.store  # type: ignore[return-value]

    def _of_labels(self) -> LabelStore:
        assert hasattr(self.store, "label_map"), "these pictures have objects"
        return self.store  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseSource:
    """A data set for detection or segmentation: class names, a part to train on and a part held out.

    kind          "objects": boxes and perhaps masks; "labels": a class for each pixel
    has_masks     every object has a mask
    has_own_val   the held-out part came with the data, it was not drawn by us
    category_ids  the number that the data itself gives each class, for results in its own form; none for label maps
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    train: DenseSplit
    val: DenseSplit
    has_masks: bool
    has_own_val: bool
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) <= MOST_CLASSES:
            raise UserError(f"{self.name} has {len(self.classes)} classes; 1 to {MOST_CLASSES} are possible")
        if self.kind == "labels" and len(self.classes) < 2:
            raise UserError(f"{self.name} has only one class, {self.classes[0]!r}; pixels need two or more")
        assert self.kind == "labels" or len(self.category_ids) == len(self.classes)

    def fingerprint(self) -> str:
        """Return what tells this data, split in this way, from any other: a hash of names, classes and boxes.

        Names are relative, so that data which was moved or copied is still the same. Label maps count by their names,
        because reading all of them would take as long as an epoch.
        """
        digest = hashlib.sha256(repr((self.kind, self.classes)).encode())
        for part in (self.train, self.val):
            rows = sorted((part.name(index), self._mark(part, index)) for index in range(len(part)))
            digest.update(repr(rows).encode())
        return digest.hexdigest()

    def _mark(self, part: DenseSplit, index: int) -> str:
        if self.kind == "labels":
            return part.label_name(index)
        boxes, labels = part.boxes_as_given(index)
        return repr((boxes.tolist(), labels.tolist()))


def split_pictures(
    store: ObjectStore | LabelStore, count: int, *, seed: int, val_fraction: float
) -> tuple[DenseSplit, DenseSplit]:
    """Return (train, val) of `count` pictures: `val_fraction` of them, rounded, drawn by the seed; at least one each.

    Whole pictures are drawn, whatever the classes in them, because most have several.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction must be between 0 and 1, got {val_fraction}; 0.2 holds out a fifth")
    if count < 2:
        raise UserError(f"there is {count} picture, and two are needed to train on one and hold out one; add pictures")
    held_out = min(max(round(count * val_fraction), 1), count - 1)
    order = np.random.default_rng(np.random.SeedSequence([seed, count])).permutation(count)
    return (
        DenseSplit(store=store, entries=np.sort(order[held_out:])),
        DenseSplit(store=store, entries=np.sort(order[:held_out])),
    )
