"""A page for a browser: the best and worst pictures of a model, and its classes; one HTML file that needs no other."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from convnext.errors import UserError
from convnext.files import write_bytes

TEMPLATE = "page.html.j2"
WIDEST_PX = 900
# Until it is clicked, a picture takes no more height than this, so that a pair is seen as a whole.
_TALLEST_SHOWN_PX = 620
# Text in colour stays sharp at this quality without chroma subsampling.
_QUALITY = 86


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One picture of the page.

    name        what it is called, a file name for the most part
    score       in percent, None where there is none (a picture without objects has no AP)
    score_name  of what: "AP50", "mIoU"
    pictures    (caption, picture) pairs that stand side by side, ("predicted", ...), ("true", ...)
    facts       lines of text below them
    """

    name: str
    score: float | None
    score_name: str
    pictures: tuple[tuple[str, Image.Image], ...]
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pictures:
            raise UserError(f"entry {self.name!r} has no pictures; give at least one, with its caption")


def write_page(
    path: Path,
    *,
    title: str,
    summary: Sequence[tuple[str, str]],
    best: Sequence[Entry],
    worst: Sequence[Entry],
    per_class: Sequence[tuple[str, Mapping[str, float | None]]],
) -> None:
    """Write the page: numbers of the whole, pictures best and worst in the order given, and a table of classes.

    summary: (name, value) pairs as they are to be read. per_class: (class, values by column) pairs; a value is in
    percent, and the columns whose values are all `int` are counts. Pictures are embedded, at most 900 pixels wide.
    UserError when the file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("convnext", "gallery"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [("best", "Best pictures", best), ("worst", "Worst pictures", worst)]
    page = environment.get_template(TEMPLATE).render(
        title=title,
        summary=summary,
        sections=[
            {"name": name, "title": heading, "entries": [_shown(entry) for entry in entries]}
            for name, heading, entries in sections
            if entries
        ],
        columns=_columns(per_class),
        rows=[(name, [_cell(values, column) for column in _columns(per_class)]) for name, values in per_class],
    )
    # Names of files may hold bytes that are no text.
    write_bytes(path, page.encode("utf-8", "replace"))


def _shown(entry: Entry) -> dict[str, Any]:
    small = [_small(picture) for _, picture in entry.pictures]
    tallest = max(picture.height for picture in small)
    return {
        "name": entry.name,
        "score": _percent(entry.score),
        "score_name": entry.score_name,
        "pictures": [
            {
                "caption": caption,
                "uri": _data_uri(picture),
                "width": picture.width,
                "height": picture.height,
                # Pictures of a pair are shrunk alike, though the legend of one may be longer.
                "widest": max(1, round(picture.width * _TALLEST_SHOWN_PX / tallest)),
            }
            for (caption, _), picture in zip(entry.pictures, small, strict=True)
        ],
        "facts": entry.facts,
    }


def _columns(per_class: Sequence[tuple[str, Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    """Return the columns in the order in which the classes bring them, each with the value of a full bar."""
    columns = []
    for name in dict.fromkeys(name for _, values in per_class for name in values):
        known = [value for _, values in per_class if (value := values.get(name)) is not None]
        counts = bool(known) and all(isinstance(value, int) for value in known)
        columns.append({"name": name, "counts": counts, "full": max(known) if counts else 100.0})
    return columns


def _cell(values: Mapping[str, float | None], column: Mapping[str, Any]) -> dict[str, Any]:
    value = values.get(column["name"])
    # NaN, as of a class that is in no picture, is no value either.
    if value is None or value != value:
        return {"text": "–", "value": "", "bar": 0.0}
    text = f"{value:,}" if column["counts"] else _percent(value)
    bar = value / column["full"] if column["full"] else 0.0
    return {"text": text, "value": f"{value:.6g}", "bar": round(min(max(bar, 0.0), 1.0), 4)}


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.1f}"


def _small(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    if picture.width <= WIDEST_PX:
        return picture
    height = max(1, round(picture.height * WIDEST_PX / picture.width))
    return picture.resize((WIDEST_PX, height), Image.Resampling.LANCZOS)


def _data_uri(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
