"""The demo: it fits itself to the data, and what it says it made is there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext.data.sources import open_source
from convnext.demo import plan_demo, run_demo
from convnext.errors import UserError
from convnext.train.progress import SilentReporter


def folder_of(root: Path, side: int, count: int) -> Path:
    for name, level in (("dark", 40), ("light", 210)):
        (root / name).mkdir(parents=True)
        for index in range(count):
            noise = np.random.default_rng(index).integers(-30, 30, (side, side + 5, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize(("side", "size", "stride"), [(8, 16, 2), (32, 32, 2), (50, 64, 4)])
def test_size_and_stem_follow_the_pictures(side: int, size: int, stride: int, tmp_path: Path) -> None:
    source = open_source(str(folder_of(tmp_path / "data", side, 5)))
    plan = plan_demo(source, minutes=0.001, device="cpu")
    assert (plan.recipe.data.size, plan.spec.stem_stride) == (size, stride)
    assert plan.recipe.data.batch_size == 2 and plan.recipe.schedule.epochs == 3
    assert 0 < plan.epoch_seconds < 60


def test_epochs_follow_the_time_that_there_is(tmp_path: Path) -> None:
    source = open_source(str(folder_of(tmp_path / "data", 8, 5)))
    assert plan_demo(source, minutes=60, device="cpu").recipe.schedule.epochs == 30


def test_what_it_says_it_made_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    data = folder_of(tmp_path / "data", 12, 12)
    out = run_demo(
        str(data), out=tmp_path / "run", minutes=0.01, device="cpu", reporter=SilentReporter(), say=said.append
    )
    text = "\n".join(said)
    paths = [Path(name) for name in re.findall(rf"{re.escape(str(out))}/\S+\.png", text)]
    assert {path.name for path in paths} >= {"predictions.png", "confusion.png", "curves.png"}
    assert all(path.is_file() for path in paths)
    assert len(list((out / "pictures").glob("*.png"))) == 4
    assert re.search(r"4 held-out pictures, top-1 \d+\.\d\d%, EMA weights", text)
    assert text.count(f"{out}/pictures/") == 4
    again = text.splitlines()[-1].split()
    assert again[:3] == ["convnext", "train", str(data)] and "model.stem_stride=2" in again


def test_unreadable_data_is_named(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", 8, 3)
    for path in data.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="not one of 4 pictures"):
        plan_demo(open_source(str(data)), minutes=0.01, device="cpu")
