"""A small Mask R-CNN that learns 80 pictures of COCO by heart; UperNet on CamVid, ConvNeXt-Atto and the equal ResNet.

python benchmarks/dense.py coco FOLDER --runs RUNS      a folder as COCO has it, with 80 training pictures
python benchmarks/dense.py camvid DATA --runs RUNS      train/images, train/labels, val/...

Each run is one of `convnext train`; a finished one is not trained again, a broken one goes on.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import ROOT, heading, write

from convnext.cli.plan import make_plan
from convnext.dense_evaluate import DenseScoring, evaluate_dense
from convnext.dense_model import open_dense
from convnext.folder import SUMMARY
from convnext.run import is_run, resume_run, train_run
from convnext.train.progress import LineReporter

LIGHT = ("head.channels=64", "head.hidden=256", "head.sampled_boxes=128")
# Nothing is varied: the pictures are to be learned by heart.
BY_HEART = (
    "detect.crop_chance=0",
    "detect.short_sides=320,320",
    "augment.flip=0",
    "regularise.drop_path=0",
    "data.batch_size=2",
    "engine.micro_batch=2",
    "data.workers=0",
)
STREETS = ("head.channels=64", "head.aux_channels=32", "data.batch_size=8", "optim.lr=1e-3", "data.workers=0")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One run: its folder, what it is called, and the words of its command after `convnext train DATA`."""

    folder: str
    name: str
    model: str
    settings: tuple[str, ...]
    epochs: int
    size: int | None = None


COCO = (
    Variant(
        folder="scratch",
        name="Mask R-CNN, convnext_atto from scratch",
        model="convnext_atto",
        settings=("optim.lr=5e-4", *BY_HEART, *LIGHT),
        epochs=48,
    ),
)
CAMVID = (
    Variant(folder="atto", name="UperNet, convnext_atto", model="convnext_atto", settings=STREETS, epochs=14, size=192),
    Variant(
        folder="resnet",
        name="UperNet, ResNet of equal cost",
        model="resnet50",
        # The same depths; the width that costs nearest to Atto's multiply-adds.
        settings=("model.depths=2,2,6,2", "model.width=26", *STREETS),
        epochs=14,
        size=192,
    ),
)


def command(variant: Variant, task: str) -> str:
    """Return what a user types for a run."""
    size = "" if variant.size is None else f" --size {variant.size}"
    flags = "".join(f" --set {one}" for one in variant.settings)
    return f"convnext train DATA --task {task} --model {variant.model} --epochs {variant.epochs}{size}{flags}"


def carry_out(variant: Variant, task: str, data: str, folder: Path) -> dict[str, Any]:
    """Train, go on, or read what is done, and return the summary."""
    reporter = LineReporter(sys.stdout)
    if (folder / SUMMARY).exists():
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return summary
    if is_run(folder):
        result = resume_run(folder, reporter=reporter)
    else:
        plan = make_plan(
            data,
            model=variant.model,
            recipe=None,
            weights=None,
            epochs=variant.epochs,
            size=variant.size,
            settings=variant.settings,
            seed=0,
            device="cpu",
            task=task,
        )
        result = train_run(plan, out=folder, reporter=reporter)
    if result.summary is None:
        sys.exit(result.message)
    return dict(result.summary)


def row_of(variant: Variant, task: str, summary: dict[str, Any]) -> dict[str, Any]:
    kept = ("params", "gmacs", "epochs", "steps", "seconds", "images_per_second", "seed", "commit")
    return {"name": variant.name, "command": command(variant, task), **{name: summary[name] for name in kept}}


def coco(asked: argparse.Namespace) -> None:
    runs = []
    for variant in COCO:
        folder = asked.runs / variant.folder
        row = row_of(variant, "detect", carry_out(variant, "detect", asked.data, folder))
        # The last epoch's weights: the best ones were chosen on pictures that were not learned.
        model = open_dense(str(folder / "last.safetensors"), "detect", weights="raw")
        done = evaluate_dense(model, asked.data, part="train", how=DenseScoring(workers=0, device="cpu"), note=print)
        row |= {f"train_{name}": done.values[name] for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")}
        runs.append(row)
    keep("coco-tiny.json", asked, runs, "80 training pictures of COCO 2017, 705 objects of 80 classes, short side 320")


def camvid(asked: argparse.Namespace) -> None:
    runs = []
    for variant in CAMVID:
        summary = carry_out(variant, "segment", asked.data, asked.runs / variant.folder)
        row = row_of(variant, "segment", summary)
        log = (asked.runs / variant.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        curve = [one["raw"]["miou"] for one in map(json.loads, log) if one["kind"] == "epoch"]
        row |= {name: summary["last"]["raw"][name] for name in ("miou", "pixel_accuracy", "class_accuracy")}
        runs.append(row | {"miou_by_epoch": curve})
    keep("camvid.json", asked, runs, "CamVid, 367 training and 101 held-out street scenes, 11 classes; last epoch")


def keep(name: str, asked: argparse.Namespace, runs: list[dict[str, Any]], data: str) -> None:
    opening = heading(f"python benchmarks/dense.py {asked.what} DATA --runs RUNS")
    # The code that trained, which may be older than the one that keeps.
    opening["commit"] = runs[0]["commit"]
    write(ROOT / "results" / "dense" / name, {**opening, "data": data, "note": asked.note, "runs": runs})
    print(f"wrote results/dense/{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coco", "camvid"])
    parser.add_argument("data")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--note", default="One seed.", help="what else a reader must know")
    asked = parser.parse_args()
    {"coco": coco, "camvid": camvid}[asked.what](asked)


if __name__ == "__main__":
    main()
