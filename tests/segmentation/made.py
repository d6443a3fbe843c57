"""Segmenters so small that a test can run them, of which every parameter and statistic was drawn."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext.bench.randomise import randomise
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import SegmenterSpec, segmenter_spec
from convnext.spec import CONVNEXT_TINY

CLASSES = 5
NAMES = tuple("wall building sky floor tree".split())


def tiny_spec() -> SegmenterSpec:
    """Depths, widths, channels and classes that all differ, so that no two can be mixed up unnoticed."""
    backbone = replace(CONVNEXT_TINY, depths=(1, 2, 3, 1), width=8)
    return segmenter_spec(backbone, CLASSES, channels=12, aux_channels=6)


class InEval(torch.nn.Module):
    """What `randomise` calls: both heads at once, so that the statistics of each norm are measured."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> None:
        maps = self.segmenter.backbone(images)
        self.segmenter.decode_head(maps)
        if self.segmenter.auxiliary_head is not None:
            self.segmenter.auxiliary_head(maps[2])


def random_segmenter(spec: SegmenterSpec | None = None, *, seed: int = 0) -> Segmenter:
    segmenter = build_segmenter(spec or tiny_spec())
    randomise(InEval(segmenter), 64, segmenter.spec.backbone.in_channels, seed)
    return segmenter.eval()


def plain_forward(tensors: dict[str, Tensor], images: Tensor, mixer: str, widen: str, narrow: str) -> dict[str, Tensor]:
    """OpenMMLab's UperNet on the official ConvNeXt, straight from a state dict under their names; "main" and "aux".

    mixer, widen, narrow: what a block calls its three convolutions
    """

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def layer_norm(x: Tensor, name: str) -> Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-6).permute(0, 3, 1, 2)

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)

    def module(x: Tensor, name: str, padding: int = 0) -> Tensor:
        parts = [tensors[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(conv(x, f"{name}.conv", padding=padding), *parts, training=False, eps=1e-5).relu()

    def scaled(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    maps, x = [], images
    for stage in range(4):
        if stage == 0:
            x = layer_norm(conv(x, "backbone.downsample_layers.0.0", stride=4), "backbone.downsample_layers.0.1")
        else:
            x = layer_norm(x, f"backbone.downsample_layers.{stage}.0")
            x = conv(x, f"backbone.downsample_layers.{stage}.1", stride=2)
        block = 0
        while f"backbone.stages.{stage}.{block}.gamma" in tensors:
            name = f"backbone.stages.{stage}.{block}"
            y = layer_norm(conv(x, f"{name}.{mixer}", padding=3, groups=x.shape[1]), f"{name}.norm")
            y = linear(F.gelu(linear(y.permute(0, 2, 3, 1), f"{name}.{widen}")), f"{name}.{narrow}")
            x = x + (tensors[f"{name}.gamma"] * y).permute(0, 3, 1, 2)
            block += 1
        maps.append(layer_norm(x, f"backbone.norm{stage}"))

    last = maps[3]
    pooled = [last]
    for index, scale in enumerate((1, 2, 3, 6)):
        cell = F.adaptive_avg_pool2d(last, scale)
        pooled.append(scaled(module(cell, f"decode_head.psp_modules.{index}.1"), last))
    laterals = [module(maps[index], f"decode_head.lateral_convs.{index}") for index in range(3)]
    laterals.append(module(torch.cat(pooled, 1), "decode_head.bottleneck", padding=1))
    for index in (3, 2, 1):
        laterals[index - 1] = laterals[index - 1] + scaled(laterals[index], laterals[index - 1])
    outs = [module(laterals[index], f"decode_head.fpn_convs.{index}", padding=1) for index in range(3)] + [laterals[3]]
    outs = [outs[0], *(scaled(one, outs[0]) for one in outs[1:])]
    main = conv(module(torch.cat(outs, 1), "decode_head.fpn_bottleneck", padding=1), "decode_head.conv_seg")
    aux = conv(module(maps[2], "auxiliary_head.convs.0", padding=1), "auxiliary_head.conv_seg")
    return {"main": main, "aux": aux}
