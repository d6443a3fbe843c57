"""summary.json: what a finished run achieved, at what cost, on which machine; and its pictures."""

import contextlib
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torchvision

import convnext
from convnext.data.augment import keep_labels_true
from convnext.files import DamagedFile, write_text
from convnext.labels import readable
from convnext.metrics.breakdown import confusion_csv
from convnext.models import model_cost
from convnext.peer_spec import Spec
from convnext.plots import plot_confusion, plot_guesses
from convnext.recipe import Recipe
from convnext.tasks.classify import ClassifyMetric, ClassifyTask, sample_guesses
from convnext.train.checkpoint import BEST, Best, FileCheckpoint, Progress, read_checkpoint
from convnext.train.engine import Engine, Place
from convnext.train.score import Weights, score
from convnext.train.sharding import copy_state, load_whole

SHOWN = 24
# A matrix of more classes would make the summary megabytes long; confusion.csv holds it in any case.
MOST_CLASSES = 100
WEIGHTS_NAME: dict[Weights, str] = {"raw": "raw", "ema": "EMA"}


def summarise(
    folder: Path,
    task: ClassifyTask,
    engine: Engine[Any, Any],
    *,
    spec: Spec,
    config: Mapping[str, Any],
    progress: Progress,
    code: str | None,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Score the best weights as they lie in best.safetensors, draw their pictures and return the summary.

    Of several processes all call this, and the first one writes. Afterwards the engine's model holds these weights.
    `warn` hears when the file is damaged; the last weights are then scored. `code` is the commit that trained, None
    outside a checkout.
    """
    best = load_best(folder, engine, progress, task.target, warn)
    network, weights, place = engine.model, best.weights, engine.place
    scored = score(
        task, {weights: network}, task.val_batches(), device=place.device, precision=place.precision, world=place.world
    )[weights]
    metric = scored.metric
    assert isinstance(metric, ClassifyMetric)
    classes = task.source.classes
    title = f"{scored.values['images']} held-out pictures, epoch {best.epoch}, {WEIGHTS_NAME[weights]} weights"
    guesses = sample_guesses(task, network, place.device, SHOWN)
    confusion = metric.scores().confusion
    if place.world.first:
        plot_guesses(folder / "predictions.png", guesses)
        if confusion is not None:
            write_text(folder / "confusion.csv", confusion_csv(confusion.numpy(), classes))
            names = [readable(name) for name in classes]
            plot_confusion(folder / "confusion.png", confusion.numpy(), names, title=title)
    cost = model_cost(spec, task.recipe.data.size)
    return {
        **run_facts(config, task.recipe, place, progress, code),
        "params": cost.params,
        "gmacs": cost.gmacs,
        "classes": len(classes),
        "train_images": len(task.source.train),
        "val_images": len(task.source.val),
        "best": {"epoch": best.epoch, "weights": weights, **scored.values},
        "labels": list(classes),
        "confusion": confusion.tolist() if confusion is not None and len(classes) <= MOST_CLASSES else None,
        # What the recipe asks for, less what would make this data's labels false.
        "augment": asdict(keep_labels_true(task.recipe.augment, task.source.label_safe)),
    }


def run_facts(
    config: Mapping[str, Any], recipe: Recipe, place: Place, progress: Progress, code: str | None
) -> dict[str, Any]:
    """Return what the summary of every kind of run tells: what was asked, how long it took, where, with which code."""
    last = progress.history[-1]
    return {
        **{name: config[name] for name in ("model", "data", "seed", "split_seed")},
        "recipe": recipe.name,
        "size": recipe.data.size,
        "epochs": progress.epoch,
        "steps": progress.step,
        "last": {"epoch": last["epoch"], "raw": last["raw"], "ema": last["ema"]},
        "unreadable": list(progress.unreadable),
        "images_seen": progress.images_seen,
        "seconds": round(progress.seconds, 2),
        "images_per_second": round(progress.images_seen / max(progress.train_seconds, 1e-9), 1),
        "device": place.device.type,
        "precision": place.precision,
        "processes": place.world.size,
        "machine": machine(place.device),
        "versions": versions(),
        "commit": code,
    }


def load_best(
    folder: Path, engine: Engine[Any, Any], progress: Progress, target: str, warn: Callable[[str], None]
) -> Best:
    """Put the best weights into the engine's model and say which they are; the last ones where the file is damaged."""
    checkpoint: FileCheckpoint | None = None
    with contextlib.suppress(DamagedFile):
        checkpoint = read_checkpoint(folder / BEST)
    (lost,) = engine.place.world.agree(checkpoint is None)
    if lost or checkpoint is None:
        assert progress.best is not None, "a finished run has scored an epoch"
        weights, last = progress.best.weights, progress.history[-1]
        warn(f"{folder / BEST} is damaged, so epoch {progress.best.epoch} is lost; the last one is scored instead")
        copy_state(engine.models()[weights], engine.model)
        return Best(epoch=last["epoch"], weights=weights, value=last[weights][target])
    best = checkpoint.progress.best
    assert best is not None, "best.safetensors is written when an epoch became the best"
    state = checkpoint.ema if best.weights == "ema" else checkpoint.raw
    assert state is not None, "the weights that were scored best are in the file"
    load_whole(engine.model, state)
    return best


def machine(device: torch.device) -> dict[str, Any]:
    """Return what a measured number needs to be judged: system, processor, cores, accelerator."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }


def _processor() -> str:
    """Return the processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions that a measured number depends on."""
    return {
        "convnext": convnext.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
