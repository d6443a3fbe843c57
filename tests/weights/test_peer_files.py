"""Weights of other libraries' networks: from a file of the user's, as the library has them, and written back."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from convnext.errors import UserError
from convnext.models import create_model
from convnext.peer_spec import PeerSpec
from convnext.predict import predict_pictures
from convnext.weights import read_model, save_model
from convnext.weights.convert import convert
from convnext.weights.peer_files import named_peer

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def randomised(net: nn.Module) -> nn.Module:
    """Draw every parameter and statistic, so that nothing is silent by its start."""
    generator = torch.Generator().manual_seed(1)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator).abs() + 0.01)
    return net.eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_timm_gives_timms_logits(suffix: str, tmp_path: Path) -> None:
    net = randomised(timm.create_model("resnet18", num_classes=7))
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": net.state_dict()}, path)
    else:
        save_file(net.state_dict(), path)
    loaded = read_model(f"timm:resnet18.tv_in1k@{path}")
    torch.testing.assert_close(loaded.network(IMAGES), net(IMAGES))
    assert loaded.network.spec == PeerSpec(library="timm", name="resnet18", num_classes=7)
    # As timm's entry for the tag says: bilinear, 0.875.
    assert (loaded.preprocess.interpolation, loaded.preprocess.crop) == ("bilinear", 0.875)
    assert loaded.scheme == "timm" and loaded.labels is None and "timm's own network" in loaded.line


def test_a_file_of_torchvision_gives_torchvisions_logits(tmp_path: Path) -> None:
    net = randomised(torchvision.models.resnet18(num_classes=1000))
    torch.save(net.state_dict(), tmp_path / "mine.pth")
    loaded = read_model(f"torchvision:resnet18@{tmp_path / 'mine.pth'}")
    torch.testing.assert_close(loaded.network(IMAGES), net(IMAGES))
    theirs = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert (loaded.preprocess.size, loaded.preprocess.resize_px) == (theirs.crop_size[0], theirs.resize_size[0])
    assert loaded.preprocess.interpolation == "bilinear"
    assert loaded.labels is not None and len(loaded.labels) == 1000


@pytest.mark.parametrize("name", ["swin_tiny", "timm:swin_tiny_patch4_window7_224"])
def test_weights_that_the_library_fetches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = timm.create_model
    asked: list[tuple[str, bool]] = []

    def create(model: str, pretrained: bool = False, **more: Any) -> nn.Module:
        if pretrained:
            asked.append((model, pretrained))
            return randomised(real(model, **more))
        return real(model, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", create)
    loaded = read_model(name)
    assert asked == [("swin_tiny_patch4_window7_224", True)]
    theirs = randomised(real("swin_tiny_patch4_window7_224"))
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(loaded.network(images), theirs(images))
    assert loaded.preprocess.size == 224 and loaded.preprocess.crop == 0.9
    assert loaded.labels is not None and len(loaded.labels) == 1000


def test_our_own_file_of_a_peer_comes_back_whole(tmp_path: Path) -> None:
    network = create_model("swin_tiny", num_classes=3, size=64)
    randomised(network)
    save_model(tmp_path / "run.safetensors", network, labels=["a", "b", "c"])
    loaded = read_model(tmp_path / "run.safetensors")
    # Swin keeps index tables that no file holds; a network built without memory would have garbage there.
    torch.testing.assert_close(loaded.network(IMAGES), network(IMAGES))
    assert loaded.labels == ("a", "b", "c") and loaded.network.spec == network.spec
    again = read_model(tmp_path / "run.safetensors", classes=["c", "a"])
    torch.testing.assert_close(again.network(IMAGES), network(IMAGES)[:, [2, 0]])
    assert list(predict_pictures(loaded.network, [], preprocess=loaded.preprocess, labels=loaded.labels, top=1)) == []


def test_a_peer_is_written_for_its_own_library_only(tmp_path: Path) -> None:
    network = randomised(create_model("timm:resnet18", num_classes=3))
    save_model(tmp_path / "own.safetensors", network)  # type: ignore[arg-type]
    done = convert(tmp_path / "own.safetensors", tmp_path / "back.pth", "timm")
    theirs = eval(done.opened_by, {"timm": timm}).eval()
    torch.testing.assert_close(theirs(IMAGES), network(IMAGES))
    with pytest.raises(UserError, match=r"torchvision cannot hold timm:resnet18; convert it to timm or convnext"):
        convert(tmp_path / "own.safetensors", tmp_path / "other.pth", "torchvision")


def test_what_a_source_names() -> None:
    found = named_peer("timm:resnet18.a1_in1k@weights/x.pth")
    assert found is not None
    assert (found.spec.name, found.tag, found.file) == ("resnet18", "a1_in1k", Path("weights/x.pth"))
    assert named_peer("hf:timm/resnet18.a1_in1k") is None and named_peer("runs/swin_tiny") is None


def test_a_folder_with_the_name_of_a_system_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swin_tiny").mkdir()
    assert named_peer("swin_tiny") is None and named_peer("swin_small") is not None


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "timm:resnet34@{}",
            r"timm:resnet34@.* does not fit: layer1.2.bn1.bias is missing in it and 64 in the network",
        ),
        ("timm:resnet18@nowhere.pth", "nowhere.pth"),
        ("timm:nothing@{}", "timm has no model nothing"),
        ("timm:resnet19", "timm has no model resnet19; did you mean resnet18"),
        ("torchvision:resnet19", "torchvision has no classifier resnet19; did you mean resnet18"),
        ("timm:resnet18@", "timm:resnet18@ names no file after the @"),
        ("torchvision:resnet18@{}", "has no head"),
    ],
)
def test_weights_that_do_not_fit_are_told_in_one_sentence(source: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    tensors = timm.create_model("resnet18", num_classes=7).state_dict()
    if source.startswith("torchvision"):
        del tensors["fc.weight"]
    torch.save(tensors, path)
    with pytest.raises(UserError, match=sentence):
        read_model(source.format(path))


def test_weights_that_cannot_be_fetched_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = timm.create_model

    def create(model: str, pretrained: bool = False, **more: Any) -> nn.Module:
        if pretrained:
            raise OSError("no way to the hub")
        return real(model, **more)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(UserError, match=r"timm gave no weights for resnet18 \(no way to the hub\).*timm:resnet18@FILE"):
        read_model("timm:resnet18")
