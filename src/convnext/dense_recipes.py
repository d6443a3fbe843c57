"""What holds for each recipe of detection and segmentation, and those of our own: a few hundred pictures, and seconds.

The paper's are in `coco_recipes` and `ade20k_recipes`.
"""

from collections.abc import Mapping
from typing import Any

from convnext.paper_recipes import KIN, Settings, Sourced, guess, sourced

DETECTS, SEGMENTS = "not used: detect says how pictures are cut", "not used: segment says how pictures are cut"
# By kin of models, where the paper trains no detector or segmenter from them.
_NO_PAPER_DROP_PATH: Mapping[str, tuple[float, str]] = {
    "little": (0.1, "a quarter of T's, for nets below Tiny underfit"),
    "isotropic_small": (0.4, "T's"),
    "isotropic_base": (0.4, "T's"),
    "isotropic_large": (0.4, "T's"),
    "resnet50": (0.1, "that of the ResNet-50 regime in classification"),
    "resnet200": (0.4, "T's"),
    "quarter": (0.0, "a quarter of the width underfits, so none"),
}


def unused(cut: str) -> Settings:
    """Return the leaves that classification alone has a use for, off or at their default; `cut` says why no crop."""
    return {
        **sourced("not used: the data has a part for validation", data__val_fraction=0.2),
        **sourced("pictures are decoded in full", data__reduced_decode=False),
        **sourced(cut, augment__crop_scale=(0.35, 1.0), augment__crop_ratio=(3 / 4, 4 / 3)),
        **sourced("none, for labels have a place", augment__randaugment=None, augment__erasing=0.0),
        **sourced("none, for labels have a place", mix__mixup=0.0, mix__cutmix=0.0, mix__label_smoothing=0.0),
        **sourced("not used: neither Mixup nor CutMix", mix__chance=1.0, mix__switch=0.5),
        **sourced("not used by AdamW", optim__momentum=0.9),
        **sourced("not used by this shape", schedule__step_epochs=30.0),
        **sourced("not used: heads of dense tasks start as they are", regularise__head_scale=1.0),
        **sourced("no average", ema__decay=None),
        **sourced("not used: whole pictures are scored", evaluate__crop=None),
        **sourced("there is no average", evaluate__weights="auto"),
        **sourced("ours: speed only", engine__compile=False),
        **sourced("ours: the same arithmetic; fsdp is for classification", engine__parallel="ddp"),
        **sourced("ours: how often a run is saved", engine__save_minutes=10.0),
        **sourced("ours: how often the log is written", engine__log_every=10),
    }


def official(cut: str) -> Settings:
    """Return what the official configurations of COCO and of ADE20K have alike; `cut` as in `unused`."""
    config, precision = "official config", "ours: bfloat16 where a CUDA device has it, else float32"
    return {
        **unused(cut),
        **sourced("ours: speed only", data__workers=8),
        **sourced("official code: 8 GPUs of 2 pictures", data__batch_size=16, engine__micro_batch=2),
        **sourced(config, augment__flip=0.5),
        **sourced("official code: the framework's default", augment__interpolation="bilinear"),
        **sourced(config, optim__name="adamw", optim__weight_decay=0.05, optim__betas=(0.9, 0.999)),
        **sourced("official code: PyTorch's default", optim__eps=1e-8),
        **sourced("official code: biases and 1-D parameters are not decayed", optim__decay_all=False),
        **sourced(f"{config}: none", optim__clip=None),
        **sourced("not used: the warm-up is counted in steps", schedule__warmup_epochs=0.0),
        **sourced(f"{config}; given weights have their own", regularise__layer_scale=1.0),
        **sourced("section A.3: the final weights, not the average", regularise__start="raw"),
        "engine.precision": Sourced(
            value="auto",
            source=precision,
            differs="the official configs run in float16, and L and XL, where that fails, in float32",
        ),
    }


def by_kin(settings: Settings, own: Mapping[str, Settings]) -> dict[str, Settings]:
    """Return by kin the whole of a recipe: `settings`, and what the kin has of its own.

    A kin without any of its own has what T has, but for stochastic depth a guess. What `own` has for T must be all that
    differs from kin to kin.
    """
    found: dict[str, Settings] = {}
    for kin in KIN:
        if kin in own:
            found[kin] = {**settings, **own[kin]}
            continue
        value, why = _NO_PAPER_DROP_PATH[kin]
        as_tiny = {leaf: guess(one.value, "T's") for leaf, one in own["tiny"].items()}
        found[kin] = {**settings, **as_tiny, "regularise.drop_path": guess(value, why)}
        if kin != "little":
            # A start of 1 would give a LayerScale to networks that have none.
            found[kin] = {**found[kin], **sourced("the model's own", regularise__layer_scale=None)}
    return found


def _ours(why: str, **values: Any) -> dict[str, Sourced]:
    return sourced(f"ours: {why}", **values)


_OWN_DATA = {
    **_ours("part held out where the data has none for validation", data__val_fraction=0.2),
    **_ours("the default", data__workers=2, augment__flip=0.5, augment__interpolation="bilinear"),
    **_ours("as many steps as few pictures allow", data__batch_size=8),
    **_ours("a whole batch at these sizes", engine__micro_batch=8),
    **_ours("the default", optim__name="adamw", optim__betas=(0.9, 0.999), optim__eps=1e-8, optim__decay_all=False),
    **_ours("as on COCO and ADE20K", optim__weight_decay=0.05),
    **_ours("1e-4 is for nets of T and above; little nets take more", optim__lr=2e-4),
    **_ours("none, so that it serves from given weights and from scratch", optim__layer_decay=1.0),
    **_ours("not used without layer decay", optim__decay_by="layers"),
    **_ours("one odd picture of a small batch does not throw the weights", optim__clip=10.0),
    **_ours("down to nothing", schedule__min_lr=1e-6),
    **_ours("not used by this shape", schedule__step_factor=0.1, schedule__drops=(27.0, 33.0)),
    **_ours("in epochs, for few pictures make few steps", schedule__warmup_steps=None),
    **_ours("the model's own", regularise__layer_scale=None),
    **_ours("whichever weights a file holds", regularise__start="auto"),
    **_ours("bfloat16 where a CUDA device has it, else float32", engine__precision="auto"),
}
_SMALL_DETECT: Settings = {
    **unused(DETECTS),
    **_OWN_DATA,
    **_ours("the short side in scoring: a tenth of the time of 800; --size changes all sizes", data__size=320),
    **_ours("around the size in scoring, as 480 to 800 around 640", detect__short_sides=(256, 384)),
    **_ours("as on COCO", detect__short_step=32, detect__crop_chance=0.5),
    **_ours("twice the size in scoring", detect__longest=640),
    **_ours(
        "as on COCO, for these sizes",
        detect__crop_shorts=(240, 340),
        detect__crop_step=50,
        detect__crop_sides=(192, 320),
    ),
    **_ours("some thousand steps of a few hundred pictures; from scratch --epochs 200", schedule__epochs=50),
    **_ours("a twenty-fifth of the epochs", schedule__warmup_epochs=2.0),
    **_ours("needs no epochs to be chosen", schedule__shape="cosine"),
    **_ours("not used by this shape", schedule__power=1.0),
}
_SMALL_SEGMENT: Settings = {
    **unused(SEGMENTS),
    **_OWN_DATA,
    **_ours("crop and window: two fifths of the time of 512; --size changes all sizes", data__size=320),
    **_ours("a short side of the crop's, as on ADE20K", segment__base=(1280, 320)),
    **_ours("as on ADE20K", segment__ratio=(0.5, 2.0), segment__max_class_share=0.75, segment__photometric=True),
    **_ours("as on ADE20K: two thirds of the window", segment__stride=213),
    **_ours("as on ADE20K", segment__aux_weight=0.4),
    **_ours("some thousand steps of a few hundred pictures; from scratch --epochs 200", schedule__epochs=60),
    **_ours("a twentieth of the epochs", schedule__warmup_epochs=3.0),
    **_ours("as on ADE20K: a straight line", schedule__shape="poly", schedule__power=1.0),
}
_ON = "every element is on, so that what would break breaks now"
_SMOKE = {
    **_ours("seconds", data__batch_size=4, data__workers=0, schedule__epochs=2, data__size=64),
    **_ours("seconds", optim__lr=1e-3, schedule__warmup_epochs=0.0),
    **_ours("two micro-batches a step", engine__micro_batch=2),
    **_ours(_ON, optim__clip=5.0, optim__layer_decay=0.9, schedule__warmup_steps=2, regularise__drop_path=0.1),
    **_ours(_ON, ema__decay="auto"),
}
_SMOKE_DETECT: Settings = {
    **_SMALL_DETECT,
    **_SMOKE,
    **_ours("seconds", detect__short_sides=(48, 64), detect__short_step=16, detect__longest=96),
    **_ours("seconds", detect__crop_shorts=(64, 64), detect__crop_step=8, detect__crop_sides=(32, 48)),
    **_ours(_ON, optim__decay_by="layers", schedule__shape="drops", schedule__drops=(1.0, 1.5)),
    **_ours(_ON, schedule__step_factor=0.1),
}
_SMOKE_SEGMENT: Settings = {
    **_SMALL_SEGMENT,
    **_SMOKE,
    **_ours("seconds", segment__base=(256, 64), segment__stride=43),
    **_ours(_ON, optim__decay_by="stages", schedule__shape="poly", schedule__power=0.9),
}
_SMALL_DROP_PATH = {
    "little": 0.05,
    "tiny": 0.1,
    "small": 0.2,
    "base": 0.3,
    "large": 0.4,
    "xlarge": 0.4,
    "isotropic_small": 0.1,
    "isotropic_base": 0.2,
    "isotropic_large": 0.3,
    "resnet50": 0.05,
    "resnet200": 0.2,
    "quarter": 0.0,
}


def _small(settings: Settings) -> dict[str, Settings]:
    grown = {kin: _ours("grows with the model", regularise__drop_path=value) for kin, value in _SMALL_DROP_PATH.items()}
    large = _ours("as on COCO and ADE20K", optim__lr=1e-4)
    return {kin: {**settings, **grown[kin], **({} if kin in _LITTLE else large)} for kin in KIN}


_LITTLE = ("little", "quarter")
SMALL: Mapping[str, Mapping[str, Settings]] = {
    "detect-small": _small(_SMALL_DETECT),
    "segment-small": _small(_SMALL_SEGMENT),
    "detect-smoke": dict.fromkeys(KIN, _SMOKE_DETECT),
    "segment-smoke": dict.fromkeys(KIN, _SMOKE_SEGMENT),
}
