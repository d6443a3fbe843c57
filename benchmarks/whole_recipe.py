"""ConvNeXt-T at 128 pixels on Imagenette with the paper's whole recipe, for 5 and for 20 epochs.

python benchmarks/whole_recipe.py train DATA --runs RUNS [--epochs 20]     one run; the same command goes on with it
python benchmarks/whole_recipe.py keep RUNS                                the record results/whole-recipe128.json

`imagenet-1k` as it is, but for what belongs to its batch of 4096 and its 300 epochs: batch, learning rate and the reach
of the average.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from record import ROOT, write

from convnext.folder import SUMMARY
from convnext.plan import RunPlan
from convnext.recipe import with_epochs, with_overrides
from convnext.recipes import recipe_for
from convnext.run import is_run, resume_run, train_run
from convnext.train.progress import LineReporter

MODEL, SIZE = "convnext_tiny", 128
SETTINGS = ("data.batch_size=128", "optim.lr=1e-3", "ema.decay=auto")
TARGET = ROOT / "results" / "whole-recipe128.json"


def command(epochs: int) -> str:
    """Return what a user types for a run."""
    settings = "".join(f" --set {one}" for one in SETTINGS)
    return f"convnext train DATA --model {MODEL} --recipe imagenet-1k --size {SIZE} --epochs {epochs}{settings}"


def train(asked: argparse.Namespace) -> None:
    folder = asked.runs / f"e{asked.epochs}"
    reporter = LineReporter(sys.stdout)
    if is_run(folder):
        result = resume_run(folder, reporter=reporter)
    else:
        recipe = with_epochs(recipe_for("imagenet-1k", MODEL), asked.epochs)
        recipe = with_overrides(recipe, [f"data.size={SIZE}", *SETTINGS, *asked.set])
        result = train_run(RunPlan(data=asked.data, model=MODEL, recipe=recipe), out=folder, reporter=reporter)
    if not result.finished:
        sys.exit(result.message)


def keep(asked: argparse.Namespace) -> None:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in asked.runs.glob(f"*/{SUMMARY}")]
    runs: list[dict[str, Any]] = [
        {
            "command": command(one["epochs"]),
            **{name: one[name] for name in ("epochs", "seed", "steps", "seconds", "images_per_second", "precision")},
            "last": {name: one["last"][name]["top1"] for name in ("raw", "ema")},
        }
        for one in sorted(found, key=lambda one: one["epochs"])
    ]
    first = found[0]
    write(
        TARGET,
        {
            "command": "python benchmarks/whole_recipe.py train DATA --runs RUNS",
            "date": asked.date,
            "commit": asked.commit or first["commit"],
            "machine": first["machine"],
            "versions": first["versions"],
            "data": "Imagenette2, 9,469 pictures to train on, 3,925 held out, squashed to 128x128, JPEG quality 70",
            "note": asked.note,
            "gmacs": first["gmacs"],
            "params": first["params"],
            "runs": runs,
        },
    )
    print(f"wrote {TARGET.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("data")
    training.add_argument("--runs", type=Path, required=True)
    training.add_argument("--epochs", type=int, default=20)
    training.add_argument("--set", action="append", default=[])
    training.set_defaults(do=train)
    keeping = commands.add_parser("keep")
    keeping.add_argument("runs", type=Path)
    keeping.add_argument("--date", required=True)
    keeping.add_argument("--commit", help="where the copy that trained could not tell")
    keeping.add_argument("--note", default="", help="what else a reader must know of the machine")
    keeping.set_defaults(do=keep)
    asked = parser.parse_args()
    asked.do(asked)


if __name__ == "__main__":
    main()
