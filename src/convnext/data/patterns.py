"""One text for many files: braces as shells have them, name-{0000..0146}.tar and {train,val}.csv."""

import re
from pathlib import Path

from convnext.data.labelled import few
from convnext.errors import UserError

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST_FILES = 1_000_000


def is_pattern(text: str) -> bool:
    """Tell whether a text has braces with a range or with alternatives in them."""
    return any(RANGE.fullmatch(inner) or "," in inner for inner in BRACES.findall(text))


def expand(text: str) -> list[Path]:
    """Return the files that a pattern names, in order; UserError for those that are not there."""
    paths = [Path(one).expanduser() for one in _expanded(text)]
    missing = [str(path) for path in paths if not path.is_file()]
    if len(missing) == len(paths):
        raise UserError(f"none of the {len(paths)} files of {text} is there; the first would be {missing[0]}")
    if missing:
        raise UserError(f"{len(missing)} of the {len(paths)} files of {text} are missing: {few(missing)}")
    return paths


def _expanded(text: str) -> list[str]:
    found = next((part for part in BRACES.finditer(text) if RANGE.fullmatch(part[1]) or "," in part[1]), None)
    if found is None:
        return [text]
    middles = _alternatives(found[1])
    rests = _expanded(text[found.end() :])
    if len(middles) * len(rests) > MOST_FILES:
        raise UserError(f"{text} stands for more than {MOST_FILES:,} files; check its numbers")
    return [text[: found.start()] + middle + rest for middle in middles for rest in rests]


def _alternatives(inner: str) -> list[str]:
    ends = RANGE.fullmatch(inner)
    if ends is None:
        return inner.split(",")
    first, last = int(ends[1]), int(ends[2])
    if abs(last - first) >= MOST_FILES:
        raise UserError(f"{{{inner}}} stands for more than {MOST_FILES:,} files; check its numbers")
    # As in bash: numbers are padded where one of the ends begins with a zero.
    padded = any(len(end) > 1 and end[0] == "0" for end in ends.groups())
    width = max(map(len, ends.groups())) if padded else 0
    step = 1 if last >= first else -1
    return [str(number).zfill(width) for number in range(first, last + step, step)]
