import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convnext.errors import UserError
from convnext.preprocess import Preprocess


def test_rule_of_the_paper_below_384():
    at_224 = Preprocess.for_size(224)
    assert (at_224.resize, at_224.crop, at_224.resize_px, at_224.interpolation) == (
        "short_side",
        0.875,
        256,
        "bicubic",
    )
    assert Preprocess.for_size(64).resize_px == 73
    assert Preprocess.for_size(383).resize == "short_side"


def test_rule_of_the_paper_from_384():
    for size in (384, 512):
        preprocess = Preprocess.for_size(size)
        assert (preprocess.resize, preprocess.crop, preprocess.resize_px) == ("squash", 1.0, size)


def test_means_of_imagenet():
    assert Preprocess().mean == (0.485, 0.456, 0.406)
    assert Preprocess().std == (0.229, 0.224, 0.225)


@given(size=st.integers(1, 2000), extra=st.integers(0, 300))
def test_crop_given_as_a_quotient_returns_the_resize(size, extra):
    assert Preprocess(size=size, crop=size / (size + extra)).resize_px == size + extra


@given(size=st.integers(1, 2000))
def test_resize_is_the_floor_of_the_official_code(size):
    assert Preprocess(size=size).resize_px == int(size / 0.875)


@given(
    size=st.integers(1, 1000),
    resize=st.sampled_from(["short_side", "squash"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    mean=st.tuples(*[st.floats(-1, 1)] * 3),
    std=st.tuples(*[st.floats(0.01, 2)] * 3),
)
def test_dictionary_round_trip_through_json(size, resize, interpolation, mean, std):
    preprocess = Preprocess(size=size, resize=resize, crop=1.0, interpolation=interpolation, mean=mean, std=std)
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


def test_from_dict_fills_what_is_missing():
    assert Preprocess.from_dict({"size": 96}) == Preprocess(size=96)


def test_one_channel():
    assert Preprocess(mean=(0.5,), std=(0.2,)).mean == (0.5,)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 0}, "size must be a whole number of pixels from 1, got 0"),
        ({"size": 22.5}, "size must be a whole number of pixels from 1, got 22.5"),
        ({"size": True}, "size must be"),
        ({"resize": "long_side"}, "resize must be short_side or squash, got 'long_side'"),
        ({"interpolation": "lanczos"}, "interpolation must be nearest or bilinear or bicubic, got 'lanczos'"),
        ({"crop": 0}, "crop must be above 0 and at most 1, got 0"),
        ({"crop": 1.1}, "crop must be above 0 and at most 1, got 1.1"),
        ({"crop": float("nan")}, "crop must be"),
        ({"resize": "squash", "crop": 0.9}, "crop must be 1.0 with resize squash"),
        ({"mean": [0.5, 0.5]}, "mean must be one or three numbers"),
        ({"mean": 0.5}, "mean must be a list of numbers, got 0.5"),
        ({"mean": [0.5]}, "mean has 1 entries but std has 3"),
        ({"std": [0.2, 0.0, 0.2]}, "std must be above 0 in each channel"),
        ({"std": ["a", "b", "c"]}, "std must be one or three numbers"),
        ({"krop": 0.9}, "preprocessing has no field 'krop'; did you mean crop?"),
    ],
)
def test_refusals(values, words):
    with pytest.raises(UserError) as error:
        Preprocess.from_dict(values)
    assert words in str(error.value)


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        Preprocess().size = 3  # type: ignore[misc]
