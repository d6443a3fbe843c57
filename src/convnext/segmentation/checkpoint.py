"""Load a segmenter from whatever file people have, and save ours. Loading never runs code from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convnext.files import is_own_file, read_foreign
from convnext.network import Network
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.segmentation.names import NAMES, SegmenterScheme, recognise_segmenter
from convnext.segmentation.segmenter import Segmenter
from convnext.segmentation.spec import SegmenterSpec
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
from convnext.weights.sidecar import read_labels
from convnext.weights.statedict import WeightsChoice, find_tensors, renamed_back, shapes_of

_Contents = DenseContents[SegmenterSpec, SegmenterScheme]


@dataclass(frozen=True, kw_only=True)
class LoadedSegmenter(LoadedDense[SegmenterScheme]):
    """A segmenter in evaluation mode and everything that its file tells."""

    segmenter: Segmenter


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
    require_choice(weights)
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
    labels, said = with_classes(segmenter, contents.labels, num_classes, replaced="classifiers")
    what = f"UperNet on {backbone_title(spec.backbone)}"
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
    save_dense(path, segmenter, ema=ema, labels=labels, mean=mean, std=std, extra=extra)


def renamed(segmenter: Segmenter, to: SegmenterScheme) -> dict[str, Tensor]:
    """Return a segmenter's tensors under the names of a scheme, as its library's load_state_dict takes them."""
    names = NAMES[to]
    return {names.rename(name): tensor for name, tensor in segmenter.state_dict().items()}


def _of_file(located: Located, choice: WeightsChoice) -> _Contents:
    if is_own_file(located.file):
        return _own(located, choice)
    return _foreign(read_foreign(located.file), located.config, located.processor, choice, located.shown)


def _own(located: Located, choice: WeightsChoice) -> _Contents:
    return own_contents(
        located,
        choice,
        "convnext",
        what="segmenter",
        heads=("upernet",),
        make_spec=SegmenterSpec.from_dict,
        shapes=_expected,
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
    return DenseContents(
        spec=spec,
        tensors=renamed_back(found.tensors, names.rename, _expected(spec), told),
        scheme=names.name,
        weights=found.weights,
        labels=read_labels(config, spec.num_classes) or openmmlab_labels(checkpoint, spec.num_classes),
        mean=tuple(processor.get("image_mean", IMAGENET_MEAN)),
        std=tuple(processor.get("image_std", IMAGENET_STD)),
    )


def _expected(spec: SegmenterSpec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(Segmenter(spec, Network(spec.backbone)).state_dict())
