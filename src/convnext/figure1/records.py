"""What a user gives: records of `convnext bench` and finished runs, read with every field checked that is used."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convnext.errors import UserError
from convnext.files import existing_file, read_json
from convnext.folder import RECIPE, SUMMARY
from convnext.models import model_name
from convnext.peer_spec import peer_named

# No axis reaches farther, and no network: one multiply-add is 1e-9 of a unit.
_LEAST, _MOST = 1e-9, 1e15
_WHAT_IT_MAY_BE = "give a record of convnext bench, a run's folder, or a folder of runs"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One row of a record: a network at a picture size, its cost, and how fast it was if it was timed."""

    model: str
    size: int
    params: int
    gmacs: float
    images_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A file of `convnext bench`: of each network and size the fastest row, whatever its batch and memory layout.

    ways  how its rows were timed, such as "fp32 on cpu", as far as they tell it
    """

    path: Path
    rows: tuple[Timed, ...]
    ways: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One finished run.

    held_out  how many pictures it was scored on
    top1      of the last epoch, in percent, as reports of sweeps take it: of the raw weights, or where the run kept an
              average, of the weights that it calls its best
    settings  its recipe, less what only says how it is carried out; "" where the folder holds none
    """

    folder: Path
    model: str
    data: str
    classes: int
    held_out: int
    size: int
    recipe: str
    settings: str
    epochs: int
    seed: int
    split_seed: int
    params: int
    gmacs: float
    top1: float


def read_given(paths: Sequence[Path]) -> tuple[list[Record], list[Trained]]:
    """Return the records and the runs that files and folders hold; a run that is reached twice counts once.

    A folder stands for all finished runs below it. UserError for a place that is not there or holds neither, and for a
    file in which a number is missing or is none.
    """
    records: dict[Path, Record] = {}
    runs: dict[Path, Trained] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(path.rglob(SUMMARY))
            if not found:
                raise UserError(f"there is no finished run in {path} (no {SUMMARY}); {_WHAT_IT_MAY_BE}")
            for summary in found:
                runs.setdefault(summary.parent.resolve(), _read_run(summary.parent))
        elif path.name == SUMMARY and path.exists():
            runs.setdefault(path.parent.resolve(), _read_run(path.parent))
        else:
            records.setdefault(path.resolve(), _read_record(path))
    return list(records.values()), list(runs.values())


def _read_record(path: Path) -> Record:
    if not path.exists():
        raise UserError(f"there is no {path}; {_WHAT_IT_MAY_BE}")
    try:
        value = json.loads(existing_file(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); {_WHAT_IT_MAY_BE}") from None
    rows = value.get("rows") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} holds no rows of a record; {_WHAT_IT_MAY_BE}")
    if not rows:
        raise UserError(f"{path} is a record without a row; {_WHAT_IT_MAY_BE}")
    fastest: dict[tuple[str, int], Timed] = {}
    for number, row in enumerate(rows, start=1):
        timed = _timed(row, f"row {number} of {path}")
        before = fastest.setdefault((timed.model, timed.size), timed)
        if (timed.images_per_second or 0) > (before.images_per_second or 0):
            fastest[timed.model, timed.size] = timed
    ways = tuple(filter(None, dict.fromkeys(map(_way, rows))))
    return Record(path=path, rows=tuple(fastest.values()), ways=ways)


def _way(row: Mapping[str, Any]) -> str:
    words = ["training steps" if row.get("train") is True else "", str(row.get("dtype") or "")]
    words += ["compiled" if row.get("compile") is True else "", f"on {row['device']}" if row.get("device") else ""]
    return " ".join(filter(None, words))


def _timed(row: Mapping[str, Any], where: str) -> Timed:
    name = _text(row, "model", where)
    peer = peer_named(name)
    return Timed(
        # A system of the paper may be written as timm calls it.
        model=name if peer is None else model_name(peer) or name,
        size=int(_above_0(row, "input_size", where)),
        params=int(_above_0(row, "params", where)),
        gmacs=_above_0(row, "gmacs", where),
        images_per_second=None if row.get("images_per_second") is None else _above_0(row, "images_per_second", where),
    )


def _read_run(folder: Path) -> Trained:
    path = folder / SUMMARY
    summary, where = read_json(path), str(path)
    last, best = _inner(summary, "last", where), _inner(summary, "best", where)
    weights = "raw" if last.get("ema") is None else _text(best, "weights", where)
    return Trained(
        folder=folder,
        model=_text(summary, "model", where),
        data=_text(summary, "data", where),
        classes=int(_above_0(summary, "classes", where)),
        held_out=int(_above_0(summary, "val_images", where)),
        size=int(_above_0(summary, "size", where)),
        recipe=_text(summary, "recipe", where),
        settings=_settings(folder / RECIPE),
        epochs=int(_above_0(summary, "epochs", where)),
        seed=int(_number(summary, "seed", where)),
        split_seed=int(_number(summary, "split_seed", where)),
        params=int(_above_0(summary, "params", where)),
        gmacs=_above_0(summary, "gmacs", where),
        top1=_number(_inner(last, weights, where), "top1", where),
    )


def _settings(path: Path) -> str:
    """Return a run's recipe as one text; how many processes read pictures and the like is not of it."""
    if not path.exists():
        return ""
    values = {name: value for name, value in read_json(path).items() if name != "engine"}
    data = values.get("data")
    if isinstance(data, dict):
        values["data"] = {name: value for name, value in data.items() if name != "workers"}
    return json.dumps(values, sort_keys=True)


def _text(values: Mapping[str, Any], name: str, where: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise _missing(name, "a name", value, where)
    return value


def _inner(values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise _missing(name, "an object", value, where)
    return value


def _number(values: Mapping[str, Any], name: str, where: str) -> float:
    value = values.get(name)
    # JSON as Python writes it knows NaN and infinity.
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) == float("inf") or value != value:
        raise _missing(name, "a number", value, where)
    return value


def _above_0(values: Mapping[str, Any], name: str, where: str) -> float:
    value = _number(values, name, where)
    if value <= 0:
        raise _missing(name, "a number above 0", value, where)
    if not _LEAST <= value <= _MOST:
        raise _missing(name, f"a number from {_LEAST:g} to {_MOST:g}", value, where)
    return value


def _missing(name: str, what: str, value: object, where: str) -> UserError:
    found = "missing" if value is None else json.dumps(value, ensure_ascii=False)[:60]
    return UserError(f"{where}: {name} must be {what}, it is {found}; {_WHAT_IT_MAY_BE}")
