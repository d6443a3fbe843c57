"""Table 3 of the paper, COCO, a row a detector: what the paper says, never what we measured."""

from dataclasses import dataclass
from typing import Literal

from convnext.detection.spec import HeadName

TABLE = "3"


@dataclass(frozen=True, kw_only=True)
class DetectionRow:
    """One printed row.

    head, model          the detector and the registered name of its network (Swin is another's: a peer)
    pretrained           data that the network was trained on before
    gmacs                at 1280x800 with 1,000 proposals through each box head and 100 through each mask head, printed
                         as GFLOPs; None: the row has the number of the one with the same network
    images_per_second    on an A100
    box_ap, mask_ap      COCO val2017
    """

    head: HeadName
    model: str
    pretrained: Literal["ImageNet-1K", "ImageNet-22K"]
    gmacs: int | None
    images_per_second: float | None
    box_ap: float
    mask_ap: float


def _mask(model: str, gmacs: int, images_per_second: float, box_ap: float, mask_ap: float) -> DetectionRow:
    return DetectionRow(
        head="mask-rcnn",
        model=model,
        pretrained="ImageNet-1K",
        gmacs=gmacs,
        images_per_second=images_per_second,
        box_ap=box_ap,
        mask_ap=mask_ap,
    )


def _cascade(
    model: str,
    gmacs: int | None,
    images_per_second: float | None,
    box_ap: float,
    mask_ap: float,
    pretrained: Literal["ImageNet-1K", "ImageNet-22K"] = "ImageNet-1K",
) -> DetectionRow:
    return DetectionRow(
        head="cascade-mask-rcnn",
        model=model,
        pretrained=pretrained,
        gmacs=gmacs,
        images_per_second=images_per_second,
        box_ap=box_ap,
        mask_ap=mask_ap,
    )


DETECTION_ROWS: tuple[DetectionRow, ...] = (
    _mask("swin_tiny", 267, 23.1, 46.0, 41.6),
    _mask("convnext_tiny", 262, 25.6, 46.2, 41.7),
    _cascade("resnet50", 739, 16.2, 46.3, 40.1),
    _cascade("swin_tiny", 745, 12.2, 50.4, 43.7),
    _cascade("convnext_tiny", 741, 13.5, 50.4, 43.7),
    _cascade("swin_small", 838, 11.4, 51.9, 45.0),
    _cascade("convnext_small", 827, 12.0, 51.9, 45.0),
    _cascade("swin_base", 982, 10.7, 51.9, 45.0),
    _cascade("convnext_base", 964, 11.4, 52.7, 45.6),
    _cascade("swin_base", None, None, 53.0, 45.8, "ImageNet-22K"),
    _cascade("convnext_base", None, None, 54.0, 46.9, "ImageNet-22K"),
    _cascade("swin_large", 1382, 9.2, 53.9, 46.7, "ImageNet-22K"),
    _cascade("convnext_large", 1354, 10.0, 54.8, 47.6, "ImageNet-22K"),
    _cascade("convnext_xlarge", 1898, 8.6, 55.2, 47.7, "ImageNet-22K"),
)


def detection_row(
    head: HeadName, model: str, pretrained: Literal["ImageNet-1K", "ImageNet-22K"] = "ImageNet-1K"
) -> DetectionRow | None:
    """Return the row that Table 3 prints for a detector, or None."""
    for row in DETECTION_ROWS:
        if (row.head, row.model, row.pretrained) == (head, model, pretrained):
            return row
    return None
