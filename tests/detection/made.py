"""Small detectors, pictures and targets."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from convnext.detection.detector import Detector, build_detector
from convnext.detection.spec import Convention, DetectorSpec, HeadName, detector_spec
from convnext.detection.targets import Target
from convnext.spec import CONVNEXT_TINY, NetSpec

TINY = replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8)
TINY_RESNET = NetSpec(depths=(1, 1, 1, 1), width=8)
SIZES = ((64, 96), (96, 64))


def tiny_spec(
    head: HeadName = "mask-rcnn",
    convention: Convention = "openmmlab",
    *,
    backbone: NetSpec = TINY,
    num_classes: int = 3,
    freeze_norms: bool = False,
) -> DetectorSpec:
    spec = detector_spec(backbone, head, num_classes, convention=convention, freeze_norms=freeze_norms)
    return replace(spec, channels=16, hidden=24)


def tiny_detector(head: HeadName = "mask-rcnn", convention: Convention = "openmmlab", *, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return build_detector(tiny_spec(head, convention))


def pictures(sizes: tuple[tuple[int, int], ...] = SIZES, *, side: int = 96, seed: int = 1) -> Tensor:
    """Noise, padded with zeros to a square."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(len(sizes), 3, side, side)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, :height, :width] = torch.randn(3, height, width, generator=generator)
    return images


def target(boxes: list[list[float]], labels: list[int], *, side: int = 96) -> Target:
    """Objects whose masks are the ellipses in their boxes."""
    masks = torch.zeros(len(boxes), side, side, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        inside = ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
        mask[inside] = 1
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
    )


def targets() -> list[Target]:
    return [target([[8, 8, 40, 40], [30, 10, 90, 60]], [0, 2]), target([[4, 20, 60, 90]], [1])]


def no_objects() -> Target:
    return target([], [])


def randomise(module: nn.Module, *, seed: int = 0) -> None:
    """Give every parameter and statistic other numbers, so that nothing is silenced by a start of 0 or 1e-6."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.ndim > 1:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
        elif name.endswith(("weight", "gamma")):
            tensor.copy_(1 + 0.2 * noise)
        else:
            tensor.copy_(0.1 * noise)
