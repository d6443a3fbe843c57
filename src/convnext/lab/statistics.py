"""The arithmetic of a sweep: the spread of seeds, differences with their intervals, agreement of two orders.

Values are top-1 accuracies in percent, differences and deviations are in points of them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean, stdev
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
# Half the width of a normal distribution's middle 95%, in standard deviations.
NORMAL_95 = 1.96
# Up to here all orders are tried (7! = 5,040); scipy's approximation would call three rows in the same order certain.
MOST_TRIED = 7
# Sums of printed decimals that mean the same number differ far behind this; they are ties, not an order.
DECIMALS = 9

Verdict = Literal["better", "worse", "within noise", "noise unknown"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation (over n - 1) of the seeds of one row; a single seed has no deviation."""

    count: int
    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The standard deviation between seeds, pooled over all rows, and the degrees of freedom behind it."""

    std: float
    freedom: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one row lies above another, and the 95% interval of that; no interval where the noise is unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What may be said of it: "within noise" when the interval holds 0."""
        if self.low is None or self.high is None:
            return "noise unknown"
        if self.low <= 0 <= self.high:
            return "within noise"
        return "better" if self.value > 0 else "worse"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two lists order the same things alike, from -1 to 1, each with its two-sided p-value."""

    count: int
    spearman: float
    spearman_p: float
    kendall: float
    kendall_p: float


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of at least one value."""
    return Spread(count=len(values), mean=fmean(values), std=stdev(values) if len(values) > 1 else None)


def pooled_noise(groups: Iterable[Sequence[float]]) -> Noise | None:
    """Return the deviation within groups, as in a one-way analysis of variance; None where no group has two values.

    Its square is the sum of all squared deviations from the groups' own means over the sum of (n - 1).
    """
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    squares = math.fsum((value - fmean(group)) ** 2 for group in several for value in group)
    freedom = sum(len(group) - 1 for group in several)
    return Noise(std=math.sqrt(squares / freedom), freedom=freedom)


def difference(values: Sequence[float], before: Sequence[float], noise: Noise | None) -> Difference:
    """Return how far the mean of `values` lies above that of `before`, with Student's 95% interval.

    The interval takes the pooled noise for both, so that one value a side is enough; it is unpaired.
    """
    value = fmean(values) - fmean(before)
    if noise is None:
        return Difference(value=value)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, noise.freedom))
    half = quantile * noise.std * math.sqrt(1 / len(values) + 1 / len(before))
    return Difference(value=value, low=value - half, high=value + half)


def level_margin(top1: float, pictures: int) -> float:
    """Return by how many points a top-1 in percent may miss the truth because only so many pictures were held out.

    Half of the 95% interval of a share, by the normal approximation. It is common to all seeds, which are scored on
    the same pictures, so no number of seeds shows it.
    """
    share = top1 / 100
    return 100 * NORMAL_95 * math.sqrt(share * (1 - share) / pictures)


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> Agreement | None:
    """Return the rank correlations of two lists; None for fewer than three pairs, or where all of a list are equal."""
    ours, theirs = [round(value, DECIMALS) for value in ours], [round(value, DECIMALS) for value in theirs]
    if len(ours) < 3 or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return None
    kendall = stats.kendalltau(ours, theirs)
    ranks, others = stats.rankdata(ours), stats.rankdata(theirs)
    spearman = float(np.corrcoef(ranks, others)[0, 1])
    return Agreement(
        count=len(ours),
        spearman=spearman,
        spearman_p=_spearman_p(ranks, others, spearman),
        kendall=float(kendall.statistic),
        kendall_p=float(kendall.pvalue),
    )


def _spearman_p(ranks: NDArray[np.float64], others: NDArray[np.float64], spearman: float) -> float:
    if len(ranks) > MOST_TRIED:
        freedom = len(ranks) - 2
        # Of a perfect agreement the approximation makes an infinite t, which is as rare as can be.
        remainder = max(1 - spearman**2, 1e-12)
        return float(2 * stats.t.sf(abs(spearman) * math.sqrt(freedom / remainder), freedom))
    orders = np.array(list(permutations(others)))
    centred = ranks - ranks.mean()
    found = abs(centred @ others)
    return float(np.mean(np.abs(orders @ centred) >= found - 1e-9))
