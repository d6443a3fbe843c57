"""The same weights give the same logits and gradients in timm, torchvision and transformers.

Every parameter is random here: with a fresh LayerScale of 1e-6 the blocks would hardly count and any check would pass.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import ConvNextConfig, ConvNextForImageClassification

from convnext.data.sources import open_source
from convnext.models import MODELS, create_model
from convnext.network import Network
from convnext.preprocess import Preprocess
from convnext.recipe import with_overrides
from convnext.recipes import RECIPES
from convnext.roadmap import diff, spec_at
from convnext.tasks.classify import ClassifyTask
from convnext.train.engine import Place
from convnext.train.loop import Settings, Trainer
from convnext.train.progress import SilentReporter
from convnext.weights.schemes import recognise
from convnext.weights.statedict import shapes_of, translate
from tests.outside import randomise

CLASSES = 11
TIMM = ("tiny", "small", "base", "atto", "femto", "pico", "nano")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An outside model and ours with its weights; `ours_to_theirs` maps parameter names."""

    ours: Network
    theirs: nn.Module
    ours_to_theirs: Callable[[str], str]


def pair(theirs: nn.Module, dtype: torch.dtype) -> Pair:
    theirs = theirs.to(dtype).eval()
    randomise(theirs)
    tensors = theirs.state_dict()
    found = recognise(shapes_of(tensors), "the outside model")
    ours = Network(found.spec).to(dtype).eval()
    ours.load_state_dict(translate(tensors, found, shapes_of(ours.state_dict()), "it"), strict=True)
    return Pair(ours=ours, theirs=theirs, ours_to_theirs=found.scheme.rename)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return ((ours - theirs.reshape(ours.shape)).abs().max() / theirs.abs().max()).item()


def logits_of(net: nn.Module, images: Tensor) -> Tensor:
    out = net(images)
    return out if isinstance(out, Tensor) else out.logits


def errors(both: Pair, images: Tensor) -> dict[str, float]:
    """Return the relative errors of logits and of each parameter's gradient under a random loss."""
    weights = torch.randn(len(images), CLASSES, generator=torch.Generator().manual_seed(2), dtype=images.dtype)
    found = {}
    logits = [logits_of(net, images) for net in (both.ours, both.theirs)]
    for out in logits:
        (out * weights).sum().backward()
    found["logits"] = error(*logits)
    theirs = dict(both.theirs.named_parameters())
    for name, parameter in both.ours.named_parameters():
        other = theirs.pop(both.ours_to_theirs(name))
        assert parameter.grad is not None
        assert other.grad is not None
        # A gradient of zeros would agree with anything.
        assert other.grad.abs().max() > 1e-6, name
        found[name] = error(parameter.grad, other.grad)
    assert not theirs, "parameters of the outside model that ours has not"
    return found


def pictures(batch: int, dtype: torch.dtype, side: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def outside(library: str, name: str) -> nn.Module:
    if library == "timm":
        return timm.create_model(name, num_classes=CLASSES)
    if library == "torchvision":
        return torchvision.models.get_model(name, num_classes=CLASSES)
    return ConvNextForImageClassification(ConvNextConfig(num_labels=CLASSES))


CASES = [
    *(("timm", f"convnext_{size}") for size in TIMM),
    ("torchvision", "convnext_tiny"),
    ("transformers", "convnext_tiny"),
    ("torchvision", "resnet50"),
]


@pytest.mark.parametrize(("library", "name"), CASES)
def test_logits_and_all_gradients_agree_in_float64(library: str, name: str) -> None:
    theirs = outside(library, name)
    if library == "transformers":
        theirs.convnext.layernorm.eps = 1e-6
    both = pair(theirs, torch.float64)
    registered = MODELS[name].spec
    assert diff(both.ours.spec, registered).keys() <= {"num_classes"}
    large = name in ("convnext_small", "convnext_base")
    found = errors(both, pictures(1 if large else 2, torch.float64))
    assert max(found.values()) < 1e-9, max(found, key=lambda key: found[key])


@pytest.mark.parametrize(
    ("library", "name"),
    [("timm", "convnext_atto"), ("torchvision", "convnext_tiny"), ("torchvision", "resnet50")],
)
def test_they_agree_in_float32(library: str, name: str) -> None:
    found = errors(pair(outside(library, name), torch.float32), pictures(2, torch.float32))
    assert found["logits"] < 1e-5
    assert max(found.values()) < 1e-3, max(found, key=lambda key: found[key])


def test_resnet50_agrees_in_training_mode_and_keeps_the_same_statistics() -> None:
    both = pair(outside("torchvision", "resnet50"), torch.float64)
    both.ours.train()
    both.theirs.train()
    before = both.ours.layer3[2].bn2.running_mean.clone()
    found = errors(both, pictures(4, torch.float64))
    assert max(found.values()) < 1e-9, max(found, key=lambda key: found[key])
    assert not torch.allclose(before, both.ours.layer3[2].bn2.running_mean)
    theirs = both.theirs.state_dict()
    for name, tensor in both.ours.state_dict().items():
        assert torch.allclose(tensor, theirs[name], rtol=1e-9, atol=1e-12), name


def test_transformers_own_last_eps_changes_logits_by_less_than_a_millionth() -> None:
    theirs = outside("transformers", "convnext_tiny")
    assert theirs.convnext.layernorm.eps == 1e-12
    both = pair(theirs, torch.float64)
    images = pictures(2, torch.float64)
    with torch.no_grad():
        effect = error(both.ours(images), logits_of(both.theirs, images))
    assert 1e-9 < effect < 1e-5


@pytest.mark.parametrize("change", ["weight", "gamma", "head"])
def test_the_comparison_sees_a_single_changed_value(change: str) -> None:
    both = pair(outside("timm", "convnext_atto"), torch.float64)
    name = {"weight": "stages.2.3.pwconv2.weight", "gamma": "stages.3.1.gamma", "head": "head.bias"}[change]
    with torch.no_grad():
        both.ours.state_dict()[name].view(-1)[5] += 1e-6
    images = pictures(2, torch.float64)
    with torch.no_grad():
        assert error(both.ours(images), both.theirs(images)) > 1e-9


@pytest.mark.parametrize("name", ["convnext_atto", "resnet50", "resnet50:layernorm"])
def test_nchw_and_channels_last_agree(name: str) -> None:
    net = create_model(name, num_classes=CLASSES).eval()
    randomise(net)
    net = net.double()
    images = pictures(2, torch.float64)
    results = []
    for model_format in (torch.contiguous_format, torch.channels_last):
        net = net.to(memory_format=model_format)
        for image_format in (torch.contiguous_format, torch.channels_last):
            arranged = images.contiguous(memory_format=image_format)
            assert arranged.is_contiguous(memory_format=image_format)
            net.zero_grad()
            logits = net(arranged)
            logits.square().sum().backward()
            results.append((logits.detach(), [parameter.grad.clone() for parameter in net.parameters()]))
    first_logits, first_grads = results[0]
    for logits, grads in results[1:]:
        assert error(logits, first_logits) < 1e-9
        assert all(error(one, other) < 1e-9 for one, other in zip(grads, first_grads, strict=True))


def losses_of(net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> list[float]:
    """Train with a plain loop, one step a batch."""
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    losses = []
    for images, labels in batches:
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_first_twenty_losses_equal_those_of_timm() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("convnext_atto", num_classes=4)
    for name, parameter in theirs.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.1, 0.5)
    found = recognise(shapes_of(theirs.state_dict()), "timm's")
    ours, changed = Network(found.spec), Network(found.spec)
    for net in (ours, changed):
        net.load_state_dict(translate(theirs.state_dict(), found, shapes_of(net.state_dict()), "it"))
    with torch.no_grad():
        changed.stages[2][0].pwconv1.weight.mul_(0.9)
    labels = [torch.randint(4, (8,)) for _ in range(20)]
    # Each class has a brightness of its own, so that there is something to learn.
    batches = [(torch.randn(8, 3, 32, 32) + 3.0 * label[:, None, None, None] - 4.5, label) for label in labels]
    expected = losses_of(theirs, batches)
    assert losses_of(ours, batches) == pytest.approx(expected, abs=1e-4)
    assert losses_of(changed, batches) != pytest.approx(expected, abs=1e-3)
    assert sum(expected[-5:]) < 0.9 * sum(expected[:5])
    assert len({round(loss, 4) for loss in expected}) == 20


def losses_in_our_loop(net: nn.Module, folder: Path) -> list[float]:
    """Train 22 steps on the digits with the package's own loop and return what it logged."""
    settings = ["data.size=32", "data.workers=0", "schedule.epochs=1", "schedule.warmup_epochs=0.2", "ema.decay=none"]
    settings += ["engine.log_every=1"]
    recipe = with_overrides(RECIPES["default"], [*settings, "regularise.drop_path=0", "evaluate.weights=raw"])
    source = open_source("digits")
    source = replace(source, val=replace(source.val, entries=source.val.entries[:9], labels=source.val.labels[:9]))
    task = ClassifyTask(source, recipe, preprocess=Preprocess(size=32, crop=1.0), seed=0)
    folder.mkdir()
    run = Settings(
        folder=folder,
        title="",
        seed=0,
        place=Place(device=torch.device("cpu")),
        description={},
    )
    assert Trainer(task, net, recipe, run, SilentReporter()).run()
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "step"]


def test_the_first_twenty_losses_equal_those_of_timm_in_our_loop(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("convnext_atto", num_classes=10)
    for name, parameter in theirs.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.1, 0.5)
    found = recognise(shapes_of(theirs.state_dict()), "timm's")
    ours = Network(found.spec)
    ours.load_state_dict(translate(theirs.state_dict(), found, shapes_of(ours.state_dict()), "it"))
    expected = losses_in_our_loop(theirs, tmp_path / "timm")
    assert len(expected) == 22 and expected[-1] < 0.8 * expected[0]
    assert losses_in_our_loop(ours, tmp_path / "ours")[:20] == pytest.approx(expected[:20], abs=1e-4)


def test_the_last_roadmap_row_is_convnext_tiny_without_layer_scale() -> None:
    row = spec_at("separate_downsampling", "resnet50")
    assert diff(row, MODELS["convnext_tiny"].spec) == {"layer_scale": (None, 1e-6)}
    plain = Network(row).eval()
    randomise(plain)
    scaled = create_model("convnext_tiny").eval()
    ones = {name: torch.ones_like(tensor) for name, tensor in scaled.state_dict().items() if "gamma" in name}
    assert len(ones) == 18
    scaled.load_state_dict(plain.state_dict() | ones, strict=True)
    images = pictures(2, torch.float32)
    with torch.no_grad():
        assert torch.equal(plain(images), scaled(images))
        scaled.stages[1][2].gamma.mul_(1.01)
        assert not torch.equal(plain(images), scaled(images))
