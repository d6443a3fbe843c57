"""The words of the data side: a store of pictures, a labelled split of it, and a source of two splits."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.errors import UserError

Integers = NDArray[np.int64]


class Store(Protocol):
    """Pictures by number; it can be pickled and read from several processes at once."""

    def name(self, entry: int) -> str:
        """Return what to call this picture in a message."""

    def picture(self, entry: int) -> Image.Image:
        """Return the picture in mode RGB, or raise PictureError."""


class EncodedStore(Store, Protocol):
    """A store of picture files, of which training decodes only what it needs.

    A store that has only `picture` will do as well: it is asked for whole pictures.
    """

    def encoded(self, entry: int) -> bytes | None:
        """Return the bytes of the picture's file, None where it has none of its own, or raise PictureError."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Labelled pictures: the chosen entries of a store, with a class number for each."""

    store: Store
    entries: Integers
    labels: Integers

    def __post_init__(self) -> None:
        assert self.entries.shape == self.labels.shape, "one label for each entry"

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """Return what to call picture `index` in a message."""
        return self.store.name(int(self.entries[index]))

    def picture(self, index: int) -> Image.Image:
        """Return picture `index` in mode RGB, or raise PictureError."""
        return self.store.picture(int(self.entries[index]))

    def encoded(self, index: int) -> bytes | None:
        """Return the bytes of the file of picture `index`, None where there is none, or raise PictureError."""
        # Asking whether the store is an EncodedStore would take longer than some pictures.
        encoded: Callable[[int], bytes | None] | None = getattr(self.store, "encoded", None)
        return None if encoded is None else encoded(int(self.entries[index]))


@dataclass(frozen=True, kw_only=True)
class LabelSafe:
    """Which augmentations keep the labels of a source true.

    flip: a mirrored picture still has its label; min_crop_scale: the smallest share of the area that still
    shows it. The defaults are those of photographs (paper, appendix A: crops from 0.08 of the area).
    """

    flip: bool = True
    min_crop_scale: float = 0.08

    def __post_init__(self) -> None:
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"min_crop_scale must be above 0 and at most 1, got {self.min_crop_scale}")


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """Files among the pictures that were passed over because of their ending: how many, and the first of them."""

    ending: str
    count: int
    example: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A classification data set: class names, a part to train on and a part held out.

    has_own_val: the held-out part came with the data, it was not drawn by us.
    passed_over: what lay in the class folders and is no picture by its ending, the most frequent first.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    label_safe: LabelSafe
    has_own_val: bool = True
    passed_over: tuple[PassedOver, ...] = ()

    def fingerprint(self) -> str:
        """Return what tells this data, split in this way, from any other: a hash of all names and labels.

        Names are relative, so that data which was moved or copied is still the same.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        for part in (self.train, self.val):
            rows = sorted((part.name(index), int(label)) for index, label in enumerate(part.labels))
            digest.update(repr(rows).encode())
        return digest.hexdigest()

    def whole(self) -> Split:
        """Return all pictures as one split, those to train on first."""
        return Split(
            store=_Joined(parts=(self.train, self.val)),
            entries=np.arange(len(self.train) + len(self.val)),
            labels=np.concatenate([self.train.labels, self.val.labels]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Joined:
    """Two splits as one store."""

    parts: tuple[Split, Split]

    def name(self, entry: int) -> str:
        """Return the name in the part that holds the entry."""
        part, index = self._find(entry)
        return part.name(index)

    def picture(self, entry: int) -> Image.Image:
        """Return the picture from the part that holds the entry."""
        part, index = self._find(entry)
        return part.picture(index)

    def encoded(self, entry: int) -> bytes | None:
        """Return the bytes of the file from the part that holds the entry."""
        part, index = self._find(entry)
        return part.encoded(index)

    def _find(self, entry: int) -> tuple[Split, int]:
        first, second = self.parts
        return (first, entry) if entry < len(first) else (second, entry - len(first))


def split_by_seed(
    store: Store, labels: Integers, classes: Sequence[str], *, seed: int, val_fraction: float
) -> tuple[Split, Split]:
    """Return (train, val), drawn class by class so that each class is in both.

    Each class gives `val_fraction` of its pictures, rounded, to val: at least one, and it keeps at least one.
    The draw of a class depends on the seed and on that class alone.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction must be between 0 and 1, got {val_fraction}; 0.2 holds out a fifth")
    held_out = np.zeros(len(labels), dtype=bool)
    # By class and in order, in one pass: with many classes a pass for each would take minutes.
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=len(classes)))[:-1])
    for label, (name, members) in enumerate(zip(classes, by_class, strict=True)):
        if len(members) < 2:
            raise UserError(
                f"class {name!r} has {len(members)} picture, and two are needed to train on one and hold out one; "
                "add pictures, or give train/ and val/ folders"
            )
        count = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        generator = np.random.default_rng(np.random.SeedSequence([seed, label]))
        held_out[generator.permutation(members)[:count]] = True
    train, val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    return (
        Split(store=store, entries=train, labels=labels[train]),
        Split(store=store, entries=val, labels=labels[val]),
    )
