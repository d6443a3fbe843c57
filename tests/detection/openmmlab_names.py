"""Names and shapes of OpenMMLab's detectors, written out apart from the code under test."""

from collections.abc import Iterator

Shape = tuple[int, ...]
CHANNELS = (8, 16, 32, 64)


def convnext(parts: tuple[str, str, str]) -> Iterator[tuple[str, Shape]]:
    """A ConvNeXt of depths (1, 1, 1, 1) and width 8; `parts` names a block's convolution and linear layers."""
    spatial, widen, narrow = parts
    yield from pair("backbone.downsample_layers.0.0", (8, 3, 4, 4))
    yield from pair("backbone.downsample_layers.0.1", (8,))
    for stage in (1, 2, 3):
        yield from pair(f"backbone.downsample_layers.{stage}.0", (CHANNELS[stage - 1],))
        yield from pair(f"backbone.downsample_layers.{stage}.1", (CHANNELS[stage], CHANNELS[stage - 1], 2, 2))
    for stage, wide in enumerate(CHANNELS):
        block = f"backbone.stages.{stage}.0"
        yield f"{block}.gamma", (wide,)
        yield from pair(f"{block}.{spatial}", (wide, 1, 7, 7))
        yield from pair(f"{block}.norm", (wide,))
        yield from pair(f"{block}.{widen}", (4 * wide, wide))
        yield from pair(f"{block}.{narrow}", (wide, 4 * wide))
        yield from pair(f"backbone.norm{stage}", (wide,))


def resnet() -> Iterator[tuple[str, Shape]]:
    """A ResNet of depths (1, 1, 1, 1) and width 8, with BatchNorm."""
    yield "backbone.conv1.weight", (8, 3, 7, 7)
    yield from batch_norm("backbone.bn1", 8)
    inner = 8
    for stage, wide in enumerate(CHANNELS, start=1):
        block = f"backbone.layer{stage}.0"
        yield f"{block}.conv1.weight", (wide, inner, 1, 1)
        yield f"{block}.conv2.weight", (wide, wide, 3, 3)
        yield f"{block}.conv3.weight", (4 * wide, wide, 1, 1)
        yield f"{block}.downsample.0.weight", (4 * wide, inner, 1, 1)
        for norm, width in (("bn1", wide), ("bn2", wide), ("bn3", 4 * wide), ("downsample.1", 4 * wide)):
            yield from batch_norm(f"{block}.{norm}", width)
        inner = 4 * wide


def dense(in_channels: tuple[int, ...], channels: int = 16) -> Iterator[tuple[str, Shape]]:
    for level, inner in enumerate(in_channels):
        yield from pair(f"neck.lateral_convs.{level}.conv", (channels, inner, 1, 1))
        yield from pair(f"neck.fpn_convs.{level}.conv", (channels, channels, 3, 3))
    yield from pair("rpn_head.rpn_conv", (channels, channels, 3, 3))
    yield from pair("rpn_head.rpn_cls", (3, channels, 1, 1))
    yield from pair("rpn_head.rpn_reg", (12, channels, 1, 1))


def single_heads(classes: int, channels: int = 16, hidden: int = 24) -> Iterator[tuple[str, Shape]]:
    yield from pair("roi_head.bbox_head.fc_cls", (classes + 1, hidden))
    yield from pair("roi_head.bbox_head.fc_reg", (4 * classes, hidden))
    yield from pair("roi_head.bbox_head.shared_fcs.0", (hidden, 49 * channels))
    yield from pair("roi_head.bbox_head.shared_fcs.1", (hidden, hidden))
    yield from mask_head("roi_head.mask_head", classes, channels)


def cascade_heads(classes: int, channels: int = 16, hidden: int = 24) -> Iterator[tuple[str, Shape]]:
    for stage in range(3):
        box = f"roi_head.bbox_head.{stage}"
        yield from pair(f"{box}.fc_cls", (classes + 1, hidden))
        yield from pair(f"{box}.fc_reg", (4 * classes, hidden))
        for layer in range(4):
            yield f"{box}.shared_convs.{layer}.conv.weight", (channels, channels, 3, 3)
            yield from batch_norm(f"{box}.shared_convs.{layer}.bn", channels)
        yield from pair(f"{box}.shared_fcs.0", (hidden, 49 * channels))
        yield from mask_head(f"roi_head.mask_head.{stage}", classes, channels)


def mask_head(name: str, classes: int, channels: int) -> Iterator[tuple[str, Shape]]:
    for layer in range(4):
        yield from pair(f"{name}.convs.{layer}.conv", (channels, channels, 3, 3))
    yield f"{name}.upsample.weight", (channels, channels, 2, 2)
    yield f"{name}.upsample.bias", (channels,)
    yield f"{name}.conv_logits.weight", (classes, channels, 1, 1)
    yield f"{name}.conv_logits.bias", (classes,)


def pair(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def batch_norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()
