"""What a drawing of a network shows, as data: its stem, one block, its stages and its head, read from the layout.

Two networks are compared element by element, so a highlight is a difference of data and not of pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from convnext.cost import conv_macs, stage_costs
from convnext.layout import Block, Conv, Layout, Stage, layout, stem_output_size, walk
from convnext.spec import NetSpec

NORMS = {"batch": "BN", "layer": "LN"}
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU"}
SPATIAL, FIRST, LAST = "spatial", "first", "last"
ROLES = (SPATIAL, FIRST, LAST)


@dataclass(frozen=True, kw_only=True)
class ConvPart:
    """A convolution as drawn: its size, what stands right behind it, and its multiply-adds for one picture.

    role  "spatial" for the one that mixes positions, "first" and "last" for the 1x1 ones around or behind it; "stem"
          and "shortcut" outside a block's branch. It stays the same when a step moves the convolution.
    """

    role: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    depthwise: bool
    norm: str | None
    act: str | None
    macs: int

    @property
    def size(self) -> str:
        """Kernel and stride as the paper writes them: d7x7, or 2x2 stride 2; d is depthwise."""
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{'d' if self.depthwise else ''}{self.kernel}x{self.kernel}{stride}"

    @property
    def channels(self) -> str:
        """Channels in and out, or one number where both are the same."""
        if self.in_channels == self.out_channels:
            return str(self.out_channels)
        return f"{self.in_channels} → {self.out_channels}"

    @property
    def label(self) -> str:
        """Size and channels, as in the paper's Figures 3 and 4."""
        return f"{self.size}, {self.channels}"


@dataclass(frozen=True, kw_only=True)
class BlockPart:
    """A residual block: its convolutions in order, the shortcut's (None is the identity), scale, activation of the sum.

    side is that of its output in pixels.
    """

    convs: tuple[ConvPart, ConvPart, ConvPart]
    shortcut: ConvPart | None
    layer_scale: float | None
    act: str | None
    side: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the input and behind each convolution."""
        return (self.convs[0].in_channels, *(conv.out_channels for conv in self.convs))

    @property
    def scale(self) -> str | None:
        """LayerScale and where it starts, as the paper writes it: 1e-6."""
        return None if self.layer_scale is None else f"LayerScale {self.layer_scale:g}".replace("e-0", "e-")

    def conv(self, role: str) -> ConvPart:
        """Return the convolution of that role."""
        return next(conv for conv in self.convs if conv.role == role)


@dataclass(frozen=True, kw_only=True)
class StagePart:
    """A stage: how it is entered, its blocks, and channels and side in pixels of its output.

    norm      before a separate downsampling
    shrink    how the map becomes smaller; None where it keeps its size
    shortcut  the convolution and norm on the first block's shortcut; None is the identity
    """

    name: str
    norm: str | None
    shrink: str | None
    shortcut: str | None
    blocks: int
    channels: int
    side: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class NetParts:
    """Everything that a drawing of one network shows, for a square picture of `size` pixels."""

    size: int
    stem: ConvPart
    pool: bool
    stem_side: int
    block: BlockPart
    stages: tuple[StagePart, ...]
    head_norm: str | None
    head_channels: int
    num_classes: int
    head_macs: int
    macs: int
    params: int


def parts_of(spec: NetSpec, size: int = 224) -> NetParts:
    """Return what a drawing of the spec shows; UserError when the picture is too small for the net.

    The block is the last one of the first stage, so that it is a regular one wherever the stage has more than one.
    """
    net = layout(spec)
    costs = {cost.part: cost for cost in stage_costs(spec, size)}
    sides = {part: conv.output_size(side) for part, conv, side in walk(net, size)}
    return NetParts(
        size=size,
        stem=_conv(net.stem, "stem", size, spec),
        pool=net.pool,
        stem_side=stem_output_size(net, size),
        block=_block(net.stages[0].blocks[-1], sides["stage1"], spec),
        stages=tuple(_stage(name, stage, sides[name], costs[name].macs, spec) for name, stage in _named_stages(net)),
        head_norm=NORMS[spec.norm] if net.head_norm else None,
        head_channels=net.out_channels,
        num_classes=net.num_classes,
        head_macs=costs["head"].macs,
        macs=sum(cost.macs for cost in costs.values()),
        params=sum(cost.params for cost in costs.values()),
    )


def elements(net: NetParts) -> dict[str, str]:
    """Return what is drawn as one text for each place, by the place's name; what is not there has no entry."""
    shortcut = net.block.shortcut
    found: dict[str, str | None] = {
        "picture.channels": str(net.stem.in_channels),
        "stem.size": net.stem.size,
        "stem.norm": net.stem.norm,
        "stem.act": net.stem.act,
        "stem.pool": "max-pool stride 2" if net.pool else None,
        "stem.channels": str(net.stem.out_channels),
        "stem.side": square(net.stem_side),
        "block.shortcut": f"{shortcut.label}, {shortcut.norm}" if shortcut else None,
        "block.scale": net.block.scale,
        "block.act": net.block.act,
        "head.pool": "mean-pool",
        "head.norm": net.head_norm,
        "head.linear": f"linear {net.head_channels} → {net.num_classes}",
    }
    for place, conv in enumerate(net.block.convs):
        found[f"{conv.role}.kernel"] = f"{conv.kernel}x{conv.kernel}"
        found[f"{conv.role}.channels"] = conv.channels
        found[f"{conv.role}.norm"] = conv.norm
        found[f"{conv.role}.act"] = conv.act
        if conv.role == SPATIAL:
            found["spatial.kind"] = "depthwise" if conv.depthwise else "dense"
            found["spatial.place"] = ("before the 1x1s", "between the 1x1s", "behind the 1x1s")[place]
    for stage in net.stages:
        found[f"{stage.name}.norm"] = stage.norm
        found[f"{stage.name}.shrink"] = stage.shrink
        found[f"{stage.name}.shortcut"] = stage.shortcut
        found[f"{stage.name}.blocks"] = str(stage.blocks)
        found[f"{stage.name}.channels"] = str(stage.channels)
        found[f"{stage.name}.side"] = square(stage.side)
    return {name: text for name, text in found.items() if text is not None}


def _named_stages(net: Layout) -> Iterator[tuple[str, Stage]]:
    for index, stage in enumerate(net.stages):
        yield f"stage{index + 1}", stage


def _block(block: Block, side: int, spec: NetSpec) -> BlockPart:
    # The spatial convolution has a window; at kernel 1 it works on each channel alone, or is one of three alike.
    spatial = max(range(3), key=lambda at: (block.convs[at].kernel, block.convs[at].groups, at == 1))
    roles = [FIRST, LAST]
    roles.insert(spatial, SPATIAL)
    one, two, three = (_conv(conv, role, side, spec) for conv, role in zip(block.convs, roles, strict=True))
    return BlockPart(
        convs=(one, two, three),
        shortcut=_conv(block.shortcut, "shortcut", side, spec) if block.shortcut else None,
        layer_scale=block.layer_scale,
        act=ACTIVATIONS[spec.act] if block.act_after_sum else None,
        side=side,
    )


def _stage(name: str, stage: Stage, side: int, macs: int, spec: NetSpec) -> StagePart:
    first = stage.blocks[0]
    norm = shrink = shortcut = None
    stride = max(conv.stride for conv in first.convs)
    if stage.downsample is not None:
        norm = NORMS[spec.norm]
        shrink = f"{_conv(stage.downsample, 'downsample', side, spec).size} convolution"
    elif stride > 1:
        shrink = f"stride {stride} in the first block"
    if first.shortcut is not None:
        shortcut = f"{first.shortcut.kernel}x{first.shortcut.kernel} shortcut, {NORMS[spec.norm]}"
    return StagePart(
        name=name,
        norm=norm,
        shrink=shrink,
        shortcut=shortcut,
        blocks=len(stage.blocks),
        channels=stage.out_channels,
        side=side,
        macs=macs,
    )


def _conv(conv: Conv, role: str, side: int, spec: NetSpec) -> ConvPart:
    return ConvPart(
        role=role,
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel=conv.kernel,
        stride=conv.stride,
        depthwise=conv.groups == conv.in_channels > 1,
        norm=NORMS[spec.norm] if conv.norm_name is not None else None,
        act=ACTIVATIONS[spec.act] if conv.act else None,
        macs=conv_macs(conv, side),
    )


def square(side: int) -> str:
    """Return the size of a square map or picture: 56x56."""
    return f"{side}x{side}"
