"""One text names a data set: pictures in folders, zips, tar shards, tables or lists, and sets known by name."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convnext.data.archives import open_zip
from convnext.data.builtin import open_digits
from convnext.data.folders import open_folder
from convnext.data.hub import PREFIX, is_saved, open_hub, open_parquet, open_saved, read_options
from convnext.data.lists import LIST_ENDINGS, open_lists
from convnext.data.part_names import files_of_parts
from convnext.data.patterns import expand, is_pattern
from convnext.data.shards import TAR_ENDINGS, open_shards
from convnext.data.splits import LabelSafe, Source, Split, Store
from convnext.data.tar_index import Note
from convnext.data.torchvision_sets import open_torchvision
from convnext.errors import UserError, nearest

__all__ = ["LabelSafe", "Source", "Split", "Store", "open_source"]

DOWNLOADS = "~/.cache/convnext/torchvision"
TORCHVISION = "torchvision:"
PARQUET_ENDINGS = (".parquet",)
# Of files that can be data; compressed tars are told apart only to be refused with a reason.
FILE_ENDINGS = (".zip", ".tar", *LIST_ENDINGS, *PARQUET_ENDINGS)
# Where the hub keeps the files of a repository.
PARQUET_FOLDERS = ("data",)
FORMS = (
    "a folder of class folders, a zip of one, tar shards, a list (CSV, TSV, JSONL), parquet, hf:OWNER/NAME, digits, or "
    "torchvision:NAME[@ROOT]"
)


@dataclass(frozen=True, kw_only=True)
class _How:
    """How to split data without a held-out part, where things lie that the text does not tell, and whom to tell."""

    seed: int
    val_fraction: float
    root: Path | None
    note: Note


def tell(text: str) -> None:
    """Print a note on stderr."""
    print(text, file=sys.stderr)


def open_source(
    text: str, *, seed: int = 0, val_fraction: float = 0.2, root: Path | None = None, note: Note = tell
) -> Source:
    """Open the data set that a text names.

    text: `digits` is the embedded set (write ./digits for a folder of that name), then comes a path that exists, then
    `hf:NAME` of the Hugging Face hub and `torchvision:NAME`, with `@ROOT` for the folder it lies in or is downloaded
    to, then a pattern of paths such as name-{000..146}.tar or {train,val}.csv. A list may be followed by `@FOLDER`,
    which its paths are relative to.
    seed, val_fraction: how a set without a held-out part of its own is split.
    root: where torchvision's sets, the tables of Hugging Face's library and the pictures of a list lie when the text
    does not say.
    note: is told of what takes long, and of what is odd without being wrong.
    Raises UserError when there is no such thing or it cannot be trained on.
    """
    how = _How(seed=seed, val_fraction=val_fraction, root=root, note=note)
    if text == "digits":
        return open_digits(seed=seed, val_fraction=val_fraction)
    name, place = _without_place(text)
    paths = _paths(name)
    if paths is not None:
        return _open_paths(name, paths, {}, replace(how, root=place or root))
    if text.startswith(PREFIX):
        name, options = read_options(text)
        paths = _paths(name) if name else None
        if paths is not None:
            return _open_paths(name, paths, options, how)
        return open_hub(text, root=root, seed=seed, val_fraction=val_fraction, note=note)
    scheme = re.match(r"(\w+):", text)
    if scheme is None:
        path = Path(text).expanduser()
        raise UserError(f"no such folder or file: {text}{_near(text, path)}; DATA is {FORMS}")
    if not text.startswith(TORCHVISION):
        raise UserError(f"unknown kind of data {scheme[1]!r} in {text!r}, and no such path; DATA is {FORMS}")
    name, _, folder = text.removeprefix(TORCHVISION).partition("@")
    return open_torchvision(name, Path(folder or root or DOWNLOADS).expanduser())


def lasting(text: str) -> str:
    """Return the text of a data set so that it means the same from any working directory."""
    if text == "digits":
        return text
    name, place = _without_place(text)
    if _is_path(name):
        return _absolute(name) + (f"@{_absolute(str(place))}" if place else "")
    if text.startswith(PREFIX):
        name, question, options = text.removeprefix(PREFIX).partition("?")
        return f"{PREFIX}{_absolute(name)}{question}{options}" if name and _is_path(name) else text
    kind, at, root = text.partition("@")
    return f"{kind}@{_absolute(root)}" if kind.startswith(TORCHVISION) and at else text


def _open_paths(where: str, paths: Sequence[Path], options: Mapping[str, str], how: _How) -> Source:
    """Open what lies at a path, or at several that a pattern names, by the ending of the first."""
    first, seed, val_fraction = paths[0], how.seed, how.val_fraction
    if is_saved(first):
        return open_saved(first, options, seed=seed, val_fraction=val_fraction)
    tables = _ending_in(paths, PARQUET_ENDINGS)
    if tables:
        return open_parquet(where, tables, options, root=how.root, seed=seed, val_fraction=val_fraction, note=how.note)
    if options:
        raise UserError(f"{where} is neither parquet nor a saved data set, so it takes no {', '.join(options)}")
    shards = _ending_in(paths, TAR_ENDINGS)
    if shards:
        return open_shards(where, shards, seed=seed, val_fraction=val_fraction, note=how.note)
    if first.is_dir():
        return open_folder(first, seed=seed, val_fraction=val_fraction)
    lists = _ending_in(paths, LIST_ENDINGS)
    if lists:
        return open_lists(where, lists, root=how.root, seed=seed, val_fraction=val_fraction)
    if len(paths) > 1:
        raise UserError(f"a pattern names tars, lists or parquet files, not {first.name}; DATA is {FORMS}")
    return open_zip(first, seed=seed, val_fraction=val_fraction)


def _ending_in(paths: Sequence[Path], endings: Sequence[str]) -> list[Path]:
    """Return the files with one of these endings: those that were named, or those in the one folder that was."""
    if paths[0].is_dir():
        return files_of_parts(paths[0], endings, PARQUET_FOLDERS)
    found = [path for path in paths if path.name.lower().endswith(tuple(endings))]
    if found and len(found) < len(paths):
        other = next(path for path in paths if path not in found)
        raise UserError(f"a pattern names files of one kind, got {found[0].name} and {other.name}")
    return found


def _without_place(text: str) -> tuple[str, Path | None]:
    """Return the name and the folder in LIST@FOLDER, or the text and None."""
    name, at, place = text.rpartition("@")
    if at and name.lower().endswith(LIST_ENDINGS) and not _exists(text):
        return name, Path(place).expanduser()
    return text, None


def _paths(text: str) -> list[Path] | None:
    """Return the files or the folder that a text names, None where it names none; UserError for a part of a pattern."""
    if not _is_path(text):
        return None
    return [Path(text).expanduser()] if _exists(text) else expand(text)


def _is_path(text: str) -> bool:
    return _exists(text) or (is_pattern(text) and not text.startswith((PREFIX, TORCHVISION)))


def _absolute(text: str) -> str:
    return str(Path(text).expanduser().resolve())


def _exists(text: str) -> bool:
    path = Path(text).expanduser()
    try:
        return path.exists()
    except OSError as error:  # a name too long, or a folder above it that may not be entered
        raise UserError(f"cannot open {path}: {error.strerror}; DATA is {FORMS}") from error


def _near(text: str, path: Path) -> str:
    """Return a hint: names of what might be data beside the one asked for, or that the folder around it is missing."""
    if not path.parent.is_dir():
        return f" (nor is there a folder {path.parent})"
    try:
        names = sorted(
            entry.name
            for entry in path.parent.iterdir()
            if not entry.name.startswith(".") and (entry.name.lower().endswith(FILE_ENDINGS) or entry.is_dir())
        )
    except OSError:
        return ""
    hint = nearest(path.name, names + ["digits"] * (text == path.name))
    return hint.rstrip("?") if "did you mean" in hint else ""
