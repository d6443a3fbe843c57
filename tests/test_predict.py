"""Predicting: what inputs name, the order of answers, preprocessing, and pictures that cannot be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from convnext.errors import UserError
from convnext.models import create_model
from convnext.network import Network
from convnext.predict import find_pictures, predict_pictures
from convnext.preprocess import Preprocess
from convnext.spec import CONVNEXT_TINY

SPEC = replace(CONVNEXT_TINY, depths=(1, 1), width=8, num_classes=3, stem_stride=2, layer_scale=1.0)
LABELS = ("ant", "bee", "cow")


@pytest.fixture
def model() -> Network:
    torch.manual_seed(0)
    network = create_model(SPEC).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return network


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def test_files_folders_and_globs_each_once_in_order(tmp_path: Path) -> None:
    b, a = picture(tmp_path / "x" / "b.png", 1), picture(tmp_path / "x" / "deep" / "a.jpg", 2)
    odd = picture(tmp_path / "odd.png", 3).rename(tmp_path / "odd.data")
    (tmp_path / "x" / "notes.txt").write_text("no picture")
    assert find_pictures([str(odd), str(tmp_path / "x"), str(tmp_path / "x" / "*.png")]) == [odd, b, a]
    assert find_pictures([str(tmp_path / "**" / "*.jpg")]) == [a]


@pytest.mark.parametrize("name", ["empty", "*.webp"])
def test_what_names_nothing_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=str(tmp_path / name).replace("*", r"\*")):
        find_pictures([str(tmp_path / name)])


def test_a_prediction_is_the_softmax_of_the_preprocessed_picture(model: Network, tmp_path: Path) -> None:
    preprocess = Preprocess(size=24)
    paths = [picture(tmp_path / f"{seed}.png", seed, (40 + seed, 33)) for seed in range(5)]
    found = list(predict_pictures(model, paths, preprocess=preprocess, labels=LABELS, batch_size=2))
    assert [one.path for one in found] == [str(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        image = TF.center_crop(TF.resize(Image.open(path), [27], TF.InterpolationMode.BICUBIC), [24])
        pixels = TF.normalize(
            TF.to_dtype(TF.pil_to_tensor(image), scale=True), list(preprocess.mean), list(preprocess.std)
        )
        with torch.no_grad():
            shares = model(pixels[None]).softmax(1)[0]
        assert {label.label: pytest.approx(label.probability, abs=1e-5) for label in one.labels} == dict(
            zip(LABELS, shares.tolist(), strict=True)
        )
        assert [label.probability for label in one.labels] == pytest.approx(
            sorted(shares.tolist(), reverse=True), abs=1e-5
        )
    assert len({one.labels[0].probability for one in found}) > 1


def test_one_bad_picture_does_not_stop_the_rest(model: Network, tmp_path: Path) -> None:
    good, other = picture(tmp_path / "a.png", 1), picture(tmp_path / "c.png", 2)
    bad = tmp_path / "b.png"
    bad.write_bytes(good.read_bytes()[:-200])
    found = list(predict_pictures(model, [good, bad, other], preprocess=Preprocess(size=24), top=1))
    assert [one.error is None for one in found] == [True, False, True]
    assert str(bad) in (found[1].error or "") and found[1].labels == ()
    alone = list(predict_pictures(model, [other], preprocess=Preprocess(size=24), top=1))
    assert found[2].labels[0].label == alone[0].labels[0].label
    assert found[2].labels[0].probability == pytest.approx(alone[0].labels[0].probability, abs=1e-5)
    assert found[0].labels[0].label in ("0", "1", "2") and len(found[0].labels) == 1


def test_grey_networks_see_grey_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    grey = create_model(SPEC, in_channels=1)
    preprocess = Preprocess(size=24, mean=(0.5,), std=(0.2,))
    found = list(predict_pictures(grey, [picture(tmp_path / "a.png", 1)], preprocess=preprocess))
    assert len(found[0].labels) == 3


def test_the_number_of_labels_is_checked(model: Network, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="top must be at least 1, got 0"):
        list(predict_pictures(model, [picture(tmp_path / "a.png", 1)], preprocess=Preprocess(size=24), top=0))
