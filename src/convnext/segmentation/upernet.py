"""UperNet's two heads: pyramid pooling and a top-down path over the maps of a backbone, and a small auxiliary one.

Parameters carry OpenMMLab's names, which the published checkpoints have. Maps are resized bilinearly with
align_corners=False throughout, as the configurations for ConvNeXt say.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.errors import UserError
from convnext.layers import init_weights


class ConvNormAct(nn.Module):
    """A convolution that keeps the map's size, BatchNorm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class PyramidPooling(nn.ModuleList):
    """The map averaged to grids of several sides, each with its own 1x1 convolution, and resized back."""

    def __init__(self, in_channels: int, channels: int, pool_scales: Sequence[int]) -> None:
        super().__init__(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvNormAct(in_channels, channels, 1)) for scale in pool_scales
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, C_in, H, W) to one (N, C, H, W) for each scale."""
        if x.shape[0] == 1 and self._measures_alone():
            raise UserError(
                "a segmenter cannot be trained on one picture at a time: BatchNorm behind the pooling to a single cell "
                "would see one value a channel; take a batch size of at least 2"
            )
        return [resize(pooled(x), x) for pooled in self]

    def _measures_alone(self) -> bool:
        """Whether a BatchNorm here takes its statistics from this process's batch only."""
        return any(type(module) is nn.BatchNorm2d and module.training for module in self.modules())


class UperNetHead(nn.Module):
    """Pyramid pooling on the last map, a top-down path over the others, all fused at the finest resolution.

    in_channels: of each map, finest first.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        num_classes: int,
        pool_scales: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        *finer, last = in_channels
        self.psp_modules = PyramidPooling(last, channels, pool_scales)
        self.bottleneck = ConvNormAct(last + len(pool_scales) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNormAct(one, channels, 1) for one in finer)
        self.fpn_convs = nn.ModuleList(ConvNormAct(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = ConvNormAct(len(in_channels) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        init_weights(self, "he")
        init_classifier(self.conv_seg)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map the backbone's maps, finest first, to logits (N, num_classes, H, W) of the finest one's size."""
        *finer, last = maps
        coarser: Tensor = self.bottleneck(torch.cat([last, *self.psp_modules(last)], dim=1))
        outputs = [coarser]
        for lateral, smooth, x in zip(self.lateral_convs[::-1], self.fpn_convs[::-1], finer[::-1], strict=True):
            coarser = lateral(x) + resize(coarser, x)
            outputs.append(smooth(coarser))
        # The finest first, as the published weights of the fusing convolution have them.
        fused = self.fpn_bottleneck(torch.cat([resize(x, maps[0]) for x in reversed(outputs)], dim=1))
        logits: Tensor = self.conv_seg(self.dropout(fused))
        return logits


class FCNHead(nn.Module):
    """One 3x3 convolution and a classifier on a single map."""

    def __init__(self, in_channels: int, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvNormAct(in_channels, channels, 3))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        init_weights(self, "he")
        init_classifier(self.conv_seg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes, H, W)."""
        logits: Tensor = self.conv_seg(self.dropout(self.convs(x)))
        return logits


def init_classifier(conv: nn.Conv2d) -> None:
    """Start a classifier as OpenMMLab does: normal weights of std 0.01, no bias."""
    nn.init.normal_(conv.weight, std=0.01)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Resize a map (N, C, H, W) bilinearly to the height and width of another."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
