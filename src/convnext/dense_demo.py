"""Detection and segmentation in a few minutes, on made scenes or data of one's own: train, score, draw, say where."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convnext.data.dense.splits import DenseSource
from convnext.dense_model import open_dense
from convnext.dense_predict import find_in_pictures
from convnext.errors import UserError
from convnext.folder import new_folder
from convnext.kinds.kind import kind_of, silent
from convnext.models import model_spec
from convnext.plan import RunConfig, RunPlan
from convnext.recipe import with_epochs, with_overrides
from convnext.recipes import recipe_for
from convnext.run import prepare, train_run
from convnext.setting import shown
from convnext.train.distributed import ALONE
from convnext.train.engine import Engine
from convnext.train.progress import Reporter
from convnext.train.timing import time_steps

DenseTask = Literal["detect", "segment"]
MODEL = "convnext_atto"
SHOWN = 6
EPOCHS = (2, 1000)
TIMED_STEPS = 4
# Scoring, saving and drawing come on top of the steps.
OVERHEAD = 1.4
# A twentieth of the paper's heads: the scenes are small, and two cores shall see them learned.
HEADS: dict[DenseTask, dict[str, Any]] = {
    "detect": {"channels": 64, "hidden": 128, "sampled_boxes": 64},
    "segment": {"channels": 64, "aux_channels": 32},
}
SETTINGS: dict[DenseTask, tuple[str, ...]] = {
    "detect": (
        "data.size=128",
        "detect.short_sides=112,144",
        "detect.short_step=16",
        "detect.longest=256",
        "detect.crop_chance=0",
        "data.batch_size=4",
        "optim.lr=1e-3",
        "data.workers=0",
    ),
    "segment": (
        "data.size=96",
        "segment.base=256,128",
        "segment.stride=96",
        # A few minutes are too short to gain from variety.
        "segment.ratio=1,1",
        "segment.photometric=false",
        "data.batch_size=4",
        "optim.lr=2e-3",
        "data.workers=0",
    ),
}
SCENES = "scenes:120"


@dataclass(frozen=True, kw_only=True)
class DenseDemoPlan:
    """What the demo trains, and how long an epoch is expected to take."""

    plan: RunPlan
    epoch_seconds: float


def run_dense_demo(
    data: str | None,
    task: DenseTask,
    *,
    out: Path | None,
    minutes: float,
    device: str,
    reporter: Reporter,
    say: Callable[[str], None],
) -> Path:
    """Train for about `minutes`, score, draw some held-out pictures, and return the run directory.

    data  None for the made scenes. The number of epochs follows from a few timed steps.
    """
    chosen = plan_dense_demo(data or SCENES, task, minutes=minutes, device=device)
    plan = chosen.plan
    epochs = plan.recipe.schedule.epochs
    say(f"{epochs} epochs of {MODEL}: about {epochs * chosen.epoch_seconds / 60:.1f} minutes here")
    folder = new_folder(out, f"demo-{task}")
    result = train_run(plan, out=folder, reporter=reporter)
    if not result.finished:
        say(result.message)
        return folder
    source = _source(plan)
    pictures = _held_out(source, folder)
    model = open_dense(str(folder), task)
    say("predict:")
    for found in find_in_pictures(model, sorted(pictures.iterdir()), device=device):
        if found.classes is None:
            holds = ", ".join(found.labels) or "nothing"
        else:
            holds = ", ".join(model.labels[number] for number in np.unique(found.classes).tolist())
        say(f"  {found.path}: {holds}")
    say("\na few minutes from scratch show that everything works, not what the network can do")
    say("look at")
    for name, what in (
        ("predictions.html", "the best and worst held-out pictures, predicted and true"),
        ("curves.png", "loss and score over the epochs"),
    ):
        say(f"  {folder / name}  {what}")
    say("draw them:\n  " + shlex.join(["convnext", "predict", str(folder), str(pictures)]))
    say("the same again:\n  " + _command(plan, task))
    return folder


def plan_dense_demo(data: str, task: DenseTask, *, minutes: float, device: str) -> DenseDemoPlan:
    """Return what can be trained in about so many minutes here, by a few timed steps."""
    recipe = with_overrides(recipe_for(f"{task}-small", MODEL), SETTINGS[task])
    plan = RunPlan(
        data=data, model=model_spec(MODEL), recipe=recipe, task=task, head_settings=HEADS[task], device=device
    )
    source = _source(plan)
    if task == "detect" and not source.has_masks:
        plan = replace(plan, head="faster-rcnn")
    seconds = OVERHEAD * _epoch_seconds(plan, source)
    epochs = int(min(max(60 * minutes / seconds, EPOCHS[0]), EPOCHS[1]))
    return DenseDemoPlan(plan=replace(plan, recipe=with_epochs(recipe, epochs)), epoch_seconds=seconds)


def _source(plan: RunPlan) -> DenseSource:
    source = kind_of(plan.task).open(RunConfig.of(plan), plan.recipe, silent)
    assert isinstance(source, DenseSource)
    return source


def _epoch_seconds(plan: RunPlan, source: DenseSource) -> float:
    config, kind = RunConfig.of(plan), kind_of(plan.task)
    if len(source.train) < plan.recipe.data.batch_size:
        batch = plan.recipe.data.batch_size
        raise UserError(
            f"{source.name} has {len(source.train)} pictures to train on, too few for a demo, whose batches have "
            f"{batch}"
        )
    network = kind.network(plan, plan.recipe, source, silent)
    run = prepare(config, plan.recipe, source, network, None, ALONE)
    engine: Engine[Any, Any] = Engine(run.task, network, plan.recipe, run.place, 0)
    return time_steps(engine, steps=TIMED_STEPS).seconds * engine.steps_per_epoch


def _held_out(source: DenseSource, folder: Path) -> Path:
    """Write a few held-out pictures into the run and return their folder."""
    pictures = folder / "pictures"
    pictures.mkdir()
    chosen = np.unique(np.linspace(0, len(source.val) - 1, min(SHOWN, len(source.val))).astype(int))
    for place in chosen.tolist():
        source.val.picture(place).save(pictures / f"{place}.png")
    return pictures


def _command(plan: RunPlan, task: DenseTask) -> str:
    settings = [*SETTINGS[task], *(f"head.{name}={shown(value)}" for name, value in HEADS[task].items())]
    words = ["convnext", "train", plan.data, "--task", task, "--model", MODEL]
    words += [] if plan.head is None else ["--head", plan.head]
    words += ["--epochs", str(plan.recipe.schedule.epochs)]
    return shlex.join([*words, *(word for one in settings for word in ("--set", one))])
