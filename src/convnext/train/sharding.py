"""A network, its average and its optimizer spread over several processes: FSDP2, for networks like L and XL.

Each process keeps a share of every weight and gathers a block's weights only while it works on that block. What torch
needs for that takes most of a second to import, so it is imported by those who spread.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from convnext.network import Block

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def spread(model: nn.Module, device: torch.device, world_size: int) -> None:
    """Shard a model's weights in place over all processes, block by block; its parameters keep their names."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size,))
    for layer in model.modules():
        if isinstance(layer, Block):
            fully_shard(layer, mesh=mesh)
    # True for the root too: evaluation must leave no gathered weights behind that a step would then miss.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def is_spread_tensor(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether a tensor's elements are shared out over processes."""
    return hasattr(tensor, "device_mesh")


def is_spread(model: nn.Module) -> bool:
    """Whether a model's weights are shared out over processes."""
    return any(is_spread_tensor(parameter) for parameter in model.parameters())


def own(tensor: Tensor) -> Tensor:
    """Return this process's share of a tensor, in the same memory; the tensor itself where it is whole."""
    if not is_spread_tensor(tensor):
        return tensor
    share: Tensor = tensor.to_local()
    return share


def whole(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor; every process has to ask."""
    if not is_spread_tensor(tensor):
        return tensor
    full: Tensor = tensor.full_tensor()
    return full


def spread_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, known to every process, spread like another one of its shape."""
    if not is_spread_tensor(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def copy_state(source: nn.Module, target: nn.Module) -> None:
    """Copy weights and buffers from one module to another of the same kind, spread in the same way."""
    places = target.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in source.state_dict(keep_vars=True).items():
            own(places[name].detach()).copy_(own(tensor.detach()))


def load_whole(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put whole tensors into a model by name, in place, spread over processes or not."""
    places = model.state_dict(keep_vars=True)
    assert places.keys() == state.keys(), "a run's checkpoint has the tensors of its model"
    with torch.no_grad():
        for name, place in places.items():
            own(place.detach()).copy_(own(spread_like(state[name], place)))
