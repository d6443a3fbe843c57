"""A small Mask R-CNN that learns 80 pictures of COCO by heart; UperNet on CamVid, ConvNeXt-Atto and the equal ResNet.

python benchmarks/dense.py coco FOLDER --runs RUNS --backbone RUN   a folder as COCO has it, with 80 training pictures
python benchmarks/dense.py camvid DATA --runs RUNS                  train/images, train/labels, val/...
python benchmarks/dense.py draw                                     docs/pictures/camvid.svg, from the record

RUN is one of `convnext train IMAGENETTE --model convnext_atto --epochs 14 --size 96`, whose stages are taken. Each
run is one of `convnext train` in a process of its own; a finished one is not trained again, a broken one goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import ROOT, heading, write

from convnext.dense_evaluate import DenseScoring, evaluate_dense
from convnext.dense_model import open_dense
from convnext.folder import SUMMARY
from convnext.run import is_run

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
    pretrained: bool = False


BACKBONE = "IMAGENETTE_RUN"
COCO_EPOCHS = 54
COCO = (
    Variant(
        folder="imagenette",
        name="Mask R-CNN, convnext_atto, stages from Imagenette",
        model="convnext_atto",
        settings=("optim.lr=5e-4", *BY_HEART, *LIGHT),
        epochs=COCO_EPOCHS,
        pretrained=True,
    ),
    Variant(
        folder="scratch",
        name="Mask R-CNN, convnext_atto from scratch",
        model="convnext_atto",
        settings=("optim.lr=5e-4", *BY_HEART, *LIGHT),
        epochs=COCO_EPOCHS,
    ),
)
CAMVID_EPOCHS = 24
CAMVID = (
    Variant(
        folder="atto",
        name="UperNet, convnext_atto",
        model="convnext_atto",
        settings=STREETS,
        epochs=CAMVID_EPOCHS,
        size=192,
    ),
    Variant(
        folder="resnet",
        name="UperNet, ResNet of equal cost",
        model="resnet50",
        # The same depths; the width that costs nearest to Atto's multiply-adds.
        settings=("model.depths=2,2,6,2", "model.width=26", *STREETS),
        epochs=CAMVID_EPOCHS,
        size=192,
    ),
)


def words(variant: Variant, task: str) -> list[str]:
    """Return what a user types for a run after `convnext train DATA`."""
    size = [] if variant.size is None else ["--size", str(variant.size)]
    start = ["--weights", BACKBONE] if variant.pretrained else []
    flags = [word for one in variant.settings for word in ("--set", one)]
    return ["--task", task, "--model", variant.model, *start, "--epochs", str(variant.epochs), *size, *flags]


def carry_out(variant: Variant, task: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Train, go on, or read what is done; return the summary with the most memory that the process held, in MB."""
    folder: Path = asked.runs / variant.folder
    peak = asked.runs / f"{variant.folder}.memory.json"
    if not (folder / SUMMARY).exists():
        typed = [asked.data, *words(variant, task), "--device", "cpu", "--out", str(folder)]
        typed = ["--resume", str(folder)] if is_run(folder) else typed
        typed = [str(asked.backbone) if word == BACKBONE else word for word in typed]
        process = subprocess.Popen([sys.executable, "-m", "convnext", "train", *typed])
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"training {variant.name} ended with {os.waitstatus_to_exitcode(status)}")
        # Of a run that goes on, the highest of its parts; Linux tells kibibytes.
        before = json.loads(peak.read_text(encoding="utf-8"))["peak_memory_mb"] if peak.exists() else 0
        most = max(before, round(used.ru_maxrss * 1024 / 1e6))
        peak.write_text(json.dumps({"peak_memory_mb": most}), encoding="utf-8")
    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    held = json.loads(peak.read_text(encoding="utf-8")) if peak.exists() else {"peak_memory_mb": None}
    return summary | held


def backbone_facts(run: Path) -> dict[str, Any]:
    """Return how the stages that a run begins with were trained."""
    summary = json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    size = summary["size"]
    return {
        "command": f"convnext train IMAGENETTE --model {summary['model']} --epochs {summary['epochs']} --size {size}",
        "top1": summary["best"]["top1"],
        "seconds": summary["seconds"],
    }


def row_of(variant: Variant, task: str, summary: dict[str, Any]) -> dict[str, Any]:
    kept = ("params", "gmacs", "epochs", "steps", "seconds", "images_per_second", "peak_memory_mb", "seed", "commit")
    typed = " ".join(["convnext train DATA", *words(variant, task)])
    return {"name": variant.name, "command": typed, **{name: summary[name] for name in kept}}


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's log that tell of its epochs."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == "epoch"]


def coco(asked: argparse.Namespace) -> None:
    runs = []
    for variant in COCO:
        folder = asked.runs / variant.folder
        row = row_of(variant, "detect", carry_out(variant, "detect", asked))
        if variant.pretrained:
            row["backbone"] = backbone_facts(asked.backbone)
        # The last epoch's weights: the best ones were chosen on pictures that were not learned.
        model = open_dense(str(folder / "last.safetensors"), "detect", weights="raw")
        done = evaluate_dense(model, asked.data, part="train", how=DenseScoring(workers=0, device="cpu"), note=print)
        row |= {f"train_{name}": done.values[name] for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")}
        losses = [round(epoch["train_loss"], 4) for epoch in epochs_of(folder)]
        runs.append(row | {"train_loss_by_epoch": losses})
    keep("coco-tiny.json", asked, runs, "80 training pictures of COCO 2017, 705 objects of 80 classes, short side 320")


def camvid(asked: argparse.Namespace) -> None:
    runs = []
    for variant in CAMVID:
        summary = carry_out(variant, "segment", asked)
        row = row_of(variant, "segment", summary)
        curve = [epoch["raw"]["miou"] for epoch in epochs_of(asked.runs / variant.folder)]
        row |= {name: summary["last"]["raw"][name] for name in ("miou", "pixel_accuracy", "class_accuracy")}
        runs.append(row | {"miou_by_epoch": curve})
    keep("camvid.json", asked, runs, "CamVid, 367 training and 101 held-out street scenes, 11 classes; last epoch")


def keep(name: str, asked: argparse.Namespace, runs: list[dict[str, Any]], data: str) -> None:
    opening = heading(f"python benchmarks/dense.py {asked.what} DATA --runs RUNS")
    # The code that trained, which may be older than the one that keeps.
    opening["commit"] = runs[0]["commit"]
    write(ROOT / "results" / "dense" / name, {**opening, "data": data, "note": asked.note, "runs": runs})
    print(f"wrote results/dense/{name}")


def draw(asked: argparse.Namespace) -> None:
    """Draw mIoU over the epochs of each run on CamVid."""
    import matplotlib
    from matplotlib.figure import Figure

    record = json.loads((ROOT / "results" / "dense" / "camvid.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for run, colour in zip(record["runs"], ("#0072B2", "#D55E00"), strict=True):
        curve = run["miou_by_epoch"]
        label = f"{run['name']} ({run['params'] / 1e6:.1f}M parameters, {run['gmacs']:.2f} GMACs)"
        axes.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=1.8, label=label)
        axes.annotate(f"{curve[-1]:.1f}", (len(curve), curve[-1]), (5, 0), textcoords="offset points", va="center")
    axes.set(xlabel="epoch", ylabel="mIoU, %", title="CamVid, 101 held-out pictures", ylim=(0, None))
    axes.grid(color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    path = ROOT / "docs" / "pictures" / "camvid.svg"
    # The same record gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "camvid", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
    print(f"wrote {path.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coco", "camvid", "draw"])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--backbone", type=Path, help="a run of Imagenette, for coco")
    parser.add_argument("--note", default="One seed.", help="what else a reader must know")
    asked = parser.parse_args()
    if asked.what != "draw" and (asked.data is None or asked.runs is None):
        parser.error("DATA and --runs are needed")
    if asked.what == "coco" and asked.backbone is None:
        parser.error("coco needs --backbone")
    {"coco": coco, "camvid": camvid, "draw": draw}[asked.what](asked)


if __name__ == "__main__":
    main()
