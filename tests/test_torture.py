"""Killed, stopped, damaged, out of space: the real command goes on and ends with the bits of a run that never was."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.run import resume_run
from convnext.train.checkpoint import read_checkpoint
from convnext.train.journal import Journal
from tests.torture import (
    STEPS_PER_EPOCH,
    ForkServer,
    logged_step,
    make_pictures,
    new_run,
    require_equal_runs,
    resumes,
    steps_done,
    tortured,
    wait_for_step,
)

EPOCHS = 2
STEPS = EPOCHS * STEPS_PER_EPOCH
LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("torture")
    make_pictures(place / "pictures")
    return place


@pytest.fixture(scope="module")
def whole(server: ForkServer, place: Path) -> Path:
    """A run that nothing happened to."""
    out, output = place / "whole", place / "whole.txt"
    assert server(new_run(place / "pictures", out, epochs=EPOCHS), output).wait() == 0, output.read_text()
    return out


# The run that is compared with comes last, so that a wrong program is found out early.
def test_killed_three_times_and_resumed_equals_never_killed(
    server: ForkServer, place: Path, request: pytest.FixtureRequest
) -> None:
    out, output = place / "killed", place / "killed.txt"
    new = new_run(place / "pictures", out, epochs=EPOCHS)
    kills = tortured(server, new, out, output, epochs=EPOCHS, kills=3, seed=0)
    went_on = resumes(Journal(out / "log.jsonl").rows())
    assert len(went_on) == 3 and all(step > 0 and step % STEPS_PER_EPOCH for step in went_on)
    assert all(f"going on after step {step} of {STEPS}" in output.read_text() for step in went_on)
    assert STEPS < steps_done(kills, STEPS) <= 1.5 * STEPS
    require_equal_runs(out, request.getfixturevalue("whole"))


def test_stopped_out_of_space_and_damaged_it_still_ends_the_same(server: ForkServer, place: Path, whole: Path) -> None:
    out, output = place / "stopped", place / "stopped.txt"
    training = server(new_run(place / "pictures", out, epochs=EPOCHS), output)
    wait_for_step(training, out, STEPS_PER_EPOCH // 2)
    os.kill(training.pid, signal.SIGTERM)
    assert training.wait() == 130, output.read_text()
    assert f"go on with: convnext train --resume {out}" in output.read_text()
    stopped_at = read_checkpoint(out / LAST).progress.step
    assert 0 < stopped_at < STEPS_PER_EPOCH and stopped_at == logged_step(out), "a step was lost"

    before = {name: (out / name).read_bytes() for name in (LAST, PREVIOUS)}
    full = place / "full.txt"
    assert server(["train", "--resume", str(out)], full, file_size=len(before[LAST]) - 2000).wait() == 2
    sentence = full.read_text().splitlines()[-1]
    assert sentence.startswith("convnext: cannot write") and LAST in sentence and "Traceback" not in full.read_text()
    assert {name: (out / name).read_bytes() for name in (LAST, PREVIOUS)} == before
    assert list(out.glob(".*")) == [], "neither half a file nor a lock is left"

    data = bytearray(before[LAST])
    data[len(data) // 2] ^= 16
    (out / LAST).write_bytes(data)
    step = read_checkpoint(out / PREVIOUS).progress.step
    damaged = place / "damaged.txt"
    assert server(["train", "--resume", str(out)], damaged).wait() == 0, damaged.read_text()
    said = damaged.read_text()
    assert f"{LAST} is damaged" in said and f"going on from the checkpoint before it, at step {step}" in said
    assert resumes(Journal(out / "log.jsonl").rows()) == [stopped_at, step]
    require_equal_runs(out, whole)


def test_a_second_training_in_the_same_folder_is_refused(server: ForkServer, place: Path) -> None:
    out = place / "taken"
    training = server(new_run(place / "pictures", out, epochs=100), place / "taken.txt")
    wait_for_step(training, out, 1)
    os.kill(training.pid, signal.SIGSTOP)
    before = (out / LAST).read_bytes()
    with pytest.raises(UserError, match=rf"taken is in use: process {training.pid} .*take another folder"):
        resume_run(out)
    assert (out / LAST).read_bytes() == before
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
