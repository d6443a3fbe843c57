"""Every field of the recipes of COCO and ADE20K against tables written here by hand, and our own for both tasks."""

import json
from typing import Any

import pytest

from convnext.errors import UserError
from convnext.models import MODELS
from convnext.recipe import Detect, Recipe, Segment, diff, leaves, with_epochs, with_overrides, with_size
from convnext.recipes import NAMED, RECIPES, recipe_for, source_of, sources_of, traced, usual_recipe

T, S, B, L, XL = (f"convnext_{size}" for size in ("tiny", "small", "base", "large", "xlarge"))
DENSE = [name for name, entry in NAMED.items() if entry.task != "classify"]
PAPER = ("coco-mask-rcnn", "coco-cascade-mask-rcnn", "coco-cascade-mask-rcnn-22k", "ade20k", "ade20k-22k")
# What both tasks have alike: what only says how fast or how often, and what is of classification alone and off.
BOTH = {
    "data.batch_size": 16,
    "data.workers": 8,
    "data.val_fraction": 0.2,
    "data.reduced_decode": False,
    "augment.crop_scale": (0.35, 1.0),
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
    "optim.name": "adamw",
    "optim.weight_decay": 0.05,
    "optim.betas": (0.9, 0.999),
    "optim.eps": 1e-8,
    "optim.decay_all": False,
    "optim.momentum": 0.9,
    "optim.clip": None,
    "schedule.warmup_epochs": 0.0,
    "schedule.min_lr": 0.0,
    "schedule.step_epochs": 30.0,
    "schedule.step_factor": 0.1,
    "schedule.drops": (27.0, 33.0),
    "schedule.power": 1.0,
    "regularise.layer_scale": 1.0,
    "regularise.head_scale": 1.0,
    "regularise.start": "raw",
    "ema.decay": None,
    "evaluate.crop": None,
    "evaluate.weights": "auto",
    "engine.precision": "auto",
    "engine.micro_batch": 2,
    "engine.compile": False,
    "engine.parallel": "ddp",
    "engine.save_minutes": 10.0,
    "engine.log_every": 10,
}
COCO = {
    **BOTH,
    "data.size": 800,
    "optim.decay_by": "layers",
    "schedule.epochs": 36,
    "schedule.shape": "drops",
    "schedule.warmup_steps": 500,
    "detect.short_sides": (480, 800),
    "detect.short_step": 32,
    "detect.longest": 1333,
    "detect.crop_chance": 0.5,
    "detect.crop_shorts": (400, 600),
    "detect.crop_step": 100,
    "detect.crop_sides": (384, 600),
}
ADE20K = {
    **BOTH,
    "data.size": 512,
    "optim.layer_decay": 0.9,
    "optim.decay_by": "stages",
    "schedule.epochs": 127,
    "schedule.shape": "poly",
    "schedule.warmup_steps": 1500,
    "segment.ratio": (0.5, 2.0),
    "segment.base": (2048, 512),
    "segment.max_class_share": 0.75,
    "segment.photometric": True,
    "segment.stride": 341,
    "segment.aux_weight": 0.4,
}
ADE20K_640 = {**ADE20K, "data.size": 640, "segment.base": (2560, 640), "segment.stride": 426}


def coco(drop_path: float, lr: float, layer_decay: float) -> dict[str, Any]:
    return {**COCO, "regularise.drop_path": drop_path, "optim.lr": lr, "optim.layer_decay": layer_decay}


def ade20k(table: dict[str, Any], drop_path: float, lr: float = 1e-4) -> dict[str, Any]:
    return {**table, "regularise.drop_path": drop_path, "optim.lr": lr}


# The tables of section 4 of the facts of the paper.
TRAINED = [
    ("coco-mask-rcnn", T, coco(0.4, 1e-4, 0.95)),
    ("coco-cascade-mask-rcnn", T, coco(0.4, 2e-4, 0.7)),
    ("coco-cascade-mask-rcnn", S, coco(0.6, 2e-4, 0.7)),
    ("coco-cascade-mask-rcnn", B, coco(0.7, 2e-4, 0.8)),
    ("coco-cascade-mask-rcnn-22k", B, coco(0.6, 1e-4, 0.8)),
    ("coco-cascade-mask-rcnn-22k", L, coco(0.7, 1e-4, 0.7)),
    ("coco-cascade-mask-rcnn-22k", XL, coco(0.8, 1e-4, 0.7)),
    ("ade20k", T, ade20k(ADE20K, 0.4)),
    ("ade20k", S, ade20k(ADE20K, 0.3)),
    ("ade20k", B, ade20k(ADE20K, 0.4)),
    ("ade20k-22k", B, ade20k(ADE20K_640, 0.4)),
    ("ade20k-22k", L, ade20k(ADE20K_640, 0.4)),
    ("ade20k-22k", XL, ade20k(ADE20K_640, 0.4, 8e-5)),
]


@pytest.mark.parametrize(("name", "model", "table"), TRAINED)
def test_every_field_is_the_papers(name: str, model: str, table: dict[str, Any]) -> None:
    found = sources_of(name, model)
    assert leaves(recipe_for(name, model)) == table == {leaf: one.value for leaf, one in found.items()}
    assert [leaf for leaf, one in found.items() if "not in the paper" in one.source] == []
    assert sorted(leaf for leaf, one in found.items() if one.differs) == ["engine.precision", "schedule.warmup_steps"]


def test_all_that_the_paper_trains_and_nothing_else_is_held_against_a_table() -> None:
    trained = {
        (name, model)
        for name in PAPER
        for model in MODELS
        if not any("not in the paper" in one.source for one in sources_of(name, model).values())
    }
    assert trained == {(name, model) for name, model, _ in TRAINED}


@pytest.mark.parametrize(
    ("name", "model", "guessed"),
    [
        ("coco-mask-rcnn", S, {"regularise.drop_path", "optim.layer_decay"}),
        ("coco-mask-rcnn", "convnext_pico", {"regularise.drop_path", "optim.layer_decay"}),
        ("coco-cascade-mask-rcnn-22k", "resnet50", {"regularise.drop_path", "optim.layer_decay"}),
        ("ade20k", L, {"regularise.drop_path"}),
        ("ade20k", XL, {"regularise.drop_path", "optim.lr"}),
        ("ade20k-22k", S, {"regularise.drop_path"}),
    ],
)
def test_what_the_paper_does_not_train_says_so(name: str, model: str, guessed: set[str]) -> None:
    found = sources_of(name, model)
    assert {leaf for leaf, one in found.items() if one.source.startswith("not in the paper: ")} == guessed


@pytest.mark.parametrize("name", DENSE)
def test_no_recipe_gives_a_layer_scale_to_a_network_that_has_none(name: str) -> None:
    for model in ("resnet50", "resnet200", "convnext_isotropic_small", "resnet50:depthwise", "quarter:gelu"):
        assert recipe_for(name, model).regularise.layer_scale is None


@pytest.mark.parametrize("name", DENSE)
def test_what_is_off_and_which_part_is_there(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.task == NAMED[name].task and NAMED[name].fine_tuning is None
    assert (recipe.detect is None, recipe.segment is None) == (recipe.task == "segment", recipe.task == "detect")
    assert not recipe.mix.on and recipe.mix.label_smoothing == 0
    assert recipe.augment.randaugment is None and recipe.augment.erasing == 0
    assert name.endswith("smoke") or recipe.ema.decay is None
    assert {entry.num_classes for one, entry in NAMED.items() if entry.task == recipe.task} == {
        {"detect": 80, "segment": 150}[recipe.task]
    }


@pytest.mark.parametrize("name", DENSE)
def test_a_saved_recipe_is_enough_and_lists_every_leaf(name: str) -> None:
    recipe = RECIPES[name]
    values = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(values) == recipe and set(values) == {
        *"name data augment mix optim schedule regularise ema evaluate engine".split(),
        recipe.task,
    }
    assert {"drops", "power", "warmup_steps"} < set(values["schedule"]) and "decay_by" in values["optim"]


@pytest.mark.parametrize("kind", ["detect", "segment"])
def test_ours(kind: str) -> None:
    small, smoke = recipe_for(f"{kind}-small", T), RECIPES[f"{kind}-smoke"]
    assert small.data.size == 320 and small.schedule.warmup_steps is None and small.schedule.warms_up
    assert small.optim.layer_decay == 1  # serves from scratch too
    assert recipe_for(f"{kind}-small", "convnext_atto").optim.lr > small.optim.lr
    assert all(one.source.startswith("ours: ") for one in (source_of(f"{kind}-small", T, "optim.lr"),))
    assert smoke.data.size <= 64 and smoke.schedule.epochs <= 2 and smoke.engine.micro_batch < smoke.data.batch_size
    assert smoke.optim.clip and smoke.optim.layer_decay < 1 and smoke.ema.decay and smoke.regularise.drop_path
    assert smoke.schedule.warmup_steps and smoke.schedule.shape == {"detect": "drops", "segment": "poly"}[kind]
    assert smoke.optim.decay_by == {"detect": "layers", "segment": "stages"}[kind]
    assert smoke.detect is None or smoke.detect.crop_chance == 0.5
    assert smoke.segment is None or smoke.segment.photometric


def test_the_usual_recipe_of_each_task() -> None:
    for pretrained in (True, False):
        assert [usual_recipe(task, pretrained) for task in ("classify", "detect", "segment")] == [
            "default",
            "detect-small",
            "segment-small",
        ]
    assert [NAMED[name].task for name in ("default", "detect-small", "segment-small")] == [
        "classify",
        "detect",
        "segment",
    ]


# ---- the parts, and what classification recipes say of them


def test_a_setting_of_another_task_is_refused_in_a_sentence() -> None:
    for name, text, words in (
        ("imagenet-1k", "detect.longest=800", "detect.longest belongs to detection, and the recipe imagenet-1k"),
        ("imagenet-1k", "detect.longest=800", "take --task detect or a recipe such as coco-mask-rcnn"),
        ("coco-mask-rcnn", "segment.stride=3", "take --task segment or a recipe such as ade20k"),
        ("ade20k", "segment.strid=3", "a recipe has no setting segment.strid; did you mean segment.stride"),
    ):
        with pytest.raises(UserError) as error:
            with_overrides(RECIPES[name], [text])
        assert words in str(error.value)


def test_overrides_reach_the_new_parts_with_their_types() -> None:
    changed = with_overrides(RECIPES["coco-mask-rcnn"], ["detect.short_sides=320,480", "detect.longest=8e2"])
    assert changed.detect is not None and changed.detect.short_sides == (320, 480)
    assert (changed.detect.longest, type(changed.detect.longest)) == (800, int)
    assert diff(RECIPES["coco-mask-rcnn"], changed) == {
        "detect.short_sides": ((480, 800), (320, 480)),
        "detect.longest": (1333, 800),
    }


def test_a_classification_recipe_lists_a_rare_leaf_only_where_it_is_set() -> None:
    plain = RECIPES["default"]
    changed = with_overrides(plain, ["schedule.shape=poly", "schedule.power=0.9"])
    assert set(leaves(changed)) - set(leaves(plain)) == {"schedule.power"}
    assert diff(plain, changed) == {"schedule.shape": ("cosine", "poly"), "schedule.power": (1.0, 0.9)}
    assert diff(changed, plain) == {"schedule.shape": ("poly", "cosine"), "schedule.power": (0.9, 1.0)}
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed
    after = traced(sources_of("default", None), changed, "--set")
    assert list(after) == list(leaves(changed)) and after["schedule.power"].source == "--set"
    assert set(plain.to_dict()) == set("name data augment mix optim schedule regularise ema evaluate engine".split())
    assert Recipe.from_dict({"name": "x", "detect": None}) == Recipe(name="x")


def test_differences_between_tasks_show_none_for_a_part_that_is_not_there() -> None:
    found = diff(RECIPES["coco-mask-rcnn"], RECIPES["ade20k"])
    assert found["detect.longest"] == (1333, None) and found["segment.stride"] == (None, 341)
    assert found["optim.decay_by"] == ("layers", "stages") and "optim.weight_decay" not in found


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Detect(short_sides=(800, 480)), "detect.short_sides must be two rising whole numbers"),
        (lambda: Detect(short_sides=(480.5, 800)), "detect.short_sides must be two rising whole numbers"),  # type: ignore[arg-type]
        (
            lambda: Detect(longest=700),
            "detect.longest must be at least the highest of detect.short_sides (800), got 700",
        ),
        (lambda: Detect(crop_chance=1.5), "detect.crop_chance must be a chance"),
        (lambda: Detect(crop_sides=(600, 384)), "detect.crop_sides"),
        (lambda: Segment(base=(512, 2048)), "segment.base must be a long and a short side"),
        (lambda: Segment(ratio=(2, 0.5)), "segment.ratio must be two rising numbers"),
        (lambda: Segment(max_class_share=0), "segment.max_class_share must be above 0"),
        (
            lambda: with_overrides(RECIPES["ade20k"], ["data.size=256"]),
            "segment.stride must be at most the window's side",
        ),
        (
            lambda: with_overrides(RECIPES["coco-mask-rcnn"], ["data.size=2000"]),
            "at most detect.longest (1333), got 2000",
        ),
        (lambda: Recipe(name="x", detect=Detect(), segment=Segment()), "of detection or of segmentation, got both"),
    ],
)
def test_bad_values_are_refused(build: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        build()
    assert words in str(error.value)


# ---- other sizes and lengths


def test_size_changes_all_sizes_of_detection_in_proportion() -> None:
    half = with_size(RECIPES["coco-mask-rcnn"], 400)
    assert half.data.size == 400 and half.detect == Detect(
        short_sides=(240, 400), short_step=16, longest=666, crop_shorts=(200, 304), crop_step=48, crop_sides=(192, 304)
    )
    assert set(diff(RECIPES["coco-mask-rcnn"], half)) == {
        "data.size",
        *(
            f"detect.{leaf}"
            for leaf in ("short_sides", "short_step", "longest", "crop_shorts", "crop_step", "crop_sides")
        ),
    }


def test_size_changes_all_sizes_of_segmentation_in_proportion() -> None:
    half = with_size(RECIPES["ade20k"], 256)
    assert half.data.size == 256 and half.segment == Segment(base=(1024, 256), stride=170)
    assert set(diff(RECIPES["ade20k"], half)) == {"data.size", "segment.base", "segment.stride"}


@pytest.mark.parametrize("name", [*DENSE, "imagenet-1k"])
@pytest.mark.parametrize("size", [32, 64, 100, 333, 1024, 1600])
def test_every_recipe_takes_every_size(name: str, size: int) -> None:
    found = with_size(RECIPES[name], size)
    assert found.data.size == size
    assert with_size(RECIPES[name], RECIPES[name].data.size) == RECIPES[name]
    if found.detect is not None:
        assert found.detect.short_sides[0] <= size + 8 and found.detect.longest >= size
    if name == "imagenet-1k":
        assert set(diff(RECIPES[name], found)) == {"data.size"}


def test_a_bad_size_is_refused_as_the_leaf() -> None:
    for name in ("ade20k", "coco-mask-rcnn", "default"):
        with pytest.raises(UserError, match=r"data\.size must be a whole number of pixels of at least 8, got 0"):
            with_size(RECIPES[name], 0)


def test_epochs_move_the_drops() -> None:
    for name in DENSE:
        assert with_epochs(RECIPES[name], 1).schedule.epochs == 1
    assert with_epochs(RECIPES["coco-mask-rcnn"], 12).schedule.drops == (9.0, 11.0)
    assert with_epochs(RECIPES["ade20k"], 12).schedule.drops == (27.0, 33.0)  # not used there
