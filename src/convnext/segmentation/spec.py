"""SegmenterSpec: a segmentation model as one frozen value, without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from convnext.errors import UserError, nearest
from convnext.models import model_spec
from convnext.spec import NetSpec

HeadName = Literal["upernet"]


@dataclass(frozen=True, kw_only=True)
class SegmenterSpec:
    """A UperNet on a network of the family (section 4, ADE20K).

    backbone      the network; its num_classes means nothing here
    head          the only one so far
    num_classes   classes that each pixel may have
    channels      of every map inside the head
    aux_channels  of the auxiliary head on the third map; None for no such head
    pool_scales   sides in cells of the grids to which the last map is averaged
    dropout       chance that a channel before a classifier is dropped in training
    norm_outputs  whether each of the backbone's maps is normalised; None does so where the network has LayerNorm

    UserError when a field has a value that no segmenter can have.
    """

    backbone: NetSpec
    num_classes: int
    head: HeadName = "upernet"
    channels: int = 512
    aux_channels: int | None = 256
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    dropout: float = 0.1
    norm_outputs: bool | None = None

    def __post_init__(self) -> None:
        if self.head != "upernet":
            raise UserError(f"head must be upernet, got {self.head!r}")
        for name in ("num_classes", "channels"):
            _require_positive(name, getattr(self, name))
        if self.aux_channels is not None:
            _require_positive("aux_channels", self.aux_channels)
        if not isinstance(self.pool_scales, tuple | list) or not self.pool_scales:
            raise UserError(f"pool_scales must be a list of whole numbers such as 1,2,3,6, got {self.pool_scales!r}")
        object.__setattr__(self, "pool_scales", tuple(self.pool_scales))
        for scale in self.pool_scales:
            _require_positive("every one of pool_scales", scale)
        if self.norm_outputs not in (True, False, None):
            raise UserError(f"norm_outputs must be true or false, got {self.norm_outputs!r}")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {self.dropout}; the paper uses 0.1")
        if not self.backbone.isotropic and len(self.backbone.depths) != 4:
            raise UserError(
                f"the network of a segmenter must have four stages or be isotropic, got depths {self.backbone.depths}"
            )
        if self.norm_outputs is None:
            object.__setattr__(self, "norm_outputs", self.backbone.norm == "layer")

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {**asdict(self), "backbone": self.backbone.to_dict(), "pool_scales": list(self.pool_scales)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SegmenterSpec":
        """Build a spec from `to_dict` values; UserError names an unknown or missing field."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"SegmenterSpec has no field {name}{nearest(name, known)}")
        for name in ("backbone", "num_classes"):
            if name not in values:
                raise UserError(f"SegmenterSpec needs the field {name}; it is missing from {sorted(values)}")
        return cls(**{**values, "backbone": NetSpec.from_dict(values["backbone"])})


def segmenter_spec(
    model: str | NetSpec,
    num_classes: int,
    *,
    channels: int = 512,
    aux_channels: int | None = 256,
    dropout: float = 0.1,
    layer_scale: float = 1.0,
) -> SegmenterSpec:
    """Return the paper's segmenter on a network, named as in the registry or given as a spec.

    layer_scale   where LayerScale starts in networks that have it: at 1 for segmentation (section 4, ADE20K)

    UserError for an unknown name or a value that no segmenter can have.
    """
    backbone = model_spec(model) if isinstance(model, str) else model
    if backbone.layer_scale is not None:
        backbone = replace(backbone, layer_scale=layer_scale)
    return SegmenterSpec(
        backbone=backbone, num_classes=num_classes, channels=channels, aux_channels=aux_channels, dropout=dropout
    )


def _require_positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
