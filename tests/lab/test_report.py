"""The report against sweeps of made-up results whose answers are worked out by hand, here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from PIL import Image
from typer.testing import CliRunner

from convnext.cli.report import report
from convnext.errors import UserError
from convnext.lab.analysis import analyse
from convnext.lab.canvas import INK, SECTIONS
from convnext.lab.cost_figure import plot_cost
from convnext.lab.figures import plot_curves_of_steps, plot_roadmap
from convnext.lab.report import write_report
from convnext.lab.results import read_results
from convnext.lab.statistics import dunnetts_quantile
from convnext.lab.wording import (
    finding,
    reading,
)
from convnext.roadmap import decisions
from tests.lab.made_results import MACHINE, analysed, made_sweep_of, write_made_up, write_run
from tests.lab.page import Page

# Means 51, 61, 61, 58.5, 40, 70, 65; squares about them 2, 2, 0, 0.5: 4.5 over 1 + 1 + 1 degrees of freedom.
WALK = {
    "original": [50.0, 52.0],
    "modern_recipe": [60.0, 62.0],
    "stage_ratio": [61.0],
    "patchify_stem": [None],
    "depthwise": [58.0, 59.0],
    "width": [40.0],
    "kernel_5": [70.0],
    "separate_downsampling": [65.0, None],
}
STD = 1.224745
# Student's t for 3 degrees of freedom is 3.182446; times STD, times sqrt(1/2 + 1/2) and sqrt(1/2 + 1).
TWO_AND_TWO, TWO_AND_ONE = 3.897684, 4.773668


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk")
    write_made_up(folder, WALK)
    write_report(folder)
    return folder


def require_self_contained(page: Page) -> None:
    assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object", "embed", "base"})
    assert all(link.startswith("#") for link in page.links) and page.links
    assert len(set(page.ids)) == len(page.ids)
    named = {f"#{name}" for name in page.ids}
    used = re.findall(r"url\(([^)]*)\)", " ".join(page.styles))
    assert set(page.links) <= named and set(used) <= named and used
    assert "@import" not in page.source and "http" not in page.source


def test_the_numbers_of_the_page_are_those_worked_out_by_hand(walk: Path) -> None:
    page = Page(walk / "report.html")
    rows = {cells[0].split()[-1]: cells[1:] for cells in page.tables["rows"][1:]}
    assert len(rows) == 17
    # kept, changes, GMACs, params, seeds, top-1, difference, verdict, paper
    assert rows["original"][-5:] == ["2", "51.00 ± 1.41", "", "", "76.13 4.09 GFLOPs"]
    assert rows["modern_recipe"][-5:] == [
        "2",
        "61.00 ± 1.41",
        "+10.00 [+6.10, +13.90]",
        "better",
        "78.82 ± 0.07 +2.69 4.09 GFLOPs",
    ]
    assert rows["stage_ratio"][-5:] == [
        "1",
        "61.00",
        "0.00 [−4.77, +4.77]",
        "within noise",
        "79.36 ± 0.07 +0.54 4.53 GFLOPs",
    ]
    assert rows["patchify_stem"][-5:] == ["0", "not run", "", "", "79.51 ± 0.18 +0.15 4.42 GFLOPs"]
    assert rows["depthwise"][-5:-1] == ["2", "58.50 ± 0.71", "", "nothing to compare with"]
    assert rows["width"][-5:] == ["1", "40.00", "−18.50 [−23.27, −13.73]", "worse", "80.50 ± 0.02 +2.22 5.27 GFLOPs"]
    assert rows["gelu"][-5:-1] == ["0", "not run", "", ""]
    assert [name for name, cells in rows.items() if cells[0] == "tried"] == ["kernel_5", "kernel_9", "kernel_11"]
    assert rows["modern_recipe"][1].startswith("recipe classic → modern train as Transformers")
    assert rows["kernel_11"][1].startswith("kernel 7 → 11") and rows["depthwise"][1].startswith("depthwise off → on")
    # A quarter of ResNet-50's width: its multiply-adds at 64 pixels, as torch counts them elsewhere.
    assert rows["original"][2] == "0.0227 0.278 at 224" and rows["width"][2] == "0.0274 × 2.22 0.336 at 224"
    assert rows["depthwise"][2:4] == ["0.0123 × 0.54 0.151 at 224", "0.88M"]


def test_agreement_with_the_paper_by_hand(walk: Path) -> None:
    rows = Page(walk / "report.html").tables["agreements"][1:]
    # Ranks of the kept rows 2, 4.5, 4.5, 3, 1, 6 and 1, 3, 4, 2, 5, 6: 7 over sqrt(17 * 17.5); 10 pairs alike, 4 not,
    # one tied: 6 over sqrt(14 * 15).
    kept, every, steps, all_steps = [[cell.split(" (")[0] for cell in cells] for cells in rows]
    assert kept == ["rows that the paper kept", "6", "0.41", "0.41"]
    # kernel_5 (70, and 80.35 in the paper) comes in: ranks 2, 4.5, 4.5, 3, 1, 7, 6 and 1, 3, 4, 2, 6, 5, 7: 10.5 over
    # sqrt(27.5 * 28); 14 pairs alike, 6 not, one tied: 8 over sqrt(20 * 21).
    assert every == ["all rows", "7", "0.38", "0.39"]
    # Differences +10, 0, -18.5 beside +2.69, +0.54, +2.22: ranks 3, 2, 1 and 3, 1, 2.
    assert steps[1:] == all_steps[1:] == ["3", "0.50", "0.33"]
    assert rows[2][2] == "0.50 (p = 1.000)"


def test_the_finding_opens_the_page(walk: Path) -> None:
    page = Page(walk / "report.html")
    (text,) = [text for text in page.texts["p"] if "are finished" in text]
    assert "10 of 12 runs are finished: 7 of 17 rows, 1 to 2 seeds each, scored on 1,000 held-out pictures." in text
    assert "a standard deviation of 1.22 points, pooled over all rows (3 degrees of freedom)" in text
    assert "Helping beyond the noise (1 of 3 steps): modern recipe (+10.00)." in text
    assert "Hurting beyond the noise (1 of 3 steps): wider (−18.50)." in text
    assert "Within noise (1 of 3 steps): stage ratio (0.00)." in text
    three = "These are 3 intervals at 95%, each for itself: about one in twenty misses by chance, so 0.15 of these."
    assert three in text
    # 65 - 51, and the paper's 81.97 - 76.13.
    total = "+14.00 [+9.23, +18.77] points, better; the paper's +5.84 (0.0227 → 0.0246 GMACs)."
    assert f"From ResNet, classic recipe to separate downsampling = ConvNeXt: {total}" in text
    kendall = "Kendall's τ between our order of the kept rows and the paper's is 0.41 (p = 0.251, 6 rows)"
    assert f"{kendall}; of the steps between them 0.33 (p = 1.000, 3 steps)." in text
    # Wilson's: 1.96 * sqrt(0.65 * 0.35 / 1000 + 3.8416 / 4e6) over 1.0038416.
    assert "the 65.00% of separate downsampling = ConvNeXt is known to ±2.95 points" in page.words
    assert "that of the last epoch, not of the best one" in page.words and "unpaired" in page.words
    assert "Student's at 95%, each for itself" in page.words
    assert "assumes that the seeds of every row spread alike" in page.words
    # A hundredth of 1,000 pictures over sqrt(12).
    assert "rounding to one held-out picture is worth (0.029 points)" in page.words


def test_what_was_run_is_on_the_page(walk: Path) -> None:
    page = Page(walk / "report.html")
    for text in ("digits", "3,000 to train on, 1,000 held out, 10 classes", "64 pixels, 3 epochs", "15 min 00 s"):
        assert text in page.texts["dd"]
    assert "2026-11-22, convnext 0.1.0, commit abc1234" in page.texts["dd"]
    assert page.texts["code"] == ["convnext roadmap train digits"]
    assert page.row("places", "Abacus 3, Linux, 2 cores")[0] == "cpu, float32"
    recipes = {
        cells[0]: cells[1:] for name, table in page.tables.items() if name.startswith("table") for cells in table
    }
    assert recipes["optim.name"] == ["adamw", "sgd"] and recipes["optim.lr"] == ["0.004", "0.1"]
    # What both share stands once, and what no reader asks for not at all.
    assert recipes["schedule.epochs"] == ["3"] and "engine.log_every" not in recipes
    assert page.row("unfinished", "patchify_stem") == ["0", "waiting", "0 of 3"]
    assert page.row("runs", "kernel_5") == ["0", "70.00", "100", "1 min 30 s"]


def test_one_file_that_needs_nothing_else(walk: Path) -> None:
    page = Page(walk / "report.html")
    require_self_contained(page)
    assert page.source.count("<svg") == 3 and page.source.count('role="img"') == 3
    assert "prefers-color-scheme: dark" in page.source and "@media print" in page.source
    # Text in the figures is text.
    assert "fewer activations" in page.texts["text"] and "Swin-T 81.3" in page.texts["text"]


def test_the_files_beside_it(walk: Path) -> None:
    for name in ("roadmap", "curves", "cost"):
        with Image.open(walk / f"{name}.png") as image:
            image.load()
            assert image.width == 1500
        svg = (walk / f"{name}.svg").read_text(encoding="utf-8")
        assert svg.startswith("<?xml") and svg.rstrip().endswith("</svg>") and "<text" in svg and "<dc:date>" not in svg
    numbers = json.loads((walk / "results.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in numbers["rows"]}
    least = pytest.approx(0.1 / 12**0.5)
    assert numbers["noise"] == {"std": pytest.approx(STD, abs=1e-6), "freedom": 3, "least": least}
    assert numbers["intervals"] == {"count": 3, "kind": "Student"}
    assert rows["modern_recipe"]["difference"] == {
        "value": 10,
        "low": pytest.approx(10 - TWO_AND_TWO, abs=1e-5),
        "high": pytest.approx(10 + TWO_AND_TWO, abs=1e-5),
        "verdict": "better",
    }
    assert rows["stage_ratio"]["difference"]["high"] == pytest.approx(TWO_AND_ONE, abs=1e-5)
    assert rows["patchify_stem"]["mean"] is rows["depthwise"]["difference"] is None
    assert rows["original"]["top1s"] == [50, 52] and rows["original"]["std"] == pytest.approx(2**0.5)
    assert rows["original"]["curves"]["1"] == [[1, 47], [2, 49.5], [3, 52]]
    assert numbers["total"]["value"] == 14 and numbers["paper_total"] == pytest.approx(5.84)
    assert numbers["agreements"]["rows_kept"]["spearman"] == pytest.approx(7 / (17 * 17.5) ** 0.5)
    assert numbers["agreements"]["rows_all"]["kendall"] == pytest.approx(8 / 420**0.5)
    assert numbers["runs"] == {"finished": 10, "asked": 12} and numbers["seconds"] == 900
    assert numbers["recipes"]["classic"]["optim.name"] == "sgd"


def bars(axes: Axes) -> dict[int, Any]:
    return {round(patch.get_y() + patch.get_height() / 2): patch for patch in axes.patches}  # type: ignore[attr-defined]


def test_the_figure_shows_means_seeds_and_the_paper(walk: Path) -> None:
    figure = plot_roadmap(analyse(read_results(walk)))
    measured, gmacs, paper, papers_gmacs = figure.axes
    drawn = bars(measured)
    assert {y: round(bar.get_x() + bar.get_width(), 6) for y, bar in drawn.items()} == {
        0: 51, 1: 61, 2: 61, 4: 58.5, 5: 40, 8: 70, 16: 65,
    }  # fmt: skip
    assert drawn[8].get_hatch() and not drawn[1].get_hatch()
    assert to_hex(drawn[5].get_facecolor()).upper() == SECTIONS["ResNeXt"][0]
    dots = {(round(line.get_xdata()[0], 6), line.get_ydata()[0]) for line in measured.lines if line.get_marker() == "o"}  # type: ignore[index]
    assert {(50, 0), (52, 0), (60, 1), (62, 1), (61, 2)} <= dots and len(dots) == 10
    spreads = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in measured.lines if len(line.get_xdata()) == 2}  # type: ignore[index, arg-type]
    assert set(spreads) == {0, 1, 4} and spreads[4] == pytest.approx((58.5 - 0.5**0.5, 58.5 + 0.5**0.5))
    texts = [text.get_text() for text in measured.texts]
    assert texts[:3] == ["51.00", "61.00", "61.00"] and texts[3] == texts[12] == "not run"
    # The bars are cut where the axis says.
    start = measured.get_xlim()[0]
    assert start > 0 and f"bars begin at {start:.1f}" in measured.get_xlabel()
    assert [text.get_text() for text in paper.texts][:2] == ["76.13", "78.82"]
    assert bars(paper)[16].get_x() + bars(paper)[16].get_width() == pytest.approx(81.97)
    assert 81.30 in [line.get_xdata()[0] for line in paper.lines if line.get_linestyle() == "--"]  # type: ignore[index]
    assert [text.get_text() for text in gmacs.texts][:3] == ["0.0227", "0.0227", "0.0249"]
    assert [text.get_text() for text in papers_gmacs.texts][15:] == ["4.46", "4.49"]
    assert [label.get_text() for label in measured.get_yticklabels()][8] == "kernel 5"


def test_curves_and_costs_show_every_row_that_has_a_run(walk: Path) -> None:
    analysis = analyse(read_results(walk))
    cells = [axes for axes in plot_curves_of_steps(analysis).axes if axes.get_title()]
    assert [axes.get_title().replace("\n", " ") for axes in cells] == [
        "ResNet, classic recipe", "modern recipe", "stage ratio", "depthwise convolution", "wider", "kernel 5",
        "separate downsampling = ConvNeXt",
    ]  # fmt: skip
    # Two of the row before in grey, then its own two.
    assert [list(line.get_ydata())[-1] for line in cells[1].lines] == [50, 52, 60, 62]  # type: ignore[arg-type]
    axes, key = plot_cost(analysis).axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]  # type: ignore[index]
    assert [y for _, y in points] == [51, 61, 61, 58.5, 40, 70, 65] and points[0][0] == pytest.approx(0.0227, abs=1e-4)
    assert [text.get_text() for text in key.texts][-2:] == ["9  kernel 5", "17  separate downsampling = ConvNeXt"]
    arrows = [text for text in axes.texts if not text.get_text()]
    assert len(arrows) == 5
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["1", "2", "3", "5", "6", "9", "17"]


def test_one_seed_each_says_that_the_noise_is_unknown(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, {"original": [50.0], "modern_recipe": [60.0], "stage_ratio": [61.0]})
    assert "One seed each: the noise is unknown, so no difference can be told from chance." in finding(analysis)
    assert not any("beyond" in sentence for sentence in finding(analysis))
    page = Page(write_report(tmp_path))
    assert page.row("rows", "modern recipe modern_recipe")[-3:] == [
        "+10.00",
        "noise unknown",
        "78.82 ± 0.07 +2.69 4.09 GFLOPs",
    ]
    numbers = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert numbers["noise"] is None and numbers["rows"][1]["difference"]["low"] is None


def test_leave_one_out_is_compared_with_the_whole(tmp_path: Path) -> None:
    top1s = {"convnext": [65.0, 66.0], "without_depthwise": [66.0, 68.0], "without_modern_recipe": [50.0]}
    analysis = analysed(tmp_path, top1s, kind="leave-one-out")
    rows = {row.name: row for row in analysis.rows}
    assert len(rows) == 14 and analysis.total is None
    dense, recipe = rows["without_depthwise"].difference, rows["without_modern_recipe"].difference
    # (0.5 + 2) / 2 is 1.25; Dunnett's t for 2 and 1 seeds against 2, and 2 degrees of freedom.
    quantile = 5.472012
    assert dunnetts_quantile([1, 2], 2, 2) == pytest.approx(quantile, abs=1e-5)
    assert dense is not None and recipe is not None and analysis.noise is not None
    assert (dense.value, dense.high) == pytest.approx((1.5, 1.5 + quantile * 1.25**0.5), abs=1e-4)
    assert (recipe.value, recipe.low) == pytest.approx((-15.5, -15.5 - quantile * (1.25 * 1.5) ** 0.5), abs=1e-4)
    assert all(one is None for one in analysis.agreements.values())
    text = " ".join(finding(analysis))
    assert "Worse than the whole ConvNeXt beyond the noise (1 of 2 rows): without modern recipe (−15.50)." in text
    assert "Within noise of the whole (1 of 2 rows): without depthwise convolution (+1.50)." in text
    both = "These are 2 intervals at 95%, for all at once (Dunnett's): one in twenty such sweeps has any that misses"
    assert both in text and "each for itself" not in text
    assert any("Dunnett's at 95%, for all rows at once" in sentence for sentence in reading(analysis))
    # A dense kernel of 7x7 has its price.
    assert "without depthwise convolution 6.2 times" in text
    measured, gmacs = plot_roadmap(analysis).axes
    ends = {y: round(bar.get_x() + bar.get_width(), 6) for y, bar in bars(measured).items()}
    assert ends == {0: 0, 1: -15.5, 4: 1.5} and "the whole ConvNeXt (65.50%)" in measured.get_xlabel()
    assert [text.get_text() for text in measured.texts][:3] == ["0", "−15.50", "not run"]
    assert gmacs.texts[4].get_text() == "0.152"
    page = Page(write_report(tmp_path))
    require_self_contained(page)
    row = page.row("rows", "without depthwise convolution without_depthwise")
    assert row[0].startswith("depthwise on → off") and row[1] == "0.152 × 6.21 1.87 at 224"
    assert row[5:7] == ["+1.50 [−4.62, +7.62]", "within noise"] and "agreements" not in page.tables


def test_another_order_is_a_walk_without_the_papers_panel(tmp_path: Path) -> None:
    top1s = {"modern_recipe": [50.0, 51.0], "gelu": [52.0], "depthwise": [49.0], "stage_ratio": [60.0]}
    # What the paper begins with comes last, so that only the ends are rows of it.
    between = [step.name for step in decisions("quarter") if step.name not in ("gelu", "depthwise", "stage_ratio")]
    analysis = analysed(tmp_path, top1s, kind="order", order=["gelu", "depthwise", *between])
    assert [row.name for row in analysis.rows[:3]] == ["modern_recipe", "gelu", "depthwise"]
    steps = [row.difference.value for row in analysis.rows if row.difference is not None]
    assert steps == [1.5, -3.0] and analysis.total is not None and analysis.total.value == 9.5
    assert analysis.paper_total == pytest.approx(81.97 - 78.82)
    assert len(plot_roadmap(analysis).axes) == 2
    page = Page(write_report(tmp_path))
    # No row of the classic recipe, so there is one recipe.
    assert "The recipe" in page.texts["h3"] and "classic: classic-90" not in page.words
    assert "Within noise (2 of 2 steps): ReLU to GELU (+1.50), depthwise convolution (−3.00)." in page.words


def test_a_sweep_without_a_finished_run(tmp_path: Path) -> None:
    write_made_up(tmp_path, {"original": [None], "gelu": [None, None]})
    page = Page(write_report(tmp_path))
    assert "None of the 3 runs of this sweep is finished, so there is no result." in page.texts["p"]
    assert len(page.tables["unfinished"]) == 4 and "runs" not in page.tables and "places" not in page.tables


HOSTILE = '<b onload="x">Tom & "Jérry"</b>.πλάτη.日本 {{ 7 * 7 }} $x$_{'


def test_names_are_only_text(tmp_path: Path) -> None:
    write_made_up(tmp_path, {"original": [50.0], "gelu": [60.0]}, data=HOSTILE)
    (tmp_path / "failures").mkdir()
    failure = {"row": "gelu", "seed": 1, "error": f"cannot read {HOSTILE}", "when": "2026-11-22"}
    (tmp_path / "failures" / "x.json").write_text(json.dumps(failure), encoding="utf-8")
    page = Page(write_report(tmp_path))
    assert "b" not in page.tags and HOSTILE in page.texts["dd"]
    require_self_contained(page)
    assert page.row("failures", "gelu") == ["1", "2026-11-22", f"cannot read {HOSTILE}", "not finished"]


def test_several_machines_and_other_pictures_are_told(tmp_path: Path) -> None:
    sweep = write_made_up(tmp_path, {"original": [50.0, None, None], "gelu": [60.0]})
    faster = {**MACHINE, "accelerator": "Loom 9"}
    other = {"machine": faster, "device": "cuda", "processes": 2, "seconds": 10000.0, "train_images": 2990}
    write_run(tmp_path, sweep, sweep.rows[0], 1, 51.0, **other)
    write_run(tmp_path, sweep, sweep.rows[0], 2, 52.0, **other)
    analysis = analyse(read_results(tmp_path))
    assert [(runs, seconds) for _, runs, seconds in analysis.places()] == [(2, 180.0), (2, 20000.0)]
    *_, pictures, places = finding(analysis)
    assert pictures.startswith("Take care: not all runs saw the same pictures (3,000 to train on")
    assert places.startswith("Take care: not all runs were computed alike (device cpu or cuda), so")
    page = Page(write_report(tmp_path))
    assert page.row("places", "Abacus 3, Loom 9, Linux, 2 cores")[0] == "cuda, float32, 2 processes"
    assert page.row("places", "Abacus 3, Loom 9, Linux, 2 cores")[2:] == ["2", "5 h 33 min"]


def test_settings_of_matplotlib_change_no_figure(walk: Path, tmp_path: Path) -> None:
    others = {
        "text.usetex": True,
        "font.size": 20.0,
        "font.family": ["monospace"],
        "axes.grid": True,
        "axes.facecolor": "yellow",
        "hatch.color": "red",
        "lines.linestyle": ":",
        "savefig.bbox": "tight",
        "savefig.facecolor": "blue",
        "svg.fonttype": "path",
        "figure.constrained_layout.h_pad": 1.0,
        "path.sketch": (5.0, 50.0, 2.0),
    }
    with rc_context(others):  # type: ignore[arg-type]
        write_report(walk, tmp_path)
        assert {name: value for name, value in rcParams.items() if name in others} == others
    for name in ("roadmap", "curves", "cost"):
        for ending in ("svg", "png"):
            assert (tmp_path / f"{name}.{ending}").read_bytes() == (walk / f"{name}.{ending}").read_bytes(), name


def test_the_command_and_the_same_results_make_the_same_bytes(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    app = typer.Typer()
    app.command()(report)
    place = tmp_path / "new" / "place"
    asked = CliRunner().invoke(app, [str(walk), "--out", str(place), "--json"], catch_exceptions=False)
    assert json.loads(asked.stdout) == json.loads((walk / "results.json").read_text(encoding="utf-8")) and not opened
    figures = [f"{name}.{ending}" for name in ("roadmap", "curves", "cost") for ending in ("png", "svg")]
    assert sorted(path.name for path in place.iterdir()) == sorted(["report.html", "results.json", *figures])
    for path in place.iterdir():
        assert path.read_bytes() == (walk / path.name).read_bytes(), path.name
    shown = CliRunner().invoke(app, [str(walk), "--open"], catch_exceptions=False).stdout
    (row,) = [line for line in shown.splitlines() if line.startswith("modern_recipe")]
    assert row.split() == "modern_recipe 0.0227 2 61.00 ± 1.41 +10.00 [+6.10, +13.90] better 78.82".split()
    assert "kernel_9 (tried)" in shown and shown.rstrip().endswith(str(walk / "report.html"))
    assert opened == [(walk / "report.html").as_uri()]


def test_a_place_that_cannot_be_written_is_a_sentence(walk: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write"):
        write_report(walk, tmp_path / "file" / "out")


def test_every_step_has_a_section_of_the_paper() -> None:
    names = [name for _, names in SECTIONS.values() for name in names]
    assert names == [row.name for row in made_sweep_of({"gelu": [60.0]}).rows]
    assert len({colour for colour, _ in SECTIONS.values()} | {INK}) == 7
