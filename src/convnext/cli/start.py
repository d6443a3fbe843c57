"""What the commands that train ask of a start, and of one that goes on: DATA, or --resume and nothing else."""

from collections.abc import Mapping
from pathlib import Path

from convnext.cli.options import DATA_HELP
from convnext.errors import UserError


def require_start(what: str, data: str | None, resume: Path | None, told: Mapping[str, object]) -> None:
    """Refuse a start without DATA, and one that goes on with what was begun and is told how to begin.

    what  is trained: "run" or "sweep"
    told  the options that belong to a beginning, by name, each with its value; None and [] were not given
    """
    given = [name for name, value in told.items() if value not in (None, [])]
    if resume is not None and given:
        raise UserError(f"--resume goes on with a {what} as it was begun, so leave out {', '.join(given)}")
    if resume is None and data is None:
        raise UserError(f"DATA is missing: {DATA_HELP[0].lower()}{DATA_HELP[1:]}")
