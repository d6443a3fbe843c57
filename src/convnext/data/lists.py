"""Lists of pictures: a CSV, TSV or JSONL file with a path and a label in each row, and perhaps the part."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext.data.folders import FolderStore
from convnext.data.labelled import Labelled, class_names_beside, few, labelled_source, plain_label
from convnext.data.part_names import TRAIN_NAMES, WHOLE, common_root, parts_of
from convnext.data.splits import Source
from convnext.data.tree import VAL_NAMES
from convnext.errors import UserError

LIST_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
PATH_COLUMNS = ("path", "file", "image", "filename", "file_name", "filepath", "file_path", "image_path")
LABEL_COLUMNS = ("label", "class", "target", "category", "class_name", "label_name")
SPLIT_COLUMNS = ("split", "part", "set", "subset")
# Of a list without a header.
COLUMNS = ("path", "label", "split")


class _Row(NamedTuple):
    place: str
    path: str
    label: str
    part: str | None


def open_lists(where: str, paths: Sequence[Path], *, root: Path | None, seed: int, val_fraction: float) -> Source:
    """Return the source of one list, or of several, of which the word train or val in a name says the part.

    where: what to call them; root: what the pictures' paths are relative to, None for the folder of the list.
    UserError that names the row for whatever is wrong, and the pictures that are not there.
    """
    beside = common_root(paths)
    base = root or beside
    if not base.is_dir():
        raise UserError(f"there is no folder {base} for the pictures of {where}; give it as LIST@FOLDER")
    rows: list[_Row] = []
    for name, part in parts_of(where, [path.relative_to(beside).as_posix() for path in paths]).items():
        folder = "" if root else name.rpartition("/")[0]
        found = [row._replace(path=f"{folder}/{row.path}" if folder else row.path) for row in _rows(beside / name)]
        rows += found if part == WHOLE else [row._replace(part=part) for row in found]
    if not rows:
        raise UserError(f"{where} has no rows; each names a picture and its label")
    _check_parts(rows)
    chosen = _chosen(rows)
    _check_files(where, base, chosen)
    texts = tuple(sorted({row.label for row in chosen}))
    codes = {text: code for code, text in enumerate(texts)}
    held_out = np.array([row.part in VAL_NAMES for row in chosen], dtype=bool)
    given = Labelled(
        where=where,
        store=FolderStore(root=base, files=tuple(row.path for row in chosen)),
        texts=texts,
        labels=np.array([codes[row.label] for row in chosen], dtype=np.int64),
        held_out=held_out if held_out.any() else None,
    )
    return labelled_source(given, class_names_beside(beside), seed=seed, val_fraction=val_fraction)


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the rows of a list; UserError names the line of what is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in (".csv", ".tsv"):
                records = _table(path, csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
            else:
                records = _objects(path, file)
            for place, record in records:
                yield _row(place, record)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not in UTF-8 ({error}); save it so") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _table(path: Path, reader: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    columns: Sequence[str] | None = None
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                header = [cell.strip().lower() for cell in cells]
                if any(name in PATH_COLUMNS + LABEL_COLUMNS for name in header):
                    _check_header(place, header)
                    columns = header
                    continue
                columns = COLUMNS[: max(2, len(cells))]
            if len(cells) != len(columns):
                raise UserError(f"{place}: {len(cells)} columns instead of {len(columns)} ({', '.join(columns)})")
            yield place, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def _check_header(place: str, header: Sequence[str]) -> None:
    for what, known in (("pictures", PATH_COLUMNS), ("labels", LABEL_COLUMNS)):
        if not any(name in header for name in known):
            names = f"{', '.join(known[:-1])} or {known[-1]}"
            raise UserError(f"{place}: no column of {what} among {', '.join(header)}; call it {names}")


def _objects(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{place}: no JSON ({error}); write one object a line") from error
        if not isinstance(record, dict):
            raise UserError(f"{place}: no JSON object; write one a line, such as {{'path': 'a.jpg', 'label': 'cat'}}")
        yield place, {key.lower(): value for key, value in record.items()}


def _row(place: str, record: Mapping[str, Any]) -> _Row:
    path, label = _cell(place, record, PATH_COLUMNS, "picture"), _cell(place, record, LABEL_COLUMNS, "label")
    part = next((str(record[name]).strip().lower() for name in SPLIT_COLUMNS if record.get(name)), None)
    if part in TRAIN_NAMES:
        part = "train"
    if part not in (None, "train", *VAL_NAMES):
        raise UserError(f"{place}: the part must be train or one of {', '.join(VAL_NAMES)}, got {part!r}")
    return _Row(place, path, plain_label(label), part)


def _cell(place: str, record: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    value = next((record[name] for name in names if name in record), None)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise UserError(f"{place}: no {what} in it ({', '.join(names[:3])}, ...), got {dict(record)}")
    return str(value).strip()


def _check_parts(rows: Sequence[_Row]) -> None:
    parted = [row for row in rows if row.part is not None]
    if parted and len(parted) < len(rows):
        row = next(row for row in rows if row.part is None)
        raise UserError(f"{row.place}: no part in it, which other rows have; write train or val")


def _chosen(rows: list[_Row]) -> list[_Row]:
    """Return the rows to use: all of them, or those of train and of the first held-out part that there is."""
    parts = {row.part for row in rows}
    held_out = next((part for part in VAL_NAMES if part in parts), None)
    if "train" not in parts or held_out is None:
        return [row._replace(part=None) for row in rows]
    return [row for row in rows if row.part in ("train", held_out)]


def _check_files(where: str, base: Path, rows: Sequence[_Row]) -> None:
    """Check that all pictures are there, by listing each folder once: asking for each file would take far longer."""
    folders: dict[str, frozenset[str]] = {}
    missing: list[_Row] = []
    for row in rows:
        folder, _, name = row.path.rpartition("/")
        if folder not in folders:
            folders[folder] = _names_in(base / (folder or ("/" if row.path.startswith("/") else "")))
        if name not in folders[folder]:
            missing.append(row)
    if missing:
        shown = f"{few([row.path for row in missing])} (the first in {missing[0].place})"
        raise UserError(
            f"{where} names {len(missing)} pictures that are not under {base}: {shown}; paths are relative to the "
            "list's folder, or give theirs as LIST@FOLDER"
        )


def _names_in(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_dir())
    except OSError:
        return frozenset()
