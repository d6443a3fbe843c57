"""Recipes: refused values, overrides, differences and JSON."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from convnext.errors import UserError
from convnext.recipe import (
    Augment,
    Data,
    Ema,
    Evaluate,
    Optim,
    Recipe,
    Schedule,
    diff,
    leaves,
    with_epochs,
    with_overrides,
)
from convnext.recipes import RECIPES, recipe_named

DEFAULT = RECIPES["default"]


def test_leaf_names_are_frozen() -> None:
    assert (
        list(leaves(DEFAULT))
        == (
            "data.size data.batch_size data.workers data.val_fraction data.reduced_decode "
            "augment.crop_scale augment.crop_ratio augment.flip augment.interpolation "
            "augment.randaugment augment.erasing "
            "mix.mixup mix.cutmix mix.chance mix.switch mix.label_smoothing "
            "optim.name optim.lr optim.weight_decay optim.betas optim.eps "
            "optim.decay_all optim.momentum optim.layer_decay optim.clip "
            "schedule.epochs schedule.warmup_epochs schedule.min_lr "
            "schedule.shape schedule.step_epochs schedule.step_factor "
            "regularise.drop_path regularise.layer_scale regularise.head_scale regularise.start "
            "ema.decay evaluate.crop evaluate.weights "
            "engine.precision engine.micro_batch engine.compile engine.parallel engine.save_minutes engine.log_every"
        ).split()
    )


@pytest.mark.parametrize(
    ("setting", "leaf", "value"),
    [
        ("optim.lr=1e-3", "optim.lr", 1e-3),
        ("optim.lr=1", "optim.lr", 1.0),
        (" optim.betas = 0.8, 0.95", "optim.betas", (0.8, 0.95)),
        ("optim.betas=(0.8,0.95)", "optim.betas", (0.8, 0.95)),
        ("augment.crop_scale=[0.5,1]", "augment.crop_scale", (0.5, 1.0)),
        ("schedule.epochs=7", "schedule.epochs", 7),
        ("schedule.epochs=1e2", "schedule.epochs", 100),
        ("ema.decay=none", "ema.decay", None),
        ("ema.decay=auto", "ema.decay", "auto"),
        ("ema.decay=0.99", "ema.decay", 0.99),
        ("ema.decay=0", "ema.decay", 0.0),
        ("regularise.layer_scale=1e-6", "regularise.layer_scale", 1e-6),
        ("evaluate.crop=1", "evaluate.crop", 1.0),
        ("augment.interpolation=bilinear", "augment.interpolation", "bilinear"),
    ],
)
def test_override_sets_one_leaf_with_its_type(setting: str, leaf: str, value: object) -> None:
    start = replace(DEFAULT, ema=Ema(decay=0.5))
    changed = with_overrides(start, [setting])
    assert leaves(changed)[leaf] == value
    assert type(leaves(changed)[leaf]) is type(value)
    assert diff(start, changed) == {leaf: (leaves(start)[leaf], value)}


def test_overrides_of_one_part_are_checked_together() -> None:
    # Each alone would break the rule that warm-up fits into the epochs.
    changed = with_overrides(DEFAULT, ["schedule.warmup_epochs=50", "schedule.epochs=300"])
    assert (changed.schedule.warmup_epochs, changed.schedule.epochs) == (50, 300)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("optim.rl=1", ["optim.rl", "did you mean", "optim.lr"]),
        ("optm.lr=1", ["optm.lr", "did you mean", "optim.lr"]),
        ("lr=1", ["lr"]),
        ("name=x", ["name"]),
        ("optim.lr", ["LEAF=VALUE", "optim.lr"]),
        ("optim.lr=fast", ["optim.lr", "'fast'", "above 0"]),
        ("optim.lr=0", ["optim.lr", "above 0"]),
        ("optim.lr=nan", ["optim.lr", "above 0"]),
        ("optim.lr=inf", ["optim.lr", "above 0"]),
        ("optim.lr=none", ["optim.lr", "None"]),
        ("optim.lr=1,2", ["optim.lr", "above 0"]),
        ("optim.betas=0.9", ["optim.betas", "two numbers"]),
        ("optim.betas=0.9,1", ["optim.betas", "below 1"]),
        ("optim.betas=0.9,0.9,0.9", ["optim.betas", "two numbers"]),
        ("schedule.epochs=1.5", ["schedule.epochs", "whole number", "1.5"]),
        ("schedule.epochs=0", ["schedule.epochs", "at least 1"]),
        ("schedule.warmup_epochs=21", ["schedule.warmup_epochs", "schedule.epochs (20)", "21"]),
        ("schedule.min_lr=1", ["schedule.min_lr", "optim.lr"]),
        ("augment.flip=1.5", ["augment.flip", "0 to 1"]),
        ("augment.crop_scale=1,0.5", ["augment.crop_scale", "rising"]),
        ("augment.interpolation=lanczos", ["augment.interpolation", "bicubic", "lanczos"]),
        ("mix.label_smoothing=1", ["mix.label_smoothing", "below 1"]),
        ("data.workers=-1", ["data.workers", "at least 0"]),
        ("data.val_fraction=1", ["data.val_fraction", "below 1"]),
        ("regularise.drop_path=1", ["regularise.drop_path", "below 1"]),
        ("ema.decay=1", ["ema.decay", "below 1"]),
        ("ema.decay=always", ["ema.decay", "auto", "always"]),
        ("evaluate.weights=best", ["evaluate.weights", "raw", "best"]),
        ("evaluate.crop=0", ["evaluate.crop", "above 0"]),
    ],
)
def test_bad_setting_is_a_sentence(setting: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        with_overrides(DEFAULT, [setting])
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Data(batch_size=True),
        lambda: Data(size="64"),
        lambda: Augment(crop_ratio=(0.0, 1.0)),
        lambda: Optim(eps=0.0),
        lambda: Schedule(epochs=2, warmup_epochs=3),
        lambda: Recipe(name="x", ema=Ema(decay=None), evaluate=Evaluate(weights="ema")),
    ],
)
def test_parts_refuse_bad_values(build: object) -> None:
    with pytest.raises(UserError):
        build()  # type: ignore[operator]


def test_json_round_trip_is_exact_and_complete() -> None:
    recipe = with_overrides(DEFAULT, ["optim.betas=0.8,0.95", "ema.decay=none", "augment.crop_scale=0.1,0.9"])
    text = json.dumps(recipe.to_dict())
    assert Recipe.from_dict(json.loads(text)) == recipe
    assert json.loads(text)["optim"]["betas"] == [0.8, 0.95]


def test_from_dict_names_what_it_does_not_know() -> None:
    with pytest.raises(UserError, match=r"no part optimiser; did you mean optim"):
        Recipe.from_dict({"name": "x", "optimiser": {}})
    with pytest.raises(UserError, match=r"optim\.weight_deca; did you mean optim\.weight_decay"):
        Recipe.from_dict({"name": "x", "optim": {"weight_deca": 1}})
    with pytest.raises(UserError, match="optim must be a table"):
        Recipe.from_dict({"name": "x", "optim": 3})


def test_epochs_stretch_the_warmup() -> None:
    base = replace(DEFAULT, schedule=Schedule(epochs=20, warmup_epochs=2, min_lr=1e-7))
    assert with_epochs(base, 5).schedule == Schedule(epochs=5, warmup_epochs=0.5, min_lr=1e-7)
    assert with_epochs(base, 300).schedule.warmup_epochs == 30
    assert with_epochs(base, 1).schedule.warmup_epochs <= 1
    with pytest.raises(UserError, match=r"schedule\.epochs"):
        with_epochs(base, 0)


def test_recipes_are_frozen_and_found_by_name() -> None:
    assert recipe_named("default") is DEFAULT
    with pytest.raises(UserError, match="did you mean default"):
        recipe_named("defualt")
    with pytest.raises(FrozenInstanceError):
        DEFAULT.optim.lr = 1.0  # type: ignore[misc]
