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
from scipy import optimize, special, stats

CONFIDENCE = 0.95
# Half the width of a normal distribution's middle 95%, in standard deviations.
NORMAL_95 = 1.96
# Points of the quadratures behind Dunnett's quantile: good for four digits, with one degree of freedom as with many.
_OVER_CONTROL, _OVER_DEVIATION = 160, 256
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
    """The standard deviation between seeds, pooled over all rows, and the degrees of freedom behind it.

    least  what rounding to one held-out picture is worth; the deviation is not below it
    """

    std: float
    freedom: int
    least: float = 0.0


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


def pooled_noise(groups: Iterable[Sequence[float]], pictures: int) -> Noise | None:
    """Return the deviation within groups, as in a one-way analysis of variance; None where no group has two values.

    Its square is the sum of all squared deviations from the groups' own means over the sum of (n - 1). Accuracies are
    shares of so many pictures, so that seeds which tie tell of the rounding, not of certainty: the deviation is at
    least that of a value that is rounded to one picture, which lies evenly in an interval 100 / pictures wide.
    """
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    squares = math.fsum((value - fmean(group)) ** 2 for group in several for value in group)
    freedom = sum(len(group) - 1 for group in several)
    least = 100 / pictures / math.sqrt(12)
    return Noise(std=max(math.sqrt(squares / freedom), least), freedom=freedom, least=least)


def students_quantile(freedom: int) -> float:
    """Return how many standard errors the 95% interval of one difference reaches to each side."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def dunnetts_quantile(counts: Sequence[int], control: int, freedom: int) -> float:
    """Return how many standard errors 95% intervals reach that hold all at once, where groups share one control.

    counts   values in each group
    control  values in the control
    freedom  of the noise, which is pooled

    The two-sided critical value of C. W. Dunnett (J. Am. Stat. Assoc. 50, 1955): given the control's error and the
    deviation, the groups are independent, and the chance that all lie within is integrated over the two. For a single
    group it is Student's.
    """
    single = students_quantile(freedom)
    if len(counts) == 1:
        return single
    # The correlation of two differences is the product of these.
    shared = np.sqrt([count / (count + control) for count in counts])[:, None, None]
    errors, error_weights = np.polynomial.hermite_e.hermegauss(_OVER_CONTROL)
    error_weights /= math.sqrt(2 * math.pi)
    places, place_weights = np.polynomial.legendre.leggauss(_OVER_DEVIATION)
    deviations = stats.chi.ppf((places + 1) / 2, freedom) / math.sqrt(freedom)

    def missed(quantile: float) -> float:
        centre, reach = shared * errors[:, None], quantile * deviations
        own = np.sqrt(1 - shared**2)
        inside = special.ndtr((centre + reach) / own) - special.ndtr((centre - reach) / own)
        return float(error_weights @ inside.prod(axis=0) @ place_weights / 2) - CONFIDENCE

    # Never below one interval's, never above Bonferroni's, but for rounding.
    bonferronis = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / len(counts), freedom))
    return float(optimize.brentq(missed, 0.99 * single, 1.01 * bonferronis))


def difference(
    values: Sequence[float], before: Sequence[float], noise: Noise | None, *, quantile: float | None = None
) -> Difference:
    """Return how far the mean of `values` lies above that of `before`, with its 95% interval.

    The interval takes the pooled noise for both, so that one value a side is enough; it is unpaired. `quantile` is how
    many standard errors it reaches; None is Student's.
    """
    value = fmean(values) - fmean(before)
    if noise is None:
        return Difference(value=value)
    quantile = students_quantile(noise.freedom) if quantile is None else quantile
    half = quantile * noise.std * math.sqrt(1 / len(values) + 1 / len(before))
    return Difference(value=value, low=value - half, high=value + half)


def level_margin(top1: float, pictures: int) -> float:
    """Return by how many points a top-1 in percent may miss the truth because only so many pictures were held out.

    Half the width of the 95% interval of a share by E. B. Wilson (J. Am. Stat. Assoc. 22, 1927), which is not 0 where
    all pictures are right or all are wrong. It is common to all seeds, which are scored on the same pictures, so no
    number of seeds shows it.
    """
    share, squared = top1 / 100, NORMAL_95**2
    inner = share * (1 - share) / pictures + squared / (4 * pictures**2)
    return 100 * NORMAL_95 * math.sqrt(inner) / (1 + squared / pictures)


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
