"""The built network: names, start values, stochastic depth, features, memory formats."""

import copy
from dataclasses import replace

import pytest
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from convnext.cost import total_cost
from convnext.errors import UserError
from convnext.layers import StochasticDepth
from convnext.models import create_model
from convnext.network import Block, Network
from convnext.roadmap import spec_at
from convnext.spec import CONVNEXT_TINY, RESNET50, NetSpec
from tests.strategies import specs

SMALL = replace(CONVNEXT_TINY, depths=(1, 2, 3, 1), width=8, num_classes=5)


def randomise(model: nn.Module) -> None:
    """Give every parameter and buffer a value that matters, so that nothing can hide behind 1e-6."""
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if value.dtype.is_floating_point:
                value.copy_(
                    torch.rand_like(value) + 0.5 if value.ndim < 2 or "gamma" in name else torch.randn_like(value) * 0.2
                )


def test_official_names() -> None:
    names = set(create_model("convnext_tiny", num_classes=10).state_dict())
    assert {
        "downsample_layers.0.0.weight",
        "downsample_layers.0.1.bias",
        "downsample_layers.3.0.weight",
        "downsample_layers.3.1.bias",
        "stages.2.8.dwconv.weight",
        "stages.2.8.norm.bias",
        "stages.2.8.pwconv1.weight",
        "stages.2.8.pwconv2.bias",
        "stages.2.8.gamma",
        "norm.weight",
        "head.bias",
    } <= names
    assert len(names) == 4 * 4 + 18 * 9 + 2 + 2


def test_official_isotropic_names() -> None:
    with torch.device("meta"):
        small = set(create_model("convnext_isotropic_small").state_dict())
        large = set(create_model("convnext_isotropic_large").state_dict())
    assert {"stem.weight", "stem.bias", "blocks.17.dwconv.weight", "norm.weight", "head.weight"} <= small
    assert not any("gamma" in name for name in small)
    assert "blocks.35.gamma" in large
    assert len(small) == 2 + 18 * 8 + 4


@given(specs(), st.sampled_from([32, 37]))
@settings(max_examples=40, deadline=None)
def test_any_spec_builds_and_gives_what_its_features_promise(spec: NetSpec, size: int) -> None:
    try:
        total_cost(spec, size)
    except UserError:
        assume(False)
    torch.manual_seed(0)
    model = Network(spec).eval()
    randomise(model)
    images = torch.randn(2, spec.in_channels, size, size)
    with torch.no_grad():
        maps = model.features(images)
        logits = model(images)
    assert len(maps) == len(spec.depths) == len(model.feature_info)
    for image_map, (stride, channels) in zip(maps, model.feature_info, strict=True):
        assert image_map.shape[:2] == (2, channels)
        assert abs(image_map.shape[2] - size / stride) <= 1
    pooled = maps[-1].mean((2, 3))
    torch.testing.assert_close(logits, model.classifier(model.norm(pooled)), rtol=1e-4, atol=1e-4)
    assert logits.shape == (2, spec.num_classes)


@given(specs())
@settings(max_examples=25, deadline=None)
def test_memory_formats_agree(spec: NetSpec) -> None:
    torch.manual_seed(0)
    model = Network(replace(spec, stem_stride=2)).eval().double()
    randomise(model)
    images = torch.randn(2, spec.in_channels, 33, 33, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), expected)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(model(images), expected)


def test_stochastic_depth_grows_linearly_over_all_blocks() -> None:
    model = Network(SMALL, drop_path=0.6)
    rates = [float(getattr(block.drop_path, "p", 0.0)) for block in model.modules() if isinstance(block, Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    model = Network(replace(SMALL, depths=(1, 1)), drop_path=0.5)
    randomise(model)
    block = model.stages[1][0]  # type: ignore[index]
    x = torch.randn(1, 4, 4, 16).expand(4000, 4, 4, 16)
    with torch.no_grad():
        change = block(x) - x
        full = block.branch(x)
    kept = change.flatten(1).abs().sum(1) > 0
    assert 0.46 < kept.double().mean() < 0.54
    torch.testing.assert_close(change[kept], 2 * full[kept], rtol=1e-3, atol=1e-4)
    block.eval()
    with torch.no_grad():
        torch.testing.assert_close(block(x[:2]) - x[:2], full[:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 3, 2, 2), (5, 2, 2, 4)])
def test_stochastic_depth_equals_torchvisions_on_the_same_draws(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    results = []
    for layer in (StochasticDepth(0.3), torchvision.ops.StochasticDepth(0.3, mode="row")):
        torch.manual_seed(5)
        results.append(torch.stack([layer(x) for _ in range(20)]))
        assert torch.equal(layer.eval()(x), x)
    assert torch.equal(*results)


def test_the_start_of_a_layernorm_net() -> None:
    torch.manual_seed(0)
    model = create_model("convnext_tiny", num_classes=10)
    for name, value in model.named_parameters():
        if name.endswith("gamma"):
            assert torch.equal(value, torch.full_like(value, 1e-6))
        elif name.endswith("bias"):
            assert not value.any()
        elif value.ndim == 1:
            assert torch.equal(value, torch.ones_like(value))
        else:
            assert 0.015 < value.std() < 0.025, name
    scaled = create_model("convnext_atto", num_classes=100, head_scale=0.001)
    assert 1.5e-5 < scaled.classifier.weight.std() < 2.5e-5


def test_the_start_of_a_batchnorm_net_is_hes() -> None:
    torch.manual_seed(0)
    weight = create_model("resnet50").get_parameter("layer3.0.conv2.weight").detach()
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_options() -> None:
    model = create_model(SMALL, num_classes=3, in_channels=1, stem_stride=2, layer_scale=0.5)
    assert (model.spec.num_classes, model.spec.in_channels, model.spec.stem_stride) == (3, 1, 2)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert model.feature_info[0][0] == 2
    assert torch.equal(model.get_parameter("stages.0.0.gamma"), torch.full((8,), 0.5))
    assert not any("gamma" in name for name in create_model(SMALL, layer_scale=None).state_dict())
    resnet = create_model("resnet50", stem_stride=1, num_classes=2)
    assert resnet.features(torch.randn(1, 3, 32, 32))[0].shape[-1] == 32


def test_a_published_stem_fits_a_smaller_stride() -> None:
    model = create_model(SMALL, stem_stride=2)
    model.load_state_dict(create_model(SMALL).state_dict(), strict=True)


@pytest.mark.parametrize("spec", [SMALL, replace(RESNET50, depths=(1, 1), width=8)], ids=["convnext", "resnet"])
def test_reset_head(spec: NetSpec) -> None:
    torch.manual_seed(0)
    model = Network(spec).double()
    model.reset_head(7, head_scale=0.5)
    assert model.spec.num_classes == 7
    assert model(torch.randn(1, 3, 32, 32, dtype=torch.float64)).shape == (1, 7) if spec.norm == "layer" else True
    assert model.classifier.weight.dtype == torch.float64
    assert model.classifier.weight.detach().std().item() == pytest.approx(0.01, rel=0.3)
    assert set(model.state_dict()) == set(Network(spec).state_dict())


def test_a_replaced_layer_is_used() -> None:
    model = Network(SMALL).eval()
    randomise(model)
    images = torch.randn(1, 3, 32, 32)
    before = model(images)
    twin = copy.deepcopy(model)
    twin.stages[0][0].pwconv1 = nn.Linear(8, 32)  # type: ignore[index]
    assert not torch.allclose(twin(images), before)
    assert torch.equal(model(images), before)


def test_every_parameter_gets_a_gradient() -> None:
    for name in ("original", "depthwise", "layernorm", "separate_downsampling"):
        model = Network(replace(spec_at(name, "quarter"), depths=(1, 2, 1, 1), width=4, num_classes=3))
        randomise(model)
        model(torch.randn(4, 3, 64, 64)).square().sum().backward()
        silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        # A bias right before a BatchNorm, a norm included, moves nothing; there is none in these nets.
        assert silent == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1, got 1.0"),
        ({"head_scale": 0.0}, "head_scale must be above 0"),
    ],
)
def test_bad_options(changes: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        create_model(SMALL, **changes)  # type: ignore[arg-type]


def test_unknown_models_are_answered_with_near_names() -> None:
    with pytest.raises(UserError, match=r"no model convnext_tini; did you mean convnext_tiny"):
        create_model("convnext_tini")
    with pytest.raises(UserError, match=r"no step depthwize; did you mean depthwise"):
        create_model("resnet50:depthwize")
    assert create_model("quarter:depthwise", num_classes=2).spec.depthwise
