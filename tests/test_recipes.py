"""Every field of every named recipe against the paper's tables, written here by hand, for every model."""

import json
from itertools import product
from typing import Any

import pytest

from convnext.errors import UserError
from convnext.models import MODELS, model_spec
from convnext.paper_recipes import KIN
from convnext.policy import RandAugmentPolicy, parse_randaugment
from convnext.recipe import Recipe, diff, leaves, with_overrides
from convnext.recipes import NAMED, RECIPES, kin_of, recipe_for, recipe_named, source_of, sources_of, traced
from convnext.roadmap import REGIMES, STEPS

ROWS = [f"{regime}:{step.name}" for regime, step in product(REGIMES, STEPS)]
PAPER = (
    "imagenet-1k",
    "imagenet-22k",
    "finetune-22k-to-1k",
    "finetune-22k-to-1k-384",
    "finetune-1k-384",
    "isotropic",
    "roadmap",
    "classic-90",
)
# What only says how fast or how often, by no table.
OURS = {
    "data.workers": 8,
    "data.val_fraction": 0.2,
    "data.reduced_decode": False,
    "engine.precision": "auto",
    "engine.compile": False,
    "engine.parallel": "ddp",
    "engine.save_minutes": 10.0,
    "engine.log_every": 10,
}
UNUSED_BY_ADAMW = {"optim.momentum": 0.9, "schedule.step_epochs": 30.0, "schedule.step_factor": 0.1}
# Table 5, "1K from scratch"; stochastic depth and what follows the model stands apart.
TABLE_5 = {
    **OURS,
    **UNUSED_BY_ADAMW,
    "data.size": 224,
    "data.batch_size": 4096,
    "augment.crop_scale": (0.08, 1.0),
    "augment.crop_ratio": (0.75, 4 / 3),
    "augment.flip": 0.5,
    "augment.interpolation": "bicubic",
    "augment.randaugment": "rand-m9-mstd0.5-inc1",
    "augment.erasing": 0.25,
    "mix.mixup": 0.8,
    "mix.cutmix": 1.0,
    "mix.chance": 1.0,
    "mix.switch": 0.5,
    "mix.label_smoothing": 0.1,
    "optim.name": "adamw",
    "optim.lr": 4e-3,
    "optim.weight_decay": 0.05,
    "optim.betas": (0.9, 0.999),
    "optim.eps": 1e-8,
    "optim.decay_all": False,
    "optim.layer_decay": 1.0,
    "optim.clip": None,
    "schedule.epochs": 300,
    "schedule.warmup_epochs": 20.0,
    "schedule.min_lr": 1e-6,
    "schedule.shape": "cosine",
    "regularise.layer_scale": None,
    "regularise.head_scale": 1.0,
    "regularise.start": "auto",
    "ema.decay": 0.9999,
    "evaluate.crop": None,
    "evaluate.weights": "auto",
}
TABLE_5_22K = {
    **TABLE_5,
    "schedule.epochs": 90,
    "schedule.warmup_epochs": 5.0,
    "ema.decay": None,
    "data.val_fraction": 0.01,
}
TABLE_6 = {
    **TABLE_5,
    "data.batch_size": 512,
    "mix.mixup": 0.0,
    "mix.cutmix": 0.0,
    "optim.lr": 5e-5,
    "optim.weight_decay": 1e-8,
    "optim.layer_decay": 0.8,
    "schedule.epochs": 30,
    "schedule.warmup_epochs": 0.0,
    "regularise.head_scale": 0.001,
    "regularise.start": "raw",
    "ema.decay": None,
}
TABLE_6_384 = {**TABLE_6, "data.size": 384}
TABLE_6_1K_384 = {**TABLE_6_384, "optim.layer_decay": 0.7}
# The ResNet recipe of 76.1: SGD of lr 0.1 and momentum 0.9 at batch 256, a tenth every 30 of 90 epochs, 1e-4 on all.
CLASSIC = {
    **OURS,
    "data.size": 224,
    "data.batch_size": 256,
    "augment.crop_scale": (0.08, 1.0),
    "augment.crop_ratio": (0.75, 4 / 3),
    "augment.flip": 0.5,
    "augment.interpolation": "bilinear",
    "augment.randaugment": None,
    "augment.erasing": 0.0,
    "mix.mixup": 0.0,
    "mix.cutmix": 0.0,
    "mix.chance": 1.0,
    "mix.switch": 0.5,
    "mix.label_smoothing": 0.0,
    "optim.name": "sgd",
    "optim.lr": 0.1,
    "optim.weight_decay": 1e-4,
    "optim.betas": (0.9, 0.999),
    "optim.eps": 1e-8,
    "optim.decay_all": True,
    "optim.momentum": 0.9,
    "optim.layer_decay": 1.0,
    "optim.clip": None,
    "schedule.epochs": 90,
    "schedule.warmup_epochs": 0.0,
    "schedule.min_lr": 0.0,
    "schedule.shape": "step",
    "schedule.step_epochs": 30.0,
    "schedule.step_factor": 0.1,
    "regularise.drop_path": 0.0,
    "regularise.layer_scale": None,
    "regularise.head_scale": 1.0,
    "regularise.start": "auto",
    "ema.decay": None,
    "evaluate.crop": None,
    "evaluate.weights": "auto",
    "engine.micro_batch": 32,
}


def own(drop_path: float, micro_batch: int, **changed: Any) -> dict[str, Any]:
    """Return what a model has of its own; a leaf ema.decay is written ema__decay."""
    named = {name.replace("__", "."): value for name, value in changed.items()}
    return {"regularise.drop_path": drop_path, "engine.micro_batch": micro_batch, **named}


T, S, B, L, XL = (f"convnext_{size}" for size in ("tiny", "small", "base", "large", "xlarge"))
ISO = [f"convnext_isotropic_{size}" for size in ("small", "base", "large")]
# The table of stochastic depth of section 4 of the facts of the paper; pictures a GPU as in the official commands.
TRAINED = [
    ("imagenet-1k", T, TABLE_5, own(0.1, 128)),
    ("imagenet-1k", S, TABLE_5, own(0.4, 128)),
    ("imagenet-1k", B, TABLE_5, own(0.5, 128)),
    ("imagenet-1k", L, TABLE_5, own(0.5, 64)),
    ("imagenet-22k", T, TABLE_5_22K, own(0.0, 32)),
    ("imagenet-22k", S, TABLE_5_22K, own(0.0, 32)),
    ("imagenet-22k", B, TABLE_5_22K, own(0.1, 32)),
    ("imagenet-22k", L, TABLE_5_22K, own(0.1, 32)),
    ("imagenet-22k", XL, TABLE_5_22K, own(0.2, 32)),
    ("finetune-22k-to-1k", T, TABLE_6, own(0.0, 32)),
    ("finetune-22k-to-1k", S, TABLE_6, own(0.1, 32)),
    ("finetune-22k-to-1k", B, TABLE_6, own(0.2, 32)),
    ("finetune-22k-to-1k", L, TABLE_6, own(0.3, 32)),
    ("finetune-22k-to-1k", XL, TABLE_6, own(0.4, 16, ema__decay=0.9999)),
    ("finetune-22k-to-1k-384", T, TABLE_6_384, own(0.0, 16)),
    ("finetune-22k-to-1k-384", S, TABLE_6_384, own(0.1, 16)),
    ("finetune-22k-to-1k-384", B, TABLE_6_384, own(0.2, 16)),
    ("finetune-22k-to-1k-384", L, TABLE_6_384, own(0.3, 16)),
    ("finetune-22k-to-1k-384", XL, TABLE_6_384, own(0.4, 8, ema__decay=0.9999)),
    ("finetune-1k-384", B, TABLE_6_1K_384, own(0.8, 32)),
    ("finetune-1k-384", L, TABLE_6_1K_384, own(0.95, 32, regularise__start="ema")),
    *(
        (name, model, TABLE_5, own(drop_path, micro_batch, schedule__warmup_epochs=50.0))
        for name in ("imagenet-1k", "isotropic")
        for model, drop_path, micro_batch in zip(ISO, (0.1, 0.2, 0.5), (128, 128, 64), strict=True)
    ),
    *(
        (name, f"resnet50:{step.name}", TABLE_5, own(0.1, 128, ema__decay=None))
        for name in ("imagenet-1k", "roadmap")
        for step in STEPS
    ),
    ("roadmap", "resnet50", TABLE_5, own(0.1, 128, ema__decay=None)),
    ("classic-90", "resnet50", CLASSIC, {}),
    ("classic-90", "resnet200:original", CLASSIC, {}),
]


@pytest.mark.parametrize(("name", "model", "table", "own_values"), TRAINED)
def test_every_field_is_the_papers(name: str, model: str, table: dict[str, Any], own_values: dict[str, Any]) -> None:
    assert leaves(recipe_for(name, model)) == {**table, **own_values}
    guessed = [leaf for leaf, one in sources_of(name, model).items() if "not in the paper" in one.source]
    assert guessed == []


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("imagenet-1k", XL),
        ("imagenet-1k", "convnext_atto"),
        ("imagenet-1k", "resnet200:width"),
        ("finetune-1k-384", T),
        ("finetune-22k-to-1k", "convnext_pico"),
        ("roadmap", "quarter:gelu"),
        ("imagenet-22k", "convnext_isotropic_base"),
    ],
)
def test_what_the_paper_does_not_train_says_so_in_the_leaf_that_is_a_guess(name: str, model: str) -> None:
    guessed = [leaf for leaf, one in sources_of(name, model).items() if one.source.startswith("not in the paper: ")]
    assert guessed == ["regularise.drop_path"]


def test_a_longer_warmup_for_a_net_that_is_not_isotropic_is_a_guess() -> None:
    assert source_of("isotropic", T, "schedule.warmup_epochs").value == 50
    assert source_of("isotropic", T, "schedule.warmup_epochs").source.startswith("not in the paper")


@pytest.mark.parametrize("name", NAMED)
def test_every_leaf_of_every_recipe_has_its_source_for_every_model(name: str) -> None:
    for model in (None, *MODELS, *ROWS):
        recipe = recipe_for(name, model)
        assert recipe.name == name
        found = sources_of(name, model)
        assert {leaf: one.value for leaf, one in found.items()} == leaves(recipe)
        assert all(one.source for one in found.values())


def test_every_model_and_row_has_kin_and_all_kin_have_models() -> None:
    assert {kin_of(model) for model in [*MODELS, *ROWS]} == set(KIN)


@pytest.mark.parametrize("name", PAPER)
def test_only_the_arithmetic_differs_from_the_paper(name: str) -> None:
    for kin in NAMED[name].by_kin.values():
        assert [leaf for leaf, one in kin.items() if one.differs] == ["engine.precision"]
    assert "float32" in str(source_of(name, None, "engine.precision").differs)


@pytest.mark.parametrize(
    ("name", "model", "leaf", "source"),
    [
        ("imagenet-1k", T, "optim.lr", "Table 5"),
        ("imagenet-1k", T, "regularise.drop_path", "Table 5"),
        ("imagenet-1k", T, "optim.eps", "official code: --opt_eps"),
        ("imagenet-1k", ISO[0], "schedule.warmup_epochs", "section A.1"),
        ("roadmap", "resnet50:width", "ema.decay", "section A.1"),
        ("imagenet-22k", B, "schedule.epochs", "Table 5"),
        ("finetune-22k-to-1k", XL, "ema.decay", "Table 6"),
        ("finetune-1k-384", L, "regularise.start", "section A.2"),
        ("finetune-1k-384", B, "data.size", "Table 6"),
        ("classic-90", None, "optim.lr", "torchvision"),
        ("small-data", None, "optim.lr", "ours"),
        ("default", None, "optim.lr", "ours"),
    ],
)
def test_sources_by_hand(name: str, model: str | None, leaf: str, source: str) -> None:
    assert source_of(name, model, leaf).source.startswith(source)


def test_layer_scale_is_left_to_the_model_whose_own_is_the_papers() -> None:
    assert {model_spec(model).layer_scale for model in (T, S, B, L, XL, ISO[2])} == {1e-6}
    assert {model_spec(model).layer_scale for model in (*ISO[:2], "resnet50", "resnet50:layernorm")} == {None}


def test_the_papers_randaugment_means_its_parameters() -> None:
    text = RECIPES["imagenet-1k"].augment.randaugment
    assert text is not None
    assert parse_randaugment(text) == RandAugmentPolicy(
        magnitude=9.0, std=0.5, ops=2, chance=0.5, increasing=True, most=10.0
    )


def test_small_data_suits_few_pictures() -> None:
    for model in ("convnext_atto", T, "resnet50"):
        recipe = recipe_for("small-data", model)
        assert 16 <= recipe.data.batch_size <= 128 and 5e-4 <= recipe.optim.lr <= 2e-3
        assert recipe.schedule.warmup_epochs == recipe.schedule.epochs / 10
        assert recipe.ema.decay == "auto" and recipe.mix.on and recipe.mix.chance < 1


def test_small_data_from_given_weights_is_gentler() -> None:
    fresh, given = recipe_for("small-data", T), recipe_for("small-data", T, pretrained=True)
    assert given == recipe_for("small-data-finetune", T) and given.name == "small-data-finetune"
    assert given.optim.lr < fresh.optim.lr and given.optim.layer_decay < 1 and given.regularise.head_scale == 0.001
    assert not given.mix.on and given.schedule.epochs < fresh.schedule.epochs
    for name in NAMED:
        if name != "small-data":
            assert recipe_for(name, T, pretrained=True) == recipe_for(name, T)


def test_smoke_has_every_element_on() -> None:
    smoke = RECIPES["smoke"]
    assert smoke.mix.mixup and smoke.mix.cutmix and smoke.augment.randaugment and smoke.augment.erasing
    assert smoke.optim.clip and smoke.optim.layer_decay < 1 and smoke.ema.decay and smoke.regularise.drop_path
    assert smoke.data.size <= 32 and smoke.schedule.epochs <= 2
    assert smoke.engine.micro_batch < smoke.data.batch_size


def test_the_default_is_the_dataclasses_own() -> None:
    assert leaves(recipe_named("default")) == leaves(Recipe(name="default"))
    assert recipe_for("default", "convnext_large") == RECIPES["default"]


@pytest.mark.parametrize("name", NAMED)
def test_a_saved_recipe_is_enough(name: str) -> None:
    for model in (None, XL, "resnet200:depthwise"):
        recipe = recipe_for(name, model)
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recipe_named("imagenet1k"), "there is no recipe imagenet1k; did you mean imagenet-1k"),
        (lambda: recipe_for("imagenet-1k", "convnext_tini"), "no model convnext_tini; did you mean convnext_tiny"),
        (lambda: recipe_for("imagenet-1k", "resnet50:dephtwise"), "no step dephtwise; did you mean depthwise"),
        (lambda: recipe_for("imagenet-1k", "resnet5:depthwise"), "no regime resnet5; did you mean resnet50"),
        (lambda: source_of("imagenet-1k", None, "optim.lrr"), "no setting optim.lrr; did you mean optim.lr"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(call: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        call()
    assert message in str(error.value)


def test_what_was_replaced_says_where_and_what_was_before() -> None:
    before = sources_of("imagenet-1k", T)
    changed = with_overrides(recipe_for("imagenet-1k", T), ["optim.lr=1e-3", "ema.decay=0.9999"])
    after = traced(before, changed, "--set")
    assert after["optim.lr"].value == 1e-3 and after["optim.lr"].source == "--set"
    assert str(after["optim.lr"].differs).startswith("0.004 before (Table 5")
    assert {leaf for leaf in after if after[leaf] != before[leaf]} == {"optim.lr"}
    assert set(diff(recipe_for("imagenet-1k", T), changed)) == {"optim.lr"}
