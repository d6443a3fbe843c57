"""NetSpec: every design choice of the paper as one frozen value, and the presets built from it.

Between ResNet-50 and ConvNeXt-T lie thirteen changed fields, not two classes. `convnext.layout` says which layers
a spec stands for, `convnext.network` builds them, `convnext.cost` counts them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from convnext.errors import UserError, nearest

Stem = Literal["pool", "patch"]
Transitions = Literal["in_block", "separate", "none"]
Activation = Literal["relu", "gelu"]
Norm = Literal["batch", "layer"]
Places = Literal["every", "one"]


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """One network of the ResNet-to-ConvNeXt family (sections 2.1 to 2.6 of the paper).

    depths       blocks in each stage
    width        channels of the narrow part of the first stage's blocks; doubles with each stage
    expansion    how many times wider the wide part of a block is
    inverted     False: the block's ends are wide, its middle narrow (ResNet); True: the other way round
    stem         "pool": 7x7 convolution, norm, activation, max-pool (ResNet); "patch": one patch convolution
    stem_stride  how much the stem shrinks the picture; 4 in the paper, 16 in isotropic nets, 1 or 2 for small pictures
    transitions  "in_block": the first block of a stage strides and widens; "separate": norm and 2x2 convolution
                 between stages, with a norm after the stem and after pooling; "none": one stage (isotropic)
    depthwise    whether the spatial convolution works on each channel alone
    mixer_first  whether the spatial convolution stands before both 1x1 convolutions instead of between them
    kernel       size of the spatial convolution, in pixels of its input
    act, norm    which activation and which normalisation
    act_at       "every": after each convolution and after the sum; "one": only before the last 1x1 convolution
    norm_at      "every": after each convolution; "one": only after the spatial convolution
    layer_scale  start of the learned scale of each block's branch; None is off
    num_classes  outputs of the head
    in_channels  channels of the picture

    Raises UserError when a field has a value that no network can have.
    """

    depths: tuple[int, ...]
    width: int
    expansion: int = 4
    inverted: bool = False
    stem: Stem = "pool"
    stem_stride: int = 4
    transitions: Transitions = "in_block"
    depthwise: bool = False
    mixer_first: bool = False
    kernel: int = 3
    act: Activation = "relu"
    act_at: Places = "every"
    norm: Norm = "batch"
    norm_at: Places = "every"
    layer_scale: float | None = None
    num_classes: int = 1000
    in_channels: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.depths, tuple | list):
            raise UserError(f"depths must be a list of whole numbers such as 3,3,9,3, got {self.depths!r}")
        object.__setattr__(self, "depths", tuple(self.depths))
        for name in ("width", "expansion", "num_classes", "in_channels"):
            _require_positive(name, getattr(self, name))
        if not self.depths:
            raise UserError("depths must name at least one stage, got (); ResNet-50 has (3, 4, 6, 3)")
        for depth in self.depths:
            _require_positive("every depth", depth)
        for name, kind in get_type_hints(NetSpec).items():
            _require_kind(name, getattr(self, name), kind)
        if not _is_int(self.kernel) or self.kernel < 1 or self.kernel % 2 == 0:
            raise UserError(f"kernel must be odd, got {self.kernel}; the roadmap tries 3, 5, 7, 9, 11")
        self._check_stem()
        if self.layer_scale is not None and not (_is_number(self.layer_scale) and 0 < self.layer_scale <= 10):
            raise UserError(
                f"layer_scale must be above 0 and at most 10, or None for off, got {self.layer_scale!r}; "
                "the paper starts at 1e-6"
            )

    def _check_stem(self) -> None:
        _require_positive("stem_stride", self.stem_stride)
        allowed = (1, 2, 4) if self.stem == "pool" else (1, 2, 4, 8, 16, 32)
        if self.stem_stride not in allowed:
            raise UserError(
                f"stem_stride must be one of {', '.join(map(str, allowed))} with a {self.stem} stem, "
                f"got {self.stem_stride}; take 4, or 2 for pictures of 64 pixels and 1 for 32"
            )
        if self.isotropic and self.stem != "patch":
            raise UserError(f'stem must be "patch" with transitions "none" (isotropic), got "{self.stem}"')
        if self.isotropic != (len(self.depths) == 1):
            raise UserError(
                f'transitions must be "none" exactly when there is one stage, got "{self.transitions}" '
                f"with depths {self.depths}; take in_block or separate for several stages"
            )

    @property
    def isotropic(self) -> bool:
        """Whether the net keeps one resolution from stem to head (section 3.3)."""
        return self.transitions == "none"

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {**asdict(self), "depths": list(self.depths)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetSpec":
        """Build a spec from `to_dict` values; UserError names an unknown or missing field."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"NetSpec has no field {name}{nearest(name, known)}")
        for name in ("depths", "width"):
            if name not in values:
                raise UserError(f"NetSpec needs the field {name}; it is missing from {sorted(values)}")
        return cls(**values)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_positive(name: str, value: object) -> None:
    if not _is_int(value) or value < 1:  # type: ignore[operator]
        raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")


def _require_kind(name: str, value: object, kind: Any) -> None:
    if kind is bool and not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, got {value!r}")
    choices = get_args(kind) if getattr(kind, "__origin__", None) is Literal else ()
    if choices and value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


RESNET50 = NetSpec(depths=(3, 4, 6, 3), width=64)
RESNET200 = NetSpec(depths=(3, 24, 36, 3), width=64)

CONVNEXT_TINY = NetSpec(
    depths=(3, 3, 9, 3),
    width=96,
    inverted=True,
    stem="patch",
    transitions="separate",
    depthwise=True,
    mixer_first=True,
    kernel=7,
    act="gelu",
    act_at="one",
    norm="layer",
    norm_at="one",
    layer_scale=1e-6,
)
