"""convnext data check: what it prints, its exit codes, and that Ctrl-C ends it cleanly."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import convnext.data.check.report as report
from convnext.cli.app import app

runner = CliRunner()


def paint(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat", "dog")):
        for index in range(12):
            paint(tmp_path / "train" / name / f"{index}.png", 100 * number + index)
            paint(tmp_path / "val" / name / f"{index}.png", 1000 + 100 * number + index)
    return tmp_path


def test_warnings_alone_end_with_0_and_say_what_to_do(folder: Path) -> None:
    result = runner.invoke(app, ["data", "check", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "2 classes, 24 pictures to train on, 24 held out" in result.stdout
    assert "shorter sides from 20 pixels, median 20; longest side 24; 0% grey" in result.stdout
    lines = result.stdout.splitlines()
    assert "warning  only 24 held-out pictures" in lines and lines[-1] == "1 warning"
    assert any(line.startswith("         → hold out more") for line in lines)
    assert all(line == line.rstrip() for line in lines) and max(map(len, lines[1:])) <= 110
    assert result.stderr.splitlines() == ["reading 48 pictures"]


def test_errors_end_with_1_and_json_has_every_name(folder: Path) -> None:
    for number in range(7):
        (folder / "train" / "cat" / f"bad{number}.png").write_bytes(b"no")
    arguments = ["data", "check", str(folder), "--size", "21"]
    shown = runner.invoke(app, arguments, catch_exceptions=False)
    assert shown.exit_code == 1 and "error    7 of 55 pictures cannot be read" in shown.stdout
    assert "bad2.png" in shown.stdout and "bad3.png" not in shown.stdout and "and 4 more" in shown.stdout
    result = runner.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert set(value) == set("name num_classes num_train num_val has_own_val sizes method findings ok".split())
    assert value["ok"] is False and "64-bit difference hash" in value["method"]
    by_key = {finding["key"]: finding for finding in value["findings"]}
    assert len(by_key["unreadable"]["names"]) == 7 and len(by_key["small"]["names"]) == 48
    assert set(by_key["small"]) == {"level", "key", "title", "detail", "advice", "names"}


def test_stopping_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "check_source", interrupted)
    result = runner.invoke(app, ["data", "check", str(folder)], catch_exceptions=False)
    assert result.exit_code == 130 and result.stdout == ""
    assert "stopped before all pictures were read" in result.stderr


def test_the_flags_are_frozen() -> None:
    check = get_command(app).commands["data"].commands["check"]  # type: ignore[attr-defined]
    flags = [option.opts[0] for option in check.params if option.opts[0].startswith("--")]
    assert flags == ["--task", "--root", "--size", "--json"]
