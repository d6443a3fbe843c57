import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import timm.data.random_erasing
import torch
from scipy import stats

from convnext.data.erasing import draw_rectangle, erase


def pictures(count=8, height=24, width=32):
    return torch.full((count, 3, height, width), 9.0).contiguous(memory_format=torch.channels_last)


def generators(seed):
    return np.random.default_rng(seed), torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(24, 32), (64, 8), (2, 2), (1, 5)])
def test_rectangles_equal_timms(monkeypatch, size):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        fake = SimpleNamespace(
            random=generator.random,
            uniform=generator.uniform,
            randint=lambda low, high, draws=generator: int(draws.integers(low, high + 1)),
        )
        monkeypatch.setattr(timm.data.random_erasing, "random", fake)
        reference = timm.data.random_erasing.RandomErasing(probability=0.6, mode="pixel", device="cpu")
        with torch.random.fork_rng():
            expected = reference(pictures(8, *size)) != 9
        assert torch.equal(erase(pictures(8, *size), 0.6, *generators(seed)) != 9, expected)


def test_noise_is_standard_normal_and_fresh_for_each_value():
    images = erase(pictures(64), 1.0, *generators(0))
    erased = images[images != 9]
    assert len(erased) > 10_000
    assert stats.kstest(erased[:5000].numpy(), "norm").pvalue > 0.01
    assert len(erased.unique()) > 0.999 * len(erased)


def test_chance_and_generators_decide():
    images = pictures(400, 8, 8)
    assert erase(images, 0.25, *generators(1)) is images, "in place"
    erased = (images != 9).flatten(1).any(1)
    assert stats.binomtest(int(erased.sum()), 400, 0.25).pvalue > 0.01
    assert torch.equal(erase(pictures(400, 8, 8), 0.25, *generators(1)), images)
    assert not torch.equal(erase(pictures(400, 8, 8), 0.25, *generators(2)), images)
    assert torch.equal(erase(pictures(), 0.0, *generators(0)), pictures())
    assert ((erase(pictures(), 1.0, *generators(0)) != 9).flatten(1).any(1)).all()


def test_rectangles_have_the_right_distribution():
    numbers = np.random.default_rng(3)
    boxes = np.array([draw_rectangle(1000, 1000, numbers) for _ in range(4000)])
    area, aspect = boxes[:, 2] * boxes[:, 3] / 1e6, boxes[:, 2] / boxes[:, 3]
    assert stats.kstest((area - 0.02) / (1 / 3 - 0.02), "uniform").pvalue > 0.01
    # Long ones of a third of the picture do not fit, hence the small ones for the shape.
    small = aspect[area < 0.25]
    assert stats.kstest((np.log(small) - math.log(0.3)) / -math.log(0.09), "uniform").pvalue > 0.01
    for start, length in ((0, 2), (1, 3)):
        assert stats.kstest(boxes[:, start] / (1000 - boxes[:, length]), "uniform").pvalue > 0.01


def test_no_global_state_and_no_number_from_the_device():
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    erase(pictures(), 1.0, *generators(0))
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    erase(torch.empty(4, 3, 8, 8, device="meta"), 1.0, np.random.default_rng(0), None)
