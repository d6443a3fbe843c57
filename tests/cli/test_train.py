"""convnext train that is asked to stop when nothing is left to do but to sum up: one sentence, and how to go on."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.cli.plan import make_plan
from convnext.folder import new_folder
from convnext.train.distributed import ALONE, World

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for index in range(10):
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def arguments(folder: Path, out: Path) -> list[str]:
    settings = ("model.depths=1,1", "model.width=8", "model.stem_stride=2", "data.workers=0", "data.batch_size=8")
    chosen = [word for one in settings for word in ("--set", one)]
    return ["train", str(folder), "--epochs", "1", "--size", "16", *chosen, "--out", str(out)]


def stop_the_summary(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    def signalled(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("went on")

    monkeypatch.setattr("convnext.kinds.classify.summarise", signalled)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_summing_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_the_summary(patch, number)
        stopped = runner.invoke(app, [*arguments(folder, out), "--json"], catch_exceptions=False)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert stopped.stderr.splitlines()[-1] == (
        f"stopped while summing up, with all steps done and saved; sum it up with: convnext train --resume {out}"
    )
    assert not (out / "summary.json").exists()
    done = runner.invoke(app, ["train", "--resume", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and str(out) in done.stdout and (out / "summary.json").exists()


def test_several_seeds_are_gone_on_with_together(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "seeds"
    with monkeypatch.context() as patch:
        stop_the_summary(patch, signal.SIGTERM)
        stopped = runner.invoke(app, [*arguments(folder, out), "--seeds", "2"], catch_exceptions=False)
    assert stopped.exit_code == 130
    assert stopped.stderr.splitlines()[-1] == f"stopped at seed 0; go on with: convnext train --resume {out}"
    done = runner.invoke(app, ["train", "--resume", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and "top-1 of 2 seeds" in done.stdout


def test_a_process_that_stops_alone_does_not_wait_for_the_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []

    @contextmanager
    def joined(environment: Mapping[str, str]) -> Iterator[World]:
        try:
            yield ALONE
        except BaseException as error:
            left.append(type(error).__name__)
            raise
        left.append("in order")

    monkeypatch.setattr("convnext.train.distributed.join", joined)
    assert runner.invoke(app, arguments(folder, tmp_path / "run")).exit_code == 0
    stop_the_summary(monkeypatch, signal.SIGTERM)
    assert runner.invoke(app, arguments(folder, tmp_path / "stopped")).exit_code == 130
    assert left == ["in order", "Exit"]


def test_a_network_in_which_something_was_changed_is_called_so(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(
        str(folder), model="resnet50", recipe=None, weights=None, epochs=None, size=None, seed=0, device="cpu",
        settings=["model.width=26", "model.depths=2,2,6,2", "optim.lr=1e-3"],
    )  # fmt: skip
    assert plan.title == "resnet50 (width=26; depths=2,2,6,2)"
    # Its folder is named without what a shell would have to quote.
    assert new_folder(None, plan.title).name.endswith("-resnet50")
