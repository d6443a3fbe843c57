"""Multiply-adds and parameters of a detector, by arithmetic alone, as Table 3 of the paper counts them.

Counted are convolutions and linear layers at a picture of 1280x800 pixels, with 1,000 proposals through each box head
and 100 objects through each mask head. Norms, activations, RoIAlign and the choice of boxes count nothing; the counter
that the paper used adds a little for norms and activations, which is why it prints up to 0.2% more.
"""

from dataclasses import dataclass

from convnext.cost import stage_costs
from convnext.detection.anchors import RATIOS
from convnext.detection.heads import BOX_SIDE, MASK_SIDE
from convnext.detection.spec import DetectorSpec
from convnext.errors import UserError
from convnext.layout import Layout, layout, walk

# (height, width) of the picture that Table 3 counts at.
PAPER_SIZE = (800, 1280)


@dataclass(frozen=True, kw_only=True)
class DetectorCost:
    """What one part of a detector costs for one picture: "backbone", "neck", "rpn", "box", "mask" or "total"."""

    part: str
    params: int
    macs: int

    @property
    def gmacs(self) -> float:
        """Multiply-adds in 1e9."""
        return self.macs / 1e9


def detector_costs(
    spec: DetectorSpec, size: tuple[int, int] = PAPER_SIZE, *, num_proposals: int = 1000, num_objects: int = 100
) -> list[DetectorCost]:
    """Return the cost of each part for a picture of (height, width), and of all together at the end.

    UserError for an isotropic network, whose maps are not its own.
    """
    if spec.backbone.isotropic:
        raise UserError("the cost of a detector is counted for networks of several stages, not for an isotropic one")
    net = layout(spec.backbone)
    maps = _map_sizes(net, size)
    parts = [
        _backbone(spec, net, size),
        _neck(spec, net, maps),
        _proposals(spec, [*maps, _halved(maps[-1])]),
        _box_heads(spec, num_proposals),
    ]
    if spec.has_masks:
        parts.append(_mask_heads(spec, num_objects))
    return [*parts, _sum("total", parts)]


def _backbone(spec: DetectorSpec, net: Layout, size: tuple[int, int]) -> DetectorCost:
    macs = 0
    for (_, conv, height), (_, _, width) in zip(walk(net, size[0]), walk(net, size[1]), strict=True):
        outputs = conv.out_channels * conv.output_size(height) * conv.output_size(width)
        macs += outputs * conv.kernel**2 * (conv.in_channels // conv.groups)
    params = sum(part.params for part in stage_costs(spec.backbone, min(size)) if part.part != "head")
    if spec.norm_outputs:
        params += sum(2 * stage.out_channels for stage in net.stages)
    return DetectorCost(part="backbone", params=params, macs=macs)


def _neck(spec: DetectorSpec, net: Layout, maps: list[tuple[int, int]]) -> DetectorCost:
    parts = []
    for stage, (height, width) in zip(net.stages, maps, strict=True):
        parts.append(_layer(stage.out_channels, spec.channels, height * width))
        parts.append(_layer(spec.channels, spec.channels, height * width, kernel=3))
    return _sum("neck", parts)


def _proposals(spec: DetectorSpec, maps: list[tuple[int, int]]) -> DetectorCost:
    cells = sum(height * width for height, width in maps)
    hidden = _layer(spec.channels, spec.channels, cells, kernel=3)
    # One logit and four offsets an anchor.
    return _sum("rpn", [hidden, _layer(spec.channels, len(RATIOS) * 5, cells)])


def _box_heads(spec: DetectorSpec, num_proposals: int) -> DetectorCost:
    cells = BOX_SIDE**2
    flat = _layer(spec.channels * cells, spec.hidden, num_proposals)
    if spec.head == "cascade-mask-rcnn":
        conv = _layer(spec.channels, spec.channels, num_proposals * cells, kernel=3)
        # BatchNorm has two parameters a channel where a bias has one.
        conv = DetectorCost(part=conv.part, params=conv.params + spec.channels, macs=conv.macs)
        layers = [conv] * 4 + [flat]
    else:
        layers = [flat, _layer(spec.hidden, spec.hidden, num_proposals)]
    num_logits = spec.num_classes + 1
    num_offsets = num_logits if spec.convention == "torchvision" else spec.num_classes
    layers.append(_layer(spec.hidden, num_logits + 4 * num_offsets, num_proposals))
    return _sum("box", layers * spec.num_stages)


def _mask_heads(spec: DetectorSpec, num_objects: int) -> DetectorCost:
    cells = num_objects * MASK_SIDE**2
    layers = [_layer(spec.channels, spec.channels, cells, kernel=3)] * 4
    # The 2x2 stride-2 transposed convolution makes four cells of one, each by a matrix of its own.
    up = _layer(spec.channels, spec.channels, cells, kernel=2)
    num_masks = spec.num_classes + int(spec.convention == "torchvision")
    layers += [up, _layer(spec.channels, num_masks, 4 * cells)]
    return _sum("mask", layers * spec.num_stages)


def _map_sizes(net: Layout, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of each stage's output."""
    down, across = (_map_sides(net, side) for side in size)
    return list(zip(down, across, strict=True))


def _map_sides(net: Layout, side: int) -> list[int]:
    """Return the side of each stage's output, from where the stage's last convolution ends."""
    last = {part: conv.output_size(here) for part, conv, here in walk(net, side) if part != "stem"}
    return list(last.values())


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (-(-size[0] // 2), -(-size[1] // 2))


def _layer(in_channels: int, out_channels: int, cells: int, *, kernel: int = 1) -> DetectorCost:
    """Return the cost of a convolution with bias (or a linear layer) that gives an output at each of `cells` places."""
    weights = in_channels * out_channels * kernel**2
    return DetectorCost(part="layer", params=weights + out_channels, macs=weights * cells)


def _sum(part: str, costs: list[DetectorCost]) -> DetectorCost:
    return DetectorCost(part=part, params=sum(cost.params for cost in costs), macs=sum(cost.macs for cost in costs))
