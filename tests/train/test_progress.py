"""What a person sees: lines in a pipe, a bar on a terminal, nothing when silent."""

import io
from typing import Any

import pytest
from rich.console import Console

from convnext.train.progress import (
    LineReporter,
    LiveReporter,
    Reporter,
    RunStart,
    SilentReporter,
    StepReport,
    reporter_for,
    time_left,
)

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
    assert time_left(run, step, seconds) == text


def test_the_right_reporter_for_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(reporter_for(io.StringIO()), LineReporter)
    assert isinstance(reporter_for(Terminal()), LiveReporter)
    assert isinstance(reporter_for(Terminal(), silent=True), SilentReporter)
    hear_all(reporter_for(silent=True))
    assert capsys.readouterr() == ("", "")
