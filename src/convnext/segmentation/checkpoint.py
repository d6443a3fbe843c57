"""Load a segmenter from whatever file people have, and save ours. Loading never runs code from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convnext.errors import UserError
from convnext.files import is_own_file, read_foreign, read_tensors, write_tensors
from convnext.models import model_name
from convnext.network import Network
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.segmentation.names import NAMES, SegmenterScheme, recognise_segmenter
from convnext.segmentation.segmenter import Segmenter
from convnext.segmentation.spec import SegmenterSpec
from convnext.weights.locate import Located, locate
from convnext.weights.model import WEIGHTS_SAID
from convnext.weights.sidecar import read_labels
from convnext.weights.statedict import WeightsChoice, WeightsKind, find_tensors, renamed_back, shapes_of


@dataclass(frozen=True, kw_only=True)
class LoadedSegmenter:
    """A segmenter in evaluation mode and everything that its file tells.

    labels     class names, None where nobody knows them
    mean, std  of each channel of a picture whose values go from 0 to 1
    scheme     "convnext" for our own files and names
    weights    "ema" or "raw" where the file has both or says which; "only" where it has one set and does not say
    line       one sentence that tells what was recognised
    metadata   of our own files: recipe, metrics and so on; empty for others
    """

    segmenter: Segmenter
    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scheme: SegmenterScheme
    weights: WeightsKind
    line: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What a file holds before a segmenter is built: tensors by our names, and what is told beside them."""

    spec: SegmenterSpec
    tensors: dict[str, Tensor]
    scheme: SegmenterScheme
    weights: WeightsKind
    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    metadata: Mapping[str, Any] = field(default_factory=dict)


def load_segmenter(
    source: str | Path | Mapping[str, Any],
    *,
    num_classes: int | None = None,
    weights: WeightsChoice = "auto",
    drop_path: float = 0.0,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> LoadedSegmenter:
    """Load a UperNet from a file of ours, the official code, OpenMMLab or transformers, in evaluation mode.

    source       a file, a folder (a run, transformers'), a hub id hf:OWNER/NAME[@REVISION], or what a file would hold:
                 a state dict, bare or as its training script wraps it
    num_classes  None keeps the file's classifiers; another count than the file's replaces them by fresh ones
    weights      "ema" or "raw" where a file holds both; "auto" prefers what was scored best, or else EMA
    drop_path    stochastic depth, for training on
    cache_dir, local_files_only   where hub files are kept, and whether to do without the hub

    UserError when there is no such file, it is damaged, would run code, or holds another model.
    """
    if weights not in ("auto", "ema", "raw"):
        raise UserError(f"weights must be auto, ema or raw, got {weights!r}")
    if isinstance(source, Mapping):
        shown = "the state dict"
        contents = _foreign(source, {}, {}, weights, shown)
    else:
        located = locate(source, cache_dir=cache_dir, local_files_only=local_files_only)
        shown = located.shown
        contents = _of_file(located, weights)
    spec = contents.spec
    with torch.device("meta"):
        segmenter = Segmenter(spec, Network(spec.backbone, drop_path=drop_path))
    segmenter.to_empty(device="cpu").load_state_dict(contents.tensors)
    labels, said = contents.labels, f"{spec.num_classes} classes"
    if num_classes is not None and num_classes != spec.num_classes:
        segmenter.reset_classes(num_classes)
        labels, said = None, f"classifiers replaced: {spec.num_classes} -> {num_classes} classes"
    what = f"UperNet on {_named(spec)}"
    return LoadedSegmenter(
        segmenter=segmenter.eval(),
        labels=labels,
        mean=contents.mean,
        std=contents.std,
        scheme=contents.scheme,
        weights=contents.weights,
        line=f"{shown}: {contents.scheme} names, {what}, {said}, {WEIGHTS_SAID[contents.weights]}",
        metadata=contents.metadata,
    )


def save_segmenter(
    path: str | Path,
    segmenter: Segmenter,
    *,
    ema: Segmenter | None = None,
    labels: Sequence[str] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of ours: raw and perhaps EMA weights, spec, labels and normalisation.

    extra   more JSON-able metadata, such as "weights" (which of raw and ema was scored best)

    UserError when the labels do not fit the classes or the file cannot be written; an old file then stays.
    """
    spec = segmenter.spec
    if labels is not None and len(labels) != spec.num_classes:
        raise UserError(f"labels must be as many as there are classes, {spec.num_classes}, got {len(labels)}")
    tensors = {f"raw.{name}": tensor for name, tensor in segmenter.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.state_dict().items()}
    metadata = {
        "spec": spec.to_dict(),
        "labels": None if labels is None else list(labels),
        "preprocess": {"mean": list(mean), "std": list(std)},
    }
    write_tensors(path, tensors, metadata | dict(extra or {}))


def renamed(segmenter: Segmenter, to: SegmenterScheme) -> dict[str, Tensor]:
    """Return a segmenter's tensors under the names of a scheme, as its library's load_state_dict takes them."""
    names = NAMES[to]
    return {names.rename(name): tensor for name, tensor in segmenter.state_dict().items()}


def _of_file(located: Located, choice: WeightsChoice) -> _Contents:
    if is_own_file(located.file):
        return _own(located, choice)
    return _foreign(read_foreign(located.file), located.config, located.processor, choice, located.shown)


def _own(located: Located, choice: WeightsChoice) -> _Contents:
    tensors, metadata = read_tensors(located.file)
    values = metadata.get("spec")
    if not isinstance(values, dict) or values.get("head") != "upernet":
        raise UserError(f"{located.shown} holds no segmenter; name a file that training a segmenter wrote")
    wanted = metadata.get("weights") if choice == "auto" else choice
    has_ema = any(name.startswith("ema.") for name in tensors)
    kind: WeightsKind = "ema" if wanted == "ema" or (wanted != "raw" and has_ema) else "raw"
    chosen = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}
    if not chosen:
        other = "raw" if kind == "ema" else "ema"
        raise UserError(f"{located.shown} has no {kind} weights; take weights={other}, or another file")
    spec = SegmenterSpec.from_dict(values)
    told = f"{located.shown} holds other tensors than its spec asks for"
    labels, shown_as = metadata.get("labels"), metadata.get("preprocess") or {}
    return _Contents(
        spec=spec,
        tensors=renamed_back(chosen, NAMES["convnext"].rename, _expected(spec), told),
        scheme="convnext",
        weights=kind,
        labels=None if labels is None else tuple(labels),
        mean=tuple(shown_as.get("mean", IMAGENET_MEAN)),
        std=tuple(shown_as.get("std", IMAGENET_STD)),
        metadata=metadata,
    )


def _foreign(
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    processor: Mapping[str, Any],
    choice: WeightsChoice,
    shown: str,
) -> _Contents:
    found = find_tensors(checkpoint, choice, shown)
    scales = config.get("pool_scales")
    names, spec = recognise_segmenter(
        shapes_of(found.tensors), shown, pool_scales=tuple(scales) if isinstance(scales, list) else None
    )
    told = f"{shown} has {names.name} names of a UperNet but is another model"
    return _Contents(
        spec=spec,
        tensors=renamed_back(found.tensors, names.rename, _expected(spec), told),
        scheme=names.name,
        weights=found.weights,
        labels=read_labels(config, spec.num_classes) or _openmmlab_labels(checkpoint, spec.num_classes),
        mean=tuple(processor.get("image_mean", IMAGENET_MEAN)),
        std=tuple(processor.get("image_std", IMAGENET_STD)),
    )


def _openmmlab_labels(checkpoint: Mapping[str, Any], num_classes: int) -> tuple[str, ...] | None:
    """Return the class names that OpenMMLab puts beside the weights: meta.CLASSES, later meta.dataset_meta.classes."""
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping):
        return None
    later = meta.get("dataset_meta")
    classes = meta.get("CLASSES") or (later.get("classes") if isinstance(later, Mapping) else None)
    if not isinstance(classes, list | tuple) or len(classes) != num_classes:
        return None
    return tuple(map(str, classes))


def _expected(spec: SegmenterSpec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(Segmenter(spec, Network(spec.backbone)).state_dict())


def _named(spec: SegmenterSpec) -> str:
    depths = "-".join(map(str, spec.backbone.depths))
    return model_name(spec.backbone) or f"a network with depths {depths} and width {spec.backbone.width}"
