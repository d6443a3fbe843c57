"""Networks of timm and torchvision as they are, behind what the rest of the package asks of a classifier."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convnext.classifier import Classifier, Head, require_drop_path
from convnext.cost import Cost
from convnext.errors import UserError, nearest
from convnext.peer_spec import PeerSpec

# What libraries raise of an option or a picture size that they did not expect.
_REFUSALS = (TypeError, ValueError, AssertionError, RuntimeError, AttributeError, ArithmeticError, LookupError)


class Peer(Classifier):
    """A network of another library; maps pictures (N, C, H, W) to logits (N, num_classes).

    Its parameters carry the library's names behind `net.`, and start as the library starts them.

    drop_path, head_scale   as in Network; not every network has stochastic depth

    Raises UserError when the library is not installed, has no such network, or the network does not take an option.
    """

    spec: PeerSpec

    def __init__(self, spec: PeerSpec, *, drop_path: float = 0.0, head_scale: float = 1.0) -> None:
        super().__init__()
        require_drop_path(drop_path)
        self.spec = spec
        self.drop_path = drop_path
        self.net = _BUILD[spec.library](spec, drop_path)
        if drop_path == 0:
            _keep_every_branch(self.net)
        self._head_name = _head_name(self.net, spec)
        if head_scale != 1:
            self.scale_head(head_scale)

    @property
    def head_name(self) -> str:
        """Where the head stands among the modules."""
        return f"net.{self._head_name}"

    @property
    def feature_info(self) -> tuple[tuple[int, int], ...]:
        """(stride, channels) of each map that `features` returns; UserError where the library does not tell."""
        return tuple((int(one["reduction"]), int(one["num_chs"])) for one in self._timm_only().feature_info)

    def features(self, images: Tensor) -> list[Tensor]:
        """Map pictures (N, C, H, W) to the maps (N, C_i, H_i, W_i) that timm tells of: of ViT one a block."""
        maps: list[Tensor] = self._timm_only().forward_intermediates(images, intermediates_only=True)
        return maps

    def _timm_only(self) -> Any:
        if not hasattr(self.net, "forward_intermediates"):
            raise UserError(f"{self.spec.title} does not tell the outputs of its stages; take a network of timm's")
        return self.net

    @property
    def undecayed(self) -> frozenset[str]:
        """What timm names for its transformers: embeddings of places, tokens, tables of relative places."""
        named = getattr(self.net, "no_weight_decay", None)
        return frozenset(f"net.{name}" for name in named()) if named is not None else frozenset()

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (N, C, H, W) to logits (N, num_classes)."""
        logits: Tensor = self.net(images)
        if not isinstance(logits, Tensor):
            # torchvision's Inception and GoogLeNet also return the logits of a side head while they train.
            logits = logits[0]
        return logits


def require_timm() -> ModuleType:
    """Return timm, or raise the UserError that says how to get it."""
    try:
        import timm
    except ImportError as error:
        raise UserError(
            "the paper's other systems and timm:NAME need timm; install it with: pip install 'convnext[peers]'"
        ) from error
    return timm


def built_for_size(spec: PeerSpec, size: int) -> PeerSpec:
    """Return the spec for pictures of `size` pixels: changed only for nets with a grid of fixed size, as ViT's."""
    if _size_option(spec) is None:
        return spec
    return replace(spec, size=size)


def _size_option(spec: PeerSpec) -> str | None:
    """Return what the library calls the picture size of a network that is built for one, else None."""
    if spec.library == "torchvision":
        return "image_size" if spec.name.startswith("vit_") else "input_size" if spec.name == "maxvit_t" else None
    known = require_timm().get_pretrained_cfg(spec.name)
    return "img_size" if known is not None and known.fixed_input_size else None


def _options(spec: PeerSpec, drop_path: float, drop_path_name: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(spec.options)
    named = _size_option(spec)
    if spec.size is not None and named is not None:
        options[named] = (spec.size, spec.size) if named == "input_size" else spec.size
    if drop_path > 0:
        options[drop_path_name] = drop_path
    return options


def _from_timm(spec: PeerSpec, drop_path: float) -> nn.Module:
    timm = require_timm()
    if not timm.is_model(spec.name):
        raise UserError(f"timm has no model {spec.name}{nearest(spec.name, timm.list_models())}")
    options = _options(spec, drop_path, "drop_path_rate")
    with _explained(spec):
        net: nn.Module = timm.create_model(
            spec.name, num_classes=spec.num_classes, in_chans=spec.in_channels, pretrained=False, **options
        )
    return net


def _from_torchvision(spec: PeerSpec, drop_path: float) -> nn.Module:
    from torchvision import models

    names = models.list_models(module=models)
    if spec.name not in names:
        raise UserError(f"torchvision has no classifier {spec.name}{nearest(spec.name, names)}")
    if spec.in_channels != 3:
        raise UserError(f"torchvision's networks take 3 channels, not {spec.in_channels}; take the one of timm")
    options = _options(spec, drop_path, "stochastic_depth_prob")
    with _explained(spec):
        net: nn.Module = models.get_model(spec.name, num_classes=spec.num_classes, weights=None, **options)
    return net


_BUILD = {"timm": _from_timm, "torchvision": _from_torchvision}


@contextlib.contextmanager
def _explained(spec: PeerSpec) -> Iterator[None]:
    """Turn what a library says of an option that it cannot take into one sentence."""
    try:
        yield
    except NotImplementedError:
        # Of a device without memory, which `without_memory` answers.
        raise
    except _REFUSALS as error:
        options = ", ".join(f"{name}={value}" for name, value in spec.options) or "no options"
        raise UserError(
            f"{spec.title} cannot be built with {options}, stochastic depth as the recipe asks and pictures of "
            f"{spec.size or 'its own'} pixels: {' '.join(str(error).split())}"
        ) from error


def _keep_every_branch(net: nn.Module) -> None:
    """Switch stochastic depth off where the library has some by default, as timm's Swin (0.1)."""
    for module in net.modules():
        name = {"DropPath": "drop_prob", "StochasticDepth": "p"}.get(type(module).__name__)
        if name is not None:
            setattr(module, name, 0.0)


def _head_name(net: nn.Module, spec: PeerSpec) -> str:
    named = getattr(net, "get_classifier", None)
    if named is not None:
        head = named()
        found: list[str] = [name for name, module in net.named_modules() if module is head]
    else:
        found = [name for name, module in net.named_modules() if _outputs(module) == spec.num_classes][-1:]
    if len(found) != 1 or not isinstance(net.get_submodule(found[0]), Head):
        raise UserError(f"{spec.title} has no head that is one linear layer, so it cannot be trained or scored here")
    return found[0]


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


@cache
def peer_cost(spec: PeerSpec, size: int) -> Cost:
    """Count a peer, as it is built, for a square picture of `size` pixels, by running it on a device without memory.

    Multiply-adds are those of convolutions and matrix products, products of attention among them, as the paper's
    numbers for Swin and ViT have it; activations are the outputs of convolutions and linear layers. UserError when the
    network cannot take pictures of that size.
    """
    net = without_memory(spec).eval()
    elements = 0

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            net(torch.empty(1, spec.in_channels, size, size, device="meta"))
    except _REFUSALS as error:
        raise UserError(
            f"{spec.title} cannot take pictures of {size} pixels: {' '.join(str(error).split())}"
        ) from error
    # It counts a multiply-add as two.
    macs = counter.get_total_flops() // 2
    params = sum(parameter.numel() for parameter in net.parameters())
    return Cost(part="total", params=params, macs=macs, activations=elements)


def without_memory(spec: PeerSpec) -> Peer:
    """Build a peer on a device without memory for its weights."""
    try:
        with torch.device("meta"):
            return Peer(spec)
    except NotImplementedError:
        # A few networks of torchvision read numbers off tensors while they are built.
        return Peer(spec).to("meta")
