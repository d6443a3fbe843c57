"""The smallest real things to train: pictures that colour tells apart, two little networks, a short recipe."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from convnext.data.builtin import ArrayStore
from convnext.data.loader import Batch, Share
from convnext.data.pictures import PictureError
from convnext.data.sources import LabelSafe, Source, Split
from convnext.network import Network
from convnext.recipe import Recipe, with_overrides
from convnext.spec import CONVNEXT_TINY, NetSpec
from convnext.tasks.classify import ClassifyTask, ReadyBatch, evaluation_preprocess
from convnext.train.chance import Chance
from convnext.train.checkpoint import Checkpoint
from convnext.train.distributed import ALONE, World, pieces
from convnext.train.engine import Place
from convnext.train.loop import Settings, Trainer
from convnext.train.progress import RunStart, SilentReporter, StepReport

CLASSES = ("dark", "middle", "light")
LAYER_NET = NetSpec(
    **{**CONVNEXT_TINY.to_dict(), "depths": (1, 1), "width": 8, "stem_stride": 2, "layer_scale": 0.1, "num_classes": 3}
)
BATCH_NET = NetSpec(depths=(1, 1), width=4, expansion=2, stem_stride=2, layer_scale=0.1, num_classes=3)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpoiltStore(ArrayStore):
    """A store some of whose pictures cannot be read."""

    spoilt: frozenset[int] = frozenset()

    def picture(self, entry: int) -> Image.Image:
        if entry in self.spoilt:
            raise PictureError(f"{self.name(entry)}: cannot be read")
        return super().picture(entry)


def tiny_source(train: int = 22, val: int = 9, spoilt: frozenset[int] = frozenset()) -> Source:
    """Noisy grey squares of three brightnesses, 12 pixels wide; 22 are 5 batches of 4 and two left over."""
    generator = np.random.default_rng(0)
    labels = np.arange(train + val) % 3
    noise = generator.integers(-60, 61, (train + val, 12, 12))
    pictures = np.clip(70 + 55 * labels[:, None, None] + noise, 0, 255).astype(np.uint8)
    store = SpoiltStore(title="squares", pictures=pictures, spoilt=spoilt)
    entries = np.arange(train + val)

    def part(chosen: slice) -> Split:
        return Split(store=store, entries=entries[chosen], labels=labels[chosen].astype(np.int64))

    return Source(
        name="squares",
        classes=CLASSES,
        train=part(slice(0, train)),
        val=part(slice(train, None)),
        label_safe=LabelSafe(),
    )


def tiny_recipe(*overrides: str) -> Recipe:
    return with_overrides(
        Recipe(name="tiny"),
        [
            "data.size=8",
            "data.batch_size=4",
            "data.workers=0",
            "schedule.epochs=3",
            "schedule.warmup_epochs=0.4",
            "optim.lr=0.01",
            "regularise.drop_path=0.5",
            "evaluate.crop=1",
            "engine.log_every=1",
            *overrides,
        ],
    )


@dataclass
class Watcher(SilentReporter):
    """Keeps all that it hears; sends a signal, or calls `at_step`, after a step."""

    signal_after: int | None = None
    number: signal.Signals = signal.SIGTERM
    at_step: Any = None
    first_step: int | None = None
    steps: list[StepReport] = field(default_factory=list)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def start(self, run: RunStart) -> None:
        self.first_step = run.first_step

    def step(self, report: StepReport) -> None:
        self.steps.append(report)
        # Draws in between must not change what follows.
        torch.rand(report.step)
        if self.at_step is not None:
            self.at_step(report.step)
        if report.step == self.signal_after:
            os.kill(os.getpid(), self.number)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)


class DoubleTask(ClassifyTask):
    """Classification in float64, in which two orders of the same sums agree to many digits."""

    def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
        ready = super().prepare(batch, device, chance)
        targets = None if ready.targets is None else ready.targets.double()
        return replace(ready, images=ready.images.double(), targets=targets)


def tiny_network(spec: NetSpec, recipe: Recipe) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(spec, drop_path=recipe.regularise.drop_path)


def tiny_task(
    recipe: Recipe,
    source: Source | None = None,
    kind: type[ClassifyTask] = ClassifyTask,
    world: World = ALONE,
) -> ClassifyTask:
    source = source or tiny_source()
    share = Share(
        rank=world.rank,
        world_size=world.size,
        micro_batches=pieces(recipe.data.batch_size, world.size, recipe.engine.micro_batch),
    )
    preprocess = evaluation_preprocess(recipe, source.label_safe)
    return kind(source, recipe, preprocess=preprocess, seed=3, share=share)


def tiny_trainer(
    folder: Path,
    *,
    spec: NetSpec = LAYER_NET,
    recipe: Recipe | None = None,
    task: ClassifyTask | None = None,
    reporter: SilentReporter | None = None,
    checkpoint: Checkpoint | None = None,
    log_every: int = 1,
    device: str = "cpu",
    world: World = ALONE,
    double: bool = False,
) -> Trainer[Any, Any]:
    folder.mkdir(exist_ok=True)
    recipe = with_overrides(recipe or tiny_recipe(), [f"engine.log_every={log_every}"])
    settings = Settings(
        folder=folder,
        title="tiny",
        seed=3,
        place=Place(device=torch.device(device), world=world),
        description={"spec": spec.to_dict(), "recipe": recipe.to_dict()},
    )
    network = tiny_network(spec, recipe)
    if double:
        network = network.double()
    task = task or tiny_task(recipe, kind=DoubleTask if double else ClassifyTask, world=world)
    return Trainer(task, network, recipe, settings, reporter or Watcher(), checkpoint)
