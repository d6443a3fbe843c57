"""How long a bench will take, and how much memory: from multiply-adds first, then from what was measured."""

import statistics
from collections.abc import Iterable, Mapping

from convnext.bench.settings import Program, Settings
from convnext.cost import Cost

# Multiply-adds a second before anything was measured: half of what two cores with AVX2, or a mid-range GPU, reach.
ASSUMED_SPEED = {"cpu": 4e10, "cuda": 5e12, "mps": 5e11}
# Starting Python and torch, and drawing weights.
START_SECONDS = 6.0
PARAMS_A_SECOND = 2e7
# Calls beside those that are timed: the reference, the first one and the warm-up.
OTHER_CALLS = 4
LEAST_ROUNDS = 3
COMPILE_SECONDS = 60.0
BACKWARD = 3  # a training step's multiply-adds, in forward passes
BYTES = 4


class Forecast:
    """The seconds that programs take, by what is known so far."""

    def __init__(self, costs: Mapping[Program, Cost], settings: Settings) -> None:
        self._costs = costs
        self._settings = settings
        self._speeds: list[float] = []
        self._done: list[Program] = []
        self._spent = 0.0

    def learn(self, program: Program, call_seconds: float) -> None:
        """Take in how long one call of a program lasts."""
        self._speeds.append(self._macs(program) / call_seconds)

    def finished(self, programs: Iterable[Program], seconds: float) -> None:
        """Take in how long some programs took from start to end."""
        self._done += programs
        self._spent += seconds

    def seconds(self, program: Program) -> float:
        """Return the seconds of a program from start to end, if this machine were as it is thought to be."""
        device = program.device.partition(":")[0]
        speed = statistics.median(self._speeds) if self._speeds else ASSUMED_SPEED.get(device, 4e10)
        call = self._macs(program) / speed
        start = START_SECONDS + self._costs[program].params / PARAMS_A_SECOND
        timed = max(self._settings.seconds, LEAST_ROUNDS * call)
        return start + OTHER_CALLS * call + timed + (COMPILE_SECONDS if program.compiled else 0.0)

    def left(self, shares: Iterable[tuple[Program, float]]) -> float:
        """Return the seconds for what is left: programs, and how much of each is (1 for all of it)."""
        thought = sum(self.seconds(program) for program in self._done)
        correction = self._spent / thought if thought else 1.0
        return correction * sum(share * self.seconds(program) for program, share in shares)

    def _macs(self, program: Program) -> float:
        return self._costs[program].macs * program.batch * (BACKWARD if program.train else 1)


def weight_bytes(program: Program, cost: Cost) -> int:
    """Return what the weights take at the least, in training with gradients and AdamW's two moments."""
    return BYTES * cost.params * (4 if program.train else 1)


def needed_bytes(program: Program, cost: Cost) -> int:
    """Return about what a program takes: at once a quarter of its activations, in training three times all of them.

    Activations are the outputs of convolutions and linear layers; norms, GELU and attention keep others as many.
    """
    kept = 3.0 if program.train else 0.25
    return weight_bytes(program, cost) + round(BYTES * cost.activations * program.batch * kept)
