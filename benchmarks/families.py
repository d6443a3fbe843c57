"""A small ConvNeXt, ResNet, Swin and DeiT at equal multiply-adds, trained by one recipe: the measured Figure 1.

python benchmarks/families.py train DATA --runs RUNS [--shard 1/2]      a run a variant and seed; resumable
python benchmarks/families.py keep RUNS NAME --data "Imagenette, 128 px"   the record results/figure1/NAME

Each run is one of `convnext train`, with the same data, seeds and recipe but for the learning rate: each variant has
the better of two, by one run of three epochs at each (--set optim.lr=2e-3, 5e-4).
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from record import ROOT

from convnext.folder import SUMMARY
from convnext.models import any_spec, model_spec
from convnext.peer_spec import PeerSpec, Spec, with_options
from convnext.plan import RunPlan
from convnext.recipe import with_epochs, with_overrides
from convnext.recipes import recipe_for
from convnext.run import is_run, resume_run, train_run
from convnext.train.progress import LineReporter

SIZE = 64


def peer(name: str, **options: object) -> PeerSpec:
    """Return a system of the paper in another size."""
    spec = any_spec(name)
    assert isinstance(spec, PeerSpec)
    return with_options(spec, options)


# Each within 4% of Atto's 44.7 million multiply-adds at 64 pixels. Swin keeps its 32 channels a head, about, and four
# windows a side; DeiT's patches are halved, for 64 tokens instead of 16.
VARIANTS: dict[str, Spec] = {
    "convnext_atto": model_spec("convnext_atto"),
    "resnet": replace(model_spec("resnet50"), depths=(2, 2, 6, 2), width=26),
    "swin": peer("swin_tiny", embed_dim=34, depths=[2, 2, 6, 2], num_heads=[1, 2, 4, 8], window_size=4),
    "deit": peer("deit_small", embed_dim=64, depth=12, num_heads=2, patch_size=8),
}

NAMES = {
    "convnext_atto": "convnext_atto",
    "resnet": "resnet50 (depths=2,2,6,2; width=26)",
    "swin": "swin_tiny (embed_dim=34; depths=2,2,6,2; num_heads=1,2,4,8; window_size=4)",
    "deit": "deit_small (embed_dim=64; num_heads=2; patch_size=8)",
}

# Raw top-1 of the last epoch at 5e-4 and at 2e-3: ConvNeXt 42.9, 45.2; ResNet 40.1, 56.9; Swin 41.7, 38.0;
# DeiT 39.8, 42.3 (results/figure1/imagenette64-lr5e-4 and -lr2e-3).
RATES = {"convnext_atto": 2e-3, "resnet": 2e-3, "swin": 5e-4, "deit": 2e-3}


def train(asked: argparse.Namespace) -> None:
    """Do this shard's runs, seed by seed; finished ones are passed over, a broken one goes on."""
    share, of = (int(number) for number in asked.shard.split("/"))
    recipe = with_epochs(recipe_for(asked.recipe, "convnext_atto"), asked.epochs)
    recipe = with_overrides(recipe, [f"data.size={SIZE}"])
    runs = [(name, seed) for seed in range(asked.seeds) for name in VARIANTS]
    for name, seed in runs[share - 1 :: of]:
        folder = asked.runs / name / f"seed-{seed}"
        reporter = LineReporter(sys.stdout)
        if (folder / SUMMARY).exists():
            continue
        if is_run(folder):
            result = resume_run(folder, reporter=reporter)
        else:
            own = with_overrides(recipe, [f"optim.lr={RATES[name]}", *asked.set])
            plan = RunPlan(data=asked.data, model=VARIANTS[name], recipe=own, seed=seed, name=NAMES[name])
            result = train_run(plan, out=folder, reporter=reporter)
        if not result.finished:
            sys.exit(result.message)


def keep(asked: argparse.Namespace) -> None:
    """Write the record: each run's summary and the epochs of its log, without what names this machine."""
    target = ROOT / "results" / "figure1" / asked.name
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(asked.runs.glob(f"*/*/{SUMMARY}")):
        kept = target / path.parent.relative_to(asked.runs)
        kept.mkdir(parents=True)
        summary = json.loads(path.read_text(encoding="utf-8"))
        # The matrix and the names of pictures are the bulk, and no number of the figure comes from them.
        summary |= {"data": asked.data, "confusion": None, "unreadable": len(summary["unreadable"])}
        (kept / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {target.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("data")
    training.add_argument("--runs", type=Path, required=True)
    training.add_argument("--recipe", default="default")
    training.add_argument("--epochs", type=int, default=12)
    training.add_argument("--seeds", type=int, default=2)
    training.add_argument("--shard", default="1/1")
    training.add_argument("--set", action="append", default=[])
    training.set_defaults(do=train)
    keeping = commands.add_parser("keep")
    keeping.add_argument("runs", type=Path)
    keeping.add_argument("name")
    keeping.add_argument("--data", required=True, help="what the record calls the data")
    keeping.set_defaults(do=keep)
    asked = parser.parse_args()
    asked.do(asked)


if __name__ == "__main__":
    main()
