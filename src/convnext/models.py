"""The registry: every model by name, and `create_model`.

A name is a registered model (`convnext_tiny`, `resnet50`), a row of the roadmap written REGIME:STEP
(`resnet50:depthwise`, `quarter:kernel_7`), another system of the paper (`swin_tiny`), or any network of another library
(`timm:NAME`, `torchvision:NAME`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any, overload

from convnext.cost import Cost, total_cost
from convnext.errors import UserError, nearest
from convnext.peer_spec import PEERS, PeerSpec, Spec, peer_named
from convnext.roadmap import REGIMES, STEPS, spec_at
from convnext.spec import CONVNEXT_TINY, RESNET50, RESNET200, NetSpec

if TYPE_CHECKING:
    from convnext.classifier import Classifier
    from convnext.network import Network


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered model: its spec and the side in pixels of the pictures it was published for."""

    name: str
    spec: NetSpec
    input_size: int = 224


def _convnext(depths: tuple[int, ...], width: int) -> NetSpec:
    return replace(CONVNEXT_TINY, depths=depths, width=width)


def _isotropic(depth: int, width: int, layer_scale: float | None) -> NetSpec:
    return replace(
        CONVNEXT_TINY,
        depths=(depth,),
        width=width,
        transitions="none",
        stem_stride=16,
        layer_scale=layer_scale,
    )


_SPECS: dict[str, NetSpec] = {
    "convnext_atto": _convnext((2, 2, 6, 2), 40),
    "convnext_femto": _convnext((2, 2, 6, 2), 48),
    "convnext_pico": _convnext((2, 2, 6, 2), 64),
    "convnext_nano": _convnext((2, 2, 8, 2), 80),
    "convnext_tiny": CONVNEXT_TINY,
    "convnext_small": _convnext((3, 3, 27, 3), 96),
    "convnext_base": _convnext((3, 3, 27, 3), 128),
    "convnext_large": _convnext((3, 3, 27, 3), 192),
    "convnext_xlarge": _convnext((3, 3, 27, 3), 256),
    # Table 2; LayerScale is off for S and B (section 3.3 and the official code).
    "convnext_isotropic_small": _isotropic(18, 384, None),
    "convnext_isotropic_base": _isotropic(18, 768, None),
    "convnext_isotropic_large": _isotropic(36, 1024, 1e-6),
    "resnet50": RESNET50,
    "resnet200": RESNET200,
}

MODELS: dict[str, Entry] = {name: Entry(name=name, spec=spec) for name, spec in _SPECS.items()}


def model_spec(name: str) -> NetSpec:
    """Return the spec of a registered model or of a roadmap row REGIME:STEP; UserError offers near names."""
    if name in MODELS:
        return MODELS[name].spec
    regime, colon, step = name.partition(":")
    if colon:
        return spec_at(step, regime)
    rows = [f"{regime}:{step.name}" for regime in REGIMES for step in STEPS]
    raise UserError(
        f"there is no model {name}{nearest(name, [*MODELS, *PEERS, *rows])} (convnext models lists them; any network "
        "of timm is timm:NAME)"
    )


def any_spec(name: str) -> Spec:
    """Return the spec of whatever a name may stand for, peers included; UserError offers near names."""
    peer = peer_named(name)
    return model_spec(name) if peer is None else peer


def model_cost(spec: Spec, size: int) -> Cost:
    """Return the cost of any network for a square picture of `size` pixels; peers are run on a device without memory.

    UserError when the network cannot take such pictures.
    """
    if isinstance(spec, NetSpec):
        return total_cost(spec, size)
    from convnext.peers import built_for_size, peer_cost

    return peer_cost(built_for_size(spec, size), size)


def require_fits(spec: Spec, size: int) -> None:
    """Raise UserError where the network of a spec, as it is built, cannot take pictures of `size` pixels."""
    if isinstance(spec, NetSpec):
        total_cost(spec, size)
        return
    from convnext.peers import peer_cost

    peer_cost(spec, size)


def build_empty(spec: Spec) -> "Classifier":
    """Build the network of a spec without memory for its weights, and without drawing random numbers for them."""
    if isinstance(spec, PeerSpec):
        from convnext.peers import without_memory

        return without_memory(spec)
    import torch

    with torch.device("meta"):
        return build(spec)


def model_name(spec: Spec) -> str | None:
    """Return the registered name of a spec, whatever its options (classes, channels, stem stride, LayerScale).

    A peer's is its short name where it is a system of the paper, else LIBRARY:NAME; None for a NetSpec of no name.
    """
    if isinstance(spec, PeerSpec):
        same = [entry.name for entry in PEERS.values() if entry.spec.name == spec.name and not spec.options]
        return same[0] if same and spec.library == "timm" else spec.title
    for name, entry in MODELS.items():
        if _without_options(spec) == _without_options(entry.spec):
            return name
    return None


def _without_options(spec: NetSpec) -> dict[str, Any]:
    options = ("num_classes", "in_channels", "stem_stride", "layer_scale")
    return {name: value for name, value in spec.to_dict().items() if name not in options}


def with_model_settings(spec: NetSpec, settings: Mapping[str, Any]) -> NetSpec:
    """Return the spec with fields replaced, as `--set model.width=26` asks; UserError for an unknown field."""
    known = [field.name for field in fields(NetSpec) if field.name not in ("num_classes", "in_channels")]
    for name in settings:
        if name not in known:
            near = nearest(f"model.{name}", [f"model.{one}" for one in known])
            why = "; the data decides it" if name in ("num_classes", "in_channels") else near
            raise UserError(f"model.{name} cannot be set{why}")
    # On a command line "none" means no value, which only LayerScale can have; elsewhere it is a word.
    words = {name: "none" for name, value in settings.items() if value is None and name != "layer_scale"}
    return NetSpec.from_dict({**spec.to_dict(), **settings, **words})


@overload
def create_model(
    model: NetSpec,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    size: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | EllipsisType | None = ...,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
) -> "Network": ...
@overload
def create_model(
    model: str | Spec,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    size: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | EllipsisType | None = ...,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
) -> "Classifier": ...
def create_model(
    model: str | Spec,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    size: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | EllipsisType | None = ...,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
) -> "Classifier":
    """Build a model with fresh weights.

    model        a registered name, a roadmap row REGIME:STEP, a peer's name, or a spec
    num_classes, in_channels, stem_stride   None keeps the spec's (1000 classes, 3 channels, stride 4)
    size         side in pixels of the pictures; only peers with a grid of fixed size (Swin, ViT) are built for one
    drop_path    stochastic depth of the last block, growing linearly from 0 over all blocks
    layer_scale  start of LayerScale, None for off; left out, the spec's
    head_scale   factor on the head's start

    Raises UserError for an unknown name, a missing library, or a value that no network can have.
    """
    spec = any_spec(model) if isinstance(model, str) else model
    spec = replace(
        spec,
        num_classes=spec.num_classes if num_classes is None else num_classes,
        in_channels=spec.in_channels if in_channels is None else in_channels,
    )
    if isinstance(spec, NetSpec):
        spec = replace(
            spec,
            stem_stride=spec.stem_stride if stem_stride is None else stem_stride,
            layer_scale=spec.layer_scale if isinstance(layer_scale, EllipsisType) else layer_scale,
        )
    elif stem_stride is not None or not isinstance(layer_scale, EllipsisType):
        raise UserError(
            f"{spec.title} is built by its library, which knows no stem_stride and no layer_scale; leave them out"
        )
    elif size is not None:
        from convnext.peers import built_for_size

        spec = built_for_size(spec, size)
    return build(spec, drop_path=drop_path, head_scale=head_scale)


def build(spec: Spec, *, drop_path: float = 0.0, head_scale: float = 1.0) -> "Classifier":
    """Build the network of a spec of either kind, with fresh weights."""
    if isinstance(spec, NetSpec):
        from convnext.network import Network

        return Network(spec, drop_path=drop_path, head_scale=head_scale)
    from convnext.peers import Peer

    return Peer(spec, drop_path=drop_path, head_scale=head_scale)
