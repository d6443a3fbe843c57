"""Show what a detector or segmenter says of held-out pictures: the best and the worst of them on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import nn

from convnext.data.dense.loader import DetectEvalLoader
from convnext.data.dense.splits import DenseSplit, Objects
from convnext.detection.targets import Detections
from convnext.gallery.maps import draw_map
from convnext.gallery.objects import Shown, draw_objects
from convnext.gallery.page import Entry, write_page
from convnext.tasks.detect import SHOWN_SCORE, DetectTask, pasted
from convnext.tasks.segment import SegmentTask
from convnext.train.device import autocast

MOST_SHOWN = 6
Precision = Literal["float32", "bfloat16"]


class PictureScores(Protocol):
    """A metric that also tells how well each picture was done."""

    pictures: dict[int, float | None]


def write_gallery(
    path: Path,
    task: DetectTask | SegmentTask,
    model: nn.Module,
    scores: PictureScores,
    *,
    title: str,
    values: Mapping[str, float | int | None],
    per_class: Sequence[tuple[str, Mapping[str, float | None]]],
    device: torch.device,
    precision: Precision = "float32",
) -> None:
    """Write a page of the numbers, the best and worst held-out pictures, and the classes.

    A picture without a score (nothing there, nothing found) is in neither list. UserError where it cannot be written.
    """
    order = sorted((place for place, value in scores.pictures.items() if value is not None), key=scores.pictures.get)  # type: ignore[arg-type]
    best, worst = best_and_worst(order)
    entries = {
        place: _entry(task, model, place, scores.pictures[place], device, precision)
        for place in dict.fromkeys([*best, *worst])
    }
    write_page(
        path,
        title=title,
        summary=[(name, _number(value)) for name, value in values.items()],
        best=[entries[place] for place in best],
        worst=[entries[place] for place in worst],
        per_class=per_class,
    )


def best_and_worst(order: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the best and the worst of places that rise in score, each list with its extreme first; none in both."""
    of_best = min(MOST_SHOWN, (len(order) + 1) // 2)
    of_worst = min(MOST_SHOWN, len(order) - of_best)
    return list(order[::-1][:of_best]), list(order[:of_worst])


def _entry(
    task: DetectTask | SegmentTask,
    model: nn.Module,
    place: int,
    score: float | None,
    device: torch.device,
    precision: Precision,
) -> Entry:
    split = task.source.val
    one = DenseSplit(store=split.store, entries=split.entries[[place]])
    model.eval()
    with torch.inference_mode(), autocast(device, precision):
        if isinstance(task, DetectTask):
            pictures, facts = _detected(task, model, one, device)
            name = "F1 at IoU 0.5"
        else:
            pictures, facts = _segmented(task, model, one, device)
            name = "mIoU"
    return Entry(name=split.name(place), score=score, score_name=name, pictures=pictures, facts=facts)


def _detected(
    task: DetectTask, model: nn.Module, one: DenseSplit, device: torch.device
) -> tuple[tuple[tuple[str, Image.Image], ...], tuple[str, ...]]:
    loader = DetectEvalLoader(
        one, short_side=task.recipe.data.size, longest=task.part.longest, batch_size=1, workers=0, masks=False
    )
    (batch,) = loader
    (found,) = task.predict(model, task.prepare(batch, device, None))
    picture, truth = one.picture(0), one.objects(0, masks=task.has_masks)
    classes = task.source.classes
    shown = shown_detections(found, batch.original_sizes[0], classes, masks=task.has_masks, convention=task.convention)
    pictures = (
        ("predicted", draw_objects(picture, shown, classes, score_threshold=SHOWN_SCORE)),
        ("true", draw_objects(picture, _shown_truth(truth, classes), classes)),
    )
    count = int((found.scores >= SHOWN_SCORE).sum())
    return pictures, (f"{count} found with a score of {SHOWN_SCORE:g} or more, {len(truth)} there",)


def _segmented(
    task: SegmentTask, model: nn.Module, one: DenseSplit, device: torch.device
) -> tuple[tuple[tuple[str, Image.Image], ...], tuple[str, ...]]:
    (batch,) = task.eval_batches(one, workers=0)
    found = task.predict(model, task.prepare(batch, device, None))[0].to(torch.uint8).cpu().numpy()
    picture, classes = one.picture(0), task.source.classes
    return (
        ("predicted", draw_map(picture, found, classes)),
        ("true", draw_map(picture, one.label_map(0), classes)),
    ), ()


def shown_detections(
    found: Detections,
    size: tuple[int, int],
    classes: Sequence[str],
    *,
    masks: bool,
    convention: Literal["torchvision", "openmmlab"],
) -> Shown:
    """Return detections in pixels of an original picture of that size, ready to be drawn."""
    kept = found.scores >= SHOWN_SCORE
    found = replace(
        found,
        boxes=found.boxes[kept],
        scores=found.scores[kept],
        labels=found.labels[kept],
        masks=None if found.masks is None else found.masks[kept],
    )
    return Shown(
        boxes=found.boxes.float().cpu().numpy(),
        labels=tuple(classes[label] for label in found.labels.tolist()),
        scores=found.scores.float().cpu().numpy(),
        masks=pasted(found, size, convention) if masks else None,
    )


def _shown_truth(truth: Objects, classes: Sequence[str]) -> Shown:
    return Shown(
        boxes=truth.boxes,
        labels=tuple(classes[label] for label in truth.labels.tolist()),
        scores=None,
        masks=truth.masks,
    )


def _number(value: float | int | None) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
