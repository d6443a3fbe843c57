"""A detector: network, feature pyramid, region proposals, box and mask heads.

Resizing, normalising and padding pictures is the business of the data alone: nothing here does it a second time.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from convnext.backbone import Backbone
from convnext.detection.heads import (
    BOX_SIDE,
    MASK_SIDE,
    box_head,
    box_predictor,
    mask_head,
    mask_predictor,
    start_as_openmmlab,
)
from convnext.detection.pool import torchvision_pool
from convnext.detection.proposals import as_torchvision, proposal_network
from convnext.detection.spec import DetectorSpec
from convnext.detection.staged import StagedHeads
from convnext.detection.targets import Detections, Target, check_targets
from convnext.errors import UserError
from convnext.network import Network


class Detector(nn.Module):
    """The detector of a spec on a backbone; `build_detector` makes one from a network.

    With targets, which need training mode, it gives losses; without, in evaluation mode, detections.
    """

    spec: DetectorSpec

    def __init__(self, spec: DetectorSpec, backbone: Backbone) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        strides = [stride for stride, _ in backbone.feature_info]
        channels = [here for _, here in backbone.feature_info]
        self.fpn = FeaturePyramidNetwork(channels, spec.channels, extra_blocks=LastLevelMaxPool())
        self.rpn = proposal_network(spec, [*strides, 2 * strides[-1]])
        self.roi_heads: RoIHeads | StagedHeads
        if spec.convention == "torchvision":
            self.roi_heads = _torchvision_heads(spec, strides)
        else:
            self.roi_heads = StagedHeads(spec, strides)
            start_as_openmmlab(self)

    def forward(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Map normalised pictures (N, 3, H, W) to losses by name or to detections in pixels of those pictures.

        images   padded with zeros at right and bottom, to a multiple of 32
        sizes    (height, width) of each picture without its padding
        targets  what to learn

        UserError for a box without area, a foreign label or a missing mask, and for targets in evaluation mode.
        """
        self._check(len(images), sizes, targets)
        if not len(images):
            return [] if targets is None else {"loss_objectness": self._nothing()}
        listed = ImageList(images, [(int(height), int(width)) for height, width in sizes])
        features = self.pyramid(images)
        first = self.spec.convention == "torchvision"
        given = None if targets is None else as_torchvision(targets, background_first=first)
        proposals, losses = self.rpn(listed, features, given)
        if isinstance(self.roi_heads, StagedHeads):
            if targets is None:
                return self.roi_heads.detect(features, proposals, listed.image_sizes)
            learned = self.roi_heads.losses(features, proposals, listed.image_sizes, targets)
            return {**losses, **learned}
        found, more = self.roi_heads(features, proposals, listed.image_sizes, given)
        return [_from_torchvision(one) for one in found] if targets is None else {**losses, **more}

    def _nothing(self) -> Tensor:
        """Return a loss of 0 that every parameter is part of: other processes wait for the gradient of each."""
        return torch.stack([0.0 * one.sum() for one in self.parameters() if one.requires_grad]).sum()

    def pyramid(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps of the feature pyramid by name ("0" is the finest, "pool" the coarsest), (N, C, H_i, W_i)."""
        maps = self.backbone(images)
        pyramid: dict[str, Tensor] = self.fpn({str(index): here for index, here in enumerate(maps)})
        return pyramid

    def reset_classes(self, num_classes: int) -> None:
        """Replace what predicts classes, boxes and masks by fresh layers for another number of classes."""
        self.spec = replace(self.spec, num_classes=num_classes)
        heads = self.roi_heads
        device = next(self.fpn.parameters()).device
        if isinstance(heads, StagedHeads):
            heads.reset_classes(num_classes)
        else:
            heads.box_predictor = box_predictor(self.spec)
            if self.spec.has_masks:
                heads.mask_predictor = mask_predictor(self.spec)
        self.to(device)

    def _check(self, num_pictures: int, sizes: Sequence[tuple[int, int]], targets: Sequence[Target] | None) -> None:
        if len(sizes) != num_pictures:
            raise UserError(f"there are {num_pictures} pictures but {len(sizes)} sizes; give one for each picture")
        if self.training != (targets is not None):
            mode, want = ("training", "needs") if self.training else ("evaluation", "takes no")
            raise UserError(f"a detector in {mode} mode {want} targets; call train() to learn and eval() to detect")
        if targets is not None:
            check_targets(
                targets,
                num_pictures=num_pictures,
                num_classes=self.spec.num_classes,
                need_masks=self.spec.has_masks,
            )


def build_detector(spec: DetectorSpec, *, network: Network | None = None, drop_path: float = 0.0) -> Detector:
    """Build the detector of a spec with fresh heads.

    network    weights to start from, which are copied; its head is dropped. None: fresh ones
    drop_path  stochastic depth of the network's last block, growing linearly from 0

    UserError where the network is another than the spec's.
    """
    built = Network(spec.backbone, drop_path=drop_path)
    if network is not None:
        _copy_network(network, built)
    backbone = Backbone(built, norm_outputs=bool(spec.norm_outputs), freeze_norms=spec.freeze_norms)
    for layer in backbone.modules():
        if isinstance(layer, FrozenBatchNorm2d):
            layer.eps = spec.frozen_eps
    return Detector(spec, backbone)


def _copy_network(source: Network, built: Network) -> None:
    has_scale = built.spec.layer_scale if source.spec.layer_scale is not None else None
    same = replace(source.spec, num_classes=built.spec.num_classes, layer_scale=has_scale)
    if same != built.spec:
        raise UserError(
            f"the network to start from has depths {source.spec.depths} and width {source.spec.width}, the detector's "
            f"has {built.spec.depths} and {built.spec.width}, or they differ in another part; give the detector the "
            "network's own spec"
        )
    dropped = ("norm.", f"{source.head_name}.")
    tensors = {name: value for name, value in source.state_dict().items() if not name.startswith(dropped)}
    missing, unexpected = built.load_state_dict(tensors, strict=False)
    assert not unexpected and all(name.startswith(dropped) for name in missing)


def _torchvision_heads(spec: DetectorSpec, strides: Sequence[int]) -> RoIHeads:
    has_masks = spec.has_masks
    return RoIHeads(
        torchvision_pool(BOX_SIDE, strides),
        box_head(spec),
        box_predictor(spec),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=spec.sampled_boxes,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_threshold,
        detections_per_img=spec.max_detections,
        mask_roi_pool=torchvision_pool(MASK_SIDE, strides) if has_masks else None,
        mask_head=mask_head(spec) if has_masks else None,
        mask_predictor=mask_predictor(spec) if has_masks else None,
    )


def _from_torchvision(found: dict[str, Tensor]) -> Detections:
    masks = found.get("masks")
    return Detections(
        boxes=found["boxes"],
        scores=found["scores"],
        labels=found["labels"] - 1,
        masks=None if masks is None else masks[:, 0],
    )
