"""The bench at the command line: rows, options, records, interruptions, and what is said of mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convnext.bench import conduct
from convnext.bench.process import FailedError
from convnext.cli.app import app
from convnext.errors import UserError
from tests.bench.made import Crew

runner = CliRunner()
QUICK = ["--seconds", "0.05", "--device", "cpu"]


def invoke(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, ["bench", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        runner.invoke(app, ["bench", *arguments], catch_exceptions=False)
    return str(error.value)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Put made workers in the place of processes."""
    made = Crew()
    monkeypatch.setattr(conduct, "Tools", made.tools)
    return made


def test_a_table_has_all_its_rows_and_what_the_paper_prints(crew: Crew) -> None:
    rows = json.loads(invoke("--isotropic", "--json").stdout)
    assert [row["model"] for row in rows[:2]] == ["vit_small", "convnext_isotropic_small"] and len(rows) == 6
    assert {
        "model", "input_size", "batch", "params", "gmacs", "images_per_second", "peak_memory_bytes", "paper_params",
        "paper_gmacs", "paper_top1",
    } <= set(rows[0])  # fmt: skip
    assert {row["reference"] for row in rows} == {"vit_small@224"}
    assert (rows[1]["params"], rows[1]["paper_params"], rows[1]["batch"]) == (22_308_712, 22_000_000, 1)
    text = invoke("--isotropic", "--train", "--batch", "32").stdout
    assert "convnext_isotropic_large" in text and "20.4 GB" in text and len(text.splitlines()) == 8
    # At 120 columns a row is one line.
    assert max(map(len, text.splitlines())) <= 120
    differing = invoke("--models", "bit_r101x3,convnext_tiny")
    assert "204.2 (204.6)*" in differing.stdout and "4.46 (4.5) " in differing.stdout
    assert differing.stderr.count("* ") == 1 and "204.6 GMACs printed, 204.21 counted" in differing.stderr


def test_the_table_of_the_a100_takes_its_layout(crew: Crew) -> None:
    plan = json.loads(invoke("--table12", "--dry-run", "--device", "cpu", "--json").stdout)
    assert len(plan["rows"]) == 14 and {row["layout"] for row in plan["rows"]} == {"channels_last"}
    assert plan["seconds"] > 60 and crew.log == []
    assert "1,944" not in invoke("--table12").stdout and "1943.5" in invoke("--table12").stdout


def test_options_reach_the_programs(crew: Crew) -> None:
    options = ["--batch", "2,1", "--dtype", "bf16", "--compile", "--layout", "auto", "--threads", "1", "--train"]
    rows = json.loads(invoke("--models", "convnext_atto@64,resnet50", *options, "--json").stdout)
    assert [(row["model"], row["input_size"], row["batch"], row["layout"]) for row in rows] == [
        (model, size, batch, layout)
        for batch in (2, 1)
        for model, size in (("convnext_atto", 64), ("resnet50", 224))
        for layout in ("nchw", "channels_last")
    ]
    for row in rows:
        assert (row["dtype"], row["compile"], row["train"], row["threads_asked"]) == ("bf16", True, True, 1)
        assert row["reference"] == "convnext_atto@64" and row["compile_seconds"] == pytest.approx(2.9)
    other = json.loads(invoke("--models", "convnext_atto", "--reference", "resnet50@64", "--json").stdout)
    assert [row["reference"] for row in other] == ["resnet50@64"] and len(other) == 1


def test_the_same_command_goes_on(crew: Crew, tmp_path: Path) -> None:
    asked = ["--models", "convnext_atto,convnext_pico", "--out", str(tmp_path / "bench.json")]
    crew.failing[("convnext_pico", "round")] = FailedError("it broke")
    result = invoke(*asked, code=1)
    assert "failed: convnext_pico@224, batch 1, nchw: it broke" in result.stderr and "failed" in result.stdout
    crew.failing.clear()
    assert "2 rows, of which 1 done before" in invoke(*asked).stderr
    crew.log.clear()
    again = invoke(*asked, "--json")
    assert crew.log == [] and [row["failed"] for row in json.loads(again.stdout)] == [None, None]
    assert "0 of 2 rows to do" in invoke(*asked, "--dry-run").stderr
    assert "dtype was fp32, and is bf16 now" in refused(*asked, "--dtype", "bf16")


def test_ctrl_c_shows_what_was_done_and_how_to_go_on(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["convnext", "bench", "--models", "my net"])
    crew.failing[("convnext_atto", "finish")] = KeyboardInterrupt()
    out = ["--out", str(tmp_path / "bench.json")]
    asked = ["--models", "resnet50,convnext_atto", "--batch", "1", "--reference", "resnet50"]
    result = invoke(*asked, *out, code=130)
    assert "stopped; go on with: convnext bench --models 'my net'" in result.stderr and crew.alive == []
    assert "--out FILE" in invoke(*asked, code=130).stderr
    # Two batches are two groups: the first one is kept.
    crew.failing.clear()
    turns = iter([0.1] * 5)

    def second_batch() -> float:
        value = next(turns, None)
        if value is None:
            raise KeyboardInterrupt
        return value

    crew.call_seconds["convnext_atto"] = second_batch
    out = ["--out", str(tmp_path / "another.json")]
    result = invoke("--models", "convnext_atto", "--batch", "1,2", *out, "--json", "--seconds", "1", code=130)
    assert [row["batch"] for row in json.loads(result.stdout)] == [1]


def test_without_timm_its_rows_are_left_out_of_a_table_and_refused_by_name(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    result = invoke("--json")
    rows = json.loads(result.stdout)
    assert len(rows) == 12 and all(row["model"].startswith(("convnext", "resnet")) for row in rows)
    assert result.stderr.count("pip install 'convnext[peers]'") == 1 and "16 of 28 rows are left out" in result.stderr
    for names in ("timm:vit_base_patch16_224", "vit_small@192"):
        assert "pip install 'convnext[peers]'" in refused("--models", f"convnext_atto,{names}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "convnext_tinny"], "did you mean convnext_tiny"),
        (["--models", " , "], "no model is named"),
        (["--models", "convnext_tiny", "--table12"], "give one of them"),
        (["--models", "convnext_tiny@8"], "8 pixels"),
        (["--models", "convnext_tiny", "--batch", "1,x"], "--batch must be whole numbers"),
        (["--models", "convnext_tiny", "--batch", "0"], "--batch must be whole numbers"),
        (["--models", "convnext_tiny", "--dtype", "fp16"], "there is no dtype fp16; did you mean bf16"),
        (["--models", "convnext_tiny", "--dtype", "tf32", "--device", "cpu"], "tf32 is a precision of NVIDIA's"),
        (["--models", "convnext_tiny", "--layout", "channel_last"], "did you mean channels_last"),
        (["--models", "convnext_tiny", "--device", "tpu"], "device must be auto, cuda"),
        (["--models", "convnext_tiny", "--seconds", "0"], "seconds must be above 0"),
        (["--models", "convnext_tiny", "--reference", "swin_tinny"], "did you mean swin_tiny"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_starts(arguments: list[str], words: str, crew: Crew) -> None:
    sentence = refused(*arguments)
    assert words in sentence and "\n" not in sentence and crew.log == []


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(crew: Crew, tmp_path: Path) -> None:
    asked = ["--models", "convnext_atto", "--out", str(tmp_path / "nowhere" / "bench.json")]
    assert "there is no folder" in refused(*asked) and crew.log == []
    (tmp_path / "text.json").write_text("{}")
    assert "is no record of convnext bench" in refused(*asked[:2], "--out", str(tmp_path / "text.json"))
    invoke(*asked[:2], "--out", str(tmp_path / "new.json"), "--dry-run")
    assert {path.name for path in tmp_path.iterdir()} == {"text.json"}


def children_of(process: "subprocess.Popen[str]") -> list[str]:
    """Return the processes that a bench has started, once there are any."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("no process was started")


def all_end(children: list[str]) -> bool:
    deadline = time.monotonic() + 20
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(is_running(child) for child in children)


def is_running(child: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{child}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes as Linux tells of them")
def test_killed_it_loses_the_row_in_hand_alone_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bench.json"
    asked = ["bench", "--models", "convnext_atto@32", "--batch", "1,2", *QUICK, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "convnext", *asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("1/2"))
        children = children_of(process)
        process.kill()
    (first,) = json.loads(out.read_text())["rows"]
    assert first["batch"] == 1 and first["failed"] is None and first["images_per_second"] > 0
    assert first["check_error"] < 1e-4 and first["peak_memory_bytes"] > 4 * first["params"]
    assert all_end(children)
    # The same command does the other row only.
    crew = Crew()
    monkeypatch.setattr(conduct, "Tools", crew.tools)
    rows = json.loads(invoke(*asked[1:], "--json").stdout)
    assert [row["batch"] for row in rows] == [1, 2] and rows[0]["round_seconds"] == first["round_seconds"]
    assert [what for what, _ in crew.log].count("begin") == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes as Linux tells of them")
def test_ctrl_c_at_the_terminal_ends_everything_quickly(tmp_path: Path) -> None:
    asked = ["bench", "--models", "convnext_atto@32", "--device", "cpu", "--seconds", "300"]
    command = [sys.executable, "-m", "convnext", *asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "1 row," in line)
        children = children_of(process)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130 and time.monotonic() - began < 5
    assert "Traceback" not in rest and "--out FILE" in rest
    assert all_end(children)
