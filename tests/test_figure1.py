"""What Figure 1 shows: the rows of Table 1, networks of a record at the paper's accuracies, and measured runs."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from convnext.errors import UserError
from convnext.figure1.bubbles import Bubble, Content, told_apart
from convnext.figure1.content import content_of
from convnext.figure1.families import CONVNEXT, FAMILIES, OTHER, RESNET, ROADMAP, SWIN, VIT, family_of, title_of
from convnext.figure1.records import read_given
from convnext.models import MODELS
from convnext.peer_spec import PEERS
from convnext.reference import PAPER_ROWS

TINY = {"model": "convnext_tiny", "input_size": 224, "params": 28589128, "gmacs": 4.456}


def write_record(path: Path, *rows: dict[str, Any], bare: bool = False) -> Path:
    path.write_text(json.dumps(list(rows) if bare else {"format": 1, "machine": {}, "rows": list(rows)}))
    return path


def write_run(
    folder: Path, top1: float, *, model: str = "convnext_atto", seed: int = 0, recipe: Any = None, **other: Any
) -> Path:
    folder.mkdir(parents=True)
    summary = {
        "model": model,
        "data": "flowers",
        "seed": seed,
        "split_seed": 0,
        "recipe": "small-data",
        "size": 64,
        "params": 3_400_000,
        "gmacs": 0.045,
        "classes": 5,
        "val_images": 600,
        "epochs": 10,
        # Not the accuracy of the best epoch, which is chosen by looking.
        "best": {"epoch": 7, "weights": "raw", "top1": top1 + 5},
        "last": {"epoch": 10, "raw": {"top1": top1}, "ema": None},
        "images_per_second": 100.0,
        **other,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    if recipe is not None:
        (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def content(*paths: Path, **options: Any) -> Content:
    return content_of(*read_given(paths), **options)


def bubbles(found: Content) -> dict[str, Bubble]:
    (panel,) = found.panels
    labels = {bubble.label: bubble for bubble in panel.bubbles}
    assert len(labels) == len(panel.bubbles)
    return labels


def test_without_records_each_row_of_table_1_stands_there_once_in_its_half() -> None:
    one_k, twenty_two_k = content().panels
    assert (one_k.title, twenty_two_k.title) == ("Trained on ImageNet-1K", "Pre-trained on ImageNet-22K")
    for panel, table, count in ((one_k, "1, ImageNet-1K", 15), (twenty_two_k, "1, ImageNet-22K", 20)):
        drawn = Counter((bubble.model, bubble.size, bubble.gmacs, bubble.top1) for bubble in panel.bubbles)
        assert drawn == Counter((row.model, row.size, row.gmacs, row.top1) for row in PAPER_ROWS if row.table == table)
        assert drawn.total() == count and not panel.measured
        assert len({bubble.label for bubble in panel.bubbles}) == count


def test_labels_and_numbers_are_those_of_the_print() -> None:
    # By hand, from Table 1.
    half = {bubble.label: (bubble.params, bubble.gmacs, bubble.top1) for bubble in content().panels[1].bubbles}
    assert half["ConvNeXt-XL 384"] == (350_000_000, 179.0, 87.8)
    assert half["R-152x4 480"] == (937_000_000, 840.5, 85.4)
    assert half["Swin-B 384"] == (88_000_000, 47.0, 86.4)
    assert half["ViT-B/16 384"] == (87_000_000, 55.5, 85.4)
    assert half["Swin-L 224"] == (197_000_000, 34.5, 86.3)


def test_one_half_of_table_1_is_one_panel() -> None:
    assert [panel.title for panel in content(half="22k").panels] == ["Pre-trained on ImageNet-22K"]
    assert [panel.title for panel in content(half="1k").panels] == ["Trained on ImageNet-1K"]


def test_against_speed_what_was_not_timed_is_named() -> None:
    found = content(across="speed")
    assert [len(panel.bubbles) for panel in found.panels] == [15, 18]
    panel = found.panels[0]
    assert {bubble.label: panel.x(bubble) for bubble in panel.bubbles}["DeiT-S 224"] == 978.5
    assert found.left_out == ("R-101x3 384: Table 1 prints no speed", "R-152x4 480: Table 1 prints no speed")


def test_every_network_that_we_know_has_a_family_and_no_other_has() -> None:
    assert OTHER not in {family_of(name) for name in (*MODELS, *PEERS)}
    kinds = {name: family_of(name).kind for name in PEERS}
    attention = {name for name, kind in kinds.items() if kind == "Transformer"}
    assert attention == {name for name in PEERS if name.startswith(("swin", "vit", "deit"))}
    assert {family_of(name) for name in MODELS} == {CONVNEXT, RESNET}
    assert family_of("quarter:gelu") is family_of("resnet50-width32:without_gelu") is ROADMAP
    assert family_of("swin_tiny (embed_dim=34; depths=2,2,6,2)") is SWIN and family_of("resnet50 (width=26)") is RESNET
    for stranger in (
        "timm:convnext_tiny (drop=1)",
        "mine (width=8)",
        "resnet50 (width=26",
        "timm:gelu",
        "convnext_mine",
        "mine:own",
        "network",
        "swin_mine",
    ):
        assert family_of(stranger) is OTHER and title_of(stranger) == stranger
    assert len({family.colour for family in FAMILIES}) == len(FAMILIES) == len({family.name for family in FAMILIES})


def test_networks_are_called_as_the_paper_calls_them() -> None:
    names = ("convnext_tiny", "convnext_xlarge", "convnext_isotropic_small", "convnext_atto", "resnet50", "deit_base")
    assert [title_of(name) for name in names] == [
        "ConvNeXt-T",
        "ConvNeXt-XL",
        "ConvNeXt-S (iso.)",
        "ConvNeXt-Atto",
        "ResNet-50",
        "DeiT-B",
    ]
    assert title_of("swin_tiny (embed_dim=34; depths=2,2,6,2)") == "Swin-T*", "one that was changed is not the paper's"


@pytest.mark.parametrize("bare", [False, True])
def test_a_record_gives_cost_and_speed_and_the_paper_the_accuracy(tmp_path: Path, bare: bool) -> None:
    path = write_record(
        tmp_path / "bench.json",
        # What a record says of the paper is not taken from it.
        {**TINY, "batch": 8, "images_per_second": 20.0, "paper_top1": 99.9, "peak_memory_bytes": None},
        {**TINY, "batch": 16, "images_per_second": 22.5},
        {**TINY, "batch": 32, "images_per_second": None, "failed": "memory"},
        {**TINY, "model": "timm:swin_tiny_patch4_window7_224", "gmacs": 4.51, "images_per_second": 15.0},
        {**TINY, "model": "vit_small", "gmacs": 4.61},
        {**TINY, "model": "resnet50", "gmacs": 4.09},
        {**TINY, "input_size": 256},
        bare=bare,
    )
    one_k, twenty_two_k = content(path).panels
    assert [(one.label, one.gmacs, one.top1, one.images_per_second) for one in one_k.bubbles] == [
        ("ConvNeXt-T 224", 4.456, 82.1, 22.5),
        ("Swin-T 224", 4.51, 81.3, 15.0),
        ("ViT-S 224", 4.61, 79.8, None),
    ]
    assert [one.family for one in one_k.bubbles] == [CONVNEXT, SWIN, VIT]
    assert [one.source for one in one_k.bubbles][1:] == ["paper, Table 1, ImageNet-1K", "paper, Table 2"]
    assert [(one.label, one.params, one.top1) for one in twenty_two_k.bubbles] == [("ConvNeXt-T 224", 28589128, 82.9)]
    assert [sentence.split(":")[0] for sentence in content(path).left_out] == ["ResNet-50 224", "ConvNeXt-T 256"]
    (fast,) = content(path, across="speed", half="1k").panels
    assert [fast.x(one) for one in fast.bubbles] == [22.5, 15.0] and "bench.json" in fast.x_label
    assert content(path, across="speed", half="1k").left_out[0] == "ViT-S 224: bench.json tells no speed"


def test_speeds_of_two_records_share_no_panel_and_their_costs_do(tmp_path: Path) -> None:
    one = write_record(tmp_path / "one.json", {**TINY, "images_per_second": 20.0, "dtype": "fp32", "device": "cpu"})
    small = {**TINY, "model": "convnext_small", "gmacs": 8.69, "images_per_second": 9.0}
    other = write_record(tmp_path / "other.json", {**TINY, "images_per_second": 40.0}, small)
    (together,) = content(one, other, half="1k").panels
    assert [bubble.gmacs for bubble in together.bubbles] == [4.456, 8.69]
    first, second = content(one, other, half="1k", across="speed").panels
    assert first.x_label == "images per second, fp32 on cpu, one.json"
    assert [first.x(one) for one in first.bubbles] == [20.0]
    assert [second.x(one) for one in second.bubbles] == [40.0, 9.0] and first.name != second.name


def test_speeds_that_were_timed_in_two_ways_are_refused(tmp_path: Path) -> None:
    rows = [{**TINY, "images_per_second": 20.0, "train": train, "device": "cpu"} for train in (False, True)]
    path = write_record(tmp_path / "bench.json", *rows)
    assert len(content(path).panels) == 2
    with pytest.raises(UserError, match=re.escape("timed in several ways (on cpu; training steps on cpu)")):
        content(path, across="speed")


def test_runs_are_mean_and_spread_of_their_seeds(tmp_path: Path) -> None:
    for seed, top1 in enumerate((60.0, 62.0, 67.0)):
        write_run(tmp_path / "seeds" / f"seed-{seed}", top1, seed=seed)
    write_run(tmp_path / "one", 71.5, model="convnext_femto", gmacs=0.06)
    found = bubbles(content(tmp_path / "seeds", tmp_path / "one"))
    atto, femto = found["ConvNeXt-Atto"], found["ConvNeXt-Femto"]
    # (−3)² + (−1)² + 4² = 26 over 2.
    assert (atto.top1, atto.seeds, atto.std) == (63.0, 3, pytest.approx(13**0.5))
    assert (femto.top1, femto.seeds, femto.std, femto.gmacs) == (71.5, 1, None, 0.06)
    (panel,) = content(tmp_path).panels
    assert panel.measured and panel.title == "Measured on flowers"
    assert panel.y_label == "top-1 on 600 held-out pictures of 64 pixels, %"


def test_a_run_that_kept_an_average_is_scored_by_the_weights_it_calls_its_best(tmp_path: Path) -> None:
    last = {"epoch": 10, "raw": {"top1": 50.0}, "ema": {"top1": 55.0}}
    write_run(tmp_path / "run", 0, last=last, best={"weights": "ema", "top1": 56.0})
    assert bubbles(content(tmp_path / "run" / "summary.json"))["ConvNeXt-Atto"].top1 == 55.0


def test_a_run_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "a", 60.0)
    found = bubbles(content(run, tmp_path / "runs", run / "summary.json"))
    assert found["ConvNeXt-Atto"].seeds == 1


def test_other_settings_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    def recipe(rate: float, workers: int) -> dict[str, Any]:
        return {"optim": {"lr": rate}, "data": {"size": 64, "workers": workers}, "engine": {"compile": workers > 1}}

    write_run(tmp_path / "fast-1", 60.0, seed=1, recipe=recipe(1e-3, 0))
    write_run(tmp_path / "fast-2", 62.0, seed=2, recipe=recipe(1e-3, 4))
    write_run(tmp_path / "slow", 50.0, seed=3, recipe=recipe(1e-4, 0))
    write_run(tmp_path / "long", 70.0, epochs=100)
    write_run(tmp_path / "large", 80.0, size=96)
    found = {label: (one.top1, one.seeds) for label, one in bubbles(content(tmp_path)).items()}
    assert found == {
        "ConvNeXt-Atto 64, 10 epochs, fast-1 and 1 more": (61.0, 2),
        "ConvNeXt-Atto 64, 10 epochs, slow": (50.0, 1),
        "ConvNeXt-Atto 64, 100 epochs": (70.0, 1),
        "ConvNeXt-Atto 96": (80.0, 1),
    }


def test_where_no_recipe_is_left_the_same_seed_twice_is_another_experiment(tmp_path: Path) -> None:
    for sweep, top1 in (("slow", 40.0), ("fast", 60.0)):
        for seed in (0, 1):
            write_run(tmp_path / sweep / "gelu" / f"seed-{seed}", top1 + seed, model="quarter:gelu", seed=seed)
    found = bubbles(content(tmp_path))
    assert {label: (one.top1, one.seeds) for label, one in found.items()} == {
        "quarter:gelu, slow": (40.5, 2),
        "quarter:gelu, fast": (60.5, 2),
    }
    write_run(tmp_path / "loose" / "a", 10.0, seed=5)
    write_run(tmp_path / "loose" / "b", 20.0, seed=5)
    loose = bubbles(content(tmp_path / "loose"))
    assert {label: one.top1 for label, one in loose.items()} == {"ConvNeXt-Atto, a": 10.0, "ConvNeXt-Atto, b": 20.0}


def test_each_data_set_has_a_panel_and_the_papers_numbers_others(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", 60.0)
    write_run(tmp_path / "runs" / "b", 61.0, data="/other/place/flowers/", seed=1)
    write_run(tmp_path / "runs" / "c", 70.0, val_images=300)
    write_run(tmp_path / "runs" / "d", 80.0, data="birds.zip")
    found = content(tmp_path / "runs", write_record(tmp_path / "bench.json", TINY))
    assert [(panel.title, panel.measured, len(panel.bubbles)) for panel in found.panels] == [
        ("Trained on ImageNet-1K", False, 1),
        ("Pre-trained on ImageNet-22K", False, 1),
        ("Measured on flowers, 600 held-out pictures", True, 1),
        ("Measured on flowers, 300 held-out pictures", True, 1),
        ("Measured on birds.zip", True, 1),
    ]
    assert found.panels[2].bubbles[0].seeds == 2
    assert len({panel.name for panel in found.panels}) == 5


def test_names_are_told_apart_by_what_differs_among_them() -> None:
    hints = [["x", "x", "x", "y"], ["1", "2", "2", "2"], ["p", "p", "q", "q"]]
    told = told_apart(["a", "a", "a", "b"], [lambda at, words=words: words[at] for words in hints])
    assert told == ["a, 1", "a, 2, p", "a, 2, q", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("7", "holds no rows"),
        ('{"rows": 3}', "holds no rows"),
        ("[1]", "holds no rows"),
        ("[]", "without a row"),
        ('[{"name": "convnext_tiny"}]', "row 1 of {path}: model must be a name, it is missing"),
        (json.dumps([TINY, {**TINY, "gmacs": "4"}]), 'row 2 of {path}: gmacs must be a number, it is "4"'),
        (json.dumps([{**TINY, "gmacs": float("nan")}]), "gmacs must be a number, it is NaN"),
        (json.dumps([{**TINY, "input_size": 0}]), "input_size must be a number above 0, it is 0"),
        (json.dumps([{**TINY, "params": 10**400}]), "params must be a number from 1e-09 to 1e+15, it is 1000"),
        (json.dumps([{**TINY, "gmacs": 1e-300}]), "gmacs must be a number from 1e-09 to 1e+15, it is 1e-300"),
        (json.dumps([{**TINY, "images_per_second": True}]), "images_per_second must be a number, it is true"),
    ],
)
def test_a_file_that_is_no_record_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(words.format(path=path))):
        content(path)


def test_what_is_not_there_or_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*missing\.json"):
        content(tmp_path / "missing.json")
    (tmp_path / "runs" / "killed").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no finished run in .*runs"):
        content(tmp_path / "runs")
    write_run(tmp_path / "runs" / "odd", 60.0, last={"raw": {"mAP": 3.0}, "ema": None})
    with pytest.raises(UserError, match=re.escape("odd/summary.json: top1 must be a number, it is missing")):
        content(tmp_path / "runs")


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 60.0)
    with pytest.raises(UserError, match="training; leave runs out"):
        content(run, across="speed")
    with pytest.raises(UserError, match="only runs were given"):
        content(run, half="1k")
    record = write_record(tmp_path / "bench.json", {**TINY, "model": "resnet50"})
    with pytest.raises(UserError, match="nothing to draw: ResNet-50 224"):
        content(record)
