"""What a person sees: lines in a pipe, a bar on a terminal, nothing when silent."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from convnext.train.checkpoint import read_checkpoint
from convnext.train.progress import (
    LineReporter,
    LiveReporter,
    Reporter,
    RunStart,
    SilentReporter,
    StepReport,
    Whole,
    clock,
    reporter_for,
    seconds_left,
)
from tests.train.tiny import Watcher, tiny_trainer

RUN = RunStart(title="atto on digits", epochs=12, steps=120, first_step=0, first_epoch=0, target="top1")
STEP = StepReport(epoch=1, step=3, loss=1.2345, lr=0.1, images_per_second=1234.5)


def row(**changes: Any) -> dict[str, Any]:
    return {
        "epoch": 1,
        "step": 10,
        "train_loss": 2.34567,
        "images_per_second": 987.6,
        "raw": {"top1": 45.678},
        "ema": {"top1": 48.123},
        "best": True,
        **changes,
    }


def hear_all(reporter: Reporter) -> None:
    reporter.start(RUN)
    reporter.step(STEP)
    reporter.epoch(row())
    reporter.warn("a.png cannot be read [/red]")
    reporter.note("done")
    reporter.stop()


def test_lines() -> None:
    stream = io.StringIO()
    hear_all(LineReporter(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "atto on digits"
    for text in ("epoch  1/12", "loss 2.3457", "top1 raw 45.68 ema 48.12", "best", "988 images/s", "left"):
        assert text in lines[1]
    assert lines[2:] == ["warning: a.png cannot be read [/red]", "done"]


def test_bar_shows_pace_loss_score_and_time() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(Console(file=stream, force_terminal=True, width=120))
    hear_all(reporter)
    reporter = LiveReporter(Console(file=stream, force_terminal=True, width=120))
    reporter.start(RUN)
    reporter.epoch(row())
    reporter.step(STEP)
    reporter.stop()
    shown = stream.getvalue()
    for text in ("epoch 1/12", "3/120", "1,234 images/s", "loss 1.234", "top1 raw 45.68 ema 48.12", "left", "[/red]"):
        assert text in shown


def whole_at(fraction: float, left: float | None) -> Whole:
    told = None if left is None else 100 * left
    return Whole(label="run 2 of 5: gelu, seed 0", done=1 + fraction, total=5, seconds_left=told)


def test_lines_of_a_run_that_is_part_of_a_whole() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream, whole_at)
    hear_all(reporter)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["run 2 of 5: gelu, seed 0", "atto on digits"]
    own, in_all = re.search(r"(\S+) left, (\S+) in all$", lines[2]).groups()  # type: ignore[union-attr]
    assert re.fullmatch(r"\d+:\d\d:\d\d", own) and re.fullmatch(r"\d+:\d\d:\d\d", in_all)


def test_a_second_bar_shows_the_whole() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(Console(file=stream, force_terminal=True, width=120), whole_at)
    reporter.start(RUN)
    assert "run 2 of 5: gelu, seed 0" in stream.getvalue()
    reporter.step(replace(STEP, step=60))
    reporter.stop()
    shown = stream.getvalue()
    for text in ("epoch 1/12", "60/120", "1/5", "left in all"):
        assert text in shown
    # One and a half runs are done: a run counts when it is finished.
    assert "2/5" not in shown


def test_a_bar_may_be_stopped_before_it_began_and_starts_where_a_run_goes_on() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(Console(file=stream, force_terminal=True, width=120))
    reporter.stop()
    reporter.start(RunStart(title="t", epochs=12, steps=120, first_step=40, first_epoch=4, target="top1"))
    reporter.stop()
    assert "going on after step 40 of 120" in stream.getvalue()
    assert "epoch 5/12" in stream.getvalue() and "40/120" in stream.getvalue()


def test_nothing_is_lost_without_average_or_loss() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)
    reporter.start(RUN)
    reporter.epoch(row(ema=None, train_loss=None, best=False))
    line = stream.getvalue().splitlines()[1]
    assert "ema" not in line and "best" not in line and "none" in line


@pytest.mark.parametrize(
    ("first", "step", "seconds", "text"),
    [(0, 60, 30.0, "0:00:30"), (40, 60, 20.0, "0:01:00"), (0, 1, 100.0, "3:18:20"), (5, 5, 1.0, "?")],
)
def test_time_left_counts_only_what_this_process_did(first: int, step: int, seconds: float, text: str) -> None:
    run = RunStart(title="t", epochs=1, steps=120, first_step=first, first_epoch=0, target="top1")
    assert clock(seconds_left(run, step, seconds)) == text


@pytest.mark.parametrize(
    ("first", "before", "step", "seconds", "text"),
    [
        # 12 epochs of 10 steps, a second each. After 9 seconds of starting up, alone the first step would say 13:10.
        (40, 40.0, 41, 10.0, "0:02:24"),
        # Of what was done before, an epoch counts and no more: at half the pace it is soon outweighed.
        (40, 40.0, 80, 80.0, "0:01:12"),
        # Less than an epoch is counted as what it is.
        (4, 8.0, 5, 2.0, "0:03:50"),
    ],
)
def test_time_left_where_a_run_goes_on_leans_on_the_pace_before(
    first: int, before: float, step: int, seconds: float, text: str
) -> None:
    run = RunStart(
        title="t", epochs=12, steps=120, first_step=first, first_epoch=first // 10, target="top1", seconds=before
    )
    assert clock(seconds_left(run, step, seconds)) == text


def test_a_run_that_goes_on_tells_how_long_it_took_so_far(tmp_path: Path) -> None:
    class Listener(Watcher):
        def start(self, run: RunStart) -> None:
            began.append(run.seconds)

    began: list[float] = []
    tiny_trainer(tmp_path, reporter=Listener(signal_after=7)).run()
    checkpoint = read_checkpoint(tmp_path / "last.safetensors")
    tiny_trainer(tmp_path, reporter=Listener(), checkpoint=checkpoint).run()
    assert began == [0.0, checkpoint.progress.seconds] and checkpoint.progress.seconds > 0


def test_the_right_reporter_for_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(reporter_for(io.StringIO()), LineReporter)
    assert isinstance(reporter_for(Terminal()), LiveReporter)
    assert isinstance(reporter_for(Terminal(), silent=True), SilentReporter)
    hear_all(reporter_for(silent=True))
    assert capsys.readouterr() == ("", "")
