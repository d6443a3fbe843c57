"""Classification: one label a picture, cross-entropy with label smoothing, top-1 and top-5."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convnext.classifier import Classifier
from convnext.data.augment import keep_labels_true
from convnext.data.erasing import erase
from convnext.data.loader import WHOLE, Batch, EvalLoader, Share, TrainLoader
from convnext.data.mixing import mix
from convnext.data.sources import LabelSafe, Source, Split
from convnext.errors import UserError
from convnext.metrics.classification import ClassificationMetric, Scores
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.tasks.normalise import normalise
from convnext.train.chance import Chance
from convnext.weights.sidecar import default_preprocess


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyBatch:
    """A batch on the device.

    images: normalised (N, C, size, size), channels last in memory; labels: int64 (N,).
    targets: float (N, classes), smoothed, where pictures were mixed; else None.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Guess:
    """One picture as the network saw it, uint8 (height, width, channels), its label and the most probable one.

    probability is that of `predicted`, 0 to 1; truth is None where nobody knows.
    """

    pixels: NDArray[np.uint8]
    predicted: str
    probability: float
    truth: str | None = None


class ClassifyMetric:
    """Top-1, top-5 and plain cross-entropy over logits."""

    def __init__(self, num_classes: int) -> None:
        self._metric = ClassificationMetric(num_classes)

    def update(self, outputs: Tensor, batch: ReadyBatch) -> None:
        """Add the logits of a batch."""
        self._metric.update(outputs, batch.labels)

    def merge(self, other: "ClassifyMetric") -> None:
        """Add what another one has seen."""
        self._metric.merge(other._metric)

    def compute(self) -> dict[str, float | int | None]:
        """Return top1 and top5 in percent (top5 None with five classes or fewer), loss and images."""
        scores = self.scores()
        return {"top1": scores.top1, "top5": scores.top5, "loss": scores.loss, "images": scores.images}

    def scores(self) -> Scores:
        """Return everything, the confusion matrix included."""
        return self._metric.compute()


class ClassifyTask:
    """Trains a network to tell the classes of a source apart.

    preprocess  how held-out pictures are shown, and mean and std for all; it travels with the weights
    seed        decides the order of the pictures and how each is varied
    share       which part of each batch this process gets
    pin         keep batches where a GPU can copy them while the processor goes on
    """

    target = "top1"
    one_size: ClassVar[bool] = True

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        *,
        preprocess: Preprocess,
        seed: int,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        self.source = source
        self.recipe = recipe
        self.preprocess = preprocess
        self.seed = seed
        self.num_classes = len(source.classes)
        self._channels = len(preprocess.mean)
        self._share, self._pin = share, pin
        self._augment = keep_labels_true(recipe.augment, source.label_safe)

    @property
    def chance_level(self) -> float:
        """The share of the most frequent held-out class, percent."""
        labels = self.source.val.labels
        return 100 * float(np.bincount(labels).max()) / len(labels)

    def build(self, backbone: nn.Module) -> nn.Module:
        """Return the network with a head for the source's classes: its own where the count agrees, else a fresh one."""
        if not isinstance(backbone, Classifier):
            raise UserError(f"classification trains a network that create_model builds, got {type(backbone).__name__}")
        if backbone.spec.in_channels != self._channels:
            raise UserError(
                f"the network takes {backbone.spec.in_channels} channels and the preprocessing gives "
                f"{self._channels}; create the model with in_channels={self._channels}"
            )
        if backbone.spec.num_classes != self.num_classes:
            backbone.reset_head(self.num_classes, head_scale=self.recipe.regularise.head_scale)
        return backbone

    def train_batches(self) -> TrainLoader:
        """Return the shuffled and varied batches of the training split."""
        return self._train_loader

    def val_batches(self) -> EvalLoader:
        """Return the held-out pictures, each exactly once."""
        return self._val_loader

    @cached_property
    def _train_loader(self) -> TrainLoader:
        data = self.recipe.data
        return TrainLoader(
            self.source.train,
            size=data.size,
            augment=self.recipe.augment,
            label_safe=self.source.label_safe,
            batch_size=data.batch_size,
            seed=self.seed,
            workers=data.workers,
            channels=self._channels,
            reduced_decode=data.reduced_decode,
            share=self._share,
            pin=self._pin,
        )

    @cached_property
    def _val_loader(self) -> EvalLoader:
        data = self.recipe.data
        return EvalLoader(
            self.source.val,
            preprocess=self.preprocess,
            batch_size=min(data.batch_size, self.recipe.engine.micro_batch),
            workers=data.workers,
            channels=self._channels,
            share=self._share,
            pin=self._pin,
        )

    def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
        """Bring a batch to the device and normalise it there; in training also erase and mix, in this order."""
        images = normalise(batch.images.to(device, non_blocking=True), self.preprocess)
        labels = batch.labels.to(device, non_blocking=True)
        if chance is None:
            return ReadyBatch(images=images, labels=labels)
        if self._augment.erasing:
            images = erase(images, self._augment.erasing, chance.numbers, chance.tensors)
        if not self.recipe.mix.on:
            return ReadyBatch(images=images, labels=labels)
        images, targets = mix(images, labels, self.num_classes, self.recipe.mix, chance.numbers)
        return ReadyBatch(images=images, labels=labels, targets=targets)

    def loss(self, model: nn.Module, batch: ReadyBatch) -> Mapping[str, Tensor]:
        """Return the cross-entropy against mixed targets, or labels smoothed by `mix.label_smoothing`, as "total"."""
        logits = model(batch.images)
        if batch.targets is not None:
            return {"total": F.cross_entropy(logits, batch.targets)}
        return {"total": F.cross_entropy(logits, batch.labels, label_smoothing=self.recipe.mix.label_smoothing)}

    def predict(self, model: nn.Module, batch: ReadyBatch) -> Tensor:
        """Return the logits (N, classes)."""
        logits: Tensor = model(batch.images)
        return logits

    def metric(self) -> ClassifyMetric:
        """Return an empty score."""
        return ClassifyMetric(self.num_classes)


def evaluation_preprocess(recipe: Recipe, label_safe: LabelSafe, in_channels: int = 3) -> Preprocess:
    """Return how a recipe shows held-out pictures.

    The paper's rule for the size, unless `evaluate.crop` says otherwise; never a crop so tight that the source says it
    may cut away what the label names.
    """
    size = recipe.data.size
    standard = default_preprocess(in_channels)
    rule = Preprocess.for_size(size)
    rule = replace(rule, mean=standard.mean, std=standard.std, interpolation=recipe.augment.interpolation)
    if recipe.evaluate.crop is not None:
        rule = replace(rule, resize="short_side", crop=recipe.evaluate.crop)
    least = math.sqrt(label_safe.min_crop_scale)
    return rule if rule.crop >= least else replace(rule, crop=least)


@torch.inference_mode()
def sample_guesses(task: ClassifyTask, model: nn.Module, device: torch.device, count: int) -> list[Guess]:
    """Return what a model says of `count` held-out pictures spread evenly over the split."""
    total = len(task.source.val)
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))
    split = task.source.val
    part = Split(store=split.store, entries=split.entries[chosen], labels=split.labels[chosen])
    loader = EvalLoader(
        part, preprocess=task.preprocess, batch_size=len(chosen), workers=0, channels=len(task.preprocess.mean)
    )
    model.eval()
    guesses: list[Guess] = []
    for batch in loader:
        if len(batch.indices):
            logits = task.predict(model, task.prepare(batch, device, None))
            guesses.extend(_guesses(batch, logits.float().softmax(dim=1).cpu(), task.source.classes))
    return guesses


def _guesses(batch: Batch, probabilities: Tensor, classes: Sequence[str]) -> list[Guess]:
    best = probabilities.max(dim=1)
    return [
        Guess(
            pixels=image.permute(1, 2, 0).numpy(),
            predicted=classes[predicted],
            probability=probability,
            truth=classes[label],
        )
        for image, probability, predicted, label in zip(
            batch.images, best.values.tolist(), best.indices.tolist(), batch.labels.tolist(), strict=True
        )
    ]
