"""From a listing of files to labelled pictures: which folders are classes, which are train and val.

The listing may come from a disk or from a zip; names are relative, with forward slashes.
Hidden files and folders, __MACOSX, and files that are no pictures are passed over, and so are pictures that
lie beside the class folders. A class owns the pictures of the folders inside it too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from convnext.data.pictures import PICTURE_ENDINGS
from convnext.data.splits import LabelSafe, PassedOver, Source, Split, Store, split_by_seed
from convnext.errors import UserError

VAL_NAMES = ("val", "valid", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What lies under one folder: files, and folders (which may be empty)."""

    where: str
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def pictures(self) -> list[str]:
        """Return the files that are pictures by their ending, sorted."""
        return sorted(file for file in self.files if _ending(file) in PICTURE_ENDINGS)

    def others(self) -> list[str]:
        """Return the files that are no pictures by their ending, sorted."""
        return sorted(file for file in self.files if _ending(file) not in PICTURE_ENDINGS)

    def tops(self) -> list[str]:
        """Return the names of the folders at the top, sorted."""
        holders = {file.split("/")[0] for file in self.files if "/" in file}
        return sorted(holders | {folder.split("/")[0] for folder in self.folders})

    def inside(self, folder: str) -> "Listing":
        """Return the listing of one folder at the top."""
        start = f"{folder}/"
        return Listing(
            where=f"{self.where}/{folder}",
            files=tuple(file.removeprefix(start) for file in self.files if file.startswith(start)),
            folders=tuple(name.removeprefix(start) for name in self.folders if name.startswith(start)),
        )


def visible(name: str) -> bool:
    """Whether no part of a relative name is hidden, "..", or the leavings of an archiver."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def source_from_listing(
    listing: Listing, open_store: Callable[[tuple[str, ...]], Store], *, seed: int, val_fraction: float
) -> Source:
    """Return the source of a listing; `open_store` gives a store of the named files, in that order."""
    if not listing.pictures():
        raise UserError(f"{listing.where} has no pictures ({', '.join(PICTURE_ENDINGS)}): {_found(listing)}")
    prefix, tree = _without_wrapper(listing)
    tops = {name.lower(): name for name in reversed(tree.tops())}
    val_name = next((tops[name] for name in VAL_NAMES if name in tops), None)
    has_own_val = "train" in tops and val_name is not None
    if has_own_val:
        assert val_name is not None
        parts = [tops["train"], val_name]
        classes, train = _labelled(tree, tops["train"], prefix, open_store)
        _check_two(tree.where, classes)
        val_classes, val = _labelled(tree, val_name, prefix, open_store)
        _check_same(tree.where, tops["train"], classes, val_name, val_classes)
    else:
        parts = [""]
        classes, whole = _labelled(tree, "", prefix, open_store)
        _check_two(tree.where, classes)
        train, val = split_by_seed(whole.store, whole.labels, classes, seed=seed, val_fraction=val_fraction)
    return Source(
        name=listing.where,
        classes=classes,
        train=train,
        val=val,
        label_safe=LabelSafe(),
        has_own_val=has_own_val,
        passed_over=_passed_over(tree, parts, prefix),
    )


def _without_wrapper(listing: Listing) -> tuple[str, Listing]:
    """Return (prefix, inner) for a folder that only wraps another one, as zips often have it."""
    tops = listing.tops()
    if len(tops) == 1 and not any("/" not in file for file in listing.pictures()):
        inner = listing.inside(tops[0])
        if any("/" in file for file in inner.pictures()):
            return f"{tops[0]}/", inner
    return "", listing


def _labelled(
    tree: Listing, part: str, prefix: str, open_store: Callable[[tuple[str, ...]], Store]
) -> tuple[tuple[str, ...], Split]:
    """Return the class names and the labelled pictures of one part ("" for the whole tree)."""
    listing = tree.inside(part) if part else tree
    classes = tuple(listing.tops())
    if not classes:
        raise UserError(f"{listing.where} has pictures but no class folders; make one folder for each class")
    owned: dict[str, list[str]] = {name: [] for name in classes}
    for file in listing.pictures():
        if "/" in file:
            owned[file.split("/")[0]].append(file)
    empty = [name for name in classes if not owned[name]]
    if empty:
        raise UserError(f"class folder {listing.where}/{empty[0]} has no pictures; add some or remove the folder")
    start = prefix + (f"{part}/" if part else "")
    files = tuple(start + file for name in classes for file in owned[name])
    labels = np.repeat(np.arange(len(classes)), [len(owned[name]) for name in classes])
    return classes, Split(store=open_store(files), entries=np.arange(len(labels)), labels=labels)


def _passed_over(tree: Listing, parts: Sequence[str], prefix: str) -> tuple[PassedOver, ...]:
    """Return what lies in the class folders of these parts ("" for the whole tree) and is no picture by its ending."""
    starts = [f"{part}/" if part else "" for part in parts]
    by_ending: dict[str, list[str]] = {}
    for file in tree.others():
        if any(file.startswith(start) and "/" in file.removeprefix(start) for start in starts):
            by_ending.setdefault(_ending(file), []).append(prefix + file)
    found = [
        PassedOver(ending=ending, count=len(names), example=names[0]) for ending, names in sorted(by_ending.items())
    ]
    return tuple(sorted(found, key=lambda one: -one.count))


def _check_two(where: str, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise UserError(f"{where} has only one class folder, {classes[0]!r}; a classifier needs two or more")


def _check_same(where: str, train: str, classes: tuple[str, ...], val: str, val_classes: tuple[str, ...]) -> None:
    for present, names, absent, others in (
        (train, classes, val, val_classes),
        (val, val_classes, train, classes),
    ):
        extra = sorted(set(names) - set(others))
        if extra:
            raise UserError(
                f"{where}: class {_quoted(extra)} is in {present}/ but not in {absent}/; both need the same classes"
            )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _ending(file: str) -> str:
    return PurePosixPath(file).suffix.lower() or "no ending"


def _found(listing: Listing) -> str:
    if not listing.files:
        return f"found {len(listing.folders)} folders and no files" if listing.folders else "it is empty"
    endings = Counter(_ending(file) for file in listing.files)
    kinds = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(5))
    return f"found {len(listing.files)} other files ({kinds})"
