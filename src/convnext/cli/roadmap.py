"""Commands that train the roadmap and say how far a sweep is."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import DATA_HELP, Epochs, Json, Settings, Side
from convnext.cli.plan import sorted_settings
from convnext.cli.regime import Depths, Width, read_depths
from convnext.cli.start import require_start
from convnext.errors import UserError
from convnext.roadmap import REGIMES

if TYPE_CHECKING:
    from convnext.lab.conduct import SweepResult
    from convnext.lab.pace import Pace
    from convnext.lab.rows import Kind
    from convnext.lab.status import Status
    from convnext.lab.sweep import Sweep
    from convnext.train.progress import Reporter

Folder = Annotated[Path, typer.Argument(metavar="SWEEP", help="The folder of a sweep.")]


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    regime: Annotated[str | None, typer.Option(help=f"{', '.join(REGIMES)}. [default: quarter]")] = None,
    width: Width = None,
    depths: Depths = None,
    size: Side = None,
    epochs: Epochs = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each row, seeds 0, 1, ... [default: 1]")] = None,
    steps: Annotated[
        str | None, typer.Option(help="Only these rows, as gelu,layernorm; more may follow later.")
    ] = None,
    leave_one_out: Annotated[bool, typer.Option("--leave-one-out", help="ConvNeXt minus each decision.")] = False,
    order: Annotated[
        str | None, typer.Option(help="Decisions to take first, as gelu,layernorm; the rest follow.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Of rows 2 to 17. [default: roadmap, or roadmap-small]")] = None,
    classic_recipe: Annotated[
        str | None, typer.Option(help="Of row 1. [default: classic-90, or classic-small]")
    ] = None,
    set_: Settings = None,
    set_classic: Annotated[
        list[str] | None, typer.Option(metavar="LEAF=VALUE", help="As --set, for row 1's recipe; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder. [default: runs/roadmap-REGIME]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="SWEEP", help="Go on with a sweep as it was begun.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Do the I-th of N shares of the runs.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, max=525_600, help="Save and stop after so many minutes.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be trained, and at what cost.")] = False,
    json: Json = False,
) -> None:
    """Train every row of Figure 2, ConvNeXt minus each decision, or the decisions in another order, with several seeds.

    The same command goes on where it was stopped; more seeds or steps extend the sweep in the folder.
    """
    told: dict[str, Any] = {"--regime": regime, "--width": width, "--depths": depths, "--size": size}
    told |= {"--epochs": epochs, "--seeds": seeds, "--steps": steps, "--leave-one-out": leave_one_out or None}
    told |= {"--order": order, "--recipe": recipe, "--classic-recipe": classic_recipe}
    told |= {"--set-classic": set_classic, "--out": out}
    require_start("sweep", data, resume, told)
    if leave_one_out and order is not None:
        raise UserError("--leave-one-out and --order are two experiments; begin one of them, in a folder of its own")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("a sweep is divided with --shard I/N, one process a share; start it without torchrun")
    share = _share(shard)
    if resume is not None:
        folder, sweep = resume, _resumed(resume, data, set_ or [])
    else:
        assert data is not None
        sweep = _asked(
            data,
            regime=regime or "quarter",
            width=width,
            depths=depths,
            size=size,
            epochs=epochs,
            seeds=seeds or 1,
            steps=steps,
            kind="leave-one-out" if leave_one_out else "walk" if order is None else "order",
            order=order,
            recipe=recipe,
            classic_recipe=classic_recipe,
            settings=set_ or [],
            classic_settings=set_classic or [],
        )
        folder = out or Path("runs") / "-".join(
            ["roadmap", sweep.regime.name, *([] if sweep.kind == "walk" else [sweep.kind])]
        )
    if sweep.modern.ema.decay is not None:
        note(
            f"EMA is on in {sweep.modern.name}; the paper's roadmap has it off, for it hurts nets with BatchNorm: "
            "--set ema.decay=none"
        )
    if dry_run:
        _show_plan(sweep, folder, share, json)
        return
    from convnext.lab.conduct import run_sweep

    result = run_sweep(sweep, folder, share=share, minutes=minutes, device=device or "auto", reporter=_reporter)
    _show_result(result, json)


def status(folder: Folder, json: Json = False) -> None:
    """Show what of a sweep is done, running, stopped, failed and left, and the time left."""
    from dataclasses import asdict

    from convnext.lab.status import STATES, status_of
    from convnext.lab.sweep import read_sweep
    from convnext.train.progress import clock

    sweep = read_sweep(folder)
    found = status_of(folder, sweep)
    if json:
        facts: dict[str, Any] = {"folder": str(folder), "kind": sweep.kind, "regime": sweep.regime.name}
        facts |= {state: found.count(state) for state in STATES}
        runs = [{**asdict(run), "fraction": run.fraction} for run in found.runs]
        print_json({**facts, "seconds_left": found.seconds_left, "runs": runs})
        return
    _print_states(found, [row.name for row in sweep.rows if sweep.seeds[row.name]])
    print()
    print(", ".join(f"{found.count(state)} {state}" for state in STATES if found.count(state)))
    running = max(1, found.count("running"))
    if found.seconds_left is None:
        print("the time left is not known before the first epoch")
    elif found.seconds_left > 0:
        at_once = f" ({clock(found.seconds_left / running)} with {running} at a time)" if running > 1 else ""
        print(f"about {clock(found.seconds_left)} of computing left{at_once}")
    for run in found.runs:
        if run.failure is not None:
            print(f"failed: {run.row}, seed {run.seed}: {run.failure}")
    if found.count("done") < len(found.runs):
        note(f"go on with: convnext roadmap train --resume {shlex.quote(str(folder))}")


def _resumed(folder: Path, data: str | None, settings: Sequence[str]) -> "Sweep":
    """Return the sweep of a folder, its pictures perhaps elsewhere now, with other settings of how runs are done."""
    from dataclasses import replace

    from convnext.data.sources import lasting
    from convnext.lab.begin import open_pictures
    from convnext.lab.sweep import read_sweep
    from convnext.recipe import with_overrides

    sweep = read_sweep(folder)
    sweep = replace(
        sweep, modern=with_overrides(sweep.modern, settings), classic=with_overrides(sweep.classic, settings)
    )
    if data is None:
        return sweep
    moved = replace(sweep, data=lasting(data), root=None)
    open_pictures(moved, note)
    return moved


def _asked(
    data: str,
    *,
    regime: str,
    width: int | None,
    depths: str | None,
    size: int | None,
    epochs: int | None,
    seeds: int,
    steps: str | None,
    kind: "Kind",
    order: str | None,
    recipe: str | None,
    classic_recipe: str | None,
    settings: Sequence[str],
    classic_settings: Sequence[str],
) -> "Sweep":
    """Return the sweep that the options ask for."""
    from convnext.lab.begin import begin_sweep

    recipe_settings, model_settings = sorted_settings(settings)
    return begin_sweep(
        data,
        regime=regime,
        width=width,
        depths=read_depths(depths),
        model_settings=model_settings,
        kind=kind,
        order=_names("--order", order),
        steps=_names("--steps", steps),
        seeds=range(seeds),
        recipe=recipe,
        classic_recipe=classic_recipe,
        epochs=epochs,
        size=size,
        settings=recipe_settings,
        classic_settings=classic_settings,
        command=shlex.join(["convnext", *sys.argv[1:]]),
        note=note,
    )


def _names(option: str, text: str | None) -> list[str]:
    names = [] if text is None else [name.strip() for name in text.split(",") if name.strip()]
    if text is not None and not names:
        raise UserError(f"{option} names nothing; it takes names with commas, such as gelu,layernorm")
    return names


def _share(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard must be I/N with I from 1 to N, such as 2/8, got {text}")
    return int(number), int(count)


def _reporter(pace: "Pace") -> "Reporter":
    from convnext.train.progress import reporter_for

    return reporter_for(sys.stderr, whole=pace)


def _show_plan(sweep: "Sweep", folder: Path, share: tuple[int, int], json: bool) -> None:
    """Print what a start would train, less what is done, and refuse what it would refuse."""
    from convnext.lab.status import is_done
    from convnext.lab.sweep import is_sweep, read_sweep, run_folder

    if is_sweep(folder):
        read_sweep(folder).extended(sweep)
    runs = [run for run in sweep.share(*share) if not is_done(run_folder(folder, *run))]
    classes = _classes(sweep)
    rows: list[dict[str, Any]] = []
    for row in sweep.rows:
        seeds = [seed for one, seed in runs if one is row]
        recipe = sweep.recipe(row)
        cost = sweep.cost(row, classes)
        if seeds:
            rows.append(
                {
                    "row": row.name,
                    "seeds": seeds,
                    "recipe": recipe.name,
                    "params": cost.params,
                    "gmacs": cost.gmacs,
                    "epochs": recipe.schedule.epochs,
                    "size": recipe.data.size,
                }
            )
    if json:
        print_json(
            {"data": sweep.data, "regime": sweep.regime.name, "kind": sweep.kind, "runs": len(runs), "rows": rows}
        )
        return
    print_table(
        ["row", "seeds", "recipe", "epochs", "size", "params", "MMACs"],
        [
            [
                row["row"],
                ",".join(map(str, row["seeds"])),
                row["recipe"],
                str(row["epochs"]),
                str(row["size"]),
                f"{row['params'] / 1e6:.2f} M",
                f"{1e3 * row['gmacs']:.1f}",
            ]
            for row in rows
        ],
        left=["row", "seeds", "recipe"],
    )
    print(f"\n{len(runs)} runs on {sweep.data}; nothing was trained")


def _classes(sweep: "Sweep") -> int | None:
    """Return how many classes the data of a sweep has, None where it cannot be opened, which is said."""
    from convnext.lab.begin import open_pictures

    try:
        return len(open_pictures(sweep, lambda text: None).classes)
    except UserError as error:
        classes = sweep.rows[0].spec.num_classes
        note(f"{error}; parameters and multiply-adds are those with {classes} classes")
        return None


def _show_result(result: "SweepResult", json: bool) -> None:
    if json:
        failed = [{"row": row, "seed": seed, "error": why} for row, seed, why in result.failed]
        elsewhere = [{"row": row, "seed": seed} for row, seed in result.elsewhere]
        facts = {"finished": result.finished, "stopped": result.stopped, "message": result.message}
        print_json({"folder": str(result.folder), **facts, "failed": failed, "elsewhere": elsewhere})
    for row, seed, why in result.failed:
        note(f"failed: {row}, seed {seed}: {why}")
    note(result.message)
    if result.stopped:
        raise typer.Exit(130)
    if not result.finished:
        raise typer.Exit(1)


def _print_states(found: "Status", rows: Sequence[str]) -> None:
    seeds = sorted({run.seed for run in found.runs})
    cells = {(run.row, run.seed): run for run in found.runs}

    def shown(row: str, seed: int) -> str:
        run = cells.get((row, seed))
        if run is None:
            return ""
        top1 = "" if run.top1 is None else f" {run.top1:.2f}%"
        if run.state in ("done", "waiting"):
            return f"{run.state}{top1}"
        return f"{run.state} {run.epoch}/{run.epochs}{top1}"

    print_table(
        ["row", *(f"seed {seed}" for seed in seeds)],
        [[row, *(shown(row, seed) for seed in seeds)] for row in rows],
        left=["row", *(f"seed {seed}" for seed in seeds)],
    )
