"""Open the checkpoint that a command is given, and say what was found."""

from typing import TYPE_CHECKING

from convnext.cli.console import note
from convnext.cli.options import WeightsName

if TYPE_CHECKING:
    from convnext.weights import Loaded


def open_checkpoint(checkpoint: str, weights: WeightsName, *, quiet: bool = False) -> "Loaded":
    """Read a checkpoint; quiet: of several processes one speaks. UserError when it cannot be read."""
    from convnext.weights import read_model

    loaded = read_model(checkpoint, weights=weights.value)
    if not quiet:
        note(loaded.line)
    return loaded
