import json
from dataclasses import replace
from typing import Any

import pytest

from convnext.errors import UserError
from convnext.models import model_spec
from convnext.segmentation.spec import SegmenterSpec, segmenter_spec
from convnext.spec import NetSpec
from tests.segmentation.made import tiny_spec


def test_it_survives_json() -> None:
    spec = replace(tiny_spec(), pool_scales=(1, 2, 4), aux_channels=None, norm_outputs=False)
    assert SegmenterSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_papers_segmenter_is_the_default_and_layer_scale_starts_at_one() -> None:
    spec = segmenter_spec("convnext_base", 150)
    assert spec.backbone == replace(model_spec("convnext_base"), layer_scale=1.0)
    assert (spec.channels, spec.aux_channels, spec.pool_scales, spec.dropout) == (512, 256, (1, 2, 3, 6), 0.1)
    assert spec.norm_outputs is True
    assert segmenter_spec("convnext_base", 150, layer_scale=0.1).backbone.layer_scale == 0.1


@pytest.mark.parametrize("name", ["resnet50", "convnext_isotropic_small"])
def test_networks_without_layer_scale_stay_so(name: str) -> None:
    assert segmenter_spec(name, 150).backbone.layer_scale is None


def test_maps_are_normalised_where_the_network_has_layer_norm() -> None:
    assert segmenter_spec("resnet50", 2).norm_outputs is False
    assert segmenter_spec("resnet50:layernorm", 2).norm_outputs is True
    assert SegmenterSpec(backbone=model_spec("resnet50"), num_classes=2, norm_outputs=True).norm_outputs is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"channels": 1.5}, "channels must be a whole number"),
        ({"aux_channels": 0}, "aux_channels must be a whole number"),
        ({"pool_scales": ()}, "pool_scales must be a list"),
        ({"pool_scales": (1, 0)}, "every one of pool_scales must be"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"head": "fcn"}, "head must be upernet, got 'fcn'"),
        (
            {"backbone": NetSpec(depths=(1, 1, 1), width=8)},
            r"four stages or be isotropic, got depths \(1, 1, 1\)",
        ),
    ],
)
def test_values_that_no_segmenter_can_have_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(tiny_spec(), **changes)


def test_unknown_and_missing_fields_are_named() -> None:
    values = tiny_spec().to_dict()
    with pytest.raises(UserError, match="has no field chanels; did you mean channels"):
        SegmenterSpec.from_dict({**values, "chanels": 3})
    del values["backbone"]
    with pytest.raises(UserError, match="needs the field backbone"):
        SegmenterSpec.from_dict(values)
