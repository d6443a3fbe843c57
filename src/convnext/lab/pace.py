"""How fast a sweep goes, and what is left of it, while one of its runs is on."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convnext.lab.rows import Row
from convnext.lab.status import RunState, seconds_left, state_of
from convnext.lab.sweep import Sweep
from convnext.train.progress import Whole


class Pace:
    """The runs of a sweep's share, the present one among them; calling it tells where the whole stands."""

    def __init__(self, folder: Path, sweep: Sweep, runs: Sequence[tuple[Row, int]]) -> None:
        self._folder, self._sweep = folder, sweep
        self._states: dict[tuple[str, int], RunState] = {}
        for row, seed in runs:
            self._look(row, seed)
        self._present: tuple[str, int] | None = None
        self._whole_run: float | None = None
        self._began = time.monotonic()

    def begin(self, row: Row, seed: int) -> None:
        """A run begins or goes on."""
        self._present, self._whole_run = (row.name, seed), None
        self._began = time.monotonic()

    def end(self, row: Row, seed: int) -> None:
        """A run ended, for whatever reason."""
        self._look(row, seed)
        self._present = None

    def __call__(self, fraction: float, left: float | None) -> Whole:
        """Return where the sweep stands when that much of the present run is done and it has so many seconds left."""
        assert self._present is not None, "a run has begun"
        row, seed = self._present
        others = [state for key, state in self._states.items() if key != self._present]
        done = sum(state.state == "done" for state in others)
        number = list(self._states).index(self._present) + 1
        return Whole(
            label=f"run {number} of {len(self._states)}: {row}, seed {seed}",
            done=done + fraction,
            total=len(self._states),
            seconds_left=self._seconds_left(others, fraction, left),
        )

    def _seconds_left(self, others: list[RunState], fraction: float, left: float | None) -> float | None:
        assert self._present is not None
        if left is not None and fraction < 1:
            self._whole_run = left / (1 - fraction)
        elif self._whole_run is None and fraction >= 1:
            self._whole_run = time.monotonic() - self._began
        if self._whole_run is None:
            return seconds_left(others)
        # The present run's own pace stands for rows that have none yet.
        present = self._states[self._present]
        known = replace(present, state="done", epoch=present.epochs, seconds=self._whole_run)
        return (1 - fraction) * self._whole_run + (seconds_left([known, *others]) or 0.0)

    def _look(self, row: Row, seed: int) -> None:
        self._states[row.name, seed] = state_of(self._folder, self._sweep, row, seed)
