"""The arithmetic of a sweep against numbers worked out by hand and tables of Student's t."""

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from convnext.lab.statistics import (
    Difference,
    Noise,
    agreement,
    difference,
    dunnetts_quantile,
    level_margin,
    pooled_noise,
    spread,
    students_quantile,
)

# The 97.5% points of Student's t, as tables print them.
T_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 30: 2.042, 120: 1.980}
# The two-sided 5% points of Dunnett's t, as tables print them: by degrees of freedom, for 1 to 9 groups of one size.
DUNNETT_TABLE = {
    5: "2.57 3.03 3.29 3.48 3.62 3.73 3.82 3.90 3.97",
    10: "2.23 2.57 2.76 2.89 2.99 3.07 3.14 3.19 3.24",
    20: "2.09 2.38 2.54 2.65 2.73 2.80 2.86 2.90 2.95",
}


def test_spread_takes_the_sample_deviation() -> None:
    found = spread([60.0, 62.0, 67.0])
    # Squares 9 + 1 + 16 over 2, not over 3.
    assert (found.count, found.mean) == (3, 63.0) and found.std == pytest.approx(math.sqrt(13))
    assert spread([61.5]).std is None and spread([61.5]).mean == 61.5


def test_noise_is_pooled_by_degrees_of_freedom() -> None:
    # 1 + 1 about 61, 4 + 1 + 9 about 72, nothing from a single seed: 16 over 1 + 2.
    noise = pooled_noise([[60, 62], [70, 71, 75], [50], []], 1000)
    assert noise is not None and noise.freedom == 3 and noise.std == pytest.approx(2.3094, abs=1e-4)
    assert pooled_noise([[60], [70], []], 1000) is None
    assert pooled_noise([], 1000) is None


def test_seeds_that_tie_are_no_certainty() -> None:
    # A value rounded to one of 50 pictures lies evenly in 2 points: 2 / sqrt(12).
    tied = pooled_noise([[60.0, 60.0], [70.0, 70.0, 70.0]], 50)
    assert tied is not None and tied.freedom == 3 and tied.std == tied.least == pytest.approx(0.57735, abs=1e-5)
    found = difference([70.0, 70.0], [69.0, 69.0], tied)
    assert found.verdict == "within noise" and found.high == pytest.approx(1 + 3.182446 * 0.57735, abs=1e-5)
    # With more pictures the same tie says more, and a greater deviation is taken as it is.
    finer = pooled_noise([[60.0, 60.0], [70.0, 70.0, 70.0]], 50_000)
    assert finer is not None and finer.std == pytest.approx(0.00057735, abs=1e-8)
    wide = pooled_noise([[60.0, 62.0]], 50)
    assert wide is not None and (wide.std, wide.least) == pytest.approx((2**0.5, 0.57735), abs=1e-5)


@pytest.mark.parametrize(("freedom", "quantile"), T_TABLE.items())
def test_intervals_are_students(freedom: int, quantile: float) -> None:
    found = difference([62, 64], [60, 60], Noise(std=2.0, freedom=freedom))
    assert found.value == 3 and found.low is not None and found.high is not None
    # 2 * sqrt(1/2 + 1/2) is 2.
    assert found.high - 3 == pytest.approx(2 * quantile, abs=2e-3)
    assert 3 - found.low == pytest.approx(2 * quantile, abs=2e-3)


@pytest.mark.parametrize(
    ("ours", "before", "factor"),
    [([1], [0], math.sqrt(2)), ([1, 1], [0], math.sqrt(1.5)), ([1, 1, 1], [0, 0], math.sqrt(5 / 6))],
)
def test_intervals_follow_the_number_of_seeds(ours: list[float], before: list[float], factor: float) -> None:
    found = difference(ours, before, Noise(std=0.5, freedom=10))
    assert found.high is not None and found.high - 1 == pytest.approx(2.228139 * 0.5 * factor, abs=1e-5)


def test_a_group_of_two_gives_the_two_sample_interval() -> None:
    ours, before = [60.0, 62.5, 61.0], [58.0, 57.0]
    found = difference(ours, before, pooled_noise([ours, before], 1000))
    theirs = stats.ttest_ind(ours, before).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("freedom", "printed"), DUNNETT_TABLE.items())
def test_intervals_against_one_control_are_those_of_dunnetts_tables(freedom: int, printed: str) -> None:
    found = [dunnetts_quantile([2] * groups, 2, freedom) for groups in range(1, 10)]
    assert found == pytest.approx([float(text) for text in printed.split()], abs=0.0055)
    assert found[0] == students_quantile(freedom)


def test_intervals_against_one_control_are_scipys() -> None:
    control, others = [60.0, 61.0, 62.5], [[60.5, 62.0, 64.0], [58.0, 59.0, 58.5], [66.0, 64.5, 65.0]]
    noise = pooled_noise([control, *others], 1000)
    assert noise is not None
    quantile = dunnetts_quantile([3, 3, 3], 3, noise.freedom)
    ours = [difference(group, control, noise, quantile=quantile) for group in others]
    theirs = stats.dunnett(*others, control=control, random_state=0).confidence_interval(0.95)
    # What scipy integrates by chance is right to about three digits.
    assert [one.low for one in ours] == pytest.approx(list(theirs.low), abs=0.02)
    assert [one.high for one in ours] == pytest.approx(list(theirs.high), abs=0.02)


@pytest.mark.parametrize(
    ("counts", "control", "freedom"), [([2, 1], 2, 2), ([1] * 12, 2, 1), ([2, 2, 1, 3], 1, 8), ([1, 1], 3, 2)]
)
def test_intervals_against_one_control_hold_all_at_once(counts: list[int], control: int, freedom: int) -> None:
    quantile = dunnetts_quantile(counts, control, freedom)
    shared = np.sqrt([count / (count + control) for count in counts])
    correlations = np.outer(shared, shared)
    np.fill_diagonal(correlations, 1)
    reach = np.full(len(counts), quantile)
    together = stats.multivariate_t(shape=correlations, df=freedom, seed=0).cdf(reach, lower_limit=-reach)
    assert together == pytest.approx(0.95, abs=2e-4)


def test_verdicts() -> None:
    assert Difference(value=1, low=0.1, high=1.9).verdict == "better"
    assert Difference(value=-1, low=-1.9, high=-0.1).verdict == "worse"
    assert Difference(value=1, low=-0.1, high=2.1).verdict == "within noise"
    assert Difference(value=-1, low=-2, high=0).verdict == "within noise"
    assert Difference(value=1, low=0, high=2).verdict == "within noise"
    assert Difference(value=9).verdict == "noise unknown"
    alone = difference([62], [60], None)
    assert (alone.value, alone.low, alone.high) == (2, None, None)


def test_margin_of_few_pictures() -> None:
    # 1.96 * sqrt(0.5 * 0.5 / 1000) is 0.0310; Wilson's is a little less.
    assert level_margin(50, 1000) == pytest.approx(3.093, abs=1e-3)
    for right, pictures in ((0, 20), (3, 20), (80, 100), (20, 20)):
        theirs = stats.binomtest(right, pictures).proportion_ci(0.95, method="wilson")
        assert level_margin(100 * right / pictures, pictures) == pytest.approx(
            50 * (theirs.high - theirs.low), abs=1e-3
        )
    # Ten right of ten: 3.8416 / 20 over 1.38416.
    assert level_margin(100, 10) == level_margin(0, 10) == pytest.approx(13.877, abs=1e-3)


def test_agreement_by_hand() -> None:
    # One swap among four: 1 - 6 * 2 / (4 * 15), and 5 pairs alike, 1 not; 8 of the 24 orders are as far from none.
    found = agreement([1, 2, 3, 4], [10, 30, 20, 40])
    assert found is not None and found.count == 4
    assert (found.spearman, found.kendall) == pytest.approx((0.8, 4 / 6))
    assert (found.spearman_p, found.kendall_p) == pytest.approx((8 / 24, 8 / 24))
    # Of three in the same order one cannot be certain: two of the six orders are as extreme.
    three = agreement([1, 2, 3], [1, 2, 3])
    assert three is not None and (three.spearman, three.kendall) == pytest.approx((1, 1))
    assert (three.spearman_p, three.kendall_p) == pytest.approx((1 / 3, 1 / 3))
    backwards = agreement([3, 2, 1], [1, 2, 3])
    assert backwards is not None and (backwards.spearman, backwards.kendall) == pytest.approx((-1, -1))


def test_agreement_with_ties_by_hand() -> None:
    # Ranks 1, 2, 3 and 1.5, 1.5, 3: 1.5 / sqrt(2 * 1.5); two pairs alike, one tied: 2 / sqrt(3 * 2).
    for tied in ([5.0, 5.0, 9.0], [0.3, 0.1 + 0.2, 9.0], [0.1 + 0.2, 0.3, 9.0]):
        found = agreement([1, 2, 3], tied)
        assert found is not None
        assert (found.spearman, found.kendall) == pytest.approx((math.sqrt(0.75), math.sqrt(2 / 3)))


def test_no_agreement_of_too_few_or_equal_values() -> None:
    assert agreement([1, 2], [1, 2]) is None
    assert agreement([], []) is None
    assert agreement([1, 2, 3], [5, 5, 5]) is None
    assert agreement([5, 5, 5], [1, 2, 3]) is None


def test_longer_lists_have_the_usual_p_values() -> None:
    ours, theirs = [3, 1, 4, 1.5, 5, 9, 2, 6, 5.5, 3.5], [2, 7, 1, 8, 2.5, 8.5, 1.5, 8.2, 4, 5]
    found = agreement(ours, theirs)
    spearman, kendall = stats.spearmanr(ours, theirs), stats.kendalltau(ours, theirs)
    assert found is not None
    assert (found.spearman, found.spearman_p) == pytest.approx((spearman.statistic, spearman.pvalue))
    assert (found.kendall, found.kendall_p) == pytest.approx((kendall.statistic, kendall.pvalue))
    perfect = agreement(ours, ours)
    assert perfect is not None and perfect.spearman == pytest.approx(1) and 0 <= perfect.spearman_p < 1e-6


tenths = st.integers(100, 900).map(lambda number: number / 10)
groups = st.lists(st.lists(tenths, min_size=1, max_size=4), min_size=2, max_size=5)


def numbers(found: Difference) -> list[float]:
    return [value for value in (found.value, found.low, found.high) if value is not None]


def differences(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    noise = pooled_noise(rows, 1000)
    return [numbers(difference(row, rows[0], noise)) for row in rows[1:]]


@settings(max_examples=60)
@given(groups, st.integers(-90, 90))
def test_a_constant_on_all_accuracies_changes_no_difference(rows: list[list[float]], constant: int) -> None:
    for one, other in zip(
        differences(rows), differences([[value + constant for value in row] for row in rows]), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-9)


@settings(max_examples=60)
@given(groups, st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(rows: list[list[float]], random: Random) -> None:
    shuffled = [random.sample(row, len(row)) for row in rows]
    for one, other in zip(differences(rows), differences(shuffled), strict=True):
        assert one == pytest.approx(other, abs=1e-9)
    for row, other_row in zip(rows, shuffled, strict=True):
        assert spread(row).std == pytest.approx(spread(other_row).std)


@settings(max_examples=60)
@given(st.lists(tenths, min_size=1, max_size=4), st.lists(tenths, min_size=2, max_size=4))
def test_the_way_back_is_the_opposite(ours: list[float], before: list[float]) -> None:
    noise = pooled_noise([ours, before], 1000)
    there, back = difference(ours, before, noise), difference(before, ours, noise)
    assert there.low is not None and back.high is not None
    assert (there.value, there.low) == pytest.approx((-back.value, -back.high), abs=1e-9)
