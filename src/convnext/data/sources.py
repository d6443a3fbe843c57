"""One text names a data set: a folder, a zip, `digits`, or `torchvision:NAME[@ROOT]`."""

import re
from pathlib import Path
from typing import Literal

from convnext.data.archives import open_zip
from convnext.data.builtin import open_digits
from convnext.data.folders import open_folder
from convnext.data.splits import LabelSafe, Source, Split, Store
from convnext.data.torchvision_sets import open_torchvision
from convnext.errors import UserError, nearest

__all__ = ["LabelSafe", "Source", "Split", "Store", "open_source"]

DOWNLOADS = "~/.cache/convnext/torchvision"
FORMS = "a folder of class folders, a zip of one, digits, or torchvision:NAME[@ROOT]"


def open_source(text: str, *, seed: int = 0, val_fraction: float = 0.2, root: Path | None = None) -> Source:
    """Open the data set that a text names.

    text: `digits` is the embedded set (write ./digits for a folder of that name), then comes a path that exists,
    then `torchvision:NAME`, with `@ROOT` for the folder it lies in or is downloaded to.
    seed, val_fraction: how a set without a held-out part of its own is split.
    root: where torchvision's sets lie when the text does not say.
    Raises UserError when there is no such thing or it cannot be trained on.
    """
    if text == "digits":
        return open_digits(seed=seed, val_fraction=val_fraction)
    path = Path(text).expanduser()
    kind = _kind(path)
    if kind == "folder":
        return open_folder(path, seed=seed, val_fraction=val_fraction)
    if kind == "file":
        return open_zip(path, seed=seed, val_fraction=val_fraction)
    scheme = re.match(r"(\w+):", text)
    if scheme is None:
        raise UserError(f"no such folder or file: {text}{_near(text, path)}; DATA is {FORMS}")
    if scheme[1] != "torchvision":
        raise UserError(f"unknown kind of data {scheme[1]!r} in {text!r}, and no such path; DATA is {FORMS}")
    name, _, place = text.removeprefix("torchvision:").partition("@")
    return open_torchvision(name, Path(place or root or DOWNLOADS).expanduser())


def lasting(text: str) -> str:
    """Return the text of a data set so that it means the same from any working directory."""
    path = Path(text).expanduser()
    if text != "digits" and path.exists():
        return str(path.resolve())
    kind, at, root = text.partition("@")
    if kind.startswith("torchvision:") and at:
        return f"{kind}@{Path(root).expanduser().resolve()}"
    return text


def _kind(path: Path) -> Literal["folder", "file", "missing"]:
    try:
        if path.is_dir():
            return "folder"
        return "file" if path.exists() else "missing"
    except OSError as error:  # a name too long, or a folder above it that may not be entered
        raise UserError(f"cannot open {path}: {error.strerror}; DATA is {FORMS}") from error


def _near(text: str, path: Path) -> str:
    """Return a hint: names beside the one asked for, or that the folder around it is missing too."""
    if not path.parent.is_dir():
        return f" (nor is there a folder {path.parent})"
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        return ""
    hint = nearest(path.name, names + ["digits"] * (text == path.name))
    return hint.rstrip("?") if "did you mean" in hint else ""
