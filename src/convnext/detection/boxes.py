"""Boxes as offsets from other boxes, as OpenMMLab encodes them, and the precision that coordinates need."""

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

Four = tuple[float, float, float, float]
# A box becomes at most 62.5 times wider or narrower, and the same in height.
LARGEST_CHANGE = math.log(1000 / 16)


def exact(x: Tensor) -> Tensor:
    """Return a tensor in float32 where it is in a half precision: coordinates of a thousand pixels do not fit those."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class BoundedBoxCoder(BoxCoder):  # type: ignore[misc]  # torchvision has no types
    """torchvision's coder, but a box may not shrink without bound either; told by standard deviations, not weights.

    stds: what offsets of x, y, width and height are divided by.
    """

    def __init__(self, stds: Four) -> None:
        x, y, width, height = (1 / std for std in stds)
        super().__init__((x, y, width, height), bbox_xform_clip=LARGEST_CHANGE)
        self.stds = stds

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Return the offsets (N, 4) that lead from `proposals` to `reference_boxes`, both (N, 4)."""
        offsets: Tensor = super().encode_single(reference_boxes, proposals)
        return offsets

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Return boxes (N, 4 K) that offsets (N, 4 K) lead to from boxes (N, 4)."""
        offsets = rel_codes.view(len(rel_codes), rel_codes.shape[1] // 4, 4)
        least = offsets.new_tensor([-math.inf, -math.inf, *(-LARGEST_CHANGE / std for std in self.stds[2:])])
        decoded: Tensor = super().decode_single(torch.maximum(offsets, least).flatten(1), boxes)
        return decoded
