"""Preprocessing and labels of timm and transformers are read; what we write makes transformers do the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from convnext.errors import UserError
from convnext.files import write_json
from convnext.preprocess import Preprocess
from convnext.weights.sidecar import default_preprocess, read_labels, read_preprocess, transformers_processor

TIMM = {
    "architecture": "convnext_tiny",
    "num_classes": 2,
    "pretrained_cfg": {
        "input_size": [3, 288, 288],
        "crop_pct": 0.95,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
    },
}


def read(config: dict[str, Any], processor: dict[str, Any], in_channels: int = 3) -> Preprocess:
    return read_preprocess(config, processor, in_channels, "it")


def test_timms_config_is_read() -> None:
    expected = Preprocess(size=288, crop=0.95, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert read(TIMM, {}) == expected
    squashed = {**TIMM, "pretrained_cfg": {"input_size": [3, 384, 384], "crop_pct": 1.0, "crop_mode": "squash"}}
    assert read(squashed, {}) == Preprocess.for_size(384)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, Preprocess.for_size(224)),
        ({"size": 224, "crop_pct": 0.875}, Preprocess.for_size(224)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, Preprocess.for_size(384)),
        (
            {"size": {"height": 96, "width": 96}, "resample": 2},
            Preprocess(size=96, resize="squash", crop=1.0, interpolation="bilinear"),
        ),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            Preprocess(crop=224 / 256),
        ),
        (
            {"size": 64, "crop_pct": 0.9, "image_mean": [0.5] * 3, "image_std": [0.25] * 3},
            Preprocess(size=64, crop=0.9, mean=(0.5,) * 3, std=(0.25,) * 3),
        ),
    ],
)
def test_transformers_processors_are_read(processor: dict[str, Any], expected: Preprocess) -> None:
    assert read({}, processor) == expected


def test_without_a_config_the_papers_is_taken() -> None:
    assert read({}, {}) == Preprocess.for_size(224)
    grey = default_preprocess(1)
    assert len(grey.mean) == len(grey.std) == 1
    assert 0.4 < grey.mean[0] < 0.5


@pytest.mark.parametrize(
    ("config", "processor", "said"),
    [
        ({"pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "lanczos"}}, {}, "interpolation must be"),
        ({"pretrained_cfg": {"input_size": [3, 224, 224], "crop_mode": "border"}}, {}, "crop_mode must be"),
        ({"pretrained_cfg": {"input_size": []}}, {}, "cannot be understood"),
        ({}, {"size": 224, "resample": 1}, "resample must be"),
        ({}, {"size": {"longest_edge": 224}}, "cannot be understood"),
    ],
)
def test_what_cannot_be_done_is_refused(config: dict[str, Any], processor: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=rf"beside it .*{said}"):
        read(config, processor)


CASES = [
    Preprocess.for_size(224),
    Preprocess.for_size(64),
    Preprocess.for_size(384),
    Preprocess(size=48, resize="squash", crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.3,) * 3),
    Preprocess(size=400, crop=0.9),
    Preprocess(size=224, crop=224 / 236),
    Preprocess(size=32, crop=1.0, interpolation="bilinear"),
]


def by_hand(picture: Image.Image, how: Preprocess) -> torch.Tensor:
    """Do with PIL alone what a Preprocess says."""
    method = {"nearest": 0, "bilinear": 2, "bicubic": 3}[how.interpolation]
    if how.resize == "squash":
        picture = picture.resize((how.size, how.size), method)
    else:
        scale = how.resize_px / min(picture.size)
        picture = picture.resize((int(picture.width * scale), int(picture.height * scale)), method)
        left, top = (picture.width - how.size) // 2, (picture.height - how.size) // 2
        picture = picture.crop((left, top, left + how.size, top + how.size))
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return (values - torch.tensor(how.mean)[:, None, None]) / torch.tensor(how.std)[:, None, None]


@pytest.mark.parametrize("how", CASES)
def test_transformers_does_what_we_write(tmp_path: Path, how: Preprocess) -> None:
    write_json(tmp_path / "preprocessor_config.json", transformers_processor(how))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    # A smooth picture, wider than high and different everywhere, so that a shift by a pixel shows.
    y, x = np.mgrid[0:300, 0:400]
    picture = Image.fromarray(np.stack([x * 0.6, y * 0.8, (x + y) * 0.35], axis=-1).astype(np.uint8))
    theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
    ours = by_hand(picture, how)
    assert theirs.shape == ours.shape
    # One grey level is 0.02 of a standard deviation: the two libraries round and place halves differently.
    assert (theirs - ours).abs().max() < 0.06


@pytest.mark.parametrize("how", [case for case in CASES if case.crop != 224 / 236])
def test_what_we_write_we_read_back(how: Preprocess) -> None:
    back = read({}, transformers_processor(how))
    assert (back.size, back.resize, back.resize_px) == (how.size, how.resize, how.resize_px)
    assert (back.mean, back.std, back.interpolation) == (how.mean, how.std, how.interpolation)


def test_labels_are_taken_where_they_are_real() -> None:
    assert read_labels({"id2label": {"0": "cat", "1": "dog"}}, 2) == ("cat", "dog")
    assert read_labels({"id2label": {"1": "dog", "0": "cat"}}, 2) == ("cat", "dog")
    assert read_labels({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, 2) is None
    assert read_labels({"id2label": {"0": "cat", "1": "dog"}}, 3) is None
    assert read_labels({"label_names": ["a", "b"]}, 2) == ("a", "b")
    assert read_labels({"pretrained_cfg": {"label_names": ["a", "b"]}}, 2) == ("a", "b")
    assert read_labels({"label_names": ["a", "b"]}, 1000) is None
    assert read_labels({}, 2) is None
