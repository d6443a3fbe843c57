"""What the showing commands print: JSON with stable keys and nothing else, tables for people."""

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.cost import total_cost
from convnext.models import MODELS

runner = CliRunner()


def printed(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: str) -> Any:
    return json.loads(printed(*arguments, "--json"))


def test_models() -> None:
    rows = as_json("models")
    assert [row["name"] for row in rows] == list(MODELS)
    tiny = next(row for row in rows if row["name"] == "convnext_tiny")
    assert tiny["params"] == 28_589_128 and isinstance(tiny["params"], int)
    assert f"{tiny['gmacs']:.2f}" == "4.46"
    assert tiny["input_size"] == 224 and tiny["paper_top1"] == 82.1
    assert next(row for row in rows if row["name"] == "convnext_xlarge")["paper_top1"] is None
    assert "convnext_isotropic_large" in printed("models") and "28.59M" in printed("models")


def test_cost() -> None:
    value = as_json("cost", "convnext_tiny", "--size", "384")
    assert f"{value['gmacs']:.2f}" == "13.09"
    assert [stage["part"] for stage in value["stages"]] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert sum(stage["params"] for stage in value["stages"]) == value["params"] == 28_589_128
    assert "28,589,128" in printed("cost", "convnext_tiny")
    assert as_json("cost", "quarter:kernel_7")["params"] == 1_832_128


def test_roadmap() -> None:
    rows = as_json("roadmap", "show", "--regime", "resnet50")
    assert len(rows) == 17
    assert {"step", "adopted", "gmacs", "params", "paper_gmacs", "paper_top1"} <= set(rows[0])
    exact = [f"{row['gmacs']:.2f}" == f"{row['paper_gmacs']:.2f}" for row in rows]
    assert [row["step"] for row, same in zip(rows, exact, strict=True) if not same] == [
        "layernorm",
        "separate_downsampling",
    ]
    assert [row["step"] for row in rows if row["paper_gmacs_differs"]] == ["layernorm", "separate_downsampling"]
    assert rows[-1]["paper_top1"] == 81.97 and rows[-1]["paper_top1_std"] == 0.06
    assert rows[0]["paper_top1_std"] is None
    assert [row["paper_gmacs_differs"] for row in as_json("roadmap", "show", "--regime", "resnet200")] == [False] * 17


def test_where_the_paper_has_no_number_there_is_null() -> None:
    for row in as_json("roadmap", "show", "--regime", "quarter"):
        assert row["paper_gmacs"] is None and row["paper_top1"] is None
    small = as_json("roadmap", "show", "--size", "64")
    assert all(row["paper_gmacs"] is None for row in small) and small[0]["gmacs"] < 0.4


def test_the_roadmap_table_names_the_two_exceptions() -> None:
    result = runner.invoke(app, ["roadmap", "show"])
    assert "4.46*" in result.stdout and "4.49*" in result.stdout and "2.35*" not in result.stdout
    assert "layernorm: the paper prints 4.46, counting gives 4.15" in result.stderr
    assert "separate_downsampling: the paper prints 4.49, counting gives 4.46" in result.stderr


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "convnext", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cost", "convnext_tini"], "no model convnext_tini; did you mean convnext_tiny"),
        (["cost", "convnext_tiny", "--size", "16"], "a picture of 16 pixels is too small"),
        (["roadmap", "show", "--regime", "resnet60"], "no regime resnet60; did you mean resnet50"),
        (["cost", "resnet50:kernel7"], "no step kernel7; did you mean kernel_7"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_help_does_not_import_torch_and_answers_fast() -> None:
    code = (
        "import sys, time; start = time.process_time(); sys.argv = ['convnext', '--help']\n"
        "from convnext.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else time.process_time() - start > 0.5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "roadmap" in done.stdout


@pytest.mark.parametrize("name", ["models", "roadmap show"])
def test_showing_needs_no_torch(name: str) -> None:
    code = (
        f"import sys; sys.argv = ['convnext', *'{name}'.split(), '--json']\n"
        "from convnext.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_the_models_command_counts_rather_than_remembers() -> None:
    for row in as_json("models"):
        assert row["params"] == total_cost(MODELS[row["name"]].spec).params
