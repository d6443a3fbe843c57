"""`convnext recipe`: every value with its source, the parameter groups, and what differs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convnext.cli.app import app
from convnext.errors import UserError
from convnext.recipe import leaves
from convnext.recipes import NAMED, recipe_for

runner = CliRunner()


def printed(*arguments: str) -> str:
    result = runner.invoke(app, ["recipe", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: str) -> Any:
    return json.loads(printed(*arguments, "--json"))


def test_values_are_nested_as_the_dataclasses_are() -> None:
    value = as_json("show", "imagenet-1k", "--model", "convnext_base")
    assert value["optim"]["lr"] == 4e-3 and value["optim"]["weight_decay"] == 0.05
    assert value["optim"]["layer_decay"] == 1
    assert value["schedule"]["epochs"] == 300 and value["schedule"]["warmup_epochs"] == 20
    assert value["augment"]["erasing"] == 0.25 and value["mix"]["mixup"] == 0.8 and value["mix"]["cutmix"] == 1
    assert value["mix"]["label_smoothing"] == 0.1 and value["regularise"]["drop_path"] == 0.5
    assert value["regularise"]["head_scale"] == 1 and value["ema"]["decay"] == 0.9999
    assert value["data"]["batch_size"] == 4096
    assert (value["name"], value["model"]) == ("imagenet-1k", "convnext_base")
    recipe = recipe_for("imagenet-1k", "convnext_base")
    assert {key: value[key] for key in recipe.to_dict()} == recipe.to_dict()
    assert set(value["sources"]) == set(leaves(recipe))
    assert value["sources"]["optim.betas"] == {"source": "Table 5", "differs": None}
    assert value["sources"]["engine.precision"]["differs"] is not None


def test_parameter_groups_of_tiny_are_the_six_layers_between_stem_and_head() -> None:
    value = as_json("show", "finetune-22k-to-1k", "--model", "convnext_tiny", "--set", "optim.lr=1")
    groups = value["parameter_groups"]
    assert set(groups[0]) == {"group", "tensors", "parameters", "lr", "lr_scale", "weight_decay"}
    assert [group["group"] for group in groups[::2]] == [
        "stem, decayed",
        "stage 1 (blocks 1-3), decayed",
        "stage 2 (downsampling, blocks 1-3), decayed",
        "stage 3 (downsampling, blocks 1-3), decayed",
        "stage 3 (blocks 4-6), decayed",
        "stage 3 (blocks 7-9), decayed",
        "stage 4 (downsampling, blocks 1-3), decayed",
        "norm and head, decayed",
    ]
    assert [group["lr"] for group in groups[1::2]] == pytest.approx([0.8 ** (7 - layer) for layer in range(8)])
    assert [group["weight_decay"] for group in groups] == [1e-8, 0.0] * 8
    # 4x4 patches of 3 colours into 96 channels; a bias, and a norm's two.
    assert groups[0]["parameters"] == 4 * 4 * 3 * 96 and groups[1]["parameters"] == 3 * 96
    assert groups[0]["tensors"] == 1 and groups[1]["tensors"] == 3
    assert sum(group["parameters"] for group in groups) == 28_589_128
    assert groups[-2]["parameters"] == 768 * 1000


def test_groups_without_layer_decay_and_with_all_decayed() -> None:
    two = as_json("show", "imagenet-1k", "--model", "convnext_small")["parameter_groups"]
    assert [(group["group"], group["lr"], group["weight_decay"]) for group in two] == [
        ("decayed", 4e-3, 0.05),
        ("not decayed", 4e-3, 0.0),
    ]
    (one,) = as_json("show", "classic-90")["parameter_groups"]
    assert one["parameters"] == 25_557_032 and one["weight_decay"] == 1e-4
    rows = as_json("show", "finetune-22k-to-1k", "--model", "convnext_xlarge")["parameter_groups"]
    assert len(rows) == 28 and rows[0]["lr"] == pytest.approx(5e-5 * 0.8**13)
    wide = as_json("show", "imagenet-22k", "--model", "convnext_tiny")["parameter_groups"]
    assert sum(group["parameters"] for group in wide) == 28_589_128 + 769 * 20_841


def test_the_tables_for_people() -> None:
    text = printed("show", "finetune-22k-to-1k", "--model", "convnext_small", "--set", "optim.lr=2e-5")
    assert "for convnext_small" in text.splitlines()[0]
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["optim.lr"].split()[1:] == "2e-05 --set 5e-05 before (Table 6: absolute at this batch)".split()
    assert "0.8" in lines["optim.layer_decay"] and "section A.2" in lines["optim.layer_decay"]
    assert "0.9,0.999" in lines["optim.betas"] and "none" in lines["optim.clip"]
    assert "float32" in lines["engine.precision"]
    (stem,) = (line for line in text.splitlines() if line.startswith("stem, decayed"))
    assert stem.split() == ["stem,", "decayed", "1", "4,608", "1.1e-06", "0.055", "1e-08"]
    assert "differs from the paper" in text


def test_a_file_names_itself_as_the_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: imagenet-1k\noptim:\n  lr: 1e-3\nmix: {mixup: 0.2}\n")
    value = as_json("show", str(path), "--model", "convnext_small", "--set", "mix.mixup=0.4")
    assert value["base"] == "imagenet-1k" and value["regularise"]["drop_path"] == 0.4
    assert value["sources"]["optim.lr"]["source"] == "mine.yaml"
    assert value["sources"]["optim.lr"]["differs"].startswith("0.004 before (Table 5")
    assert value["sources"]["mix.mixup"] == {"source": "--set", "differs": "0.2 before (mine.yaml)"}
    assert value["sources"]["mix.cutmix"]["source"] == "Table 5"
    assert "mine.yaml" in printed("show", str(path))


def test_diff_shows_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: imagenet-1k\noptim:\n  lr: 1e-3\n")
    value = as_json("diff", "imagenet-1k", str(path), "--model", "convnext_base")
    assert value["differences"] == {"optim.lr": {"a": 4e-3, "b": 1e-3}} and value["model"] == "convnext_base"
    lines = printed("diff", "imagenet-1k", str(path)).splitlines()
    assert len([line for line in lines if "." in line.split("  ")[0]]) == 1 and "0.004" in lines[-1]
    # Both are shown for one model, though each alone would be shown for another.
    found = as_json("diff", "finetune-22k-to-1k-384", "finetune-1k-384", "--model", "convnext_large")["differences"]
    assert found["optim.layer_decay"] == {"a": 0.8, "b": 0.7} and found["regularise.start"] == {"a": "raw", "b": "ema"}
    assert "convnext_tiny" in as_json("diff", "imagenet-1k", "finetune-1k-384")["model"]


def test_diff_of_equals() -> None:
    result = runner.invoke(app, ["recipe", "diff", "smoke", "smoke"], catch_exceptions=False)
    assert result.exit_code == 0 and result.stdout == "" and "do not differ" in result.stderr
    assert as_json("diff", "smoke", "smoke")["differences"] == {}


def test_list() -> None:
    assert [row["name"] for row in as_json("list")] == list(NAMED)
    assert "small-data-finetune" in printed("list")


def test_small_data_says_what_weights_change() -> None:
    result = runner.invoke(app, ["recipe", "show", "small-data"], catch_exceptions=False)
    assert "small-data-finetune" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "imagenet-2k"), "no recipe imagenet-2k; did you mean imagenet-2"),
        (("show", "imagenet-1k", "--model", "convnext_tony"), "no model convnext_tony; did you mean convnext_tiny"),
        (("show", "imagenet-1k", "--set", "optim.lt=1"), "no setting optim.lt; did you mean optim.lr"),
        (("diff", "imagenet-1k", "mine.yaml"), "mine.yaml cannot be read as a recipe"),
        (("show", "imagenet-1k", "--set", "detect.longest=800"), "detect.longest belongs to detection"),
        (
            ("show", "detect-small", "--model", "timm:resnet18"),
            "the recipe detect-small needs a network of this package",
        ),
    ],
)
def test_mistakes(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as error:
        runner.invoke(app, ["recipe", *arguments], catch_exceptions=False)
    assert message in str(error.value)


def test_listing_and_comparing_need_no_torch() -> None:
    code = (
        "import sys; from convnext.cli.app import app; "
        "app(['recipe', 'diff', 'imagenet-1k', 'small-data', '--json'], standalone_mode=False); "
        "assert not {'torch', 'numpy', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_a_rule_decides_is_shown_with_its_value() -> None:
    for recipe, model, crop, scale in (
        ("imagenet-1k", "convnext_tiny", "0.875, by the size", "1e-06, the model's"),
        ("finetune-22k-to-1k-384", "convnext_base", "squash, by the size", "1e-06, the model's"),
        ("isotropic", "convnext_isotropic_small", "0.875, by the size", "none, the model's"),
    ):
        shown = CliRunner().invoke(app, ["recipe", "show", recipe, "--model", model], catch_exceptions=False).stdout
        assert crop in shown and scale in shown


def test_a_detectors_groups_are_its_backbones_and_the_head_is_told_of() -> None:
    value = as_json("show", "coco-mask-rcnn", "--model", "convnext_tiny")
    groups = value["parameter_groups"]
    assert [group["lr"] for group in groups[:-1:2]] == pytest.approx([1e-4 * 0.95 ** (7 - layer) for layer in range(7)])
    # The four norms of the outputs learn with the heads: 2 times 96 + 192 + 384 + 768.
    assert groups[-1]["group"] == "norm and head, not decayed" and groups[-1]["parameters"] == 2 * 1440
    assert sum(group["parameters"] for group in groups) == 28_589_128 - 769 * 1000 - 2 * 768 + 2 * 1440
    assert value["detect"]["crop_shorts"] == [400, 600] and value["sources"]["detect.longest"]["source"]
    stages = as_json("show", "ade20k", "--model", "convnext_small")["parameter_groups"]
    assert [group["lr_scale"] for group in stages[::2]] == pytest.approx(
        [0.9**below for below in (13, 12, 11, 10, 9, 0)]
    )
    result = runner.invoke(app, ["recipe", "show", "ade20k"], catch_exceptions=False)
    assert "stem and downsampling, decayed" in result.stdout and "heads, which are not counted here" in result.stderr
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert lines["evaluate.crop"][1] == "none" and lines["segment.base"][1] == "2048,512"


def test_the_list_tells_the_tasks_apart() -> None:
    rows = {row["name"]: row["task"] for row in as_json("list")}
    assert rows["imagenet-1k"] == "classify" and rows["coco-mask-rcnn"] == "detect" and rows["ade20k"] == "segment"
    assert any(line.split()[:2] == ["ade20k-22k", "segment"] for line in printed("list").splitlines())
