"""The paper's recipes for ADE20K, leaf by leaf, each value beside the place it comes from.

Section 4 and Table 4 of the paper and, where they are silent, the official semantic_segmentation code: its
configurations, and BEiT's and the framework's that they are built on.
"""

from collections.abc import Mapping

from convnext.dense_recipes import SEGMENTS, by_kin, official
from convnext.paper_recipes import Settings, Sourced, guess, sourced

_CONFIG = "official config"
_ADE20K: Settings = {
    **official(SEGMENTS),
    **sourced("section 4", data__batch_size=16),
    **sourced(_CONFIG, optim__layer_decay=0.9),
    **sourced("official config, stage_wise: all downsampling learns as slowly as the stem", optim__decay_by="stages"),
    **sourced(
        "section 4: 160,000 steps of 16 of the 20,210 pictures, rounded up to epochs: 160,401 steps",
        schedule__epochs=127,
    ),
    **sourced(f"{_CONFIG}: a straight line to 0", schedule__shape="poly", schedule__power=1.0, schedule__min_lr=0.0),
    **sourced("not used by this shape", schedule__step_factor=0.1, schedule__drops=(27.0, 33.0)),
    "schedule.warmup_steps": Sourced(
        value=1500,
        source=_CONFIG,
        differs="from 0; there from a millionth of the rate",
    ),
    **sourced("official code: the framework's data set", segment__ratio=(0.5, 2.0), segment__max_class_share=0.75),
    **sourced("official code: the framework's data set", segment__photometric=True),
    **sourced(_CONFIG, segment__aux_weight=0.4),
}
_512: Settings = {
    **sourced("Table 4: the crop", data__size=512),
    **sourced("official code: the framework's data set", segment__base=(2048, 512)),
    **sourced(f"{_CONFIG}: two thirds of the window", segment__stride=341),
}
_640: Settings = {
    **sourced("Table 4: the crop", data__size=640),
    **sourced("official code: the framework's data set", segment__base=(2560, 640)),
    **sourced(f"{_CONFIG}: two thirds of the window", segment__stride=426),
}
_RATE = sourced(f"{_CONFIG}: absolute at this batch", optim__lr=1e-4)
_XL_RATE = sourced(f"{_CONFIG}: of all, XL alone has less", optim__lr=8e-5)


def _trained(drop_path: float) -> Settings:
    return {**sourced(_CONFIG, regularise__drop_path=drop_path), **_RATE}


def _guessed(drop_path: float, whose: str) -> Settings:
    return {"regularise.drop_path": guess(drop_path, whose), **_RATE}


ADE20K: Mapping[str, Mapping[str, Settings]] = {
    "ade20k": by_kin(
        {**_ADE20K, **_512},
        {
            "tiny": _trained(0.4),
            "small": _trained(0.3),
            "base": _trained(0.4),
            "large": _guessed(0.4, "L's from 22K"),
            "xlarge": {"regularise.drop_path": guess(0.4, "XL's from 22K"), "optim.lr": guess(8e-5, "XL's from 22K")},
        },
    ),
    "ade20k-22k": by_kin(
        {**_ADE20K, **_640},
        {
            "tiny": _guessed(0.4, "T's from 1K"),
            "small": _guessed(0.3, "S's from 1K"),
            "base": _trained(0.4),
            "large": _trained(0.4),
            "xlarge": {**_trained(0.4), **_XL_RATE},
        },
    ),
}
