"""Weights of other libraries' networks: those that the library fetches, or a file of the user's own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import Tensor, nn

from convnext.errors import UserError
from convnext.files import read_foreign
from convnext.models import build_empty
from convnext.peer_spec import PEERS, PeerSpec, peer_named
from convnext.peers import require_timm
from convnext.preprocess import Preprocess
from convnext.weights.locate import quiet_hub
from convnext.weights.schemes import Shape
from convnext.weights.sidecar import default_preprocess, read_labels, read_preprocess
from convnext.weights.statedict import WeightsChoice, WeightsKind, find_tensors, shapes_of

BEHIND = "net."


@dataclass(frozen=True, kw_only=True)
class NamedPeer:
    """What a user wrote: timm:NAME[.TAG][@FILE], torchvision:NAME[@FILE], or a short name of the paper's systems.

    tag   which of the library's weights; "" for those that it prefers
    file  the user's own weights instead
    """

    shown: str
    spec: PeerSpec
    tag: str
    file: Path | None


@dataclass(frozen=True, kw_only=True)
class PeerWeights:
    """A peer's spec with the number of classes that its weights have, their tensors by our names, and what is known."""

    spec: PeerSpec
    tensors: dict[str, Tensor]
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    weights: WeightsKind


def named_peer(source: str) -> NamedPeer | None:
    """Return what a source names of another library; None where it is a path, or a hub id."""
    name, at, file = source.partition("@")
    spec = peer_named(name)
    if spec is None or (name in PEERS and Path(source).exists()):
        return None
    if at and not file:
        raise UserError(f"{source} names no file after the @; leave the @ out for weights that the library fetches")
    inner, _, tag = spec.name.partition(".")
    return NamedPeer(shown=source, spec=replace(spec, name=inner), tag=tag, file=Path(file) if file else None)


def read_peer(peer: NamedPeer, choice: WeightsChoice) -> PeerWeights:
    """Read the weights of another library's network, running nothing from a file of the user's.

    UserError where the library has no such network or weights, they cannot be fetched, or a file holds another network.
    """
    kind: WeightsKind = "only"
    if peer.file is None:
        tensors = _fetched(peer)
    else:
        found = find_tensors(read_foreign(peer.file), choice, str(peer.file))
        tensors, kind = found.tensors, found.weights
    spec = _with_classes(peer.spec, tensors, peer.shown)
    expected = shapes_of(build_empty(spec).state_dict())
    given = {BEHIND + name: tensor for name, tensor in tensors.items()}
    _require_same(expected, shapes_of(given), peer.shown)
    preprocess, labels = _told(peer, spec)
    return PeerWeights(spec=spec, tensors=given, preprocess=preprocess, labels=labels, weights=kind)


def _fetched(peer: NamedPeer) -> dict[str, Tensor]:
    name = f"{peer.spec.name}.{peer.tag}" if peer.tag else peer.spec.name
    build_empty(peer.spec)  # says what is wrong with a name before anything is fetched
    try:
        if peer.spec.library == "timm":
            with quiet_hub():
                net: nn.Module = require_timm().create_model(name, pretrained=True)
        else:
            from torchvision import models

            net = models.get_model(name, weights=peer.tag or "DEFAULT")
    except (OSError, URLError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{peer.spec.library} gave no weights for {name} ({reason}); name a file of yours: {peer.shown}@FILE"
        ) from error
    return net.state_dict()


def _with_classes(spec: PeerSpec, tensors: dict[str, Tensor], shown: str) -> PeerSpec:
    head = build_empty(spec).head_name.removeprefix(BEHIND)
    weight = tensors.get(f"{head}.weight")
    if weight is None:
        raise UserError(f"{shown} has no head ({head}.weight is missing), so it cannot be scored")
    return replace(spec, num_classes=int(weight.shape[0]))


def _require_same(expected: dict[str, Shape], given: dict[str, Shape], shown: str) -> None:
    for name in sorted({*expected, *given}):
        if expected.get(name) != given.get(name):
            inner = name.removeprefix(BEHIND)
            raise UserError(
                f"{shown} does not fit: {inner} is {_shape(given.get(name))} in it and {_shape(expected.get(name))} in "
                "the network; name the network that these weights belong to"
            )


def _shape(shape: Shape | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"


def _told(peer: NamedPeer, spec: PeerSpec) -> tuple[Preprocess, tuple[str, ...] | None]:
    """Return the preprocessing and class names that the library tells of its weights."""
    if spec.library == "torchvision":
        return _torchvision_preprocess(peer), None
    name = f"{spec.name}.{peer.tag}" if peer.tag else spec.name
    known = require_timm().get_pretrained_cfg(name, allow_unregistered=True)
    config: dict[str, Any] = {} if known is None else known.to_dict()
    return read_preprocess(config, {}, spec.in_channels, peer.shown), read_labels(config, spec.num_classes)


def _torchvision_preprocess(peer: NamedPeer) -> Preprocess:
    """Return what torchvision does before its own weights; a file's are taken to be made the same way."""
    from torchvision import models

    weights = models.get_model_weights(peer.spec.name)
    if not len(weights):
        return default_preprocess(peer.spec.in_channels)
    chosen = (weights[peer.tag] if peer.tag else weights.DEFAULT).transforms()
    size, edge = chosen.crop_size[0], chosen.resize_size[0]
    return replace(
        Preprocess.for_size(224),
        size=size,
        resize="short_side",
        crop=size / edge,
        interpolation=chosen.interpolation.value,
        mean=tuple(chosen.mean),
        std=tuple(chosen.std),
    )
