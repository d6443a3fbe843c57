"""The command that trains."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import (
    DATA_HELP,
    Epochs,
    Head,
    Json,
    Model,
    RecipeText,
    Settings,
    Side,
    Start,
    TaskText,
    reporter,
)
from convnext.cli.plan import make_plan
from convnext.cli.start import require_start
from convnext.duration import pace
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.plan import RunPlan
    from convnext.run import RunResult
    from convnext.seeds import SeedsResult
    from convnext.train.distributed import World


# What the best epoch of each task is chosen by.
TARGETS = {"top1": "top-1 %", "box_ap": "box AP %", "miou": "mIoU %"}


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    task: TaskText = None,
    model: Model = None,
    head: Head = None,
    recipe: RecipeText = None,
    weights: Start = None,
    epochs: Epochs = None,
    size: Side = None,
    set_: Settings = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and augmentation. [default: 0]")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train with that many seeds; print mean and spread.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory. [default: runs/TIME-MODEL]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a stopped run.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="tensorboard or wandb; may be repeated. log.jsonl is always written.")
    ] = None,
    json: Json = False,
) -> None:
    """Train a network on pictures, from scratch or from given weights, or go on with a run."""
    from convnext.train.distributed import join

    settings = set_ or []
    told: dict[str, Any] = {"DATA": data, "--model": model, "--recipe": recipe, "--weights": weights}
    told |= {"--task": task, "--head": head}
    told |= {"--epochs": epochs, "--size": size, "--seed": seed, "--seeds": seeds, "--out": out, "--track": track}
    require_start("run", data, resume, told)
    begun = resume or _begun(out, os.environ)
    with join(os.environ) as world:
        if begun is not None:
            # A restarted command names the settings of the start again; the checkpoint knows them.
            result = _go_on(begun, device, settings if resume else [], world)
        else:
            assert data is not None
            plan = world.in_turn(
                lambda: make_plan(
                    data,
                    model=model,
                    recipe=recipe,
                    weights=weights,
                    epochs=epochs,
                    size=size,
                    settings=settings,
                    seed=seed or 0,
                    device=device or "auto",
                    track=track or [],
                    task=None if task is None else task.value,
                    head=head,
                    quiet=not world.first,
                ),
            )
            result = _start(plan, seeds, out, world)
        if world.first:
            _show_result(result, json)
        if _left_alone(result):
            # The others may still be waiting for this process, and to leave them in order would be to wait for them.
            raise typer.Exit(130)
    if not result.finished:
        raise typer.Exit(130)


def _begun(out: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the run to go on with when torchrun starts the processes again after one of them failed."""
    if int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0 and out is None:
        from convnext.train.distributed import OtherProcessError

        text = "--max-restarts needs --out RUN, so that the restarted processes find the run to go on with"
        raise UserError(text) if environment.get("RANK", "0") == "0" else OtherProcessError(text)
    if out is None or int(environment.get("TORCHELASTIC_RESTART_COUNT", 0)) == 0:
        return None
    from convnext.folder import forget, remove_partial
    from convnext.run import is_run
    from convnext.seeds import SEEDS

    if is_run(out) or (out / SEEDS).exists():
        return out
    # It ended before its first checkpoint and could not clear up after itself.
    remove_partial(out)
    forget(out)
    return None


def _go_on(folder: Path, device: str | None, settings: list[str], world: "World") -> "RunResult | SeedsResult":
    from convnext.seeds import resume

    return resume(folder, device=device, settings=settings, reporter=reporter(), world=world)


def _start(plan: "RunPlan", seeds: int | None, out: Path | None, world: "World") -> "RunResult | SeedsResult":
    from convnext.run import train_run
    from convnext.seeds import train_seeds

    if seeds is None:
        return train_run(plan, out=out, reporter=reporter(), world=world)
    return train_seeds(plan, range(plan.seed, plan.seed + seeds), out=out, reporter=reporter(), world=world)


def _show_result(result: "RunResult | SeedsResult", json: bool) -> None:
    """Print a run's summary, or that of several seeds, or how to go on with what was stopped."""
    from convnext.run import RunResult
    from convnext.seeds import spread_text

    if not result.finished:
        note(result.message)
        return
    assert result.summary is not None
    if json:
        print_json({"folder": str(result.folder), **result.summary})
        return
    runs = (result,) if isinstance(result, RunResult) else result.runs
    target = next(name for name in TARGETS if name in (runs[0].summary or {})["best"])
    print_table(
        ["seed", f"best {TARGETS[target]}", "of epoch", "weights", f"last {TARGETS[target]}", "images/s", "run"],
        [_row(run, target) for run in runs],
        left=["run"],
    )
    if not isinstance(result, RunResult):
        spreads = (result.summary[name] for name in ("best", "last"))
        best, last = (spread_text(spread) for spread in spreads)
        name = TARGETS[target].removesuffix(" %")
        print(f"\n{name} of {len(runs)} seeds, mean ± sample std: best epoch {best}, last epoch {last}")


def _left_alone(result: "RunResult | SeedsResult") -> bool:
    """Whether a signal ended this process while a run was being summed up, where processes do not agree on a stop."""
    from convnext.run import RunResult

    last = result if isinstance(result, RunResult) else result.runs[-1]
    return last.interrupted and not last.finished


def _row(run: "RunResult", target: str) -> list[str]:
    assert run.summary is not None
    best, last = run.summary["best"], run.summary["last"]
    return [
        str(run.summary["seed"]),
        f"{best[target]:.2f}",
        str(best["epoch"]),
        best["weights"],
        f"{last[best['weights']][target]:.2f}",
        pace(run.summary["images_per_second"]),
        str(run.folder),
    ]
