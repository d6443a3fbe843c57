"""AdamW with weight decay on matrices and kernels only."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from convnext.recipe import Optim

FUSED_ON = ("cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters, by name, that share their weight decay."""

    name: str
    weight_decay: float
    parameters: tuple[str, ...]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[ParameterGroup]:
    """Split the trainable parameters in two: decayed, and not.

    Not decayed are biases, norms and LayerScale; depthwise kernels are decayed (paper, section 3.1 and official code).
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [name for name in names if _is_decayed(name, model.get_parameter(name))]
    return [
        ParameterGroup(name="decayed", weight_decay=weight_decay, parameters=tuple(decayed)),
        ParameterGroup(
            name="not decayed",
            weight_decay=0.0,
            parameters=tuple(name for name in names if name not in set(decayed)),
        ),
    ]


def _is_decayed(name: str, parameter: nn.Parameter) -> bool:
    # A LayerScale of a BatchNorm net has the shape (C, 1, 1), so that the number of dimensions alone does not tell.
    return parameter.ndim > 1 and name.rpartition(".")[2] not in ("bias", "gamma")


def build_optimizer(model: nn.Module, groups: list[ParameterGroup], optim: Optim) -> AdamW:
    """Return AdamW over the groups, with one fused kernel a step where the device has it."""
    device = next(model.parameters()).device
    return AdamW(
        [
            {
                "params": [model.get_parameter(name) for name in group.parameters],
                "weight_decay": group.weight_decay,
                "name": group.name,
            }
            for group in groups
            if group.parameters
        ],
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        fused=device.type in FUSED_ON,
    )


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state by parameter name and slot: "head.weight/exp_avg"."""
    return {
        f"{name}/{slot}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
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
            optimizer.state[parameter][slot] = place.detach().copy_(stored)
