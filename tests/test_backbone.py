"""What every network of the registry and of the roadmap must be as a backbone, with small widths."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from convnext.backbone import Backbone, Pyramid
from convnext.bench.randomise import randomise
from convnext.errors import UserError
from convnext.network import Network
from convnext.spec import RESNET50, NetSpec
from tests.small_nets import SMALL_SPECS, small


def random_network(spec: NetSpec) -> Network:
    network = Network(spec)
    randomise(network, 64, spec.in_channels, seed=3)
    return network.eval()


@pytest.mark.parametrize("name", SMALL_SPECS)
def test_maps_are_the_stages_of_the_network_and_fit_the_info(name: str) -> None:
    spec = SMALL_SPECS[name]
    network = random_network(spec)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        stages = network.features(images)
        backbone = Backbone(network, norm_outputs=False)
        maps = backbone(images)
    assert backbone.network is network
    assert [stride for stride, _ in backbone.feature_info] == [4, 8, 16, 32]
    assert [tuple(x.shape) for x in maps] == [
        (2, channels, 64 // stride, 96 // stride) for stride, channels in backbone.feature_info
    ]
    if spec.isotropic:
        assert torch.equal(maps[2], stages[0])
    else:
        for ours, theirs in zip(maps, stages, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", SMALL_SPECS)
@pytest.mark.parametrize("norm_outputs", [False, True])
def test_no_parameter_of_the_classifier_is_left_and_each_of_the_rest_is_trained(name: str, norm_outputs: bool) -> None:
    network = random_network(SMALL_SPECS[name])
    classifier = {f"network.{name}" for name, _ in network.named_parameters() if name.split(".")[0] in {"head", "fc"}}
    if not isinstance(network.norm, nn.Identity):
        classifier |= {"network.norm.weight", "network.norm.bias"}
    before = {f"network.{name}" for name, _ in network.named_parameters()}
    backbone = Backbone(network, norm_outputs=norm_outputs).train()
    names = dict(backbone.named_parameters())
    assert {name for name in names if name.startswith("network.")} == before - classifier
    assert any(name.startswith("norm") for name in names) == norm_outputs
    # A norm of equal channels has no gradient through a plain sum.
    sum((x * torch.randn_like(x)).sum() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    silent = [name for name, one in names.items() if one.grad is None or not one.grad.abs().max() > 0]
    assert silent == []


def test_each_output_has_its_own_norm_over_channels() -> None:
    backbone = Backbone(random_network(SMALL_SPECS["convnext_tiny"]), norm_outputs=True).double().eval()
    with torch.no_grad():
        for index in range(4):
            for parameter in backbone.get_submodule(f"norm{index}").parameters():
                parameter.normal_(index + 1.0, 0.3)
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        outputs, stages = backbone(images), backbone.network.features(images)
        for index, (output, x) in enumerate(zip(outputs, stages, strict=True)):
            norm = backbone.get_submodule(f"norm{index}")
            mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
            scale, shift = (part[:, None, None] for part in norm.parameters())
            torch.testing.assert_close(output, (x - mean) / (var + 1e-6).sqrt() * scale + shift)


def test_frozen_norms_compute_with_their_numbers_and_never_change() -> None:
    network = random_network(small(RESNET50))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network.features(images)
    backbone = Backbone(network, norm_outputs=False, freeze_norms=True).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    outputs = backbone(images)
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert sum(isinstance(module, FrozenBatchNorm2d) for module in backbone.modules()) == 1 + 4 * 4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    outputs[-1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    assert all(parameter.ndim == 4 for parameter in backbone.parameters()), "only convolutions are left to train"


def test_freezing_leaves_networks_with_layer_norm_as_they_are() -> None:
    frozen = Backbone(Network(SMALL_SPECS["convnext_tiny"]), norm_outputs=True, freeze_norms=True)
    plain = Backbone(Network(SMALL_SPECS["convnext_tiny"]), norm_outputs=True)
    assert list(frozen.state_dict()) == list(plain.state_dict())
    assert all(parameter.requires_grad for parameter in frozen.parameters())


def test_an_unfrozen_norm_goes_on_measuring() -> None:
    backbone = Backbone(random_network(small(RESNET50)), norm_outputs=False).train()
    before = backbone.state_dict()["network.bn1.running_mean"].clone()
    backbone(torch.randn(2, 3, 64, 64))
    assert not torch.equal(backbone.state_dict()["network.bn1.running_mean"], before)


def test_a_pyramid_makes_four_maps_of_one_that_see_the_same_places() -> None:
    pyramid = Pyramid(16, 6)
    x = torch.randn(1, 6, 3, 5)
    y = x.clone()
    y[:, :, 1, 2] += 1
    with torch.no_grad():
        changed = [(a - b).abs().sum((0, 1)) > 0 for a, b in zip(pyramid(x), pyramid(y), strict=True)]
    # What one cell reaches: a block of 4x4, 2x2 and 1x1 cells at its place; the max-pool may or may not change.
    for side, where in zip((4, 2, 1), changed, strict=False):
        expected = torch.zeros(3 * side, 5 * side, dtype=torch.bool)
        expected[side : 2 * side, 2 * side : 3 * side] = True
        assert torch.equal(where, expected)
    assert torch.equal(pyramid(x)[3][0, :, 0, 1], x[0, :, 0:2, 2:4].amax((1, 2)))
    assert pyramid(x)[3].shape == (1, 6, 2, 3)
    assert pyramid.feature_info == ((4, 6), (8, 6), (16, 6), (32, 6))


def test_an_isotropic_network_of_an_odd_stride_is_refused() -> None:
    spec = replace(SMALL_SPECS["convnext_isotropic_small"], stem_stride=2)
    with pytest.raises(UserError, match=r"multiple of 4.*got 2; take 16"):
        Backbone(Network(spec), norm_outputs=False)
