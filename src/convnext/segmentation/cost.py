"""Multiply-adds and parameters of a segmenter by arithmetic, for pictures of any height and width.

Table 4 of the paper prints what OpenMMLab's counter gives: "FLOPs" are the multiply-adds of convolutions and linear
layers in inference, so without the auxiliary head, and the "parameters" are all that are trained, so with it. That
counter also adds three operations an element for each norm and ReLU of the head (under 0.1%), which `gmacs` leaves out
and `elementwise` gives: with it every printed number comes out to the digit. Resizing and pooling count nothing.
"""

from dataclasses import dataclass

from convnext.cost import stage_costs
from convnext.layout import layout, walk
from convnext.segmentation.spec import SegmenterSpec
from convnext.spec import NetSpec

# BatchNorm multiplies and adds, ReLU compares.
_OPERATIONS_AN_ELEMENT = 3
_AUX_MAP = 2


@dataclass(frozen=True, kw_only=True)
class SegmenterCost:
    """What a part of a segmenter costs for one picture.

    elementwise   operations of the head's norms and activations, which are not in macs
    """

    part: str
    params: int
    macs: int
    elementwise: int = 0

    @property
    def gmacs(self) -> float:
        """Multiply-adds in 1e9."""
        return self.macs / 1e9


@dataclass(frozen=True, kw_only=True)
class _Conv:
    """A convolution of a head; `normed`: BatchNorm and ReLU follow, and it has no bias."""

    in_channels: int
    out_channels: int
    kernel: int
    cells: int
    normed: bool = True

    @property
    def params(self) -> int:
        weights = self.in_channels * self.out_channels * self.kernel**2
        return weights + self.out_channels * (2 if self.normed else 1)

    @property
    def macs(self) -> int:
        return self.in_channels * self.out_channels * self.kernel**2 * self.cells

    @property
    def elementwise(self) -> int:
        return _OPERATIONS_AN_ELEMENT * self.out_channels * self.cells if self.normed else 0


def segmenter_costs(spec: SegmenterSpec, height: int, width: int) -> list[SegmenterCost]:
    """Return the cost of the backbone, of the head and of the auxiliary head for a picture of height x width pixels.

    UserError when the picture is too small for the network.
    """
    maps = _maps(spec.backbone, height, width)
    costs = [_backbone(spec, height, width, maps), _of("decode_head", _decode_head(spec, maps))]
    if spec.aux_channels is not None:
        channels, cells = maps[_AUX_MAP]
        convs = [
            _Conv(in_channels=channels, out_channels=spec.aux_channels, kernel=3, cells=cells),
            _Conv(in_channels=spec.aux_channels, out_channels=spec.num_classes, kernel=1, cells=cells, normed=False),
        ]
        costs.append(_of("auxiliary_head", convs))
    return costs


def segmenter_cost(spec: SegmenterSpec, height: int, width: int) -> SegmenterCost:
    """Return what Table 4 prints: the parameters of all parts, the multiply-adds of all but the auxiliary head."""
    parts = segmenter_costs(spec, height, width)
    inference = [part for part in parts if part.part != "auxiliary_head"]
    return SegmenterCost(
        part="total",
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in inference),
        elementwise=sum(part.elementwise for part in inference),
    )


def _of(part: str, convs: list[_Conv]) -> SegmenterCost:
    return SegmenterCost(
        part=part,
        params=sum(conv.params for conv in convs),
        macs=sum(conv.macs for conv in convs),
        elementwise=sum(conv.elementwise for conv in convs),
    )


def _decode_head(spec: SegmenterSpec, maps: list[tuple[int, int]]) -> list[_Conv]:
    channels, finest, (last, last_cells) = spec.channels, maps[0][1], maps[-1]
    convs = [_Conv(in_channels=last, out_channels=channels, kernel=1, cells=side**2) for side in spec.pool_scales]
    pooled = last + len(spec.pool_scales) * channels
    convs.append(_Conv(in_channels=pooled, out_channels=channels, kernel=3, cells=last_cells))
    for one, cells in maps[:-1]:
        convs.append(_Conv(in_channels=one, out_channels=channels, kernel=1, cells=cells))
        convs.append(_Conv(in_channels=channels, out_channels=channels, kernel=3, cells=cells))
    convs.append(_Conv(in_channels=len(maps) * channels, out_channels=channels, kernel=3, cells=finest))
    convs.append(_Conv(in_channels=channels, out_channels=spec.num_classes, kernel=1, cells=finest, normed=False))
    return convs


def _backbone(spec: SegmenterSpec, height: int, width: int, maps: list[tuple[int, int]]) -> SegmenterCost:
    network = spec.backbone
    net = layout(network)
    macs = 0
    # The same layers along either side: the cells of a map are the product of its two sides.
    for (_, conv, tall), (_, _, wide) in zip(walk(net, height), walk(net, width), strict=True):
        outputs = conv.out_channels * conv.output_size(tall) * conv.output_size(wide)
        macs += outputs * conv.kernel**2 * (conv.in_channels // conv.groups)
    params = sum(part.params for part in stage_costs(network, max(height, width)) if part.part != "head")
    if network.isotropic:
        channels, cells = net.out_channels, maps[2][1]
        # Three transposed 2x2 convolutions: each cell of the input makes four; the second one sees four times as many.
        params += 3 * (4 * channels**2 + channels) + 2 * channels
        macs += (1 + 4 + 1) * 4 * channels**2 * cells
    if spec.norm_outputs:
        params += sum(2 * channels for channels, _ in maps)
    return SegmenterCost(part="backbone", params=params, macs=macs)


def _maps(network: NetSpec, height: int, width: int) -> list[tuple[int, int]]:
    """Return (channels, cells) of each map that the backbone gives."""
    channels = [stage.out_channels for stage in layout(network).stages]
    sides = zip(_sides(network, height), _sides(network, width), strict=True)
    if network.isotropic:
        channels = channels * 4
    return [(one, tall * wide) for one, (tall, wide) in zip(channels, sides, strict=True)]


def _sides(network: NetSpec, length: int) -> list[int]:
    """Return the side of each map along a picture's side of `length` pixels."""
    sides: dict[str, int] = {}
    for part, conv, side in walk(layout(network), length):
        if part == "stem":
            continue
        # The shortcut comes last in a block that has one, and gives the block's output as its last convolution does.
        sides[part] = conv.output_size(side)
    found = list(sides.values())
    return [4 * found[0], 2 * found[0], found[0], -(-found[0] // 2)] if network.isotropic else found
