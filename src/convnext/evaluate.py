"""Score a checkpoint on labelled pictures: which of them, with which weights, and against which class names."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from convnext.cost import total_cost
from convnext.data.sources import Source, Split, open_source
from convnext.errors import UserError
from convnext.labels import NUM_CLASSES_22K, imagenet_1k, rows_for, rows_of_1k_in_22k
from convnext.metrics.classification import Scores
from convnext.preprocess import Preprocess
from convnext.recipe import Data, Recipe
from convnext.tasks.classify import ClassifyMetric, ClassifyTask
from convnext.train.device import Precision, choose_device, choose_precision
from convnext.train.score import score
from convnext.weights import Loaded

Part = Literal["auto", "train", "val", "all"]
MANY_PICTURES = 1000


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
            "top1": self.scores.top1,
            "top5": self.scores.top5,
            "loss": self.scores.loss,
            "images": self.scores.images,
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
    """Score a loaded checkpoint on a data set, each picture exactly once.

    part  "auto" is the held-out part where the data has one, or where the checkpoint was trained on this very data
          (split again as it was then); of any other data it is all of it
    size  side of the pictures in pixels; None is the checkpoint's own preprocessing
    workers  processes that read pictures; None starts two where there are enough pictures to be worth it

    UserError when the data cannot be opened, or has classes that the checkpoint does not know.
    """
    if part not in get_args(Part):
        raise UserError(f"part must be one of {', '.join(get_args(Part))}, got {part!r}")
    source, trained_on_it = _open(loaded, data, root)
    loaded, head = _narrowed(loaded, source)
    source = with_labels(source, loaded.labels, loaded.network.spec.num_classes)
    chosen: Part = part
    if part == "auto":
        chosen = "val" if source.has_own_val or trained_on_it else "all"
    preprocess = loaded.preprocess if size is None else _resized(loaded.preprocess, size)
    total_cost(loaded.network.spec, preprocess.size)  # refuses pictures that are too small for the network
    scored_part = _part_of(source, chosen)
    if workers is None:
        workers = 2 if len(scored_part) >= MANY_PICTURES else 0
    settings = Data(size=max(preprocess.size, 8), batch_size=batch_size, workers=workers)
    task = ClassifyTask(
        replace(source, val=scored_part),
        Recipe(name="evaluation", data=settings),
        preprocess=preprocess,
        seed=0,
    )
    place = choose_device(device)
    network = loaded.network.to(place)
    scored = score(
        task, {"raw": network}, task.val_batches(), device=place, precision=choose_precision(precision, place)
    )["raw"]
    assert isinstance(scored.metric, ClassifyMetric)
    return Evaluation(
        scores=scored.metric.scores(),
        part=chosen,
        weights=loaded.weights,
        classes=source.classes,
        unreadable=scored.unreadable,
        head=head,
    )


def with_labels(source: Source, labels: Sequence[str] | None, num_classes: int) -> Source:
    """Return the source with its labels numbered as a checkpoint numbers them.

    The data may hold fewer classes than the checkpoint knows, in any order; ImageNet's classes are known by wnid or
    name. UserError when it has one that the checkpoint does not know, or when the checkpoint has no names and another
    number of classes.
    """
    if labels is None:
        if num_classes != len(source.classes):
            raise UserError(
                f"{source.name} has {len(source.classes)} classes and the checkpoint has {num_classes} without names, "
                "so nothing says which is which; fine-tune on this data first (convnext train --weights)"
            )
        return source
    rows = rows_for(labels, source.classes)
    unknown = [name for name, row in zip(source.classes, rows, strict=True) if row is None]
    if unknown:
        raise UserError(
            f"{source.name} has classes that the checkpoint does not know ({_few(unknown)}); it knows {_few(labels)}; "
            "rename the folders, or fine-tune on this data first (convnext train --weights)"
        )
    table = np.array(rows, dtype=np.int64)
    return replace(
        source,
        classes=tuple(labels),
        train=replace(source.train, labels=table[source.train.labels]),
        val=replace(source.val, labels=table[source.val.labels]),
    )


def _open(loaded: Loaded, data: str, root: Path | None) -> tuple[Source, bool]:
    """Open the data, split as when the checkpoint was trained, and tell whether it is what it was trained on."""
    run, recipe = loaded.metadata.get("run"), loaded.metadata.get("recipe")
    if not (run and recipe):
        return open_source(data, root=root), False
    source = open_source(data, seed=run["split_seed"], val_fraction=recipe["data"]["val_fraction"], root=root)
    return source, source.fingerprint() == loaded.metadata.get("source", {}).get("fingerprint")


def _narrowed(loaded: Loaded, source: Source) -> tuple[Loaded, str | None]:
    """Return a checkpoint of ImageNet-22K as one of 1K where the data has classes of 1K only, and a word on it.

    Among 21,841 classes a tench is also a fish, and right is what the data's own classes say.
    """
    if loaded.labels is None or len(loaded.labels) != NUM_CLASSES_22K or source.classes == loaded.labels:
        return loaded, None
    known = imagenet_1k()
    if None in rows_for(known.names, source.classes):
        return loaded, None
    network = deepcopy(loaded.network)
    network.pick_classes(rows_of_1k_in_22k())
    said = "of the head's 21,841 classes only the 1,000 of ImageNet-1K count, because the data has no others"
    return replace(loaded, network=network, labels=known.names), said


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
