"""convnext figure1: what it prints, what it writes, and what it says of a mistake."""

import json
import re
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from convnext.cli.figure1 import figure1
from convnext.errors import UserError
from tests.test_figure1 import TINY, write_record, write_run

app = typer.Typer()
app.command()(figure1)
runner = CliRunner()


def ran(*arguments: str) -> Result:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_without_anything_it_writes_all_three_files_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    result = ran("--open")
    assert result.stdout == "figure1.png\nfigure1.svg\nfigure1.html\n" and result.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == {"figure1.png", "figure1.svg", "figure1.html"}
    assert opened == [(tmp_path / "figure1.html").as_uri()]


def test_json_tells_every_bubble_and_what_is_not_drawn(tmp_path: Path) -> None:
    record = write_record(tmp_path / "bench.json", {**TINY, "images_per_second": 20.5}, {**TINY, "model": "resnet50"})
    run = write_run(tmp_path / "run", 61.5)
    out = tmp_path / "figure.svg"
    result = ran(str(record), str(run), "--pretrained", "22k", "--out", str(out), "--json")
    value = json.loads(result.stdout)
    assert value["files"] == [str(out)] and out.exists()
    assert [(panel["title"], panel["x"], panel["measured"]) for panel in value["panels"]] == [
        ("Pre-trained on ImageNet-22K", "gmacs", False),
        ("Measured on flowers", "gmacs", True),
    ]
    assert value["panels"][0]["bubbles"] == [
        {
            "model": "convnext_tiny",
            "label": "ConvNeXt-T 224",
            "family": "ConvNeXt",
            "kind": "ConvNet",
            "size": 224,
            "params": 28589128,
            "gmacs": 4.456,
            "top1": 82.9,
            "std": None,
            "seeds": None,
            "images_per_second": 20.5,
            "source": "paper, Table 1, ImageNet-22K",
        }
    ]
    assert value["panels"][1]["bubbles"][0]["top1"] == 61.5 and value["panels"][1]["bubbles"][0]["seeds"] == 1
    assert len(value["left_out"]) == 1
    assert result.stderr == f"Not drawn: {value['left_out'][0]}.\n" and "ResNet-50 224" in result.stderr


def test_against_speed_the_axis_is_another(tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    assert ran("--x", "speed", "--out", str(out)).stderr.count("Not drawn: ") == 2
    assert "images per second" in out.read_text() and "GMACs of one picture" not in out.read_text()


def test_labels_without_room_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 61.5, model="x" * 200)
    result = ran(str(run), "--out", str(tmp_path / "figure.html"))
    assert result.stderr == f"No room for the labels of {'x' * 200} (the page tells them).\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "figure.pdf"], "written as .png, .svg or .html, got figure.pdf"),
        (["--out", "missing/figure.svg"], "cannot write missing/figure.svg: there is no folder missing"),
        (["--out", "."], "the figure needs the name of a file, got .; give one such as figure1"),
        (["--out", "/"], "the figure needs the name of a file, got /; give one such as /figure1"),
        (["--out", ".."], "the figure needs the name of a file, got ..; give one such as ../figure1"),
        (["bench.json"], "there is no bench.json; give a record of convnext bench"),
        (["."], "there is no finished run in ."),
    ],
)
def test_a_mistake_is_a_sentence_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(words)):
        runner.invoke(app, arguments, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_help_needs_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys; import convnext.cli.figure1\n"
        "found = {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.strip() == "", done.stderr
