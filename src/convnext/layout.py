"""The layers that a NetSpec stands for, as data: one plan that the network builds, the cost counts and a drawing shows.

Every choice of a spec is resolved here, once. What comes out says of each convolution its channels, kernel, stride and
what follows it, so that neither the builder nor the counter decides anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from convnext.errors import UserError
from convnext.spec import NetSpec


@dataclass(frozen=True, kw_only=True)
class Conv:
    """One convolution and what stands right behind it.

    `name` and `norm_name` are the parameter names inside the block: the official ones where the block is ConvNeXt's,
    torchvision's where it is ResNet's.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    norm_name: str | None = None
    act: bool = False

    def output_size(self, size: int) -> int:
        """Side of the output in pixels for an input of side `size`."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def pointwise(self) -> bool:
        """Whether it mixes channels only, so that it may be a linear layer."""
        return self.kernel == 1 and self.stride == 1 and self.groups == 1


@dataclass(frozen=True, kw_only=True)
class Block:
    """A residual block: three convolutions, a shortcut (None is the identity) and what follows the sum."""

    convs: tuple[Conv, Conv, Conv]
    shortcut: Conv | None
    act_after_sum: bool
    layer_scale: float | None

    @property
    def out_channels(self) -> int:
        """Channels of the sum."""
        return self.convs[-1].out_channels


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The blocks at one resolution; `downsample` is the separate norm and convolution before them, if any."""

    downsample: Conv | None
    blocks: tuple[Block, ...]

    @property
    def out_channels(self) -> int:
        """Channels of the stage's output."""
        return self.blocks[-1].out_channels


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A whole network: stem convolution (with a 3x3 stride-2 max-pool where `pool`), stages, pooling, norm, head."""

    stem: Conv
    pool: bool
    stages: tuple[Stage, ...]
    head_norm: bool
    num_classes: int

    @property
    def out_channels(self) -> int:
        """Channels that the head sees."""
        return self.stages[-1].out_channels


def layout(spec: NetSpec) -> Layout:
    """Resolve a spec into its layers.

    Placement follows the counts of Tables 10 and 11: in ResNet blocks the stride sits on the spatial convolution, the
    shortcut is a 1x1 convolution and norm wherever stride or channels change, BatchNorm nets have no bias in block
    convolutions and LayerNorm nets have, and the patch stem always has one.
    """
    stem = _stem(spec)
    stages: list[Stage] = []
    channels = stem.out_channels
    for index, depth in enumerate(spec.depths):
        width = spec.width * 2**index
        out_channels = width if spec.inverted else spec.expansion * width
        downsample = None
        stride = 1
        if index > 0 and spec.transitions == "separate":
            downsample = Conv(name="1", in_channels=channels, out_channels=out_channels, kernel=2, stride=2)
            channels = out_channels
        elif index > 0:
            stride = 2
        first = _block(spec, channels, width, stride)
        rest = _block(spec, out_channels, width, 1)
        stages.append(Stage(downsample=downsample, blocks=(first,) + (rest,) * (depth - 1)))
        channels = out_channels
    return Layout(
        stem=stem,
        pool=spec.stem == "pool" and spec.stem_stride == 4,
        stages=tuple(stages),
        head_norm=spec.transitions != "in_block",
        num_classes=spec.num_classes,
    )


def _stem(spec: NetSpec) -> Conv:
    if spec.stem == "pool":
        return Conv(
            name="conv1",
            in_channels=spec.in_channels,
            out_channels=spec.width,
            kernel=7,
            stride=min(spec.stem_stride, 2),
            padding=3,
            bias=spec.norm == "layer",
            norm_name="bn1",
            act=True,
        )
    # A stride below 4 keeps the 4x4 kernel (overlapping, padded) so that published weights still fit; at stride 1 no
    # even kernel keeps the picture's size, so it is 3x3 there.
    kernel = 3 if spec.stem_stride == 1 else max(4, spec.stem_stride)
    return Conv(
        name="0",
        in_channels=spec.in_channels,
        out_channels=spec.width,
        kernel=kernel,
        stride=spec.stem_stride,
        padding=(kernel - spec.stem_stride) // 2,
        norm_name="1" if spec.transitions == "separate" else None,
    )


def _block(spec: NetSpec, in_channels: int, width: int, stride: int) -> Block:
    wide = spec.expansion * width
    hidden, out_channels = (wide, width) if spec.inverted else (width, wide)
    bias = spec.norm == "layer"
    every_norm = spec.norm_at == "every"
    every_act = spec.act_at == "every"
    mixed = in_channels if spec.mixer_first else hidden
    names = ("dwconv", "pwconv1", "pwconv2") if spec.mixer_first else ("conv1", "conv2", "conv3")
    norms = ("norm", "norm1", "norm2") if spec.mixer_first else ("bn1", "bn2", "bn3")
    mixer_at = 0 if spec.mixer_first else 1
    channels = (
        [in_channels, mixed, hidden, out_channels] if spec.mixer_first else [in_channels, hidden, hidden, out_channels]
    )
    convs = [
        Conv(
            name=names[at],
            in_channels=channels[at],
            out_channels=channels[at + 1],
            kernel=spec.kernel if at == mixer_at else 1,
            stride=stride if at == mixer_at else 1,
            padding=spec.kernel // 2 if at == mixer_at else 0,
            groups=mixed if at == mixer_at and spec.depthwise else 1,
            bias=bias,
            norm_name=norms[at] if every_norm or at == mixer_at else None,
            act=at == 1 or (at == 0 and every_act),
        )
        for at in range(3)
    ]
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = Conv(
            name="0",
            in_channels=in_channels,
            out_channels=out_channels,
            stride=stride,
            bias=bias,
            norm_name="1",
        )
    return Block(
        convs=(convs[0], convs[1], convs[2]),
        shortcut=shortcut,
        act_after_sum=every_act,
        layer_scale=spec.layer_scale,
    )


def walk(net: Layout, size: int) -> Iterator[tuple[str, Conv, int]]:
    """Yield (part, convolution, side of its input in pixels) in the order of the forward pass.

    `part` is "stem" or "stage1", "stage2", ...; a separate downsampling belongs to the stage that it opens. UserError
    when the picture is too small for the net.
    """
    yield "stem", net.stem, size
    here = stem_output_size(net, size)
    for index, stage in enumerate(net.stages):
        part = f"stage{index + 1}"
        if stage.downsample is not None:
            yield part, stage.downsample, here
            here = stage.downsample.output_size(here)
        _require_size(here, size)
        for block in stage.blocks:
            before = here
            for conv in block.convs:
                yield part, conv, here
                here = conv.output_size(here)
            if block.shortcut is not None:
                yield part, block.shortcut, before


def stem_output_size(net: Layout, size: int) -> int:
    """Side in pixels of the map that the stem gives for a picture of side `size`."""
    here = net.stem.output_size(size)
    if net.pool:
        here = (here + 2 - 3) // 2 + 1
    _require_size(here, size)
    return here


def _require_size(here: int, size: int) -> None:
    if here < 1:
        raise UserError(
            f"a picture of {size} pixels is too small for this network, nothing is left of it; "
            "take a larger size or a smaller stem_stride"
        )
