"""What is written for a library is opened by that library, holds the same bits, and comes back the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, ConvNextForImageClassification

from convnext.errors import UserError
from convnext.models import MODELS, create_model, model_spec
from convnext.network import Network
from convnext.preprocess import Preprocess
from convnext.spec import NetSpec
from convnext.weights import convert as convert_module
from convnext.weights import read_model, save_model
from convnext.weights.convert import check_holds, convert, timm_arguments
from tests.outside import SMALL, model_of, randomise

LABELS = ("tench", "Käse", "c", "d", "e", "f", "g")
HOW = Preprocess(size=64, crop=0.9, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def saved(path: Path, spec: NetSpec = SMALL, *, seed: int = 0) -> Network:
    """Write a file of ours with random raw and EMA weights; return the network of the EMA weights."""
    raw, ema = Network(spec), Network(spec)
    randomise(raw, seed + 100)
    randomise(ema, seed)
    labels = LABELS if spec.num_classes == 7 else None
    how = HOW if spec.in_channels == 3 else None
    save_model(path, raw, ema=ema, labels=labels, preprocess=how, recipe={"a": 1}, metrics={"top1": 50.0})
    return ema.eval()


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def identical(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def images(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(3))


def agree(ours: Network, theirs: nn.Module, channels: int = 3) -> bool:
    with torch.no_grad():
        out = theirs.eval()(images(channels))
        out = out if isinstance(out, Tensor) else out.logits
        return torch.allclose(ours(images(channels)), out, rtol=1e-4, atol=1e-5)


def out_name(to: str, suffix: str = ".pth") -> str:
    return {"transformers": "folder", "convnext": "own.safetensors"}.get(to, f"out{suffix}")


SPECS = {
    "usual": SMALL,
    "grey": replace(SMALL, in_channels=1),
    "no layer scale": replace(SMALL, layer_scale=None),
    "isotropic": replace(model_spec("convnext_isotropic_small"), depths=(3,), width=16, num_classes=7),
    "isotropic with scale": replace(model_spec("convnext_isotropic_large"), depths=(2,), width=16, num_classes=5),
    "atto": replace(model_spec("convnext_atto"), num_classes=7),
    "resnet": replace(model_spec("resnet50"), depths=(1, 2, 1, 1), num_classes=7),
    "grey resnet": replace(model_spec("resnet50"), depths=(1, 1, 1, 1), num_classes=7, in_channels=1),
    "roadmap": replace(model_spec("quarter:inverted"), num_classes=7),
    "small stem": replace(SMALL, stem_stride=2),
}
HELD = {
    "usual": {"official", "timm", "torchvision", "transformers"},
    "grey": {"official", "timm", "transformers"},
    "no layer scale": {"official", "transformers"},
    "isotropic": {"official"},
    "isotropic with scale": {"official"},
    "atto": {"official", "timm", "torchvision", "transformers"},
    "resnet": {"timm", "torchvision"},
    "grey resnet": {"timm"},
    "roadmap": set(),
    "small stem": set(),
}
ROUND_TRIPS = [
    (name, to, suffix)
    for name, schemes in HELD.items()
    for to in sorted({*schemes, "convnext"})
    for suffix in ((".pth", ".safetensors") if to not in ("transformers", "convnext") else ("",))
]


@pytest.mark.parametrize(("name", "to", "suffix"), ROUND_TRIPS)
def test_every_round_trip_is_exact(tmp_path: Path, name: str, to: str, suffix: str) -> None:
    ema = saved(tmp_path / "source.safetensors", SPECS[name])
    out = tmp_path / out_name(to, suffix)
    done = convert(tmp_path / "source.safetensors", out, to)  # type: ignore[arg-type]
    assert done.path == out
    assert done.weights == "ema"
    back = read_model(out)
    assert back.network.spec == ema.spec
    assert identical(back.network.state_dict(), ema.state_dict())
    assert entries(tmp_path) == sorted([out.name, "source.safetensors"])


REFUSALS = [
    (name, to) for name in SPECS for to in ("official", "timm", "torchvision", "transformers") if to not in HELD[name]
]


@pytest.mark.parametrize(("name", "to"), REFUSALS)
def test_what_a_library_cannot_hold_is_refused_with_the_reason(tmp_path: Path, name: str, to: str) -> None:
    reasons = {
        "grey": "takes 3 channels, not 1",
        "no layer scale": "always have LayerScale",
        "isotropic": "no isotropic ConvNeXt",
        "isotropic with scale": "no isotropic ConvNeXt",
        "resnet": "a net of the ResNet kind",
        "grey resnet": "of the ResNet kind|take 3 channels, not 1",
        "roadmap": "of the ResNet kind|width is 64, not 24, inverted is False, not True",
        "small stem": "there stem_stride is 4, not 2;",
    }
    saved(tmp_path / "source.safetensors", SPECS[name])
    with pytest.raises(UserError, match=rf"{to} cannot hold this network: .*({reasons[name]})"):
        convert(tmp_path / "source.safetensors", tmp_path / out_name(to), to)  # type: ignore[arg-type]
    assert entries(tmp_path) == ["source.safetensors"]


@pytest.mark.parametrize("name", MODELS)
def test_which_registered_models_go_where(name: str) -> None:
    held = set()
    for to in ("official", "timm", "torchvision", "transformers"):
        try:
            check_holds(MODELS[name].spec, to)
        except UserError:
            continue
        held.add(to)
    isotropic, resnet = "isotropic" in name, name.startswith("resnet")
    everywhere = {"official", "timm", "torchvision", "transformers"}
    assert held == ({"official"} if isotropic else {"timm", "torchvision"} if resnet else everywhere)


@pytest.mark.parametrize("name", ["convnext_atto", "convnext_nano", "convnext_tiny", "resnet50"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_opens_what_was_written_for_it(tmp_path: Path, name: str, suffix: str) -> None:
    spec = replace(model_spec(name), num_classes=7)
    ours = saved(tmp_path / "source.safetensors", spec)
    done = convert(tmp_path / "source.safetensors", tmp_path / f"out{suffix}", "timm")
    theirs = timm.create_model(name, num_classes=7, checkpoint_path=str(tmp_path / f"out{suffix}"))
    assert agree(ours, theirs)
    assert done.opened_by == f"timm.create_model({name!r}, num_classes=7, checkpoint_path={str(done.path)!r})"
    assert done.line.startswith(f"{done.path}: timm names, {name}, 7 classes, EMA weights; opened by ")


@pytest.mark.parametrize("name", ["usual", "grey", "resnet", "grey resnet"])
def test_the_arguments_we_name_build_the_same_net_in_timm(tmp_path: Path, name: str) -> None:
    spec = SPECS[name]
    ours = saved(tmp_path / "source.safetensors", spec)
    convert(tmp_path / "source.safetensors", tmp_path / "out.pth", "timm")
    arguments = eval(f"dict(zip_name={timm_arguments(spec)})")
    theirs = timm.create_model(arguments.pop("zip_name"), checkpoint_path=str(tmp_path / "out.pth"), **arguments)
    assert agree(ours, theirs, spec.in_channels)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("convnext_tiny", lambda: torchvision.models.convnext_tiny(num_classes=7)),
        ("resnet50", lambda: torchvision.models.resnet50(num_classes=7)),
    ],
)
def test_torchvision_takes_what_was_written_for_it(tmp_path: Path, name: str, build: Callable[[], nn.Module]) -> None:
    ours = saved(tmp_path / "source.safetensors", replace(model_spec(name), num_classes=7))
    done = convert(tmp_path / "source.safetensors", tmp_path / "out.pth", "torchvision")
    theirs = build()
    theirs.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True), strict=True)
    assert agree(ours, theirs)
    assert done.opened_by == f"torchvision.models.{name}(num_classes=7) and load_state_dict"


@pytest.mark.parametrize("name", ["usual", "grey", "no layer scale"])
def test_transformers_opens_the_folder_offline(tmp_path: Path, name: str) -> None:
    ours = saved(tmp_path / "source.safetensors", SPECS[name])
    done = convert(tmp_path / "source.safetensors", tmp_path / "folder", "transformers")
    theirs, report = ConvNextForImageClassification.from_pretrained(
        tmp_path / "folder", local_files_only=True, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert agree(ours, theirs, SPECS[name].in_channels)
    assert AutoConfig.from_pretrained(tmp_path / "folder").id2label == dict(enumerate(LABELS))
    assert theirs.config.label2id["Käse"] == 1
    assert "from_pretrained" in done.opened_by
    processor = AutoImageProcessor.from_pretrained(tmp_path / "folder", local_files_only=True)
    back = read_model(tmp_path / "folder")
    assert back.labels == LABELS
    if name == "usual":
        assert back.preprocess == HOW
        assert tuple(processor.image_mean) == HOW.mean
        assert processor.size["shortest_edge"] == HOW.size


def test_an_official_file_holds_its_weights_under_model(tmp_path: Path) -> None:
    ours = saved(tmp_path / "source.safetensors")
    convert(tmp_path / "source.safetensors", tmp_path / "out.pth", "official")
    held = torch.load(tmp_path / "out.pth", weights_only=True)
    assert held.keys() == {"model"}
    assert identical(held["model"], dict(ours.state_dict()))


@pytest.mark.parametrize("start", ["timm", "torchvision", "transformers"])
@pytest.mark.parametrize("end", ["timm", "torchvision", "transformers"])
def test_any_library_to_any_other_keeps_the_logits(tmp_path: Path, start: str, end: str) -> None:
    theirs = model_of(start)
    torch.save(theirs.state_dict(), tmp_path / "in.pth")
    out = tmp_path / out_name(end)
    convert(tmp_path / "in.pth", out, end)  # type: ignore[arg-type]
    file = out / "model.safetensors" if out.is_dir() else out
    tensors = safetensors.torch.load_file(file) if out.is_dir() else torch.load(file, weights_only=True)
    other = model_of(end)
    other.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        logits = [net(images()) for net in (theirs, other)]
    one, two = (out if isinstance(out, Tensor) else out.logits for out in logits)
    assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)


def test_raw_weights_can_be_chosen(tmp_path: Path) -> None:
    saved(tmp_path / "source.safetensors")
    raw = read_model(tmp_path / "source.safetensors", weights="raw").network
    done = convert(tmp_path / "source.safetensors", tmp_path / "out.pth", "timm", weights="raw")
    assert "raw weights" in done.line
    assert identical(read_model(tmp_path / "out.pth").network.state_dict(), raw.state_dict())


def test_our_own_file_keeps_recipe_metrics_labels_and_preprocessing(tmp_path: Path) -> None:
    saved(tmp_path / "source.safetensors")
    convert(tmp_path / "source.safetensors", tmp_path / "out.safetensors", "convnext")
    back = read_model(tmp_path / "out.safetensors")
    assert (back.labels, back.preprocess) == (LABELS, HOW)
    assert (back.metadata["recipe"], back.metadata["metrics"]) == ({"a": 1}, {"top1": 50.0})
    assert back.metadata["converted_from"] == {"scheme": "convnext", "weights": "ema"}


def test_an_earlier_conversion_is_replaced_and_other_folders_are_not(tmp_path: Path) -> None:
    saved(tmp_path / "one.safetensors", seed=1)
    two = saved(tmp_path / "two.safetensors", seed=2)
    out = tmp_path / "folder"
    convert(tmp_path / "one.safetensors", out, "transformers")
    convert(tmp_path / "two.safetensors", out, "transformers")
    assert identical(read_model(out).network.state_dict(), two.state_dict())
    assert entries(tmp_path) == ["folder", "one.safetensors", "two.safetensors"]
    (out / "thesis.txt").write_text("dear")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.txt\)"):
        convert(tmp_path / "one.safetensors", out, "transformers")
    assert (out / "thesis.txt").read_text() == "dear"
    with pytest.raises(UserError, match="is a file; transformers needs a folder"):
        convert(tmp_path / "one.safetensors", tmp_path / "two.safetensors", "transformers")


@pytest.mark.parametrize("failing", ["flush", "swap"])
def test_a_failure_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    old = saved(tmp_path / "one.safetensors", seed=1)
    saved(tmp_path / "two.safetensors", seed=2)
    out = tmp_path / "folder"
    convert(tmp_path / "one.safetensors", out, "transformers")
    rename = Path.rename

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def only_out_fails(self: Path, target: Path) -> Path:
        return full() if self.name == "new" else rename(self, target)  # type: ignore[return-value]

    if failing == "flush":
        monkeypatch.setattr(convert_module, "flush", full)
    else:
        monkeypatch.setattr(Path, "rename", only_out_fails)
    with pytest.raises(UserError, match=r"cannot write .*folder: the disk is full"):
        convert(tmp_path / "two.safetensors", out, "transformers")
    assert identical(read_model(out).network.state_dict(), old.state_dict())
    assert entries(tmp_path) == ["folder", "one.safetensors", "two.safetensors"]


@pytest.mark.parametrize("to", ["official", "timm", "torchvision", "transformers", "convnext"])
def test_an_unwritable_place_gets_a_sentence(tmp_path: Path, to: str) -> None:
    saved(tmp_path / "source.safetensors")
    with pytest.raises(UserError, match=r"cannot write .*missing"):
        convert(tmp_path / "source.safetensors", tmp_path / "missing" / out_name(to), to)  # type: ignore[arg-type]
    assert entries(tmp_path) == ["source.safetensors"]


def test_wrong_names_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no naming scheme tim; did you mean timm"):
        convert(tmp_path / "gone", tmp_path / "x.pth", "tim")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a timm file must end in \.pth or .*, got .*x\.onnx"):
        convert(tmp_path / "gone", tmp_path / "x.onnx", "timm")
    with pytest.raises(UserError, match=r"a convnext file must end in \.safetensors"):
        convert(tmp_path / "gone", tmp_path / "x.pth", "convnext")


def test_large_layers_stay_linear_and_small_ones_are_convolutions_in_timm(tmp_path: Path) -> None:
    for name, dimensions in (("convnext_atto", 4), ("convnext_tiny", 2)):
        net = create_model(name, num_classes=2)
        save_model(tmp_path / "source.safetensors", net)
        convert(tmp_path / "source.safetensors", tmp_path / "out.pth", "timm")
        assert torch.load(tmp_path / "out.pth")["stages.0.blocks.0.mlp.fc1.weight"].ndim == dimensions
