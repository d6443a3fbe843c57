"""What `convnext eval` does with a detector or a segmenter."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnext.cli.console import note, print_json, print_table
from convnext.cli.counter import PictureCounter
from convnext.cli.options import TaskOption, WeightsName
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.dense_evaluate import DenseEvaluation
    from convnext.recipe import Task as TaskName

MOST_CLASSES_SHOWN = 30
MOST_UNREADABLE_TOLD = 20


def task_asked(task: TaskOption | None, checkpoint: str) -> "TaskName":
    """Return what a checkpoint is for: what it tells itself, or what was asked; UserError where they are two."""
    from convnext.dense_model import task_of_checkpoint

    # Foreign files and networks of other libraries do not tell, and are classifiers unless it is said.
    found = task_of_checkpoint(checkpoint) if Path(checkpoint).exists() else None
    if task is None:
        return found or "classify"
    if found is not None and found != task.value:
        raise UserError(f"{checkpoint} was trained to {found}, not to {task.value}; leave out --task")
    return task.value


def evaluate_dense_command(
    checkpoint: str,
    data: str,
    kind: "TaskName",
    *,
    weights: WeightsName,
    part: Any,
    size: int | None,
    batch_size: int,
    workers: int | None,
    device: str,
    page: Path | None,
    results: Path | None,
    multi_scale: bool,
    json: bool,
) -> None:
    """Score a detector or segmenter and print the numbers of the whole and of each class."""
    from convnext.dense_evaluate import DenseScoring, evaluate_dense
    from convnext.dense_model import open_dense
    from convnext.train.distributed import join

    if results is not None and kind != "detect":
        raise UserError("--results is for detection; convnext predict writes label pictures")
    with join(os.environ) as world, PictureCounter(silent=not world.first) as counter:
        model = world.in_turn(lambda: open_dense(checkpoint, kind, weights=weights.value, size=size))
        if world.first:
            note(model.line)
        how = DenseScoring(
            batch_size=batch_size,
            workers=2 if workers is None else workers,
            device=device,
            multi_scale=multi_scale,
            world=world,
            progress=counter,
        )
        say = note if world.first else _say_nothing
        done = evaluate_dense(model, data, part=part, how=how, note=say)
        first = world.first
    if first:
        _show(done, {"checkpoint": checkpoint, "data": data, "task": kind}, json)
        if results is not None:
            _write_results(results, done)
        if page is not None:
            done.write_page(page)
            note(f"wrote {page}")


def _show(done: "DenseEvaluation", told: Mapping[str, str], json: bool) -> None:
    if json:
        print_json({**told, **done.to_dict()})
        return
    shown = [[name, _number(value)] for name, value in done.values.items()]
    print_table(
        ["measure", "value"], [*shown, ["images", f"{done.images:,}"], ["weights", done.weights]], left=["measure"]
    )
    columns = list(done.per_class[0][1]) if done.per_class else []
    rows = [[name, *(_number(values[column]) for column in columns)] for name, values in done.per_class]
    print()
    print_table(["class", *columns], rows[:MOST_CLASSES_SHOWN], left=["class"])
    if len(rows) > MOST_CLASSES_SHOWN:
        note(f"{len(rows) - MOST_CLASSES_SHOWN} more classes; --json has all")
    for reason in list(done.unreadable.values())[:MOST_UNREADABLE_TOLD]:
        note(f"left out: {reason}")


def _write_results(path: Path, done: "DenseEvaluation") -> None:
    import json

    from convnext.files import write_text
    from convnext.tasks.detect import DetectMetric

    assert isinstance(done.metric, DetectMetric)
    write_text(path, json.dumps(done.metric.precision.results()) + "\n")
    note(f"wrote {path}")


def _number(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _say_nothing(text: str) -> None:
    pass
