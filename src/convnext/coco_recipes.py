"""The paper's recipes for COCO, leaf by leaf, each value beside the place it comes from.

Section 4 and A.3 of the paper and, where they are silent, the configurations of the official object_detection code.
"""

from collections.abc import Mapping

from convnext.dense_recipes import DETECTS, by_kin, official
from convnext.paper_recipes import Settings, Sourced, guess, sourced

_CONFIG = "official config"
_COCO: Settings = {
    **official(DETECTS),
    **sourced(f"{_CONFIG}: the short side in evaluation", data__size=800),
    **sourced("official config, by three blocks in a row", optim__decay_by="layers"),
    **sourced("section 4: the 3x schedule", schedule__epochs=36),
    **sourced(_CONFIG, schedule__shape="drops", schedule__drops=(27.0, 33.0)),
    **sourced("official code: the framework's default", schedule__step_factor=0.1),
    **sourced("not used by this shape", schedule__min_lr=0.0, schedule__power=1.0),
    "schedule.warmup_steps": Sourced(
        value=500,
        source="official code: the framework's 1x schedule",
        differs="from 0; there from a thousandth of the rate",
    ),
    **sourced("section 4: multi-scale; by the official config", detect__short_sides=(480, 800), detect__short_step=32),
    **sourced(_CONFIG, detect__longest=1333),
    **sourced(f"{_CONFIG}: one of two policies, as in DETR", detect__crop_chance=0.5),
    **sourced(f"{_CONFIG}: 400, 500 or 600", detect__crop_shorts=(400, 600), detect__crop_step=100),
    **sourced(f"{_CONFIG}: absolute_range", detect__crop_sides=(384, 600)),
}
_MASK_RATE = sourced(f"{_CONFIG}: absolute at this batch", optim__lr=1e-4)
_CASCADE_RATE = sourced(f"{_CONFIG}: absolute at this batch", optim__lr=2e-4)


def _trained(drop_path: float, layer_decay: float) -> Settings:
    return sourced(
        "official config, of a sweep (section A.3)", regularise__drop_path=drop_path, optim__layer_decay=layer_decay
    )


def _guessed(drop_path: float, layer_decay: float, whose: str) -> Settings:
    return {"regularise.drop_path": guess(drop_path, whose), "optim.layer_decay": guess(layer_decay, whose)}


COCO: Mapping[str, Mapping[str, Settings]] = {
    "coco-mask-rcnn": by_kin(
        {**_COCO, **_MASK_RATE},
        {
            "tiny": _trained(0.4, 0.95),
            "small": _guessed(0.6, 0.95, "depth of Cascade S, decay of T"),
            "base": _guessed(0.7, 0.95, "depth of Cascade B, decay of T"),
            "large": _guessed(0.7, 0.95, "depth of Cascade L from 22K, decay of T"),
            "xlarge": _guessed(0.8, 0.95, "depth of Cascade XL from 22K, decay of T"),
        },
    ),
    "coco-cascade-mask-rcnn": by_kin(
        {**_COCO, **_CASCADE_RATE},
        {
            "tiny": _trained(0.4, 0.7),
            "small": _trained(0.6, 0.7),
            "base": _trained(0.7, 0.8),
            "large": _guessed(0.7, 0.8, "B's"),
            "xlarge": _guessed(0.8, 0.8, "depth of XL from 22K, decay of B"),
        },
    ),
    "coco-cascade-mask-rcnn-22k": by_kin(
        {**_COCO, **_MASK_RATE},
        {
            "tiny": _guessed(0.4, 0.7, "T's from 1K"),
            "small": _guessed(0.6, 0.7, "S's from 1K"),
            "base": _trained(0.6, 0.8),
            "large": _trained(0.7, 0.7),
            "xlarge": _trained(0.8, 0.7),
        },
    ),
}
