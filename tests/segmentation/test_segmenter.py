from dataclasses import replace

import pytest
import torch
from torch import nn

from convnext.bench.randomise import pictures, randomise
from convnext.errors import UserError
from convnext.layers import StochasticDepth
from convnext.network import Network
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import segmenter_spec
from tests.segmentation.made import CLASSES, random_segmenter, tiny_spec
from tests.small_nets import SMALL_SPECS


@pytest.mark.parametrize("name", SMALL_SPECS)
def test_any_network_serves_and_every_parameter_is_trained(name: str) -> None:
    spec = segmenter_spec(SMALL_SPECS[name], 7, channels=8, aux_channels=6)
    segmenter = build_segmenter(spec).double().train()
    randomise_weights(segmenter)
    outputs = segmenter(pictures(4, 64, 3, seed=1).double().repeat(1, 1, 1, 2))
    assert {key: tuple(one.shape) for key, one in outputs.items()} == {"main": (4, 7, 16, 32), "aux": (4, 7, 4, 8)}
    sum((one * torch.randn_like(one)).sum() for one in outputs.values()).backward()
    silent = [key for key, one in segmenter.named_parameters() if one.grad is None or not one.grad.abs().max() > 0]
    assert silent == []


def randomise_weights(segmenter: Segmenter) -> None:
    # A ReLU must not be able to silence all positions of a channel.
    with torch.no_grad():
        for name, parameter in segmenter.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)
            elif name.endswith(".bn.bias"):
                parameter.fill_(0.5)


def test_evaluation_gives_the_main_logits_only_and_does_not_depend_on_the_batch() -> None:
    segmenter = random_segmenter().double()
    images = torch.randn(3, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        outputs = segmenter(images)
        assert list(outputs) == ["main"]
        logits = segmenter.logits(images)
        assert logits.shape == (3, CLASSES, 64, 96)
        for index in range(3):
            torch.testing.assert_close(segmenter.logits(images[index : index + 1]), logits[index : index + 1])
        assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(64, 96), (97, 71), (33, 40), (20, 70), (1, 3)])
def test_logits_have_the_size_of_pictures_of_any_size(size: tuple[int, int]) -> None:
    for spec in (tiny_spec(), segmenter_spec(SMALL_SPECS["convnext_isotropic_small"], CLASSES, channels=8)):
        with torch.no_grad():
            logits = random_segmenter(spec).logits(torch.randn(2, 3, *size))
        assert logits.shape == (2, CLASSES, *size)
        assert logits.isfinite().all()


def test_logits_are_the_main_ones_enlarged_with_the_corners_not_aligned() -> None:
    segmenter = random_segmenter()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        small, large = segmenter(images)["main"], segmenter.logits(images)
    # With corners not aligned the middle of four cells lies between pixels 1 and 2 of each, and the border repeats.
    torch.testing.assert_close(large[..., 0, 0], small[..., 0, 0])
    torch.testing.assert_close(large[..., 0, 4], small[..., 0, 0] * 3 / 8 + small[..., 0, 1] * 5 / 8)


def test_training_on_one_picture_is_refused_and_scoring_it_is_not() -> None:
    segmenter = build_segmenter(tiny_spec())
    with pytest.raises(UserError, match=r"one picture at a time.*at least 2"):
        segmenter.train()(torch.randn(1, 3, 64, 64))
    segmenter.eval()(torch.randn(1, 3, 64, 64))
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(build_segmenter(tiny_spec()))
    assert not any(type(module) is nn.BatchNorm2d for module in synchronised.modules())
    assert not synchronised.train().decode_head.psp_modules._measures_alone()


def test_dropout_takes_whole_channels_in_training_only() -> None:
    segmenter = build_segmenter(replace(tiny_spec(), dropout=0.5))
    torch.manual_seed(0)
    for head in (segmenter.decode_head, segmenter.auxiliary_head):
        assert head is not None
        dropped = head.train().dropout(torch.ones(4, 50, 3, 3))
        assert set(dropped.unique().tolist()) == {0.0, 2.0}
        assert torch.equal(dropped.amax((2, 3)), dropped.amin((2, 3)))
    segmenter.eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(segmenter(images)["main"], segmenter(images)["main"])
    for module in segmenter.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    first, second = segmenter(images), segmenter(images)
    assert all(not torch.equal(first[name], second[name]) for name in ("main", "aux"))


def test_fresh_heads_start_as_openmmlab_starts_them() -> None:
    segmenter = build_segmenter(segmenter_spec("convnext_atto", 150))
    assert segmenter.auxiliary_head is not None
    for head in (segmenter.decode_head, segmenter.auxiliary_head):
        assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert head.conv_seg.bias is not None and not head.conv_seg.bias.any()
    smooth = segmenter.decode_head.fpn_convs[0].conv.weight
    assert smooth.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.05)
    gammas = [one for name, one in segmenter.named_parameters() if name.endswith("gamma")]
    assert len(gammas) == 12 and all(torch.equal(one, torch.ones_like(one)) for one in gammas)


def test_it_starts_from_a_network_and_leaves_that_whole() -> None:
    spec = tiny_spec()
    network = Network(replace(spec.backbone, num_classes=3, layer_scale=1e-6))
    randomise(network, 64, 3, seed=5)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, stages = network.eval()(images), network.features(images)
        segmenter = build_segmenter(spec, network=network, drop_path=0.3).eval()
        assert torch.equal(network(images), logits)
        for ours, theirs in zip(segmenter.backbone.network.features(images), stages, strict=True):
            assert torch.equal(ours, theirs)
    drops = [module.p for module in segmenter.modules() if isinstance(module, StochasticDepth)]
    assert max(drops) == pytest.approx(0.3) and segmenter.backbone.network.drop_path == 0.3
    fresh = build_segmenter(spec, drop_path=0.3)
    assert sum(isinstance(module, StochasticDepth) for module in fresh.modules()) == len(drops)


def test_another_network_than_the_spec_says_is_refused() -> None:
    with pytest.raises(UserError, match="must be the spec's backbone"):
        build_segmenter(tiny_spec(), network=Network(SMALL_SPECS["convnext_tiny"]))


def test_classifiers_can_be_replaced_and_nothing_else_is() -> None:
    segmenter = random_segmenter().double()
    before = {name: one.clone() for name, one in segmenter.state_dict().items()}
    segmenter.reset_classes(9)
    after = segmenter.state_dict()
    assert segmenter.spec.num_classes == 9
    assert segmenter.logits(torch.randn(1, 3, 64, 64, dtype=torch.float64)).shape[1] == 9
    changed = {
        name for name in after if after[name].shape != before[name].shape or not torch.equal(after[name], before[name])
    }
    assert changed == {
        f"{head}.conv_seg.{part}" for head in ("decode_head", "auxiliary_head") for part in ("weight", "bias")
    }


def test_without_an_auxiliary_head_training_gives_the_main_logits() -> None:
    segmenter = build_segmenter(replace(tiny_spec(), aux_channels=None)).train()
    assert list(segmenter(torch.randn(2, 3, 64, 64))) == ["main"]
    assert not any(name.startswith("auxiliary_head") for name in segmenter.state_dict())
