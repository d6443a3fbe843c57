import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convnext.metrics.calibration import CalibrationBins


def error_of(confidence: list[float], right: list[bool]) -> float:
    bins = CalibrationBins()
    bins.update(torch.tensor(confidence, dtype=torch.float64), torch.tensor(right))
    return bins.error()


def test_by_hand():
    # 0.95 and 0.97 lie in the last bin: mean confidence 0.96, accuracy 0.5; 0.51 in another: right, so 0.49 off.
    assert error_of([0.95, 0.97, 0.51], [True, False, True]) == pytest.approx(100 * (2 * 0.46 + 0.49) / 3)


def test_within_a_bin_too_much_and_too_little_cancel():
    assert error_of([0.95, 0.95], [True, False]) == pytest.approx(45)
    assert error_of([0.95] * 20, [True] * 19 + [False]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("edge", [1 / 15, 0.2, 1.0])
def test_an_edge_belongs_to_the_bin_below(edge):
    # In one bin with a confidence a little lower, the two would cancel to a mean.
    below = edge - 0.01
    together = abs(1 - (edge + below)) / 2
    assert error_of([edge, below], [True, False]) == pytest.approx(100 * together)


@given(st.lists(st.tuples(st.integers(1, 1000), st.booleans()), min_size=1, max_size=60), st.integers(0, 60))
def test_equals_the_formula_however_it_is_cut(pictures, cut):
    confidence = np.array([share / 1000 for share, _ in pictures])
    right = np.array([one for _, one in pictures])
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    whole, other = CalibrationBins(), CalibrationBins()
    for bins, part in ((whole, slice(0, cut)), (other, slice(cut, None))):
        bins.update(torch.from_numpy(confidence[part]), torch.from_numpy(right[part]))
    whole.merge(other)
    assert whole.error() == pytest.approx(100 * total, abs=1e-9)


def test_what_is_no_number_does_not_vanish():
    assert math.isnan(error_of([0.9, math.nan], [True, False])) and math.isnan(error_of([math.nan], [True]))
