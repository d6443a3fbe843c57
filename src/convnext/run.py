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

import torch

from convnext.classifier import Classifier
from convnext.data.augment import keep_labels_true
from convnext.data.loader import Share
from convnext.data.sources import Source, open_source
from convnext.errors import UserError
from convnext.files import write_json
from convnext.folder import CONFIG, RECIPE, SUMMARY, forget, new_folder, remove_partial
from convnext.machine import commit
from convnext.models import build, create_model, require_fits
from convnext.peer_spec import Spec, spec_from_dict
from convnext.plan import RunConfig, RunPlan
from convnext.plots import plot_curves
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe, diff, with_overrides
from convnext.summary import summarise
from convnext.tasks.classify import ClassifyTask, evaluation_preprocess
from convnext.train.chance import private_randomness
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

    config: RunConfig
    recipe: Recipe
    source: Source
    task: ClassifyTask
    network: Classifier
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
    config = RunConfig.of(plan)
    source = _open(config, plan.recipe, world, reporter)
    with world.together():
        recipe, changed = fitted_recipe(
            plan.recipe, len(source.train), processes=world.size, pretrained=isinstance(plan.model, Classifier)
        )
        if changed is not None:
            reporter.note(changed)
        network = fresh_network(plan.model, recipe, len(source.classes), plan.seed)
        prepared = prepare(config, recipe, source, network, plan.preprocess, world)
    with world.together():
        folder = new_folder(out, config.model) if world.first else Path()
    folder = world.of_first(folder)
    if isinstance(plan.model, Classifier) and plan.model.spec.num_classes != len(source.classes):
        reporter.note(f"head replaced: {plan.model.spec.num_classes} -> {len(source.classes)} classes")
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
    source = _open(config, recipe, world, reporter)
    with world.together():
        _require_same(folder, checkpoint.description["source"], _describe(source))
        spec = spec_from_dict(checkpoint.description["spec"])
        # The checkpoint's weights take the place of the fresh ones.
        with private_randomness(torch.device("cpu")):
            network = build(spec, drop_path=recipe.regularise.drop_path)
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
    _note_label_safety(run, reporter)
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
    summary = summarise(
        folder,
        run.task,
        trainer.engine,
        spec=run.network.spec,
        config=asdict(run.config),
        progress=trainer.progress,
        code=code,
        warn=reporter.warn,
    )
    if world.first:
        write_json(folder / SUMMARY, summary)
    best = summary["best"]
    message = f"best epoch {best['epoch']}: top-1 {best['top1']:.2f}% ({best['weights']} weights), in {folder}"
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
    return {
        "spec": run.network.spec.to_dict(),
        "labels": list(run.source.classes),
        "preprocess": run.preprocess.to_dict(),
        "recipe": run.recipe.to_dict(),
        "run": asdict(run.config),
        "source": _describe(run.source),
        "shares": _shares(run),
    }


def _note_label_safety(run: Prepared, reporter: Reporter) -> None:
    effective = keep_labels_true(run.recipe.augment, run.source.label_safe)
    if effective != run.recipe.augment:
        low, high = effective.crop_scale
        reporter.note(
            f"so that labels stay true, pictures of {run.source.name} are "
            f"{'mirrored' if effective.flip else 'not mirrored'} and crops keep {low:g} to {high:g} of the area"
        )


def _open(config: RunConfig, recipe: Recipe, world: World, reporter: Reporter) -> Source:
    """Open the data: the first process before the others, which then find its indexes made."""
    root = None if config.root is None else Path(config.root)

    def open_it() -> Source:
        fraction = recipe.data.val_fraction
        return open_source(config.data, seed=config.split_seed, val_fraction=fraction, root=root, note=reporter.note)

    return world.in_turn(open_it)


def prepare(
    config: RunConfig, recipe: Recipe, source: Source, network: Classifier, given: Preprocess | None, world: World
) -> Prepared:
    """Put a run together from a recipe with a batch that the data can fill, and write nothing.

    given: the preprocessing of weights that are trained on. UserError for whatever does not fit together.
    """
    device = choose_device(config.device, world.local_rank if world.size > 1 else None)
    place = Place(device=device, precision=choose_precision(recipe.engine.precision, device), world=world)
    preprocess = evaluation_preprocess(recipe, source.label_safe, network.spec.in_channels)
    if given is not None:
        preprocess = replace(preprocess, mean=given.mean, std=given.std)
    batch = recipe.data.batch_size
    task = ClassifyTask(
        source,
        recipe,
        preprocess=preprocess,
        seed=config.seed,
        share=Share(
            rank=world.rank, world_size=world.size, micro_batches=pieces(batch, world.size, recipe.engine.micro_batch)
        ),
        pin=device.type == "cuda",
    )
    with private_randomness(torch.device("cpu")):
        # Only a replaced head draws here; +1 keeps it from repeating the draws of the network's own start.
        torch.manual_seed(config.seed + 1)
        built = task.build(network)
        assert built is network, "classification trains the network itself"
    require_trackers(config.track)
    # A picture too small for the network is a mistake before anything is written, too.
    require_fits(network.spec, recipe.data.size)
    # Asking for the batches now makes a batch larger than the data a mistake before anything is written.
    task.train_batches()
    task.val_batches()
    return Prepared(
        config=config, recipe=recipe, source=source, task=task, network=network, preprocess=preprocess, place=place
    )


def fresh_network(model: str | Spec | Classifier, recipe: Recipe, num_classes: int, seed: int) -> Classifier:
    """Return the network that a run begins with: fresh from the seed, or a copy of the given one."""
    part = recipe.regularise
    if isinstance(model, Classifier):
        # A copy, so that the caller's network is not trained under their hands.
        with private_randomness(torch.device("cpu")):
            network = build(model.spec, drop_path=part.drop_path)
        network.load_state_dict(model.state_dict())
        return network
    with private_randomness(torch.device("cpu")):
        torch.manual_seed(seed)
        return create_model(
            model,
            num_classes=num_classes,
            size=recipe.data.size,
            drop_path=part.drop_path,
            layer_scale=... if part.layer_scale is None else part.layer_scale,
            head_scale=part.head_scale,
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


def _describe(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "classes": list(source.classes),
        "train": len(source.train),
        "val": len(source.val),
        "fingerprint": source.fingerprint(),
    }
