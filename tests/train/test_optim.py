"""Groups by decay and by layer, steps by hand, and the optimizer's state in and out."""

from itertools import product
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from convnext.backbone import Backbone
from convnext.errors import UserError
from convnext.models import MODELS, model_spec
from convnext.network import Network
from convnext.recipe import Optim
from convnext.roadmap import REGIMES, STEPS
from convnext.train.optim import (
    build_optimizer,
    decay_layers,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
    set_learning_rate,
)
from tests.flops import on_meta
from tests.train.tiny import BATCH_NET, LAYER_NET

ROWS = [f"{regime}:{step.name}" for regime, step in product(REGIMES, STEPS)]
SGD = Optim(name="sgd", lr=0.5, weight_decay=0.1, momentum=0.75)


def test_decay_reaches_kernels_and_matrices_only() -> None:
    decayed, other = parameter_groups(Network(LAYER_NET), Optim(weight_decay=0.05))
    assert (decayed.weight_decay, other.weight_decay) == (0.05, 0.0)
    assert (decayed.name, decayed.lr_scale, other.name, other.lr_scale) == ("decayed", 1.0, "not decayed", 1.0)
    assert {
        "downsample_layers.0.0.weight",
        "downsample_layers.1.1.weight",
        "stages.0.0.dwconv.weight",
        "stages.0.0.pwconv1.weight",
        "stages.0.0.pwconv2.weight",
        "head.weight",
    } <= set(decayed.parameters)
    assert {
        "downsample_layers.0.1.weight",
        "downsample_layers.1.0.weight",
        "stages.0.0.norm.weight",
        "stages.0.0.dwconv.bias",
        "stages.0.0.gamma",
        "norm.weight",
        "head.bias",
    } <= set(other.parameters)
    everything = sorted(name for name, _ in Network(LAYER_NET).named_parameters())
    assert sorted((*decayed.parameters, *other.parameters)) == everything


@pytest.mark.parametrize("model", ["convnext_tiny", "convnext_isotropic_large", "resnet50", "resnet50:depthwise"])
def test_decay_leaves_out_what_timm_leaves_out(model: str) -> None:
    network = on_meta(model_spec(model))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    theirs = {
        group["weight_decay"]: [names[id(parameter)] for parameter in group["params"]]
        for group in param_groups_weight_decay(network, 0.05)
    }
    ours = {group.weight_decay: group.parameters for group in parameter_groups(network, Optim(weight_decay=0.05))}
    assert {decay: sorted(found) for decay, found in ours.items()} == {
        decay: sorted(found) for decay, found in theirs.items()
    }


def test_layer_scale_of_batch_norm_nets_is_not_decayed_though_it_has_three_dimensions() -> None:
    network = Network(BATCH_NET)
    gammas = [name for name, _ in network.named_parameters() if name.endswith("gamma")]
    assert gammas and all(network.get_parameter(name).ndim == 3 for name in gammas)
    decayed, other = parameter_groups(network, Optim())
    assert set(gammas) <= set(other.parameters)
    assert "layer1.0.conv1.weight" in decayed.parameters and "layer1.0.bn1.weight" in other.parameters


def test_decay_of_everything_is_one_group() -> None:
    network = Network(BATCH_NET)
    (only,) = parameter_groups(network, Optim(weight_decay=1e-4, decay_all=True))
    assert only.weight_decay == 1e-4
    assert list(only.parameters) == [name for name, _ in network.named_parameters()]


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    groups = parameter_groups(model, Optim())
    assert [(group.name, group.parameters) for group in groups] == [("not decayed", ("bias",))]
    build_optimizer(model, groups, Optim())
    network = Network(LAYER_NET)
    network.downsample_layers[0].requires_grad_(False)
    groups = parameter_groups(network, Optim(layer_decay=0.8))
    assert groups[0].name == "stage 1 (block 1), decayed" and groups[0].lr_scale == pytest.approx(0.8**2)


def layer_of_each_parameter(network: nn.Module, optim: Optim) -> dict[str, float]:
    """Return by parameter how many layers it stands below the head."""
    found: dict[str, float] = {}
    for group in parameter_groups(network, optim):
        for name in group.parameters:
            assert name not in found, f"{name} is in two groups"
            found[name] = torch.log(torch.tensor(group.lr_scale)).item() / torch.log(torch.tensor(0.5)).item()
    return found


# The layer of everything whose name starts so, written by hand from section 4 of the facts of the paper.
LARGE = {
    "downsample_layers.0.": 0,
    "stages.0.": 1,
    "downsample_layers.1.": 2,
    "stages.1.": 2,
    "downsample_layers.2.": 3,
    **{f"stages.2.{block}.": 3 for block in (0, 1, 2)},
    **{f"stages.2.{block}.": 4 for block in (3, 4, 5)},
    **{f"stages.2.{block}.": 5 for block in (6, 7, 8)},
    **{f"stages.2.{block}.": 6 for block in (9, 10, 11)},
    **{f"stages.2.{block}.": 7 for block in (12, 13, 14)},
    **{f"stages.2.{block}.": 8 for block in (15, 16, 17)},
    **{f"stages.2.{block}.": 9 for block in (18, 19, 20)},
    **{f"stages.2.{block}.": 10 for block in (21, 22, 23)},
    **{f"stages.2.{block}.": 11 for block in (24, 25, 26)},
    "downsample_layers.3.": 12,
    "stages.3.": 12,
    "norm.": 13,
    "head.": 13,
}
TINY = {
    "downsample_layers.0.": 0,
    "stages.0.": 1,
    "downsample_layers.1.": 2,
    "stages.1.": 2,
    "downsample_layers.2.": 3,
    **{f"stages.2.{block}.": 3 for block in (0, 1, 2)},
    **{f"stages.2.{block}.": 4 for block in (3, 4, 5)},
    **{f"stages.2.{block}.": 5 for block in (6, 7, 8)},
    "downsample_layers.3.": 6,
    "stages.3.": 6,
    "norm.": 7,
    "head.": 7,
}
NANO = {
    "downsample_layers.0.": 0,
    "stages.0.": 1,
    "downsample_layers.1.": 2,
    "stages.1.": 2,
    "downsample_layers.2.": 3,
    **{f"stages.2.{block}.": 3 for block in (0, 1, 2)},
    **{f"stages.2.{block}.": 4 for block in (3, 4, 5)},
    **{f"stages.2.{block}.": 5 for block in (6, 7)},
    "downsample_layers.3.": 6,
    "stages.3.": 6,
    "norm.": 7,
    "head.": 7,
}
RESNET = {
    "conv1.": 0,
    "bn1.": 0,
    "layer1.": 1,
    **{f"layer2.{block}.": 2 for block in (0, 1, 2)},
    "layer2.3.": 3,
    **{f"layer3.{block}.": 4 for block in (0, 1, 2)},
    **{f"layer3.{block}.": 5 for block in (3, 4, 5)},
    "layer4.": 6,
    "fc.": 7,
}
ROADMAP_ROW = {
    "conv1.": 0,
    "layer1.": 1,
    "layer2.": 2,
    **{f"layer3.{block}.": 3 for block in (0, 1, 2)},
    **{f"layer3.{block}.": 4 for block in (3, 4, 5)},
    **{f"layer3.{block}.": 5 for block in (6, 7, 8)},
    "layer4.": 6,
    "fc.": 7,
}
ISOTROPIC = {
    "stem.": 0,
    **{f"blocks.{block}.": 1 for block in (0, 1, 2)},
    **{f"blocks.{block}.": 2 for block in (3, 4, 5)},
    **{f"blocks.{block}.": 3 for block in (6, 7, 8)},
    **{f"blocks.{block}.": 4 for block in (9, 10, 11)},
    **{f"blocks.{block}.": 5 for block in (12, 13, 14)},
    **{f"blocks.{block}.": 6 for block in (15, 16, 17)},
    "norm.": 7,
    "head.": 7,
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("convnext_tiny", TINY),
        *((f"convnext_{size}", LARGE) for size in ("small", "base", "large", "xlarge")),
        ("convnext_nano", NANO),
        ("resnet50", RESNET),
        ("resnet50:move_up", ROADMAP_ROW),
        ("convnext_isotropic_small", ISOTROPIC),
    ],
)
def test_layers_by_hand(model: str, expected: dict[str, int]) -> None:
    found = layer_of_each_parameter(on_meta(model_spec(model)), Optim(layer_decay=0.5))
    last = max(expected.values())
    by_hand = {name: [layer for start, layer in expected.items() if name.startswith(start)] for name in found}
    assert {name: [round(last - below)] for name, below in found.items()} == by_hand


@pytest.mark.parametrize("model", [*MODELS, *ROWS])
def test_each_parameter_of_each_model_is_in_one_group(model: str) -> None:
    network = on_meta(model_spec(model))
    found = layer_of_each_parameter(network, Optim(layer_decay=0.5))
    assert sorted(found) == sorted(name for name, _ in network.named_parameters())
    # Every layer has parameters, and the rates rise by one factor a layer in the order of the forward pass.
    last = len(decay_layers(network.spec)) - 1
    assert {round(below) for below in found.values()} == set(range(last + 1))
    order = [round(found[name]) for names in network.path for part in names for name in found if name.startswith(part)]
    assert order == sorted(order, reverse=True)
    assert {round(found[name]) for name in found if name.startswith(network.head_name)} == {0}


def test_number_of_layers_between_stem_and_head() -> None:
    counts = {name: len(decay_layers(entry.spec)) - 2 for name, entry in MODELS.items()}
    assert counts == {
        "convnext_atto": 5,
        "convnext_femto": 5,
        "convnext_pico": 5,
        "convnext_nano": 6,
        "convnext_tiny": 6,
        "convnext_small": 12,
        "convnext_base": 12,
        "convnext_large": 12,
        "convnext_xlarge": 12,
        "convnext_isotropic_small": 6,
        "convnext_isotropic_base": 6,
        "convnext_isotropic_large": 12,
        "resnet50": 6,
        "resnet200": 22,
    }


def test_the_stem_of_convnext_small_learns_at_0_055_of_the_rate() -> None:
    first, *_, last = parameter_groups(on_meta(model_spec("convnext_small")), Optim(layer_decay=0.8))
    assert first.name == "stem, decayed" and f"{first.lr_scale:.3f}" == "0.055"
    assert last.name == "norm and head, not decayed" and last.lr_scale == 1
    # timm counts every block as a layer: the same factor means another thing there, as docs/recipes.md says.
    with torch.device("meta"):
        theirs = param_groups_layer_decay(timm.create_model("convnext_small"), layer_decay=0.8)
    assert f"{min(group['lr_scale'] for group in theirs):.5f}" == "0.00026"


class Inside(nn.Module):
    """A larger model, as a detector will be."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Network(LAYER_NET)
        self.norm = nn.LayerNorm(2)
        self.boxes = nn.Linear(2, 2)


def test_what_stands_outside_the_network_counts_as_head() -> None:
    found = layer_of_each_parameter(Inside(), Optim(layer_decay=0.5))
    assert {name: round(below) for name, below in found.items() if "backbone" not in name} == {
        "norm.weight": 0,
        "norm.bias": 0,
        "boxes.weight": 0,
        "boxes.bias": 0,
    }
    assert round(found["backbone.stages.1.0.gamma"]) == 1 and round(found["backbone.downsample_layers.0.0.bias"]) == 3


def test_layers_of_an_unknown_model_are_refused() -> None:
    with pytest.raises(UserError, match=r"optim\.layer_decay needs a network of this package.*got Linear; set optim"):
        parameter_groups(nn.Linear(2, 2), Optim(layer_decay=0.9))


def test_each_group_has_its_share_of_the_learning_rate() -> None:
    model = Network(LAYER_NET)
    optim = Optim(lr=0.4, layer_decay=0.5, weight_decay=0.1)
    optimizer = build_optimizer(model, parameter_groups(model, optim), optim)
    rates = [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1, 1]
    assert [group["lr"] for group in optimizer.param_groups] == [0.4 * rate for rate in rates]
    set_learning_rate(optimizer, 3.0)
    set_learning_rate(optimizer, 2.0)
    assert [group["lr"] for group in optimizer.param_groups] == [2 * rate for rate in rates]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0] * 4
    assert optimizer.param_groups[0]["name"] == "stem, decayed"


def test_steps_equal_adamw_written_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optim = Optim(lr=0.5, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-3)
    optimizer = build_optimizer(model, parameter_groups(model, optim), optim)
    assert all(group["fused"] for group in optimizer.param_groups)
    expected = {name: value.detach().clone() for name, value in model.named_parameters()}
    first = {name: torch.zeros_like(value) for name, value in expected.items()}
    second = {name: torch.zeros_like(value) for name, value in expected.items()}
    for step, lr in enumerate((0.5, 0.2, 0.3), start=1):
        set_learning_rate(optimizer, lr)
        model(torch.randn(4, 3, dtype=torch.float64)).square().sum().backward()
        for name, value in model.named_parameters():
            gradient = value.grad
            assert gradient is not None
            if name == "weight":
                expected[name] *= 1 - lr * 0.1
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient**2
            root = (second[name] / (1 - 0.9**step)).sqrt() + 1e-3
            expected[name] -= lr * first[name] / (1 - 0.8**step) / root
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("decay_all", [True, False])
def test_steps_equal_sgd_written_by_hand(decay_all: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optim = Optim(name="sgd", lr=0.5, weight_decay=0.1, momentum=0.75, decay_all=decay_all)
    optimizer = build_optimizer(model, parameter_groups(model, optim), optim)
    expected = {name: value.detach().clone() for name, value in model.named_parameters()}
    speed = {name: torch.zeros_like(value) for name, value in expected.items()}
    for lr in (0.05, 0.02, 0.03):
        set_learning_rate(optimizer, lr)
        model(torch.randn(4, 3, dtype=torch.float64)).square().sum().backward()
        for name, value in model.named_parameters():
            gradient = value.grad
            assert gradient is not None
            decay = 0.1 if decay_all or name == "weight" else 0
            speed[name] = 0.75 * speed[name] + gradient + decay * expected[name]
            expected[name] -= lr * speed[name]
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("optim", "slots"), [(Optim(lr=0.1), ("step", "exp_avg", "exp_avg_sq")), (SGD, ("momentum_buffer",))]
)
def test_restored_state_goes_on_the_same_also_in_another_memory_format(optim: Optim, slots: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 6, 6)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model, build_optimizer(model, parameter_groups(model, optim), optim)

    model, optimizer = make()
    step(model, optimizer)
    stored = {name: value.clone().contiguous() for name, value in optimizer_tensors(model, optimizer).items()}
    assert sorted(stored) == sorted(f"{name}/{slot}" for name in ("weight", "bias") for slot in slots)
    other, fresh = make()
    other.load_state_dict(model.state_dict())
    restore_optimizer(other, fresh, stored)
    for _ in range(2):
        step(model, optimizer)
        step(other, fresh)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    # The state mattered.
    forgetful, again = make()
    forgetful.load_state_dict(model.state_dict())
    step(forgetful, again)
    step(model, optimizer)
    assert not torch.equal(model.weight, forgetful.weight)


@pytest.mark.parametrize("optim", [Optim(), SGD, Optim(name="sgd", momentum=0.0)])
def test_before_the_first_step_there_is_no_state_to_keep(optim: Optim) -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, parameter_groups(model, optim), optim)
    assert optimizer_tensors(model, optimizer) == {}
    # What torch itself leaves behind after loading a state without momentum.
    optimizer.state[model.weight]["momentum_buffer"] = None
    assert optimizer_tensors(model, optimizer) == {}


class Larger(nn.Module):
    """What a detector and a segmenter look like to the optimizer: a backbone with norms of its outputs, and heads."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.backbone = Backbone(network, norm_outputs=True)
        self.neck = nn.Conv2d(4, 4, 1)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head.stages = nn.Linear(4, 4)  # a name that looks like the network's, outside it


def official_groups(names: dict[str, tuple[int, ...]], *, by: str, num_layers: int, rate: float) -> dict[str, Any]:
    """Return the rate and the decay of each parameter as the official code says, for its names without "network."."""
    found = {}
    for name, shape in names.items():
        words = name.split(".")
        if words[:2] == ["backbone", "downsample_layers"]:
            number = 0 if by == "stage_wise" else {"0": 0, "1": 2, "2": 3, "3": num_layers}[words[2]]
        elif words[:2] == ["backbone", "stages"]:
            by_layers = {"0": 1, "1": 2, "2": 3 + int(words[3]) // 3, "3": num_layers}
            number = int(words[2]) + 1 if by == "stage_wise" else by_layers[words[2]]
        else:
            number = num_layers + 1
        undecayed = len(shape) == 1 or name.endswith(".bias")
        found[name] = (rate ** (num_layers + 1 - number), 0.0 if undecayed else 0.05)
    return found


@pytest.mark.parametrize(("by", "theirs"), [("layers", "layer_wise"), ("stages", "stage_wise")])
@pytest.mark.parametrize(
    ("model", "num_layers"), [("convnext_tiny", 6), ("convnext_small", 12), ("convnext_xlarge", 12)]
)
def test_groups_in_a_larger_model_are_the_official_codes(by: Any, theirs: str, model: str, num_layers: int) -> None:
    with torch.device("meta"):
        larger = Larger(on_meta(model_spec(model)))
    ours = {
        name.replace("backbone.network.", "backbone."): (group.lr_scale, group.weight_decay)
        for group in parameter_groups(larger, Optim(layer_decay=0.9, weight_decay=0.05, decay_by=by))
        for name in group.parameters
    }
    shapes = {
        name.replace("backbone.network.", "backbone."): tuple(parameter.shape)
        for name, parameter in larger.named_parameters()
    }
    expected = official_groups(shapes, by=theirs, num_layers=num_layers, rate=0.9)
    assert {"backbone.norm0.weight", "backbone.norm3.bias", "head.stages.weight", "neck.weight"} < set(ours)
    assert set(ours) == set(expected)
    for name, (scale, decay) in expected.items():
        assert ours[name][0] == pytest.approx(scale, rel=1e-12) and ours[name][1] == decay, name


def test_stages_by_hand() -> None:
    """The oddities: downsampling learns as slowly as the stem, and empty layers lie between stage 4 and the head."""

    def below_head(model: str) -> dict[str, int]:
        found = layer_of_each_parameter(on_meta(model_spec(model)), Optim(layer_decay=0.5, decay_by="stages"))
        return {name: round(below) for name, below in found.items()}

    tiny, small = below_head("convnext_tiny"), below_head("convnext_small")
    for name, of_tiny, of_small in (
        ("downsample_layers.0.0.weight", 7, 13),
        ("downsample_layers.3.1.weight", 7, 13),
        ("stages.0.2.gamma", 6, 12),
        ("stages.1.0.norm.bias", 5, 11),
        ("stages.2.8.pwconv1.weight", 4, 10),
        ("stages.3.0.dwconv.weight", 3, 9),
        ("norm.weight", 0, 0),
        ("head.bias", 0, 0),
    ):
        assert (name, tiny[name], small[name]) == (name, of_tiny, of_small)


@pytest.mark.parametrize("model", [*MODELS, *ROWS])
def test_by_stages_each_parameter_of_each_model_is_in_one_group(model: str) -> None:
    network = on_meta(model_spec(model))
    found = layer_of_each_parameter(network, Optim(layer_decay=0.5, decay_by="stages"))
    assert sorted(found) == sorted(name for name, _ in network.named_parameters())
    last = len(decay_layers(network.spec)) - 1
    stages = len(network.spec.depths)
    assert len(decay_layers(network.spec, "stages")) == last + 1
    assert {round(below) for below in found.values()} == {0, *(last - number for number in range(stages + 1))}
    groups = parameter_groups(network, Optim(layer_decay=0.5, decay_by="stages"))
    assert all(group.name.split(",")[0] for group in groups) and len({group.name for group in groups}) == len(groups)
