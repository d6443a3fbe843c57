"""What the files of detectors and of segmenters have in common: ours, and what OpenMMLab puts beside the weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from convnext.errors import UserError
from convnext.files import read_tensors, write_tensors
from convnext.models import model_name
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.spec import NetSpec
from convnext.weights.locate import Located
from convnext.weights.own import chosen_weights
from convnext.weights.schemes import Shape
from convnext.weights.statedict import WeightsChoice, WeightsKind, renamed_back


class HeadSpec(Protocol):
    """What is asked of the spec of a detector or a segmenter."""

    @property
    def backbone(self) -> NetSpec:
        """The network below the head."""

    @property
    def num_classes(self) -> int:
        """How many classes the head tells."""

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain values."""


SpecT = TypeVar("SpecT", bound=HeadSpec)
SchemeT = TypeVar("SchemeT", bound=str)


class HeadModel(Protocol):
    """What is asked of a detector or a segmenter."""

    @property
    def spec(self) -> HeadSpec:
        """What it is made of."""

    def state_dict(self) -> dict[str, Any]:
        """Return its tensors by name."""

    def reset_classes(self, num_classes: int) -> None:
        """Replace what tells the classes by fresh ones."""


@dataclass(frozen=True, kw_only=True)
class LoadedDense(Generic[SchemeT]):
    """What a file tells beside the model.

    labels     class names, None where nobody knows them
    mean, std  of each channel of a picture whose values go from 0 to 1
    scheme     "convnext" for our own files and names
    weights    "ema" or "raw" where the file has both or says which; "only" where it has one set and does not say
    line       one sentence that tells what was recognised
    metadata   of our own files: recipe, metrics and so on; empty for others
    """

    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scheme: SchemeT
    weights: WeightsKind
    line: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DenseContents(Generic[SpecT, SchemeT]):
    """What a file holds before a model is built: tensors by our names, and what is told beside them."""

    spec: SpecT
    tensors: dict[str, Tensor]
    scheme: SchemeT
    weights: WeightsKind
    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    metadata: Mapping[str, Any] = field(default_factory=dict)


def own_contents(
    located: Located,
    choice: WeightsChoice,
    scheme: SchemeT,
    *,
    what: str,
    heads: Sequence[str],
    make_spec: Callable[[dict[str, Any]], SpecT],
    shapes: Callable[[SpecT], dict[str, Shape]],
) -> DenseContents[SpecT, SchemeT]:
    """Return what a file of ours holds.

    what      detector or segmenter; heads: those that its spec may name
    shapes    of the tensors that a spec asks for, by name

    UserError where the file is of something else, has not the chosen weights, or was not written by us.
    """
    tensors, metadata = read_tensors(located.file)
    values = metadata.get("spec")
    if not isinstance(values, dict) or values.get("head") not in heads:
        raise UserError(f"{located.shown} holds no {what}; name a file that training a {what} wrote")
    kind, chosen = chosen_weights(tensors, metadata, choice, located.shown)
    spec = make_spec(values)
    told = f"{located.shown} holds other tensors than its spec asks for"
    labels, shown_as = metadata.get("labels"), metadata.get("preprocess") or {}
    return DenseContents(
        spec=spec,
        tensors=renamed_back(chosen, str, shapes(spec), told),
        scheme=scheme,
        weights=kind,
        labels=None if labels is None else tuple(labels),
        mean=tuple(shown_as.get("mean", IMAGENET_MEAN)),
        std=tuple(shown_as.get("std", IMAGENET_STD)),
        metadata=metadata,
    )


def save_dense(
    path: str | Path,
    model: HeadModel,
    *,
    ema: HeadModel | None,
    labels: Sequence[str] | None,
    mean: Sequence[float],
    std: Sequence[float],
    extra: Mapping[str, Any] | None,
) -> None:
    """Write a checkpoint of ours; UserError where the labels do not fit the classes or it cannot be written."""
    spec = model.spec
    if labels is not None and len(labels) != spec.num_classes:
        raise UserError(f"labels must be as many as there are classes, {spec.num_classes}, got {len(labels)}")
    tensors = {f"raw.{name}": tensor for name, tensor in model.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.state_dict().items()}
    metadata = {
        "spec": spec.to_dict(),
        "labels": None if labels is None else list(labels),
        "preprocess": {"mean": list(mean), "std": list(std)},
    }
    write_tensors(path, tensors, metadata | dict(extra or {}))


def with_classes(
    model: HeadModel, labels: tuple[str, ...] | None, num_classes: int | None, *, replaced: str
) -> tuple[tuple[str, ...] | None, str]:
    """Give a model that many classes, None as many as it has, and return its labels and what to say of it.

    replaced: what of the head is made afresh where their number changes.
    """
    before = model.spec.num_classes
    if num_classes is None or num_classes == before:
        return labels, f"{before} classes"
    model.reset_classes(num_classes)
    return None, f"{replaced} replaced: {before} -> {num_classes} classes"


def openmmlab_labels(checkpoint: Mapping[str, Any], num_classes: int) -> tuple[str, ...] | None:
    """Return the class names that OpenMMLab puts beside the weights: meta.CLASSES, later meta.dataset_meta.classes."""
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping):
        return None
    later = meta.get("dataset_meta")
    later = later if isinstance(later, Mapping) else {}
    classes = meta.get("CLASSES") or later.get("classes") or later.get("CLASSES")
    if not isinstance(classes, list | tuple) or len(classes) != num_classes:
        return None
    return tuple(map(str, classes))


def backbone_title(spec: NetSpec) -> str:
    """Return the registered name of a network below a head, or what it is made of."""
    depths = "-".join(map(str, spec.depths))
    return model_name(spec) or f"a network with depths {depths} and width {spec.width}"
