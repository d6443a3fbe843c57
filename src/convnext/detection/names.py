"""What the parameters of a detector are called in torchvision, the official code and OpenMMLab, and in ours.

Our heads carry torchvision's names, with a number for the stage where there may be several (`box_heads.0`), and our
backbone those of the classifier under `backbone.network`. Renaming goes from our names to the scheme's; the way back is
the same map read from the other side. That names fit proves little: what the numbers mean follows from the convention.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from torch import Tensor

from convnext.detection.spec import Convention, DetectorSpec, HeadName
from convnext.errors import UserError
from convnext.spec import NetSpec
from convnext.weights.schemes import Shape, explain, recognise

DetectorScheme = Literal["convnext", "torchvision", "official", "openmmlab"]

_NETWORK = "backbone.network."
# How OpenMMLab's own ConvNeXt calls the parts of a block; the official code has our names.
_OPENMMLAB_PARTS = {"dwconv": "depthwise_conv", "pwconv1": "pointwise_conv1", "pwconv2": "pointwise_conv2"}
# {stage} is ".0", ".1", ".2" in a cascade and nothing elsewhere.
_OPENMMLAB: tuple[tuple[str, str], ...] = (
    (r"fpn\.inner_blocks\.(?P<n>\d+)\.0\.", "neck.lateral_convs.{n}.conv."),
    (r"fpn\.layer_blocks\.(?P<n>\d+)\.0\.", "neck.fpn_convs.{n}.conv."),
    (r"rpn\.head\.conv\.0\.0\.", "rpn_head.rpn_conv."),
    (r"rpn\.head\.cls_logits\.", "rpn_head.rpn_cls."),
    (r"rpn\.head\.bbox_pred\.", "rpn_head.rpn_reg."),
    (r"roi_heads\.box_heads\.(?P<s>\d+)\.fc6\.", "roi_head.bbox_head{stage}.shared_fcs.0."),
    (r"roi_heads\.box_heads\.(?P<s>\d+)\.fc7\.", "roi_head.bbox_head{stage}.shared_fcs.1."),
    (r"roi_heads\.box_heads\.(?P<s>\d+)\.(?P<n>\d+)\.0\.", "roi_head.bbox_head{stage}.shared_convs.{n}.conv."),
    (r"roi_heads\.box_heads\.(?P<s>\d+)\.(?P<n>\d+)\.1\.", "roi_head.bbox_head{stage}.shared_convs.{n}.bn."),
    # The linear layer stands behind four convolutions and the flattening.
    (r"roi_heads\.box_heads\.(?P<s>\d+)\.5\.", "roi_head.bbox_head{stage}.shared_fcs.0."),
    (r"roi_heads\.box_predictors\.(?P<s>\d+)\.cls_score\.", "roi_head.bbox_head{stage}.fc_cls."),
    (r"roi_heads\.box_predictors\.(?P<s>\d+)\.bbox_pred\.", "roi_head.bbox_head{stage}.fc_reg."),
    (r"roi_heads\.mask_heads\.(?P<s>\d+)\.(?P<n>\d+)\.0\.", "roi_head.mask_head{stage}.convs.{n}.conv."),
    (r"roi_heads\.mask_predictors\.(?P<s>\d+)\.conv5_mask\.", "roi_head.mask_head{stage}.upsample."),
    (r"roi_heads\.mask_predictors\.(?P<s>\d+)\.mask_fcn_logits\.", "roi_head.mask_head{stage}.conv_logits."),
)
# Names of torchvision's files from before version 0.13, those of its COCO weights among them.
_OLD_TORCHVISION: tuple[tuple[str, str], ...] = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
)
_OLD_MASK = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)")
# Of torchvision's COCO weights: as many as there are ids in COCO, of which ten are unused.
_TORCHVISION_COCO_CLASSES = 90


def rename(name: str, to: DetectorScheme, spec: DetectorSpec) -> str:
    """Return the scheme's name of one of our parameters of the detector of a spec."""
    if to == "convnext":
        return name
    if name.startswith(_NETWORK):
        inner = name.removeprefix(_NETWORK)
        if to == "openmmlab" and spec.backbone.transitions != "in_block":
            inner = ".".join(_OPENMMLAB_PARTS.get(part, part) for part in inner.split("."))
        return f"backbone.body.{inner}" if to == "torchvision" else f"backbone.{inner}"
    if to == "torchvision":
        return f"backbone.{name}" if name.startswith("fpn.") else name
    for pattern, template in _OPENMMLAB:
        if match := re.match(pattern, name):
            groups = match.groupdict()
            stage = f".{groups['s']}" if "s" in groups and spec.num_stages > 1 else ""
            return template.format(n=groups.get("n"), stage=stage) + name[match.end() :]
    return name


def modernised(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with torchvision's old names replaced by its present ones."""
    return {_modern(name): tensor for name, tensor in tensors.items()}


def _modern(name: str) -> str:
    for pattern, now in _OLD_TORCHVISION:
        name = re.sub(f"^{pattern}$", now, name)
    if match := _OLD_MASK.fullmatch(name):
        return f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}"
    return name


def recognise_detector(shapes: Mapping[str, Shape], source: str) -> tuple[DetectorScheme, DetectorSpec]:
    """Work out scheme and spec from a checkpoint's names and shapes; `source` is named in errors.

    Where it lies about a part, the strict comparison of all names and shapes that follows will tell. UserError for
    another architecture.
    """
    scheme = _scheme(shapes, source)
    convention: Convention = "openmmlab"
    if scheme == "torchvision" or (scheme == "convnext" and "roi_heads.box_predictor.cls_score.weight" in shapes):
        convention = "torchvision"
    head = _head(shapes, scheme, convention)
    backbone = _backbone(shapes, scheme, source)
    frozen = backbone.norm == "batch" and not any(name.endswith(".num_batches_tracked") for name in shapes)
    draft = DetectorSpec(backbone=backbone, head=head, num_classes=1, convention=convention)

    def shape_of(name: str) -> Shape:
        theirs = rename(name, scheme, draft)
        if theirs not in shapes:
            raise UserError(f"{source} looks like a {head} with {scheme} names, but it lacks {theirs}")
        return shapes[theirs]

    predictor = "box_predictor" if convention == "torchvision" else "box_predictors.0"
    num_logits, hidden = shape_of(f"roi_heads.{predictor}.cls_score.weight")
    num_classes = num_logits - 1
    if num_classes < 1:
        raise UserError(f"{source} tells {num_logits} classes with the background; a detector needs one besides")
    of_coco = scheme == "torchvision" and num_classes == _TORCHVISION_COCO_CLASSES
    spec = replace(
        draft,
        num_classes=num_classes,
        channels=shape_of("fpn.layer_blocks.0.0.weight")[0],
        hidden=hidden,
        norm_outputs="backbone.norm0.weight" in shapes,
        freeze_norms=frozen,
        frozen_eps=0.0 if frozen and of_coco else draft.frozen_eps,
    )
    return scheme, spec


def _scheme(shapes: Mapping[str, Shape], source: str) -> DetectorScheme:
    if any(name.startswith(_NETWORK) for name in shapes):
        return "convnext"
    if "backbone.body.conv1.weight" in shapes and "roi_heads.box_predictor.cls_score.weight" in shapes:
        return "torchvision"
    if "neck.lateral_convs.0.conv.weight" in shapes and "rpn_head.rpn_conv.weight" in shapes:
        return "official" if any(".dwconv." in name for name in shapes) else "openmmlab"
    first = ", ".join(list(shapes)[:4]) or "none"
    raise UserError(
        f"{source} is no detector that can be read{explain(shapes)}: its parameters begin with {first}; Faster, Mask "
        "and Cascade Mask R-CNN with a feature pyramid can be, of torchvision, the official code, OpenMMLab or ours"
    )


def _head(shapes: Mapping[str, Shape], scheme: DetectorScheme, convention: Convention) -> HeadName:
    heads = "roi_head.mask_head" if scheme in ("official", "openmmlab") else "roi_heads.mask_head"
    second = "roi_head.bbox_head.1." if scheme in ("official", "openmmlab") else "roi_heads.box_predictors.1."
    if convention == "openmmlab" and any(name.startswith(second) for name in shapes):
        return "cascade-mask-rcnn"
    return "mask-rcnn" if any(name.startswith(heads) for name in shapes) else "faster-rcnn"


def _backbone(shapes: Mapping[str, Shape], scheme: DetectorScheme, source: str) -> NetSpec:
    prefix = {"convnext": _NETWORK, "torchvision": "backbone.body."}.get(scheme, "backbone.")
    inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if scheme == "openmmlab":
        ours = {theirs: part for part, theirs in _OPENMMLAB_PARTS.items()}
        inner = {".".join(ours.get(part, part) for part in name.split(".")): shape for name, shape in inner.items()}
    spec = recognise(inner, source).spec
    return replace(spec, layer_scale=None if spec.layer_scale is None else 1.0)
