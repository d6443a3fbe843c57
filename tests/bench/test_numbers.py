"""Medians, quartiles and ratios, by hand."""

import pytest

from convnext.bench.numbers import ratio_text, ratios, speed_text, speeds, spread


def test_median_and_quartiles_by_hand() -> None:
    found = spread([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    even = spread([1.0, 2.0, 3.0, 10.0])
    assert (even.low, even.median, even.high) == (1.75, 2.5, 4.75)
    alone = spread([7.0])
    assert (alone.low, alone.median, alone.high) == (7.0, 7.0, 7.0)


def test_speeds_have_three_digits() -> None:
    found = [speed_text(speed) for speed in (0.01234, 3.0, 8.8, 12.34, 123.4, 1943.5)]
    assert found == ["0.0123", "3.00", "8.80", "12.3", "123", "1,944"]


def test_small_ratios_keep_two_digits() -> None:
    assert [ratio_text(ratio) for ratio in (12.346, 0.556, 0.01234, 0.004)] == ["12.35", "0.56", "0.012", "0.004"]


def test_speeds_count_pictures_and_not_calls() -> None:
    found = speeds([0.5, 2.0, 1.0], batch=8)
    assert found.median == 8.0 and (found.low, found.high) == (6.0, 12.0)


def test_ratios_are_of_the_same_round() -> None:
    # The machine is three times slower in the second round and ten times in the third: the ratio stays 2.
    seconds, reference = [1.0, 3.0, 10.0], [2.0, 6.0, 20.0]
    found = ratios(seconds, reference, 4, 4)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)
    # The ratio of the medians would be 3 / 2.
    assert ratios([1.0, 2.0, 9.0], [2.0, 8.0, 3.0], 1, 1).median == 2.0
    assert ratios([1.0], [1.0], 8, 4).median == 2.0
    with pytest.raises(ValueError):
        ratios([1.0, 1.0], [1.0], 1, 1)
