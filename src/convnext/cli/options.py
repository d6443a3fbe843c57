"""Options that several commands share."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.train.progress import Reporter


class WeightsName(StrEnum):
    """Which weights of a checkpoint that holds two sets."""

    auto = "auto"
    ema = "ema"
    raw = "raw"


class TaskOption(StrEnum):
    """What a network is trained for."""

    classify = "classify"
    detect = "detect"
    segment = "segment"


DATA_HELP = (
    "A folder of class folders (or with train/ and val/), a zip of one, tar shards, a CSV, TSV or JSONL list, parquet "
    "files, hf:OWNER/NAME, digits, or torchvision:NAME[@ROOT]; see docs/data.md. With --task detect: a folder as "
    "COCO or VOC has it (docs/detection.md); with --task segment: folders of pictures and label maps "
    "(docs/segmentation.md); with either: scenes:N, N made ones."
)
SOURCE_HELP = "A run directory, a checkpoint file or folder, or a hub id hf:OWNER/NAME."
Model = Annotated[
    str | None, typer.Option(help="A model of `convnext models`, or REGIME:STEP. [default: convnext_atto]")
]
RecipeText = Annotated[
    str | None, typer.Option(help="A named recipe (convnext recipe list), a .yaml or .json file, or a run.")
]
TaskText = Annotated[
    TaskOption | None, typer.Option("--task", help="classify, detect or segment. [default: the recipe's]")
]
Head = Annotated[
    str | None,
    typer.Option(help="mask-rcnn, cascade-mask-rcnn or faster-rcnn (detect), upernet (segment). [default: the first]"),
]
Start = Annotated[str | None, typer.Option("--weights", help=f"Start from these weights. {SOURCE_HELP}")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the pictures; warm-up keeps its share.")]
Side = Annotated[int | None, typer.Option("--size", help="Side of the pictures, in pixels.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="LEAF=VALUE", help="optim.lr=1e-3, model.stem_stride=2, ...; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Weights = Annotated[WeightsName, typer.Option(help="Which weights, where a checkpoint holds both.")]


def refuse_options(told: Mapping[str, object], belongs: str, kind: str) -> None:
    """Refuse options of another task."""
    for name, value in told.items():
        if value is not None:
            raise UserError(f"{name} belongs to {belongs}, and this is --task {kind}; leave it out")


def reporter() -> "Reporter":
    """Return the reporter that suits standard error."""
    from convnext.train.progress import reporter_for

    return reporter_for(sys.stderr)
