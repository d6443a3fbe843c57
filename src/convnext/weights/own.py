"""Which of the two sets of weights in a file of ours is taken."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from convnext.errors import UserError
from convnext.weights.statedict import WeightsChoice, WeightsKind

WEIGHTS_SAID: dict[WeightsKind, str] = {"ema": "EMA weights", "raw": "raw weights", "only": "one set of weights"}


def require_choice(choice: str) -> None:
    """Raise UserError for a choice of weights that there is not."""
    if choice not in ("auto", "ema", "raw"):
        raise UserError(f"weights must be auto, ema or raw, got {choice!r}")


def chosen_weights(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], choice: WeightsChoice, shown: str
) -> tuple[WeightsKind, dict[str, Tensor]]:
    """Return which weights a file's tensors `raw.NAME` and `ema.NAME` give for a choice, and those by NAME.

    "auto" takes what the file says was scored best, or else EMA where it is there.

    UserError where the file, called `shown`, has none of the chosen.
    """
    wanted = metadata.get("weights") if choice == "auto" else choice
    has_ema = any(name.startswith("ema.") for name in tensors)
    kind: WeightsKind = "ema" if wanted == "ema" or (wanted != "raw" and has_ema) else "raw"
    chosen = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}
    if not chosen:
        other = "raw" if kind == "ema" else "ema"
        raise UserError(f"{shown} has no {kind} weights; take weights={other}, or another file")
    return kind, chosen
