"""Load a network from whatever file people have, and save ours.

`load` is the short way; `read_model` also tells preprocessing, labels, and what was found. Loading never runs code from
a file.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from convnext.classifier import Classifier
from convnext.errors import UserError
from convnext.files import is_own_file, read_foreign, read_tensors, write_tensors
from convnext.layout import layout
from convnext.models import build, build_empty, model_name
from convnext.peer_spec import PeerSpec, Spec, spec_from_dict
from convnext.preprocess import Preprocess
from convnext.spec import NetSpec
from convnext.weights.heads import plan_head
from convnext.weights.locate import Located, locate
from convnext.weights.own import WEIGHTS_SAID, chosen_weights, require_choice
from convnext.weights.peer_files import NamedPeer, named_peer, read_peer
from convnext.weights.schemes import SchemeName, recognise
from convnext.weights.sidecar import default_preprocess, read_labels, read_preprocess
from convnext.weights.statedict import WeightsChoice, WeightsKind, find_tensors, shapes_of, translate


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network in evaluation mode and everything that its file tells.

    labels    class names, None where nobody knows them or the head was replaced; a head of 1,000 or 21,841 classes that
              comes without names has those of ImageNet-1K or 22K
    scheme    "convnext" for our own files
    weights   "ema" or "raw" where the file has both or says which; "only" where it has one set and does not say
    line      one sentence that tells what was recognised
    metadata  of our own files: recipe, metrics and so on; empty for others
    """

    network: Classifier
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    scheme: SchemeName | Literal["convnext"]
    weights: WeightsKind
    line: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What a file holds before a network is built: tensors by our names, without a head where the file has none."""

    spec: Spec
    tensors: dict[str, Tensor]
    has_head: bool
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    scheme: SchemeName | Literal["convnext"]
    title: str
    weights: WeightsKind
    metadata: Mapping[str, Any] = field(default_factory=dict)


def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    weights: WeightsChoice = "auto",
    drop_path: float = 0.0,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    verbose: bool = True,
) -> Classifier:
    """Load a network, in evaluation mode, from a file of ours, the official code, timm, torchvision or transformers.

    source       a file, a folder (a run, timm's, transformers'), a hub id hf:OWNER/NAME[@REVISION], or a network of
                 another library: timm:NAME with the weights that it fetches, timm:NAME@FILE with those of a file
    num_classes  None keeps the file's head; another count than the file's replaces it by a fresh one (1,000 of the
                 21,841 classes of ImageNet-22K are picked, with head_scale 1)
    classes      names instead: a head that knows them all keeps its rows for them (with head_scale 1), any other is
                 replaced by a fresh one
    weights      "ema" or "raw" where a file holds both; "auto" prefers what was scored best, or else EMA
    drop_path    stochastic depth, for training on
    head_scale   factor on the start of a replaced head; the paper fine-tunes with 0.001
    stem_stride  for small pictures: 2 lets a 4x4 stem step by 2 pixels
    cache_dir, local_files_only   where hub files are kept, and whether to do without the hub
    verbose      print on stderr what was recognised

    UserError when there is no such file, it is damaged, would run code, or holds another network.
    """
    loaded = read_model(
        source,
        num_classes=num_classes,
        classes=classes,
        weights=weights,
        drop_path=drop_path,
        head_scale=head_scale,
        stem_stride=stem_stride,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    if verbose:
        print(loaded.line, file=sys.stderr)
    return loaded.network


def read_model(
    source: str | Path,
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    weights: WeightsChoice = "auto",
    drop_path: float = 0.0,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Loaded:
    """Do what `load` does, with the same arguments and errors, and return all that the file tells."""
    require_choice(weights)
    peer = named_peer(source) if isinstance(source, str) else None
    if peer is None:
        located = locate(source, cache_dir=cache_dir, local_files_only=local_files_only)
        contents = (_own if is_own_file(located.file) else _foreign)(located, weights)
        shown = located.shown
    else:
        contents, shown = _of_peer(peer, weights), peer.shown
    spec = contents.spec
    if stem_stride is not None:
        spec = _with_stem_stride(spec, stem_stride)
    if not contents.has_head and num_classes is None and classes is None:
        raise UserError(f"{shown} has no head; say how many classes it is to have (num_classes)")
    plan = plan_head(
        spec.num_classes if contents.has_head else None,
        contents.labels,
        num_classes=num_classes,
        classes=classes,
        head_scale=head_scale,
    )
    network = _build(spec, contents.tensors, drop_path)
    line = [contents.title, _describe(spec), plan.said]
    if plan.rows is not None:
        network.pick_classes(plan.rows)
    if plan.fresh is not None:
        network.reset_head(plan.fresh, head_scale=head_scale)
    return Loaded(
        network=network.eval(),
        preprocess=contents.preprocess,
        labels=plan.labels,
        scheme=contents.scheme,
        weights=contents.weights,
        line=f"{shown}: {', '.join([*line, WEIGHTS_SAID[contents.weights]])}",
        metadata=contents.metadata,
    )


def save_model(
    path: str | Path,
    model: Classifier | Mapping[str, Tensor],
    *,
    spec: Spec | None = None,
    ema: Classifier | Mapping[str, Tensor] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of ours: raw and perhaps EMA weights, and all that evaluating and predicting need.

    model, ema     a network or its state dict
    spec           needed where `model` is a state dict
    extra_tensors  more tensors, such as "optimizer.0.exp_avg"; names with other prefixes than raw. and ema.
    extra          more JSON-able metadata, such as "weights" (which of raw and ema was scored best)

    UserError when the labels do not fit the head or the file cannot be written; an old file then stays.
    """
    if spec is None:
        if not isinstance(model, Classifier):
            raise UserError("spec must be given to save a state dict; a network carries its own")
        spec = model.spec
    if labels is not None and len(labels) != spec.num_classes:
        raise UserError(f"labels must be as many as the head has classes, {spec.num_classes}, got {len(labels)}")
    tensors = {f"raw.{name}": tensor for name, tensor in _state(model).items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in _state(ema).items()}
    more = dict(extra_tensors or {})
    clash = [name for name in more if name.startswith(("raw.", "ema."))]
    if clash:
        raise UserError(f"extra tensors must not be called raw. or ema., got {clash[0]}; take another prefix")
    metadata: dict[str, Any] = {
        "spec": spec.to_dict(),
        "labels": None if labels is None else list(labels),
        "preprocess": (preprocess or default_preprocess(spec.in_channels)).to_dict(),
        "recipe": None if recipe is None else dict(recipe),
        "metrics": None if metrics is None else dict(metrics),
    }
    write_tensors(path, tensors | more, metadata | dict(extra or {}))


def _state(model: Classifier | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return model.state_dict() if isinstance(model, Classifier) else model


def _own(located: Located, choice: WeightsChoice) -> _Contents:
    tensors, metadata = read_tensors(located.file)
    for name in ("spec", "preprocess"):
        if not isinstance(metadata.get(name), dict):
            raise UserError(f"{located.shown} carries no {name}, so it is no model; name a file that save_model wrote")
    kind, chosen = chosen_weights(tensors, metadata, choice, located.shown)
    spec, labels = spec_from_dict(metadata["spec"]), metadata.get("labels")
    expected = shapes_of(build_empty(spec).state_dict())
    if shapes_of(chosen) != expected:
        raise UserError(f"{located.shown} holds other tensors than its spec asks for; it was not written by save_model")
    return _Contents(
        spec=spec,
        tensors=chosen,
        has_head=True,
        preprocess=Preprocess.from_dict(metadata["preprocess"]),
        labels=None if labels is None else tuple(labels),
        scheme="convnext",
        title="convnext's own file",
        weights=kind,
        metadata=metadata,
    )


def _foreign(located: Located, choice: WeightsChoice) -> _Contents:
    found = find_tensors(read_foreign(located.file), choice, located.shown)
    recognised = recognise(shapes_of(found.tensors), located.shown)
    spec = recognised.spec
    network = build_empty(spec)
    expected = shapes_of(network.state_dict())
    if not recognised.has_head:
        expected = {name: shape for name, shape in expected.items() if not name.startswith(network.head_name + ".")}
    return _Contents(
        spec=spec,
        tensors=translate(found.tensors, recognised, expected, located.shown),
        has_head=recognised.has_head,
        preprocess=read_preprocess(located.config, located.processor, spec.in_channels, located.shown),
        labels=read_labels(located.config, spec.num_classes),
        scheme=recognised.scheme.name,
        title=recognised.title,
        weights=found.weights,
    )


def _of_peer(peer: NamedPeer, choice: WeightsChoice) -> _Contents:
    found = read_peer(peer, choice)
    return _Contents(
        spec=found.spec,
        tensors=found.tensors,
        has_head=True,
        preprocess=found.preprocess,
        labels=found.labels,
        scheme=found.spec.library,
        title=f"{found.spec.library}'s own network",
        weights=found.weights,
    )


def _build(spec: Spec, tensors: Mapping[str, Tensor], drop_path: float) -> Classifier:
    if isinstance(spec, NetSpec):
        with torch.device("meta"):
            network = build(spec, drop_path=drop_path)
        network.to_empty(device="cpu")
    else:
        # Peers hold tables that no file has, so they are built in earnest.
        network = build(spec, drop_path=drop_path)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    # Only a head may be missing, and it is replaced by the caller.
    assert not unexpected
    assert all(name.startswith(network.head_name + ".") for name in missing)
    return network


def _with_stem_stride(spec: Spec, stem_stride: int) -> NetSpec:
    if isinstance(spec, PeerSpec):
        raise UserError(f"stem_stride cannot be set of {spec.title}, which its library builds; leave it out")
    changed = replace(spec, stem_stride=stem_stride)
    old, new = layout(spec).stem.kernel, layout(changed).stem.kernel
    if old != new:
        raise UserError(
            f"stem_stride {stem_stride} asks for a {new}x{new} stem, but the file's is {old}x{old}; "
            f"{'take 2 or 4' if old in (4, 7) else f'keep {spec.stem_stride}'}, or train from scratch"
        )
    return changed


def _describe(spec: Spec) -> str:
    """Return the registered name of a spec, or what it is made of, and the options that differ from the paper's."""
    if isinstance(spec, PeerSpec):
        options = [f"{name}={value}" for name, value in spec.options]
        return spec.title + (f" ({', '.join(options)})" if options else "")
    name = model_name(spec)
    if name is None:
        kind = "ResNet" if spec.transitions == "in_block" else "ConvNeXt"
        kind = "isotropic ConvNeXt" if spec.isotropic else kind
        name = f"{kind} with depths {'-'.join(map(str, spec.depths))} and width {spec.width}"
    options = [] if spec.in_channels == 3 else [f"{spec.in_channels} input channel(s)"]
    usual = 16 if spec.isotropic else 4
    options += [] if spec.stem_stride == usual else [f"stem stride {spec.stem_stride}"]
    # Of the paper's models only the two smaller isotropic ones are without LayerScale.
    if spec.norm == "layer" and spec.layer_scale is None and not spec.isotropic:
        options.append("no LayerScale")
    return name + (f" ({', '.join(options)})" if options else "")
