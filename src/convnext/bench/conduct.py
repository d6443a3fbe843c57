"""Carry out a bench: programs in small groups, each with the reference, timed in turns: A B C, A B C, A B C."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from convnext.bench.forecast import Forecast, needed_bytes, weight_bytes
from convnext.bench.process import FailedError, Worker, WorkerProcess
from convnext.bench.progress import Reporter
from convnext.bench.record import Record, Row
from convnext.bench.settings import NO_MEMORY, Program, Settings, Subject, program
from convnext.cost import Cost
from convnext.machine import commit
from convnext.train.signals import StopRequest

MOST_IN_A_GROUP = 4
# On a GPU building and compiling take far longer than timing, and are done side by side.
MOST_IN_A_GROUP_ON_A_GPU = 8
# Of the free memory; the rest is for what the estimate does not know.
SHARE_OF_MEMORY = 0.5
LEAST_ROUNDS, MOST_ROUNDS = 3, 15
# Calls are put together to rounds of at least this, where `seconds` allows.
ROUND_SECONDS = 0.3
# Thread pools spin for a while after their last work; the next program is not to be slowed down by that.
REST_SECONDS = 0.05
# Of the timed seconds, and at the most.
WARM_SHARE, MOST_WARM_SECONDS = 0.25, 3.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """Programs that are timed in turns; the reference is one of them, or stands beside them."""

    reference: Program
    programs: tuple[Program, ...]

    @property
    def everyone(self) -> tuple[Program, ...]:
        """All that run, the reference first, each once."""
        return (self.reference, *(one for one in self.programs if one != self.reference))


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a test puts in the place of processes and clocks."""

    worker: Callable[[], Worker] = WorkerProcess
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def reference_of(one: Program, reference: Subject, settings: Settings) -> Program:
    """Return the program that another one's ratio is against: at its batch, in the first layout."""
    return program(reference, one.batch, settings.layouts[0], settings)


def groups(
    programs: Iterable[Program],
    reference: Subject,
    settings: Settings,
    costs: Mapping[Program, Cost],
    memory: int | None,
) -> list[Group]:
    """Divide programs, in their order, into groups of one batch that fit into half of the memory side by side.

    The layouts of one network stay together, where they fit. A program that fits beside no other is alone with the
    reference.

    memory: free bytes of the device, None where nothing tells
    """
    found: list[Group] = []
    for several in _bundles(programs, costs, reference, settings, memory):
        partner = reference_of(several[0], reference, settings)
        last = found[-1] if found and found[-1].reference == partner else None
        grown = None if last is None else replace(last, programs=(*last.programs, *several))
        if grown is not None and _fits(grown, costs, memory):
            found[-1] = grown
        else:
            found.append(Group(reference=partner, programs=several))
    return found


def _bundles(
    programs: Iterable[Program],
    costs: Mapping[Program, Cost],
    reference: Subject,
    settings: Settings,
    memory: int | None,
) -> Iterator[tuple[Program, ...]]:
    """Yield the programs of one network and batch together, or each alone where they do not fit side by side."""
    for _, same in groupby(programs, key=lambda one: (one.subject, one.batch)):
        several = tuple(same)
        if _fits(Group(reference=reference_of(several[0], reference, settings), programs=several), costs, memory):
            yield several
        else:
            yield from ((one,) for one in several)


def _fits(group: Group, costs: Mapping[Program, Cost], memory: int | None) -> bool:
    on_a_gpu = group.reference.device.startswith("cuda")
    if len(group.everyone) > (MOST_IN_A_GROUP_ON_A_GPU if on_a_gpu else MOST_IN_A_GROUP):
        return False
    needed = sum(needed_bytes(one, costs[one]) for one in group.everyone)
    return memory is None or needed <= SHARE_OF_MEMORY * memory


def run_groups(
    planned: Sequence[Group],
    settings: Settings,
    costs: Mapping[Program, Cost],
    record: Record,
    reporter: Reporter,
    *,
    memory: int | None,
    tools: Tools | None = None,
) -> bool:
    """Measure groups and put their rows into the record, after each group; return False where it was interrupted.

    A program that fails has a row that says why, and the others go on. Ctrl-C and SIGTERM end the processes at once;
    the groups that were done are in the record.
    """
    tools = tools or Tools()
    forecast = Forecast(costs, settings)
    try:
        with StopRequest(at_once=True):
            for number, group in enumerate(planned):
                later = [one for rest in planned[number + 1 :] for one in rest.everyone]
                began = tools.clock()
                run = _GroupRun(group, settings, costs, tools, forecast, reporter, later)
                rows = run.measured(memory)
                forecast.finished(group.everyone, tools.clock() - began)
                record.put(rows)
                for row in rows:
                    reporter.row(row)
    except KeyboardInterrupt:
        return False
    finally:
        reporter.stop()
    return True


class _GroupRun:
    """One group, from starting its processes to its rows."""

    def __init__(
        self,
        group: Group,
        settings: Settings,
        costs: Mapping[Program, Cost],
        tools: Tools,
        forecast: Forecast,
        reporter: Reporter,
        later: Sequence[Program],
    ) -> None:
        self._group, self._settings, self._costs, self._tools = group, settings, costs, tools
        self._forecast, self._reporter, self._later = forecast, reporter, later
        self._workers: dict[Program, Worker] = {}
        self._facts: dict[Program, dict[str, Any]] = {one: {} for one in group.everyone}
        self._failed: dict[Program, str] = {}
        self._seconds: dict[Program, list[float]] = {one: [] for one in group.everyone}
        self._left = dict.fromkeys(group.everyone, 1.0)

    def measured(self, memory: int | None) -> list[Row]:
        """Return the rows of the group's own programs."""
        everyone = self._group.everyone
        # One after another on a CPU, whose cores each of them takes for itself.
        builders = ThreadPoolExecutor(len(everyone) if everyone[0].device.startswith("cuda") else 1)
        try:
            begun = {one: builders.submit(self._begin, one) for one in everyone if self._start(one, memory)}
            for one, beginning in begun.items():
                self._tell(f"{one.title}: building and checking")
                beginning.result()
            for one in self._alive():
                self._warm_up(one)
            calls = {one: self._calls(one) for one in self._alive()}
            self._take_turns(calls)
            for one in self._alive():
                with self._noting_failure(one) as worker:
                    self._facts[one] |= worker.finish()
        finally:
            # A builder waits for its worker, and so ends with it.
            for worker in self._workers.values():
                worker.stop()
            builders.shutdown(cancel_futures=True)
        return [self._row(one, calls.get(one)) for one in self._group.programs]

    def _alive(self) -> list[Program]:
        return [one for one in self._workers if one not in self._failed]

    def _start(self, one: Program, memory: int | None) -> bool:
        """Start the process of a program; False where it cannot fit."""
        least = weight_bytes(one, self._costs[one])
        if memory is not None and least > memory:
            self._failed[one] = f"{NO_MEMORY}: its weights alone take {least / 1e9:.1f} GB of {memory / 1e9:.1f} free"
            return False
        self._workers[one] = self._tools.worker()
        return True

    def _begin(self, one: Program) -> None:
        with self._noting_failure(one) as worker:
            self._facts[one] |= worker.begin(one)

    def _warm_up(self, one: Program) -> None:
        self._tell(f"{one.title}: warming up")
        warm = min(MOST_WARM_SECONDS, WARM_SHARE * self._settings.seconds)
        with self._noting_failure(one) as worker:
            self._facts[one] |= worker.warm_up(warm)
            self._forecast.learn(one, self._facts[one]["call_seconds"])
        timed = self._settings.seconds / self._forecast.seconds(one)
        self._left[one] = 0.0 if one in self._failed else min(1.0, timed)

    def _noting_failure(self, one: Program) -> "_Noting":
        return _Noting(self._workers[one], one, self._failed, self._facts)

    def _calls(self, one: Program) -> int:
        wanted = min(ROUND_SECONDS, self._settings.seconds / LEAST_ROUNDS)
        call_seconds: float = self._facts[one]["call_seconds"]
        return max(1, round(wanted / call_seconds))

    def _take_turns(self, calls: Mapping[Program, int]) -> None:
        alive = self._alive()
        if not alive:
            return
        turn = sum(calls[one] * self._facts[one]["call_seconds"] for one in alive)
        fitting = int(self._settings.seconds * len(alive) / turn)
        rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, fitting))
        begun = dict(self._left)
        for number in range(rounds):
            for one in self._alive():
                self._tell(f"{one.title}: round {number + 1} of {rounds}")
                self._tools.sleep(REST_SECONDS)
                with self._noting_failure(one) as worker:
                    self._seconds[one].append(worker.round(calls[one]))
                self._left[one] = begun[one] * (1 - (number + 1) / rounds)

    def _tell(self, what: str) -> None:
        shares = [*self._left.items(), *((one, 1.0) for one in self._later)]
        self._reporter.working(what, self._forecast.left(shares))

    def _row(self, one: Program, calls: int | None) -> Row:
        facts, cost, reference = self._facts[one], self._costs[one], self._group.reference
        failed = self._failed.get(one)
        seconds = () if failed else tuple(self._seconds[one])
        compile_seconds = None
        if one.compiled and "first_seconds" in facts:
            compile_seconds = max(0.0, facts["first_seconds"] - facts["call_seconds"])
        return Row(
            program=one,
            params=cost.params,
            macs=cost.macs,
            reference=reference.subject.title,
            round_seconds=seconds,
            reference_round_seconds=() if failed or reference in self._failed else tuple(self._seconds[reference]),
            calls=calls,
            peak_memory_bytes=facts.get("peak_memory_bytes"),
            reserved_memory_bytes=facts.get("reserved_memory_bytes"),
            compile_seconds=compile_seconds,
            check_error=facts.get("check_error"),
            check_tolerance=facts.get("check_tolerance"),
            threads=facts.get("threads"),
            measured=time.strftime("%Y-%m-%d"),
            commit=commit(),
            failed=failed,
        )


class _Noting:
    """Gives the worker of a program and, where it fails, notes why and ends it."""

    def __init__(
        self, worker: Worker, one: Program, failed: dict[Program, str], facts: dict[Program, dict[str, Any]]
    ) -> None:
        self._worker, self._one, self._failed, self._facts = worker, one, failed, facts

    def __enter__(self) -> Worker:
        return self._worker

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, FailedError):
            return False
        self._failed[self._one] = str(error)
        self._facts[self._one] |= error.facts
        self._worker.stop()
        return True


def left_to_do(programs: Iterable[Program], record: Record) -> Iterator[Program]:
    """Yield the programs that have no row yet, or one that failed."""
    return (one for one in programs if not record.is_done(one))
