from types import SimpleNamespace

import numpy as np
import pytest
import timm.data.mixup
import torch
from scipy import stats

from convnext.data.mixing import Blend, blend_images, blend_targets, draw_blend, mix
from convnext.recipe import Mix

PAPER = Mix(mixup=0.8, cutmix=1.0)


class Replayed:
    """numpy.random's global functions as timm calls them, drawing from a generator as ours does."""

    def __init__(self, seed):
        generator = np.random.default_rng(seed)
        self.rand, self.beta = generator.random, generator.beta
        self.randint = lambda low, high, size: generator.integers(low, high)


def batch(count, channels=3, height=12, width=9, classes=7):
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, channels, height, width, generator=generator).contiguous(
        memory_format=torch.channels_last
    )
    return images, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize(
    "recipe",
    [
        PAPER,
        Mix(mixup=0.8),
        Mix(cutmix=0.3, label_smoothing=0.0),
        Mix(mixup=0.2, cutmix=1.0, chance=0.6, switch=0.9, label_smoothing=0.2),
    ],
)
def test_equals_timm(monkeypatch, recipe):
    seen = set()
    for seed in range(30):
        images, labels = batch(6)
        fake = SimpleNamespace(random=Replayed(seed), sqrt=np.sqrt, clip=np.clip)
        monkeypatch.setattr(timm.data.mixup, "np", fake)
        reference = timm.data.mixup.Mixup(
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            prob=recipe.chance,
            switch_prob=recipe.switch,
            label_smoothing=recipe.label_smoothing,
            num_classes=7,
        )
        expected = reference(images.clone(), labels)
        got = mix(images.clone(), labels, 7, recipe, np.random.default_rng(seed))
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
        assert got[0].is_contiguous(memory_format=torch.channels_last)
        blend = draw_blend(12, 9, recipe, np.random.default_rng(seed))
        seen.add("cutmix" if blend.box else "mixup" if blend.share < 1 else "none")
    wanted = {"mixup": recipe.mixup > 0, "cutmix": recipe.cutmix > 0, "none": recipe.chance < 1}
    assert seen == {name for name, holds in wanted.items() if holds}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_any_number_of_pictures(count):
    for seed in range(8):
        images, labels = batch(count)
        mixed, targets = mix(images.clone(), labels, 7, PAPER, np.random.default_rng(seed))
        assert mixed.shape == images.shape
        assert targets.shape == (count, 7)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(count))
        if count % 2:
            torch.testing.assert_close(mixed[count // 2], images[count // 2])
            assert targets[count // 2].argmax() == labels[count // 2]


def test_the_share_is_what_the_box_leaves():
    for seed in range(200):
        blend = draw_blend(12, 9, Mix(cutmix=1.0), np.random.default_rng(seed))
        top, bottom, left, right = blend.box
        assert 0 <= top <= bottom <= 12 and 0 <= left <= right <= 9
        images = torch.stack([torch.zeros(1, 12, 9), torch.ones(1, 12, 9)])
        blend_images(images, blend)
        assert images[0].mean().item() == pytest.approx(1 - blend.share)


def test_targets_are_smoothed_and_then_mixed():
    targets = blend_targets(torch.tensor([0, 2]), 4, 0.1, 0.75, torch.float64)
    expected = [[0.925 * 0.75 + 0.025 * 0.25, 0.025, 0.925 * 0.25 + 0.025 * 0.75, 0.025]]
    torch.testing.assert_close(targets[:1], torch.tensor(expected, dtype=torch.float64))
    assert targets.dtype == torch.float64


def test_nothing_drawn_is_nothing_mixed():
    assert draw_blend(8, 8, Mix(), np.random.default_rng(0)) == Blend()
    assert draw_blend(8, 8, Mix(mixup=0.8, chance=0.0), np.random.default_rng(0)) == Blend()
    images, labels = batch(4)
    same, targets = mix(images.clone(), labels, 7, Mix(label_smoothing=0.0), np.random.default_rng(0))
    assert torch.equal(same, images)
    assert torch.equal(targets, torch.nn.functional.one_hot(labels, 7).float())


def test_draws_have_the_right_distributions():
    numbers = np.random.default_rng(0)
    shares = [draw_blend(8, 8, Mix(mixup=0.8), numbers).share for _ in range(3000)]
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 0.01
    # A box that is not cut off leaves 1 - side^2 of the picture, so that its side has the law of sqrt(1 - Beta).
    blends = [draw_blend(400, 400, Mix(cutmix=1.0), numbers) for _ in range(6000)]
    sides = [
        (bottom - top) / 400
        for top, bottom, left, right in (blend.box for blend in blends)
        if min(top, left) > 0 and max(bottom, right) < 400
    ]
    # The chance of a square of side s to lie inside is (1 - s)^2, and the density of s is 2 s.
    cdf = np.polynomial.Polynomial([0, 0, 6, -8, 3])
    assert len(sides) == pytest.approx(6000 / 6, rel=0.15)
    assert stats.kstest(sides, cdf).pvalue > 0.01
    drawn = [draw_blend(8, 8, Mix(mixup=0.8, cutmix=1.0, chance=0.8, switch=0.3), numbers) for _ in range(4000)]
    counts = [sum(blend == Blend() for blend in drawn), sum(blend.box is not None for blend in drawn)]
    assert stats.binomtest(counts[0], 4000, 0.2).pvalue > 0.01
    assert stats.binomtest(counts[1], 4000, 0.8 * 0.3).pvalue > 0.01


def test_no_number_comes_back_from_the_device():
    images, labels = torch.empty(6, 3, 8, 8, device="meta"), torch.empty(6, dtype=torch.int64, device="meta")
    for seed in range(6):
        mixed, targets = mix(images, labels, 7, PAPER, np.random.default_rng(seed))
        assert (mixed.device.type, targets.shape) == ("meta", (6, 7))
