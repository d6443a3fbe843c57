"""The order of turns, groups, failures and interruptions of a bench, with made workers and clocks."""

import os
import signal
import threading
from dataclasses import replace

import pytest

from convnext.bench.conduct import Group, Tools, groups, left_to_do, run_groups
from convnext.bench.process import FailedError
from convnext.bench.settings import LAYOUTS, Program, Settings, Subject
from tests.bench.made import SETTINGS, Crew, Silent, cost, costs, one, record

A, B, C, D, E = (one(name) for name in "abcde")
REFERENCE = Subject(model="a", size=64)
GIGABYTE = 10**9


def planned(*programs: Program, memory: int | None = None, settings: Settings = SETTINGS) -> list[Group]:
    everyone = costs(*programs, *(replace(one_, model="a") for one_ in programs))
    return groups(programs, REFERENCE, settings, everyone, memory)


def measure(crew: Crew, *programs: Program, keep: object = None, tools: Tools | None = None) -> tuple[bool, Silent]:
    reporter = Silent()
    found = record() if keep is None else keep
    plan = planned(*left_to_do(programs, found))  # type: ignore[arg-type]
    known = costs(*programs, *(group.reference for group in plan))
    finished = run_groups(
        plan,
        SETTINGS,
        known,
        found,
        reporter,
        memory=None,
        tools=tools or crew.tools(),  # type: ignore[arg-type]
    )
    return finished, reporter


def test_programs_take_turns_with_a_rest_before_each() -> None:
    crew = Crew({"a": 0.1, "b": 0.1})
    finished, _ = measure(crew, A, B)
    # 1 second for each, rounds of 3 calls of 0.1 s: (1 + 1) / (0.3 + 0.3) = 3 rounds.
    assert finished and crew.rounds() == "ababab" and set(crew.calls) == {3}
    turns = [what for what, _ in crew.log if what in ("sleep", "round")]
    assert turns == ["sleep", "round"] * 6
    stages = [what for what, _ in crew.log if what != "sleep"]
    assert stages == [*["begin"] * 2, *["warm up"] * 2, *["round"] * 6, *["finish"] * 2] and crew.alive == []


def test_on_a_gpu_eight_are_built_side_by_side_and_timed_in_turns() -> None:
    settings = replace(SETTINGS, device="cuda")
    programs = [one(name, settings=settings) for name in "abcdefghi"]
    known = costs(*programs)
    plan = groups(programs, REFERENCE, settings, known, None)
    assert [len(group.everyone) for group in plan] == [8, 2]
    crew = Crew(all_build=threading.Barrier(8))
    assert run_groups(plan[:1], settings, known, record(), Silent(), memory=None, tools=crew.tools())
    assert crew.rounds()[:16] == "abcdefgh" * 2 and crew.alive == []


def test_on_a_cpu_one_is_built_after_the_other() -> None:
    crew = Crew()
    measure(crew, A, B, C)
    assert crew.most_building == 1


def test_a_slow_program_has_three_rounds_and_a_fast_one_more_calls_in_each() -> None:
    crew = Crew({"a": 0.001, "b": 7.0})
    measure(crew, A, B)
    assert crew.rounds() == "ababab" and crew.calls == [300, 1] * 3
    quick = Crew({"a": 0.01})
    measure(quick, A)
    assert quick.calls == [30] * 3


def test_rows_have_medians_and_the_ratio_of_the_rounds() -> None:
    slow = iter([1.0, 0.1, 0.3, 1.0])  # the first one is the warm-up's
    twice = iter([1.0, 0.2, 0.6, 2.0])
    crew = Crew({"a": lambda: next(slow), "b": lambda: next(twice)})
    _, reporter = measure(crew, A, B)
    first, second = (row.to_dict() for row in reporter.rows)
    assert first["round_seconds"] == [0.1, 0.3, 1.0] and first["ratio"] == 1.0
    assert second["images_per_second"] == pytest.approx(1 / 0.6) and second["ratio"] == pytest.approx(0.5)
    assert second["ratio_quartiles"] == pytest.approx([0.5, 0.5])
    assert second["reference_round_seconds"] == [0.1, 0.3, 1.0] and second["reference"] == "a@64"
    assert second["peak_memory_bytes"] == 5 and second["check_error"] == 1e-6 and second["failed"] is None


def test_a_reference_that_was_not_asked_for_has_no_row() -> None:
    crew = Crew({"a": 0.1, "b": 0.05})
    _, reporter = measure(crew, B)
    assert crew.rounds().startswith("ab")
    (row,) = reporter.rows
    assert row.program == B and row.to_dict()["ratio"] == pytest.approx(2.0)


def test_groups_hold_four_and_the_reference_is_in_each() -> None:
    found = planned(A, B, C, D, E)
    assert [group.programs for group in found] == [(A, B, C, D), (E,)]
    assert [group.everyone for group in found] == [(A, B, C, D), (A, E)]
    # Another batch has another reference.
    eight = one("b", 8)
    assert [group.everyone for group in planned(B, eight)] == [(A, B), (one("a", 8), eight)]


def test_what_does_not_fit_side_by_side_is_apart() -> None:
    big, large, small = one("b"), one("c"), one("d")
    sizes = {
        A: cost(params=10**6),
        big: cost(params=10**9),
        large: cost(params=10**9),
        small: cost(params=10**6),
    }
    found = groups([big, large, small], REFERENCE, SETTINGS, sizes, 10 * GIGABYTE)
    assert [group.programs for group in found] == [(big,), (large, small)]
    assert len(groups([big, large, small], REFERENCE, SETTINGS, sizes, None)) == 1
    training = replace(SETTINGS, train=True)
    taught = [one(name, settings=training) for name in "abd"]
    # Weights, gradients and two moments: 16 GB, not 4.
    known = dict(zip(taught, (sizes[A], sizes[big], sizes[small]), strict=True))
    assert len(groups(taught[1:], REFERENCE, training, known, 20 * GIGABYTE)) == 2


def test_the_layouts_of_a_network_stay_together() -> None:
    both = [one(name, layout=layout) for name in "abcd" for layout in LAYOUTS]
    settings = replace(SETTINGS, layouts=LAYOUTS)
    found = groups(both, REFERENCE, settings, costs(*both), None)
    assert [[p.model for p in group.programs] for group in found] == [["a", "a", "b", "b"], ["c", "c"], ["d", "d"]]
    big = {program: cost(params=10**9 if program.model == "b" else 1) for program in both}
    alone = groups(both[:4], REFERENCE, settings, big, 9 * GIGABYTE)
    assert [group.programs for group in alone] == [tuple(both[:3]), (both[3],)]


@pytest.mark.parametrize("stage", ["begin", "warm up", "round", "finish"])
def test_a_program_that_fails_says_why_and_the_others_go_on(stage: str) -> None:
    crew = Crew(failing={("b", stage): FailedError("it broke", {"check_error": 0.5})})
    finished, reporter = measure(crew, A, B, C)
    assert finished and crew.alive == []
    first, broken, last = (row.to_dict() for row in reporter.rows)
    assert broken["failed"] == "it broke" and broken["images_per_second"] is None and broken["round_seconds"] == []
    assert broken["check_error"] == 0.5 and broken["params"] == 10**6
    assert first["ratio"] == 1.0 and last["images_per_second"] == 10 and last["ratio"] == 1.0
    assert crew.rounds().count("b") == {"begin": 0, "warm up": 0, "round": 1, "finish": 3}[stage]


def test_without_its_reference_a_row_has_a_speed_and_no_ratio() -> None:
    crew = Crew(failing={("a", "round"): FailedError("gone")})
    _, reporter = measure(crew, A, B)
    failed, row = (row.to_dict() for row in reporter.rows)
    assert failed["failed"] == "gone" and row["images_per_second"] == 10 and row["ratio"] is None


def test_weights_that_cannot_fit_are_not_even_tried() -> None:
    crew, reporter = Crew(), Silent()
    known = costs(A) | {B: cost(params=10**9)}
    plan = groups([A, B], REFERENCE, SETTINGS, known, 10 * GIGABYTE)
    run_groups(plan, SETTINGS, known, record(), reporter, memory=2 * GIGABYTE, tools=crew.tools())
    assert ("begin", "b") not in crew.log
    failed = {row.program: row.failed for row in reporter.rows}
    assert failed[A] is None and failed[B] == "not enough memory: its weights alone take 4.0 GB of 2.0 free"


def test_what_is_done_is_not_timed_again_and_what_failed_is() -> None:
    keep = record()
    measure(Crew(failing={("b", "round"): FailedError("once")}), A, B, keep=keep)
    crew = Crew()
    finished, reporter = measure(crew, A, B, C, keep=keep)
    # The reference stands beside them again, and keeps the row that it has.
    assert finished and crew.rounds()[:3] == "abc" and [row.program for row in reporter.rows] == [B, C]
    again = Crew()
    assert measure(again, A, B, C, keep=keep)[0] and again.log == []
    assert [row.failed for row in keep.rows([A, B, C])] == [None, None, None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_loses_the_group_in_hand_alone(number: int) -> None:
    programs = [A, B, C, D, E]
    keep = record()
    crew = Crew()

    def stop_in_the_second_group() -> float:
        os.kill(os.getpid(), number)
        return 0.1

    crew.call_seconds["e"] = stop_in_the_second_group
    finished, reporter = measure(crew, *programs, keep=keep)
    assert not finished and crew.alive == [] and reporter.stopped
    assert [row.program for row in keep.rows(programs)] == [A, B, C, D]
    crew = Crew()
    assert measure(crew, *programs, keep=keep)[0] and set(crew.rounds()) == {"a", "e"}


def test_an_error_of_our_own_ends_the_processes_too() -> None:
    crew = Crew(failing={("b", "round"): ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        measure(crew, A, B)
    assert crew.alive == []


def test_the_time_left_falls_to_nothing() -> None:
    _, reporter = measure(Crew(), A, B, C, D, E)
    left = [seconds for _, seconds in reporter.told]
    assert left[0] > 5 * SETTINGS.seconds
    assert left[-1] < 0.1 * left[0]
    assert any("round 2 of" in what for what, _ in reporter.told)
