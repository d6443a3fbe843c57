"""From a label text for each picture to a source: class names and their order, held-out part, and what is wrong."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext.data.splits import Integers, LabelSafe, Source, Split, Store, split_by_seed
from convnext.errors import UserError

CLASS_FILES = ("classes.txt", "labels.txt", "classnames.json")
SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Pictures with label texts, before anything is known of their classes.

    where     what to call the data in a message
    texts     the label texts there are, each once
    labels    for each picture of the store the number of its label text, int64
    held_out  whether each picture is in the held-out part, bool; None where the data has no such part of its own
    """

    where: str
    store: Store
    texts: tuple[str, ...]
    labels: Integers
    held_out: NDArray[np.bool_] | None


def labelled_source(given: Labelled, names: Sequence[str] | None, *, seed: int, val_fraction: float) -> Source:
    """Return the source of labelled pictures, split by the seed where the data has no held-out part of its own.

    names: the class names in their order, where the data has a list of them; labels may be numbers in it. Classes of
    which there is no picture are left out. Without names they are the label texts, sorted; numbers by value.

    UserError for a label that is not in the list, fewer than two classes, or a class that is only in the held-out part.
    """
    classes, table = _classes(given, names)
    labels = table[given.labels]
    if len(classes) < 2:
        only = f"only one class, {classes[0]!r}" if classes else "no pictures"
        raise UserError(f"{given.where} has {only}; a classifier needs two or more")
    entries = np.arange(len(labels))
    if given.held_out is None:
        train, val = split_by_seed(given.store, labels, classes, seed=seed, val_fraction=val_fraction)
    else:
        train, val = (
            Split(store=given.store, entries=entries[part], labels=labels[part])
            for part in (~given.held_out, given.held_out)
        )
        _check_trained(given.where, classes, train.labels, val.labels)
    return Source(
        name=given.where,
        classes=classes,
        train=train,
        val=val,
        label_safe=LabelSafe(),
        has_own_val=given.held_out is not None,
    )


def class_names_beside(folder: Path) -> tuple[str, ...] | None:
    """Return the names in the first file of class names in a folder, or None where there is none.

    A text has a name a line; JSON a list of names, or a table of numbers to names or of names to numbers.
    """
    path = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = (
            _json_names(json.loads(text)) if path.suffix == ".json" else [line.strip() for line in text.splitlines()]
        )
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"the class names in {path} cannot be read ({error}); mend the file or remove it") from error
    while names and not names[-1]:
        names.pop()
    if not all(names) or len(set(names)) < len(names):
        raise UserError(f"{path} has an empty line or one name twice; write one name a line, each once")
    return tuple(names)


def plain_label(text: str) -> str:
    """Return a label text without what does not count: spaces around it, zeros before a number."""
    text = text.strip()
    return str(int(text)) if text.isascii() and text.isdigit() else text


def few(names: Sequence[str]) -> str:
    """Return the first names, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _json_names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(name) for name in value]
    if not isinstance(value, Mapping):
        raise ValueError("it holds neither a list nor a table")
    if all(re.fullmatch(r"\d+", key) for key in value):
        numbered = {int(key): str(name) for key, name in value.items()}
    else:
        numbered = {int(number): str(name) for name, number in value.items()}
    if sorted(numbered) != list(range(len(value))):
        raise ValueError("its numbers are not 0, 1, 2 and so on, each once")
    return [numbered[number] for number in range(len(numbered))]


def _classes(given: Labelled, names: Sequence[str] | None) -> tuple[tuple[str, ...], Integers]:
    """Return the class names in order and, for each label text, the number of its class."""
    numbered = all(text.isdigit() for text in given.texts)
    if names is None or (not numbered and not set(given.texts) <= set(names)):
        classes = tuple(sorted(given.texts, key=int) if numbered else sorted(given.texts))
        numbers = {name: number for number, name in enumerate(classes)}
        return classes, np.array([numbers[text] for text in given.texts], dtype=np.int64)
    if numbered:
        outside = [text for text in given.texts if int(text) >= len(names)]
        if outside:
            raise UserError(
                f"{given.where} has labels outside of its {len(names)} class names: {few(outside)}; numbers begin at 0"
            )
        places = [int(text) for text in given.texts]
    else:
        place_of = {name: place for place, name in enumerate(names)}
        places = [place_of[text] for text in given.texts]
    used = sorted(set(places))
    numbers_of = {place: number for number, place in enumerate(used)}
    table = np.array([numbers_of[place] for place in places], dtype=np.int64)
    return tuple(names[place] for place in used), table


def _check_trained(where: str, classes: Sequence[str], train: Integers, val: Integers) -> None:
    for part, labels in (("train", train), ("held-out", val)):
        if len(labels) == 0:
            raise UserError(f"{where} has no pictures in its {part} part")
    trained = np.zeros(len(classes), dtype=bool)
    trained[train] = True
    unseen = [name for name, known in zip(classes, trained, strict=True) if not known]
    if unseen:
        raise UserError(
            f"{where}: class {few(unseen)} is in the held-out part but not in the part to train on; both need the same"
        )
