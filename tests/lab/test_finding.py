"""What a report says in words of made-up results: neither more than they tell, nor of one thing as of many."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convnext.lab.analysis import analyse
from convnext.lab.figures import plot_roadmap
from convnext.lab.report import write_report
from convnext.lab.results import read_results
from convnext.lab.sweep import write_sweep
from convnext.lab.wording import correlation_text, counted, data_title, decimals, finding, gmacs_texts, p_text, signed
from convnext.recipe import with_overrides
from tests.lab.made_results import VERSIONS, analysed, made_sweep_of, write_made_up, write_run
from tests.lab.page import Page


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"precision": "bfloat16"}, "(precision float32 or bfloat16)"),
        ({"versions": {**VERSIONS, "torch": "2.10.0"}}, "(torch 2.11.0 or 2.10.0)"),
        ({"versions": {}, "device": "mps"}, "(device cpu or mps; torch 2.11.0 or unknown)"),
        ({"versions": {**VERSIONS, "python": "3.12.1"}, "processes": 2}, None),
    ],
)
def test_runs_that_were_computed_otherwise_are_told(tmp_path: Path, other: dict[str, Any], said: str | None) -> None:
    sweep = write_made_up(tmp_path, {"original": [50.0, None], "gelu": [60.0]})
    write_run(tmp_path, sweep, sweep.rows[0], 1, 51.0, **other)
    told = [sentence for sentence in finding(analyse(read_results(tmp_path))) if "computed alike" in sentence]
    assert [said in sentence for sentence in told if said is not None] == ([] if said is None else [True])
    assert bool(told) == (said is not None)


def test_seeds_that_tie_are_not_taken_for_certain(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, {"original": [50.0, 50.0], "modern_recipe": [50.1, 50.1]})
    least = 0.1 / 12**0.5
    assert analysis.noise is not None and analysis.noise.std == pytest.approx(least)
    one = analysis.rows[1].difference
    # Student's t for 2 degrees of freedom.
    assert one is not None and one.high == pytest.approx(0.1 + 4.302653 * least, abs=1e-6)
    assert one.verdict == "within noise"
    said = (
        "Seeds of one row differ by no more than rounding to one held-out picture is worth, so that the noise is taken"
    )
    assert f"{said} as that: 0.03 points (2 degrees of freedom)." in finding(analysis)
    # The fewest pictures count.
    sweep = analysis.results.sweep
    write_run(tmp_path, sweep, sweep.rows[0], 0, 50.0, val_images=100)
    fewer = analyse(read_results(tmp_path)).noise
    assert fewer is not None and fewer.std == pytest.approx(10 * least)


def test_a_total_within_noise_says_so(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, {"original": [50.0, 52.0], "separate_downsampling": [52.0, 53.0]})
    (text,) = [sentence for sentence in finding(analysis) if sentence.startswith("From ")]
    # (2 + 0.5) / 2 is 1.25; Student's t for 2 degrees of freedom is 4.302653.
    assert "+1.50 [−3.31, +6.31] points, within noise; the paper's +5.84" in text
    alone = analysed(tmp_path / "alone", {"original": [50.0], "separate_downsampling": [52.0]})
    (text,) = [sentence for sentence in finding(alone) if sentence.startswith("From ")]
    assert "+2.00 points, noise unknown; the paper's" in text


def test_the_reverse_of_the_papers_order_is_not_called_its_order(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, {"original": [60.0], "modern_recipe": [50.0], "stage_ratio": [40.0]})
    (text,) = [sentence for sentence in finding(analysis) if "Kendall" in sentence]
    assert text.startswith(
        "Kendall's τ between our order of the kept rows and the paper's is −1.00 (p = 0.333, 3 rows)"
    )
    assert Page(write_report(tmp_path)).row("agreements", "all rows")[1:] == ["−1.00 (p = 0.333)"] * 2


def test_one_of_a_thing_is_one(tmp_path: Path) -> None:
    alone = " ".join(finding(analysed(tmp_path / "one", {"original": [50.0]})))
    assert "1 of 1 run is finished: 1 of 17 rows, 1 seed each" in alone
    several = " ".join(finding(analysed(tmp_path / "two", {"original": [50.0, 52.0], "modern_recipe": [50.0]})))
    assert "(1 degree of freedom)" in several and "Within noise (1 of 1 step): modern recipe" in several
    assert "This is one interval at 95%: about one in twenty misses by chance." in several
    page = Page(write_report(tmp_path / "two"))
    assert "points, 1 degree of freedom)" in page.words and "1 degrees" not in page.words
    write_made_up(tmp_path / "none", {"original": [None]})
    assert "The one run of this sweep is not finished, so there is no result." in finding(
        analyse(read_results(tmp_path / "none"))
    )


@pytest.mark.parametrize(("epochs", "title"), [(90, "ResNet, 90-epoch recipe"), (5, "ResNet, classic recipe")])
def test_the_first_row_is_called_after_the_recipe_that_it_had(tmp_path: Path, epochs: int, title: str) -> None:
    sweep = made_sweep_of({"original": [50.0]})
    recipes = {
        name: with_overrides(getattr(sweep, name), [f"schedule.epochs={epochs}"]) for name in ("modern", "classic")
    }
    sweep = replace(sweep, **recipes)  # type: ignore[arg-type]
    write_sweep(tmp_path, sweep)
    write_run(tmp_path, sweep, sweep.rows[0], 0, 50.0, epochs=epochs)
    analysis = analyse(read_results(tmp_path))
    assert analysis.rows[0].title == title
    assert [row.title for row in analysis.rows[1:]] == [row.title for row in sweep.rows[1:]]
    page = Page(write_report(tmp_path))
    assert page.row("rows", f"{title} original") and title in page.texts["text"]
    other = "90-epoch" if epochs != 90 else "classic recipe"
    assert not [text for text in page.texts["text"] if other in text]
    assert plot_roadmap(analysis).axes[0].get_yticklabels()[0].get_text() == title


def test_wording() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 1234)] == ["0 runs", "1 run", "2 runs", "1,234 runs"]
    assert (counted(2, "class"), counted(1, "class")) == ("2 classes", "1 class")
    assert [correlation_text(value) for value in (1, 0.5, -0.001, -1)] == ["1.00", "0.50", "0.00", "−1.00"]
    assert [signed(value) for value in (1.234, -1.236, 0.004, -0.004, 0.0)] == [
        "+1.23",
        "−1.24",
        "0.00",
        "0.00",
        "0.00",
    ]
    assert gmacs_texts([0.0246, 0.0123]) == ["0.0246", "0.0123"] and gmacs_texts([15.35, 4.1]) == ["15.35", "4.10"]
    assert decimals([]) == 2
    assert [p_text(value) for value in (0.0004, 0.001, 0.5)] == ["p < 0.001", "p = 0.001", "p = 0.500"]
    titles = {
        "digits": "digits",
        "hf:some/set": "set",
        "/a/b/cats.csv": "cats.csv",
        "torchvision:CIFAR10@/x": "torchvision:CIFAR10",
        "dogs/": "dogs",
        "": "",
    }
    assert {data: data_title(data) for data in titles} == titles
