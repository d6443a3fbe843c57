"""Classification as a kind of run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convnext.classifier import Classifier
from convnext.data.augment import keep_labels_true
from convnext.data.loader import Share
from convnext.data.sources import Source, open_source
from convnext.kinds.kind import Note
from convnext.models import build, create_model, require_fits
from convnext.peer_spec import Spec, spec_from_dict
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.summary import summarise
from convnext.tasks.classify import ClassifyTask, evaluation_preprocess
from convnext.train.chance import private_randomness
from convnext.train.checkpoint import Progress
from convnext.train.engine import Engine


class ClassifyKind:
    """Pictures with one label each."""

    target, target_text = "top1", "top-1"

    def open(self, config: RunConfig, recipe: Recipe, note: Note) -> Source:
        """Open class folders, a list, shards, a table or a set known by name."""
        root = None if config.root is None else Path(config.root)
        return open_source(
            config.data, seed=config.split_seed, val_fraction=recipe.data.val_fraction, root=root, note=note
        )

    def network(self, plan: RunPlan, recipe: Recipe, source: Source, note: Note) -> Classifier:
        """Return a classifier of the data's classes, or a given one whose head the task will replace."""
        model = plan.model
        assert isinstance(model, str | Spec | Classifier), "a plan of classification holds a classifier"
        if isinstance(model, Classifier) and model.spec.num_classes != len(source.classes):
            note(f"head replaced: {model.spec.num_classes} -> {len(source.classes)} classes")
        return fresh_network(model, recipe, len(source.classes), plan.seed)

    def rebuild(self, spec: Mapping[str, Any], recipe: Recipe) -> Classifier:
        """Return the classifier of a spec."""
        with private_randomness(torch.device("cpu")):
            return build(spec_from_dict(spec), drop_path=recipe.regularise.drop_path)

    def preprocess(self, recipe: Recipe, source: Source, network: nn.Module, given: Preprocess | None) -> Preprocess:
        """Return the paper's rule for the size of the pictures."""
        assert isinstance(network, Classifier)
        found = evaluation_preprocess(recipe, source.label_safe, network.spec.in_channels)
        return found if given is None else replace(found, mean=given.mean, std=given.std)

    def task(
        self,
        source: Source,
        recipe: Recipe,
        network: nn.Module,
        *,
        preprocess: Preprocess,
        seed: int,
        share: Share,
        pin: bool,
    ) -> ClassifyTask:
        """Return the task, its head put into the network."""
        task = ClassifyTask(source, recipe, preprocess=preprocess, seed=seed, share=share, pin=pin)
        with private_randomness(torch.device("cpu")):
            # Only a replaced head draws here; +1 keeps it from repeating the draws of the network's own start.
            torch.manual_seed(seed + 1)
            built = task.build(network)
        assert built is network and isinstance(network, Classifier), "classification trains the network itself"
        # A picture too small for the network is a mistake before anything is written, too.
        require_fits(network.spec, recipe.data.size)
        return task

    def notes(self, task: ClassifyTask) -> Sequence[str]:
        """Return what of the augmentation is left out so that labels stay true."""
        effective = keep_labels_true(task.recipe.augment, task.source.label_safe)
        if effective == task.recipe.augment:
            return ()
        low, high = effective.crop_scale
        return (
            f"so that labels stay true, pictures of {task.source.name} are "
            f"{'mirrored' if effective.flip else 'not mirrored'} and crops keep {low:g} to {high:g} of the area",
        )

    def summarise(
        self,
        folder: Path,
        task: ClassifyTask,
        engine: Engine[Any, Any],
        *,
        config: Mapping[str, Any],
        progress: Progress,
        code: str | None,
        warn: Note,
    ) -> dict[str, Any]:
        """Score the best weights, and draw curves, confusions and a sheet of pictures."""
        network = engine.model
        assert isinstance(network, Classifier)
        return summarise(
            folder, task, engine, spec=network.spec, config=config, progress=progress, code=code, warn=warn
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


KIND = ClassifyKind()
