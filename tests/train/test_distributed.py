"""Two processes train as one: the same losses and weights, each picture once, and every checkpoint loads at any size.

tests/train/two_processes.py does the work, started once by torchrun for all tests of this module.
"""

import json
import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convnext.errors import UserError
from convnext.train.distributed import ALONE, World, join, pieces
from tests.torture import timeless
from tests.train.two_processes import BASE, CALM, PICTURES, SPOILT, train

Results = dict[str, list[dict[str, Any]]]
# Sums of 16 numbers in another order, in float64.
ROUNDING = 1e-13
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(place: Path) -> Results:
    """What both processes say of each scenario."""
    done = subprocess.run(
        [*TORCHRUN, "-m", "tests.train.two_processes", str(place)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = sorted({path.stem.rpartition("-")[0] for path in place.glob("*.json")})
    return {name: [json.loads((place / f"{name}-{rank}.json").read_text()) for rank in (0, 1)] for name in names}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("alone"), ALONE, *CALM)


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the greatest difference between two runs' weights and losses."""
    assert one["weights"].keys() == other["weights"].keys()
    pairs = [(one["weights"][name], other["weights"][name]) for name in one["weights"]]
    last = min(len(one["losses"]), len(other["losses"]))
    pairs.append((one["losses"][-last:], other["losses"][-last:]))
    return max(float(np.abs(np.array(first) - np.array(second)).max()) for first, second in pairs)


@pytest.mark.parametrize("name", ["calm", "pieces"])
def test_two_times_eight_is_one_times_sixteen(two: Results, alone: dict[str, Any], name: str) -> None:
    assert len(alone["losses"]) == 6 and alone["losses"][-1] < 0.9 * alone["losses"][0]
    assert apart(two[name][0], alone) < ROUNDING
    assert two[name][0]["weights"] == two[name][1]["weights"]
    for theirs, own in zip(two[name][0]["history"], alone["history"], strict=True):
        assert theirs["train_loss"] == pytest.approx(own["train_loss"], rel=1e-12)
        for weights in ("raw", "ema"):
            assert theirs[weights]["loss"] == pytest.approx(own[weights]["loss"], rel=1e-12)
            assert theirs[weights]["top1"] == own[weights]["top1"]


def test_the_comparison_can_fail(two: Results, alone: dict[str, Any]) -> None:
    assert apart(two["clipped"][0], alone) > 1e-4
    assert apart(two["dropping"][0], alone) > 1e-4


def test_the_gradient_is_clipped_as_a_whole(two: Results, tmp_path: Path) -> None:
    # Clipped share by share, or before the shares are summed, it would differ.
    single = train(tmp_path, ALONE, *CALM, "optim.clip=0.05")
    assert apart(two["clipped"][0], single) < ROUNDING


def test_each_picture_is_trained_on_and_scored_once(two: Results, alone: dict[str, Any]) -> None:
    for name in ("calm", "pieces", "spread"):
        first, second = two[name]
        steps = len(first["seen"]) // 6
        for step in range(6):
            chunks = [run["seen"][step * steps : (step + 1) * steps] for run in (first, second)]
            mine, theirs = (list(chain.from_iterable(chunk)) for chunk in chunks)
            # Together the very batch, in its order, that one process has.
            assert mine + theirs == alone["seen"][step] and len(mine) == len(theirs) == 8
        assert [row["raw"]["images"] for row in first["history"]] == [PICTURES["val"]] * 3
        assert first["images_seen"] == second["images_seen"] == 96


def test_readers_of_several_processes_are_not_forked_from_them_and_change_nothing(two: Results) -> None:
    for mine, other in zip(two["readers"], two["calm"], strict=True):
        # One for the pictures to train on and one for those held out.
        assert mine["readers"] == ["ForkServerProcess"] * 2 and other["readers"] == []
        assert mine["seen"] == other["seen"] and mine["weights"] == other["weights"]
        assert timeless(mine["history"]) == timeless(other["history"])


def test_processes_and_micro_batches_draw_differently(two: Results) -> None:
    drawn = two["pieces"][0]["drawn"] + two["pieces"][1]["drawn"]
    assert len(drawn) == 2 * 2 * 2 * 6 and len(set(drawn)) == len(drawn)


def test_batch_norm_statistics_are_the_same_everywhere_after_an_epoch(two: Results) -> None:
    first, second = two["norms"]
    assert first["weights"] == second["weights"]
    assert any("running_mean" in name for name in first["weights"])


def test_fsdp_equals_ddp(two: Results) -> None:
    assert two["spread"][0]["spread"] and not two["dropping"][0]["spread"]
    assert apart(two["spread"][0], two["dropping"][0]) < ROUNDING
    assert apart(two["spread_calm"][0], two["clipped"][0]) < ROUNDING
    for theirs, own in zip(two["spread"][0]["history"], two["dropping"][0]["history"], strict=True):
        assert theirs["ema"]["loss"] == pytest.approx(own["ema"]["loss"], rel=1e-12)
        assert theirs["ema"]["loss"] != pytest.approx(own["raw"]["loss"], rel=1e-6)


@pytest.mark.parametrize(("name", "whole"), [("stopped", "dropping"), ("spread_stopped", "spread")])
def test_a_signal_to_one_process_stops_both_and_going_on_equals_never_stopping(
    two: Results, name: str, whole: str
) -> None:
    for rank in (0, 1):
        assert two[name][rank]["first_step"] == 3
        assert two[name][rank]["weights"] == two[whole][rank]["weights"]
        assert two[name][rank]["losses"] == two[whole][rank]["losses"][3:]
        assert timeless(two[name][rank]["history"]) == timeless(two[whole][rank]["history"])


@pytest.mark.parametrize(("name", "kind"), [("left", "ddp"), ("spread_left", "fsdp")])
def test_a_checkpoint_of_two_processes_goes_on_in_one(
    two: Results, alone: dict[str, Any], place: Path, tmp_path: Path, name: str, kind: str
) -> None:
    assert two[name][0]["step"] == 3 and not two[name][0]["finished"]
    folder = tmp_path / "run"
    shutil.copytree(place / name, folder)
    assert (folder / "last.sharded").exists() == (kind == "fsdp")
    on = train(folder, ALONE, *CALM, f"engine.parallel={kind}", going_on=True)
    assert on["first_step"] == 3 and on["finished"]
    assert apart(on, alone) < ROUNDING
    # A process that is alone writes one file again, and leaves no older folder beside it.
    assert (folder / "last.safetensors").exists() and not (folder / "last.sharded").exists()


def test_a_damaged_share_gives_way_to_the_checkpoint_before(two: Results) -> None:
    first, second = two["damaged"]
    assert len(first["warnings"]) == 1 and "__1_" in first["warnings"][0] and "step 2" in first["warnings"][0]
    assert first["first_step"] == second["first_step"] == 2
    assert first["weights"] == two["spread"][0]["weights"]


def test_a_damaged_file_gives_way_to_the_checkpoint_before_in_all_processes(two: Results) -> None:
    first, second = two["damaged_file"]
    assert first["first_step"] == second["first_step"] == 2
    assert first["weights"] == second["weights"] == two["dropping"][0]["weights"]


def test_going_on_with_scoring_under_fsdp_can_train_afterwards(two: Results) -> None:
    for rank in (0, 1):
        assert two["spread_scoring"][rank]["first_step"] == 2
        assert two["spread_scoring"][rank]["weights"] == two["spread"][rank]["weights"]


def test_the_newest_checkpoint_counts_whatever_its_form(two: Results, alone: dict[str, Any]) -> None:
    assert two["changing"][0]["first_step"] == 5 and two["changing"][0]["spread"]
    assert apart(two["changing"][0], alone) < ROUNDING


def test_an_unreadable_picture_weighs_nothing_wherever_it_falls(two: Results, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", ALONE, *CALM, spoilt=SPOILT)
    parts = train(tmp_path / "parts", ALONE, *CALM, "engine.micro_batch=4", spoilt=SPOILT)
    assert len(whole["seen"][0]) < 16
    assert [] in two["unreadable"][0]["seen"] + two["unreadable"][1]["seen"]
    assert apart(whole, parts) < ROUNDING
    assert apart(whole, two["unreadable"][0]) < ROUNDING
    assert whole["images_seen"] == two["unreadable"][1]["images_seen"] < 96


def test_a_compiled_network_learns_the_same_in_two_processes(two: Results, alone: dict[str, Any]) -> None:
    assert apart(two["compiled"][0], alone) < 1e-9
    assert two["compiled"][0]["weights"] == two["compiled"][1]["weights"]


def test_an_error_in_one_process_ends_all(two: Results) -> None:
    own, other = "own: only me", "other: process {} of this run met an error"
    assert two["errors"][0]["heard"] == [own, other.format(1)]
    assert two["errors"][1]["heard"] == [other.format(0), own]
    assert two["errors"][0]["agreed"] == two["errors"][1]["agreed"] == [[True, False], [3.0, 4.0], 0]


@pytest.mark.parametrize(
    ("batch", "world", "most", "count"),
    [(16, 1, 16, 1), (16, 2, 16, 1), (16, 1, 15, 2), (16, 2, 3, 4), (4096, 8, 128, 4), (12, 1, 5, 3), (10, 1, 3, 5)],
)
def test_the_fewest_pieces_that_are_small_enough(batch: int, world: int, most: int, count: int) -> None:
    assert pieces(batch, world, most) == count


def test_a_batch_that_cannot_be_shared_equally_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"data.batch_size is 50 for 8 processes.*such as 48"):
        pieces(50, 8, 64)


def test_a_batch_that_falls_into_crumbs_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"at most 128 only as 179 x 2.*data.batch_size=357"):
        pieces(358, 1, 128)


def test_alone_without_torchrun_and_a_sentence_for_half_of_its_variables() -> None:
    with join({}) as world:
        assert world == ALONE == World()
    with pytest.raises(UserError, match="MASTER_ADDR, MASTER_PORT is not set"), join({"RANK": "0", "WORLD_SIZE": "2"}):
        pass


def test_one_process_of_fsdp_is_not_spread(tmp_path: Path) -> None:
    assert not train(tmp_path, ALONE, *BASE, "schedule.epochs=1", "engine.parallel=fsdp")["spread"]
