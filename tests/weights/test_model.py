"""Whatever file people have becomes the network that it holds, and the line says what was found."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor

import convnext
from convnext.errors import UserError
from convnext.files import read_tensors, write_json, write_tensors
from convnext.models import create_model
from convnext.network import Network
from convnext.preprocess import Preprocess
from convnext.roadmap import diff
from convnext.spec import NetSpec
from convnext.weights import load, read_model, save_model
from tests.outside import SMALL, model_of, randomise
from tests.weights.test_locate import hub_cache


def images(side: int = 64, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(3))


def logits(net: torch.nn.Module, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        out = net(pictures)
    return out if isinstance(out, Tensor) else out.logits


def random_network(spec: NetSpec = SMALL, seed: int = 0) -> Network:
    net = Network(spec)
    randomise(net, seed)
    return net.eval()


def same(one: Network, other: Network) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_other_libraries_give_their_logits(tmp_path: Path, library: str, suffix: str) -> None:
    theirs = model_of(library)
    path = tmp_path / f"any{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), path)
    loaded = read_model(path)
    assert not diff(loaded.network.spec, SMALL)
    assert torch.allclose(logits(loaded.network, images()), logits(theirs, images()), rtol=1e-4, atol=1e-5)
    assert loaded.scheme == library
    assert loaded.line == (
        f"any{suffix}: {library} names, ConvNeXt with depths 1-2-3-1 and width 8, 7 classes, one set of weights"
    )
    assert loaded.preprocess == Preprocess.for_size(224)
    assert loaded.labels is None
    assert not loaded.network.training


def test_an_official_training_checkpoint_loads_with_its_ema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, ema = random_network(seed=1), random_network(seed=2)
    path = tmp_path / "checkpoint-299.pth"
    torch.save(
        {
            "model": {f"module.{name}": tensor for name, tensor in raw.state_dict().items()},
            "model_ema": ema.state_dict(),
            "optimizer": {"state": {}, "param_groups": [{"lr": np.float64(1e-3)}]},
            "epoch": 299,
            "args": argparse.Namespace(model="convnext_tiny", lr=4e-3),
        },
        path,
    )
    assert same(convnext.load(path), ema)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "checkpoint-299.pth: official names, ConvNeXt with depths 1-2-3-1 and width 8, 7 classes, EMA weights\n"
    )
    assert same(load(path, weights="raw", verbose=False), raw)
    assert capsys.readouterr().err == ""
    assert "raw weights" in read_model(path, weights="raw").line


@pytest.mark.parametrize("name", ["convnext_atto", "convnext_isotropic_small", "resnet50"])
def test_registered_models_are_named_and_load_by_plain_load_state_dict(tmp_path: Path, name: str) -> None:
    net = create_model(name, num_classes=7)
    randomise(net)
    torch.save({"model": net.state_dict()}, tmp_path / "x.pth")
    loaded = read_model(tmp_path / "x.pth")
    assert f", {name}, 7 classes" in loaded.line
    assert diff(loaded.network.spec, net.spec) == {}
    assert same(loaded.network, net)
    create_model(name, num_classes=7).load_state_dict(torch.load(tmp_path / "x.pth")["model"], strict=True)


def test_a_resnet_of_torchvision_loads(tmp_path: Path) -> None:
    theirs = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=5).eval()
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    loaded = read_model(tmp_path / "x.pth")
    assert torch.allclose(logits(loaded.network, images()), logits(theirs, images()), rtol=1e-3, atol=1e-4)
    assert "torchvision or timm names, ResNet with depths 1-2-1-1 and width 64, 5 classes" in loaded.line


def test_timms_four_dimensional_layers_load(tmp_path: Path) -> None:
    theirs = timm.create_model("convnext_atto", num_classes=4, in_chans=1).eval()
    randomise(theirs)
    assert theirs.stages[0].blocks[0].mlp.fc1.weight.ndim == 4
    torch.save({"state_dict": theirs.state_dict(), "arch": "convnext_atto"}, tmp_path / "x.pth")
    loaded = read_model(tmp_path / "x.pth")
    assert torch.allclose(
        logits(loaded.network, images(channels=1)), logits(theirs, images(channels=1)), rtol=1e-3, atol=1e-4
    )
    assert "timm names, convnext_atto (1 input channel(s)), 4 classes" in loaded.line
    assert len(loaded.preprocess.mean) == 1


def test_the_head_is_replaced_and_the_line_says_so(tmp_path: Path) -> None:
    net = random_network()
    save_model(tmp_path / "x.safetensors", net, labels=list("abcdefg"))
    loaded = read_model(tmp_path / "x.safetensors", num_classes=10, head_scale=0.001)
    assert "head replaced: 7 -> 10 classes" in loaded.line
    assert loaded.labels is None
    assert loaded.network.spec.num_classes == 10
    assert logits(loaded.network, images()).shape == (2, 10)
    assert loaded.network.head.weight.abs().max() < 1e-4
    kept = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("head.")}
    assert all(torch.equal(loaded.network.state_dict()[name], tensor) for name, tensor in kept.items())
    same_count = read_model(tmp_path / "x.safetensors", num_classes=7)
    assert same(same_count.network, net)
    assert same_count.labels == tuple("abcdefg")


def test_a_file_without_a_head_needs_a_class_count(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in random_network().state_dict().items() if "head" not in name}
    torch.save(tensors, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth has no head; say how many classes"):
        load(tmp_path / "x.pth")
    loaded = read_model(tmp_path / "x.pth", num_classes=3)
    assert "new head of 3 classes" in loaded.line
    assert logits(loaded.network, images()).isfinite().all()
    one = read_model(tmp_path / "x.pth", num_classes=1)
    assert one.network.head.weight.shape == (1, 64)
    assert one.network.head.bias.item() == 0


def test_options_for_training_on(tmp_path: Path) -> None:
    net = random_network()
    save_model(tmp_path / "x.safetensors", net)
    loaded = load(tmp_path / "x.safetensors", drop_path=0.3, stem_stride=2, verbose=False)
    assert loaded.drop_path == 0.3
    assert same(loaded, net)
    assert [tuple(stage.shape[2:]) for stage in loaded.features(images(32))] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    with pytest.raises(UserError, match="stem_stride 1 asks for a 3x3 stem, but the file's is 4x4; take 2 or 4"):
        load(tmp_path / "x.safetensors", stem_stride=1)


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    save_model(tmp_path / "x.safetensors", random_network())
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load(tmp_path / "x.safetensors", verbose=False)
    assert torch.equal(torch.rand(1), expected)


def test_our_own_file_keeps_everything(tmp_path: Path) -> None:
    spec = NetSpec.from_dict({**create_model("quarter:layernorm").spec.to_dict(), "num_classes": 3, "stem_stride": 2})
    raw, ema = random_network(spec, seed=1), random_network(spec, seed=2)
    how = Preprocess(size=48, mean=(0.5, 0.5, 0.5))
    save_model(
        tmp_path / "x.safetensors",
        raw,
        ema=ema.state_dict(),
        labels=("a", "ü", "c"),
        preprocess=how,
        recipe={"optim": {"lr": 1e-3}},
        metrics={"top1": 97.5},
        extra_tensors={"optimizer.0.exp_avg": torch.ones(3), "rng.torch": torch.arange(4, dtype=torch.uint8)},
        extra={"epoch": 12},
    )
    for choice, net, kind in (("auto", ema, "ema"), ("ema", ema, "ema"), ("raw", raw, "raw")):
        loaded = read_model(tmp_path / "x.safetensors", weights=choice)  # type: ignore[arg-type]
        assert same(loaded.network, net)
        assert loaded.network.spec == spec
        assert (loaded.weights, loaded.scheme) == (kind, "convnext")
        assert (loaded.preprocess, loaded.labels) == (how, ("a", "ü", "c"))
    assert loaded.metadata["recipe"] == {"optim": {"lr": 1e-3}}
    assert loaded.metadata["metrics"] == {"top1": 97.5}
    assert loaded.metadata["epoch"] == 12
    tensors, _ = read_tensors(tmp_path / "x.safetensors")
    assert torch.equal(tensors["optimizer.0.exp_avg"], torch.ones(3))
    assert "stem stride 2" in loaded.line


def test_auto_takes_what_the_file_says_was_scored_best(tmp_path: Path) -> None:
    raw, ema = random_network(seed=1), random_network(seed=2)
    save_model(tmp_path / "x.safetensors", raw, ema=ema, extra={"weights": "raw"})
    assert same(read_model(tmp_path / "x.safetensors").network, raw)
    assert same(read_model(tmp_path / "x.safetensors", weights="ema").network, ema)


def test_our_own_file_without_ema(tmp_path: Path) -> None:
    save_model(tmp_path / "x.safetensors", random_network())
    assert read_model(tmp_path / "x.safetensors").weights == "raw"
    with pytest.raises(UserError, match="has no ema weights; take weights=raw"):
        read_model(tmp_path / "x.safetensors", weights="ema")
    with pytest.raises(UserError, match="weights must be auto, ema or raw, got 'best'"):
        read_model(tmp_path / "x.safetensors", weights="best")  # type: ignore[arg-type]


def test_save_model_refuses_what_does_not_fit(tmp_path: Path) -> None:
    net, path = random_network(), tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="labels must be as many as the head has classes, 7, got 2"):
        save_model(path, net, labels=["a", "b"])
    with pytest.raises(UserError, match="spec must be given"):
        save_model(path, net.state_dict())
    with pytest.raises(UserError, match=r"must not be called raw\. or ema\., got ema\.x"):
        save_model(path, net, extra_tensors={"ema.x": torch.zeros(1)})
    assert not path.exists()
    save_model(path, net.state_dict(), spec=net.spec)
    assert same(load(path, verbose=False), net)


def test_our_own_file_with_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_model(path, random_network())
    tensors, metadata = read_tensors(path)
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if "gamma" not in name}, metadata)
    with pytest.raises(UserError, match="other tensors than its spec asks for"):
        load(path)
    write_tensors(path, tensors, {"labels": None})
    with pytest.raises(UserError, match="carries no spec"):
        load(path)


def test_a_transformers_folder_brings_labels_and_preprocessing(tmp_path: Path) -> None:
    theirs = model_of("transformers")
    theirs.config.id2label = {index: f"thing {index}" for index in range(7)}
    theirs.save_pretrained(tmp_path)
    write_json(
        tmp_path / "preprocessor_config.json",
        {
            "size": {"shortest_edge": 96},
            "crop_pct": 0.9,
            "resample": 2,
            "image_mean": [0.1] * 3,
            "image_std": [0.2] * 3,
        },
    )
    loaded = read_model(tmp_path)
    assert loaded.labels == tuple(f"thing {index}" for index in range(7))
    assert loaded.preprocess == Preprocess(size=96, crop=0.9, interpolation="bilinear", mean=(0.1,) * 3, std=(0.2,) * 3)
    assert torch.allclose(logits(loaded.network, images()), logits(theirs, images()), rtol=1e-4, atol=1e-5)


def test_transformers_without_a_head_loads(tmp_path: Path) -> None:
    model_of("transformers").convnext.save_pretrained(tmp_path)
    assert "transformers names" in read_model(tmp_path, num_classes=2).line


def test_a_hub_id_loads_offline(tmp_path: Path) -> None:
    theirs = model_of("timm")
    data = safetensors.torch.save(theirs.state_dict())
    config = (
        b'{"architecture": "convnext_tiny", "num_classes": 7, "label_names": ["a", "b", "c", "d", "e", "f", "g"],'
        b' "pretrained_cfg": {"input_size": [3, 288, 288], "crop_pct": 1.0, "interpolation": "bicubic"}}'
    )
    cache = hub_cache(tmp_path, "timm/convnext_tiny.fb_in1k", {"model.safetensors": data, "config.json": config})
    loaded = read_model("hf:timm/convnext_tiny.fb_in1k", cache_dir=cache, local_files_only=True)
    assert loaded.line.startswith("hf:timm/convnext_tiny.fb_in1k: timm names, ")
    assert loaded.labels == tuple("abcdefg")
    assert loaded.preprocess == Preprocess(size=288, crop=1.0)
    assert torch.allclose(logits(loaded.network, images()), logits(theirs, images()), rtol=1e-4, atol=1e-5)


def convnext_v2() -> dict[str, Tensor]:
    dims = {"depths": (1, 2, 3, 1), "dims": (8, 16, 32, 64)}
    return timm.create_model("convnextv2_tiny", num_classes=7, **dims).state_dict()


def head_norm_first() -> dict[str, Tensor]:
    dims = {"depths": (1, 2, 3, 1), "dims": (8, 16, 32, 64)}
    return timm.create_model("convnext_tiny_hnf", num_classes=7, **dims).state_dict()


def wide_resnet() -> dict[str, Tensor]:
    net = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=128)
    return net.state_dict()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict(), "it looks like a Transformer"),
        (lambda: torchvision.models.resnet18().state_dict(), "a ResNet with basic blocks"),
        (convnext_v2, "ConvNeXt V2"),
        (head_norm_first, "head_norm_first"),
        (wide_resnet, r"layer1\.0\.conv1\.weight is \(128, 64, 1, 1\) instead of"),
        (lambda: {"weight": torch.zeros(2)}, "no ConvNeXt or bottleneck ResNet"),
    ],
)
def test_other_architectures_are_refused(tmp_path: Path, tensors: Any, said: str) -> None:
    torch.save({"model": tensors()}, tmp_path / "my.pth")
    with pytest.raises(UserError, match=rf"^my\.pth .*{said}"):
        load(tmp_path / "my.pth")
