"""The command that scores a checkpoint: on any data, or on the sets of the paper's Table 8."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.cli.checkpoint import open_checkpoint
from convnext.cli.console import note, print_json
from convnext.cli.counter import PictureCounter
from convnext.cli.options import DATA_HELP, SOURCE_HELP, Device, Json, TaskText, Weights, WeightsName, refuse_options
from convnext.cli.scores import show_comparisons, show_scores
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.evaluate import Evaluation, Scoring
    from convnext.examine import Examination
    from convnext.robustness_reference import Comparison, Row
    from convnext.train.distributed import World
    from convnext.weights import Loaded

MOST_UNREADABLE_TOLD = 20


class PartName(StrEnum):
    """Which pictures of a data set."""

    auto = "auto"
    train = "train"
    val = "val"
    all = "all"


def evaluate(
    checkpoint: Annotated[str, typer.Argument(metavar="RUN_OR_CHECKPOINT", help=SOURCE_HELP)],
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    task: TaskText = None,
    weights: Weights = WeightsName.auto,
    part: Annotated[
        PartName, typer.Option(help="Which pictures; auto is the held-out part, or all of data that has none.")
    ] = PartName.auto,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the pictures. [default: the checkpoint's own]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a forward pass. [default: 64; detection 1]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read pictures. [default: 2 for many, else 0]")
    ] = None,
    device: Device = "auto",
    on: Annotated[
        str | None,
        typer.Option(help="Score DATA as a set of the paper: imagenet, real, v2, a, r, sketch or c."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="With --on real: the labels. [default: DATA/real.json]")] = None,
    corruptions: Annotated[
        str | None, typer.Option(help="With --on c: some of the corruptions, such as fog,snow. [default: all]")
    ] = None,
    severities: Annotated[
        str | None, typer.Option(help="With --on c: some of the severities, such as 1,3. [default: 1 to 5]")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="With --on: the published row to compare with, such as convnext_tiny-1k-224."),
    ] = None,
    confusion: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the confusion matrix as CSV.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Detection, segmentation: a page of the best and worst pictures."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detection: all that was found, as COCO's results JSON.")
    ] = None,
    multi_scale: Annotated[
        bool, typer.Option("--multi-scale", help="Segmentation: average six sizes and their mirror images.")
    ] = False,
    json: Json = False,
) -> None:
    """Score a checkpoint on pictures, each exactly once; with --on as the paper scores a set, beside its number."""
    from convnext.cli.dense_eval import evaluate_dense_command, task_asked
    from convnext.evaluate import Scoring
    from convnext.train.distributed import join

    kind = task_asked(task, checkpoint)
    of_dense = {"--page": page, "--results": results, "--multi-scale": multi_scale or None}
    if kind != "classify":
        of_sets = {"--on": on, "--labels": labels, "--corruptions": corruptions, "--severities": severities}
        of_sets |= {"--reference": reference, "--confusion": confusion}
        refuse_options(of_sets, "classification", kind)
        evaluate_dense_command(
            checkpoint,
            data,
            kind,
            weights=weights,
            part=part.value,
            size=size,
            batch_size=batch_size or 1,
            workers=workers,
            device=device,
            page=page,
            results=results,
            multi_scale=multi_scale,
            json=json,
        )
        return
    refuse_options(of_dense, "detection and segmentation", kind)
    told = {"--labels": labels, "--corruptions": corruptions, "--severities": severities, "--reference": reference}
    with join(os.environ) as world, PictureCounter(silent=not world.first) as counter:
        with world.together():
            _check(on, part, confusion, told)
        loaded = world.in_turn(lambda: open_checkpoint(checkpoint, weights, quiet=not world.first))
        how = Scoring(
            size=size, batch_size=batch_size or 64, workers=workers, device=device, world=world, progress=counter
        )
        if on is None:
            done: Evaluation | Examination = _on_data(loaded, data, part, how)
            row = None
        else:
            row = _row(checkpoint, loaded, reference, world)
            done = _on_set(loaded, data, on, labels, corruptions, severities, how)
        first = world.first
    if first:
        _show(done, row, {"checkpoint": checkpoint, "data": data}, json)
        # Last, so that a place that cannot be written costs no score.
        _write_confusion(confusion, done)


def _check(on: str | None, part: PartName, confusion: Path | None, told: Mapping[str, object]) -> None:
    """Refuse options that do not go with each other, before anything is loaded."""
    for name, value in told.items():
        if on is None and value is not None:
            raise UserError(f"{name} belongs to a set of the paper; say which one with --on")
    if on is not None and part is not PartName.auto:
        raise UserError("--part is for data of one's own; a set of the paper is scored whole")
    if on in ("c", "real") and confusion is not None:
        raise UserError(f"--on {on} has no confusion matrix; take another set, or leave out --confusion")


def _on_data(loaded: "Loaded", data: str, part: PartName, how: "Scoring") -> "Evaluation":
    from convnext.evaluate import evaluate_source

    done = evaluate_source(loaded, data, part=part.value, how=how, note=note if how.world.first else _say_nothing)
    if how.world.first and done.part == "all" and "run" in loaded.metadata:
        note("all pictures are scored: this is not the data that the checkpoint was trained on, and it has no val part")
    return done


def _on_set(
    loaded: "Loaded",
    data: str,
    on: str,
    labels: Path | None,
    corruptions: str | None,
    severities: str | None,
    how: "Scoring",
) -> "Examination":
    from convnext.examine import examine
    from convnext.robustness.sets import check_set

    with how.world.together():
        name, levels = check_set(on), _numbers(severities)
    return examine(
        loaded,
        data,
        name,
        labels=labels,
        corruptions=_names(corruptions),
        severities=levels,
        how=how,
        note=note if how.world.first else _say_nothing,
    )


def _row(checkpoint: str, loaded: "Loaded", reference: str | None, world: "World") -> "Row | None":
    """Return the published row of a checkpoint; where none is certain, say which ones there are."""
    from convnext.models import model_name
    from convnext.robustness_reference import candidates, row_named, row_of_checkpoint

    with world.together():
        if reference is not None:
            return row_named(reference)
    model = model_name(loaded.network.spec)
    model = None if model is None else model.rpartition(":")[2]
    # Weights of one's own runs are nobody's published ones, whatever their file is called.
    row = None if "run" in loaded.metadata else row_of_checkpoint(checkpoint, model)
    if row is None and world.first:
        near = [one.name for one in candidates(model)]
        note(
            f"no published row is certain for this file; --reference takes one: {', '.join(near)}"
            if near
            else "there is no published row for this network"
        )
    return row


def _compared(done: "Examination", row: "Row | None") -> list["Comparison"]:
    """Return the measured numbers beside those of the row, or say that it has none."""
    found = [] if row is None else done.compared(row)
    if row is not None and not found and done.measures():
        note(f"the row {row.name} has no published number for this set")
    return found


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise UserError(f"--severities takes numbers from 1 to 5 such as 1,3, got {text!r}") from None


def _say_nothing(text: str) -> None:
    """Say nothing, because another process says it."""


def _write_confusion(path: Path | None, done: "Evaluation | Examination") -> None:
    if path is None:
        return
    from convnext.files import write_text
    from convnext.metrics.breakdown import confusion_csv

    counts = getattr(done.scores, "confusion", None)
    if counts is None:
        raise UserError("there is no confusion matrix: it is counted for up to 2,000 classes")
    write_text(path, confusion_csv(counts.numpy(), done.classes))


def _show(done: "Evaluation | Examination", row: "Row | None", told: Mapping[str, str], json: bool) -> None:
    """Print what was scored, as JSON or as tables and a few lines."""
    from convnext.evaluate import Evaluation

    for name, reason in list(done.unreadable.items())[:MOST_UNREADABLE_TOLD]:
        note(f"warning: not in the score: {reason if name in reason else f'{name}: {reason}'}")
    if len(done.unreadable) > MOST_UNREADABLE_TOLD:
        note(f"warning: {len(done.unreadable) - MOST_UNREADABLE_TOLD} more pictures are not in the score")
    for text in _notes(done):
        note(text)
    comparisons = [] if isinstance(done, Evaluation) else _compared(done, row)
    if json:
        beside = {} if isinstance(done, Evaluation) else {"reference": [asdict(one) for one in comparisons]}
        print_json({**told, **done.to_dict(), **beside})
        return
    show_scores(done)
    if comparisons:
        print()
        show_comparisons(comparisons)


def _notes(done: "Evaluation | Examination") -> Sequence[str]:
    from convnext.evaluate import Evaluation

    if isinstance(done, Evaluation):
        return () if done.head is None else (done.head,)
    return done.notes
