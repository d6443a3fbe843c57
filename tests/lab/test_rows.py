"""Which networks an experiment trains, by which recipe, and what each is compared with."""

import json
from dataclasses import replace

import pytest

from convnext.cost import total_cost
from convnext.errors import UserError
from convnext.lab.recipes import sweep_recipes
from convnext.lab.regimes import chosen_regime
from convnext.lab.rows import Row, leave_one_out_rows, order_rows, picked, rows_of, walk_rows
from convnext.lab.wording import reason_text
from convnext.recipe import diff
from convnext.recipes import recipe_for
from convnext.roadmap import REGIMES, STEPS, decisions, spec_at
from convnext.spec import RESNET50
from tests.flops import counted_macs, on_meta

QUARTER, FULL = REGIMES["quarter"], REGIMES["resnet50"]


def test_the_walk_compares_each_row_with_the_last_kept_one() -> None:
    rows = walk_rows(QUARTER)
    assert [row.name for row in rows] == [step.name for step in STEPS]
    before = {row.name: row.before for row in rows}
    assert before["original"] is None and before["modern_recipe"] == "original"
    for name in ("kernel_5", "kernel_7"):
        assert before[name] == "move_up"
    for name in ("kernel_9", "kernel_11", "gelu"):
        assert before[name] == "kernel_7"
    assert [row.recipe for row in rows] == ["classic"] + ["modern"] * 16
    assert [row.name for row in rows if not row.adopted] == ["kernel_5", "kernel_9", "kernel_11"]
    # A quarter of the width stands beside the paper's ResNet-50 column.
    assert [row.paper.top1 for row in rows[:3] if row.paper] == [76.13, 78.82, 79.36]
    assert rows[0].changes_from(rows[1]) == {} and rows[2].changes_from(rows[1]) == {
        "depths": ([3, 4, 6, 3], [3, 3, 9, 3])
    }


def test_leaving_one_out_names_each_decision_and_shows_its_price() -> None:
    rows = {row.name: row for row in leave_one_out_rows(FULL)}
    assert len(rows) == 14 and list(rows)[:2] == ["convnext", "without_modern_recipe"]
    assert rows["convnext"].before is None and rows["convnext"].spec == spec_at("separate_downsampling")
    assert all(row.before == "convnext" for row in rows.values() if row.name != "convnext")
    # Without its last step ConvNeXt is the row before it; no other row is one of Figure 2.
    measured = {name: row.paper.top1 for name, row in rows.items() if row.paper}
    assert measured == {"convnext": 81.97, "without_separate_downsampling": 81.47}
    assert rows["without_modern_recipe"].recipe == "classic"
    assert rows["without_modern_recipe"].spec == rows["convnext"].spec
    assert rows["without_gelu"].changes_from(rows["convnext"]) == {"act": ("gelu", "relu")}
    # A dense 7x7 convolution in place of the depthwise one: 49 C instead of 49 multiply-adds an output.
    dense = total_cost(rows["without_depthwise"].spec).gmacs
    assert dense == counted_macs(on_meta(rows["without_depthwise"].spec), 224) / 1e9
    assert dense > 5 * total_cost(rows["convnext"].spec).gmacs


def test_an_order_takes_the_named_decisions_first_and_the_rest_as_in_the_paper() -> None:
    rows = order_rows(["layernorm", "gelu"], QUARTER)
    assert [row.name for row in rows][:4] == ["modern_recipe", "layernorm", "gelu", "stage_ratio"]
    assert [row.before for row in rows] == [None, *[row.name for row in rows[:-1]]]
    assert rows[1].spec == replace(RESNET50, width=16, norm="layer")
    assert rows[2].spec == replace(RESNET50, width=16, norm="layer", act="gelu")
    assert rows[-1].spec == spec_at("separate_downsampling", QUARTER)
    # The paper measured both ends, and between them only what this way shares with its own: all but the last step.
    assert [row.paper.top1 for row in rows if row.paper] == [78.82, 81.47, 81.97]
    as_in_the_paper = order_rows(["stage_ratio"], QUARTER)
    assert [row.paper for row in as_in_the_paper] == [row.paper for row in walk_rows(QUARTER)[1:] if row.adopted]
    with pytest.raises(UserError, match="at least one decision: stage_ratio"):
        order_rows([], QUARTER)
    with pytest.raises(UserError, match="no decision kernel_5"):
        order_rows(["kernel_5"], QUARTER)
    with pytest.raises(UserError, match="the order cannot be built"):
        order_rows(["width"], REGIMES["resnet200"])


def test_rows_are_picked_by_name_and_survive_json() -> None:
    rows = rows_of("walk", QUARTER)
    assert [row.name for row in picked(rows, ["gelu", "original"])] == ["original", "gelu"]
    assert picked(rows, []) == rows
    with pytest.raises(UserError, match="no row gellu; did you mean gelu"):
        picked(rows, ["gellu"])
    for kind in ("walk", "leave-one-out", "order"):
        for row in rows_of(kind, QUARTER, ["gelu"]):
            values = json.loads(json.dumps(row.to_dict()))
            assert Row.from_dict(values) == row
            # As older versions wrote it.
            del values["step"]
            assert Row.from_dict(values) == row


def test_a_row_knows_its_step_whatever_it_is_called() -> None:
    steps = [step.name for step in STEPS]
    assert [row.step for row in walk_rows(QUARTER)] == steps
    assert [row.step for row in order_rows(["gelu"], QUARTER)][:3] == ["modern_recipe", "gelu", "stage_ratio"]
    whole, *without = leave_one_out_rows(QUARTER)
    assert whole.step is None and [row.step for row in without] == [
        "modern_recipe",
        *(step.name for step in decisions(QUARTER)),
    ]
    gelu = replace(without[-1], name="mine", step="gelu")
    assert reason_text(gelu) == "use the activation of Transformers (section 2.6)" and reason_text(whole) == ""


def test_a_regime_takes_options_that_no_step_touches() -> None:
    regime = chosen_regime("quarter", width=8, settings={"stem_stride": 2})
    assert regime.name == "quarter-width8-stem_stride2"
    assert {row.spec.stem_stride for row in walk_rows(regime)} == {2}
    assert spec_at("width", regime).width == 12
    with pytest.raises(UserError, match=r"model.kernel cannot be set for a sweep, for its steps \(kernel_5\) do that"):
        chosen_regime("quarter", settings={"kernel": 7})
    with pytest.raises(UserError, match="--width sets where the walk starts"):
        chosen_regime("quarter", settings={"width": 7})
    with pytest.raises(UserError, match=r"model\.colour cannot be set"):
        chosen_regime("quarter", settings={"colour": 7})
    with pytest.raises(UserError, match="no regime half"):
        chosen_regime("half")


def test_few_pictures_take_the_small_recipes_and_many_the_papers() -> None:
    modern, classic = sweep_recipes(FULL, 1_281_167, epochs=90)
    assert (modern.name, classic.name) == ("roadmap", "classic-90")
    assert (modern.data.batch_size, classic.data.batch_size) == (4096, 256)
    assert diff(classic, recipe_for("classic-90", "resnet50:original")) == {}
    modern, classic = sweep_recipes(QUARTER, 9469, epochs=6)
    assert (modern.name, classic.name) == ("roadmap-small", "classic-small")
    # EMA off and stochastic depth 0.1, as in the paper (section A.1).
    assert (modern.ema.decay, modern.regularise.drop_path) == (None, 0.1)
    assert (classic.optim.name, classic.mix.label_smoothing, classic.regularise.drop_path) == ("sgd", 0, 0)
    # Shortened alike: 90 epochs fall every 30, so 6 fall every 2.
    assert (classic.schedule.epochs, classic.schedule.step_epochs, classic.schedule.shape) == (6, 2, "step")
    assert classic.data == modern.data and classic.augment == modern.augment


def test_settings_of_the_pictures_reach_both_recipes_and_others_one() -> None:
    modern, classic = sweep_recipes(
        QUARTER,
        500,
        size=48,
        settings=["optim.lr=3e-4", "data.batch_size=16", "engine.compile=true"],
        classic_settings=["optim.momentum=0.8"],
    )
    assert (modern.optim.lr, classic.optim.lr) == (3e-4, 0.025)
    for recipe in (modern, classic):
        assert (recipe.data.size, recipe.data.batch_size, recipe.engine.compile) == (48, 16, True)
    assert classic.optim.momentum == 0.8
    assert classic.engine.micro_batch == recipe_for("classic-small", "resnet50").engine.micro_batch
    assert sweep_recipes(QUARTER, 500, settings=["evaluate.crop=1"])[1].evaluate.crop == 1
    for setting in ("data.size=32", "schedule.epochs=3"):
        with pytest.raises(UserError, match="is that of all rows, so --set-classic cannot change it"):
            sweep_recipes(QUARTER, 500, classic_settings=[setting])
    with pytest.raises(UserError, match=r"no setting optim\.rate"):
        sweep_recipes(QUARTER, 500, classic_settings=["optim.rate=1"])
    with pytest.raises(UserError, match="no recipe roadmapp"):
        sweep_recipes(QUARTER, 500, modern="roadmapp")
