"""Table 4 of the paper, UperNet on ADE20K: what it prints, a row a network, never what we measured.

The single-scale numbers, and the parameters of ConvNeXt-B at 640 pixels, are those of the official code's page, which
otherwise repeats the table.
"""

from dataclasses import dataclass

NUM_CLASSES = 150


@dataclass(frozen=True, kw_only=True)
class SegmentationRow:
    """One printed row.

    model             its registered name
    pretrained_on     what the backbone was trained on before
    crop, stride      side of the training crop and of the test's window, and how far that moves, in pixels
    height, width     of the picture for which multiply-adds are counted: four crops beside each other
    miou_multi_scale, miou_single_scale   validation mIoU in percent
    params_millions, gmacs                as printed; see `convnext.segmentation.cost` for what is counted
    """

    model: str
    pretrained_on: str
    crop: int
    stride: int
    height: int
    width: int
    miou_multi_scale: float
    miou_single_scale: float | None
    params_millions: int | None
    gmacs: int | None


def _row(
    model: str,
    crop: int,
    multi_scale: float,
    single_scale: float | None,
    params_millions: int | None,
    gmacs: int | None,
) -> SegmentationRow:
    return SegmentationRow(
        model=model,
        pretrained_on="ImageNet-1K" if crop == 512 else "ImageNet-22K",
        crop=crop,
        stride=341 if crop == 512 else 426,
        height=crop,
        width=4 * crop,
        miou_multi_scale=multi_scale,
        miou_single_scale=single_scale,
        params_millions=params_millions,
        gmacs=gmacs,
    )


TABLE_4: tuple[SegmentationRow, ...] = (
    _row("swin_tiny", 512, 45.8, None, None, None),
    _row("convnext_tiny", 512, 46.7, 46.0, 60, 939),
    _row("swin_small", 512, 49.5, None, None, None),
    _row("convnext_small", 512, 49.6, 48.7, 82, 1027),
    _row("swin_base", 512, 49.7, None, None, None),
    _row("convnext_base", 512, 49.9, 49.1, 122, 1170),
    _row("swin_base", 640, 51.7, None, None, None),
    _row("convnext_base", 640, 53.1, 52.6, 122, 1828),
    _row("swin_large", 640, 53.5, None, None, None),
    _row("convnext_large", 640, 53.7, 53.2, 235, 2458),
    _row("convnext_xlarge", 640, 54.0, 53.6, 391, 3335),
)
