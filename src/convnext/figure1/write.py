"""The figure as files: PNG, SVG, and a page for a browser."""

from dataclasses import dataclass
from pathlib import Path

from convnext.errors import UserError
from convnext.figure1.bubbles import Content
from convnext.figure1.draw import draw_panels, rendered, unlabelled
from convnext.figure1.page import html_page, with_titles
from convnext.files import write_bytes, write_text

ENDINGS = (".png", ".svg", ".html")


def files_of(out: Path) -> list[Path]:
    """Return what is written for a name: one file where its ending tells which, all three where it has none.

    UserError for another ending, and where there is no name.
    """
    if out.name in ("", ".."):
        raise UserError(f"the figure needs the name of a file, got {out}; give one such as {out / 'figure1'}")
    if not out.suffix:
        return [out.with_name(out.name + ending) for ending in ENDINGS]
    if out.suffix.lower() not in ENDINGS:
        raise UserError(
            f"the figure is written as .png, .svg or .html, got {out}; give it one of these endings, or none for all"
        )
    return [out]


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files of a figure, and the labels for which it had no room."""

    paths: tuple[Path, ...]
    unlabelled: tuple[str, ...]


def write_figure1(content: Content, out: Path) -> Written:
    """Draw the figure and write `files_of` the name. The same content gives the same bytes.

    UserError for what is no name, another ending or a place that cannot be written.
    """
    paths = files_of(out)
    figure = draw_panels(content.panels)
    for path in paths:
        match path.suffix.lower():
            case ".png":
                write_bytes(path, rendered(figure, "png"))
            case ".svg":
                write_text(path, with_titles(rendered(figure, "svg").decode(), content.panels))
            case _:
                write_text(path, html_page(content))
    return Written(paths=tuple(paths), unlabelled=tuple(unlabelled(figure, content.panels)))
