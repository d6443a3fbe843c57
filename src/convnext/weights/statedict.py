"""Where the tensors lie in the checkpoints that people have, and how they become the tensors of our network.

Training scripts wrap a state dict in dictionaries (`model`, `state_dict`, `model_ema`) and its names in prefixes
(`module.` of data parallel, `_orig_mod.` of torch.compile); both are taken off here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from convnext.errors import UserError
from convnext.weights.schemes import Recognised, Scheme, Shape, explain

WeightsChoice = Literal["auto", "ema", "raw"]
WeightsKind = Literal["ema", "raw", "only"]

RAW_KEYS = ("model", "state_dict", "model_state_dict", "module", "network", "net", "weights")
EMA_KEYS = ("model_ema", "state_dict_ema", "ema", "ema_state_dict", "model_ema_state_dict", "ema_model")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "network.")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A plain state dict and whether it is the averaged one; "only" where the file has a single set of weights."""

    tensors: dict[str, Tensor]
    weights: WeightsKind


def find_tensors(checkpoint: Mapping[str, Any], choice: WeightsChoice, source: str) -> Found:
    """Find the state dict in a checkpoint, without prefixes; EMA weights are preferred unless `choice` is "raw".

    UserError when there is none, or none of the chosen kind; `source` is named in it.
    """
    raw = _first(checkpoint, RAW_KEYS)
    ema = _first(checkpoint, EMA_KEYS)
    if raw is None and ema is None:
        raw = _tensors_of(checkpoint)
    if raw is None and ema is None:
        keys = ", ".join(map(str, list(checkpoint)[:6])) or "none"
        raise UserError(
            f"{source} holds no weights: its keys are {keys}; weights are looked for under {', '.join(RAW_KEYS[:4])}"
        )
    if choice == "ema" and ema is None:
        raise UserError(f"{source} has no EMA weights; take weights=raw, or another file")
    if choice == "raw" and raw is None:
        raise UserError(f"{source} has EMA weights only; take weights=ema, or another file")
    if ema is not None and choice != "raw":
        return Found(tensors=_unprefixed(ema), weights="ema")
    assert raw is not None
    return Found(tensors=_unprefixed(raw), weights="only" if ema is None else "raw")


def _first(checkpoint: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Tensor] | None:
    for key in keys:
        value = checkpoint.get(key)
        if not isinstance(value, Mapping):
            continue
        # timm and others wrap once more: {"ema": {"module": {...}}}.
        tensors = _first(value, RAW_KEYS) or _tensors_of(value)
        if tensors is not None:
            return tensors
    return None


def _tensors_of(values: Mapping[Any, Any]) -> dict[str, Tensor] | None:
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor) and isinstance(name, str)}
    return tensors or None


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # torchvision's averaged model counts its updates in a tensor beside the weights.
    tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}
    while prefix := next((prefix for prefix in PREFIXES if _all_start(tensors, prefix)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if "embeddings.patch_embeddings.weight" in tensors:  # transformers without a head leaves its own prefix out
        tensors = {
            name if name.startswith("classifier.") else f"convnext.{name}": value for name, value in tensors.items()
        }
    return tensors


def _all_start(names: Iterable[str], prefix: str) -> bool:
    names = list(names)
    return bool(names) and all(name.startswith(prefix) for name in names)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def translate(
    tensors: Mapping[str, Tensor], recognised: Recognised, expected: Mapping[str, Shape], source: str
) -> dict[str, Tensor]:
    """Return the tensors under our names and in our shapes.

    `expected` holds the shapes of the network that the tensors are for, by our names. UserError lists what is missing,
    unexpected or of another shape.
    """
    told = f"{source} has {recognised.title} but is another network{explain(tensors)}"
    return renamed_back(tensors, recognised.scheme.rename, expected, told)


def renamed_back(
    tensors: Mapping[str, Tensor], rename: Callable[[str], str], expected: Mapping[str, Shape], told: str
) -> dict[str, Tensor]:
    """Return the tensors under the names that `rename` turns into theirs, in the expected shapes.

    expected   shapes by the names that come out
    told       how the UserError begins that lists what is missing, unexpected or of another shape
    """
    theirs = {rename(name): name for name in expected}
    counters = [name for name in theirs if name.endswith(".num_batches_tracked") and name not in tensors]
    missing = [name for name in theirs if name not in tensors and name not in counters]
    unexpected = [name for name in tensors if name not in theirs]
    wrong = [
        f"{name} is {tuple(tensors[name].shape)} instead of {expected[ours]}"
        for name, ours in theirs.items()
        if name in tensors and not _fits(tuple(tensors[name].shape), expected[ours])
    ]
    complaints = [
        f"{what} {_some(names)}"
        for what, names in (("it lacks", missing), ("it has besides", unexpected), ("of other shape:", wrong))
        if names
    ]
    if complaints:
        raise UserError(f"{told}: {'; '.join(complaints)}")
    found = {ours: tensors[name].reshape(expected[ours]) for name, ours in theirs.items() if name in tensors}
    # Files from before torch 0.4.1 do not count the batches of a BatchNorm.
    return found | {theirs[name]: torch.zeros((), dtype=torch.int64) for name in counters}


def rename_all(tensors: Mapping[str, Tensor], scheme: Scheme, *, conv_mlp: bool = False) -> dict[str, Tensor]:
    """Return our tensors under the scheme's names and in its shapes; conv_mlp: 1x1 convolutions, not linear layers."""
    return {
        scheme.rename(name): tensor.reshape(scheme.reshape(name, tuple(tensor.shape), conv_mlp=conv_mlp))
        for name, tensor in tensors.items()
    }


def _fits(found: Shape, ours: Shape) -> bool:
    """Whether the shapes are equal but for trailing ones: (C, 1, 1) for a scale, (O, I, 1, 1) for a linear layer."""
    return found[: len(ours)] == ours and all(side == 1 for side in found[len(ours) :])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
