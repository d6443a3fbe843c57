"""A spec holds what a network can have, refuses the rest in a sentence, and survives JSON."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given

from convnext.errors import UserError
from convnext.models import MODELS
from convnext.spec import CONVNEXT_TINY, RESNET50, NetSpec
from tests.strategies import specs


def test_a_spec_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        RESNET50.width = 32  # type: ignore[misc]
    with pytest.raises(TypeError):
        NetSpec((3, 4, 6, 3), 64)  # type: ignore[misc]


@given(specs())
def test_json_gives_the_same_spec_back(spec: NetSpec) -> None:
    assert NetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("name", MODELS)
def test_every_registered_spec_survives_json(name: str) -> None:
    spec = MODELS[name].spec
    assert NetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kernel": 6}, ["kernel must be odd", "got 6", "3, 5, 7, 9, 11"]),
        ({"kernel": 0}, ["kernel must be odd", "got 0"]),
        ({"width": 0}, ["width", "at least 1", "got 0"]),
        ({"width": 96.0}, ["width", "whole number", "96.0"]),
        ({"depths": ()}, ["depths", "at least one stage"]),
        ({"depths": (3, 0, 9, 3)}, ["depth", "got 0"]),
        ({"act": "swish"}, ["act", "relu, gelu", "'swish'"]),
        ({"norm": "group"}, ["norm", "batch, layer", "'group'"]),
        ({"depthwise": "yes"}, ["depthwise", "true or false", "'yes'"]),
        ({"stem_stride": 3}, ["stem_stride", "got 3", "1, 2, 4, 8"]),
        ({"stem": "pool", "stem_stride": 8}, ["stem_stride", "pool stem", "got 8", "1, 2, 4"]),
        ({"transitions": "none"}, ["transitions", "one stage", "(3, 3, 9, 3)"]),
        ({"depths": (18,)}, ["transitions", "one stage", "separate"]),
        ({"stem_stride": 2.0}, ["stem_stride", "whole number", "2.0"]),
        ({"stem_stride": True}, ["stem_stride", "whole number", "True"]),
        ({"depths": (2,), "transitions": "none", "stem": "pool"}, ["stem", "patch", "isotropic", "pool"]),
        ({"depths": 3}, ["depths", "3,3,9,3", "got 3"]),
        ({"layer_scale": "small"}, ["layer_scale", "'small'"]),
        ({"layer_scale": 0.0}, ["layer_scale", "None for off", "got 0.0"]),
        ({"num_classes": True}, ["num_classes", "whole number", "True"]),
        ({"in_channels": -1}, ["in_channels", "got -1"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        replace(CONVNEXT_TINY, **changes)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(UserError, match=r"no field kernal; did you mean kernel\?"):
        NetSpec.from_dict({**RESNET50.to_dict(), "kernal": 5})
    with pytest.raises(UserError, match="needs the field width"):
        NetSpec.from_dict({"depths": [1, 1]})
