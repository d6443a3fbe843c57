"""Watch a training: say once, with likely causes, when it learns nothing, jumps, forgets or learns by heart."""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from convnext.recipe import Recipe
from convnext.train.causes import chance_causes, numbered, spike_causes
from convnext.train.ema import ema_decay

LOOKED_BACK, FEWEST_LOOKED_BACK = 50, 20
SPIKE_DEVIATIONS, SPIKE_TIMES, SPIKE_LEAST = 5.0, 2.0, 0.5
STANDARD_ERRORS = 3.0
FIRST_EPOCH, EPOCH_SHARE, FEWEST_STEPS = 3, 0.1, 100
BEHIND_POINTS = 10.0
FORGOTTEN = 0.05
RISEN, RISING_EPOCHS = 1.5, 5


class Alarms:
    """Hears of each logged loss and each scored epoch of a run and returns warnings, each kind once.

    steps    of the whole run
    target   name of the number that chooses the best epoch
    chance   what the best constant answer scores on the held-out pictures, in percent of them (the share of their most
             frequent class); None where a task has no such thing
    history  the scored epochs of a run that goes on, whose warnings were given
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        steps: int,
        target: str,
        chance: float | None,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._recipe, self._steps, self._target, self._chance = recipe, steps, target, chance
        self._decay = None if recipe.ema.decay is None else ema_decay(recipe.ema.decay, steps)
        self._losses: deque[float] = deque(maxlen=LOOKED_BACK)
        self._given: set[str] = set()
        self._rows: list[Mapping[str, Any]] = []
        for row in history:
            self.epoch(row)

    def step(self, step: int, loss: float | None) -> str | None:
        """Return a warning if the loss of a logged step jumped out of its last fifty; None for no loss is passed over.

        A jump is more than twice their median and more than five scaled median deviations above it.
        """
        if loss is None or not math.isfinite(loss):
            return None
        before = list(self._losses)
        self._losses.append(loss)
        if "spike" in self._given or len(before) < FEWEST_LOOKED_BACK:
            return None
        median = statistics.median(before)
        deviation = 1.4826 * statistics.median(abs(value - median) for value in before)
        if loss <= max(SPIKE_TIMES * median, median + max(SPIKE_DEVIATIONS * deviation, SPIKE_LEAST)):
            return None
        self._given.add("spike")
        return (
            f"the loss jumped to {loss:.3g} at step {step:,}, from about {median:.3g} before. If it does not come down "
            f"again, likely causes are {numbered(spike_causes(self._recipe))}"
        )

    def epoch(self, row: Mapping[str, Any]) -> list[str]:
        """Return the warnings that a scored epoch gives cause for; `row` is its line in the log."""
        self._rows.append(row)
        checks = {
            "chance": self._no_better_than_chance,
            "collapse": self._fell_to_chance,
            "average": self._average_behind,
            "by_heart": self._learnt_by_heart,
        }
        warnings: list[str] = []
        for kind, check in checks.items():
            text = None if kind in self._given else check(row)
            if text is not None:
                self._given.add(kind)
                warnings.append(text)
        return warnings

    def _no_better_than_chance(self, row: Mapping[str, Any]) -> str | None:
        if not self._is_time(row) or any(self._beats_chance(one, "raw") is not False for one in self._rows):
            return None
        first, now = self._rows[0]["train_loss"], row["train_loss"]
        learns = len(self._rows) > 1 and None not in (first, now) and now < 0.8 * first
        causes = chance_causes(self._recipe, step=row["step"], learns=learns)
        return (
            f"no better than chance by epoch {row['epoch']}: {self._target} {row['raw'][self._target]:.2f} of "
            f"{row['raw']['images']:,} held-out pictures, always saying the same scores {self._chance:.2f}, and of so "
            f"few pictures less than {self._bar(row, 'raw'):.0f} may be luck. "
            f"Likely causes: {numbered(causes)}"
        )

    def _fell_to_chance(self, row: Mapping[str, Any]) -> str | None:
        before = [one for one in self._rows[:-1] if self._beats_chance(one, "raw")]
        if not before or self._beats_chance(row, "raw") is not False:
            return None
        best, now = max(one["raw"][self._target] for one in before), row["raw"][self._target]
        return (
            f"{self._target} fell to chance in epoch {row['epoch']}: it was {best:.2f} and is {now:.2f}; "
            "best.safetensors still holds the best epoch. Likely causes: " + numbered(spike_causes(self._recipe))
        )

    def _average_behind(self, row: Mapping[str, Any]) -> str | None:
        if self._decay is None or row["ema"] is None or not self._beats_chance(row, "raw"):
            return None
        raw, average = row["raw"][self._target], row["ema"][self._target]
        error = 100 / math.sqrt(row["raw"]["images"])
        if raw - average <= max(BEHIND_POINTS, error):
            return None
        initial, to_the_end = self._decay ** row["step"], self._decay**self._steps
        what = f"the average is far behind in epoch {row['epoch']}: {self._target} {average:.2f}, raw {raw:.2f}. "
        if to_the_end > FORGOTTEN and self._is_time(row):
            return what + (
                f"ema.decay={self._decay:g} reaches over {1 / (1 - self._decay):,.0f} steps and the run has "
                f"{self._steps:,}: at its end {100 * to_the_end:.0f}% of the average will still be initial weights. "
                "Take ema.decay=auto, or use the raw weights (--weights raw)"
            )
        if initial < FORGOTTEN:
            return what + (
                "It has long left the initial weights, so this is something else: averages of BatchNorm nets often are "
                "bad. Take ema.decay=none, or use the raw weights (--weights raw)"
            )
        return None

    def _learnt_by_heart(self, row: Mapping[str, Any]) -> str | None:
        scored = [one for one in self._rows if one["raw"].get("loss") is not None and one["train_loss"] is not None]
        if not scored or row["raw"].get("loss") is None:
            return None
        best = min(scored, key=lambda one: one["raw"]["loss"])
        if (
            row["epoch"] - best["epoch"] < RISING_EPOCHS
            or row["raw"]["loss"] < RISEN * best["raw"]["loss"]
            or row["train_loss"] is None
            or row["train_loss"] >= best["train_loss"]
            or row["raw"][self._target] > best["raw"][self._target]
        ):
            return None
        return (
            f"training pictures are learnt by heart: since epoch {best['epoch']} the held-out loss rose from "
            f"{best['raw']['loss']:.3g} to {row['raw']['loss']:.3g} while the training loss fell from "
            f"{best['train_loss']:.3g} to {row['train_loss']:.3g}. Fewer epochs, more augmentation "
            "(--recipe small-data), a smaller model or trained weights (--weights) help"
        )

    def _is_time(self, row: Mapping[str, Any]) -> bool:
        """Whether so much was trained that more than chance can be asked for."""
        schedule = self._recipe.schedule
        warmup_epochs = schedule.warmup_epochs
        if schedule.warmup_steps is not None:
            warmup_epochs = schedule.warmup_steps * row["epoch"] / max(1, row["step"])
        due = max(FIRST_EPOCH, math.ceil(EPOCH_SHARE * schedule.epochs), math.ceil(warmup_epochs) + 1)
        enough = row["epoch"] >= FIRST_EPOCH or row["step"] >= FEWEST_STEPS
        return enough and bool(row["epoch"] >= min(due, schedule.epochs))

    def _beats_chance(self, row: Mapping[str, Any], weights: str) -> bool | None:
        """Whether a score lies above what luck explains; None where there is no chance or too few pictures to tell."""
        if self._chance is None or row[weights] is None:
            return None
        bar = self._bar(row, weights)
        if bar > (100 + self._chance) / 2:
            return None
        return bool(row[weights][self._target] > bar)

    def _bar(self, row: Mapping[str, Any], weights: str) -> float:
        """Return the score that luck does not explain: chance and three standard errors."""
        assert self._chance is not None
        share = self._chance / 100
        return self._chance + 100 * STANDARD_ERRORS * math.sqrt(share * (1 - share) / row[weights]["images"])
