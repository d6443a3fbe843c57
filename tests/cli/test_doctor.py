"""convnext doctor on made folders with planted faults: what it prints, its exit codes, that it writes nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.duration import duration
from convnext.errors import UserError
from convnext.models import create_model
from convnext.weights import save_model

runner = CliRunner()
TINY = ["--set", "model.depths=1,1", "--set", "model.width=8", "--set", "data.workers=0"]


def paint(path: Path, seed: int, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30 small pictures, one of them broken."""
    root = tmp_path_factory.mktemp("small")
    for number, name in enumerate(("cat", "dog")):
        for index in range(30):
            paint(root / name / f"{index}.png", 100 * number + index)
    (root / "cat" / "0.png").write_bytes(b"no picture")
    return root


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def doctor(*arguments: str) -> Result:
    return runner.invoke(app, ["doctor", *arguments], catch_exceptions=False)


def keys(*arguments: str) -> dict[str, str]:
    result = doctor(*arguments, "--no-time", "--json")
    return {finding["key"]: finding["level"] for finding in json.loads(result.stdout)["findings"]}


def test_the_papers_recipe_on_sixty_pictures(folder: Path) -> None:
    result = doctor(str(folder), "--recipe", "imagenet-1k", "--size", "32", "--no-time")
    assert result.exit_code == 1
    for words in (
        "convnext_atto on",
        "2 classes, 48 pictures to train on, 12 held out",
        "recipe imagenet-1k",
        "12 = 1 process x 1 micro-batch x 12",
        "1,200 = 300 epochs x 4; 80 of warm-up",
        "up to 0.004, 8.0 times what is usual at this batch",
        "0.9999, over 10,000 steps",
        "32 pixels (their own: 32); maps of 8, 4, 2, 1",
        "error    a batch of 4,096 is more than the 48 pictures there are",
        "error    at the end 89% of the average will still be the initial weights",
        "error    1 of 60 pictures cannot be read",
        "cat/0.png: not a picture of a known kind",
        "warning  the last stage sees 1 x 1 of a picture of 32 pixels",
        "--set model.stem_stride=2 (16x16, 8x8, 4x4, 2x2, 4.0 times the work) or model.stem_stride=1",
        "→ --set ema.decay=auto",
    ):
        assert words in result.stdout, words
    assert "images/s" not in result.stdout
    # All were looked at, so nothing is said of others.
    assert result.stderr.splitlines()[-1] == (
        "Looked at all 60 pictures; convnext data check also finds copies among them."
    )
    assert "of those that were looked at" not in result.stdout


def test_a_healthy_plan_ends_with_0(folder: Path) -> None:
    levels = keys("digits", "--size", "32", "--set", "model.stem_stride=1", "--epochs", "50", *TINY)
    assert "error" not in levels.values() and "warning" not in levels.values()
    assert doctor("digits", "--size", "32", "--no-time", *TINY).exit_code == 0


def test_files_that_would_not_be_read_are_noted(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert "passed_over" not in keys(str(tmp_path / "copy"), *TINY)
    (tmp_path / "copy" / "dog" / "1.heic").write_bytes(b"")
    assert keys(str(tmp_path / "copy"), *TINY)["passed_over"] == "note"


def test_of_many_pictures_some_are_looked_at() -> None:
    result = doctor("digits", "--size", "32", "--no-time", *TINY)
    assert result.stderr.splitlines()[-1] == "Looked at 200 pictures; convnext data check reads all."


def test_options_reach_the_plan(folder: Path) -> None:
    plain = keys(str(folder), *TINY)
    assert "lr_high" not in plain and "few_pictures" in plain and "odd_micro_batch" not in plain
    assert keys(str(folder), *TINY, "--set", "optim.lr=4e-2")["lr_high"] == "error"
    assert "odd_micro_batch" in keys(
        str(folder), *TINY, "--set", "mix.mixup=0.8", "--set", "data.batch_size=14", "--processes", "2"
    )


def test_weights_that_are_given_count(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_model(weights, create_model("convnext_atto"))
    levels = keys(str(folder), "--weights", str(weights), "--size", "32")
    assert "few_pictures" not in levels and levels["lr_high"] == "error"


def test_a_few_steps_tell_time_and_memory(folder: Path, tmp_path: Path) -> None:
    arguments = [str(folder), "--size", "32", "--epochs", "7", *TINY, "--out", str(tmp_path / "runs" / "new")]
    shown = doctor(*arguments)
    for words in ("on this cpu", "reading", "learning", "<- the bottleneck", "an epoch", "the run", "memory", "files"):
        assert words in shown.stdout, words
    assert shown.stderr.splitlines()[:2] == ["looking at a few pictures", "timing a few steps"]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    told: dict[str, Any] = json.loads(doctor(*arguments, "--json").stdout)
    assert (
        told["model"] == "convnext_atto (depths=1,1; width=8)"
        and told["ok"] is False
        and told["steps"] == 7 * told["steps_per_epoch"]
    )
    forecast = told["forecast"]
    assert forecast["epochs"] == 7
    assert forecast["total_seconds"] == pytest.approx(forecast["start_seconds"] + 7 * forecast["epoch_seconds"])
    assert 0 < forecast["peak_memory_bytes"] < forecast["memory_bytes"] and forecast["run_bytes"] > 0


def test_a_mistake_is_refused_as_by_train(folder: Path) -> None:
    with pytest.raises(UserError, match="a picture of 8 pixels is too small"):
        doctor(str(folder), "--size", "8")
    with pytest.raises(UserError, match="no such folder"):
        doctor("nowhere")


def test_the_flags_are_frozen() -> None:
    command = get_command(app).commands["doctor"]  # type: ignore[attr-defined]
    flags = [option.opts[0] for option in command.params if option.opts[0].startswith("--")]
    expected = "--task --model --head --recipe --weights --epochs --size --set --processes --out --time --device --json"
    assert flags == expected.split()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (302400, "3.5 days"),
    ],
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
