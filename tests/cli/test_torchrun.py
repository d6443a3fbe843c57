"""The train command under torchrun: started again after a process died, and one sentence for a mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext.cli import main
from convnext.cli.train import _begun
from convnext.errors import UserError

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: str, restarts: int = 0) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return [*launcher, "--max-restarts", str(restarts), "-m", "convnext", "train", *arguments]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name, level in (("dark", 70), ("light", 190)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(level + generator.integers(-40, 41, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="finds the processes of torchrun with pgrep")
def test_processes_that_are_started_again_go_on_from_the_last_checkpoint(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["data.batch_size=4", "data.workers=0", "engine.save_minutes=0", "engine.log_every=1"]
    settings += ["model.depths=1,1", "model.width=8", "model.stem_stride=2"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command(str(pictures), *("--size", "16", "--epochs", "30", "--out", str(run)), *flags, restarts=1),
            env=ENVIRONMENT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        log = run / "log.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (log.exists() and log.read_text().count('"step"') > 20):
            time.sleep(0.1)
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)
        assert process.wait(timeout=120) == 0, (tmp_path / "output.txt").read_text()[-3000:]
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    (resumed,) = [row for row in rows if row["kind"] == "resume"]
    assert 0 < resumed["step"] < 240 and resumed["lost_steps"] <= 1
    # Nothing is missing from the log and nothing is there twice.
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 241))
    assert json.loads((run / "summary.json").read_text())["processes"] == 2


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_two_processes_train_and_score_dense_tasks(task: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    head = {"detect": ["hidden=8", "sampled_boxes=16"], "segment": ["aux_channels=4"]}[task]
    settings = ["model.width=8", "model.depths=1,1,1,1", *(f"head.{one}" for one in ["channels=8", *head])]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    asked = ["scenes:12", "--recipe", f"{task}-smoke", "--seed", "3", *flags, "--out", str(run)]
    done = subprocess.run(command(*asked), env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((run / "summary.json").read_text())
    target = {"detect": "box_ap", "segment": "miou"}[task]
    assert summary["processes"] == 2 and summary["steps"] == 6 and summary["images_seen"] == 24
    # One process comes to the same score with the same weights: each picture was counted once.
    scored = subprocess.run(
        [sys.executable, "-m", "convnext", "eval", str(run), "scenes:12", "--workers", "0", "--json"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr[-3000:]
    assert json.loads(scored.stdout)[target] == pytest.approx(summary["best"][target], abs=1e-3)


def test_a_mistake_is_one_sentence_of_one_process(pictures: Path, tmp_path: Path) -> None:
    wrong = [str(pictures), "--size", "16", "--model", "convnext_tinny", "--out", str(tmp_path / "run")]
    done = subprocess.run(command(*wrong), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.count("convnext: ") == 1 and "did you mean convnext_tiny" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_restart_before_the_first_checkpoint_begins_again(tmp_path: Path) -> None:
    environment = {"TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_RESTART_COUNT": "1"}
    (tmp_path / "run").mkdir()
    for name in ("run.json", "recipe.json", ".last.safetensors.x.partial"):
        (tmp_path / "run" / name).write_text("{}")
    assert _begun(tmp_path / "run", environment) is None
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_text("")
    assert _begun(tmp_path / "run", environment) == tmp_path / "run"
    assert _begun(tmp_path / "run", {}) is None
    with pytest.raises(UserError, match="--max-restarts needs --out"):
        _begun(None, environment)


@pytest.mark.parametrize(
    ("code", "several", "expected"), [(0, True, [0]), (0, False, []), (130, True, []), (2, True, [])]
)
def test_a_process_of_several_that_is_done_does_not_wait_for_torchs_threads(
    code: int, several: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    monkeypatch.setattr("convnext.cli.app.app", lambda: sys.exit(code))
    if several:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    else:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == code and left == expected
