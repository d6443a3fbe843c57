"""Imagenette at 64 pixels: ConvNeXt-Atto with a stem stride of 4 and of 2, and the ResNet of equal cost.

python benchmarks/imagenette.py DATA        (a folder or zip of Imagenette with train/ and val/)

Each variant is trained once for every seed; one that the record already holds is skipped, so an interrupted record goes
on. Speeds are taken apart, with --speed, on a machine that does nothing else: the variants interleaved over several
rounds, medians kept.
"""

import argparse
import json
import statistics
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from record import ROOT, heading, write

from convnext.cost import total_cost
from convnext.data.sources import open_source
from convnext.models import create_model, model_spec
from convnext.plan import RunPlan
from convnext.recipe import Recipe, with_epochs
from convnext.recipes import RECIPES
from convnext.run import train_run
from convnext.spec import NetSpec
from convnext.tasks.classify import ClassifyTask, evaluation_preprocess
from convnext.train.engine import Engine, Place
from convnext.train.progress import LineReporter
from convnext.train.timing import time_steps

SIZE = 64
ATTO = replace(model_spec("convnext_atto"), num_classes=10)
VARIANTS: dict[str, NetSpec] = {
    "convnext_atto, stem stride 4": ATTO,
    # The same depths; the width that costs nearest to Atto's 44.7 M multiply-adds at 64 pixels.
    "ResNet of equal cost": replace(model_spec("resnet50"), depths=(2, 2, 6, 2), width=26, num_classes=10),
    "convnext_atto, stem stride 2": replace(ATTO, stem_stride=2),
}
ROUNDS, STEPS, WARM = 5, 12, 3


def speeds(data: str, recipe: Recipe) -> dict[str, float]:
    """Return the median training speed of each variant in images a second, reading the pictures included."""
    source = open_source(data)
    preprocess = evaluation_preprocess(recipe, source.label_safe)
    task = ClassifyTask(source, recipe, preprocess=preprocess, seed=0)
    models = {name: create_model(spec, drop_path=recipe.regularise.drop_path) for name, spec in VARIANTS.items()}
    seen: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS):
        for name, model in models.items():
            seen[name].append(images_per_second(task, model, recipe, number))
    return {name: statistics.median(values) for name, values in seen.items()}


def images_per_second(task: ClassifyTask, model: torch.nn.Module, recipe: Recipe, epoch: int) -> float:
    """Return the speed of a few training steps."""
    engine = Engine(task, model, recipe, Place(device=torch.device("cpu")), seed=0)
    return time_steps(engine, steps=STEPS, warm=WARM, epoch=epoch).images_per_second


def train(name: str, data: str, recipe: Recipe, seed: int, runs: Path) -> tuple[dict[str, Any], float]:
    """Train one variant and return its row and its fastest epoch in seconds."""
    folder = runs / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    plan = RunPlan(data=data, model=VARIANTS[name], recipe=recipe, seed=seed)
    result = train_run(plan, out=folder, reporter=LineReporter(sys.stdout))
    assert result.summary is not None, "a stopped run is no record"
    summary = result.summary
    row = {
        "variant": name,
        "seed": seed,
        "last": summary["last"],
        "best": {key: summary["best"][key] for key in ("epoch", "weights", "top1")},
    }
    return row, fastest_epoch(folder)


def fastest_epoch(folder: Path) -> float:
    """Return the wall time of a run's fastest epoch, scoring included: the machine is shared, and this is the floor."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    ends = [0.0, *(row["seconds"] for row in rows if row["kind"] == "epoch")]
    return min(end - start for start, end in pairwise(ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--record", type=Path, default=ROOT / "results" / "imagenette64.json")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "imagenette64")
    parser.add_argument("--speed", action="store_true", help="time the variants instead of training them")
    asked = parser.parse_args()
    recipe = with_epochs(RECIPES["default"], asked.epochs)
    recipe = replace(recipe, data=replace(recipe.data, size=SIZE))
    if asked.record.exists():
        record = json.loads(asked.record.read_text(encoding="utf-8"))
    else:
        record = {
            **heading(f"python benchmarks/imagenette.py DATA --epochs {asked.epochs}"),
            "data": "Imagenette2, 9,469 pictures to train on, 3,925 held out, squashed to 128x128, JPEG quality 70",
            "recipe": recipe.to_dict(),
            "costs": {
                name: {"gmacs": total_cost(spec, SIZE).gmacs, "params": total_cost(spec, SIZE).params}
                for name, spec in VARIANTS.items()
            },
            "rounds": ROUNDS,
            "runs": [],
        }
    if asked.speed:
        record["images_per_second"] = speeds(asked.data, recipe)
        write(asked.record, record)
        return
    done = {(run["variant"], run["seed"]) for run in record["runs"]}
    for seed in asked.seeds:
        for name in VARIANTS:
            if (name, seed) not in done:
                run, seconds = train(name, asked.data, recipe, seed, asked.runs)
                record["runs"].append(run)
                fastest = record.setdefault("fastest_epoch_seconds", {})
                fastest[name] = round(min(seconds, fastest.get(name, seconds)), 1)
                write(asked.record, record)


if __name__ == "__main__":
    main()
