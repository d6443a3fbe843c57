"""Parameter groups (weight decay, layer-wise learning rates) and the optimizers over them, AdamW and SGD."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from convnext.classifier import Classifier
from convnext.errors import UserError
from convnext.recipe import Optim
from convnext.spec import NetSpec
from convnext.train.sharding import own, spread_like

FUSED_ON = ("cpu", "cuda", "mps")
BLOCKS_A_LAYER = 3


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters, by name, that share their weight decay and the factor on their learning rate."""

    name: str
    lr_scale: float
    weight_decay: float
    parameters: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A step of layer-wise decay: what its parameters' names start with."""

    name: str
    prefixes: tuple[str, ...]


def decay_layers(spec: NetSpec, by: Literal["layers", "stages"] = "layers") -> list[Layer]:
    """Return the layers of layer-wise decay, from the stem (0) to norm and head (last).

    layers  three blocks of a stage in a row are one, with the downsampling before them. The official code says so for
            depths 3,3,27,3 (12 layers between stem and head) and in detection for 3,3,9,3 (6); this rule gives both,
            and serves every other depth
    stages  as the official code for segmentation has it: a stage is one, all downsampling is the stem's, and there are
            as many as by layers, so that those between the last stage and the head are empty
    """
    by_layers = _decay_layers(spec)
    if by == "layers":
        return by_layers
    separate, (stem, *_, head) = spec.transitions == "separate", by_layers
    layers = [
        Layer(
            name="stem and downsampling" if separate else "stem",
            prefixes=("downsample_layers.",) if separate else stem.prefixes,
        )
    ]
    for index in range(len(spec.depths)):
        layers.append(Layer(name=f"stage {index + 1}", prefixes=(_stage_prefix(spec, index),)))
    empty = [Layer(name="", prefixes=())] * (len(by_layers) - 1 - len(layers))
    return [*layers, *empty, head]


def _stage_prefix(spec: NetSpec, index: int) -> str:
    return {"in_block": f"layer{index + 1}.", "separate": f"stages.{index}.", "none": "blocks."}[spec.transitions]


def _decay_layers(spec: NetSpec) -> list[Layer]:
    stem = {"in_block": ("conv1.", "bn1."), "separate": ("downsample_layers.0.",), "none": ("stem.",)}[spec.transitions]
    layers = [Layer(name="stem", prefixes=stem)]
    for index, depth in enumerate(spec.depths):
        stage = _stage_prefix(spec, index)
        for first in range(0, depth, BLOCKS_A_LAYER):
            blocks = range(first, min(first + BLOCKS_A_LAYER, depth))
            opens = spec.transitions == "separate" and index > 0 and first == 0
            shown = f"block {first + 1}" if len(blocks) == 1 else f"blocks {first + 1}-{blocks[-1] + 1}"
            layers.append(
                Layer(
                    name=f"stage {index + 1} ({'downsampling, ' if opens else ''}{shown})",
                    prefixes=(
                        *((f"downsample_layers.{index}.",) if opens else ()),
                        *(f"{stage}{block}." for block in blocks),
                    ),
                )
            )
    return [*layers, Layer(name="norm and head", prefixes=("norm.", "head.", "fc."))]


def parameter_groups(model: nn.Module, optim: Optim) -> list[ParameterGroup]:
    """Split the trainable parameters by weight decay and, where `optim.layer_decay` is below 1, by layer.

    Not decayed are biases, norms and LayerScale, and what another library names for its own network; depthwise kernels
    are decayed (paper, section 3.1 and official code).
    A layer's learning rate is layer_decay ** (last layer - its number) of the highest; what stands outside the network
    of a larger model counts as head. Groups without parameters are left out. UserError where layers are asked for of
    a model that holds no `Network`.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    prefix, classifier = _classifier_in(model)
    undecayed = {prefix + name for name in classifier.undecayed} if classifier is not None else set()
    layers, numbers = [Layer(name="", prefixes=())], dict.fromkeys(names, 0)
    if optim.layer_decay < 1:
        layers = decay_layers(_own_spec(classifier, model), optim.decay_by)
        numbers = {name: _layer_number(name, prefix, layers) for name in names}
    groups = []
    for number, layer in enumerate(layers):
        for decayed in (True, False):
            chosen = tuple(
                name
                for name in names
                if numbers[name] == number
                and (optim.decay_all or _is_decayed(name, model.get_parameter(name), undecayed)) == decayed
            )
            if chosen:
                label = "decayed" if decayed else "not decayed"
                groups.append(
                    ParameterGroup(
                        name=f"{layer.name}, {label}" if layer.name else label,
                        lr_scale=optim.layer_decay ** (len(layers) - 1 - number),
                        weight_decay=optim.weight_decay if decayed else 0.0,
                        parameters=chosen,
                    )
                )
    return groups


def _is_decayed(name: str, parameter: nn.Parameter, undecayed: Set[str]) -> bool:
    # A LayerScale of a BatchNorm net has the shape (C, 1, 1), so that the number of dimensions alone does not tell.
    return parameter.ndim > 1 and name not in undecayed and name.rpartition(".")[2] not in ("bias", "gamma")


def _classifier_in(model: nn.Module) -> tuple[str, Classifier | None]:
    for name, module in model.named_modules():
        if isinstance(module, Classifier):
            return f"{name}." if name else "", module
    return "", None


def _own_spec(classifier: Classifier | None, model: nn.Module) -> NetSpec:
    spec = None if classifier is None else classifier.spec
    if isinstance(spec, NetSpec):
        return spec
    shown = type(model).__name__ if spec is None else spec.title
    raise UserError(
        f"optim.layer_decay needs a network of this package, whose layers it knows, got {shown}; "
        "set optim.layer_decay=1"
    )


def _layer_number(name: str, prefix: str, layers: list[Layer]) -> int:
    inside = name.removeprefix(prefix)
    if inside == name and prefix:
        return len(layers) - 1
    return next(number for number, layer in enumerate(layers) if inside.startswith(layer.prefixes))


def build_optimizer(model: nn.Module, groups: list[ParameterGroup], optim: Optim) -> Optimizer:
    """Return AdamW, or SGD with plain momentum, over the groups, with one fused kernel a step where there is one."""
    fused = next(model.parameters()).device.type in FUSED_ON
    built = [
        {
            "params": [model.get_parameter(name) for name in group.parameters],
            "lr": optim.lr * group.lr_scale,
            "weight_decay": group.weight_decay,
            "name": group.name,
            "lr_scale": group.lr_scale,
        }
        for group in groups
    ]
    if optim.name == "sgd":
        return SGD(built, lr=optim.lr, momentum=optim.momentum, fused=fused)
    return AdamW(built, lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=fused)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, in every group times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state by parameter name and slot: "head.weight/exp_avg"; a slot still empty is absent."""
    return {
        f"{name}/{slot}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` returned.

    Slots shaped as their parameter take its memory format too: the fused kernel walks both in memory order.
    """
    for key, stored in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = model.get_parameter(name)
        place = torch.empty_like(parameter) if stored.shape == parameter.shape else None
        if slot == "step" or place is None:
            optimizer.state[parameter][slot] = stored.to(parameter.device)
        else:
            own(place.detach()).copy_(own(spread_like(stored, parameter)))
            optimizer.state[parameter][slot] = place.detach()
