"""What people read of a bench: cells, winners, notes, progress."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from convnext.bench.forecast import Forecast
from convnext.bench.progress import LineReporter, LiveReporter, reporter_for
from convnext.bench.record import Row
from convnext.bench.settings import LAYOUTS, Program, Settings, Subject
from convnext.bench.table import cells, columns, json_rows, memory_text, notes, setting_line, winners
from convnext.errors import UserError
from tests.bench.made import MACHINE, SETTINGS, VERSIONS, cost, one
from tests.bench.test_record import row

BASE = replace(one("convnext_base"), size=384)


def measured(program: Program, seconds: float, **changes: Any) -> Row:
    return row(program, params=88_591_464, macs=45_120_000_000, round_seconds=(seconds,) * 3, **changes)


def shown(each: Row, rows: list[Row], settings: Settings = SETTINGS, *, a100: bool = False) -> dict[str, str]:
    return dict(zip(columns(settings, a100=a100), cells(each, rows, settings, a100=a100), strict=True))


def test_a_row_has_the_papers_numbers_beside() -> None:
    each = measured(BASE, 0.5, peak_memory_bytes=1_234_000_000)
    assert shown(each, [each]) == {
        "model": "convnext_base",
        "size": "384",
        "batch": "1",
        "params, M": "88.6 (89)",
        "GMACs": "45.12 (45.0)*",
        "images/s": "2.00 ±0%",
        "ratio": "2.00",
        "memory": "1.2 GB",
        "V100": "95.7",
        "top-1 (22K)": "85.1 (86.8)",
    }
    assert shown(each, [each], a100=True)["A100"] == "336.6"
    training = replace(SETTINGS, train=True)
    iso = measured(replace(one("convnext_isotropic_base"), size=224), 0.5)
    assert shown(iso, [iso], training)["V100 memory"] == "7.7 GB"
    failed = measured(BASE, 0.5, failed="why")
    assert shown(replace(failed, round_seconds=()), [failed])["images/s"] == "failed"


def test_the_spread_is_half_of_what_lies_between_the_quartiles() -> None:
    # 1, 2 and 4 images a second: the quartiles are 1.5 and 3.
    each = row(BASE, round_seconds=(1.0, 0.5, 0.25))
    assert shown(each, [each])["images/s"] == "2.00 ±38%"
    assert "batch" not in columns(SETTINGS, a100=False, several_batches=False)
    assert len(columns(SETTINGS, a100=False, several_batches=False)) == 9
    assert len(cells(each, [each], SETTINGS, a100=False, several_batches=False)) == 9


def test_the_faster_layout_wins_and_says_by_how_much() -> None:
    settings = replace(SETTINGS, layouts=LAYOUTS)
    slow, fast = (measured(replace(BASE, layout=layout), s) for layout, s in zip(LAYOUTS, (1.0, 0.8), strict=True))
    rows = [slow, fast, measured(replace(BASE, batch=2), 1.0)]
    assert winners(rows) == [fast, rows[2]]
    assert shown(fast, rows, settings)["layout"] == "NHWC +25%"
    assert shown(rows[2], rows, settings)["layout"] == "NCHW"
    assert [values["fastest_layout"] for values in json_rows(rows)] == [False, True, True]
    broken = replace(fast, failed="why", round_seconds=())
    assert winners([broken, slow]) == [slow] and winners([slow, broken]) == [slow]
    assert shown(slow, [slow, broken], settings)["layout"] == "NCHW"
    assert not any(values["fastest_layout"] for values in json_rows([broken]))


def test_notes_tell_failures_disagreements_and_terms() -> None:
    said = notes([measured(BASE, 1.0), measured(replace(BASE, batch=2), 1.0, failed="it broke")], SETTINGS, a100=False)
    assert said[0] == "failed: convnext_base@384, batch 2, nchw: it broke"
    assert said[1].startswith("* convnext_base@384 (Table 1, ImageNet-1K): 45.0 GMACs printed, 45.12 counted: ")
    assert sum(text.startswith("*") for text in said) == 1
    assert any("a@64 at the same batch" in text for text in said) and any("V100 in fp32" in text for text in said)
    line = setting_line(SETTINGS, [1, 8], MACHINE, VERSIONS, 2)
    assert line == "inference, batch 1 and 8, fp32, nchw, eager; a made one, 2 threads, torch 2, timm 1"
    on_gpu = replace(SETTINGS, device="cuda", dtype="tf32", compiled=True, train=True)
    line = setting_line(on_gpu, [64], {**MACHINE, "accelerator": "H100"}, VERSIONS, 2)
    assert line == "a training step, batch 64, tf32, nchw, compiled; H100, torch 2, timm 1"


def test_memory_is_in_units_of_a_thousand() -> None:
    assert [memory_text(count) for count in (None, 5_000_000, 20_400_000_000)] == ["", "5 MB", "20.4 GB"]


def test_lines_elsewhere_than_on_a_terminal() -> None:
    stream = io.StringIO()
    reporter = reporter_for(stream, 3, 1)
    assert isinstance(reporter, LineReporter)
    reporter.working("building", 125.0)
    reporter.working("round 1 of 3", 65.0)
    reporter.row(measured(BASE, 0.5))
    reporter.row(measured(BASE, 0.5, failed="it broke"))
    reporter.stop()
    assert stream.getvalue().splitlines() == [
        "3 rows, of which 1 done before, about 0:02:05",
        "2/3  convnext_base@384, batch 1, nchw: 2.00 images/s (2.00 times a@64)  0:01:05 left",
        "3/3  convnext_base@384, batch 1, nchw: failed: it broke  0:01:05 left",
    ]


def test_a_bar_on_a_terminal_shows_what_is_done_and_the_time_left() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(Console(file=stream, force_terminal=True, width=110), 3, 1)
    reporter.working("convnext_base@384: round 2 of 5", 3725.0)
    reporter.row(measured(BASE, 0.5))
    reporter.stop()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "convnext_base@384: round 2 of 5" in text and "1:02:0" in text and "left" in text and "2/3" in text
    assert "2.00 images/s (2.00 times a@64)" in text
    # An interruption before the first thing was done has no bar to take away.
    LiveReporter(Console(file=io.StringIO()), 3, 0).stop()


def test_the_forecast_follows_multiply_adds_first_and_measures_later() -> None:
    small, large = one("a"), one("b", 8)
    known = {small: cost(macs=10**9), large: cost(macs=10**12)}
    forecast = Forecast(known, replace(SETTINGS, seconds=10.0))
    assumed = forecast.seconds(large)
    # 8,000 GMACs a call, 7 calls in all, at 40 a second.
    assert assumed == pytest.approx(6 + 0.05 + 7 * 200)
    assert forecast.seconds(small) == pytest.approx(6 + 0.05 + 4 / 40 + 10)
    forecast.learn(small, 0.1)
    assert forecast.seconds(large) == pytest.approx(6 + 0.05 + 7 * 800)
    assert forecast.left([(large, 0.5)]) == pytest.approx(0.5 * forecast.seconds(large))
    # Twice as long as was thought: so will the others be.
    forecast.finished([small], 2 * forecast.seconds(small))
    assert forecast.left([(large, 1.0)]) == pytest.approx(2 * forecast.seconds(large))
    assert forecast.left([]) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "fp16"}, "dtype must be one of fp32, tf32, bf16"),
        ({"dtype": "tf32"}, "tf32 is a precision of NVIDIA's GPUs, and the device is cpu"),
        ({"layouts": ("nhwc",)}, "layout must be one of"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"seconds": 0.0}, "seconds must be above 0"),
    ],
)
def test_settings_that_no_bench_can_have(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(SETTINGS, **changes)


def test_a_program_is_its_own_key() -> None:
    program = replace(one("a"), threads=3)
    assert Program.from_dict(program.to_dict()) == program and program.subject == Subject(model="a", size=64)
    with pytest.raises(UserError, match="batch must be at least 1"):
        one("a", 0)


def test_a_ratio_that_is_missing_is_said_and_why() -> None:
    alone = measured(BASE, 0.5, reference_round_seconds=())
    said = notes([alone, measured(replace(BASE, batch=2), 0.5)], SETTINGS, a100=False)
    assert said[0] == "no ratio at batch 1: a@64 failed there; bench it alone to see why"
    assert sum("no ratio" in text for text in said) == 1
    failed = measured(BASE, 0.5, failed="why", reference_round_seconds=())
    assert not any("no ratio" in text for text in notes([failed], SETTINGS, a100=False))
