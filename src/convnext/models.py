"""The registry: every model by name, and `create_model`.

A name is a registered model (`convnext_tiny`, `resnet50`) or a row of the roadmap written REGIME:STEP
(`resnet50:depthwise`, `quarter:kernel_7`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from convnext.errors import UserError, nearest
from convnext.roadmap import REGIMES, STEPS, spec_at
from convnext.spec import CONVNEXT_TINY, RESNET50, RESNET200, NetSpec

if TYPE_CHECKING:
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
    raise UserError(f"there is no model {name}{nearest(name, [*MODELS, *rows])} (convnext models lists them)")


def model_name(spec: NetSpec) -> str | None:
    """Return the registered name of a spec, whatever its options (classes, channels, stem stride, LayerScale)."""
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


def create_model(
    model: str | NetSpec,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | EllipsisType | None = ...,
    head_scale: float = 1.0,
    stem_stride: int | None = None,
) -> "Network":
    """Build a model with fresh weights.

    model        a registered name, a roadmap row REGIME:STEP, or a NetSpec
    num_classes, in_channels, stem_stride   None keeps the spec's (1000 classes, 3 channels, stride 4)
    drop_path    stochastic depth of the last block, growing linearly from 0 over all blocks
    layer_scale  start of LayerScale, None for off; left out, the spec's
    head_scale   factor on the head's start

    Raises UserError for an unknown name or a value that no network can have.
    """
    from convnext.network import Network

    spec = model_spec(model) if isinstance(model, str) else model
    spec = replace(
        spec,
        num_classes=spec.num_classes if num_classes is None else num_classes,
        in_channels=spec.in_channels if in_channels is None else in_channels,
        stem_stride=spec.stem_stride if stem_stride is None else stem_stride,
        layer_scale=spec.layer_scale if isinstance(layer_scale, EllipsisType) else layer_scale,
    )
    return Network(spec, drop_path=drop_path, head_scale=head_scale)
