"""Class folders of the robustness sets: where they begin under a folder, and the pictures in them.

Unlike data to train on, these may hold few classes, or one picture a class: nothing is split off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convnext.data.folders import FolderStore, list_folder
from convnext.data.splits import Split
from convnext.data.tree import visible
from convnext.errors import UserError

IsClass = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPictures:
    """All pictures of a set: its classes, and labels that count them."""

    where: str
    classes: tuple[str, ...]
    split: Split


def class_root(root: Path, is_class: IsClass, preferred: Sequence[str] = ()) -> Path | None:
    """Return the folder that holds class folders: this one or one in it; None where there is none.

    preferred  names of which the first that is there is taken, where several folders hold classes

    UserError when several do and none is preferred.
    """
    if _holds_classes(root, is_class):
        return root
    inner = [folder for folder in folders_in(root) if _holds_classes(folder, is_class)]
    for name in preferred:
        for folder in inner:
            if folder.name == name:
                return folder
    if len(inner) > 1:
        raise UserError(f"{root} holds several sets ({', '.join(folder.name for folder in inner[:4])}); name one")
    return inner[0] if inner else None


def read_class_folders(root: Path, *, where: str | None = None) -> LabelledPictures:
    """Return the pictures in the folders of a folder; UserError when there are none. Empty folders are passed over."""
    listing = list_folder(root)
    owned: dict[str, list[str]] = {}
    for file in listing.pictures():
        if "/" in file:
            owned.setdefault(file.split("/")[0], []).append(file)
    if not owned:
        raise UserError(f"{root} has no pictures in its folders")
    classes = tuple(sorted(owned))
    files = tuple(file for name in classes for file in owned[name])
    labels = np.repeat(np.arange(len(classes)), [len(owned[name]) for name in classes])
    split = Split(store=FolderStore(root=root, files=files), entries=np.arange(len(files)), labels=labels)
    return LabelledPictures(where=where or str(root), classes=classes, split=split)


def folders_in(root: Path) -> list[Path]:
    """Return the visible folders in a folder by name; UserError when it cannot be listed."""
    try:
        return sorted(entry for entry in root.iterdir() if visible(entry.name) and entry.is_dir())
    except OSError as error:
        raise UserError(f"cannot list {root}: {error.strerror}") from error


def _holds_classes(root: Path, is_class: IsClass) -> bool:
    return any(is_class(folder.name) for folder in folders_in(root))
