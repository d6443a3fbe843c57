"""A run directory: everything about one training run, made, gone on with and summed up.

recipe.json, run.json (what was asked), log.jsonl, last.safetensors (all that going on needs; last.sharded where the
network is spread over processes) and previous.safetensors (the one before), best.safetensors, curves.png, confusion.png
and .csv, predictions.png, summary.json.
"""

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from convnext.data.loader import Share
from convnext.errors import UserError
from convnext.files import write_json
from convnext.folder import CONFIG, RECIPE, SUMMARY, forget, new_folder, remove_partial
from convnext.kinds.kind import Data, Kind, kind_of
from convnext.machine import commit
from convnext.plan import RunConfig, RunPlan
from convnext.plots import plot_curves
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe, diff, with_overrides
from convnext.train.checkpoint import LAST, PREVIOUS, Checkpoint
from convnext.train.device import choose_device, choose_precision
from convnext.train.distributed import ALONE, World, pieces
from convnext.train.engine import Place
from convnext.train.fitted import fitted_recipe
from convnext.train.lock import run_lock
from convnext.train.loop import Settings, Trainer
from convnext.train.progress import Reporter, SilentReporter
from convnext.train.sharded import LAST_FOLDER, PREVIOUS_FOLDER, read_last
from convnext.train.signals import StopRequest
from convnext.train.task import Task
from convnext.train.track import require_trackers

# What may change where a run goes on: how it is carried out, not what it learns.
FREE_LEAVES = ("data.workers", "engine.")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended: its folder, whether it is finished, its summary if so, and a sentence for the user.

    interrupted: a signal came after the last step; a run in its last moments is finished all the same, one that was
    being summed up is not.
    """

    folder: Path
    finished: bool
    summary: Mapping[str, Any] | None
    message: str
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A run that is ready to start or go on: nothing has been written for it yet."""

    kind: Kind
    config: RunConfig
    recipe: Recipe
    source: Data
    task: Task[Any, Any]
    network: nn.Module
    preprocess: Preprocess
    place: Place


def train_run(
    plan: RunPlan, *, out: Path | None = None, reporter: Reporter | None = None, world: World = ALONE
) -> RunResult:
    """Train a network in a new run directory; every process of `world` calls this.

    out: the run directory, new or empty; None makes runs/<time>-<model>.

    UserError for whatever is wrong with the plan (before anything is written), a loss that is no number any more,
    or a disk that cannot be written.
    """
    reporter = _voice(reporter, world)
    config, kind = RunConfig.of(plan), kind_of(plan.task)
    source = _open(kind, config, plan.recipe, world, reporter)
    with world.together():
        recipe, changed = fitted_recipe(
            plan.recipe, len(source.train), processes=world.size, pretrained=isinstance(plan.model, nn.Module)
        )
        if changed is not None:
            reporter.note(changed)
        network = kind.network(plan, recipe, source, reporter.note)
        prepared = prepare(config, recipe, source, network, plan.preprocess, world)
    with world.together():
        folder = new_folder(out, config.model) if world.first else Path()
    folder = world.of_first(folder)
    with _held(folder, world, reporter):
        try:
            return _carry_out(folder, prepared, None, reporter)
        finally:
            if world.first and not is_run(folder):
                forget(folder)


def resume_run(
    folder: Path,
    *,
    device: str | None = None,
    settings: Sequence[str] = (),
    reporter: Reporter | None = None,
    world: World = ALONE,
) -> RunResult:
    """Go on with a run where its last checkpoint stands; a finished one is only summed up, where that is missing.

    device    None takes the one that was asked for at the start
    settings  of the recipe, LEAF=VALUE, that may differ from the start: data.workers and engine.*

    UserError when there is no run in the folder, its checkpoints are damaged, or its data has changed.
    """
    reporter = _voice(reporter, world)
    with world.together():
        if not folder.is_dir():
            raise UserError(f"there is no run folder {folder}; convnext train without --resume starts a run")
        if not is_run(folder):
            raise UserError(
                f"{folder} holds no {LAST}, so there is nothing to go on with; start the run again with the command "
                "that began it"
            )
    with _held(folder, world, reporter):
        return _go_on(folder, device, settings, reporter, world)


def _go_on(folder: Path, device: str | None, settings: Sequence[str], reporter: Reporter, world: World) -> RunResult:
    checkpoint = read_last(folder, reporter.warn, world)
    assert checkpoint is not None, "the caller has seen one"
    config = RunConfig.from_dict(checkpoint.description["run"])
    config = config if device is None else replace(config, device=device)
    with world.together():
        recipe = _with_free(Recipe.from_dict(checkpoint.description["recipe"]), settings)
    finished = checkpoint.progress.epoch == recipe.schedule.epochs
    if finished and (folder / SUMMARY).exists():
        return _finished_before(folder, recipe, reporter)
    kind = kind_of(config.task)
    source = _open(kind, config, recipe, world, reporter)
    with world.together():
        _require_same(folder, checkpoint.description["source"], _describe(source))
        network = kind.rebuild(checkpoint.description["spec"], recipe)
        preprocess = Preprocess.from_dict(checkpoint.description["preprocess"])
        prepared = prepare(config, recipe, source, network, preprocess, world)
    _note_other_shares(checkpoint, prepared, reporter)
    return _carry_out(folder, prepared, checkpoint, reporter)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run to go on with."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS, LAST_FOLDER, PREVIOUS_FOLDER))


@contextlib.contextmanager
def _held(folder: Path, world: World, reporter: Reporter) -> Iterator[None]:
    """Keep other trainings out of the folder of a run, and clear away what a killed one left half-written."""
    with contextlib.ExitStack() as stack:
        with world.together():
            if world.first:
                stack.enter_context(run_lock(folder, reporter.warn))
                remove_partial(folder)
        yield


def _carry_out(folder: Path, run: Prepared, checkpoint: Checkpoint | None, reporter: Reporter) -> RunResult:
    world = run.place.world
    # Now, for while it trains the checkout may move on.
    code = commit()
    with world.together():
        if world.first:
            write_json(folder / RECIPE, run.recipe.to_dict())
            write_json(folder / CONFIG, asdict(run.config))
    for text in run.kind.notes(run.task):
        reporter.note(text)
    settings = Settings(
        folder=folder,
        title=_opening(run),
        seed=run.config.seed,
        place=run.place,
        description=_description(run),
        track=run.config.track,
    )
    trainer = Trainer(run.task, run.network, run.recipe, settings, reporter, checkpoint)
    go_on = f"convnext train --resume {shlex.quote(str(folder))}"
    # Around the loop's own, so that no signal falls between the two.
    with StopRequest(at_once=True):
        finished = trainer.run()
        progress = trainer.progress
        try:
            if progress.history and world.first:
                plot_curves(folder / "curves.png", progress.history, target=run.task.target)
            if finished:
                return _sum_up(folder, run, trainer, reporter, code)
        except KeyboardInterrupt:
            if finished:
                message = f"stopped while summing up, with all steps done and saved; sum it up with: {go_on}"
                return RunResult(folder=folder, finished=False, summary=None, message=message, interrupted=True)
    message = (
        f"stopped in epoch {progress.epoch + 1} after step {progress.step} of {trainer.steps}, and saved; "
        f"go on with: {go_on}"
    )
    return RunResult(folder=folder, finished=False, summary=None, message=message)


def _sum_up(folder: Path, run: Prepared, trainer: Trainer[Any, Any], reporter: Reporter, code: str | None) -> RunResult:
    """Score the best weights of a finished training, write what is to be seen of it and say how it ended."""
    world = run.place.world
    summary = run.kind.summarise(
        folder,
        run.task,
        trainer.engine,
        config=asdict(run.config),
        progress=trainer.progress,
        code=code,
        warn=reporter.warn,
    )
    if world.first:
        write_json(folder / SUMMARY, summary)
    best = summary["best"]
    reached = f"{run.kind.target_text} {best[run.task.target]:.2f}%"
    message = f"best epoch {best['epoch']}: {reached} ({best['weights']} weights), in {folder}"
    reporter.note(message)
    (interrupted,) = world.agree(trainer.interrupted)
    return RunResult(folder=folder, finished=True, summary=summary, message=message, interrupted=interrupted)


def _finished_before(folder: Path, recipe: Recipe, reporter: Reporter) -> RunResult:
    message = f"{folder} is finished: {recipe.schedule.epochs} of {recipe.schedule.epochs} epochs are done"
    reporter.note(message)
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return RunResult(folder=folder, finished=True, summary=summary, message=message)


def _require_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [key for key in now if key != "name" and before.get(key) != now[key]]
    if differing:
        changed = ", ".join(f"{key} {before.get(key)!r} -> {now[key]!r}" for key in differing)
        raise UserError(
            f"the data of {folder} has changed since it began ({changed[:300]}); put it back, or start a new run"
        )


def _with_free(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with settings that may change in mid-run; UserError for another one."""
    changed = with_overrides(recipe, settings)
    bound = [leaf for leaf in diff(recipe, changed) if not leaf.startswith(FREE_LEAVES)]
    if bound:
        raise UserError(
            f"{bound[0]} cannot change where a run goes on, only data.workers and engine settings can; "
            "start a new run for another recipe"
        )
    return changed


def _note_other_shares(checkpoint: Checkpoint, run: Prepared, reporter: Reporter) -> None:
    """Say so where another number of processes or micro-batches draws other random numbers than before."""
    before, now = checkpoint.description.get("shares"), _shares(run)
    if before is not None and before != now:
        reporter.note(
            f"{now['processes']} processes x {now['micro_batches']} micro-batches, before {before['processes']} x "
            f"{before['micro_batches']}: pictures and batches stay the same, mixing and stochastic depth draw anew"
        )


def _shares(run: Prepared) -> dict[str, int]:
    return {"processes": run.place.world.size, "micro_batches": run.task.train_batches().micro_batches}


def _description(run: Prepared) -> dict[str, Any]:
    spec: Any = run.network.spec
    return {
        "spec": spec.to_dict(),
        "labels": list(run.source.classes),
        "preprocess": run.preprocess.to_dict(),
        "recipe": run.recipe.to_dict(),
        "run": asdict(run.config),
        "source": _describe(run.source),
        "shares": _shares(run),
    }


def _open(kind: Kind, config: RunConfig, recipe: Recipe, world: World, reporter: Reporter) -> Data:
    """Open the data: the first process before the others, which then find its indexes made."""
    return world.in_turn(lambda: kind.open(config, recipe, reporter.note))


def prepare(
    config: RunConfig, recipe: Recipe, source: Data, network: nn.Module, given: Preprocess | None, world: World
) -> Prepared:
    """Put a run together from a recipe with a batch that the data can fill, and write nothing.

    given: the preprocessing of weights that are trained on. UserError for whatever does not fit together.
    """
    kind = kind_of(config.task)
    device = choose_device(config.device, world.local_rank if world.size > 1 else None)
    place = Place(device=device, precision=choose_precision(recipe.engine.precision, device), world=world)
    preprocess = kind.preprocess(recipe, source, network, given)
    micro_batches = pieces(recipe.data.batch_size, world.size, recipe.engine.micro_batch)
    task = kind.task(
        source,
        recipe,
        network,
        preprocess=preprocess,
        seed=config.seed,
        share=Share(rank=world.rank, world_size=world.size, micro_batches=micro_batches),
        pin=device.type == "cuda",
    )
    require_trackers(config.track)
    # Asking for the batches now makes a batch larger than the data a mistake before anything is written.
    task.train_batches()
    task.val_batches()
    return Prepared(
        kind=kind,
        config=config,
        recipe=recipe,
        source=source,
        task=task,
        network=network,
        preprocess=preprocess,
        place=place,
    )


def _opening(run: Prepared) -> str:
    params = sum(parameter.numel() for parameter in run.network.parameters())
    world = run.place.world
    several = f", {world.size} processes" if world.size > 1 else ""
    return (
        f"{run.config.model} ({params / 1e6:.1f}M parameters) on {run.source.name}: {len(run.source.classes)} classes, "
        f"{len(run.source.train)} pictures to train on, {len(run.source.val)} held out, "
        f"{run.place.device.type}{several}"
    )


def _voice(reporter: Reporter | None, world: World) -> Reporter:
    """Return the reporter of the first process, and silence for the others."""
    return reporter if reporter is not None and world.first else SilentReporter()


def _describe(source: Data) -> dict[str, Any]:
    return {
        "name": source.name,
        "classes": list(source.classes),
        "train": len(source.train),
        "val": len(source.val),
        "fingerprint": source.fingerprint(),
    }
