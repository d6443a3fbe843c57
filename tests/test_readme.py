"""The README is true: its commands parse and the quick ones run, its Python runs, its file tree is the tree."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.models import create_model

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands_in(text: str) -> list[list[str]]:
    """Return the arguments of every line that begins a `convnext` command."""
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line.partition("#")[0])[1:] for line in lines if re.match(r"convnext (?!is)\w+ ", line)]


COMMANDS = commands_in(README)
IN_DOCS = [one for page in sorted((ROOT / "docs").glob("*.md")) for one in commands_in(page.read_text("utf-8"))]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_commands_and_python_to_check() -> None:
    assert len(COMMANDS) >= 20 and len(IN_DOCS) >= 15 and len(PYTHON) == 1


@pytest.mark.parametrize("arguments", [*COMMANDS, *IN_DOCS], ids=" ".join)
def test_every_command_parses(arguments: list[str]) -> None:
    command = get_command(app)
    context = command.make_context("convnext", list(arguments))
    while context.protected_args if hasattr(context, "protected_args") else context._protected_args:
        name, inner, rest = context.command.resolve_command(  # type: ignore[attr-defined]
            context, [*context._protected_args, *context.args]
        )
        context = inner.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    "arguments",
    [one for one in COMMANDS if one[0] in ("models", "cost") or one[:2] == ["roadmap", "show"]],
    ids=" ".join,
)
def test_the_quick_commands_run(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) > 5


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": create_model("convnext_tiny").state_dict()}, "convnext_tiny_1k_224_ema.pth")
    names = {"images": torch.randn(1, 3, 64, 64)}
    exec(PYTHON[0], names)
    stages = names["stages"]
    assert [tuple(stage.shape[1:]) for stage in stages] == [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)]


def test_the_file_tree_names_every_module() -> None:
    tree = README[README.index("## What is where") :]
    missing = [
        path.name
        for path in (ROOT / "src" / "convnext").iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
        and (f"{path.name}/" if path.is_dir() else path.name) not in tree
    ]
    assert missing == []
    named = re.findall(r"\b(\w+\.py|\w+/\w+\.py)\b", tree)
    assert [name for name in named if not list((ROOT / "src" / "convnext").rglob(name))] == []
