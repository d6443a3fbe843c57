"""Options that make another regime of one of the roadmap's: wider, deeper, with fields that no step touches."""

from typing import Annotated

import typer

from convnext.errors import UserError

Width = Annotated[int | None, typer.Option(help="Channels at the start; later widths keep their proportion.")]
Depths = Annotated[str | None, typer.Option(help="Blocks a stage at the start, as 3,4,6,3.")]


def read_depths(text: str | None) -> list[int] | None:
    """Return the blocks of each stage that --depths names; UserError for what is no list of whole numbers."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--depths must be whole numbers with commas such as 3,4,6,3, got {text}")
    return [int(part) for part in parts]
