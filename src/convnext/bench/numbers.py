"""The arithmetic of a bench: medians, quartiles, ratios of rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of some rounds and the quartiles around it; all are equal where there was one round."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles of at least one value, interpolated between the values as numpy does."""
    if len(values) == 1:
        return Spread(median=values[0], low=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median=median, low=low, high=high)


def speed_text(speed: float) -> str:
    """Return a speed with three digits, or with all before the point: 0.0467, 8.80, 12.3, 1,944."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:#.3g}"


def ratio_text(ratio: float) -> str:
    """Return a ratio with two digits at the least: 12.34, 0.56, 0.012."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def speeds(round_seconds: Sequence[float], batch: int) -> Spread:
    """Return images per second from the seconds of one call in each round."""
    return spread([batch / seconds for seconds in round_seconds])


def ratios(
    round_seconds: Sequence[float], reference_seconds: Sequence[float], batch: int, reference_batch: int
) -> Spread:
    """Return how many times as fast as the reference a program is, round by round.

    Both stood side by side in each round, so what slowed the whole machine down for a while is in both and cancels.
    """
    return spread(
        [
            (batch / seconds) / (reference_batch / reference)
            for seconds, reference in zip(round_seconds, reference_seconds, strict=True)
        ]
    )
