"""The generated tables of docs/detection.md and docs/segmentation.md."""

import json
from pathlib import Path
from typing import Any

from markdown_table import markdown

from convnext.detection.cost import detector_costs
from convnext.detection.reference import DETECTION_ROWS
from convnext.detection.spec import detector_spec
from convnext.recipes import recipe_for
from convnext.segmentation.cost import segmenter_cost
from convnext.segmentation.reference import NUM_CLASSES, TABLE_4
from convnext.segmentation.spec import segmenter_spec
from convnext.setting import shown

RESULTS = Path(__file__).resolve().parent.parent / "results" / "dense"
# The models that the paper trains with each recipe; of ours, those that they are made for.
DENSE_ROWS = {
    "coco-mask-rcnn": ("tiny",),
    "coco-cascade-mask-rcnn": ("tiny", "small", "base"),
    "coco-cascade-mask-rcnn-22k": ("base", "large", "xlarge"),
    "ade20k": ("tiny", "small", "base"),
    "ade20k-22k": ("base", "large", "xlarge"),
    "detect-small": ("atto", "tiny"),
    "segment-small": ("atto", "tiny"),
}


def dense_recipes_table() -> str:
    """Return the recipes of detection and segmentation, each for the models that the paper trains with it."""
    rows = []
    for name, models in DENSE_ROWS.items():
        for model in models:
            one = recipe_for(name, f"convnext_{model}")
            schedule, optim = one.schedule, one.optim
            warm = f"{schedule.warmup_epochs:g}" if schedule.warmup_steps is None else f"{schedule.warmup_steps} steps"
            shape = f"drops at {shown(schedule.drops)}" if schedule.shape == "drops" else schedule.shape
            decay = f"{shown(optim.layer_decay)} by {optim.decay_by}" if optim.layer_decay < 1 else "none"
            sides = f"{one.data.size}"
            if one.detect is not None:
                low, high = one.detect.short_sides
                sides = f"{low}-{high} ({one.data.size}), at most {one.detect.longest}"
            rows.append(
                [
                    f"`{name}`",
                    f"`convnext_{model}`",
                    sides,
                    str(one.data.batch_size),
                    f"{schedule.epochs} ({warm})",
                    shape,
                    shown(optim.lr),
                    decay,
                    shown(one.regularise.drop_path),
                ]
            )
    columns = ["recipe", "model", "pixels", "batch", "epochs (warm-up)", "rate", "lr", "layer decay"]
    return markdown([*columns, "stochastic depth"], rows)


def detection_cost_table() -> str:
    """Return Table 3: what is counted beside what is printed."""
    rows = []
    for row in DETECTION_ROWS:
        if row.gmacs is None or not row.model.startswith(("convnext", "resnet")):
            continue
        total = detector_costs(detector_spec(row.model, row.head, 80))[-1]
        counted = f"{total.gmacs:.1f}"
        cells = [
            f"`{row.model}`",
            f"`{row.head}`",
            row.pretrained,
            f"{total.params / 1e6:.0f}",
            counted,
            str(row.gmacs),
        ]
        rows.append([*cells, _difference(total.gmacs, row.gmacs), f"{row.box_ap:.1f}", f"{row.mask_ap:.1f}"])
    columns = ["model", "head", "pre-trained on", "M params", "GMACs", "printed", "difference", "box AP, paper"]
    return markdown([*columns, "mask AP, paper"], rows)


def _difference(counted: float, printed: float) -> str:
    percent = round(100 * (counted / printed - 1), 1)
    return f"{percent:+.1f}%" if percent else "0.0%"


def segmentation_cost_table() -> str:
    """Return Table 4: what is counted beside what is printed."""
    rows = []
    for row in TABLE_4:
        if row.gmacs is None or not row.model.startswith("convnext"):
            continue
        cost = segmenter_cost(segmenter_spec(row.model, NUM_CLASSES), row.height, row.width)
        params = f"{cost.params / 1e6:.0f}"
        single = "" if row.miou_single_scale is None else f"{row.miou_single_scale:.1f}"
        rows.append(
            [
                f"`{row.model}`",
                row.pretrained_on,
                str(row.crop),
                f"{params} ({row.params_millions})" if row.params_millions else params,
                f"{(cost.macs + cost.elementwise) / 1e9:.0f}",
                str(row.gmacs),
                f"{row.miou_multi_scale:.1f}",
                single,
            ]
        )
    columns = [
        "model",
        "pre-trained on",
        "crop",
        "M params (printed)",
        "GMACs",
        "printed",
        "mIoU, several scales, paper",
    ]
    return markdown([*columns, "one scale, paper"], rows)


def detection_measured_table() -> str:
    """Return how far a small Mask R-CNN learns eighty pictures by heart."""
    return _measured("coco-tiny.json", ("train_box_ap50", "train_box_ap", "train_mask_ap50", "train_mask_ap"))


def segmentation_measured_table() -> str:
    """Return mIoU on CamVid of UperNet on ConvNeXt-Atto and on the ResNet of equal cost."""
    return _measured("camvid.json", ("miou", "pixel_accuracy", "class_accuracy"))


def _measured(name: str, measures: tuple[str, ...]) -> str:
    one: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    rows = [
        [
            run["name"],
            f"{run['params'] / 1e6:.1f}",
            f"{run['gmacs']:.2f}",
            str(run["epochs"]),
            *(f"{run[measure]:.1f}" for measure in measures),
            f"{run['seconds'] / 60:.0f}",
            f"{run['images_per_second']:.1f}",
            "" if run["peak_memory_mb"] is None else f"{run['peak_memory_mb'] / 1000:.1f}",
        ]
        for run in one["runs"]
    ]
    columns = ["", "M params", "GMACs", "epochs", *(measure.replace("_", " ") for measure in measures)]
    machine, versions = one["machine"], one["versions"]
    commands = "".join(f"- `{run['command']}`{_backbone(run)}\n" for run in one["runs"])
    where = f"{machine['processor']}, {machine['threads']} threads, torch {versions['torch']}"
    return markdown([*columns, "minutes", "images/s", "GB"], rows) + (
        f"\n{one['data']}. {one['note']} {where}; commit {one['commit']}, {one['date']}.\n\n{commands}"
    )


def _backbone(run: dict[str, Any]) -> str:
    """Return how the stages were trained that a run begins with."""
    before = run.get("backbone")
    if before is None:
        return ""
    return (
        f", where that run is `{before['command']}`: top-1 {before['top1']:.1f}%, {before['seconds'] / 60:.0f} minutes"
    )
