"""Class names that come with the data: a text with one name a line, and the value that stands for no class."""

import re
from dataclasses import dataclass

from convnext.data.dense.files import Files, shown
from convnext.errors import UserError

CLASSES = "classes.txt"
# What ADE20K comes with: a table with the names in its last column.
TABLE = "objectInfo150.txt"
IGNORE = re.compile(r"ignore_index\s*=\s*(\d+)\b.*")


@dataclass(frozen=True, kw_only=True)
class Names:
    """Class names in the order of their values, the file that they come from, and a value that is to be ignored."""

    names: tuple[str, ...]
    file: str
    ignored: int | None = None


def read_names(files: Files) -> Names | None:
    """Return the names in classes.txt, or in ADE20K's table; None where there is neither.

    A line "ignore_index=11" says which value of a label map stands for no class. UserError for a name that is there
    twice or an empty line.
    """
    if TABLE in files.listing.files and CLASSES not in files.listing.files:
        rows = [line.split("\t") for line in files.text(TABLE).splitlines() if line.strip()]
        return Names(names=_unique(f"{files.where}/{TABLE}", [row[-1].strip() for row in rows[1:]]), file=TABLE)
    if CLASSES not in files.listing.files:
        return None
    where = f"{files.where}/{CLASSES}"
    lines = [line.strip() for line in files.text(CLASSES).rstrip().splitlines()]
    ignored = [int(found[1]) for line in lines if (found := IGNORE.fullmatch(line))]
    if len(ignored) > 1:
        raise UserError(f"{where} has {len(ignored)} lines with ignore_index; one value can be ignored")
    names = [line for line in lines if not IGNORE.fullmatch(line)]
    return Names(names=_unique(where, names), file=CLASSES, ignored=ignored[0] if ignored else None)


def _unique(where: str, names: list[str]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or not all(names) or twice:
        what = f"{shown(twice)} twice" if twice and all(twice) else "an empty line" if names else "no names"
        raise UserError(f"{where} has {what}; write one name a line, each once")
    return tuple(names)
