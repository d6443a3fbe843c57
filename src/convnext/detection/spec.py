"""DetectorSpec: a detector as one frozen value, a network and the heads on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from convnext.errors import UserError, nearest
from convnext.models import model_spec
from convnext.spec import NetSpec

HeadName = Literal["faster-rcnn", "mask-rcnn", "cascade-mask-rcnn"]
Convention = Literal["torchvision", "openmmlab"]


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """A detector (section 3.4 and Table 3 of the paper).

    backbone      the network; its number of classes means nothing here and becomes 1
    head          which detector
    num_classes   classes without the background
    convention    "openmmlab": as the paper trained its detectors; "torchvision": as torchvision's Faster and Mask R-CNN
                  do it. They differ in anchors, RoIAlign, assignment, losses and in where the background stands
    freeze_norms  whether the BatchNorms of the network keep their numbers for good
    frozen_eps    what they then add to the variance; torchvision's COCO weights were trained with 0
    norm_outputs  whether a LayerNorm stands on each map of the network; None: on those of LayerNorm networks
    channels      of the feature pyramid and of the convolutions of the heads
    hidden        outputs of the fully connected layers of the box heads
    sampled_boxes proposals of a picture from which the box heads learn, at most
    score_threshold, nms_threshold, max_detections   which boxes are told, after what overlap (IoU) a worse one of the
                  same class is dropped, and how many are told at most for a picture

    Raises UserError when a field has a value that no detector can have.
    """

    backbone: NetSpec
    head: HeadName
    num_classes: int
    convention: Convention = "openmmlab"
    freeze_norms: bool = False
    frozen_eps: float = 1e-5
    norm_outputs: bool | None = None
    channels: int = 256
    hidden: int = 1024
    sampled_boxes: int = 512
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", replace(self.backbone, num_classes=1))
        for name, choices in (("head", get_args(HeadName)), ("convention", get_args(Convention))):
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("num_classes", "channels", "hidden", "sampled_boxes", "max_detections"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("freeze_norms", "norm_outputs"):
            if getattr(self, name) not in (True, False, None):
                raise UserError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if isinstance(self.frozen_eps, bool) or not isinstance(self.frozen_eps, int | float) or self.frozen_eps < 0:
            raise UserError(f"frozen_eps must be a number of at least 0, got {self.frozen_eps!r}")
        for name in ("score_threshold", "nms_threshold"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {value!r}")
        if self.head == "cascade-mask-rcnn" and self.convention == "torchvision":
            raise UserError(
                "torchvision has no Cascade Mask R-CNN; take the convention openmmlab for the head cascade-mask-rcnn"
            )
        if self.norm_outputs is None:
            object.__setattr__(self, "norm_outputs", self.backbone.norm == "layer")

    @property
    def has_masks(self) -> bool:
        """Whether it gives a mask for each object."""
        return self.head != "faster-rcnn"

    @property
    def num_stages(self) -> int:
        """How many box heads refine a box, one after the other."""
        return 3 if self.head == "cascade-mask-rcnn" else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {**asdict(self), "backbone": self.backbone.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DetectorSpec":
        """Build a spec from `to_dict` values; UserError names an unknown or missing field."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"DetectorSpec has no field {name}{nearest(name, known)}")
        for name in ("backbone", "head", "num_classes"):
            if name not in values:
                raise UserError(f"DetectorSpec needs the field {name}; it is missing from {sorted(values)}")
        return cls(**{**values, "backbone": NetSpec.from_dict(values["backbone"])})


def detector_spec(
    model: str | NetSpec,
    head: HeadName,
    num_classes: int,
    *,
    convention: Convention = "openmmlab",
    freeze_norms: bool = False,
    layer_scale: float = 1.0,
) -> DetectorSpec:
    """Return the spec of a detector on a registered network or a spec.

    layer_scale   where LayerScale starts in networks that have it: at 1 for detection, as in the paper's detectors; a
                  network given to `build_detector` brings its own scales

    UserError for an unknown name.
    """
    backbone = model_spec(model) if isinstance(model, str) else model
    if backbone.layer_scale is not None:
        backbone = replace(backbone, layer_scale=layer_scale)
    return DetectorSpec(
        backbone=backbone, head=head, num_classes=num_classes, convention=convention, freeze_norms=freeze_norms
    )
