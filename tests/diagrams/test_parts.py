"""What is drawn of a network: by hand for the paper's figures, and for all others against the layers that are built."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from torch import nn

from convnext.cost import stage_costs, total_cost
from convnext.diagrams.nets import drawn
from convnext.diagrams.parts import NetParts, elements, parts_of
from convnext.models import MODELS, model_spec
from convnext.network import Network
from convnext.roadmap import REGIMES, STEPS, spec_at
from convnext.spec import CONVNEXT_TINY, RESNET50, NetSpec
from tests.flops import on_meta
from tests.strategies import specs

ROWS = [f"{regime}:{step.name}" for regime in REGIMES for step in STEPS]


def branch(net: NetParts) -> list[str]:
    """The block from its input to behind the sum, as one reads it off the page."""
    seen: list[str | None] = []
    for conv in net.block.convs:
        seen += [conv.label, conv.norm, conv.act]
    return [text for text in [*seen, net.block.scale, "+", net.block.act] if text]


def way(net: NetParts) -> dict[str, list[str]]:
    """What is written of each part of the network below the block."""
    told: dict[str, list[str]] = {}
    for key, text in elements(net).items():
        part, _, _ = key.partition(".")
        told.setdefault(part, []).append(text)
    return {part: texts for part, texts in told.items() if part.startswith(("stem", "stage", "head"))}


# Figures 3 and 4 of the paper, written out by hand.
def test_the_resnet_of_figure_4() -> None:
    net = parts_of(RESNET50)
    assert branch(net) == (["1x1, 256 → 64", "BN", "ReLU", "3x3, 64", "BN", "ReLU", "1x1, 64 → 256", "BN", "+", "ReLU"])
    assert net.block.shortcut is None and net.block.side == 56
    assert [conv.macs for conv in net.block.convs] == [51_380_224, 115_605_504, 51_380_224]
    assert way(net) == {
        "stem": ["7x7 stride 2", "BN", "ReLU", "max-pool stride 2", "64", "56x56"],
        "stage1": ["1x1 shortcut, BN", "3", "256", "56x56"],
        "stage2": ["stride 2 in the first block", "1x1 shortcut, BN", "4", "512", "28x28"],
        "stage3": ["stride 2 in the first block", "1x1 shortcut, BN", "6", "1024", "14x14"],
        "stage4": ["stride 2 in the first block", "1x1 shortcut, BN", "3", "2048", "7x7"],
        "head": ["mean-pool", "linear 2048 → 1000"],
    }


def test_the_convnext_of_figure_4() -> None:
    net = parts_of(CONVNEXT_TINY)
    assert branch(net) == ["d7x7, 96", "LN", "1x1, 96 → 384", "GELU", "1x1, 384 → 96", "LayerScale 1e-6", "+"]
    assert branch(parts_of(spec_at("separate_downsampling"))) == [
        *("d7x7, 96", "LN", "1x1, 96 → 384", "GELU", "1x1, 384 → 96", "+")
    ]
    assert [conv.macs for conv in net.block.convs] == [14_751_744, 115_605_504, 115_605_504]
    entry = ["LN", "2x2 stride 2 convolution"]
    assert way(net) == {
        "stem": ["4x4 stride 4", "LN", "96", "56x56"],
        "stage1": ["3", "96", "56x56"],
        "stage2": [*entry, "3", "192", "28x28"],
        "stage3": [*entry, "9", "384", "14x14"],
        "stage4": [*entry, "3", "768", "7x7"],
        "head": ["mean-pool", "LN", "linear 768 → 1000"],
    }


@pytest.mark.parametrize(
    ("step", "convs"),
    [
        ("depthwise", ["1x1, 256 → 64", "d3x3, 64", "1x1, 64 → 256"]),
        ("width", ["1x1, 384 → 96", "d3x3, 96", "1x1, 96 → 384"]),  # Figure 3 (a)
        ("inverted", ["1x1, 96 → 384", "d3x3, 384", "1x1, 384 → 96"]),  # (b)
        ("move_up", ["d3x3, 96", "1x1, 96 → 384", "1x1, 384 → 96"]),  # (c)
        ("kernel_11", ["d11x11, 96", "1x1, 96 → 384", "1x1, 384 → 96"]),
    ],
)
def test_the_blocks_of_figure_3(step: str, convs: list[str]) -> None:
    first, second, third = convs
    told = [first, "BN", "ReLU", second, "BN", "ReLU", third, "BN", "+", "ReLU"]
    assert branch(parts_of(spec_at(step))) == told


def test_an_isotropic_net_has_one_stage() -> None:
    net = parts_of(model_spec("convnext_isotropic_large"))
    assert branch(net) == ["d7x7, 1024", "LN", "1x1, 1024 → 4096", "GELU", "1x1, 4096 → 1024", "LayerScale 1e-6", "+"]
    assert way(net) == {
        "stem": ["16x16 stride 16", "1024", "14x14"],
        "stage1": ["36", "1024", "14x14"],
        "head": ["mean-pool", "LN", "linear 1024 → 1000"],
    }


# And every other network against the layers that are built.
def built_label(layer: nn.Module) -> str | None:
    if isinstance(layer, nn.Linear):
        return f"1x1, {through(layer.in_features, layer.out_features)}"
    if isinstance(layer, nn.Conv2d):
        assert layer.groups in (1, layer.in_channels)
        kernel = f"{'d' if layer.groups > 1 else ''}{layer.kernel_size[0]}x{layer.kernel_size[1]}"
        return f"{kernel}, {through(layer.in_channels, layer.out_channels)}"
    return {nn.BatchNorm2d: "BN", nn.LayerNorm: "LN", nn.ReLU: "ReLU", nn.GELU: "GELU"}.get(type(layer))  # type: ignore[call-overload, no-any-return]


def through(before: int, after: int) -> str:
    return f"{before} → {after}" if before != after else str(after)


def built_stages(model: Network) -> list[nn.Sequential]:
    if model.spec.isotropic:
        return [model.blocks]
    if hasattr(model, "stages"):
        return list(model.stages)  # type: ignore[arg-type]
    return [model.get_submodule(f"layer{number}") for number in range(1, len(model.spec.depths) + 1)]  # type: ignore[misc]


def built_stem(model: Network) -> list[nn.Module]:
    if hasattr(model, "downsample_layers"):
        return list(model.downsample_layers[0])  # type: ignore[index, arg-type]
    names = ["stem"] if model.spec.isotropic else ["conv1", "bn1", "act1", "maxpool"]
    return [model.get_submodule(name) for name in names if hasattr(model, name)]


def require_as_built(spec: NetSpec, size: int) -> None:
    net, model = parts_of(spec, size), on_meta(spec)
    stages = built_stages(model)
    block = stages[0][-1]
    told = [built_label(getattr(block, name)) for name in block.branch_names]  # type: ignore[union-attr, arg-type]
    scale = [net.block.scale] if hasattr(block, "gamma") else []
    assert branch(net) == [text for text in [*told, *scale, "+", built_label(block.act)] if text]  # type: ignore[arg-type]
    assert (net.block.scale is not None) == hasattr(block, "gamma")
    assert [stage.blocks for stage in net.stages] == [len(stage) for stage in stages]
    maps = model.features(torch.empty(1, spec.in_channels, size, size, device="meta"))
    assert [(stage.channels, stage.side) for stage in net.stages] == [(one.shape[1], one.shape[2]) for one in maps]
    for number, (stage, layers) in enumerate(zip(net.stages, stages, strict=True)):
        first = layers[0]
        strides = {layer.stride for layer in first.modules() if isinstance(layer, nn.Conv2d)} - {(1, 1)}
        assert (stage.shrink == "stride 2 in the first block") == bool(strides)
        assert (stage.shortcut is None) == isinstance(first.downsample, nn.Identity)
        separate = number > 0 and hasattr(model, "downsample_layers")
        assert (stage.norm is not None) == separate == (stage.shrink == "2x2 stride 2 convolution")
    assert (net.head_norm is None) == isinstance(model.norm, nn.Identity)
    assert net.head_channels == model.classifier.in_features
    conv, *behind = built_stem(model)
    assert isinstance(conv, nn.Conv2d) and (net.stem.kernel, net.stem.stride) == (conv.kernel_size[0], conv.stride[0])
    told = [elements(net).get(f"stem.{what}") for what in ("norm", "act", "pool")]
    pooled = ["max-pool stride 2" for layer in behind if isinstance(layer, nn.MaxPool2d)]
    assert [text for text in told if text] == [text for layer in behind if (text := built_label(layer))] + pooled
    assert elements(net)["stem.channels"] == str(conv.out_channels)


@pytest.mark.parametrize("name", [*ROWS, *MODELS])
def test_what_is_drawn_is_what_is_built(name: str) -> None:
    require_as_built(model_spec(name), 224)
    assert drawn(name).parts == parts_of(model_spec(name))


@settings(max_examples=40)
@given(specs())
def test_any_net_is_drawn_as_built(spec: NetSpec) -> None:
    # A window of one pixel cannot be told from a 1x1 convolution.
    assume(spec.kernel > 1)
    require_as_built(spec, 64)


@pytest.mark.parametrize("name", [*ROWS, *MODELS])
@pytest.mark.parametrize("size", [224, 97])
def test_the_multiply_adds_on_the_page_are_the_nets(name: str, size: int) -> None:
    spec = model_spec(name)
    net = parts_of(spec, size)
    assert net.stem.macs + sum(stage.macs for stage in net.stages) + net.head_macs == total_cost(spec, size).macs
    assert (net.macs, net.params) == (total_cost(spec, size).macs, total_cost(spec, size).params)
    # One block more in the first stage costs what the drawn block costs.
    more = replace(spec, depths=(spec.depths[0] + 1, *spec.depths[1:]))
    extra = stage_costs(more, size)[1].macs - stage_costs(spec, size)[1].macs
    assert sum(conv.macs for conv in net.block.convs) == extra
