"""The anchors of the region proposal network, in either convention."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

RATIOS = (0.5, 1.0, 2.0)
# Side of the square anchor in strides of its level: 32 pixels at stride 4.
SCALE = 8


class Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Three anchors (height / width 0.5, 1, 2) a cell of each level, in float32 also for maps of half precision.

    rounded  True: corners are whole pixels around the cell's corner, and the distance of cells is the picture's side
             over the map's, rounded down (torchvision); False: exact corners, and the cells lie `strides` apart
             (OpenMMLab)
    """

    def __init__(self, strides: Sequence[int], *, rounded: bool) -> None:
        super().__init__(sizes=tuple((SCALE * stride,) for stride in strides), aspect_ratios=(RATIOS,) * len(strides))
        self.strides = tuple(strides)
        self.rounded = rounded
        if not rounded:
            self.cell_anchors = [_exact(SCALE * stride) for stride in strides]

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors (A, 4) of each picture: level by level, row by row, cell by cell, ratio by ratio."""
        device = feature_maps[0].device
        grids = [tuple(here.shape[-2:]) for here in feature_maps]
        height, width = image_list.tensors.shape[-2:]
        self.set_cell_anchors(torch.promote_types(feature_maps[0].dtype, torch.float32), device)
        steps = [
            (height // rows, width // columns) if self.rounded else (stride, stride)
            for (rows, columns), stride in zip(grids, self.strides, strict=True)
        ]
        steps_as_tensors = [[torch.tensor(step, device=device) for step in pair] for pair in steps]
        anchors = torch.cat(self.grid_anchors(grids, steps_as_tensors))
        return [anchors for _ in image_list.image_sizes]


def _exact(side: int) -> Tensor:
    tall = torch.tensor(RATIOS).sqrt()
    half_height, half_width = side * tall / 2, side / tall / 2
    return torch.stack([-half_width, -half_height, half_width, half_height], dim=1)
