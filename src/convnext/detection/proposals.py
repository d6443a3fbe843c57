"""The region proposal network, in either convention: where objects may be, whatever they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

from convnext.detection.anchors import Anchors
from convnext.detection.assign import MaxIoU, drawn
from convnext.detection.boxes import BoundedBoxCoder
from convnext.detection.heads import ProposalHead
from convnext.detection.spec import DetectorSpec
from convnext.detection.targets import Target

# The side that pictures are padded to a multiple of.
PADDED_TO = 32


@dataclass(frozen=True, kw_only=True)
class ProposalRules:
    """Where the official configurations of the two detectors differ in their proposals.

    num_training   proposals for each picture in training; 1,000 in evaluation
    smooth_until   up to which error the box loss is square (smooth L1); 0 is L1
    inside_only    whether anchors that reach beyond the picture are left out of the losses
    """

    num_training: int
    smooth_until: float
    inside_only: bool


SINGLE = ProposalRules(num_training=1000, smooth_until=0.0, inside_only=False)
CASCADE = ProposalRules(num_training=2000, smooth_until=1 / 9, inside_only=True)


def _common(num_training: int) -> dict[str, Any]:
    return {
        "fg_iou_thresh": 0.7,
        "bg_iou_thresh": 0.3,
        "batch_size_per_image": 256,
        "positive_fraction": 0.5,
        "pre_nms_top_n": {"training": 2000, "testing": 1000},
        "post_nms_top_n": {"training": num_training, "testing": 1000},
        "nms_thresh": 0.7,
    }


def proposal_network(spec: DetectorSpec, strides: Sequence[int]) -> RegionProposalNetwork:
    """Return the region proposal network of a detector; `strides` are those of all maps of the pyramid."""
    if spec.convention == "torchvision":
        return RegionProposalNetwork(Anchors(strides, rounded=True), ProposalHead(spec.channels), **_common(2000))
    return Proposals(spec.channels, strides, CASCADE if spec.num_stages > 1 else SINGLE)


class Proposals(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """The region proposal network as OpenMMLab trains it.

    It departs from torchvision's in its anchors, in the bound on shrinking, in objects that take their nearest anchors
    only from an overlap of 0.3 on, in anchors of mere padding that are left out, and in the losses.
    """

    def __init__(self, channels: int, strides: Sequence[int], rules: ProposalRules) -> None:
        anchors = Anchors(strides, rounded=False)
        super().__init__(anchors, ProposalHead(channels), **_common(rules.num_training))
        self.box_coder = BoundedBoxCoder((1.0, 1.0, 1.0, 1.0))
        self.assign = MaxIoU(positive=0.7, negative=0.3, low_quality=0.3)
        self.rules = rules
        self.strides = tuple(strides)
        # Only boxes without any area are dropped.
        self.min_size = torch.finfo(torch.float32).tiny

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals (P, 4) of each picture and, with targets, the losses; see torchvision's."""
        maps = list(features.values())
        logits_by_level, offsets_by_level = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        counts = [level.shape[1] * level.shape[2] * level.shape[3] for level in logits_by_level]
        grids = [(level.shape[2], level.shape[3]) for level in logits_by_level]
        logits, offsets = concat_box_prediction_layers(logits_by_level, offsets_by_level)
        boxes = self.box_coder.decode(offsets.detach(), anchors).view(len(anchors), -1, 4)
        proposals, _ = self.filter_proposals(boxes, logits, images.image_sizes, counts)
        if targets is None:
            return proposals, {}
        learned = [self.counted(here, grids, size) for here, size in zip(anchors, images.image_sizes, strict=True)]
        objects = [target["boxes"] for target in targets]
        return proposals, self.losses(logits.flatten(), offsets, anchors, learned, objects)

    def counted(self, anchors: Tensor, grids: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
        """Return which anchors (A,) of a picture of (height, width) take part in the losses."""
        height, width = size
        flags = []
        for (rows, columns), stride in zip(grids, self.strides, strict=True):
            down = torch.arange(rows, device=anchors.device) < _cells(height, stride)
            across = torch.arange(columns, device=anchors.device) < _cells(width, stride)
            cells = (down[:, None] & across[None, :]).flatten()
            flags.append(cells.repeat_interleave(self.anchor_generator.num_anchors_per_location()[0]))
        flag = torch.cat(flags)
        if not self.rules.inside_only:
            return flag
        x0, y0, x1, y1 = anchors.unbind(dim=1)
        return flag & (x0 >= 0) & (y0 >= 0) & (x1 < width) & (y1 < height)

    def losses(
        self, logits: Tensor, offsets: Tensor, anchors: list[Tensor], learned: list[Tensor], objects: list[Tensor]
    ) -> dict[str, Tensor]:
        """Return the losses of a random choice of anchors; logits (N A,), offsets (N A, 4)."""
        positives, negatives, wanted = [], [], []
        num_samples = 0
        start = 0
        for anchor, flag, boxes in zip(anchors, learned, objects, strict=True):
            rows = flag.nonzero()[:, 0]
            assigned = self.assign(anchor[rows], boxes)
            positive, negative = drawn(assigned, self.fg_bg_sampler)
            wanted.append(self.box_coder.encode_single(boxes[assigned[positive]], anchor[rows[positive]]))
            positives.append(rows[positive] + start)
            negatives.append(rows[negative] + start)
            num_samples += max(len(positive), 1) + max(len(negative), 1)
            start += len(anchor)
        positive, negative = torch.cat(positives), torch.cat(negatives)
        chosen = torch.cat([logits[positive], logits[negative]])
        truth = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]).to(chosen.dtype)
        objectness = F.binary_cross_entropy_with_logits(chosen, truth, reduction="sum")
        box = F.smooth_l1_loss(offsets[positive], torch.cat(wanted), beta=self.rules.smooth_until, reduction="sum")
        return {"loss_objectness": objectness / num_samples, "loss_rpn_box_reg": box / num_samples}


def as_torchvision(targets: Sequence[Target], *, background_first: bool) -> list[dict[str, Tensor]]:
    """Return targets in torchvision's form; with `background_first` labels count from 1."""
    given = []
    for target in targets:
        values = {"boxes": target.boxes, "labels": target.labels + int(background_first)}
        if target.masks is not None:
            values["masks"] = target.masks
        given.append(values)
    return given


def _cells(side: int, stride: int) -> int:
    """Cells of a level that do not lie in padding beyond the picture's own: it is padded to a multiple of 32 first."""
    padded = -(-side // PADDED_TO) * PADDED_TO
    return -(-padded // stride)
