"""Logits of a picture window by window, the windows where OpenMMLab puts them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convnext.errors import UserError

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A square window of `side` pixels that moves by `stride` pixels: 512 and 341, or 640 and 426, in the paper.

    UserError for a side below 1, or a stride that leaves pixels between two windows.
    """

    side: int
    stride: int

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UserError(f"the side of a window must be at least 1 pixel, got {self.side}; the paper takes 512")
        if not 1 <= self.stride <= self.side:
            raise UserError(
                f"the stride of a window must be at least 1 and at most its side, {self.side}, got {self.stride}; "
                "the paper takes two thirds of the side"
            )

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Return where the windows start and end along `length` pixels.

        The last one is moved back to end at the border; where the picture is smaller there is one, as long as that.
        """
        count = max(0, -(-(length - self.side) // self.stride)) + 1
        ends = [min(index * self.stride + self.side, length) for index in range(count)]
        return [(max(end - self.side, 0), end) for end in ends]


def sliding_logits(logits: Logits, images: Tensor, window: Window) -> Tensor:
    """Return the logits (N, K, H, W) of pictures (N, C, H, W), averaged over the windows that cover each pixel.

    logits   maps a cut (N, C, h, w) to (N, K, h, w); sums are kept in float32 at least
    """
    height, width = images.shape[-2:]
    rows, columns = window.spans(height), window.spans(width)
    total: Tensor | None = None
    for top, bottom in rows:
        for left, right in columns:
            part = logits(images[..., top:bottom, left:right])
            if total is None:
                kind = torch.promote_types(part.dtype, torch.float32)
                total = part.new_zeros(*part.shape[:2], height, width, dtype=kind)
            total[..., top:bottom, left:right] += part
    assert total is not None
    # How often a pixel is seen is the product of how often its row and its column are.
    return total.div_(_counts(rows, height, total)[:, None]).div_(_counts(columns, width, total))


def _counts(spans: list[tuple[int, int]], length: int, like: Tensor) -> Tensor:
    counts = like.new_zeros(length)
    for start, end in spans:
        counts[start:end] += 1
    return counts
