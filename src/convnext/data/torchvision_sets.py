"""torchvision's classification data sets by name, found on disk or downloaded."""

import contextlib
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convnext.data.builtin import DIGITS_SAFE
from convnext.data.pictures import PictureError, to_rgb
from convnext.data.splits import Integers, LabelSafe, Source, Split
from convnext.errors import UserError, nearest

# Glyphs and signs change their meaning in a mirror. Clothes do not, but a detail of a shirt is also one of a coat.
LABEL_SAFE: Mapping[str, LabelSafe] = {
    **dict.fromkeys(("MNIST", "KMNIST", "QMNIST", "USPS", "SVHN", "GTSRB", "RenderedSST2"), DIGITS_SAFE),
    "FashionMNIST": LabelSafe(min_crop_scale=0.7),
}
TRAIN_SPLITS = ("train", "trainval", "train-standard")
VAL_SPLITS = ("val", "valid", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchvisionStore:
    """One part of a torchvision data set that gives (picture, class number)."""

    title: str
    dataset: Any

    def name(self, entry: int) -> str:
        """Return the title of the part and the number."""
        return f"{self.title}/{entry}"

    def picture(self, entry: int) -> Image.Image:
        """Return the picture in mode RGB."""
        try:
            return to_rgb(self.dataset[entry][0], self.name(entry))
        except PictureError:
            raise
        except Exception as error:  # each data set reads its files in its own way
            raise PictureError(f"{self.name(entry)}: cannot be read as a picture ({error})") from error


def open_torchvision(name: str, root: Path) -> Source:
    """Return the data set of this name, in upper or lower case, with its own train and held-out parts.

    Of several held-out parts it is val rather than test.
    """
    import torchvision.datasets

    sets = {known: getattr(torchvision.datasets, known) for known in torchvision.datasets.__all__}
    usable = [known for known, kind in sets.items() if _arguments(kind) is not None]
    name = next((known for known in usable if known.lower() == name.lower()), name)
    if name not in usable:
        raise UserError(f"torchvision has no classification data set {name!r} with a train part{nearest(name, usable)}")
    kind = sets[name]
    title = f"torchvision:{name}"
    if _arguments(kind) == "train":
        datasets = [_construct(kind, title, root, {"train": value}) for value in (True, False)]
    else:
        datasets = [_first_split(kind, title, root, names) for names in (TRAIN_SPLITS, VAL_SPLITS)]
    train, val = (_part(title, name, dataset) for name, dataset in zip(("train", "val"), datasets, strict=True))
    classes = _classes(datasets[0], train.labels)
    if max(train.labels.max(), val.labels.max()) >= len(classes) or min(train.labels.min(), val.labels.min()) < 0:
        raise UserError(f"{title} has labels outside of its {len(classes)} classes; it cannot be used here")
    safe = LABEL_SAFE.get(name, LabelSafe())
    return Source(name=title, classes=classes, train=train, val=val, label_safe=safe)


def _part(title: str, part: str, dataset: Any) -> Split:
    labels = _labels(dataset, title)
    if len(labels) == 0:
        raise UserError(f"{title} has no pictures in its {part} part; remove its folder and download it again")
    store = TorchvisionStore(title=f"{title}/{part}", dataset=dataset)
    return Split(store=store, entries=np.arange(len(labels)), labels=labels)


def _arguments(kind: Any) -> str | None:
    """Return "train" or "split", whichever chooses the part, or None where the class is not of that kind."""
    if not inspect.isclass(kind):
        return None
    parameters = inspect.signature(kind).parameters
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if needed != ["root"]:
        return None
    return next((name for name in ("train", "split") if name in parameters), None)


def _first_split(kind: Any, title: str, root: Path, names: tuple[str, ...]) -> Any:
    """Return the first of these parts that the data set has; data sets name their parts differently."""
    for name in names:
        try:
            return _construct(kind, title, root, {"split": name})
        except _NoSuchSplitError:
            continue
    raise UserError(f"{title} has none of the parts {', '.join(names)}; it cannot be used here")


class _NoSuchSplitError(Exception):
    """The data set has no part of this name."""


def _construct(kind: Any, title: str, root: Path, part: Mapping[str, bool | str]) -> Any:
    """Open one part from disk, or download it first."""
    can_download = "download" in inspect.signature(kind).parameters
    reason = ""
    was_there = root.exists()
    # Standard output is for tables; the file readers warn of things that a user cannot change.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for download in ({}, {"download": True})[: 1 + can_download]:
            try:
                return kind(root, **part, **download)
            except Exception as error:  # not found, no network, a bad checksum, a missing reader: all say why
                if "for argument split" in str(error):
                    raise _NoSuchSplitError from error
                reason = " ".join(str(error).split()) or type(error).__name__
    if not was_there:
        _remove_empty(root)
    failed = "could not be downloaded" if can_download else "has to be put there by hand"
    raise UserError(f"{title} was not found under {root} and {failed} ({reason}); name its folder as {title}@FOLDER")


def _remove_empty(root: Path) -> None:
    """Remove the empty folders that a failed download made."""
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)
    for folder in [*folders, root]:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _labels(dataset: Any, title: str) -> Integers:
    """Return all class numbers, from a list that the data set keeps or else by reading each sample."""
    for values in _kept_labels(dataset):
        numbers = np.asarray(values)
        if numbers.shape == (len(dataset),) and numbers.dtype.kind in "iu":
            return numbers.astype(np.int64)
    try:
        samples = [
            (isinstance(picture, Image.Image), label)
            for picture, label in map(dataset.__getitem__, range(len(dataset)))
        ]
    except Exception as error:  # each data set reads its files in its own way
        raise UserError(f"{title} cannot be read ({error}); remove its folder and download it again") from error
    if not all(is_picture and isinstance(label, int | np.integer) for is_picture, label in samples):
        raise UserError(f"{title} does not give a picture and a class number each time, so it cannot be used here")
    return np.array([label for _, label in samples], dtype=np.int64)


def _kept_labels(dataset: Any) -> Iterator[Any]:
    """Yield what may be the class numbers, under the names that torchvision's data sets have for them."""
    for attribute in ("targets", "labels", "_labels"):
        yield getattr(dataset, attribute, ())
    yield [label for _, label in getattr(dataset, "_samples", ())]


def _classes(dataset: Any, labels: Integers) -> tuple[str, ...]:
    """Return the class names: its own (the first of several for one class), or the numbers."""
    names = getattr(dataset, "classes", None)
    if not names:
        return tuple(str(number) for number in range(int(labels.max()) + 1))
    return tuple(name if isinstance(name, str) else str(name[0]) for name in names)
