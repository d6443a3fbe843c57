"""What the same parameters are called in the official code, timm, torchvision and transformers.

A scheme is data: where it keeps stem, downsampling, blocks and head. Renaming goes from our names (the official ones;
torchvision's for ResNets) to the scheme's; the way back is the same table read from the other side.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from convnext.errors import UserError, nearest
from convnext.spec import CONVNEXT_TINY, RESNET50, NetSpec

SchemeName = Literal["official", "timm", "torchvision", "transformers"]
Shape = tuple[int, ...]

_DOWNSAMPLE = re.compile(r"downsample_layers\.(\d+)\.(\d+)\.(\w+)")
_BLOCK = re.compile(r"stages\.(\d+)\.(\d+)\.(\w+)(\.\w+)?")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """The names of one library for a ConvNeXt.

    stem         names of the stem's convolution and norm
    downsample   of what stands before a stage; {stage} counts from 0, {even} is twice that
    block        of a block; {odd} is twice the stage plus one
    parts        of a block's parameters where they differ from ours
    norm, head   of the last norm and the classifier
    scale_shape  what follows the channels in the shape of LayerScale's parameter
    """

    name: SchemeName
    stem: tuple[str, str] = ("downsample_layers.0.0", "downsample_layers.0.1")
    downsample: str = "downsample_layers.{stage}"
    block: str = "stages.{stage}.{block}"
    parts: Mapping[str, str] = field(default_factory=dict)
    norm: str = "norm"
    head: str = "head"
    scale_shape: Shape = ()

    def rename(self, name: str) -> str:
        """Return the scheme's name of one of our parameters; other names (ResNet, isotropic) stay as they are."""
        if match := _DOWNSAMPLE.fullmatch(name):
            stage, layer, parameter = int(match[1]), match[2], match[3]
            if stage == 0:
                return f"{self.stem[int(layer)]}.{parameter}"
            return f"{self.downsample.format(stage=stage, even=2 * stage)}.{layer}.{parameter}"
        if match := _BLOCK.fullmatch(name):
            block = self.block_name(int(match[1]), int(match[2]))
            return f"{block}.{self.parts.get(match[3], match[3])}{match[4] or ''}"
        for ours, theirs in (("norm.", self.norm), ("head.", self.head)):
            if name.startswith(ours):
                return f"{theirs}.{name.removeprefix(ours)}"
        return name

    def block_name(self, stage: int, block: int) -> str:
        """Return the name of a block; stages and blocks count from 0."""
        return self.block.format(stage=stage, odd=2 * stage + 1, block=block)

    def reshape(self, name: str, shape: Shape, *, conv_mlp: bool) -> Shape:
        """Return the scheme's shape of one of our parameters; conv_mlp: 1x1 convolutions instead of linear layers."""
        if conv_mlp and name.endswith((".pwconv1.weight", ".pwconv2.weight")):
            return (*shape, 1, 1)
        return (*shape, *self.scale_shape) if name.endswith(".gamma") else shape


SCHEMES: dict[str, Scheme] = {
    "official": Scheme(name="official"),
    "timm": Scheme(
        name="timm",
        stem=("stem.0", "stem.1"),
        downsample="stages.{stage}.downsample",
        block="stages.{stage}.blocks.{block}",
        parts={"dwconv": "conv_dw", "pwconv1": "mlp.fc1", "pwconv2": "mlp.fc2"},
        norm="head.norm",
        head="head.fc",
    ),
    "torchvision": Scheme(
        name="torchvision",
        stem=("features.0.0", "features.0.1"),
        downsample="features.{even}",
        block="features.{odd}.{block}",
        parts={
            "gamma": "layer_scale",
            "dwconv": "block.0",
            "norm": "block.2",
            "pwconv1": "block.3",
            "pwconv2": "block.5",
        },
        norm="classifier.0",
        head="classifier.2",
        scale_shape=(1, 1),
    ),
    "transformers": Scheme(
        name="transformers",
        stem=("convnext.embeddings.patch_embeddings", "convnext.embeddings.layernorm"),
        downsample="convnext.encoder.stages.{stage}.downsampling_layer",
        block="convnext.encoder.stages.{stage}.layers.{block}",
        parts={"gamma": "layer_scale_parameter", "norm": "layernorm"},
        norm="convnext.layernorm",
        head="classifier",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What the names and shapes of a checkpoint say; `has_head` is False where it ends at the features."""

    scheme: Scheme
    title: str
    spec: NetSpec
    has_head: bool


def scheme_named(name: str) -> Scheme:
    """Return the scheme of that name; UserError offers the near ones."""
    if name not in SCHEMES:
        raise UserError(f"there is no naming scheme {name}{nearest(name, SCHEMES)}")
    return SCHEMES[name]


def recognise(shapes: Mapping[str, Shape], source: str) -> Recognised:
    """Work out naming scheme and spec from a checkpoint's names and shapes; `source` is named in errors.

    The stride of the stem is not in the weights, so it is taken to be the paper's. UserError for another architecture.
    """
    if "conv1.weight" in shapes and "layer1.0.conv3.weight" in shapes:
        return Recognised(
            scheme=SCHEMES["torchvision"],
            title="torchvision or timm names",
            spec=_resnet(shapes, source),
            has_head="fc.weight" in shapes,
        )
    if "stem.weight" in shapes and "blocks.0.dwconv.weight" in shapes:
        scheme = SCHEMES["official"]
        return Recognised(
            scheme=scheme,
            title="official names",
            spec=_isotropic(shapes, source),
            has_head="head.weight" in shapes,
        )
    for scheme in SCHEMES.values():
        first = f"{scheme.block_name(0, 0)}.{scheme.parts.get('dwconv', 'dwconv')}.weight"
        if first in shapes and f"{scheme.stem[0]}.weight" in shapes:
            return Recognised(
                scheme=scheme,
                title=f"{scheme.name} names",
                spec=_convnext(scheme, shapes, source),
                has_head=f"{scheme.head}.weight" in shapes,
            )
    names = ", ".join(list(shapes)[:4])
    raise UserError(
        f"{source} is no ConvNeXt or bottleneck ResNet{explain(shapes)}: its parameters begin with {names}; "
        "official, timm, torchvision and transformers files of those can be read"
    )


_OTHERS: tuple[tuple[str, str], ...] = (
    (r"\bgrn\b", "a ConvNeXt V2, with global response normalisation"),
    (r"^norm_pre\.", "a ConvNeXt with its norm before the pooling (head_norm_first)"),
    (r"^stem\.2\.", "a ConvNeXt with an overlapping stem"),
    (r"\bpre_logits\b", "a ConvNeXt with a hidden layer in its head"),
    (r"^(decode_head|auxiliary_head)\.", "a segmentation model"),
    (r"^(rpn|rpn_head|roi_heads|bbox_head|roi_head)\.", "a detector"),
    (r"relative_position_bias_table", "a Swin Transformer"),
    (r"(cls_token|class_token|pos_embed|position_embeddings|\battn\b|self_attention|\battention\b)", "a Transformer"),
    (r"depthwise_conv", "an OpenMMLab ConvNeXt"),
    (r"^conv1\.0\.", "a ResNet with a deep stem"),
    (r"^layer1\.0\.se\b", "a ResNet with squeeze-and-excitation"),
)


def explain(names: Iterable[str]) -> str:
    """Return ", it looks like ...", the nearest explanation for names that are none of ours, or nothing."""
    names = list(names)
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in names):
            return f", it looks like {what}"
    if "layer1.0.conv2.weight" in names and "layer1.0.conv3.weight" not in names:
        return ", it looks like a ResNet with basic blocks (resnet18 or resnet34)"
    return ""


def _convnext(scheme: Scheme, shapes: Mapping[str, Shape], source: str) -> NetSpec:
    mixer, widen, scale = (scheme.parts.get(part, part) for part in ("dwconv", "pwconv1", "gamma"))
    depths: list[int] = []
    while (depth := _count(shapes, lambda block: f"{scheme.block_name(len(depths), block)}.{mixer}.weight")) > 0:
        depths.append(depth)
    stem, first = shapes[f"{scheme.stem[0]}.weight"], scheme.block_name(0, 0)
    stem_size = _side(stem, source)
    if stem_size != 4:
        raise UserError(f"{source} has a stem of {stem_size}x{stem_size} pixels{explain(shapes)}; ConvNeXt's has 4x4")
    return replace(
        CONVNEXT_TINY,
        depths=tuple(depths),
        width=stem[0],
        expansion=_expansion(shapes, f"{first}.{widen}.weight", stem[0]),
        kernel=_side(shapes[f"{first}.{mixer}.weight"], source),
        layer_scale=CONVNEXT_TINY.layer_scale if f"{first}.{scale}" in shapes else None,
        num_classes=_classes(shapes, f"{scheme.head}.weight"),
        in_channels=stem[1],
    )


def _isotropic(shapes: Mapping[str, Shape], source: str) -> NetSpec:
    stem = shapes["stem.weight"]
    return replace(
        CONVNEXT_TINY,
        depths=(_count(shapes, lambda block: f"blocks.{block}.dwconv.weight"),),
        width=stem[0],
        expansion=_expansion(shapes, "blocks.0.pwconv1.weight", stem[0]),
        transitions="none",
        stem_stride=_side(stem, source),
        kernel=_side(shapes["blocks.0.dwconv.weight"], source),
        layer_scale=CONVNEXT_TINY.layer_scale if "blocks.0.gamma" in shapes else None,
        num_classes=_classes(shapes, "head.weight"),
        in_channels=stem[1],
    )


def _resnet(shapes: Mapping[str, Shape], source: str) -> NetSpec:
    stem = shapes["conv1.weight"]
    if _side(stem, source) != 7:
        raise UserError(f"{source} has a stem of shape {stem}, not the 7x7 one of ResNet; it cannot be read")
    depths: list[int] = []
    while (depth := _count(shapes, lambda block: f"layer{len(depths) + 1}.{block}.conv3.weight")) > 0:
        depths.append(depth)
    return replace(
        RESNET50,
        depths=tuple(depths),
        width=stem[0],
        expansion=_expansion(shapes, "layer1.0.conv3.weight", stem[0]),
        num_classes=_classes(shapes, "fc.weight"),
        in_channels=stem[1],
    )


def _count(shapes: Mapping[str, Shape], name_of: Callable[[int], str]) -> int:
    count = 0
    while name_of(count) in shapes:
        count += 1
    return count


def _side(shape: Shape, source: str) -> int:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise UserError(f"{source} has a convolution of shape {shape}; square ones are known, so it cannot be read")
    return shape[2]


def _expansion(shapes: Mapping[str, Shape], name: str, width: int) -> int:
    # A name that is missing, or a shape that fits no whole factor, is reported by the strict comparison that follows.
    return max(1, shapes.get(name, (4 * width,))[0] // width)


def _classes(shapes: Mapping[str, Shape], head: str) -> int:
    return shapes[head][0] if head in shapes else 1
