"""summary.json of a detection or segmentation: what the best weights score, class by class, and their gallery."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convnext.dense_show import write_gallery
from convnext.detection.cost import PAPER_SIZE, detector_costs
from convnext.detection.detector import Detector
from convnext.segmentation.cost import segmenter_cost
from convnext.segmentation.segmenter import Segmenter
from convnext.summary import WEIGHTS_NAME, load_best, run_facts
from convnext.tasks.detect import DetectMetric, DetectTask
from convnext.tasks.segment import SegmentMetric, SegmentTask
from convnext.train.checkpoint import Progress
from convnext.train.engine import Engine
from convnext.train.score import score

PAGE = "predictions.html"


def summarise_dense(
    folder: Path,
    task: DetectTask | SegmentTask,
    engine: Engine[Any, Any],
    *,
    config: Mapping[str, Any],
    progress: Progress,
    code: str | None,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Score the best weights, write their page and return the summary; see `convnext.summary`."""
    model = engine.model
    assert isinstance(model, Detector | Segmenter)
    best = load_best(folder, engine, progress, task.target, warn)
    place, weights = engine.place, best.weights
    # One scoring for two kinds of tasks, whose batches are not of one type.
    either: Any = task
    scored = score(
        either,
        {weights: model},
        either.val_batches(),
        device=place.device,
        precision=place.precision,
        world=place.world,
    )[weights]
    metric = scored.metric
    assert isinstance(metric, DetectMetric | SegmentMetric)
    per_class = metric.per_class()
    if place.world.first:
        write_gallery(
            folder / PAGE,
            task,
            model,
            metric,
            title=f"{config['model']} on {task.source.name}: epoch {best.epoch}, {WEIGHTS_NAME[weights]} weights",
            values=scored.values,
            per_class=per_class,
            device=place.device,
            precision=place.precision,
        )
    source = task.source
    gmacs, size = picture_cost(model, task.recipe.data.size)
    return {
        **run_facts(config, task.recipe, place, progress, code),
        "task": config["task"],
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "classes": len(source.classes),
        "train_images": len(source.train),
        "val_images": len(source.val),
        "best": {"epoch": best.epoch, "weights": weights, **scored.values},
        "per_class": {name: dict(values) for name, values in per_class},
        "labels": list(source.classes),
        "head": model.spec.head,
        "gmacs": gmacs,
        "gmacs_at": list(size),
    }


def picture_cost(model: Detector | Segmenter, side: int) -> tuple[float | None, tuple[int, int]]:
    """Return the GMACs of a picture and its height and width, None where they cannot be counted.

    Of a detector at a picture of the shape that Table 3 counts, of a segmenter at its crop.
    """
    if isinstance(model, Segmenter):
        return segmenter_cost(model.spec, side, side).gmacs, (side, side)
    size = (side, round(side * PAPER_SIZE[1] / PAPER_SIZE[0]))
    return None if model.spec.backbone.isotropic else detector_costs(model.spec, size)[-1].gmacs, size
