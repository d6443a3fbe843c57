"""The commands on a GPU. These are left out where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from convnext.cli.app import app

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
runner = CliRunner()


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["--dtype", "fp32", "--layout", "auto"], 4),
        (["--dtype", "tf32"], 2),
        (["--dtype", "bf16", "--compile"], 2),
        (["--dtype", "bf16", "--train"], 2),
        (["--dtype", "bf16", "--train", "--compile"], 2),
    ],
    ids=["fp32", "tf32", "bf16 compiled", "bf16 training", "bf16 training compiled"],
)
def test_bench_times_what_it_has_checked(options: list[str], rows: int) -> None:
    asked = ["bench", "--models", "convnext_atto@64,resnet50@64", "--batch", "4", "--seconds", "0.2", "--json"]
    result = runner.invoke(app, [*asked, "--device", "cuda", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert len(measured) == rows
    for row in measured:
        assert row["failed"] is None and row["images_per_second"] > 10 and row["check_error"] <= row["check_tolerance"]
        # Weights at the least, in two bytes each where they are bfloat16.
        assert (
            row["peak_memory_bytes"] >= 2 * row["params"] and row["reserved_memory_bytes"] >= row["peak_memory_bytes"]
        )


def test_torchrun_trains_one_process_with_nccl(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "convnext", "train"]
    settings = ["--size", "16", "--epochs", "1", "--set", "model.stem_stride=2", "--out", str(tmp_path / "run")]
    done = subprocess.run([*launcher, "digits", *settings], env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["machine"]["accelerator"]
