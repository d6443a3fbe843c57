"""The paper's training recipes, leaf by leaf, each value beside the place it comes from.

Tables 5 and 6 and sections A.1 and A.2 of the paper; where they are silent, the official code (its defaults and the
commands of its TRAINING.md), and for the classic recipe torchvision's reference. What the paper does not train is given
a value all the same, and its source says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_IN_PAPER = "not in the paper"
A1, A2 = "section A.1", "section A.2"
TRAINING = "official code: TRAINING.md"


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """The value of a leaf, where it comes from, and how it differs from the paper (None where it does not)."""

    value: Any
    source: str
    differs: str | None = None


Settings = Mapping[str, Sourced]


def sourced(source: str, **values: Any) -> dict[str, Sourced]:
    """Return leaves from one source; a leaf optim.lr is written optim__lr."""
    return {name.replace("__", "."): Sourced(value=value, source=source) for name, value in values.items()}


def guess(value: Any, why: str) -> Sourced:
    """Return a value that the paper does not say, and why it is this one."""
    return Sourced(value=value, source=f"{NOT_IN_PAPER}: {why}")


_ENGINE: Settings = {
    **sourced("ours: speed only; the official code has 10", data__workers=8),
    **sourced("not used: ImageNet has a part for validation", data__val_fraction=0.2),
    **sourced("official code: pictures are decoded in full", data__reduced_decode=False),
    "engine.precision": Sourced(
        value="auto",
        source="ours: bfloat16 where a CUDA device has it, else float32",
        differs="the official commands run in float32 (--use_amp false)",
    ),
    **sourced("ours: speed only", engine__compile=False),
    **sourced("ours: the same arithmetic; fsdp where the memory is short", engine__parallel="ddp"),
    **sourced("ours: the official code saves after each epoch", engine__save_minutes=10.0),
    **sourced("ours: how often the log is written", engine__log_every=10),
}

IMAGENET_1K: Settings = {
    **_ENGINE,
    **sourced("Table 5", data__size=224, data__batch_size=4096),
    **sourced("official code: timm's default", augment__crop_scale=(0.08, 1.0), augment__crop_ratio=(3 / 4, 4 / 3)),
    **sourced("official code: timm's default", augment__flip=0.5),
    **sourced("official code: --train_interpolation", augment__interpolation="bicubic"),
    **sourced("Table 5: (9, 0.5); official code: --aa", augment__randaugment="rand-m9-mstd0.5-inc1"),
    **sourced("Table 5; per pixel and one region by the official code", augment__erasing=0.25),
    **sourced("Table 5", mix__mixup=0.8, mix__cutmix=1.0),
    **sourced("official code: --mixup_prob; drawn for each micro-batch, as there", mix__chance=1.0),
    **sourced("official code: --mixup_switch_prob", mix__switch=0.5),
    **sourced("Table 5; inside the mixed target", mix__label_smoothing=0.1),
    **sourced("Table 5", optim__name="adamw"),
    **sourced("Table 5: absolute at this batch, the official code scales nothing", optim__lr=4e-3),
    **sourced("Table 5", optim__weight_decay=0.05, optim__betas=(0.9, 0.999)),
    **sourced("official code: --opt_eps", optim__eps=1e-8),
    **sourced("official code: biases and 1-D parameters are not decayed", optim__decay_all=False),
    **sourced("not used by AdamW", optim__momentum=0.9),
    **sourced("Table 5: none", optim__layer_decay=1.0, optim__clip=None),
    **sourced("Table 5", schedule__epochs=300, schedule__warmup_epochs=20.0, schedule__shape="cosine"),
    **sourced("official code: --min_lr", schedule__min_lr=1e-6),
    **sourced("not used by the cosine", schedule__step_epochs=30.0, schedule__step_factor=0.1),
    **sourced("Table 5: 1e-6, which is the start of the models themselves", regularise__layer_scale=None),
    **sourced("Table 5: none", regularise__head_scale=1.0),
    **sourced("not used from scratch", regularise__start="auto"),
    **sourced("Table 5", ema__decay=0.9999),
    **sourced("section A.2: 0.875 at 224, no cropping at 384", evaluate__crop=None),
    **sourced("official code: --model_ema_eval where there is an average", evaluate__weights="auto"),
}

IMAGENET_22K: Settings = {
    **IMAGENET_1K,
    **sourced("Table 5", schedule__epochs=90, schedule__warmup_epochs=5.0),
    **sourced("Table 5: none", ema__decay=None),
    **sourced("ours: the official code does not score the 22K classes", data__val_fraction=0.01),
}

FINETUNE_22K_TO_1K: Settings = {
    **IMAGENET_1K,
    **sourced("Table 6", data__batch_size=512),
    **sourced("Table 6: none", mix__mixup=0.0, mix__cutmix=0.0),
    **sourced("not used: neither Mixup nor CutMix", mix__chance=1.0, mix__switch=0.5),
    **sourced("Table 6", mix__label_smoothing=0.1, augment__erasing=0.25),
    **sourced("Table 6: (9, 0.5); official code: --aa", augment__randaugment="rand-m9-mstd0.5-inc1"),
    **sourced("Table 6", optim__name="adamw", optim__weight_decay=1e-8, optim__betas=(0.9, 0.999)),
    **sourced("Table 6: absolute at this batch", optim__lr=5e-5),
    **sourced("Table 6; the groups by section A.2: three blocks in a row", optim__layer_decay=0.8),
    **sourced("Table 6: none", optim__clip=None, schedule__warmup_epochs=0.0),
    **sourced("Table 6", schedule__epochs=30, schedule__shape="cosine"),
    **sourced("Table 6: pre-trained", regularise__layer_scale=None),
    **sourced("Table 6", regularise__head_scale=0.001),
    **sourced(f"{A2}: not the average, even where there is one", regularise__start="raw"),
    **sourced("Table 6: none", ema__decay=None),
}

_384 = sourced("Table 6", data__size=384)
FINETUNE_22K_TO_1K_384: Settings = {**FINETUNE_22K_TO_1K, **_384}
FINETUNE_1K_384: Settings = {
    **FINETUNE_22K_TO_1K,
    **_384,
    **sourced("Table 6; the groups by section A.2: three blocks in a row", optim__layer_decay=0.7),
}

_TORCHVISION = "torchvision's reference training, whose 76.13 Table 10 quotes"
CLASSIC_90: Settings = {
    **_ENGINE,
    **sourced(_TORCHVISION, data__size=224, data__batch_size=256),
    **sourced("torchvision's reference: 8 GPUs of 32, BatchNorm counts on each", engine__micro_batch=32),
    **sourced(_TORCHVISION, augment__crop_scale=(0.08, 1.0), augment__crop_ratio=(3 / 4, 4 / 3), augment__flip=0.5),
    **sourced(_TORCHVISION, augment__interpolation="bilinear", augment__randaugment=None, augment__erasing=0.0),
    **sourced(_TORCHVISION, mix__mixup=0.0, mix__cutmix=0.0, mix__label_smoothing=0.0),
    **sourced("not used: neither Mixup nor CutMix", mix__chance=1.0, mix__switch=0.5),
    **sourced(_TORCHVISION, optim__name="sgd", optim__lr=0.1, optim__momentum=0.9),
    **sourced("torchvision's reference: everything is decayed", optim__weight_decay=1e-4, optim__decay_all=True),
    **sourced("not used by SGD", optim__betas=(0.9, 0.999), optim__eps=1e-8),
    **sourced(_TORCHVISION, optim__layer_decay=1.0, optim__clip=None),
    **sourced(_TORCHVISION, schedule__epochs=90, schedule__warmup_epochs=0.0),
    **sourced("torchvision's reference: a tenth every 30 epochs", schedule__shape="step"),
    **sourced(
        "torchvision's reference: a tenth every 30 epochs", schedule__step_epochs=30.0, schedule__step_factor=0.1
    ),
    **sourced("not used by the steps", schedule__min_lr=0.0),
    **sourced(_TORCHVISION, regularise__drop_path=0.0),
    **sourced("the model's own", regularise__layer_scale=None),
    **sourced(_TORCHVISION, regularise__head_scale=1.0, ema__decay=None),
    **sourced("not used from scratch", regularise__start="auto"),
    **sourced("torchvision's reference: short side 256, crop 224", evaluate__crop=None),
    **sourced("there is no average", evaluate__weights="auto"),
}

# Kin are the models that share their values: "little" are those below Tiny; a roadmap row goes with where it starts.
_CONVNEXTS = ("tiny", "small", "base", "large", "xlarge")
_ISOTROPIC = ("isotropic_small", "isotropic_base", "isotropic_large")
_RESNETS = ("resnet50", "resnet200", "quarter")
KIN = ("little", *_CONVNEXTS, *_ISOTROPIC, *_RESNETS)

_UNDERFIT: Settings = {
    "little": guess(0.0, "nets below Tiny underfit, so none"),
    "quarter": guess(0.0, "a quarter of the width underfits, so none"),
}
_FINETUNE_DROP_PATH: Settings = {
    **_UNDERFIT,
    **sourced("Table 6", tiny=0.0, small=0.1, base=0.2, large=0.3, xlarge=0.4),
    "isotropic_small": guess(0.1, "S's"),
    "isotropic_base": guess(0.2, "B's"),
    "isotropic_large": guess(0.3, "L's"),
    "resnet50": guess(0.0, "T's"),
    "resnet200": guess(0.2, "B's"),
}
DROP_PATH: Mapping[str, Settings] = {
    "imagenet-1k": {
        **_UNDERFIT,
        **sourced("Table 5", tiny=0.1, small=0.4, base=0.5, large=0.5),
        "xlarge": guess(0.5, "XL is not trained on 1K alone; L's"),
        **sourced(A1, isotropic_small=0.1, isotropic_base=0.2, isotropic_large=0.5),
        **sourced("the authors' early code: every run of the ResNet-50 regime", resnet50=0.1),
        "resnet200": guess(0.5, "it does not say for the ResNet-200 regime; that of ConvNeXt-B, where it ends"),
    },
    "imagenet-22k": {
        **_UNDERFIT,
        **sourced("Table 5", tiny=0.0, small=0.0, base=0.1, large=0.1, xlarge=0.2),
        "isotropic_small": guess(0.0, "S's"),
        "isotropic_base": guess(0.1, "B's"),
        "isotropic_large": guess(0.1, "L's"),
        "resnet50": guess(0.0, "T's"),
        "resnet200": guess(0.1, "B's"),
    },
    "finetune-22k-to-1k": _FINETUNE_DROP_PATH,
    "finetune-22k-to-1k-384": _FINETUNE_DROP_PATH,
    "finetune-1k-384": {
        **_UNDERFIT,
        "tiny": guess(0.2, "1.6 times from scratch, as B's, rounded"),
        "small": guess(0.6, "1.6 times from scratch, as B's, rounded"),
        **sourced("Table 6", base=0.8, large=0.95),
        "xlarge": guess(0.95, "XL is not trained on 1K alone; L's"),
        "isotropic_small": guess(0.2, "1.6 times from scratch, as B's, rounded"),
        "isotropic_base": guess(0.3, "1.6 times from scratch, as B's, rounded"),
        "isotropic_large": guess(0.8, "1.6 times from scratch, as B's"),
        "resnet50": guess(0.2, "1.6 times from scratch, as B's, rounded"),
        "resnet200": guess(0.8, "B's"),
    },
}


def _micro_batches(others: int, **commands: int) -> Settings:
    """Return the pictures at once on a GPU: `others` where the official commands name no number for a kin."""
    nearest = Sourced(value=others, source=f"{TRAINING} names none for this model; that of its nearest relatives")
    return {**dict.fromkeys(KIN, nearest), **sourced(TRAINING, **commands)}


MICRO_BATCH: Mapping[str, Settings] = {
    "imagenet-1k": {
        **_micro_batches(128, tiny=128, small=128, base=128, large=64),
        **sourced(TRAINING, isotropic_small=128, isotropic_base=128, isotropic_large=64),
        **sourced(f"{TRAINING}: that of its training on 22K", xlarge=32),
    },
    "imagenet-22k": _micro_batches(32, base=32, large=32, xlarge=32),
    "finetune-22k-to-1k": _micro_batches(32, base=32, large=32, xlarge=16),
    "finetune-22k-to-1k-384": _micro_batches(16, base=16, large=16, xlarge=8),
    "finetune-1k-384": {
        **_micro_batches(32, base=32, large=32),
        **sourced(f"{TRAINING}: that of its fine-tuning from 22K", xlarge=8),
    },
}

_NO_EMA = sourced(f"{A1}: off in the roadmap, where it severely hurts BatchNorm", ema__decay=None)
_OWN_START = sourced("the model's own", regularise__layer_scale=None)
_LONG_WARMUP = sourced(A1, schedule__warmup_epochs=50.0)
_OFF_START = sourced(f"{A1}: off, as in the model itself", regularise__layer_scale=None)
EXCEPTIONS: Mapping[tuple[str, str], Settings] = {
    **{("imagenet-1k", kin): {**_NO_EMA, **_OWN_START} for kin in _RESNETS},
    **{("imagenet-22k", kin): _OWN_START for kin in (*_RESNETS, *_ISOTROPIC)},
    ("imagenet-1k", "isotropic_small"): {**_LONG_WARMUP, **_OFF_START},
    ("imagenet-1k", "isotropic_base"): {**_LONG_WARMUP, **_OFF_START},
    ("imagenet-1k", "isotropic_large"): _LONG_WARMUP,
    ("finetune-22k-to-1k", "xlarge"): sourced("Table 6: of the fine-tuned, XL alone has one", ema__decay=0.9999),
    ("finetune-22k-to-1k-384", "xlarge"): sourced("Table 6: of the fine-tuned, XL alone has one", ema__decay=0.9999),
    ("finetune-1k-384", "large"): sourced(
        f"{A2}: L trained on 1K overfits, so it goes on from the average", regularise__start="ema"
    ),
}


def by_kin(name: str, settings: Settings) -> dict[str, Settings]:
    """Return by kin the whole of a recipe of Table 5 or 6: `settings`, and what the kin has of its own."""
    return {
        kin: {
            **settings,
            "regularise.drop_path": DROP_PATH[name][kin],
            "engine.micro_batch": MICRO_BATCH[name][kin],
            **EXCEPTIONS.get((name, kin), {}),
        }
        for kin in KIN
    }


def isotropic() -> dict[str, Settings]:
    """Return the isotropic recipe by kin: 1K's with a warm-up of 50 epochs, for whatever model is asked for."""
    longer = {"schedule.warmup_epochs": guess(50.0, "that of the isotropic nets")}
    return {
        kin: {**one, **(_LONG_WARMUP if kin in _ISOTROPIC else longer)}
        for kin, one in by_kin("imagenet-1k", IMAGENET_1K).items()
    }


def roadmap() -> dict[str, Settings]:
    """Return the recipe of Figure 2's rows by kin: 1K's without the average."""
    return {kin: {**one, **_NO_EMA} for kin, one in by_kin("imagenet-1k", IMAGENET_1K).items()}
