import json
from dataclasses import replace
from typing import Any

import pytest

from convnext.detection.spec import DetectorSpec
from convnext.errors import UserError
from convnext.spec import CONVNEXT_TINY
from tests.detection.made import TINY_RESNET, tiny_spec


def test_a_spec_survives_json() -> None:
    for spec in (
        tiny_spec(),
        replace(tiny_spec("faster-rcnn", "torchvision", backbone=TINY_RESNET), freeze_norms=True, frozen_eps=0.0),
    ):
        assert DetectorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"head": "retinanet"}, "head must be one of faster-rcnn, mask-rcnn, cascade-mask-rcnn, got 'retinanet'"),
        ({"convention": "detectron2"}, "convention must be one of torchvision, openmmlab"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"score_threshold": 1.5}, "score_threshold must lie between 0 and 1, got 1.5"),
        ({"head": "cascade-mask-rcnn", "convention": "torchvision"}, "torchvision has no Cascade Mask R-CNN"),
    ],
)
def test_what_no_detector_can_have(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        DetectorSpec(**{"backbone": CONVNEXT_TINY, "head": "mask-rcnn", "num_classes": 3, **values})


def test_unknown_and_missing_fields_are_named() -> None:
    values = tiny_spec().to_dict()
    with pytest.raises(UserError, match="has no field hiden; did you mean hidden"):
        DetectorSpec.from_dict({**values, "hiden": 3})
    with pytest.raises(UserError, match="needs the field head"):
        DetectorSpec.from_dict({name: value for name, value in values.items() if name != "head"})
