"""Load a detector from whatever file people have, and save ours. Loading never runs code from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convnext.detection.detector import Detector, build_detector
from convnext.detection.names import DetectorScheme, modernised, recognise_detector, rename
from convnext.detection.spec import DetectorSpec, HeadName
from convnext.errors import UserError
from convnext.files import is_own_file, read_foreign, read_tensors, write_tensors
from convnext.models import model_name
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.weights.locate import Located, locate
from convnext.weights.model import WEIGHTS_SAID
from convnext.weights.statedict import WeightsChoice, WeightsKind, find_tensors, renamed_back, shapes_of

TITLES: dict[HeadName, str] = {
    "faster-rcnn": "Faster R-CNN",
    "mask-rcnn": "Mask R-CNN",
    "cascade-mask-rcnn": "Cascade Mask R-CNN",
}


@dataclass(frozen=True, kw_only=True)
class LoadedDetector:
    """A detector in evaluation mode and everything that its file tells.

    labels     class names, None where nobody knows them
    mean, std  of each channel of a picture whose values go from 0 to 1
    scheme     "convnext" for our own files and names
    weights    "ema" or "raw" where the file has both or says which; "only" where it has one set and does not say
    line       one sentence that tells what was recognised
    metadata   of our own files: recipe, metrics and so on; empty for others
    """

    detector: Detector
    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scheme: DetectorScheme
    weights: WeightsKind
    line: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What a file holds before a detector is built: tensors by our names, and what is told beside them."""

    spec: DetectorSpec
    tensors: dict[str, Tensor]
    scheme: DetectorScheme
    weights: WeightsKind
    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    metadata: Mapping[str, Any] = field(default_factory=dict)


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
    if weights not in ("auto", "ema", "raw"):
        raise UserError(f"weights must be auto, ema or raw, got {weights!r}")
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
    labels, said = contents.labels, f"{spec.num_classes} classes"
    if num_classes is not None and num_classes != spec.num_classes:
        detector.reset_classes(num_classes)
        labels, said = None, f"predictors replaced: {spec.num_classes} -> {num_classes} classes"
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
    spec = detector.spec
    if labels is not None and len(labels) != spec.num_classes:
        raise UserError(f"labels must be as many as there are classes, {spec.num_classes}, got {len(labels)}")
    tensors = {f"raw.{name}": tensor for name, tensor in detector.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.state_dict().items()}
    metadata = {
        "spec": spec.to_dict(),
        "labels": None if labels is None else list(labels),
        "preprocess": {"mean": list(mean), "std": list(std)},
    }
    write_tensors(path, tensors, metadata | dict(extra or {}))


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
    depths = "-".join(map(str, spec.backbone.depths))
    network = model_name(spec.backbone) or f"a network with depths {depths} and width {spec.backbone.width}"
    return f"{TITLES[spec.head]} on {network}"


def _of_file(located: Located, choice: WeightsChoice) -> _Contents:
    if is_own_file(located.file):
        return _own(located, choice)
    return _foreign(read_foreign(located.file), choice, located.shown)


def _own(located: Located, choice: WeightsChoice) -> _Contents:
    tensors, metadata = read_tensors(located.file)
    values = metadata.get("spec")
    if not isinstance(values, dict) or values.get("head") not in TITLES:
        raise UserError(f"{located.shown} holds no detector; name a file that training a detector wrote")
    wanted = metadata.get("weights") if choice == "auto" else choice
    has_ema = any(name.startswith("ema.") for name in tensors)
    kind: WeightsKind = "ema" if wanted == "ema" or (wanted != "raw" and has_ema) else "raw"
    chosen = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}
    if not chosen:
        other = "raw" if kind == "ema" else "ema"
        raise UserError(f"{located.shown} has no {kind} weights; take weights={other}, or another file")
    spec = DetectorSpec.from_dict(values)
    labels, shown_as = metadata.get("labels"), metadata.get("preprocess") or {}
    told = f"{located.shown} holds other tensors than its spec asks for"
    return _Contents(
        spec=spec,
        tensors=renamed_back(chosen, str, _expected(spec), told),
        scheme="convnext",
        weights=kind,
        labels=None if labels is None else tuple(labels),
        mean=tuple(shown_as.get("mean", IMAGENET_MEAN)),
        std=tuple(shown_as.get("std", IMAGENET_STD)),
        metadata=metadata,
    )


def _foreign(checkpoint: Mapping[str, Any], choice: WeightsChoice, shown: str) -> _Contents:
    found = find_tensors(checkpoint, choice, shown)
    tensors = modernised(found.tensors)
    scheme, spec = recognise_detector(shapes_of(tensors), shown)
    told = f"{shown} looks like a {described(spec)} with {scheme} names but is another model"
    return _Contents(
        spec=spec,
        tensors=renamed_back(tensors, lambda name: rename(name, scheme, spec), _expected(spec), told),
        scheme=scheme,
        weights=found.weights,
        labels=_openmmlab_labels(checkpoint, spec.num_classes),
    )


def _openmmlab_labels(checkpoint: Mapping[str, Any], num_classes: int) -> tuple[str, ...] | None:
    """Return the class names that OpenMMLab puts beside the weights: meta.CLASSES, later meta.dataset_meta.CLASSES."""
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping):
        return None
    later = meta.get("dataset_meta")
    later = later if isinstance(later, Mapping) else {}
    classes = meta.get("CLASSES") or later.get("classes") or later.get("CLASSES")
    if not isinstance(classes, list | tuple) or len(classes) != num_classes:
        return None
    return tuple(map(str, classes))


def _expected(spec: DetectorSpec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(build_detector(spec).state_dict())
