"""The main job in a few minutes: train on real pictures, evaluate, predict, and say where to look."""

import shlex
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convnext.data.sources import Source, open_source
from convnext.errors import UserError
from convnext.evaluate import evaluate
from convnext.folder import new_folder
from convnext.models import create_model, model_spec
from convnext.plan import RunPlan
from convnext.predict import find_pictures, predict_pictures
from convnext.recipe import Data, Recipe, with_epochs
from convnext.recipes import RECIPES
from convnext.run import train_run
from convnext.spec import NetSpec
from convnext.tasks.classify import ClassifyTask, evaluation_preprocess
from convnext.train.device import choose_device
from convnext.train.engine import Engine, Place
from convnext.train.progress import Reporter
from convnext.train.timing import time_steps
from convnext.weights import read_model

MODEL = "convnext_atto"
SHOWN = 8
# Short sides of the data's own pictures, up to which a size and a stem stride serve; larger ones take the last row.
SIZES = ((12, 16, 2), (40, 32, 2), (None, 64, 4))
LOOKED_AT = 25
TIMED_STEPS = 4
EPOCHS = (3, 30)
# Scoring, saving and drawing come on top of the steps.
OVERHEAD = 1.35


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """What the demo trains: the network, the recipe and how long an epoch is expected to take."""

    spec: NetSpec
    recipe: Recipe
    epoch_seconds: float


def run_demo(
    data: str, *, out: Path | None, minutes: float, device: str, reporter: Reporter, say: Callable[[str], None]
) -> Path:
    """Train for about `minutes`, evaluate and predict, and return the run directory.

    Number of epochs follows from a few timed steps, so two machines may train for different numbers of them.
    """
    source = open_source(data)
    plan = plan_demo(source, minutes=minutes, device=device)
    epochs, size, stride = plan.recipe.schedule.epochs, plan.recipe.data.size, plan.spec.stem_stride
    say(
        f"{epochs} epochs of {MODEL} at {size} pixels, stem stride {stride}: about "
        f"{epochs * plan.epoch_seconds / 60:.1f} minutes here"
    )
    folder = new_folder(out, "demo")
    result = train_run(
        RunPlan(data=data, model=plan.spec, recipe=plan.recipe, device=device), out=folder, reporter=reporter
    )
    if not result.finished:
        say(result.message)
        return folder
    loaded = read_model(folder)
    scores = evaluate(loaded, data, device=device).scores
    say(f"\nevaluate: {scores.images} held-out pictures, top-1 {scores.top1:.2f}%, {loaded.weights.upper()} weights")
    say("predict:")
    for prediction in predict_pictures(
        loaded.network,
        find_pictures([str(_held_out(source, folder))]),
        preprocess=loaded.preprocess,
        labels=loaded.labels,
    ):
        best = "  ".join(f"{label.label} {100 * label.probability:.1f}%" for label in prediction.labels[:3])
        say(f"  {prediction.path}: {best}")
    say("\nlook at")
    for name, what in (
        ("predictions.png", "held-out pictures with what the network says of them"),
        ("confusion.png", "which class is taken for which"),
        ("curves.png", "loss and accuracy over the epochs"),
    ):
        say(f"  {folder / name}  {what}")
    quoted = shlex.quote(data)
    settings = "".join(f" --set {one}" for one in (f"model.stem_stride={stride}", f"data.batch_size={_batch(source)}"))
    say(f"the same again:\n  convnext train {quoted} --model {MODEL} --epochs {epochs} --size {size}{settings}")
    return folder


def plan_demo(source: Source, *, minutes: float, device: str) -> DemoPlan:
    """Choose size and stem stride from the data's own pictures, and the epochs from a few timed steps."""
    size, stride = _size_of(source)
    spec = replace(model_spec(MODEL), stem_stride=stride, num_classes=len(source.classes))
    base = RECIPES["default"]
    recipe = replace(base, data=replace(base.data, size=size, batch_size=_batch(source)))
    seconds = OVERHEAD * _epoch_seconds(source, spec, recipe, device)
    epochs = int(min(max(60 * minutes / seconds, EPOCHS[0]), EPOCHS[1]))
    return DemoPlan(spec=spec, recipe=with_epochs(recipe, epochs), epoch_seconds=seconds)


def _batch(source: Source) -> int:
    """Return a batch that leaves at least eight steps an epoch, at most the recipe's."""
    return max(2, min(Data().batch_size, len(source.train) // 8))


def _size_of(source: Source) -> tuple[int, int]:
    places = np.unique(np.linspace(0, len(source.train) - 1, min(LOOKED_AT, len(source.train))).astype(int))
    sides: list[int] = []
    for place in places.tolist():
        try:
            sides.append(min(source.train.picture(place).size))
        except UserError:
            continue
    if not sides:
        raise UserError(
            f"not one of {len(places)} pictures of {source.name} could be read; look at {source.train.name(0)}"
        )
    side = statistics.median(sides)
    return next((size, stride) for most, size, stride in SIZES if most is None or side <= most)


def _epoch_seconds(source: Source, spec: NetSpec, recipe: Recipe, device: str) -> float:
    preprocess = evaluation_preprocess(recipe, source.label_safe)
    task = ClassifyTask(source, recipe, preprocess=preprocess, seed=0)
    engine = Engine(task, create_model(spec), recipe, Place(device=choose_device(device)), seed=0)
    return time_steps(engine, steps=TIMED_STEPS).seconds * engine.steps_per_epoch


def _held_out(source: Source, folder: Path) -> Path:
    """Write a few held-out pictures, named by their class, into the run and return their folder."""
    pictures = folder / "pictures"
    pictures.mkdir()
    chosen = np.unique(np.linspace(0, len(source.val) - 1, min(SHOWN, len(source.val))).astype(int))
    for number, place in enumerate(chosen.tolist()):
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in source.classes[int(source.val.labels[place])])
        try:
            source.val.picture(place).save(pictures / f"{number}-{name}.png")
        except (UserError, OSError):
            continue
    return pictures
