"""The JSON files that timm and transformers put beside weights: preprocessing and labels, read and written.

timm keeps both in config.json (`pretrained_cfg`, `label_names`); transformers keeps labels in config.json (`id2label`)
and preprocessing in preprocessor_config.json.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from convnext.errors import UserError
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD, SQUASH_FROM_PX, Interpolation, Preprocess
from convnext.spec import NetSpec

# PIL's numbers, as transformers writes them.
_RESAMPLE: dict[Interpolation, int] = {"nearest": 0, "bilinear": 2, "bicubic": 3}


def default_preprocess(in_channels: int) -> Preprocess:
    """Return the paper's preprocessing for weights that come without any; grey pictures get the mean of the colours."""
    standard = Preprocess.for_size(224)
    if in_channels != 1:
        return standard
    return replace(standard, mean=(sum(IMAGENET_MEAN) / 3,), std=(sum(IMAGENET_STD) / 3,))


def read_preprocess(
    config: Mapping[str, Any], processor: Mapping[str, Any], in_channels: int, source: str
) -> Preprocess:
    """Return the preprocessing that config.json and preprocessor_config.json tell; either may be empty.

    UserError when they ask for something that Preprocess does not have.
    """
    try:
        if processor:
            return _from_transformers(processor)
        timm = config.get("pretrained_cfg", config)
        if isinstance(timm, Mapping) and "input_size" in timm:
            return _from_timm(timm)
    except UserError as error:
        raise UserError(f"the preprocessing beside {source} cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"the preprocessing beside {source} cannot be understood ({error}); load the weights file alone"
        ) from error
    return default_preprocess(in_channels)


def _from_timm(config: Mapping[str, Any]) -> Preprocess:
    crop, size = float(config.get("crop_pct", 0.875)), int(config["input_size"][-1])
    mode = config.get("crop_mode", "center")
    if mode not in ("center", "squash"):
        raise UserError(f"crop_mode must be center or squash, got {mode!r}")
    return Preprocess(
        size=size,
        resize="squash" if mode == "squash" else "short_side",
        crop=1.0 if mode == "squash" else crop,
        interpolation=config.get("interpolation", "bicubic"),
        mean=tuple(config.get("mean", IMAGENET_MEAN)),
        std=tuple(config.get("std", IMAGENET_STD)),
    )


def _from_transformers(processor: Mapping[str, Any]) -> Preprocess:
    names = {number: name for name, number in _RESAMPLE.items()}
    resample = processor.get("resample", 3)
    if resample not in names:
        raise UserError(f"resample must be 0, 2 or 3 (nearest, bilinear, bicubic), got {resample!r}")
    given = processor.get("size", 224)
    sides = given if isinstance(given, Mapping) else {"shortest_edge": given}
    standard = Preprocess(
        interpolation=names[resample],
        mean=tuple(processor.get("image_mean", IMAGENET_MEAN)),
        std=tuple(processor.get("image_std", IMAGENET_STD)),
    )
    if "shortest_edge" not in sides:
        return replace(standard, size=int(sides["height"]), resize="squash", crop=1.0)
    edge = int(sides["shortest_edge"])
    if processor.get("do_center_crop") and "crop_size" in processor:
        cut = processor["crop_size"]
        size = int(cut["height"] if isinstance(cut, Mapping) else cut)
        return replace(standard, size=size, crop=size / edge)
    if edge >= SQUASH_FROM_PX:
        return replace(standard, size=edge, resize="squash", crop=1.0)
    return replace(standard, size=edge, crop=float(processor.get("crop_pct") or 224 / 256))


def transformers_processor(preprocess: Preprocess) -> dict[str, Any]:
    """Return the preprocessor_config.json under which transformers does what `preprocess` does.

    ConvNextImageProcessor always squashes from 384 pixels and never below; the two other cases are written for the
    processors of ViT and BiT, which do just that.
    """
    shared = {
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "resample": _RESAMPLE[preprocess.interpolation],
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
    size = preprocess.size
    large = size >= SQUASH_FROM_PX
    if preprocess.resize == "squash" and not large:
        return {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": size, "width": size},
            **shared,
        }
    if preprocess.resize == "short_side" and large:
        return {
            "image_processor_type": "BitImageProcessor",
            "size": {"shortest_edge": preprocess.resize_px},
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            **shared,
        }
    crop = preprocess.crop
    if not large and int(size / crop) != preprocess.resize_px:
        # transformers rounds the quotient down as it comes; half a pixel more keeps it on the right side.
        crop = size / (preprocess.resize_px + 0.5)
    return {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": size},
        "crop_pct": crop,
        **shared,
    }


def transformers_config(spec: NetSpec, preprocess: Preprocess, labels: Sequence[str] | None) -> dict[str, Any]:
    """Return the config.json of ConvNextForImageClassification for a ConvNeXt.

    The eps of the last LayerNorm is written as ours, 1e-6 (transformers' default is 1e-12), so that logits agree.
    """
    names = list(labels) if labels is not None else [f"LABEL_{index}" for index in range(spec.num_classes)]
    return {
        "architectures": ["ConvNextForImageClassification"],
        "model_type": "convnext",
        "num_channels": spec.in_channels,
        "patch_size": spec.stem_stride,
        "num_stages": len(spec.depths),
        "hidden_sizes": [spec.width * 2**stage for stage in range(len(spec.depths))],
        "depths": list(spec.depths),
        "hidden_act": spec.act,
        "layer_norm_eps": 1e-6,
        "layer_scale_init_value": spec.layer_scale or 0.0,
        "drop_path_rate": 0.0,
        "image_size": preprocess.size,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def read_labels(config: Mapping[str, Any], num_classes: int) -> tuple[str, ...] | None:
    """Return the class names in a config.json, or None where there are none or only stand-ins such as LABEL_0."""
    inner = config.get("pretrained_cfg")
    timm = config.get("label_names") or (inner.get("label_names") if isinstance(inner, Mapping) else None)
    if isinstance(timm, list) and len(timm) == num_classes:
        return tuple(map(str, timm))
    named = config.get("id2label")
    if not isinstance(named, Mapping) or set(named) != {str(index) for index in range(num_classes)}:
        return None
    labels = tuple(str(named[str(index)]) for index in range(num_classes))
    return None if all(re.fullmatch(r"LABEL_\d+", label) for label in labels) else labels
