"""Multiply-adds, parameters and activations of a spec, by arithmetic alone.

The paper's "FLOPs" are multiply-adds of convolutions and linear layers (Table 1, Tables 10 and 11); activations are the
elements of their outputs, as the RegNet papers count them. Norms, activations and pooling count nothing in either.
"""

from dataclasses import dataclass

from convnext.layout import Block, Conv, Layout, layout, walk
from convnext.spec import NetSpec


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one part of a network costs for one picture."""

    part: str
    params: int
    macs: int
    activations: int

    @property
    def gmacs(self) -> float:
        """Multiply-adds in 1e9."""
        return self.macs / 1e9


def stage_costs(spec: NetSpec, size: int = 224) -> list[Cost]:
    """Return the cost of the stem, of each stage and of the head for a square picture of `size` pixels."""
    net = layout(spec)
    parts = ["stem", *(f"stage{index + 1}" for index in range(len(net.stages))), "head"]
    macs = dict.fromkeys(parts, 0)
    activations = dict.fromkeys(parts, 0)
    for part, conv, side in walk(net, size):
        activations[part] += conv.out_channels * conv.output_size(side) ** 2
        macs[part] += conv_macs(conv, side)
    macs["head"] = net.out_channels * net.num_classes
    activations["head"] = net.num_classes
    params = _params(net)
    return [Cost(part=part, params=params[part], macs=macs[part], activations=activations[part]) for part in parts]


def conv_macs(conv: Conv, side: int) -> int:
    """Return the multiply-adds of a convolution for an input of side `side` pixels."""
    outputs = conv.out_channels * conv.output_size(side) ** 2
    return outputs * conv.kernel**2 * (conv.in_channels // conv.groups)


def total_cost(spec: NetSpec, size: int = 224) -> Cost:
    """Return the cost of the whole network for a square picture of `size` pixels."""
    parts = stage_costs(spec, size)
    return Cost(
        part="total",
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        activations=sum(part.activations for part in parts),
    )


def _params(net: Layout) -> dict[str, int]:
    counts = {"stem": _conv_params(net.stem)}
    for index, stage in enumerate(net.stages):
        count = sum(_block_params(block) for block in stage.blocks)
        if stage.downsample is not None:
            # The norm of a downsampling stands before its convolution.
            count += _conv_params(stage.downsample) + 2 * stage.downsample.in_channels
        counts[f"stage{index + 1}"] = count
    head = net.out_channels * net.num_classes + net.num_classes
    counts["head"] = head + (2 * net.out_channels if net.head_norm else 0)
    return counts


def _block_params(block: Block) -> int:
    count = sum(_conv_params(conv) for conv in block.convs)
    if block.shortcut is not None:
        count += _conv_params(block.shortcut)
    return count + (block.out_channels if block.layer_scale is not None else 0)


def _conv_params(conv: Conv) -> int:
    weights = conv.out_channels * (conv.in_channels // conv.groups) * conv.kernel**2
    return weights + conv.out_channels * (int(conv.bias) + 2 * int(conv.norm_name is not None))
