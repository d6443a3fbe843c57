"""Checkpoints of transformers, OpenMMLab and the official code, held against their own forward passes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

from convnext.bench.randomise import randomise
from convnext.errors import UserError
from convnext.layers import StochasticDepth
from convnext.network import Network
from convnext.segmentation.checkpoint import load_segmenter, renamed, save_segmenter
from convnext.segmentation.segmenter import Segmenter
from convnext.segmentation.spec import segmenter_spec
from convnext.spec import RESNET50
from tests.segmentation.made import CLASSES, NAMES, plain_forward, random_segmenter, tiny_spec
from tests.small_nets import SMALL_SPECS, small

PARTS = {
    "official": ("dwconv", "pwconv1", "pwconv2"),
    "openmmlab": ("depthwise_conv", "pointwise_conv1", "pointwise_conv2"),
}


def transformers_model(*, seed: int = 0, named: bool = True, **config: Any) -> UperNetForSemanticSegmentation:
    backbone = ConvNextConfig(
        depths=[1, 2, 3, 1],
        hidden_sizes=[8, 16, 32, 64],
        out_features=["stage1", "stage2", "stage3", "stage4"],
        layer_scale_init_value=1.0,
    )
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}
    model = UperNetForSemanticSegmentation(
        UperNetConfig(
            backbone_config=backbone,
            hidden_size=12,
            auxiliary_channels=6,
            **(names if named else {"num_labels": CLASSES}),
            **config,
        )
    )
    randomise(model, 64, 3, seed)
    return model.eval()


def both_logits(segmenter: Segmenter, images: Tensor) -> dict[str, Tensor]:
    assert segmenter.auxiliary_head is not None
    maps = segmenter.backbone(images)
    return {"main": segmenter.decode_head(maps), "aux": segmenter.auxiliary_head(maps[2])}


def assert_equal_to_transformers(segmenter: Segmenter, model: UperNetForSemanticSegmentation) -> None:
    segmenter, model = segmenter.double(), model.double()
    for size in ((64, 96), (97, 70)):
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            expected, maps = model(images).logits, model.backbone(images).feature_maps
            torch.testing.assert_close(segmenter.logits(images), expected, rtol=1e-10, atol=1e-10)
            ours = both_logits(segmenter, images)
            torch.testing.assert_close(ours["aux"], model.auxiliary_head(maps), rtol=1e-10, atol=1e-10)
    assert expected.std() > 0.01


def test_a_folder_of_transformers_gives_its_logits_and_labels(tmp_path: Path) -> None:
    model = transformers_model()
    model.save_pretrained(tmp_path)
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [1, 2, 3],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    loaded = load_segmenter(tmp_path)
    assert loaded.segmenter.spec == tiny_spec()
    assert loaded.labels == NAMES
    assert (loaded.mean, loaded.std) == ((0.1, 0.2, 0.3), (1, 2, 3))
    assert (loaded.scheme, loaded.weights) == ("transformers", "only")
    assert loaded.line == (
        f"{tmp_path}: transformers names, UperNet on a network with depths 1-2-3-1 and width 8, 5 classes, "
        "one set of weights"
    )
    assert not loaded.segmenter.training
    assert_equal_to_transformers(loaded.segmenter, model)


def test_ours_loads_into_transformers() -> None:
    segmenter, model = random_segmenter(), transformers_model()
    assert_unlike(segmenter, model)
    model.load_state_dict(renamed(segmenter, "transformers"), strict=True)
    assert_equal_to_transformers(segmenter, model)


def assert_unlike(segmenter: Segmenter, model: UperNetForSemanticSegmentation) -> None:
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert (segmenter.logits(images) - model(images).logits).abs().max() > 0.01


@pytest.mark.parametrize("scheme", PARTS)
def test_files_of_the_official_code_and_openmmlab_give_what_their_forward_gives(scheme: Any, tmp_path: Path) -> None:
    tensors = renamed(random_segmenter(seed=4), scheme)
    meta = {
        "CLASSES": NAMES,
        "PALETTE": [[0, 0, 0]] * CLASSES,
        "config": "norm_cfg = dict(type='SyncBN')",
        "iter": 160000,
    }
    path = tmp_path / "upernet_convnext_tiny.pth"
    torch.save({"meta": meta, "state_dict": {f"module.{name}": one for name, one in tensors.items()}}, path)
    loaded = load_segmenter(path)
    assert (loaded.scheme, loaded.labels, loaded.segmenter.spec) == (scheme, NAMES, tiny_spec())
    segmenter = loaded.segmenter.double()
    plain = {name: one.double() for name, one in tensors.items()}
    for size in ((64, 96), (97, 70)):
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            expected, ours = plain_forward(plain, images, *PARTS[scheme]), both_logits(segmenter, images)
        for name in ("main", "aux"):
            torch.testing.assert_close(ours[name], expected[name], rtol=1e-10, atol=1e-10)
    assert expected["main"].std() > 0.01


def test_the_official_names_are_these() -> None:
    names = set(renamed(random_segmenter(), "official"))
    assert {
        "backbone.downsample_layers.0.0.weight",
        "backbone.downsample_layers.3.1.bias",
        "backbone.stages.2.1.dwconv.weight",
        "backbone.stages.2.1.pwconv2.bias",
        "backbone.stages.1.0.gamma",
        "backbone.norm0.weight",
        "backbone.norm3.bias",
        "decode_head.conv_seg.weight",
        "decode_head.psp_modules.3.1.conv.weight",
        "decode_head.psp_modules.3.1.bn.running_var",
        "decode_head.bottleneck.conv.weight",
        "decode_head.lateral_convs.2.bn.bias",
        "decode_head.fpn_convs.2.conv.weight",
        "decode_head.fpn_bottleneck.bn.num_batches_tracked",
        "auxiliary_head.convs.0.conv.weight",
        "auxiliary_head.conv_seg.bias",
    } <= names
    assert not any("network" in name for name in names)


def test_later_openmmlab_files_keep_their_classes_elsewhere() -> None:
    file = {"state_dict": renamed(random_segmenter(), "openmmlab"), "meta": {"dataset_meta": {"classes": list(NAMES)}}}
    assert load_segmenter(file).labels == NAMES
    file["meta"] = {"CLASSES": NAMES[:3]}
    assert load_segmenter(file).labels is None


def test_labels_that_are_stand_ins_are_nobodys_names(tmp_path: Path) -> None:
    transformers_model(named=False).save_pretrained(tmp_path)
    assert load_segmenter(tmp_path).labels is None


def test_a_model_without_an_auxiliary_head_is_read_so(tmp_path: Path) -> None:
    transformers_model(use_auxiliary_head=False).save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path).segmenter
    assert segmenter.spec == replace(tiny_spec(), aux_channels=None)
    assert segmenter.auxiliary_head is None


def test_other_scales_of_the_pooling_come_from_the_config_or_are_asked_for(tmp_path: Path) -> None:
    model = transformers_model(pool_scales=[1, 2, 4])
    model.save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path).segmenter
    assert segmenter.spec.pool_scales == (1, 2, 4)
    assert_equal_to_transformers(segmenter, model)
    with pytest.raises(UserError, match=r"pools at 3 scales, .*config\.json"):
        load_segmenter(tmp_path / "model.safetensors")


@pytest.mark.parametrize("spec", [tiny_spec(), segmenter_spec(SMALL_SPECS["inverted"], CLASSES, channels=8)])
def test_our_own_file_carries_everything(spec: Any, tmp_path: Path) -> None:
    raw, ema, path = random_segmenter(spec, seed=1), random_segmenter(spec, seed=2), tmp_path / "best.safetensors"
    save_segmenter(
        path, raw, ema=ema, labels=NAMES, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), extra={"weights": "raw"}
    )
    for choice, kind, expected in (("auto", "raw", raw), ("ema", "ema", ema), ("raw", "raw", raw)):
        loaded = load_segmenter(tmp_path, weights=choice)  # type: ignore[arg-type]
        assert (loaded.weights, loaded.labels, loaded.scheme) == (kind, NAMES, "convnext")
        assert (loaded.mean, loaded.std, loaded.segmenter.spec) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), spec)
        assert_same_tensors(loaded.segmenter, expected)
    assert loaded.metadata["weights"] == "raw"
    save_segmenter(path, raw, ema=ema)
    assert load_segmenter(path).weights == "ema"


def assert_same_tensors(one: Segmenter, other: Segmenter) -> None:
    found, expected = one.state_dict(), other.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("scheme", ["convnext", "official", "openmmlab", "transformers"])
def test_bare_state_dicts_of_each_scheme_load_exactly(scheme: Any, tmp_path: Path) -> None:
    segmenter = random_segmenter(seed=6)
    torch.save(renamed(segmenter, scheme), tmp_path / "weights.pth")
    for source in (tmp_path / "weights.pth", renamed(segmenter, scheme)):
        loaded = load_segmenter(source)
        assert loaded.scheme == scheme
        assert_same_tensors(loaded.segmenter, segmenter)


def test_a_resnet_and_an_isotropic_network_load_too() -> None:
    for network in (small(RESNET50), small(SMALL_SPECS["convnext_isotropic_large"])):
        segmenter = random_segmenter(segmenter_spec(network, CLASSES, channels=8, aux_channels=6), seed=7)
        loaded = load_segmenter(segmenter.state_dict())
        assert loaded.segmenter.spec == segmenter_spec(
            replace(network, num_classes=1000), CLASSES, channels=8, aux_channels=6
        )
        assert_same_tensors(loaded.segmenter, segmenter)


def test_other_classes_get_fresh_classifiers_and_training_on_gets_stochastic_depth() -> None:
    segmenter = random_segmenter()
    loaded = load_segmenter(segmenter.state_dict(), num_classes=3, drop_path=0.2)
    assert loaded.segmenter.spec.num_classes == 3
    assert "classifiers replaced: 5 -> 3 classes" in loaded.line
    assert loaded.labels is None
    assert any(isinstance(module, StochasticDepth) for module in loaded.segmenter.modules())
    assert load_segmenter(segmenter.state_dict(), num_classes=CLASSES).line.endswith("5 classes, one set of weights")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code from a checkpoint was run",))


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    tensors = renamed(random_segmenter(), "official")
    torch.save({"state_dict": tensors, "meta": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="would run code"):
        load_segmenter(tmp_path / "trap.pth")
    with pytest.raises(UserError, match=r"is no UperNet: its parameters begin with downsample_layers"):
        load_segmenter(Network(SMALL_SPECS["convnext_tiny"]).state_dict())
    other = {name: one for name, one in tensors.items() if "psp" not in name and "fpn" not in name}
    with pytest.raises(UserError, match="looks like a segmentation model with another head"):
        load_segmenter(other)
    del tensors["decode_head.lateral_convs.1.bn.weight"]
    tensors["auxiliary_head.convs.1.conv.weight"] = torch.zeros(6, 6, 3, 3)
    with pytest.raises(
        UserError, match=r"it lacks decode_head\.lateral_convs\.1\.bn\.weight; it has besides auxiliary_head\.convs\.1"
    ):
        load_segmenter(tensors)
    with pytest.raises(UserError, match="weights must be auto, ema or raw"):
        load_segmenter(tensors, weights="both")  # type: ignore[arg-type]


def test_a_label_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="as many as there are classes, 5, got 4"):
        save_segmenter(tmp_path / "a.safetensors", random_segmenter(), labels=NAMES[:4])
