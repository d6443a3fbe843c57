"""Load a detector from whatever file people have, and save ours. Loading never runs code from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convnext.detection.detector import Detector, build_detector
from convnext.detection.names import DetectorScheme, modernised, recognise_detector, rename
from convnext.detection.spec import DetectorSpec, HeadName
from convnext.errors import UserError
from convnext.files import is_own_file, read_foreign
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.weights.dense import (
    DenseContents,
    LoadedDense,
    backbone_title,
    openmmlab_labels,
    own_contents,
    save_dense,
    with_classes,
)
from convnext.weights.locate import Located, locate
from convnext.weights.own import WEIGHTS_SAID, require_choice
from convnext.weights.statedict import WeightsChoice, find_tensors, renamed_back, shapes_of

_Contents = DenseContents[DetectorSpec, DetectorScheme]

TITLES: dict[HeadName, str] = {
    "faster-rcnn": "Faster R-CNN",
    "mask-rcnn": "Mask R-CNN",
    "cascade-mask-rcnn": "Cascade Mask R-CNN",
}


@dataclass(frozen=True, kw_only=True)
class LoadedDetector(LoadedDense[DetectorScheme]):
    """A detector in evaluation mode and everything that its file tells."""

    detector: Detector


def load_detector(
    source: str | Path | Mapping[str, Any],
    *,
    num_classes: int | None = None,
    weights: WeightsChoice = "auto",
    drop_path: float = 0.0,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> LoadedDetector:
    """Load a detector from a file of ours, torchvision, the official code or OpenMMLab, in evaluation mode.

    source       a file, a folder (a run), a hub id hf:OWNER/NAME[@REVISION], or what a file would hold: a state dict,
                 bare or as its training script wraps it
    num_classes  None keeps the file's predictors; another count than the file's replaces them by fresh ones
    weights      "ema" or "raw" where a file holds both; "auto" prefers what was scored best, or else EMA
    drop_path    stochastic depth, for training on
    cache_dir, local_files_only   where hub files are kept, and whether to do without the hub

    UserError when there is no such file, it is damaged, would run code, or holds another model.
    """
    require_choice(weights)
    if isinstance(source, Mapping):
        shown = "the state dict"
        contents = _foreign(source, weights, shown)
    else:
        located = locate(source, cache_dir=cache_dir, local_files_only=local_files_only)
        shown = located.shown
        contents = _of_file(located, weights)
    spec = contents.spec
    # The numbers that a fresh detector is started with are thrown away, so nobody else's are used up for them.
    with torch.random.fork_rng(devices=[]):
        detector = build_detector(spec, drop_path=drop_path)
    detector.load_state_dict(contents.tensors)
    labels, said = with_classes(detector, contents.labels, num_classes, replaced="predictors")
    return LoadedDetector(
        detector=detector.eval(),
        labels=labels,
        mean=contents.mean,
        std=contents.std,
        scheme=contents.scheme,
        weights=contents.weights,
        line=f"{shown}: {contents.scheme} names, {described(spec)}, {said}, {WEIGHTS_SAID[contents.weights]}",
        metadata=contents.metadata,
    )


def save_detector(
    path: str | Path,
    detector: Detector,
    *,
    ema: Detector | None = None,
    labels: Sequence[str] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of ours: raw and perhaps EMA weights, spec, labels and normalisation.

    extra   more JSON-able metadata, such as "weights" (which of raw and ema was scored best)

    UserError when the labels do not fit the classes or the file cannot be written; an old file then stays.
    """
    save_dense(path, detector, ema=ema, labels=labels, mean=mean, std=std, extra=extra)


def renamed(detector: Detector, to: DetectorScheme) -> dict[str, Tensor]:
    """Return a detector's tensors under the names of a scheme, as its library's load_state_dict takes them.

    UserError where the detector has another convention than that library.
    """
    spec = detector.spec
    if to != "convnext" and (to == "torchvision") != (spec.convention == "torchvision"):
        raise UserError(
            f"this detector has the convention {spec.convention}, so under the names of {to} its numbers would mean "
            "something else; write it under names of its own convention"
        )
    return {rename(name, to, spec): tensor for name, tensor in detector.state_dict().items()}


def described(spec: DetectorSpec) -> str:
    """Return what a detector is in words: "Mask R-CNN on convnext_tiny"."""
    return f"{TITLES[spec.head]} on {backbone_title(spec.backbone)}"


def _of_file(located: Located, choice: WeightsChoice) -> _Contents:
    if is_own_file(located.file):
        return _own(located, choice)
    return _foreign(read_foreign(located.file), choice, located.shown)


def _own(located: Located, choice: WeightsChoice) -> _Contents:
    return own_contents(
        located,
        choice,
        "convnext",
        what="detector",
        heads=tuple(TITLES),
        make_spec=DetectorSpec.from_dict,
        shapes=_expected,
    )


def _foreign(checkpoint: Mapping[str, Any], choice: WeightsChoice, shown: str) -> _Contents:
    found = find_tensors(checkpoint, choice, shown)
    tensors = modernised(found.tensors)
    scheme, spec = recognise_detector(shapes_of(tensors), shown)
    told = f"{shown} looks like a {described(spec)} with {scheme} names but is another model"
    return DenseContents(
        spec=spec,
        tensors=renamed_back(tensors, lambda name: rename(name, scheme, spec), _expected(spec), told),
        scheme=scheme,
        weights=found.weights,
        labels=openmmlab_labels(checkpoint, spec.num_classes),
    )


def _expected(spec: DetectorSpec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(build_detector(spec).state_dict())
