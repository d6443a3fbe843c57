"""Programs, costs and workers that are made for tests: no process, no network, no waiting."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from convnext.bench.conduct import Tools
from convnext.bench.record import Record, Row
from convnext.bench.settings import Program, Settings, Subject, program
from convnext.cost import Cost

SETTINGS = Settings(seconds=1.0, reference="a@64")
MACHINE = {"processor": "a made one", "cpus": 2, "threads": 1, "accelerator": None, "system": "Linux"}
VERSIONS = {"convnext": "0", "python": "3", "torch": "2", "torchvision": "0", "timm": "1"}


def one(name: str, batch: int = 1, settings: Settings = SETTINGS, layout: Any = "nchw") -> Program:
    return program(Subject(model=name, size=64), batch, layout, settings)


def cost(macs: int = 10**9, params: int = 10**6, activations: int = 10**6) -> Cost:
    return Cost(part="total", params=params, macs=macs, activations=activations)


def costs(*programs: Program) -> dict[Program, Cost]:
    return dict.fromkeys(programs, cost())


def record(path: Any = None, settings: Settings = SETTINGS, **changes: Any) -> Record:
    return Record(path, settings, machine=MACHINE | changes, versions=VERSIONS)


class Silent:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.rows: list[Row] = []
        self.stopped = False

    def working(self, what: str, seconds_left: float) -> None:
        self.told.append((what, seconds_left))

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def stop(self) -> None:
        self.stopped = True


class Crew:
    """Makes workers that note what they are asked, in one list of (what, model).

    call_seconds  of each model, a number or what gives the next one
    failing       model and stage ("begin", "warm up", "round", "finish") to what is raised there
    all_build     where all must be building at the same time
    """

    def __init__(
        self,
        call_seconds: Mapping[str, float | Callable[[], float]] | None = None,
        failing: Mapping[tuple[str, str], BaseException] | None = None,
        all_build: threading.Barrier | None = None,
    ) -> None:
        self.building = self.most_building = 0
        self.all_build = all_build
        self.log: list[tuple[str, str]] = []
        self.alive: list[str] = []
        self.calls: list[int] = []
        self.call_seconds = dict(call_seconds or {})
        self.failing = dict(failing or {})

    def tools(self) -> Tools:
        ticks = iter(range(10**6))
        return Tools(
            worker=lambda: MadeWorker(self), sleep=lambda s: self.log.append(("sleep", "")), clock=lambda: next(ticks)
        )

    def rounds(self) -> str:
        return "".join(name for what, name in self.log if what == "round")


class MadeWorker:
    def __init__(self, crew: Crew) -> None:
        self.crew, self.name = crew, ""

    def _note(self, what: str) -> None:
        self.crew.log.append((what, self.name))
        error = self.crew.failing.get((self.name, what))
        if error is not None:
            raise error

    def _seconds(self) -> float:
        found = self.crew.call_seconds.get(self.name, 0.1)
        return found() if callable(found) else found

    def begin(self, asked: Program) -> dict[str, Any]:
        self.name = asked.model
        self.crew.alive.append(self.name)
        self.crew.building += 1
        self.crew.most_building = max(self.crew.most_building, self.crew.building)
        try:
            self._note("begin")
            if self.crew.all_build is not None:
                # Broken where one is built after the other.
                self.crew.all_build.wait(timeout=20)
        finally:
            self.crew.building -= 1
        return {"params": 1, "first_seconds": 3.0, "threads": 1}

    def warm_up(self, seconds: float) -> dict[str, Any]:
        assert self.crew.building == 0, "another one is still being built"
        self._note("warm up")
        return {"call_seconds": self._seconds()}

    def round(self, calls: int) -> float:
        self.crew.calls.append(calls)
        self._note("round")
        return self._seconds()

    def finish(self) -> dict[str, Any]:
        self._note("finish")
        facts = {"peak_memory_bytes": 5, "reserved_memory_bytes": None, "check_error": 1e-6, "check_tolerance": 0.01}
        return facts

    def stop(self) -> None:
        if self.name in self.crew.alive:
            self.crew.alive.remove(self.name)
