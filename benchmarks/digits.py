"""The embedded digits, three seeds: what `make demo` trains, as a record.

python benchmarks/digits.py
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from record import ROOT, heading, write

from convnext.models import model_spec
from convnext.plan import RunPlan
from convnext.recipe import with_epochs
from convnext.recipes import RECIPES
from convnext.seeds import train_seeds
from convnext.train.progress import LineReporter

EPOCHS, SIZE, STRIDE, SEEDS = 30, 16, 2, (0, 1, 2)


def main() -> None:
    recipe = with_epochs(RECIPES["default"], EPOCHS)
    recipe = replace(recipe, data=replace(recipe.data, size=SIZE))
    spec = replace(model_spec("convnext_atto"), stem_stride=STRIDE)
    with TemporaryDirectory() as place:
        plan = RunPlan(data="digits", model=spec, recipe=recipe)
        result = train_seeds(plan, SEEDS, out=Path(place) / "runs", reporter=LineReporter(sys.stdout))
        runs = [run.summary for run in result.runs if run.summary is not None]
        assert len(runs) == len(SEEDS), "a stopped run is no record"
    record = {
        **heading("python benchmarks/digits.py"),
        "data": "scikit-learn's 1,797 digits, a fifth of each class held out by seed 0",
        "model": f"convnext_atto, stem stride {STRIDE}, {SIZE} pixels",
        "recipe": recipe.to_dict(),
        "runs": [
            {
                "seed": run["seed"],
                "last": run["last"],
                "best": {key: run["best"][key] for key in ("epoch", "weights", "top1")},
                "seconds": run["seconds"],
                "images_per_second": run["images_per_second"],
            }
            for run in runs
        ],
    }
    write(ROOT / "results" / "digits.json", record)


if __name__ == "__main__":
    main()
