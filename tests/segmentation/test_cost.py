"""Counted costs against torch's own count, and against every number that Table 4 prints."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convnext.errors import UserError
from convnext.models import model_spec
from convnext.peer_spec import peer_named
from convnext.segmentation.cost import segmenter_cost, segmenter_costs
from convnext.segmentation.reference import NUM_CLASSES, TABLE_4, SegmentationRow
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import segmenter_spec
from tests.small_nets import SMALL_SPECS

PRINTED = [row for row in TABLE_4 if row.gmacs is not None]


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: f"{row.model}-{row.crop}")
def test_table_4_comes_out_to_the_digit(row: SegmentationRow) -> None:
    cost = segmenter_cost(segmenter_spec(row.model, NUM_CLASSES), row.height, row.width)
    assert round(cost.params / 1e6) == row.params_millions
    # The printed numbers come from a counter that counts the head's norms and activations too.
    assert round((cost.macs + cost.elementwise) / 1e9) == row.gmacs
    assert cost.elementwise < 0.001 * cost.macs


def test_table_4_leaves_the_auxiliary_head_out_of_the_work_and_counts_its_parameters() -> None:
    row = next(row for row in PRINTED if row.model == "convnext_xlarge")
    parts = {part.part: part for part in segmenter_costs(segmenter_spec(row.model, 150), row.height, row.width)}
    assert sum(part.macs for part in parts.values()) / 1e9 > row.gmacs + 10  # type: ignore[operator]
    assert (parts["backbone"].params + parts["decode_head"].params) / 1e6 < row.params_millions - 2  # type: ignore[operator]


def counted(segmenter: Segmenter, height: int, width: int) -> dict[str, int]:
    images = torch.empty(1, 3, height, width, device="meta")
    macs = {}
    with FlopCounterMode(display=False) as counter:
        maps = segmenter.backbone(images)
    macs["backbone"] = counter.get_total_flops() // 2
    with FlopCounterMode(display=False) as counter:
        segmenter.decode_head(maps)
    macs["decode_head"] = counter.get_total_flops() // 2
    with FlopCounterMode(display=False) as counter:
        assert segmenter.auxiliary_head is not None
        segmenter.auxiliary_head(maps[2])
    macs["auxiliary_head"] = counter.get_total_flops() // 2
    return macs


@pytest.mark.parametrize("name", SMALL_SPECS)
def test_counts_equal_torchs_own_at_any_height_and_width(name: str) -> None:
    spec = replace(segmenter_spec(SMALL_SPECS[name], 7, channels=10, aux_channels=6), pool_scales=(1, 2, 5))
    with torch.device("meta"):
        segmenter = build_segmenter(spec).eval()
    for height, width in ((64, 96), (97, 70), (32, 200)):
        parts = segmenter_costs(spec, height, width)
        assert {part.part: part.macs for part in parts} == counted(segmenter, height, width)
        for part in parts:
            inside = segmenter.get_submodule(part.part)
            assert part.params == sum(parameter.numel() for parameter in inside.parameters())
        total = segmenter_cost(spec, height, width)
        assert total.macs == parts[0].macs + parts[1].macs
        assert total.params == sum(parameter.numel() for parameter in segmenter.parameters())


def test_elementwise_operations_are_three_for_each_element_of_the_heads_norms() -> None:
    spec = segmenter_spec("convnext_atto", 150)
    with torch.device("meta"):
        segmenter = build_segmenter(spec).eval()
    operations = 0

    def add(module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal operations
        operations += output.numel() * (2 if isinstance(module, nn.BatchNorm2d) else 1)

    for module in segmenter.decode_head.modules():
        if isinstance(module, nn.BatchNorm2d | nn.ReLU):
            module.register_forward_hook(add)
    segmenter(torch.empty(1, 3, 64, 160, device="meta"))
    assert segmenter_cost(spec, 64, 160).elementwise == operations


def test_without_an_auxiliary_head_there_is_no_such_part() -> None:
    spec = segmenter_spec("convnext_atto", 150, aux_channels=None)
    assert [part.part for part in segmenter_costs(spec, 64, 64)] == ["backbone", "decode_head"]


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match="16 pixels is too small"):
        segmenter_cost(segmenter_spec("convnext_atto", 150), 16, 64)


def test_rows_name_networks_that_there_are_and_the_papers_best_numbers() -> None:
    for row in TABLE_4:
        if row.model.startswith("convnext"):
            model_spec(row.model)
        else:
            assert peer_named(row.model) is not None
        assert (row.stride, row.width) == {512: (341, 2048), 640: (426, 2560)}[row.crop]
        assert row.miou_single_scale is None or row.miou_single_scale < row.miou_multi_scale
    assert [row.miou_multi_scale for row in PRINTED] == [46.7, 49.6, 49.9, 53.1, 53.7, 54.0]


def test_costs_are_counted_without_torch() -> None:
    code = "import sys, convnext.segmentation.cost, convnext.segmentation.reference; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
