"""Class probabilities of pictures, averaged over sizes and mirror images: the multi-scale test of Table 4.

Of each size the logits are resized to the picture's own size before the softmax, and the probabilities averaged, as
OpenMMLab does it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext.errors import UserError
from convnext.segmentation.sliding import Logits, Window, sliding_logits

PAPER_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def scaled_size(height: int, width: int, base: tuple[int, int], ratio: float = 1.0) -> tuple[int, int]:
    """Return the (height, width) to which a picture is resized, its aspect kept.

    base    long and short side, in either order, that the picture is to fit in at ratio 1: (2048, 512) in the paper

    UserError for a ratio of 0 or less.
    """
    if ratio <= 0:
        raise UserError(f"the ratio of a size must be above 0, got {ratio}; the paper takes 0.5 to 1.75")
    longest, shortest = int(max(base) * ratio), int(min(base) * ratio)
    factor = min(longest / max(height, width), shortest / min(height, width))
    # Half up, as mmcv rounds, where Python's own round would take the even one.
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def probabilities(
    logits: Logits, images: Tensor, *, size: tuple[int, int], window: Window | None = None, flip: bool = False
) -> Tensor:
    """Return the probability (N, K, height, width) of each class at each pixel.

    images   as the network takes them, (N, C, H, W)
    size     (height, width) of the result: that of the pictures before they were resized
    window   None looks at the whole picture at once
    flip     average with the mirror image
    """
    views = [images, images.flip(-1)] if flip else [images]
    result: Tensor | None = None
    for index, view in enumerate(views):
        seen = logits(view) if window is None else sliding_logits(logits, view, window)
        seen = seen.to(torch.promote_types(seen.dtype, torch.float32))
        if seen.shape[-2:] != size:
            seen = F.interpolate(seen, size=size, mode="bilinear", align_corners=False)
        part = seen.softmax(1)
        part = part.flip(-1) if index == 1 else part
        result = part if result is None else result.add_(part)
    assert result is not None
    return result.div_(len(views))


def pixel_classes(
    logits: Logits, images: Tensor, *, size: tuple[int, int], window: Window | None = None, most_values: int = 2**26
) -> Tensor:
    """Return the likeliest class, int64 (N, height, width), of each pixel; arguments as in `probabilities`.

    most_values   how many logits of that size are there at once: a photograph of 12 megapixels has more than a billion
                  of the 150 classes of ADE20K
    """
    seen = logits(images) if window is None else sliding_logits(logits, images, window)
    seen = seen.to(torch.promote_types(seen.dtype, torch.float32))
    step = max(1, most_values // (len(images) * size[0] * size[1]))
    best: Tensor | None = None
    for first in range(0, seen.shape[1], step):
        part = seen[:, first : first + step]
        if seen.shape[-2:] != size:
            part = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
        values, places = part.max(dim=1)
        if best is None:
            best, classes = values, places
        else:
            # Of two that are alike the first one stays, as argmax has it.
            higher = values > best
            best = torch.where(higher, values, best)
            classes = torch.where(higher, places + first, classes)
        # Else it would lie beside the next one.
        del part, values, places
    assert best is not None, "there are no classes"
    return classes


def multi_scale_probabilities(
    logits: Logits,
    images: Tensor,
    *,
    base: tuple[int, int],
    ratios: Sequence[float] = PAPER_RATIOS,
    flip: bool = True,
    window: Window | None = None,
) -> Tensor:
    """Return `probabilities` averaged over the picture resized to several ratios of a base size.

    images   at their own size (N, C, H, W), normalised; each size is made from them, bilinearly
    base, ratios   see `scaled_size`

    UserError for no ratio, or one of 0 or less.
    """
    if not ratios:
        raise UserError("ratios must name at least one size, got none; take 1.0, or the paper's 0.5 to 1.75")
    size = (images.shape[-2], images.shape[-1])
    result: Tensor | None = None
    for ratio in ratios:
        resized = F.interpolate(images, size=scaled_size(*size, base, ratio), mode="bilinear", align_corners=False)
        part = probabilities(logits, resized, size=size, window=window, flip=flip)
        result = part if result is None else result.add_(part)
    assert result is not None
    return result.div_(len(ratios))
