"""Score a checkpoint on labelled pictures: which of them, with which weights, and against which class names."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from convnext.data.loader import Batch, EvalLoader, Share
from convnext.data.sources import LabelSafe, Source, Split, open_source
from convnext.data.tar_index import Note
from convnext.errors import UserError
from convnext.labels import NUM_CLASSES_22K, imagenet_1k, rows_for, rows_of_1k_in_22k
from convnext.metrics.breakdown import frequent_confusions, per_class
from convnext.metrics.classification import Scores
from convnext.models import require_fits
from convnext.preprocess import Preprocess
from convnext.recipe import Data, Recipe
from convnext.tasks.classify import ClassifyMetric, ClassifyTask, ReadyBatch
from convnext.train.device import Precision, choose_device, choose_precision
from convnext.train.distributed import ALONE, World
from convnext.train.score import Scorable, score
from convnext.train.task import Metric
from convnext.weights import Loaded

ValueT = TypeVar("ValueT")
Part = Literal["auto", "train", "val", "all"]
MANY_PICTURES = 1000
CONFUSIONS_TOLD = 10
Progress = Callable[[int, int], None]
"""Hears how many pictures are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How pictures are shown to a network and counted.

    size        side of the pictures in pixels; None is the checkpoint's own preprocessing
    workers     processes that read pictures; None starts two where there are enough pictures to be worth it
    world       the processes that share the pictures, each of which scores its part
    progress    hears of the pictures of all processes together
    """

    size: int | None = None
    batch_size: int = 64
    workers: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    world: World = ALONE
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a checkpoint scored.

    part        which pictures: "train", "val" (held out) or "all"
    weights     "ema", "raw", or "only" where the file has one set of weights and does not say which
    unreadable  pictures that could not be read, by name, with the reason; they are not in the scores
    head        which classes of a larger head were told apart, None for all of them
    """

    scores: Scores
    part: Part
    weights: str
    classes: tuple[str, ...]
    unreadable: Mapping[str, str]
    head: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON: accuracies in percent, top5 null with five classes or fewer."""
        return {
            **scores_dict(self.scores, self.classes),
            "weights": self.weights,
            "part": self.part,
            "unreadable": list(self.unreadable),
        }


def evaluate(
    loaded: Loaded,
    data: str,
    *,
    part: Part = "auto",
    size: int | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    root: Path | None = None,
) -> Evaluation:
    """Score a loaded checkpoint on a data set, in this process alone; the rest is as in `evaluate_source`."""
    how = Scoring(size=size, batch_size=batch_size, workers=workers, device=device, precision=precision)
    return evaluate_source(loaded, data, part=part, root=root, how=how, note=partial(print, file=sys.stderr))


def evaluate_source(
    loaded: Loaded,
    data: str,
    *,
    part: Part = "auto",
    root: Path | None = None,
    how: Scoring,
    note: Note,
) -> Evaluation:
    """Score a loaded checkpoint on a data set, each picture exactly once.

    part  "auto" is the held-out part where the data has one, or where the checkpoint was trained on this very data
          (split again as it was then); of any other data it is all of it
    note  is told of what takes long and of what is odd about the data

    Of several processes all call this, and all get the whole score. UserError when the data cannot be opened, or has
    classes that the checkpoint does not know.
    """
    if part not in get_args(Part):
        raise UserError(f"part must be one of {', '.join(get_args(Part))}, got {part!r}")
    world = how.world
    source, trained_on_it = world.in_turn(lambda: _open(loaded, data, root, note))
    with world.together():
        loaded, head = told_apart(loaded, source.classes)
        source = with_labels(source, loaded.labels, loaded.network.spec.num_classes)
        chosen: Part = part
        if part == "auto":
            chosen = "val" if source.has_own_val or trained_on_it else "all"
        preprocess = preprocess_for(loaded, how.size)
    scores, unreadable = score_pictures(loaded, _part_of(source, chosen), source.classes, preprocess, how)
    return Evaluation(
        scores=scores,
        part=chosen,
        weights=loaded.weights,
        classes=source.classes,
        unreadable=unreadable,
        head=head,
    )


def scores_dict(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Return scores as JSON: the numbers, each class, and the pairs that were confused most often."""
    return {
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "ece": scores.ece,
        "images": scores.images,
        "per_class": [asdict(one) for one in per_class(scores, classes) if one.images],
        "confusions": [asdict(one) for one in frequent_confusions(scores, classes, CONFUSIONS_TOLD)],
    }


def score_pictures(
    loaded: Loaded, pictures: Split, classes: Sequence[str], preprocess: Preprocess, how: Scoring
) -> tuple[Scores, Mapping[str, str]]:
    """Score a network on pictures whose labels count the classes of its head; also return what could not be read.

    Each picture is scored once, whatever the number of processes. UserError when not one could be read, or the
    network's outputs are no numbers.
    """
    settings = Data(size=max(preprocess.size, 8), batch_size=how.batch_size, workers=0)
    source = Source(name="evaluation", classes=tuple(classes), train=pictures, val=pictures, label_safe=LabelSafe())
    task = ClassifyTask(source, Recipe(name="evaluation", data=settings), preprocess=preprocess, seed=0)
    metric, unreadable = scored_metric(loaded, task, pictures, preprocess, how)
    assert isinstance(metric, ClassifyMetric)
    scores = metric.scores()
    require_numbers(scores.ece, how)
    return scores, unreadable


def scored_metric(
    loaded: Loaded, task: Scorable[Batch, ReadyBatch], pictures: Split, preprocess: Preprocess, how: Scoring
) -> tuple[Metric[ReadyBatch], Mapping[str, str]]:
    """Show each picture to a network once; return what a task counts of it, and what could not be read."""
    place, precision = _place_for(how)
    network = loaded.network.to(place)
    batches = _counted_batches(pictures, preprocess, how)
    with how.world.together():
        scored = score(task, {"raw": network}, batches, device=place, precision=precision, world=how.world)["raw"]
    return scored.metric, scored.unreadable


def require_numbers(ece: float, how: Scoring) -> None:
    """Raise UserError where the calibration error tells that outputs of the network were no numbers."""
    with how.world.together():
        if not math.isfinite(ece):
            raise UserError(
                "the outputs of the network are no numbers (NaN or infinite) for some of the pictures, so there is no "
                "score; its weights are broken or have diverged: take an earlier checkpoint, or copy the file again"
            )


def _place_for(how: Scoring) -> tuple[torch.device, Literal["float32", "bfloat16"]]:
    """Return the device of this process and the precision that suits it."""
    with how.world.together():
        place = choose_device(how.device, how.world.local_rank if how.world.size > 1 else None)
        precision = choose_precision(how.precision, place)
    return place, precision


def _counted_batches(pictures: Split, preprocess: Preprocess, how: Scoring) -> Iterator[Batch]:
    """Return this process's batches, each picture once, and tell `how.progress` of the pictures of all processes."""
    workers = how.workers
    if workers is None:
        workers = 2 if len(pictures) >= MANY_PICTURES else 0
    with how.world.together():
        loader = EvalLoader(
            pictures,
            preprocess=preprocess,
            batch_size=how.batch_size,
            workers=workers,
            channels=len(preprocess.mean),
            share=Share(rank=how.world.rank, world_size=how.world.size),
        )
    return _counted(loader, len(pictures), how)


def _counted(loader: EvalLoader, total: int, how: Scoring) -> Iterator[Batch]:
    done = 0
    for batch in loader:
        yield batch
        # The processes have equal shares, so what this one has done tells of all.
        done += (len(batch.indices) + len(batch.unreadable)) * how.world.size
        if how.progress is not None:
            how.progress(min(done, total), total)


def with_labels(source: Source, labels: Sequence[str] | None, num_classes: int) -> Source:
    """Return the source with its labels numbered as a checkpoint numbers them.

    The data may hold fewer classes than the checkpoint knows, in any order; ImageNet's classes are known by wnid or
    name. UserError when it has one that the checkpoint does not know, or when the checkpoint has no names and another
    number of classes.
    """
    table = rows_of_classes(source.name, source.classes, labels, num_classes)
    return replace(
        source,
        classes=source.classes if labels is None else tuple(labels),
        train=replace(source.train, labels=table[source.train.labels]),
        val=replace(source.val, labels=table[source.val.labels]),
    )


def rows_of_classes(
    where: str, classes: Sequence[str], labels: Sequence[str] | None, num_classes: int
) -> NDArray[np.int64]:
    """Return the row of each class in a head with these labels; errors as `with_labels`."""
    if labels is None:
        if num_classes != len(classes):
            raise UserError(
                f"{where} has {len(classes)} classes and the checkpoint has {num_classes} without names, "
                "so nothing says which is which; fine-tune on this data first (convnext train --weights)"
            )
        return np.arange(num_classes)
    rows = rows_for(labels, classes)
    unknown = [name for name, row in zip(classes, rows, strict=True) if row is None]
    if unknown:
        raise UserError(
            f"{where} has classes that the checkpoint does not know ({_few(unknown)}); it knows {_few(labels)}; "
            "rename the folders, or fine-tune on this data first (convnext train --weights)"
        )
    return np.array(rows, dtype=np.int64)


def _open(loaded: Loaded, data: str, root: Path | None, note: Note) -> tuple[Source, bool]:
    """Open the data, split as when the checkpoint was trained, and tell whether it is what it was trained on."""
    run, recipe = loaded.metadata.get("run"), loaded.metadata.get("recipe")
    if not (run and recipe):
        return open_source(data, root=root, note=note), False
    fraction = recipe["data"]["val_fraction"]
    source = open_source(data, seed=run["split_seed"], val_fraction=fraction, root=root, note=note)
    return source, source.fingerprint() == loaded.metadata.get("source", {}).get("fingerprint")


def told_apart(loaded: Loaded, classes: Sequence[str]) -> tuple[Loaded, str | None]:
    """Return a checkpoint of ImageNet-22K as one of 1K where the data has classes of 1K only, and a word on it.

    Among 21,841 classes a tench is also a fish, and right is what the data's own classes say.
    """
    if loaded.labels is None or len(loaded.labels) != NUM_CLASSES_22K or tuple(classes) == loaded.labels:
        return loaded, None
    known = imagenet_1k()
    if None in rows_for(known.names, classes):
        return loaded, None
    said = "of the head's 21,841 classes only the 1,000 of ImageNet-1K count, because the data has no others"
    return with_rows(loaded, rows_of_1k_in_22k(), known.names), said


def with_rows(loaded: Loaded, rows: Sequence[int], labels: Sequence[str]) -> Loaded:
    """Return a copy of a checkpoint that has only these rows of the head: the others do not compete."""
    network = deepcopy(loaded.network)
    network.pick_classes(rows)
    return replace(loaded, network=network, labels=tuple(labels))


def preprocess_for(loaded: Loaded, size: int | None) -> Preprocess:
    """Return how pictures are shown: the checkpoint's way, or the paper's rule for another size with its mean and std.

    UserError when pictures are too small for the network.
    """
    preprocess = loaded.preprocess if size is None else _resized(loaded.preprocess, size)
    require_fits(loaded.network.spec, preprocess.size)
    return preprocess


def _part_of(source: Source, part: Part) -> Split:
    if part == "train":
        return source.train
    if part == "val":
        return source.val
    return source.whole()


def _resized(preprocess: Preprocess, size: int) -> Preprocess:
    rule = Preprocess.for_size(size)
    return replace(rule, mean=preprocess.mean, std=preprocess.std, interpolation=preprocess.interpolation)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
