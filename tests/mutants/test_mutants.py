"""Wrong programs that a weak suite would pass: each is one changed line, and the named tests must fail on it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong program: in `file`, `right` (which stands there exactly once) becomes `wrong`; `tests` must notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


MUTANTS = (
    Mutant(
        name="the cost forgets that depthwise convolutions have groups",
        file="cost.py",
        right="outputs * conv.kernel**2 * (conv.in_channels // conv.groups)",
        wrong="outputs * conv.kernel**2 * conv.in_channels",
        tests="tests/test_cost.py",
    ),
    Mutant(
        name="the stride of an inverted block moves to its first convolution",
        file="layout.py",
        right="stride=stride if at == mixer_at else 1",
        wrong="stride=stride if at == 0 else 1",
        tests="tests/test_roadmap.py::test_exactly_32_of_34_cells_equal_the_papers_last_digit",
    ),
    Mutant(
        name="stochastic depth never reaches the last block",
        file="network.py",
        right="torch.linspace(0, drop_path, sum(depths), device",
        wrong="torch.linspace(0, drop_path, sum(depths) + 1, device",
        tests="tests/test_network.py::test_stochastic_depth_grows_linearly_over_all_blocks",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_suite_kills(mutant: Mutant, tmp_path: Path) -> None:
    package = tmp_path / "src" / "convnext"
    shutil.copytree(ROOT / "src" / "convnext", package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.right) == 1, f"{mutant.file} no longer holds the line that this mutant changes"
    (package / mutant.file).write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *mutant.tests.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is "tests failed"; a mutant that cannot even be imported, or tests that are not found, prove nothing.
    assert done.returncode == 1, f"survived (exit code {done.returncode}):\n{done.stdout[-2000:]}"
    assert "\nFAILED " in done.stdout, done.stdout[-2000:]
