"""A sweep is stopped, divided, extended and goes on; a run that fails does not stop the others."""

import json
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convnext.cost import total_cost
from convnext.data.sources import open_source
from convnext.errors import UserError
from convnext.kinds.classify import fresh_network
from convnext.lab.begin import begin_sweep
from convnext.lab.conduct import SweepResult, run_sweep
from convnext.lab.pace import Pace
from convnext.lab.rows import Row
from convnext.lab.status import RunState, seconds_left, status_of
from convnext.lab.sweep import Sweep, is_sweep, read_sweep, run_folder, write_sweep
from convnext.plan import RunConfig, RunPlan
from convnext.recipe import with_overrides
from convnext.run import prepare, train_run
from convnext.train.distributed import ALONE
from convnext.train.journal import Journal
from convnext.train.lock import run_lock
from convnext.train.progress import Reporter
from tests.lab.made import SETTINGS, made_pictures, made_sweep
from tests.torture import require_equal_runs
from tests.train.tiny import Watcher


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made_pictures(tmp_path_factory.mktemp("pictures"))


class Watched:
    """Makes a watcher for each run, the first of which may send a signal after some steps."""

    def __init__(self, signal_after: int | None = None) -> None:
        self.watchers: list[Watcher] = []
        self._signal_after = signal_after

    def __call__(self, pace: Pace) -> Reporter:
        self.watchers.append(Watcher(signal_after=self._signal_after) if not self.watchers else Watcher())
        return self.watchers[-1]


def conduct(
    sweep: Sweep, folder: Path, watched: Callable[[Pace], Reporter] | None = None, **options: object
) -> SweepResult:
    return run_sweep(sweep, folder, device="cpu", reporter=watched or Watched(), **options)  # type: ignore[arg-type]


def states(folder: Path) -> dict[tuple[str, int], str]:
    return {(run.row, run.seed): run.state for run in status_of(folder, read_sweep(folder)).runs}


@given(st.integers(1, 20), st.data())
def test_shares_divide_the_runs(count: int, data: st.DataObject) -> None:
    sweep = made_sweep("digits", seeds=range(data.draw(st.integers(1, 3))))
    shares = [sweep.share(number, count) for number in range(1, count + 1)]
    taken = [(row.name, seed) for share in shares for row, seed in share]
    assert sorted(taken) == sorted((row.name, seed) for row, seed in sweep.runs()) and len(set(taken)) == len(taken)
    # A share is given no more while another has less to do, so they differ by one run at most.
    work = [sum(macs(row) for row, _ in share) for share in shares]
    assert max(work) - min(work) <= max(macs(row) for row, _ in sweep.runs())
    # One by one they keep the order of the whole.
    assert all([sweep.runs().index(run) for run in share] == sorted(map(sweep.runs().index, share)) for share in shares)


def macs(row: Row) -> int:
    return total_cost(row.spec, 32).macs


def test_shares_are_dealt_by_cost_not_by_number() -> None:
    # 386,048 multiply-adds, and 179,976 each.
    three = made_sweep("digits", "original", "gelu", "layernorm")
    assert [[row.name for row, _ in three.share(number, 2)] for number in (1, 2)] == [
        ["original"],
        ["gelu", "layernorm"],
    ]
    # Without the step `depthwise` a row costs as much as several others.
    whole = made_sweep("digits", kind="leave-one-out", seeds=(0, 1))
    for count in (2, 3, 4):
        work = [sum(macs(row) for row, _ in whole.share(number, count)) for number in range(1, count + 1)]
        assert max(work) < 1.03 * sum(work) / count


@given(st.integers(1, 9))
def test_another_seed_moves_no_run_to_another_share(count: int) -> None:
    one, three = (made_sweep("digits", kind="leave-one-out", seeds=range(number)) for number in (1, 3))
    for number in range(1, count + 1):
        before = one.share(number, count)
        assert three.share(number, count)[: len(before)] == before


def test_the_first_seed_of_all_rows_comes_before_the_second_of_any() -> None:
    sweep = made_sweep("digits", "original", "gelu", seeds=(0, 1))
    fewer = replace(sweep, seeds={**sweep.seeds, "original": (0,)})
    assert [(row.name, seed) for row, seed in fewer.runs()] == [("original", 0), ("gelu", 0), ("gelu", 1)]
    for number, count in ((0, 2), (3, 2)):
        with pytest.raises(UserError, match=f"i from 1 to n, got {number}/{count}"):
            sweep.share(number, count)
    with pytest.raises(UserError, match="at least one row with one seed"):
        made_sweep("digits", "nothing")
    with pytest.raises(UserError, match=r"different numbers from 0, got \(1, 1\)"):
        made_sweep("digits", seeds=(1, 1))


def test_all_rows_are_trained_alike_but_the_first(pictures: str, tmp_path: Path) -> None:
    asked = ("original", "modern_recipe", "layernorm")
    result = conduct(made_sweep(pictures, *asked, seeds=(0, 1)), tmp_path / "sweep")
    assert result.finished and not result.failed
    recipes, orders = {}, {}
    for name in asked:
        for seed in (0, 1):
            place = tmp_path / "sweep" / name / f"seed-{seed}"
            summary = json.loads((place / "summary.json").read_text())
            assert (summary["seed"], summary["epochs"], summary["model"].endswith(f":{name}")) == (seed, 2, True)
            assert summary["last"]["ema"] is None
            recipes[name] = json.loads((place / "recipe.json").read_text())
            orders[name, seed] = summary["split_seed"], summary["train_images"]
    assert recipes["modern_recipe"] == recipes["layernorm"] != recipes["original"]
    assert recipes["original"]["optim"]["name"] == "sgd" and recipes["layernorm"]["regularise"]["drop_path"] == 0.1
    assert len(set(orders.values())) == 1
    # Another network at the same width and seed: what differs is the step, so the losses are not the same.
    logs = [Journal(tmp_path / "sweep" / name / "seed-0" / "log.jsonl").rows()[0]["loss"] for name in asked]
    assert len(set(logs)) == 3


def test_started_again_it_trains_nothing_twice(pictures: str, tmp_path: Path) -> None:
    sweep = made_sweep(pictures, "original", "gelu")
    conduct(sweep, tmp_path / "sweep")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*.*") if path.name != "sweep.json"}
    watched = Watched()
    assert conduct(sweep, tmp_path / "sweep", watched).finished and not watched.watchers
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_interrupted_in_mid_run_it_goes_on_there_and_ends_with_the_same_bits(pictures: str, tmp_path: Path) -> None:
    sweep = made_sweep(pictures, "modern_recipe", "gelu")
    assert conduct(sweep, tmp_path / "whole").finished
    # 24 pictures in batches of 8 make three steps an epoch: the second is in mid-epoch.
    result = conduct(sweep, tmp_path / "parts", Watched(signal_after=2))
    assert result.stopped and not result.finished and "convnext roadmap train --resume" in result.message
    assert states(tmp_path / "parts") == {("modern_recipe", 0): "stopped", ("gelu", 0): "waiting"}
    watched = Watched()
    assert conduct(read_sweep(tmp_path / "parts"), tmp_path / "parts", watched).finished
    assert [watcher.first_step for watcher in watched.watchers] == [2, 0]
    for name in ("modern_recipe", "gelu"):
        require_equal_runs(tmp_path / "whole" / name / "seed-0", tmp_path / "parts" / name / "seed-0")


def test_after_its_minutes_it_stops_and_nothing_is_lost(pictures: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    sweep = made_sweep(pictures, "original", epochs=200)
    result = conduct(sweep, tmp_path / "sweep", minutes=1 / 60)
    assert result.stopped and signal.getsignal(signal.SIGTERM) is before
    (run,) = status_of(tmp_path / "sweep", sweep).runs
    assert run.state in ("stopped", "waiting") and run.epoch < 200


def test_shards_need_nothing_of_each_other_and_the_merge_is_the_folder(pictures: str, tmp_path: Path) -> None:
    sweep = made_sweep(pictures, "original", "gelu", "layernorm")
    for number in (1, 2):
        assert conduct(sweep, tmp_path / f"machine-{number}", share=(number, 2)).finished
    done = [{run for run, state in states(tmp_path / f"machine-{n}").items() if state == "done"} for n in (1, 2)]
    assert done == [{("original", 0)}, {("gelu", 0), ("layernorm", 0)}]
    shutil.copytree(tmp_path / "machine-2", tmp_path / "machine-1", dirs_exist_ok=True)
    assert set(states(tmp_path / "machine-1").values()) == {"done"}
    watched = Watched()
    assert conduct(sweep, tmp_path / "machine-1", watched).finished and not watched.watchers
    # Divided otherwise later, only what is left of the new shares is trained.
    for number in (1, 2, 3):
        assert conduct(sweep, tmp_path / "machine-2", watched, share=(number, 3)).finished
    assert len(watched.watchers) == 1 and set(states(tmp_path / "machine-2").values()) == {"done"}


def test_a_run_that_fails_is_told_at_the_end_and_tried_again(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    mad = made_sweep(pictures, "original", "modern_recipe", "gelu", classic_settings=["optim.lr=1e38"])
    # Something lies where the second run wants its folder.
    folder.mkdir()
    (folder / "modern_recipe").write_text("mine")
    result = conduct(mad, folder)
    assert not result.finished and not result.stopped
    assert [(row, seed) for row, seed, _ in result.failed] == [("original", 0), ("modern_recipe", 0)]
    assert "the loss became" in result.failed[0][2] and "2 of these runs failed" in result.message
    assert set(states(folder).values()) == {"failed", "done"} and states(folder)["gelu", 0] == "done"
    told = {run.row: run.failure for run in status_of(folder, mad).runs}
    assert told["original"] == result.failed[0][2] and told["gelu"] is None
    details = json.loads((folder / "failures" / "original-seed-0.json").read_text())
    assert "Traceback" in details["details"]
    (folder / "modern_recipe").unlink()
    again = conduct(mad, folder)
    assert [row for row, _, _ in again.failed] == ["original"] and states(folder)["modern_recipe", 0] == "done"
    assert not (folder / "failures" / "modern_recipe-seed-0.json").exists()


def test_a_run_in_other_hands_is_left_to_them(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = made_sweep(pictures, "original", "gelu")
    place = run_folder(folder, sweep.rows[0], 0)
    place.mkdir(parents=True)
    with run_lock(place, print):
        result = conduct(sweep, folder)
        assert states(folder) == {("original", 0): "running", ("gelu", 0): "done"}
    assert result.elsewhere == (("original", 0),) and not result.failed and not result.finished
    assert "in the hands of another process" in result.message
    assert conduct(sweep, folder).finished


def test_more_seeds_and_rows_extend_it_and_another_recipe_is_refused(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    conduct(made_sweep(pictures, "gelu"), folder)
    watched = Watched()
    conduct(made_sweep(pictures, "original", "gelu", seeds=(0, 1)), folder, watched)
    assert set(states(folder)) == {("original", 0), ("original", 1), ("gelu", 0), ("gelu", 1)}
    assert len(watched.watchers) == 3
    # Asking for less takes nothing away.
    conduct(made_sweep(pictures, "gelu"), folder)
    assert len(states(folder)) == 4
    for other, what in (
        (made_sweep(pictures, "gelu", epochs=3), "schedule.epochs of the modern recipe: 2, not 3"),
        (made_sweep(pictures, "gelu", classic_settings=["optim.lr=1"]), "optim.lr of the classic recipe: 0.025, not 1"),
        (made_sweep("digits", "gelu"), "another data: "),
        (made_sweep(pictures, kind="leave-one-out"), "another kind: walk, not leave-one-out"),
    ):
        with pytest.raises(UserError, match=what):
            conduct(other, folder)
    with pytest.raises(UserError, match="another row: gelu, not layernorm"):
        made_sweep("digits", kind="order", order=["gelu"]).extended(
            made_sweep("digits", kind="order", order=["layernorm"])
        )


def test_what_was_asked_before_is_not_trained_when_less_is_asked(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    conduct(made_sweep(pictures, "gelu", "original"), folder)
    shutil.rmtree(folder / "original")
    assert "status" in conduct(made_sweep(pictures, "gelu"), folder).message
    assert states(folder) == {("original", 0): "waiting", ("gelu", 0): "done"}
    assert "report" in conduct(made_sweep(pictures, "original"), folder).message


def test_how_runs_are_done_may_change_on_the_way(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = made_sweep(pictures, "gelu")
    conduct(sweep, folder, Watched(signal_after=2))
    other = replace(sweep, modern=with_overrides(sweep.modern, ["data.workers=1", "engine.log_every=7"]))
    assert conduct(other, folder).finished
    assert json.loads((folder / "gelu" / "seed-0" / "recipe.json").read_text())["data"]["workers"] == 1
    assert read_sweep(folder).modern.data.workers == 1


def test_other_pictures_are_refused_and_moved_ones_are_not(tmp_path: Path) -> None:
    first, folder = Path(made_pictures(tmp_path / "pictures")), tmp_path / "sweep"
    sweep = begun(first)
    conduct(sweep, folder)
    moved = first.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="pictures"):
        conduct(replace(sweep, seeds={**sweep.seeds, "original": (0,)}), folder)
    assert conduct(begun(moved, "original"), folder).finished and read_sweep(folder).data == str(moved)
    # The same counts, two pictures in each other's class.
    for name, there in (("dark", "light"), ("light", "dark")):
        (moved / name / "0.png").rename(moved / there / "swapped.png")
    with pytest.raises(UserError, match="are not those that the sweep began with"):
        conduct(begun(moved, "kernel_7"), folder)
    with pytest.raises(UserError, match="have changed since the sweep began"):
        conduct(replace(read_sweep(folder), seeds={**sweep.seeds, "kernel_7": (0,)}), folder)
    assert states(folder)["gelu", 0] == "done" and not (folder / "kernel_7").exists()


def begun(pictures: Path, *steps: str) -> Sweep:
    return begin_sweep(
        str(pictures), width=4, depths=(1, 1, 1, 1), steps=steps or ("gelu",), epochs=1, settings=SETTINGS
    )


def test_a_run_killed_right_after_it_took_its_folder_begins_again(pictures: str, tmp_path: Path) -> None:
    sweep = made_sweep(pictures, "gelu")
    place = run_folder(tmp_path, sweep.rows[12], 0)
    place.mkdir(parents=True)
    (place / ".lock").write_text("{}")
    assert conduct(sweep, tmp_path).finished


def test_a_run_that_another_process_took_and_ended_meanwhile_is_no_failure(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made_sweep(pictures, "gelu")

    def beaten(plan: RunPlan, out: Path, **options: Any) -> None:
        train_run(plan, out=out)
        raise UserError(f"{out} exists and is not empty")

    monkeypatch.setattr("convnext.lab.conduct.train_run", beaten)
    assert conduct(sweep, tmp_path).finished and not (tmp_path / "failures").exists()


def test_a_device_that_is_none_is_told_before_anything_is_written(pictures: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cuad"):
        run_sweep(made_sweep(pictures, "gelu"), tmp_path / "sweep", device="cuad", reporter=Watched())
    assert not (tmp_path / "sweep").exists()


def test_shards_that_begin_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    names = ["original", "gelu", "layernorm", "kernel_7", "depthwise", "width"]
    barrier = threading.Barrier(len(names))

    def begin(name: str) -> None:
        barrier.wait()
        write_sweep(tmp_path, made_sweep("digits", name))

    threads = [threading.Thread(target=begin, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seeds = read_sweep(tmp_path).seeds
    assert {name for name in seeds if seeds[name]} == set(names)
    before = (tmp_path / "sweep.json").stat().st_mtime_ns
    write_sweep(tmp_path, made_sweep("digits", "gelu"))
    assert (tmp_path / "sweep.json").stat().st_mtime_ns == before


def test_all_rows_see_the_same_pictures_in_the_same_order(pictures: str) -> None:
    sweep = made_sweep(pictures, seeds=(3,))
    source = open_source(pictures)
    seen = []
    for row in (sweep.rows[0], sweep.rows[4], sweep.rows[16]):
        plan = sweep.plan(row, 3, "cpu")
        network = fresh_network(plan.model, plan.recipe, len(source.classes), plan.seed)
        task = prepare(RunConfig.of(plan), plan.recipe, source, network, None, ALONE).task
        seen.append([batch for epoch in (0, 1) for batch in task.train_batches().epoch(epoch)])
    for batches in seen[1:]:
        for mine, first in zip(batches, seen[0], strict=True):
            assert torch.equal(mine.images, first.images) and torch.equal(mine.labels, first.labels)


def test_a_folder_without_a_sweep(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path)
    with pytest.raises(UserError, match=r"holds no sweep\.json; convnext roadmap train DATA --out"):
        read_sweep(tmp_path)
    whole = made_sweep("digits", "gelu").to_dict()
    for text in ("{", "[]", "null", json.dumps({**whole, "regime": []}), json.dumps({**whole, "rows": 3})):
        (tmp_path / "sweep.json").write_text(text)
        with pytest.raises(UserError, match=r"sweep\.json cannot be read") as refusal:
            read_sweep(tmp_path)
        assert ("holds no JSON object" in str(refusal.value)) == (text in ("[]", "null"))
    (tmp_path / "sweep.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"sweep\.json cannot be read"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps({**whole, "kind": "foo"}))
    with pytest.raises(UserError, match="of kind walk, leave-one-out, order, got 'foo'"):
        read_sweep(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        read_sweep(tmp_path / "nowhere")
    (tmp_path / "sweep.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match="format 2, this version reads 1"):
        read_sweep(tmp_path)
    sweep = made_sweep("digits", kind="order", order=["gelu"])
    assert Sweep.from_dict(json.loads(json.dumps(sweep.to_dict()))) == sweep


def run(row: str, state: str, epoch: int, seconds: float) -> RunState:
    return RunState(row=row, seed=0, state=state, epoch=epoch, epochs=10, top1=None, seconds=seconds)  # type: ignore[arg-type]


def test_the_time_left_is_that_of_the_rows_own_pace() -> None:
    done, half, waiting = run("a", "done", 10, 100.0), run("b", "stopped", 5, 150.0), run("c", "waiting", 0, 0.0)
    # b: 5 epochs at 30 s; c: 10 epochs at the mean of 10 and 30 s.
    assert seconds_left([done, half, waiting]) == pytest.approx(5 * 30 + 10 * 20)
    assert seconds_left([done]) == 0 and seconds_left([waiting]) is None
    assert seconds_left([done, run("a", "failed", 0, 0.0)]) == pytest.approx(100)


def test_the_whole_is_shown_beside_the_present_run(pictures: str, tmp_path: Path) -> None:
    sweep = made_sweep(pictures, "original", "gelu", "layernorm")
    conduct(made_sweep(pictures, "original"), tmp_path)
    pace = Pace(tmp_path, sweep, sweep.runs())
    pace.begin(sweep.runs()[1][0], 0)
    at_start = pace(0.0, None)
    assert (at_start.label, at_start.done, at_start.total) == ("run 2 of 3: gelu, seed 0", 1.0, 3)
    own = status_of(tmp_path, sweep).runs[0].seconds
    # Half done with 40 s left: 80 s a run; the third takes the mean of 80 s and what the first took.
    halfway = pace(0.5, 40.0)
    assert halfway.done == 1.5 and halfway.seconds_left == pytest.approx(40 + (80 + own) / 2)
    assert pace(1.0, 0.0).seconds_left == pytest.approx((80 + own) / 2)
