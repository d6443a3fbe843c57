"""Sweeps of made-up results: the folder as training would leave it, with accuracies that a test chooses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convnext.cost import total_cost
from convnext.lab.analysis import Analysis, analyse
from convnext.lab.results import read_results
from convnext.lab.rows import Kind, Row, rows_of
from convnext.lab.sweep import Made, Sweep, run_folder, write_sweep
from convnext.recipe import Recipe, with_overrides
from convnext.recipes import recipe_for
from convnext.roadmap import REGIMES, Regime

MACHINE = {"system": "Linux", "processor": "Abacus 3", "cpus": 2, "threads": 2, "accelerator": None}
VERSIONS = {"convnext": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "torchvision": "0.26.0"}
EPOCHS, SIZE = 3, 64
MADE = Made(date="2026-11-22", version="0.1.0", commit="abc1234", command="convnext roadmap train digits")


def made_sweep_of(
    top1s: Mapping[str, Sequence[float | None]],
    *,
    kind: Kind = "walk",
    order: Sequence[str] = (),
    regime: Regime = REGIMES["quarter"],
    data: str = "digits",
    size: int = SIZE,
) -> Sweep:
    """Return a sweep whose rows have as many seeds, from 0, as `top1s` has values for them."""
    rows = rows_of(kind, regime, order)
    return Sweep(
        kind=kind,
        regime=regime,
        rows=rows,
        seeds={row.name: tuple(range(len(top1s.get(row.name, ())))) for row in rows},
        modern=_short("roadmap", size),
        classic=_short("classic-90", size),
        data=data,
        made=MADE,
    )


def _short(name: str, size: int) -> Recipe:
    settings = [f"data.size={size}", f"schedule.epochs={EPOCHS}", "schedule.warmup_epochs=1", "data.batch_size=50"]
    return with_overrides(recipe_for(name, "quarter:modern_recipe"), settings)


def write_made_up(folder: Path, top1s: Mapping[str, Sequence[float | None]], **asked: Any) -> Sweep:
    """Put a sweep into a folder with a finished run for each accuracy; None is a run that was not begun.

    top1s  of the last epoch by row, one for each seed from 0
    asked  as for `made_sweep_of`
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep = write_sweep(folder, made_sweep_of(top1s, **asked))
    for row in sweep.rows:
        for seed, top1 in enumerate(top1s.get(row.name, ())):
            if top1 is not None:
                write_run(folder, sweep, row, seed, top1)
    return sweep


def analysed(folder: Path, top1s: Mapping[str, Sequence[float | None]], **asked: Any) -> Analysis:
    """Return what a sweep of made-up results says; the arguments are those of `write_made_up`."""
    write_made_up(folder, top1s, **asked)
    return analyse(read_results(folder))


def write_run(folder: Path, sweep: Sweep, row: Row, seed: int, top1: float, **other: Any) -> Path:
    """Write the run directory of a finished run, without checkpoints; `other` replaces values of its summary."""
    place = run_folder(folder, row, seed)
    place.mkdir(parents=True, exist_ok=True)
    curve = [(epoch, top1 - 2.5 * (EPOCHS - epoch)) for epoch in range(1, EPOCHS + 1)]
    log = [line for epoch, value in curve for line in (_step(epoch), _epoch(epoch, value))]
    (place / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    summary = {**_summary(sweep, row, seed, top1), **other}
    (place / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return place


def _summary(sweep: Sweep, row: Row, seed: int, top1: float) -> dict[str, Any]:
    classes = 10
    cost = total_cost(replace(row.spec, num_classes=classes), sweep.modern.data.size)
    return {
        "model": sweep.plan(row, seed).title,
        "data": sweep.data,
        "seed": seed,
        "split_seed": 0,
        "recipe": sweep.recipe(row).name,
        "size": sweep.modern.data.size,
        "params": cost.params,
        "gmacs": cost.gmacs,
        "classes": classes,
        "train_images": 3000,
        "val_images": 1000,
        "epochs": EPOCHS,
        "steps": 180,
        # Better than the last on purpose: the best epoch is not what a report may take.
        "best": {"epoch": 2, "weights": "raw", "top1": top1 + 7, "top5": 99.0, "loss": 1.0, "images": 1000},
        "last": {"epoch": EPOCHS, "raw": _scored(top1), "ema": None},
        "labels": [str(number) for number in range(classes)],
        "confusion": None,
        "unreadable": [],
        "augment": {},
        "images_seen": 9000,
        "seconds": 90.0,
        "images_per_second": 100.0,
        "device": "cpu",
        "precision": "float32",
        "processes": 1,
        "machine": MACHINE,
        "versions": VERSIONS,
    }


def _scored(top1: float) -> dict[str, Any]:
    return {"top1": top1, "top5": 95.0, "loss": 1.5, "images": 1000}


def _step(epoch: int) -> dict[str, Any]:
    return {"kind": "step", "step": 60 * epoch - 30, "epoch": epoch, "loss": 2.0, "lr": 1e-3, "images_per_second": 99.0}


def _epoch(epoch: int, top1: float) -> dict[str, Any]:
    return {
        "kind": "epoch",
        "epoch": epoch,
        "step": 60 * epoch,
        "train_loss": 1.4,
        "images_per_second": 100.0,
        "seconds": 30.0 * epoch,
        "raw": _scored(top1),
        "ema": None,
        "best": epoch == 2,
    }
