"""From the batch's picture back to the original one: boxes rescaled, masks drawn where they belong."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks, paste_mask_in_image

from convnext.detection.spec import Convention
from convnext.detection.targets import Detections

THRESHOLD = 0.5


def on_original(found: Detections, size: tuple[int, int], original_size: tuple[int, int]) -> Detections:
    """Return detections in pixels of the original picture.

    size, original_size: (height, width) of the picture in the batch, without padding, and of the original one.
    """
    down, across = (original / side for original, side in zip(original_size, size, strict=True))
    factors = found.boxes.new_tensor([across, down, across, down])
    return Detections(boxes=found.boxes * factors, scores=found.scores, labels=found.labels, masks=found.masks)


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int], *, convention: Convention = "openmmlab") -> Tensor:
    """Return bool masks (D, H, W) of a picture of (height, width) `size`, from masks (D, 28, 28) inside boxes (D, 4).

    A pixel belongs to an object where the mask's probability, interpolated bilinearly at the pixel's centre, is at
    least 0.5. The convention torchvision moves the box to whole pixels first and asks for more than 0.5, as its
    evaluation does.
    """
    pasted = torch.zeros(len(masks), *size, dtype=torch.bool, device=masks.device)
    if convention == "torchvision":
        padded, scale = expand_masks(masks[:, None], padding=1)
        for index, box in enumerate(expand_boxes(boxes, scale).to(torch.int64)):
            pasted[index] = paste_mask_in_image(padded[index, 0], box, *size) > THRESHOLD
        return pasted
    # One at a time and around the box only: a whole picture for each of a hundred objects is half a gigabyte.
    for index, (mask, box) in enumerate(zip(masks, boxes.tolist(), strict=True)):
        x0, y0 = (max(int(low) - 1, 0) for low in box[:2])
        x1, y1 = (min(int(high) + 2, side) for high, side in zip(box[2:], (size[1], size[0]), strict=True))
        if x1 > x0 and y1 > y0 and box[2] > box[0] and box[3] > box[1]:
            pasted[index, y0:y1, x0:x1] = _sampled(mask, box, (x0, y0, x1, y1)) >= THRESHOLD
    return pasted


def _sampled(mask: Tensor, box: list[float], window: tuple[int, int, int, int]) -> Tensor:
    x0, y0, x1, y1 = window
    across = _inside(x0, x1, box[0], box[2], mask)
    down = _inside(y0, y1, box[1], box[3], mask)
    grid = torch.stack([across[None, :].expand(len(down), -1), down[:, None].expand(-1, len(across))], dim=-1)
    return F.grid_sample(mask[None, None].float(), grid[None], align_corners=False)[0, 0]


def _inside(first: int, last: int, low: float, high: float, like: Tensor) -> Tensor:
    """Centres of the pixels first to last - 1 on a scale that is -1 at the box's low edge and 1 at its high one."""
    centres = torch.arange(first, last, device=like.device, dtype=torch.float32) + 0.5
    return (centres - low) / (high - low) * 2 - 1
