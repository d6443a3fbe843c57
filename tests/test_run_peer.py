"""A network of another library goes through the whole life of a run: trained, stopped, resumed, scored, told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convnext.evaluate import evaluate
from convnext.models import any_spec
from convnext.peer_spec import PeerSpec, with_options
from convnext.plan import RunPlan
from convnext.run import resume_run, train_run
from convnext.weights import read_model
from tests.torture import require_equal_runs
from tests.train.tiny import Watcher, tiny_recipe


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("pictures")
    for index in range(20):
        folder = root / f"class{index % 2}"
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 120, (24, 24, 3)) + 120 * (index % 2)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{index}.png")
    return str(root)


def swin() -> PeerSpec:
    spec = any_spec("swin_tiny")
    assert isinstance(spec, PeerSpec)
    return with_options(spec, {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2})


def test_a_swin_is_trained_stopped_and_resumed_bit_for_bit(pictures: str, tmp_path: Path) -> None:
    recipe = tiny_recipe("data.batch_size=4", "data.size=16", "regularise.drop_path=0.3", "mix.mixup=0.8")
    plan = RunPlan(data=pictures, model=swin(), recipe=recipe, seed=1)
    whole = train_run(plan, out=tmp_path / "whole")
    parts = train_run(plan, out=tmp_path / "parts", reporter=Watcher(signal_after=5))
    assert whole.finished and not parts.finished
    resume_run(tmp_path / "parts")
    require_equal_runs(tmp_path / "whole", tmp_path / "parts")
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text(encoding="utf-8"))
    assert summary["model"] == "timm:swin_tiny_patch4_window7_224"
    # Built for the size that the recipe trains at, which its file says.
    loaded = read_model(tmp_path / "whole")
    assert isinstance(loaded.network.spec, PeerSpec) and loaded.network.spec.size == 16
    assert loaded.network(torch.zeros(1, 3, 16, 16)).shape == (1, 2)
    scored = evaluate(loaded, pictures)
    assert scored.scores.top1 == pytest.approx(summary["best"]["top1"])


def test_the_same_seed_starts_a_peer_the_same(pictures: str, tmp_path: Path) -> None:
    recipe = tiny_recipe("data.batch_size=4", "data.size=16", "schedule.epochs=1", "schedule.warmup_epochs=0")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_run(RunPlan(data=pictures, model=swin(), recipe=recipe, seed=seed), out=tmp_path / name)
    require_equal_runs(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        require_equal_runs(tmp_path / "a", tmp_path / "c")
