"""RoIAlign from a feature pyramid, in either convention."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import initLevelMapper

from convnext.detection.boxes import exact

# A box smaller than twice this side (the root of its area, in pixels) is pooled from the finest map.
FINEST_SIDE = 56


class AlignedRoIPool(nn.Module):
    """RoIAlign as OpenMMLab does it: cells are aligned to half pixels, and as many samples as the box is large.

    side     of the output
    strides  of the maps, finest first; maps beyond these are not pooled from
    """

    def __init__(self, side: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.side = side
        self.strides = tuple(strides)

    def level_of(self, boxes: Tensor) -> Tensor:
        """Return the place of the map (N,) that each of the boxes (N, 4) is pooled from."""
        scale = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = torch.log2(scale / FINEST_SIDE + 1e-6).floor()
        return level.clamp(min=0, max=len(self.strides) - 1).long()

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Map pyramid maps (N, C, H_i, W_i) and the boxes of each picture to (all boxes, C, side, side), exact."""
        maps = list(features.values())[: len(self.strides)]
        every = torch.cat(list(boxes))
        picture = torch.cat([box.new_full((len(box), 1), index) for index, box in enumerate(boxes)])
        regions = torch.cat([picture, every], dim=1).to(exact(maps[0]).dtype)
        levels = self.level_of(every)
        # Also maps that no box is pooled from take part, so that each has a gradient.
        pooled = every.new_zeros(len(every), maps[0].shape[1], self.side, self.side, dtype=regions.dtype)
        for index, (here, stride) in enumerate(zip(maps, self.strides, strict=True)):
            rows = (levels == index).nonzero()[:, 0]
            cells = roi_align(
                exact(here), regions[rows], self.side, spatial_scale=1 / stride, sampling_ratio=0, aligned=True
            )
            pooled[rows] = cells
        return pooled


def torchvision_pool(side: int, strides: Sequence[int]) -> MultiScaleRoIAlign:
    """Return torchvision's pooling, told the maps' strides instead of guessing them from the first batch."""
    pool = MultiScaleRoIAlign([str(index) for index in range(len(strides))], output_size=side, sampling_ratio=2)
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(int(math.log2(strides[0])), int(math.log2(strides[-1])))
    return pool
