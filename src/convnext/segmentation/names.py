"""What the parameters of a segmenter are called in the official code, OpenMMLab and transformers, and in ours.

Our heads carry OpenMMLab's names and our backbone those of the classifier under `backbone.network`, so a scheme says
two things: how it names the network, and what transformers calls the parts of a head. Renaming goes from our names to
the scheme's; the way back is the same map read from the other side. Two things differ that no name shows: OpenMMLab's
early ConvNeXt has eps 1e-5 in the norms between stages where the official code, transformers and we have 1e-6, and
heads are trained with dropout everywhere but in transformers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from convnext.errors import UserError
from convnext.segmentation.spec import SegmenterSpec
from convnext.spec import NetSpec
from convnext.weights.schemes import SCHEMES, Scheme, Shape, explain, recognise

SegmenterScheme = Literal["convnext", "official", "openmmlab", "transformers"]

_NETWORK = "backbone.network."
_NORM = re.compile(r"backbone\.norm(\d+)\.(\w+)")
_USUAL_SCALES = (1, 2, 3, 6)
# recognise() knows the network of transformers by the prefix that a classifier has there.
_TRANSFORMERS_PREFIX = "convnext."


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of one scheme.

    network    of the network's parameters, put behind "backbone."; None leaves ours as they are
    output_norm, first_norm   of the norms of the backbone's maps, and the number of the first one
    heads      what replaces parts of our names in the heads
    """

    name: SegmenterScheme
    network: Scheme | None
    output_norm: str = "backbone.norm{index}"
    first_norm: int = 0
    heads: Mapping[str, str] = field(default_factory=dict)

    def rename(self, name: str) -> str:
        """Return the scheme's name of one of our parameters."""
        if self.network is None:
            return name
        if name.startswith(_NETWORK):
            inner = self.network.rename(name.removeprefix(_NETWORK))
            return f"backbone.{inner.removeprefix(_TRANSFORMERS_PREFIX)}"
        if match := _NORM.fullmatch(name):
            return f"{self.output_norm.format(index=int(match[1]) + self.first_norm)}.{match[2]}"
        for ours, theirs in self.heads.items():
            name = name.replace(ours, theirs)
        return name

    @property
    def classifier(self) -> str:
        """The name of the main head's classifier."""
        return self.rename("decode_head.conv_seg.weight")


NAMES: dict[SegmenterScheme, Names] = {
    "convnext": Names(name="convnext", network=None),
    "official": Names(name="official", network=SCHEMES["official"]),
    "openmmlab": Names(
        name="openmmlab",
        network=replace(
            SCHEMES["official"],
            parts={"dwconv": "depthwise_conv", "pwconv1": "pointwise_conv1", "pwconv2": "pointwise_conv2"},
        ),
    ),
    "transformers": Names(
        name="transformers",
        network=SCHEMES["transformers"],
        output_norm="backbone.hidden_states_norms.stage{index}",
        first_norm=1,
        heads={".bn.": ".batch_norm.", ".conv_seg.": ".classifier."},
    ),
}


def recognise_segmenter(
    shapes: Mapping[str, Shape], source: str, *, pool_scales: tuple[int, ...] | None = None
) -> tuple[Names, SegmenterSpec]:
    """Work out scheme and spec from a checkpoint's names and shapes; `source` is named in errors.

    pool_scales   where something beside the weights tells them: they are not in the weights, which only say how many

    UserError for another architecture.
    """
    if "decode_head.fpn_bottleneck.conv.weight" not in shapes:
        first = ", ".join(list(shapes)[:4]) or "none"
        raise UserError(
            f"{source} is no UperNet{_guess(shapes)}: its parameters begin with {first}; official, OpenMMLab's, "
            "transformers' and our own files of a UperNet on a ConvNeXt can be read"
        )
    names = NAMES[_scheme(shapes)]
    auxiliary = shapes.get("auxiliary_head.convs.0.conv.weight")
    scales = _count(shapes, "decode_head.psp_modules.{}.1.conv.weight")
    pool_scales = pool_scales or _USUAL_SCALES
    if len(pool_scales) != scales:
        raise UserError(
            f"{source} pools at {scales} scales, and which ones is not in the weights ({len(pool_scales)} are usual: "
            f"{', '.join(map(str, pool_scales))}); name the folder with its config.json"
        )
    # A missing name is reported by the strict comparison that follows, with all others.
    classes = shapes.get(names.classifier, (1,))[0]
    spec = SegmenterSpec(
        backbone=_backbone(names, shapes, source),
        num_classes=classes,
        channels=shapes["decode_head.fpn_bottleneck.conv.weight"][0],
        aux_channels=None if auxiliary is None else auxiliary[0],
        pool_scales=pool_scales,
        norm_outputs=names.rename("backbone.norm0.weight") in shapes,
    )
    return names, spec


def _scheme(shapes: Mapping[str, Shape]) -> SegmenterScheme:
    if any(name.startswith(_NETWORK) for name in shapes):
        return "convnext"
    if any(name.startswith("backbone.embeddings.") for name in shapes):
        return "transformers"
    return "openmmlab" if any(".depthwise_conv." in name for name in shapes) else "official"


def _backbone(names: Names, shapes: Mapping[str, Shape], source: str) -> NetSpec:
    """Return the spec of the network inside, which is recognised as the classifier that it comes from."""
    prefix = _NETWORK if names.network is None else "backbone."
    start = _TRANSFORMERS_PREFIX if names.name == "transformers" else ""
    inner = {start + name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if names.name == "openmmlab":
        assert names.network is not None
        ours = {theirs: part for part, theirs in names.network.parts.items()}
        inner = {".".join(ours.get(part, part) for part in name.split(".")): shape for name, shape in inner.items()}
    spec = recognise(inner, source).spec
    # Where LayerScale would start is not in a file either: for segmentation it is 1.
    return replace(spec, num_classes=NetSpec.num_classes, layer_scale=None if spec.layer_scale is None else 1.0)


def _count(shapes: Mapping[str, Shape], name: str) -> int:
    count = 0
    while name.format(count) in shapes:
        count += 1
    return count


def _guess(shapes: Mapping[str, Shape]) -> str:
    if any(name.startswith("decode_head.") for name in shapes):
        return ", it looks like a segmentation model with another head"
    return explain(shapes)
