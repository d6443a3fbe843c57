"""Score a detector or segmenter on labelled pictures: average precision, or mean intersection over union."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from convnext.data.dense.sources import open_detection, open_segmentation
from convnext.data.dense.splits import DenseSource, DenseSplit
from convnext.data.loader import Share
from convnext.data.sources import lasting
from convnext.dense_model import DenseModel
from convnext.dense_show import write_gallery
from convnext.detection.detector import Detector
from convnext.errors import UserError
from convnext.evaluate import Part, Progress
from convnext.recipe import with_overrides
from convnext.tasks.detect import DetectMetric, DetectTask
from convnext.tasks.segment import SegmentMetric, SegmentTask
from convnext.train.device import Precision, choose_device, choose_precision
from convnext.train.distributed import ALONE, World
from convnext.train.score import score

ItemT = TypeVar("ItemT")
Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DenseScoring:
    """How a detector or segmenter is scored.

    batch_size   pictures at once; segmentation takes one picture at a time
    multi_scale  segmentation: average six sizes and their mirror images (Table 4)
    progress     hears how many pictures of all are done
    """

    batch_size: int = 1
    workers: int = 2
    device: str = "auto"
    precision: Precision = "auto"
    multi_scale: bool = False
    world: World = ALONE
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseEvaluation:
    """What was scored: numbers in percent, those of each class, which pictures and weights.

    metric      with everything that was found; results in COCO's own form are made of it
    write_page  writes a page of the best and worst pictures to a path
    """

    values: Mapping[str, float | int | None]
    per_class: Sequence[tuple[str, Mapping[str, float | None]]]
    part: Part
    weights: str
    images: int
    unreadable: Mapping[str, str]
    metric: DetectMetric | SegmentMetric
    write_page: Callable[[Path], None]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            **self.values,
            "images": self.images,
            "per_class": {name: dict(values) for name, values in self.per_class},
            "weights": self.weights,
            "part": self.part,
            "unreadable": list(self.unreadable),
        }


def evaluate_dense(model: DenseModel, data: str, *, part: Part, how: DenseScoring, note: Note) -> DenseEvaluation:
    """Score a model on a data set, each picture exactly once.

    part  "auto" is the held-out part where the data has one, or where the model was trained on this very data (split
          again as it was then); of any other data it is all of it

    Of several processes all call this, and all get the whole score. UserError when the data cannot be opened or has
    other classes than the model.
    """
    world = how.world
    source = world.in_turn(lambda: _open(model, data, note))
    with world.together():
        chosen = _chosen(model, data, source, part, note)
        source = replace(_same_classes(model, source, note), val=_part(source, chosen))
        device = choose_device(how.device, world.local_rank if world.size > 1 else None)
        precision = choose_precision(how.precision, device)
        task = _task(model, source, how)
    network = model.network.to(device)
    total = len(source.val)
    # One scoring for two kinds of tasks, whose batches are not of one type.
    either: Any = task
    scored = score(
        either,
        {model.weights: network},
        _counted(either.val_batches(), total, how),
        device=device,
        precision=precision,
        world=world,
    )[model.weights]
    metric = scored.metric
    assert isinstance(metric, DetectMetric | SegmentMetric)
    per_class = metric.per_class()

    def write_page(path: Path) -> None:
        write_gallery(
            path,
            task,
            network,
            metric,
            title=f"{source.name}, {chosen} part",
            values=scored.values,
            per_class=per_class,
            device=device,
            precision=precision,
        )

    return DenseEvaluation(
        values=scored.values,
        per_class=per_class,
        part=chosen,
        weights=model.weights,
        images=total - len(scored.unreadable),
        unreadable=scored.unreadable,
        metric=metric,
        write_page=write_page,
    )


def _open(model: DenseModel, data: str, note: Note) -> DenseSource:
    run = model.run
    opened = open_detection if model.task == "detect" else open_segmentation
    # Data without a held-out part is split as it was for training.
    return opened(data, seed=int(run.get("split_seed", 0)), val_fraction=model.recipe.data.val_fraction, note=note)


def _same_classes(model: DenseModel, source: DenseSource, note: Note) -> DenseSource:
    """Return the source; UserError where its classes are not those that the model tells apart."""
    if len(source.classes) != len(model.labels):
        raise UserError(
            f"the model tells {len(model.labels)} classes apart and {source.name} has {len(source.classes)}; name the "
            "data that it was trained on, or train it on this"
        )
    if not model.has_names:
        note(f"the checkpoint has no class names; its classes are taken in the order of {source.name}")
        return source
    other = next((pair for pair in zip(model.labels, source.classes, strict=True) if pair[0] != pair[1]), None)
    if other is not None:
        raise UserError(
            f"the model and {source.name} have other classes, or in another order: {other[0]!r} here, {other[1]!r} "
            "there; list the data's classes in the model's order"
        )
    return source


def _chosen(model: DenseModel, data: str, source: DenseSource, part: Part, note: Note) -> Part:
    if part != "auto":
        return part
    if source.has_own_val or model.run.get("data") == lasting(data):
        return "val"
    note(f"all pictures are scored, because {source.name} has no held-out part")
    return "all"


def _part(source: DenseSource, part: Part) -> DenseSplit:
    if part == "val":
        return source.val
    if part == "train":
        return source.train
    if source.has_own_val:
        raise UserError(
            f"{source.name} has a part of its own that is held out; score train and val one after the other"
        )
    # Both parts were drawn from one store.
    return replace(source.train, entries=np.sort(np.concatenate([source.train.entries, source.val.entries])))


def _task(model: DenseModel, source: DenseSource, how: DenseScoring) -> DetectTask | SegmentTask:
    batch = how.batch_size
    settings = [f"data.workers={how.workers}", f"data.batch_size={batch}", f"engine.micro_batch={batch}"]
    recipe = with_overrides(model.recipe, settings)
    share = Share(rank=how.world.rank, world_size=how.world.size)
    network = model.network
    if isinstance(network, Detector):
        if how.multi_scale:
            raise UserError("several scales are averaged in segmentation only; leave out --multi-scale")
        spec = network.spec
        return DetectTask(
            source,
            recipe,
            preprocess=model.preprocess,
            has_masks=spec.has_masks and source.has_masks,
            convention=spec.convention,
            seed=0,
            share=share,
        )
    return SegmentTask(source, recipe, preprocess=model.preprocess, seed=0, share=share, multi_scale=how.multi_scale)


def _counted(batches: Iterable[Any], total: int, how: DenseScoring) -> Iterator[Any]:
    done = 0
    for batch in batches:
        yield batch
        done += (len(batch.indices) + len(batch.unreadable)) * how.world.size
        if how.progress is not None:
            how.progress(min(done, total), total)
