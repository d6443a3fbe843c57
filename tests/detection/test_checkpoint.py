from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from convnext.detection.checkpoint import load_detector, renamed, save_detector
from convnext.detection.detector import build_detector
from convnext.detection.spec import Convention, HeadName
from convnext.errors import UserError
from tests.detection import openmmlab_names as theirs
from tests.detection.made import SIZES, TINY, TINY_RESNET, pictures, randomise, tiny_detector, tiny_spec

CLASSES = 5
OFFICIAL = ("dwconv", "pwconv1", "pwconv2")
OPENMMLAB = ("depthwise_conv", "pointwise_conv1", "pointwise_conv2")
RESNET = tuple(4 * channels for channels in theirs.CHANNELS)


def checkpoint(kind: str) -> dict[str, Tensor]:
    shapes = {
        "official mask": [*theirs.convnext(OFFICIAL), *theirs.dense(theirs.CHANNELS), *theirs.single_heads(CLASSES)],
        "official cascade": [
            *theirs.convnext(OFFICIAL),
            *theirs.dense(theirs.CHANNELS),
            *theirs.cascade_heads(CLASSES),
        ],
        "openmmlab mask": [*theirs.convnext(OPENMMLAB), *theirs.dense(theirs.CHANNELS), *theirs.single_heads(CLASSES)],
        "openmmlab resnet": [*theirs.resnet(), *theirs.dense(RESNET), *theirs.single_heads(CLASSES)],
    }[kind]
    generator = torch.Generator().manual_seed(0)
    # Each tensor has numbers of its own, so that no two can be swapped unseen.
    return {name: torch.randn(shape, generator=generator) if shape else torch.tensor(7) for name, shape in shapes}


@pytest.mark.parametrize(
    ("kind", "scheme", "head"),
    [
        ("official mask", "official", "mask-rcnn"),
        ("official cascade", "official", "cascade-mask-rcnn"),
        ("openmmlab mask", "openmmlab", "mask-rcnn"),
        ("openmmlab resnet", "openmmlab", "mask-rcnn"),
    ],
)
def test_openmmlabs_checkpoints_are_read_and_written(kind: str, scheme: str, head: HeadName) -> None:
    tensors = checkpoint(kind)
    classes = tuple("abcde")
    loaded = load_detector({"state_dict": tensors, "meta": {"CLASSES": classes, "mmdet_version": "2.11.0"}})
    backbone = TINY_RESNET if kind == "openmmlab resnet" else TINY
    assert loaded.scheme == scheme and loaded.labels == classes
    assert loaded.detector.spec == tiny_spec(head, "openmmlab", backbone=backbone, num_classes=CLASSES)
    assert not loaded.detector.training
    written = renamed(loaded.detector, loaded.scheme)
    assert set(written) == set(tensors)
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())


def test_where_openmmlabs_tensors_go() -> None:
    tensors = checkpoint("official cascade")
    state = load_detector(tensors).detector.state_dict()
    pairs = {
        "backbone.network.stages.1.0.pwconv1.weight": "backbone.stages.1.0.pwconv1.weight",
        "backbone.norm2.bias": "backbone.norm2.bias",
        "fpn.inner_blocks.3.0.weight": "neck.lateral_convs.3.conv.weight",
        "fpn.layer_blocks.0.0.weight": "neck.fpn_convs.0.conv.weight",
        "rpn.head.conv.0.0.weight": "rpn_head.rpn_conv.weight",
        "roi_heads.box_heads.2.3.1.running_var": "roi_head.bbox_head.2.shared_convs.3.bn.running_var",
        "roi_heads.box_heads.1.5.weight": "roi_head.bbox_head.1.shared_fcs.0.weight",
        "roi_heads.box_predictors.1.bbox_pred.weight": "roi_head.bbox_head.1.fc_reg.weight",
        "roi_heads.mask_heads.0.2.0.bias": "roi_head.mask_head.0.convs.2.conv.bias",
        "roi_heads.mask_predictors.2.conv5_mask.weight": "roi_head.mask_head.2.upsample.weight",
    }
    for ours, name in pairs.items():
        assert torch.equal(state[ours], tensors[name]), ours


def test_another_network_is_told_by_what_it_lacks_and_has_besides() -> None:
    tensors = checkpoint("official mask")
    tensors["roi_head.bbox_head.shared_fcs.2.weight"] = torch.zeros(24, 24)
    del tensors["neck.fpn_convs.2.conv.bias"]
    with pytest.raises(
        UserError, match=r"looks like a Mask R-CNN .* it lacks neck.fpn_convs.2.conv.bias; it has besid"
    ):
        load_detector(tensors)
    agnostic = checkpoint("official cascade")
    agnostic["roi_head.bbox_head.0.fc_reg.weight"] = torch.zeros(4, 24)
    with pytest.raises(UserError, match=r"of other shape: roi_head.bbox_head.0.fc_reg.weight is \(4, 24\) instead"):
        load_detector(agnostic)
    with pytest.raises(UserError, match="is no detector that can be read"):
        load_detector({"conv.weight": torch.zeros(3, 3)})


@pytest.mark.parametrize(
    ("head", "convention"),
    [("faster-rcnn", "torchvision"), ("mask-rcnn", "openmmlab"), ("cascade-mask-rcnn", "openmmlab")],
)
def test_our_own_names_and_files(head: HeadName, convention: Convention, tmp_path: Path) -> None:
    detector, ema = (tiny_detector(head, convention, seed=seed) for seed in (0, 1))
    randomise(detector, seed=2)
    randomise(ema, seed=3)
    bare = load_detector(detector.state_dict())
    assert bare.scheme == "convnext" and bare.detector.spec == detector.spec and bare.weights == "only"
    path = tmp_path / "best.safetensors"
    save_detector(path, detector, ema=ema, labels=["a", "b", "c"], mean=(0.1, 0.2, 0.3), extra={"epoch": 4})
    for choice, source in (("raw", detector), ("ema", ema), ("auto", ema)):
        loaded = load_detector(path, weights=choice)  # type: ignore[arg-type]
        expected = source.state_dict()
        assert all(torch.equal(expected[name], value) for name, value in loaded.detector.state_dict().items())
        assert loaded.detector.spec == detector.spec
    assert (loaded.labels, loaded.mean, loaded.metadata["epoch"]) == (("a", "b", "c"), (0.1, 0.2, 0.3), 4)
    with torch.no_grad():
        found, same = (one.eval()(pictures(), SIZES)[0] for one in (ema, loaded.detector))
    assert torch.equal(found.boxes, same.boxes)
    with pytest.raises(UserError, match="labels must be as many"):
        save_detector(path, detector, labels=["a"])


def test_options_that_no_weight_tells_come_from_our_own_file(tmp_path: Path) -> None:
    spec = replace(
        tiny_spec(backbone=TINY_RESNET, freeze_norms=True), frozen_eps=0.0, score_threshold=0.2, max_detections=7
    )
    save_detector(tmp_path / "a.safetensors", build_detector(spec))
    assert load_detector(tmp_path / "a.safetensors").detector.spec == spec


def test_other_classes_get_fresh_predictors() -> None:
    tensors = checkpoint("official mask")
    loaded = load_detector(tensors, num_classes=2)
    assert loaded.detector.spec.num_classes == 2 and loaded.labels is None
    assert "predictors replaced: 5 -> 2 classes" in loaded.line
    assert torch.equal(
        loaded.detector.state_dict()["roi_heads.box_heads.0.fc7.weight"],
        tensors["roi_head.bbox_head.shared_fcs.1.weight"],
    )


def test_loading_uses_up_no_random_numbers() -> None:
    tensors = checkpoint("official mask")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_detector(tensors)
    assert torch.equal(torch.rand(3), expected)


def test_names_of_the_other_convention_are_refused() -> None:
    with pytest.raises(UserError, match="this detector has the convention openmmlab"):
        renamed(tiny_detector(), "torchvision")
    with pytest.raises(UserError, match="this detector has the convention torchvision"):
        renamed(tiny_detector("mask-rcnn", "torchvision"), "official")
