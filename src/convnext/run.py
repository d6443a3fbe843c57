"""A run directory: everything about one training run, made, gone on with and summed up.

recipe.json, run.json (what was asked), log.jsonl, last.safetensors (all that going on needs), best.safetensors,
curves.png, confusion.png and .csv, predictions.png, summary.json.
"""

import contextlib
import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from convnext.cost import total_cost
from convnext.data.augment import keep_labels_true
from convnext.data.sources import Source, lasting, open_source
from convnext.errors import UserError
from convnext.files import cannot_write, write_json
from convnext.models import create_model, model_name
from convnext.network import Network
from convnext.plots import plot_curves
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.spec import NetSpec
from convnext.summary import summarise
from convnext.tasks.classify import ClassifyTask, evaluation_preprocess
from convnext.train.chance import private_randomness
from convnext.train.checkpoint import Checkpoint, read_checkpoint
from convnext.train.device import Precision, choose_device, choose_precision
from convnext.train.loop import LAST, LOG, Settings, Trainer
from convnext.train.progress import Reporter, SilentReporter

SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What was asked for, beside the recipe; the checkpoints carry it, so that a run can go on by itself.

    data, root, split_seed   the data set as `open_source` takes it, where torchvision's lie, and how it is split
    model                    the network's name in reports
    seed                     decides weights, order, augmentation and stochastic depth; not the split
    device, precision        as asked for; "auto" is decided anew where a run goes on
    log_every                steps between lines of the log
    """

    data: str
    root: str | None
    split_seed: int
    model: str
    seed: int
    device: str
    precision: Precision
    log_every: int

    def __post_init__(self) -> None:
        for name, least in (("split_seed", 0), ("seed", 0), ("log_every", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UserError(f"{name} must be a whole number of at least {least}, got {value!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Rebuild what `dataclasses.asdict` returned."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended: its folder, whether it is finished, its summary if so, and a sentence for the user.

    interrupted: a signal asked to stop; a run that was in its last moments is finished all the same.
    """

    folder: Path
    finished: bool
    summary: Mapping[str, Any] | None
    message: str
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    """A run that is ready to start or go on: nothing has been written for it yet."""

    config: RunConfig
    recipe: Recipe
    source: Source
    task: ClassifyTask
    network: Network
    preprocess: Preprocess


def train_run(
    data: str,
    model: str | NetSpec | Network,
    recipe: Recipe,
    *,
    out: Path | None = None,
    seed: int = 0,
    split_seed: int = 0,
    root: Path | None = None,
    preprocess: Preprocess | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    log_every: int = 10,
    reporter: Reporter | None = None,
) -> RunResult:
    """Train a network in a new run directory.

    model        a name, a spec, or a network whose weights are trained on (the recipe's stochastic depth is put in)
    out          the run directory, new or empty; None makes runs/<time>-<model>
    seed         decides weights, order, augmentation and stochastic depth
    split_seed   decides the held-out part where the data has none of its own
    preprocess   of the weights that are trained on: their mean and std are kept

    UserError for whatever is wrong with the arguments (before anything is written), a loss that is no number any more,
    or a disk that cannot be written.
    """
    config = RunConfig(
        data=lasting(data),
        root=None if root is None else str(root.resolve()),
        split_seed=split_seed,
        model=title_of(model),
        seed=seed,
        device=device,
        precision=precision,
        log_every=log_every,
    )
    reporter = reporter or SilentReporter()
    source = _open(config, recipe)
    recipe = _fitted(recipe, len(source.train), reporter)
    prepared = _prepare(config, recipe, source, _network(model, recipe, len(source.classes), seed), preprocess)
    folder = new_folder(out, config.model)
    if isinstance(model, Network) and model.spec.num_classes != len(source.classes):
        reporter.note(f"head replaced: {model.spec.num_classes} -> {len(source.classes)} classes")
    try:
        return _carry_out(folder, prepared, None, reporter)
    finally:
        if not (folder / LAST).exists():
            _forget(folder)


def resume_run(folder: Path, *, device: str | None = None, reporter: Reporter | None = None) -> RunResult:
    """Go on with a run where its last.safetensors stands; a finished one is only summed up, where that is missing.

    device: None takes the one that was asked for at the start. UserError when there is no run in the folder, its
    checkpoint is damaged, or its data has changed.
    """
    reporter = reporter or SilentReporter()
    checkpoint = _last_checkpoint(folder)
    config = RunConfig.from_dict(checkpoint.description["run"])
    config = config if device is None else replace(config, device=device)
    recipe = Recipe.from_dict(checkpoint.description["recipe"])
    finished = checkpoint.progress.epoch == recipe.schedule.epochs
    if finished and (folder / SUMMARY).exists():
        message = f"{folder} is finished: {recipe.schedule.epochs} of {recipe.schedule.epochs} epochs are done"
        reporter.note(message)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return RunResult(folder=folder, finished=True, summary=summary, message=message)
    source = _open(config, recipe)
    before, now = checkpoint.description["source"], _describe(source)
    differing = [key for key in now if key != "name" and before.get(key) != now[key]]
    if differing:
        changed = ", ".join(f"{key} {before.get(key)!r} -> {now[key]!r}" for key in differing)
        raise UserError(
            f"the data of {folder} has changed since it began ({changed[:300]}); put it back, or start a new run"
        )
    spec = NetSpec.from_dict(checkpoint.description["spec"])
    # The checkpoint's weights take the place of the fresh ones.
    with private_randomness(torch.device("cpu")):
        network = Network(spec, drop_path=recipe.regularise.drop_path)
    preprocess = Preprocess.from_dict(checkpoint.description["preprocess"])
    return _carry_out(folder, _prepare(config, recipe, source, network, preprocess), checkpoint, reporter)


def new_folder(out: Path | None, name: str) -> Path:
    """Make the folder of a new run and return it; UserError when it is taken or cannot be made."""
    if out is None:
        return _own_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace(':', '-').replace('/', '-')}")
    folder = out
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{folder} exists and is not empty; take another folder, "
                f"or go on with the run in it: convnext train --resume {shlex.quote(str(folder))}"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder / LAST, error) from error
    return folder


def remove_partial(folder: Path) -> None:
    """Remove the half-written files that a killed run could not remove itself."""
    for leftover in folder.glob(".*.partial"):
        leftover.unlink(missing_ok=True)


def _own_folder(base: str) -> Path:
    """Make a folder in runs/ that nobody else has, not even a run that starts in this second."""
    number = 1
    while True:
        folder = Path("runs") / (base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise cannot_write(folder / LAST, error) from error
        else:
            return folder


def _forget(folder: Path) -> None:
    """Take away a run that never came to its first checkpoint: nobody could go on with it."""
    for name in ("recipe.json", "run.json", LOG):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _carry_out(folder: Path, run: _Prepared, checkpoint: Checkpoint | None, reporter: Reporter) -> RunResult:
    device = choose_device(run.config.device)
    remove_partial(folder)
    write_json(folder / "recipe.json", run.recipe.to_dict())
    write_json(folder / "run.json", asdict(run.config))
    settings = Settings(
        folder=folder,
        title=_opening(run, device),
        seed=run.config.seed,
        device=device,
        precision=choose_precision(run.config.precision, device),
        log_every=run.config.log_every,
        description={
            "spec": run.network.spec.to_dict(),
            "labels": list(run.source.classes),
            "preprocess": run.preprocess.to_dict(),
            "recipe": run.recipe.to_dict(),
            "run": asdict(run.config),
            "source": _describe(run.source),
        },
    )
    effective = keep_labels_true(run.recipe.augment, run.source.label_safe)
    if effective != run.recipe.augment:
        low, high = effective.crop_scale
        reporter.note(
            f"so that labels stay true, pictures of {run.source.name} are "
            f"{'mirrored' if effective.flip else 'not mirrored'} and crops keep {low:g} to {high:g} of the area"
        )
    trainer = Trainer(run.task, run.network, run.recipe, settings, reporter, checkpoint)
    finished = trainer.run()
    progress = trainer.progress
    if progress.history:
        plot_curves(folder / "curves.png", progress.history, target=run.task.target)
    if not finished:
        message = (
            f"stopped in epoch {progress.epoch + 1} after step {progress.step} of {trainer.steps}, and saved; "
            f"go on with: convnext train --resume {shlex.quote(str(folder))}"
        )
        return RunResult(folder=folder, finished=False, summary=None, message=message)
    summary = summarise(folder, run.task, run.network, settings=settings, config=asdict(run.config), progress=progress)
    write_json(folder / SUMMARY, summary)
    best = summary["best"]
    message = f"best epoch {best['epoch']}: top-1 {best['top1']:.2f}% ({best['weights']} weights), in {folder}"
    reporter.note(message)
    return RunResult(folder=folder, finished=True, summary=summary, message=message, interrupted=trainer.interrupted)


def _open(config: RunConfig, recipe: Recipe) -> Source:
    root = None if config.root is None else Path(config.root)
    return open_source(config.data, seed=config.split_seed, val_fraction=recipe.data.val_fraction, root=root)


def _prepare(
    config: RunConfig, recipe: Recipe, source: Source, network: Network, given: Preprocess | None
) -> _Prepared:
    preprocess = evaluation_preprocess(recipe, source.label_safe, network.spec.in_channels)
    if given is not None:
        preprocess = replace(preprocess, mean=given.mean, std=given.std)
    task = ClassifyTask(source, recipe, preprocess=preprocess, seed=config.seed)
    with private_randomness(torch.device("cpu")):
        # Only a replaced head draws here; +1 keeps it from repeating the draws of the network's own start.
        torch.manual_seed(config.seed + 1)
        built = task.build(network)
        assert built is network, "classification trains the network itself"
    # A picture too small for the network is a mistake before anything is written, too.
    total_cost(network.spec, recipe.data.size)
    # Asking for the batches now makes a batch larger than the data a mistake before anything is written.
    task.train_batches()
    choose_precision(config.precision, choose_device(config.device))
    return _Prepared(config=config, recipe=recipe, source=source, task=task, network=network, preprocess=preprocess)


def _network(model: str | NetSpec | Network, recipe: Recipe, num_classes: int, seed: int) -> Network:
    part = recipe.regularise
    if isinstance(model, Network):
        # A copy, so that the caller's network is not trained under their hands.
        with private_randomness(torch.device("cpu")):
            network = Network(model.spec, drop_path=part.drop_path)
        network.load_state_dict(model.state_dict())
        return network
    with private_randomness(torch.device("cpu")):
        torch.manual_seed(seed)
        return create_model(
            model,
            num_classes=num_classes,
            drop_path=part.drop_path,
            layer_scale=... if part.layer_scale is None else part.layer_scale,
            head_scale=part.head_scale,
        )


def title_of(model: str | NetSpec | Network) -> str:
    """Return what reports call a model: its name, that of its spec, or "network"."""
    if isinstance(model, str):
        return model
    return model_name(model.spec if isinstance(model, Network) else model) or "network"


def _opening(run: _Prepared, device: torch.device) -> str:
    params = sum(parameter.numel() for parameter in run.network.parameters())
    return (
        f"{run.config.model} ({params / 1e6:.1f}M parameters) on {run.source.name}: {len(run.source.classes)} classes, "
        f"{len(run.source.train)} pictures to train on, {len(run.source.val)} held out, {device.type}"
    )


def _fitted(recipe: Recipe, num_pictures: int, reporter: Reporter) -> Recipe:
    """Return the recipe with a batch that the data can fill: a quarter of few pictures, at least two."""
    if recipe.data.batch_size <= num_pictures:
        return recipe
    batch_size = max(2, num_pictures // 4)
    reporter.note(
        f"data.batch_size is {batch_size}, not {recipe.data.batch_size}: there are {num_pictures} pictures to train on"
    )
    return replace(recipe, data=replace(recipe.data, batch_size=batch_size))


def _describe(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "classes": list(source.classes),
        "train": len(source.train),
        "val": len(source.val),
        "fingerprint": source.fingerprint(),
    }


def _last_checkpoint(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise UserError(f"there is no run folder {folder}; convnext train without --resume starts a run")
    if not (folder / LAST).exists():
        raise UserError(f"{folder} holds no {LAST}, so there is nothing to go on with; start a new run")
    return read_checkpoint(folder / LAST)
