"""The elements of the modern recipe one at a time, on a fixed part of Imagenette at 64 pixels.

python benchmarks/elements.py DATA --runs RUNS        (a folder or zip of Imagenette with train/ and val/)

Every variant is a `convnext train` with a few settings more than the plain one, and is trained once for each seed. The
part is 3,000 pictures to train on and 1,000 held out, evenly from all classes, in a list that is written to RUNS, so
that all variants see the same ones. A run that is done is skipped and one that was interrupted goes on, so the whole
can be stopped at any time; --minutes stops it by itself.
"""

import argparse
import csv
import statistics
import sys
import time
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import ROOT, heading, write

from convnext.models import model_spec, with_model_settings
from convnext.plan import RunPlan
from convnext.recipe import with_epochs, with_overrides
from convnext.recipes import recipe_for
from convnext.run import is_run, resume_run, train_run
from convnext.train.progress import LineReporter

SIZE, EPOCHS, SEEDS = 64, 15, (0, 1)
# Fewer pictures for the whole length of small-data, to see whether what makes them harder pays in time; one seed, for
# these are the longest runs.
LONG = {"epochs": 100, "seeds": (0,), "train_a_class": 100}
TRAIN_A_CLASS, VAL_A_CLASS = 300, 100
ATTO = ("convnext_atto", {})
# The same depths; the width that costs nearest to Atto's 44.7 M multiply-adds at 64 pixels.
RESNET = ("resnet50", {"depths": [2, 2, 6, 2], "width": 26})
PLAIN = ("mix.label_smoothing=0", "regularise.drop_path=0")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row: a network, a recipe and what is set beside it."""

    name: str
    model: tuple[str, dict[str, Any]]
    recipe: str = "default"
    settings: tuple[str, ...] = ()
    epochs: int = EPOCHS
    seeds: tuple[int, ...] = SEEDS
    train_a_class: int = TRAIN_A_CLASS

    def command(self) -> str:
        """Return what a user types for it."""
        name, changes = self.model
        model = [
            f"model.{key}={','.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in changes.items()
        ]
        flags = "".join(f" --set {one}" for one in (*model, *self.settings))
        return f"convnext train LIST --model {name} --recipe {self.recipe} --size {SIZE} --epochs {self.epochs}{flags}"


VARIANTS = (
    Variant(name="plain: crop, flip, AdamW, cosine", model=ATTO, settings=PLAIN),
    Variant(name="plain + label smoothing 0.1", model=ATTO, settings=("mix.label_smoothing=0.1", PLAIN[1])),
    Variant(name="plain + stochastic depth 0.1", model=ATTO, settings=(PLAIN[0], "regularise.drop_path=0.1")),
    Variant(name="plain + RandAugment m9", model=ATTO, settings=(*PLAIN, "augment.randaugment=rand-m9-mstd0.5-inc1")),
    Variant(name="plain + Random Erasing 0.25", model=ATTO, settings=(*PLAIN, "augment.erasing=0.25")),
    Variant(name="plain + Mixup 0.8, CutMix 1.0", model=ATTO, settings=(*PLAIN, "mix.mixup=0.8", "mix.cutmix=1")),
    Variant(name="plain + crops from 0.08", model=ATTO, settings=(*PLAIN, "augment.crop_scale=0.08,1")),
    Variant(name="small-data, whole", model=ATTO, recipe="small-data"),
    Variant(name="ResNet of equal cost, plain", model=RESNET, settings=PLAIN),
    Variant(name="ResNet of equal cost, small-data", model=RESNET, recipe="small-data"),
    Variant(name="1,000 pictures, 100 epochs: default", model=ATTO, **LONG),
    Variant(name="1,000 pictures, 100 epochs: small-data", model=ATTO, recipe="small-data", **LONG),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "elements64.json")
    asked = parser.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    root = unpacked(asked.data, asked.runs)
    deadline = time.monotonic() + 60 * asked.minutes
    rows: list[dict[str, Any]] = []
    # Seed by seed, so that a sweep that is stopped early has every variant.
    for seed in SEEDS:
        for variant in VARIANTS:
            if seed not in variant.seeds:
                continue
            folder = asked.runs / f"{VARIANTS.index(variant):02d}-seed-{seed}"
            if not (folder / "summary.json").exists() and time.monotonic() > deadline:
                continue
            print(f"\n{variant.name}, seed {seed}: {folder}", flush=True)
            pictures = make_list(root, asked.runs, variant.train_a_class)
            summary = carry_out(variant, pictures, folder, seed)
            if summary is None:
                sys.exit(f"stopped; the same command goes on with {folder}")
            rows.append(row_of(variant, seed, summary))
            write(asked.out, record_of(rows))


def carry_out(variant: Variant, pictures: Path, folder: Path, seed: int) -> Any:
    """Train, go on, or read what is done; None when it was stopped."""
    reporter = LineReporter(sys.stdout)
    if is_run(folder):
        return resume_run(folder, reporter=reporter).summary
    name, changes = variant.model
    spec = with_model_settings(model_spec(name), changes) if changes else model_spec(name)
    recipe = with_epochs(recipe_for(variant.recipe, name), variant.epochs)
    # The list has its own held-out part, and Atto at 64 pixels keeps its stem.
    recipe = with_overrides(recipe, [f"data.size={SIZE}", "data.workers=2", *variant.settings])
    plan = RunPlan(data=str(pictures), model=spec, recipe=recipe, seed=seed)
    return train_run(plan, out=folder, reporter=reporter).summary


def unpacked(data: Path, runs: Path) -> Path:
    """Return the folder of the pictures; a zip is unpacked beside the runs."""
    if not data.is_file():
        return data
    root = runs / "pictures"
    if not root.exists():
        with zipfile.ZipFile(data) as archive:
            archive.extractall(root)
    return root


def make_list(root: Path, runs: Path, train_a_class: int) -> Path:
    """Write the list of a fixed part of the pictures, where it is missing; return the list."""
    target = runs / f"imagenette-{train_a_class}.csv"
    if target.exists():
        return target
    rows: list[tuple[str, str, str]] = []
    for part, count in (("train", train_a_class), ("val", VAL_A_CLASS)):
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(root.glob(f"**/{part}/*/*")):
            found[path.parent.name].append(path)
        for name, paths in sorted(found.items()):
            step = len(paths) / count
            rows += [(str(paths[int(step * number)].resolve()), name, part) for number in range(count)]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows(rows)
    return target


def row_of(variant: Variant, seed: int, summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "command": variant.command(),
        "seed": seed,
        "last": {
            name: None if scores is None else scores["top1"]
            for name, scores in summary["last"].items()
            if name != "epoch"
        },
        "gmacs": summary["gmacs"],
        "params": summary["params"],
        "seconds": summary["seconds"],
        "images_per_second": summary["images_per_second"],
    }


def record_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    table = []
    for variant in VARIANTS:
        own = [row for row in rows if row["variant"] == variant.name]
        if own:
            table.append(
                {
                    "variant": variant.name,
                    "command": variant.command(),
                    "seeds": [row["seed"] for row in own],
                    **{name: spread([row["last"][name] for row in own]) for name in ("raw", "ema")},
                    "minutes": round(statistics.fmean(row["seconds"] for row in own) / 60, 2),
                    "images_per_second": round(statistics.median(row["images_per_second"] for row in own), 1),
                }
            )
    return {
        **heading("python benchmarks/elements.py DATA --runs RUNS"),
        "data": "Imagenette (128-pixel copies), 300 training (1,000 pictures: 100) and 100 held-out of each of 10 "
        "classes",
        "size": SIZE,
        "epochs": f"{EPOCHS} epochs where no other number stands",
        "score": "top-1 of the last epoch, percent, on the held-out pictures; mean and sample std over seeds",
        "table": table,
        "runs": rows,
    }


def spread(values: list[float]) -> dict[str, float | None]:
    return {
        "mean": round(statistics.fmean(values), 2),
        "std": round(statistics.stdev(values), 2) if len(values) > 1 else None,
    }


if __name__ == "__main__":
    main()
