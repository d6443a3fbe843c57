"""Write the generated tables of README.md and docs/ from the package and from results/*.json; --check only compares.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. Nobody types a measured number into a page.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dense_tables import (
    dense_recipes_table,
    detection_cost_table,
    detection_measured_table,
    segmentation_cost_table,
    segmentation_measured_table,
)
from markdown_table import markdown

from convnext.cost import total_cost
from convnext.lab.analysis import Analysis, analyse
from convnext.lab.results import read_results
from convnext.lab.wording import difference_text, signed, spread_text
from convnext.models import MODELS
from convnext.recipes import NAMED, RECIPES, sources_of
from convnext.reference import PAPER_ROWS, PaperRow
from convnext.roadmap import STEPS, spec_at
from convnext.setting import shown
from convnext.train.optim import decay_layers

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def roadmap_table() -> str:
    """Return Figure 2: our counts beside the paper's numbers."""
    rows = []
    for step in STEPS:
        cells = [f"`{step.name}`" if step.adopted else f"`{step.name}` (tried)"]
        for regime in ("resnet50", "resnet200"):
            counted, paper = total_cost(spec_at(step.name, regime)).gmacs, step.published[regime]
            star = "\\*" if paper.counted_gmacs is not None else ""
            top1 = f"{paper.top1:.2f}" + (f" ±{paper.std:.2f}" if paper.std is not None else "")
            cells += [f"{counted:.2f}", f"{paper.gmacs:.2f}{star}", top1]
        rows.append([*cells, step.reason])
    columns = ["step", "GMACs", "paper", "paper top-1", "GMACs (200)", "paper (200)", "paper top-1 (200)", "why"]
    return markdown(columns, rows)


def models_table() -> str:
    """Return every registered model with its cost."""
    rows = []
    for entry in MODELS.values():
        cost = total_cost(entry.spec, entry.input_size)
        rows.append([f"`{entry.name}`", f"{cost.params:,}", f"{cost.gmacs:.2f}", str(entry.input_size)])
    return markdown(["model", "parameters", "GMACs", "input"], rows)


def recipes_table() -> str:
    """Return the named recipes of classification, each with the values of the model that it is shown for."""
    rows = []
    for name, one in RECIPES.items():
        if one.task != "classify":
            continue
        schedule, optim = one.schedule, one.optim
        mixing = f"{shown(one.mix.mixup)} / {shown(one.mix.cutmix)}" if one.mix.on else "none"
        rows.append(
            [
                f"`{name}`",
                str(one.data.size),
                str(one.data.batch_size),
                f"{schedule.epochs} ({shown(schedule.warmup_epochs)})",
                f"{optim.name} {shown(optim.lr)}",
                shown(optim.weight_decay),
                shown(optim.layer_decay),
                shown(one.augment.randaugment),
                mixing,
                shown(one.augment.erasing),
                shown(one.ema.decay),
                NAMED[name].model,
            ]
        )
    columns = ["recipe", "pixels", "batch", "epochs (warm-up)", "optimizer, lr", "weight decay", "layer decay"]
    return markdown([*columns, "RandAugment", "Mixup / CutMix", "erasing", "EMA", "shown for"], rows)


def drop_path_table() -> str:
    """Return stochastic depth for each model and recipe; what the paper does not say is in parentheses."""
    names = ["imagenet-1k", "imagenet-22k", "finetune-22k-to-1k", "finetune-1k-384", "small-data"]
    rows = []
    for model, entry in MODELS.items():
        found = [sources_of(name, model)["regularise.drop_path"] for name in names]
        guessed = ["not in the paper" in one.source or one.source.startswith("ours") for one in found]
        cells = [
            f"({shown(one.value)})" if guess else shown(one.value) for one, guess in zip(found, guessed, strict=True)
        ]
        rows.append([f"`{model}`", *cells, str(len(decay_layers(entry.spec)) - 2)])
    return markdown(["stochastic depth", *(f"`{name}`" for name in names), "layers of layer decay"], rows)


def record(name: str) -> dict[str, Any]:
    """Return a committed record."""
    value: dict[str, Any] = json.loads((ROOT / "results" / name).read_text(encoding="utf-8"))
    return value


def measured_on(one: dict[str, Any]) -> str:
    """Return the line under a table that says where its numbers come from."""
    machine, versions = one["machine"], one["versions"]
    return (
        f"\n{machine['processor']}, {machine['threads']} threads, torch {versions['torch']}, Python "
        f"{versions['python']}; commit {one['commit']}, {one['date']}; `{one['command']}`.\n"
    )


def spread(values: list[float]) -> str:
    """Return mean and sample deviation, or the one value."""
    text = f"{statistics.fmean(values):.2f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.2f}"


def digits_table() -> str:
    """Return what three seeds reach on the embedded digits."""
    one = record("digits.json")
    rows = [
        [
            f"{one['model']}, {one['recipe']['schedule']['epochs']} epochs",
            str(len(one["runs"])),
            spread([run["last"]["ema"]["top1"] for run in one["runs"]]),
            spread([run["last"]["raw"]["top1"] for run in one["runs"]]),
            f"{statistics.median(run['seconds'] for run in one['runs']):.0f} s",
        ]
    ]
    columns = ["digits, 359 held out", "seeds", "top-1, EMA", "top-1, raw", "wall time a run"]
    return markdown(columns, rows) + measured_on(one)


def imagenette_table() -> str:
    """Return Imagenette at 64 pixels: the two stem strides and the ResNet of equal cost."""
    one = record("imagenette64.json")
    rows = []
    for name, cost in one["costs"].items():
        runs = [run for run in one["runs"] if run["variant"] == name]
        if not runs:
            continue
        rows.append(
            [
                name,
                f"{1000 * cost['gmacs']:.1f}",
                f"{cost['params'] / 1e6:.2f}M",
                spread([run["last"]["ema"]["top1"] for run in runs]),
                spread([run["last"]["raw"]["top1"] for run in runs]),
                f"{one['fastest_epoch_seconds'][name]:.0f} s",
                f"{one['images_per_second'][name]:.0f}",
            ]
        )
    columns = [
        f"Imagenette, 64 pixels, {one['recipe']['schedule']['epochs']} epochs",
        "million MACs",
        "params",
        "top-1, EMA",
        "top-1, raw",
        "fastest epoch",
        "training images/s",
    ]
    seeds = len({run["seed"] for run in one["runs"]})
    note = (
        f"\nThe last epoch's weights, {seeds} seed{'s' if seeds > 1 else ''}. Images/s: training alone, median of "
        f"{one['rounds']} interleaved rounds on an idle machine. The fastest epoch includes scoring raw and EMA "
        "weights on 3,925 pictures; the rest of the run shared the machine with other work.\n"
    )
    return markdown(columns, rows) + note + measured_on(one)


def elements_table() -> str:
    """Return the elements of the recipe one at a time."""
    one = record("elements64.json")
    rows = [
        [
            row["variant"],
            str(len(row["seeds"])),
            plus_minus(row["ema"]),
            plus_minus(row["raw"]),
            f"{row['minutes']:.1f}",
            f"{row['images_per_second']:.0f}",
        ]
        for row in one["table"]
    ]
    columns = ["convnext_atto unless it says ResNet", "seeds", "top-1, EMA", "top-1, raw", "minutes a run", "images/s"]
    commands = "".join(f"- {row['variant']}: `{row['command']}`\n" for row in one["table"])
    return f"{markdown(columns, rows)}\n{one['data']}; {one['size']} pixels, {one['epochs']}; {one['score']}.\n" + (
        f"{measured_on(one)}\n{commands}"
    )


def augment_table() -> str:
    """Return images per second of the training pictures, ours and timm's."""
    one = record("augment.json")
    rates = one["images_per_second"]
    rows = [[name, f"{rate:.0f}", f"{rate / rates['timm']:.2f}"] for name, rate in rates.items()]
    note = (
        f"\n{one['data']}; {one['recipe']}; medians of {one['rounds']} interleaved rounds. Against timm in the same "
        f"round: {one['times_faster']['timm']:.2f} times, and {one['times_faster']['timm, prefetcher']:.2f} times with "
        "its prefetcher, which as ours leaves normalising and erasing to the device.\n"
    )
    return markdown(["training pictures", "images/s per core", "against timm"], rows) + note + measured_on(one)


def roadmap_measured_table() -> str:
    """Return what a sweep of the roadmap measured, row by row, with the paper's differences beside."""
    analysis = analyse(read_results(ROOT / "results" / "roadmap" / "quarter64"))
    rows = []
    for row in analysis.rows:
        found = row.difference
        assert row.spread is not None
        rows.append(
            [
                f"`{row.name}`" if row.result.row.adopted else f"`{row.name}` (tried)",
                f"{1000 * row.result.gmacs:.1f}",
                str(row.spread.count),
                spread_text(row.spread),
                "" if found is None else difference_text(found),
                "" if found is None else found.verdict,
                "" if row.paper_difference is None else signed(row.paper_difference),
            ]
        )
    columns = ["step", "million MACs", "seeds", "top-1, %", "difference [95%]", "verdict", "the paper's difference"]
    return markdown(columns, rows) + swept_on(analysis)


def roadmap_without_table() -> str:
    """Return what a leave-one-out sweep measured: ConvNeXt, and ConvNeXt without each of its decisions."""
    analysis = analyse(read_results(ROOT / "results" / "roadmap" / "quarter64-leave-one-out"))
    rows = []
    for row in analysis.rows:
        assert row.spread is not None
        found = row.difference
        rows.append(
            [
                f"`{row.name}`",
                f"{1000 * row.result.gmacs:.1f}",
                spread_text(row.spread),
                "" if found is None else signed(found.value),
            ]
        )
    return markdown(["row", "million MACs", "top-1, %", "difference"], rows) + swept_on(analysis)


def swept_on(analysis: Analysis) -> str:
    """Return the line that tells data, length, machine, versions and command of a sweep."""
    sweep, runs = analysis.results.sweep, analysis.results.runs
    place = runs[0].place
    return (
        f"\n{sweep.data}, {runs[0].pictures.train:,} pictures to train on and {runs[0].pictures.held_out:,} held out; "
        f"{sweep.modern.data.size} pixels, {sweep.modern.schedule.epochs} epochs; {len(runs)} runs, "
        f"{analysis.results.seconds / 3600:.1f} hours of one core. {place.machine['processor']}, torch "
        f"{place.versions['torch']}, Python {place.versions['python']}; commit {sweep.made.commit}, {sweep.made.date}; "
        f"`{sweep.made.command}`.\n"
    )


def roadmap_rates_table() -> str:
    """Return the trials of learning rates before the measured sweep: one seed of the second and of the last row."""
    rows = []
    for name in ("quarter64-lr1e-3", "quarter64-lr2e-3", "quarter64"):
        results = read_results(ROOT / "results" / "roadmap" / name)
        found = [results.row(row) for row in ("modern_recipe", "separate_downsampling")]
        top1s = [f"{one.top1s[0]:.2f}" for one in found if one is not None]
        rows.append([shown(results.sweep.modern.optim.lr), *top1s])
    return markdown(["learning rate", "`modern_recipe`, seed 0", "`separate_downsampling`, seed 0"], rows)


def printed_otherwise_table() -> str:
    """Return the rows of Tables 1 and 2 whose printed cost counting does not give, with the reason."""
    rows = []
    for row in PAPER_ROWS:
        if row.counted_params_millions is not None:
            rows.append(_otherwise(row, "M params", f"{row.params_millions:g}", f"{row.counted_params_millions:.1f}"))
        if row.counted_gmacs is not None:
            rows.append(_otherwise(row, "GMACs", f"{row.gmacs:.1f}", f"{row.counted_gmacs:.2f}"))
    return markdown(["table", "model", "size", "", "printed", "counted", "why"], rows)


def _otherwise(row: PaperRow, what: str, printed: str, counted: str) -> list[str]:
    return [row.table, f"`{row.model}`", str(row.size), what, printed, counted, row.reason]


def against_swin_table() -> str:
    """Return ConvNeXt beside Swin and DeiT on this kind of machine: speeds, ratio to ConvNeXt of the same size."""
    one = record("bench/against-swin.json")
    found = {(row["model"], row["batch"]): row for row in one["rows"]}
    rows = []
    for pair in (("convnext_tiny", "swin_tiny", "deit_small"), ("convnext_small", "swin_small"), ("convnext_base",)):
        base = pair[0]
        others = (*pair, "swin_base", "deit_base") if base == "convnext_base" else pair
        for model in others:
            cells = [f"`{model}`", f"{found[model, 1]['params'] / 1e6:.1f}", f"{found[model, 1]['gmacs']:.2f}"]
            for batch in (1, 8):
                ours, theirs = found[base, batch], found[model, batch]
                cells.append(f"{theirs['images_per_second']:.1f}")
                cells.append("" if model == base else f"{ours['ratio'] / theirs['ratio']:.2f}")
            paper, paper_base = (found[name, 1]["paper_images_per_second"] for name in (model, base))
            cells.append("" if model == base else f"{paper_base / paper:.2f}")
            rows.append(cells)
    columns = ["model", "M params", "GMACs", "images/s, batch 1", "ConvNeXt over it", "images/s, batch 8"]
    columns += ["ConvNeXt over it", "on the paper's V100"]
    return markdown(columns, rows) + benched_on(one)


def bench_table() -> str:
    """Return Table 1 as measured here, one picture at a time."""
    one = record("bench/table1.json")
    rows = []
    for row in one["rows"]:
        low, high = row["images_per_second_quartiles"] or (0.0, 0.0)
        rows.append(
            [
                f"`{row['model']}`",
                str(row["input_size"]),
                f"{row['params'] / 1e6:.1f}",
                f"{row['gmacs']:.2f}",
                row["failed"] or f"{row['images_per_second']:.2f} ± {(high - low) / 2:.2f}",
                "" if row["ratio"] is None else f"{row['ratio']:.3f}",
                "" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e6:,.0f}",
                "" if row["paper_images_per_second"] is None else f"{row['paper_images_per_second']:g}",
                "" if row["paper_top1"] is None else f"{row['paper_top1']:g}",
                "" if row["paper_top1_22k"] is None else f"{row['paper_top1_22k']:g}",
            ]
        )
    columns = ["model", "size", "M params", "GMACs", "images/s", "of ConvNeXt-T", "MB", "V100, paper"]
    columns += ["top-1, paper", "from 22K, paper"]
    return markdown(columns, rows) + benched_on(one)


def bench_train_table() -> str:
    """Return the training steps of the T class as measured here."""
    one = record("bench/train.json")
    rows = [
        [
            f"`{row['model']}`",
            str(row["batch"]),
            f"{row['images_per_second']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['peak_memory_bytes'] / 1e9:.2f}",
        ]
        for row in one["rows"]
    ]
    return markdown(["training step", "batch", "images/s", "of ConvNeXt-T", "GB"], rows) + benched_on(one)


def bench_gpu_table() -> str:
    """Return what was measured on a GPU: training steps, eager and compiled, and a part of Table 1."""
    eager, compiled, table = (record(f"bench/h200-{name}.json") for name in ("train", "train-compiled", "table1"))
    rows = []
    for one, what in ((eager, "training step"), (compiled, "training step, compiled"), (table, "inference")):
        for row in one["rows"]:
            if row["failed"] is None:
                cells = [what, f"`{row['model']}`", str(row["batch"]), f"{row['images_per_second']:,.0f}"]
                rows.append([*cells, f"{row['ratio']:.2f}", f"{row['peak_memory_bytes'] / 1e9:.1f}"])
    place = eager["machine"]["accelerator"]
    versions = ", ".join(f"{name} {eager['versions'][name]}" for name in ("torch", "timm"))
    commits = " and ".join(dict.fromkeys(one["rows"][0]["commit"] for one in (eager, table)))
    return markdown(["bf16, 224 pixels", "model", "batch", "images/s", "of ConvNeXt-T", "GB"], rows) + (
        f"\n{place}, {versions}; medians of 3 to 6 interleaved rounds; commits {commits}, {eager['began']}.\n"
    )


def isotropic_table() -> str:
    """Return Table 2's networks as measured here, one picture at a time."""
    one = record("bench/isotropic.json")
    found = {row["model"]: row for row in one["rows"]}
    rows = []
    for size in ("small", "base", "large"):
        ours, theirs = found[f"convnext_isotropic_{size}"], found[f"vit_{size}"]
        rows.append(
            [
                size[0].upper(),
                f"{theirs['images_per_second']:.2f}",
                f"{ours['images_per_second']:.2f}",
                f"{ours['ratio'] / theirs['ratio']:.2f}",
                f"{ours['paper_images_per_second'] / theirs['paper_images_per_second']:.2f}",
            ]
        )
    columns = ["isotropic", "ViT, images/s", "ConvNeXt, images/s", "ConvNeXt over ViT", "on the paper's V100"]
    return markdown(columns, rows) + benched_on(one)


def families_table() -> str:
    """Return the measured Figure 1: four families at equal cost, one recipe."""
    folder = ROOT / "results" / "figure1" / "imagenette64"
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*/summary.json"))]
    rows = []
    for model in dict.fromkeys(one["model"] for one in found):
        runs = [one for one in found if one["model"] == model]
        cells = [f"`{model}`", f"{1000 * runs[0]['gmacs']:.1f}", f"{runs[0]['params'] / 1e6:.2f}", str(len(runs))]
        rows.append([*cells, *(spread([one["last"][name]["top1"] for one in runs]) for name in ("ema", "raw"))])
    first = found[0]
    columns = ["Imagenette, 64 pixels", "million MACs", "M params", "seeds", "top-1, EMA", "top-1, raw"]
    command = f"python benchmarks/families.py train DATA --runs RUNS --epochs {first['epochs']}"
    return markdown(columns, rows) + (
        f"\nThe last of {first['epochs']} epochs, {first['val_images']:,} held-out pictures, recipe "
        f"`{first['recipe']}`, each network at the better of two learning rates. {first['machine']['accelerator']}, "
        f"torch {first['versions']['torch']}; commit {first['commit']}; `{command}`.\n"
    )


def whole_recipe_table() -> str:
    """Return ConvNeXt-T with the paper's whole recipe on Imagenette at 128 pixels."""
    one = record("whole-recipe128.json")
    rows = [
        [str(run["epochs"]), f"{run['last']['ema']:.2f}", f"{run['last']['raw']:.2f}", f"{run['steps']:,}"]
        for run in one["runs"]
    ]
    commands = "".join(f"- `{run['command']}`\n" for run in one["runs"])
    return markdown(["ConvNeXt-T, 128 pixels, epochs", "top-1, EMA", "top-1, raw", "steps"], rows) + (
        f"\n{one['data']}. One seed, {one['machine']['accelerator']}, {one['runs'][0]['precision']}. {one['note']}\n"
        f"{measured_on(one)}\n{commands}"
    )


def benched_on(one: dict[str, Any]) -> str:
    """Return the line that tells machine, versions and command of a bench."""
    first = one["rows"][0]
    versions = ", ".join(f"{name} {one['versions'][name]}" for name in ("torch", "timm"))
    rounds = [row["rounds"] for row in one["rows"] if row["rounds"]]
    counts = " to ".join(map(str, sorted({min(rounds), max(rounds)})))
    return (
        f"\n{one['machine']['processor']}, {first['threads']} threads, fp32, eager, {versions}; medians of {counts} "
        f"interleaved rounds; commit {first['commit']}, {first['measured']}.\n"
    )


def plus_minus(value: dict[str, float | None]) -> str:
    """Return a mean with its deviation, where there is one."""
    return f"{value['mean']:.2f}" + ("" if value["std"] is None else f" ± {value['std']:.2f}")


TABLES: dict[str, Callable[[], str]] = {
    "roadmap": roadmap_table,
    "models": models_table,
    "recipes": recipes_table,
    "dense-recipes": dense_recipes_table,
    "detection-cost": detection_cost_table,
    "detection-measured": detection_measured_table,
    "segmentation-cost": segmentation_cost_table,
    "segmentation-measured": segmentation_measured_table,
    "drop-path": drop_path_table,
    "digits": digits_table,
    "imagenette": imagenette_table,
    "elements": elements_table,
    "augment": augment_table,
    "roadmap-measured": roadmap_measured_table,
    "roadmap-rates": roadmap_rates_table,
    "roadmap-without": roadmap_without_table,
    "printed-otherwise": printed_otherwise_table,
    "against-swin": against_swin_table,
    "bench": bench_table,
    "bench-train": bench_train_table,
    "bench-gpu": bench_gpu_table,
    "isotropic": isotropic_table,
    "families": families_table,
    "whole-recipe": whole_recipe_table,
}


def rendered(text: str, page: Path) -> str:
    """Return a page with each marked table written anew."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in TABLES:
            sys.exit(f"{page.name} asks for a table {name}; known are {', '.join(TABLES)}")
        return match[1] + TABLES[name]() + match[3]

    return MARKED.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a page is out of date")
    check = parser.parse_args().check
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = rendered(old, page)
        if new == old:
            continue
        if check:
            sys.exit(f"{page.relative_to(ROOT)} is out of date: run `make tables`")
        page.write_text(new, encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
