"""Commands that use what was trained: predict, convert; and demo."""

import csv
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from convnext.cli.checkpoint import open_checkpoint
from convnext.cli.console import note, print_json, print_json_line, print_table
from convnext.cli.options import (
    DATA_HELP,
    SOURCE_HELP,
    Device,
    Json,
    TaskText,
    Weights,
    WeightsName,
    refuse_options,
    reporter,
)
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.predict import Prediction


class FormatName(StrEnum):
    """How predictions are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def predict(
    checkpoint: Annotated[str, typer.Argument(metavar="RUN_OR_CHECKPOINT", help=SOURCE_HELP)],
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURES...", help="Files, folders and globs.")],
    top: Annotated[int | None, typer.Option(min=1, help="Labels a picture. [default: 5]")] = None,
    format_: Annotated[FormatName, typer.Option("--format", help="How to print.")] = FormatName.table,
    task: TaskText = None,
    weights: Weights = WeightsName.auto,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a forward pass. [default: 32]")] = None,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Detection, segmentation: the folder of drawn pictures. [default: predictions]")
    ] = None,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Detection: least score of what is told. [default: 0.3]")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Detection, segmentation: short side or window. [default: as trained]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Say what pictures show: a table, one JSON object a line, or csv; objects and regions also as drawn pictures."""
    from convnext.cli.dense_eval import task_asked
    from convnext.predict import find_pictures, predict_pictures
    from convnext.train.device import choose_device

    paths = find_pictures(pictures)
    if not any(path.exists() for path in paths):
        raise UserError(f"there is no picture {', '.join(pictures[:3])}; name files, folders or globs")
    kind = task_asked(task, checkpoint)
    if kind != "classify":
        from convnext.cli.dense_predict import predict_dense

        refuse_options({"--top": top, "--batch-size": batch_size}, "classification", kind)
        refuse_options({"--score": score if kind == "segment" else None}, "detection", kind)
        lines = json or format_ is FormatName.jsonl
        if format_ is FormatName.csv:
            raise UserError(f"--format csv is for classification; --json prints what --task {kind} finds")
        predict_dense(
            checkpoint,
            paths,
            kind,
            weights=weights,
            size=size,
            score=0.3 if score is None else score,
            device=device,
            out=out,
            lines=lines,
        )
        return
    refuse_options({"--out": out, "--size": size, "--score": score}, "detection and segmentation", kind)
    loaded = open_checkpoint(checkpoint, weights)
    predictions = predict_pictures(
        loaded.network.to(choose_device(device)),
        paths,
        preprocess=loaded.preprocess,
        labels=loaded.labels,
        top=top or 5,
        batch_size=batch_size or 32,
    )
    failed = _print_predictions(_with_errors(predictions), FormatName.jsonl if json else format_)
    if failed == len(paths):
        raise UserError("none of the pictures could be read")


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help=SOURCE_HELP)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; for transformers a folder.")],
    to: Annotated[str, typer.Option(help="official, timm, torchvision, transformers or convnext.")],
    weights: Weights = WeightsName.auto,
    json: Json = False,
) -> None:
    """Write a checkpoint under another library's names, so that the library opens it."""
    from convnext.weights.convert import convert as write

    done = write(source, out, to, weights=weights.value)
    if json:
        print_json({"path": str(done.path), "to": done.to, "weights": done.weights, "opened_by": done.opened_by})
        return
    note(done.line)
    print(done.opened_by)


def demo(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help=f"{DATA_HELP} [default: digits, or scenes]")
    ] = None,
    task: TaskText = None,
    out: Annotated[Path | None, typer.Option(help="The run directory. [default: runs/TIME-demo]")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the training may take, about.")] = 2.5,
    device: Device = "auto",
) -> None:
    """Train, evaluate and predict in a few minutes, and say where the pictures are."""
    if task is not None and task.value != "classify":
        from convnext.dense_demo import run_dense_demo

        kind: Literal["detect", "segment"] = "detect" if task.value == "detect" else "segment"
        run_dense_demo(data, kind, out=out, minutes=minutes, device=device, reporter=reporter(), say=note)
        return
    from convnext.demo import run_demo

    run_demo(data or "digits", out=out, minutes=minutes, device=device, reporter=reporter(), say=note)


def _with_errors(predictions: "Iterator[Prediction]") -> "Iterator[Prediction]":
    for prediction in predictions:
        if prediction.error is not None:
            note(f"warning: {prediction.error}")
        yield prediction


def _print_predictions(predictions: "Iterator[Prediction]", kind: FormatName) -> int:
    """Print predictions as they come (a table at its end) and return how many pictures could not be read."""
    from convnext.labels import readable

    failed = 0
    rows: list[list[str]] = []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if kind is FormatName.csv:
        writer.writerow(["path", "rank", "label", "probability", "error"])
    for one in predictions:
        failed += one.error is not None
        labels = [(label.label, label.probability) for label in one.labels]
        if kind is FormatName.jsonl:
            value: dict[str, Any] = {
                "path": one.path,
                "labels": [{"label": name, "probability": share} for name, share in labels],
            }
            print_json_line(value if one.error is None else {**value, "error": one.error})
        elif kind is FormatName.csv:
            writer.writerows([one.path, rank, name, f"{share:.6f}", ""] for rank, (name, share) in enumerate(labels, 1))
            if one.error is not None:
                writer.writerow([one.path, "", "", "", one.error])
        elif one.error is None:
            rows.append([one.path, "  ".join(f"{readable(name)} {100 * share:.1f}%" for name, share in labels)])
    if kind is FormatName.table:
        print_table(["picture", "labels"], rows, left=["picture", "labels"])
    return failed
