"""Which of several files belong to the part to train on and which to the held-out one, by their names."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from convnext.data.labelled import few
from convnext.data.tree import VAL_NAMES, visible
from convnext.errors import UserError

TRAIN_NAMES = ("train", "training")
# Of data that has no held-out part of its own.
WHOLE = "whole"
FEWEST_CLASSES = 2


def part_of(name: str) -> str | None:
    """Return "train", or the one of val, valid, validation and test, that a path has as a word; None for no or two."""
    words = [word.lower() for word in re.split(r"[^A-Za-z]+", name)]
    found = {"train" if word in TRAIN_NAMES else word for word in words if word in (*TRAIN_NAMES, *VAL_NAMES)}
    return found.pop() if len(found) == 1 else None


def parts_of(where: str, names: Sequence[str]) -> dict[str, str]:
    """Return the part of each file: "train" and one of val and so on, or WHOLE for all where these two are not there.

    Of several held-out parts it is val rather than test, and the others are left out. UserError for a file that belongs
    to none where others do.
    """
    found = {name: part_of(name) for name in names}
    held_out = next((part for part in VAL_NAMES if part in found.values()), None)
    if held_out is None or "train" not in found.values():
        return dict.fromkeys(names, WHOLE)
    neither = [name for name, part in found.items() if part is None]
    if neither:
        raise UserError(
            f"{where} has files for train and {held_out}, and others of which that cannot be told: {few(neither)}; "
            "put train or val into their names, or leave them out"
        )
    return {name: part for name, part in found.items() if part in ("train", held_out)}


def common_root(paths: Sequence[Path]) -> Path:
    """Return the folder that all these files lie in."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def files_of_parts(folder: Path, endings: Sequence[str], also: Sequence[str] = ()) -> list[Path]:
    """Return the files with these endings in a folder and in the folders for its parts, sorted.

    also: names of further folders to look into. Files that lie beside as many class folders or more are what was left
    of unpacking them, and are passed over.
    """
    try:
        folders = _folders(folder)
        parts = [name for name in folders if part_of(name) is not None or name in also]
        others = len(folders) - len(parts)
        here = _files(folder, endings, others)
        words = {part_of(name) for name in parts}
        if others >= FEWEST_CLASSES and not here and not ("train" in words and len(words) > 1):
            return []
        return here + [file for name in parts for file in _files(folder / name, endings, len(_folders(folder / name)))]
    except OSError:
        # Whoever lists the whole folder says which one may not be entered.
        return []


def _files(folder: Path, endings: Sequence[str], others: int) -> list[Path]:
    found = [
        path for path in sorted(folder.iterdir()) if path.name.lower().endswith(tuple(endings)) and visible(path.name)
    ]
    return [] if others >= max(FEWEST_CLASSES, len(found)) else found


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if visible(path.name) and path.is_dir())
