"""Recipes in YAML and JSON: what they change, what they refuse, in one sentence."""

import json
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.recipe import Recipe, diff, with_overrides
from convnext.recipe_files import find_recipe, open_recipe, read_recipe_file
from convnext.recipes import RECIPES, recipe_for


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_names_stand_for_named_recipes() -> None:
    assert open_recipe("imagenet-1k", "convnext_base") == recipe_for("imagenet-1k", "convnext_base")
    assert open_recipe("smoke", None) == RECIPES["smoke"]
    assert open_recipe("small-data", "convnext_tiny", pretrained=True) == RECIPES["small-data-finetune"]
    found = find_recipe("imagenet-1k", None)
    assert (found.base, found.path) == ("imagenet-1k", None)


@pytest.mark.parametrize("ending", ["yaml", "yml", "json"])
def test_a_file_changes_a_named_recipe_for_the_model(tmp_path: Path, ending: str) -> None:
    values = {"base": "imagenet-1k", "optim": {"lr": 0.002}, "mix": {"mixup": 0}, "augment": {"crop_scale": [0.2, 1]}}
    path = written(tmp_path, json.dumps(values), f"mine.{ending}")
    base = recipe_for("imagenet-1k", "convnext_small")
    assert diff(base, open_recipe(str(path), "convnext_small")) == {
        "augment.crop_scale": ((0.08, 1.0), (0.2, 1.0)),
        "mix.mixup": (0.8, 0.0),
        "optim.lr": (4e-3, 2e-3),
    }
    found = find_recipe(str(path), "convnext_small")
    assert (found.recipe.name, found.base, found.path) == ("imagenet-1k", "imagenet-1k", path)


def test_values_are_read_as_on_the_command_line(tmp_path: Path) -> None:
    text = """
base: finetune-22k-to-1k  # a comment
name: mine
optim:
  lr: 1e-3        # a text in YAML 1.1
  betas: [0.9, 9.5e-1]
  clip: 5
  weight_decay: 1E-8
augment: {randaugment: none, crop_scale: "0.3,1"}
ema: {decay: auto}
schedule:
  warmup_epochs: 2.5
engine:
  compile: true
mix:
"""
    recipe = open_recipe(str(written(tmp_path, text)), "convnext_base")
    settings = [
        "optim.lr=1e-3",
        "optim.betas=0.9,0.95",
        "optim.clip=5",
        "augment.randaugment=none",
        "augment.crop_scale=0.3,1",
        "ema.decay=auto",
        "schedule.warmup_epochs=2.5",
        "engine.compile=true",
    ]
    expected = with_overrides(recipe_for("finetune-22k-to-1k", "convnext_base"), settings)
    assert recipe.name == "mine" and diff(recipe, expected) == {}
    assert recipe.optim.lr == 0.001 and isinstance(recipe.optim.lr, float) and recipe.augment.randaugment is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "name: mine\noptim: {name: sgd, lr: 0.1}\n"),
        ("a.json", '{"name": "mine", "optim": {"name": "sgd", "lr": 0.1}}'),
    ],
)
def test_a_key_may_stand_in_the_file_and_in_a_part(tmp_path: Path, name: str, text: str) -> None:
    recipe = open_recipe(str(written(tmp_path, text, name)), None)
    assert (recipe.name, recipe.optim.name, recipe.optim.lr) == ("mine", "sgd", 0.1)


def test_without_a_base_the_rest_are_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "optim: {lr: 0.5}")
    assert diff(Recipe(name="x"), open_recipe(str(path), "convnext_large")) == {"optim.lr": (2e-3, 0.5)}
    assert find_recipe(str(path), None).base == "default" and open_recipe(str(path), None).name == "mine"


def test_a_run_folder_and_its_recipe_are_taken_as_they_are(tmp_path: Path) -> None:
    saved = with_overrides(recipe_for("small-data", "convnext_base"), ["optim.lr=3e-3"])
    path = written(tmp_path, json.dumps(saved.to_dict()), "recipe.json")
    for text in (str(tmp_path), str(path)):
        found = find_recipe(text, "convnext_tiny", pretrained=True)
        assert found.recipe == saved and found.base == "small-data" and found.path == path


def test_a_file_on_small_data_goes_gently_where_weights_are_given(tmp_path: Path) -> None:
    path = written(tmp_path, "base: small-data\noptim: {weight_decay: 0.1}")
    found = find_recipe(str(path), "convnext_tiny", pretrained=True)
    expected = with_overrides(recipe_for("small-data-finetune", "convnext_tiny"), ["optim.weight_decay=0.1"])
    assert diff(found.recipe, expected) == {} and found.base == "small-data-finetune"


def test_a_named_recipe_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smoke").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_recipe("smoke", None) == RECIPES["smoke"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "optim: {lrr: 1}", "a.yaml: a recipe has no setting optim.lrr; did you mean optim.lr"),
        ("a.yaml", "optim: {lr: -1}", "a.yaml: optim.lr must be a number above 0, got -1"),
        ("a.yaml", "optim: {lr: fast}", "a.yaml: optim.lr must be a number above 0, got 'fast'"),
        ("a.yaml", "optm: {lr: 1}", "a.yaml: a recipe has no part optm; did you mean optim"),
        ("a.yaml", "optim: 3", "a.yaml: optim must be a table of settings, got 3"),
        (
            "a.yaml",
            "base: imagenet1k",
            "a.yaml: base must be a named recipe, got 'imagenet1k'; did you mean imagenet-1k",
        ),
        ("a.yaml", "base: [1]", "a.yaml: base must be a named recipe, got [1]"),
        ("a.yaml", "optim: {lr: 1", "a.yaml is not YAML (expected ',' or '}', but got '<stream end>' in line 1)"),
        ("a.yaml", "optim: !!python/object:os.system {}", "a.yaml is not YAML (could not determine a constructor"),
        (
            "a.yaml",
            "base: default\noptim:\n  lr: 1e-3\n  betas: 0.9,0.95\n  lr: 2e-3\n",
            "a.yaml has optim.lr twice, in line 3 and in line 5; leave one of them out",
        ),
        (
            "a.yaml",
            "# mine\noptim: {lr: 1e-3}\nmix: {mixup: 0}\n'optim':\n  clip: 1\n",
            "a.yaml has optim twice, in line 2 and in line 4;",
        ),
        ("a.yaml", "optim: {lr: 1e-3, lr: 1e-3}", "a.yaml has optim.lr twice, in line 1 and in line 1;"),
        ("a.json", '{"optim": {"lr": 1, "clip": 5, "lr": 2}}', "a.json has lr twice in one table"),
        ("a.yaml", "base: small-data\nsegment: {stride: 3}", "a.yaml: segment belongs to segmentation, and the recipe"),
        ("a.yaml", "base: ade20k\nsegment: {stride: 600}", "a.yaml: segment.stride must be at most the window's side"),
        ("a.yaml", "- 1", "a.yaml holds no recipe; it is written as parts and leaves"),
        ("a.yaml", "", "a.yaml holds no recipe"),
        ("a.json", "{", "a.json is not JSON ("),
        ("a.json", '{"schedule": {"epochs": 1, "warmup_epochs": 2}}', "a.json: schedule.warmup_epochs must be at most"),
        ("a.json", '{"schedule": {"epochs": true}}', "a.json: schedule.epochs must be a whole number"),
        ("a.yaml", "base: small-data\nschedule: {epochs: 5}", "a.yaml: schedule.warmup_epochs must be at most"),
    ],
)
def test_mistakes_are_told_in_a_sentence_with_the_file(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(UserError) as error:
        open_recipe(str(path), None)
    assert str(error.value).startswith(str(tmp_path)) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, reason in ((tmp_path / "no.yaml", "No such file"), (binary, "UTF-8"), (tmp_path, "recipe.json cannot")):
        with pytest.raises(UserError, match=reason):
            read_recipe_file(path)
    with pytest.raises(UserError, match=r"no recipe mine; .*a file ends in \.yaml"):
        open_recipe("mine", None)


def test_a_file_may_change_a_detection_recipe_or_be_one_without_a_base(tmp_path: Path) -> None:
    path = written(tmp_path, "base: coco-mask-rcnn\ndetect: {short_sides: [320, 480], longest: 8e2}")
    base = recipe_for("coco-mask-rcnn", "convnext_small")
    assert diff(base, open_recipe(str(path), "convnext_small")) == {
        "detect.short_sides": ((480, 800), (320, 480)),
        "detect.longest": (1333, 800),
    }
    alone = open_recipe(str(written(tmp_path, "segment: {stride: 32}", "alone.yaml")), None)
    assert alone.task == "segment" and alone.segment is not None and alone.segment.stride == 32
    assert alone.schedule == Recipe(name="x").schedule
