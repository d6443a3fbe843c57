from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convnext.detection.cost import detector_costs
from convnext.detection.detector import Detector, build_detector
from convnext.detection.reference import DETECTION_ROWS, DetectionRow, detection_row
from convnext.detection.spec import Convention, DetectorSpec, HeadName, detector_spec
from convnext.detection.staged import StagedHeads
from convnext.errors import UserError
from tests.detection.made import TINY, TINY_RESNET, tiny_spec

OURS = [row for row in DETECTION_ROWS if row.gmacs is not None and not row.model.startswith("swin")]


@pytest.mark.parametrize("row", OURS, ids=lambda row: f"{row.head}-{row.model}")
def test_table_3(row: DetectionRow) -> None:
    total = detector_costs(detector_spec(row.model, row.head, 80))[-1]
    assert row.gmacs is not None
    # The counter of the paper adds operations of norms and activations: never less, and 0.2% at most.
    assert 0.998 * row.gmacs - 0.5 < total.gmacs < row.gmacs + 0.5


@pytest.mark.parametrize(
    ("model", "head", "millions"),
    [
        ("convnext_tiny", "mask-rcnn", 48),
        ("convnext_tiny", "cascade-mask-rcnn", 86),
        ("convnext_small", "cascade-mask-rcnn", 108),
        ("convnext_base", "cascade-mask-rcnn", 146),
        ("convnext_large", "cascade-mask-rcnn", 255),
        ("convnext_xlarge", "cascade-mask-rcnn", 407),
    ],
)
def test_parameters_are_those_of_the_official_models(model: str, head: HeadName, millions: int) -> None:
    assert round(detector_costs(detector_spec(model, head, 80))[-1].params / 1e6) == millions


def counted(module: nn.Module, *inputs: object) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def heads_counted(detector: Detector, spec: DetectorSpec, proposals: int, objects: int) -> tuple[int, int]:
    heads = detector.roi_heads
    box, mask = torch.empty(proposals, 16, 7, 7), torch.empty(objects, 16, 14, 14)
    if isinstance(heads, StagedHeads):
        boxes = list(zip(heads.box_heads, heads.box_predictors, strict=True))
        masks = list(zip(heads.mask_heads, heads.mask_predictors, strict=True)) if spec.has_masks else []
    else:
        boxes = [(heads.box_head, heads.box_predictor)]
        masks = [(heads.mask_head, heads.mask_predictor)] if spec.has_masks else []
    return (
        sum(counted(nn.Sequential(*pair), box) for pair in boxes),
        sum(counted(nn.Sequential(*pair), mask) for pair in masks),
    )


@pytest.mark.parametrize(
    ("head", "convention"),
    [
        ("faster-rcnn", "torchvision"),
        ("mask-rcnn", "torchvision"),
        ("mask-rcnn", "openmmlab"),
        ("cascade-mask-rcnn", "openmmlab"),
    ],
)
@pytest.mark.parametrize("backbone", [TINY, TINY_RESNET], ids=["convnext", "resnet"])
def test_every_part_is_what_torch_counts(head: HeadName, convention: Convention, backbone: object) -> None:
    spec = tiny_spec(head, convention, backbone=backbone)  # type: ignore[arg-type]
    detector = build_detector(spec).eval()
    size, proposals, objects = (160, 96), 9, 4
    parts = {part.part: part for part in detector_costs(spec, size, num_proposals=proposals, num_objects=objects)}
    images = torch.zeros(1, 3, *size)
    maps = {str(index): here for index, here in enumerate(detector.backbone(images))}
    box, mask = heads_counted(detector, spec, proposals, objects)
    assert parts["backbone"].macs == counted(detector.backbone, images)
    assert parts["neck"].macs == counted(detector.fpn, maps)
    assert parts["rpn"].macs == counted(detector.rpn.head, list(detector.fpn(maps).values()))
    assert parts["box"].macs == box
    assert (parts["mask"].macs if spec.has_masks else 0) == mask
    assert parts["total"].macs == sum(part.macs for name, part in parts.items() if name != "total")
    assert parts["total"].params == sum(parameter.numel() for parameter in detector.parameters())


def test_an_isotropic_network_is_refused() -> None:
    with pytest.raises(UserError, match="isotropic"):
        detector_costs(tiny_spec(backbone=replace(TINY, depths=(2,), transitions="none", stem_stride=16)))


def test_rows_of_table_3() -> None:
    row = detection_row("cascade-mask-rcnn", "convnext_base", "ImageNet-22K")
    assert row is not None and (row.box_ap, row.mask_ap) == (54.0, 46.9)
    assert detection_row("mask-rcnn", "resnet50") is None
    assert len(DETECTION_ROWS) == 14
