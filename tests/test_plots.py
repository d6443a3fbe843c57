"""Pictures of a run: that they are there, readable, and leave matplotlib's global state alone."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from convnext import plots
from convnext.errors import UserError
from convnext.plots import plot_confusion, plot_curves, plot_guesses
from convnext.tasks.classify import Guess


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    drawn: list[Figure] = []
    write = plots._write

    def keep(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        write(figure, path)

    monkeypatch.setattr(plots, "_write", keep)
    return drawn


def history(epochs: int, ema: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 2.0 / epoch,
            "raw": {"top1": 50.0 + epoch, "loss": 1.5 / epoch},
            "ema": {"top1": 40.0 + 2 * epoch, "loss": 1.6 / epoch} if ema else None,
            "best": epoch < 4,
        }
        for epoch in range(1, epochs + 1)
    ]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def boxes(texts: list[Text], figure: Figure) -> list[Any]:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return [text.get_window_extent(canvas.get_renderer()) for text in texts if text.get_text()]


def require_apart(texts: list[Text], figure: Figure) -> None:
    found = boxes(texts, figure)
    assert found
    for index, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[index + 1 :])


def require_inside(texts: list[Text], figure: Figure) -> None:
    for box in boxes(texts, figure):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height


def test_curves_hold_the_numbers(tmp_path: Path, figures: list[Figure]) -> None:
    plot_curves(tmp_path / "curves.png", history(6))
    losses, targets = figures[0].axes
    lines = {line.get_label(): list(line.get_ydata()) for line in (*losses.lines, *targets.lines)}  # type: ignore[arg-type]
    assert lines["raw weights"] == [51, 52, 53, 54, 55, 56]
    assert lines["EMA weights"] == [42, 44, 46, 48, 50, 52]
    assert lines["held out, EMA weights"] == [1.6 / epoch for epoch in range(1, 7)]
    assert lines["training (as optimised)"] == [2.0 / epoch for epoch in range(1, 7)]
    assert lines["best: epoch 3"] == [0, 1]
    assert size_of(tmp_path / "curves.png") == (1200, 480)


@pytest.mark.parametrize("rows", [history(1), history(3, ema=False), []])
def test_curves_of_short_runs(tmp_path: Path, figures: list[Figure], rows: list[dict[str, Any]]) -> None:
    plot_curves(tmp_path / "curves.png", rows)
    assert (tmp_path / "curves.png").exists()
    labels = [line.get_label() for axes in figures[0].axes for line in axes.lines]
    assert ("EMA weights" in labels) == (len(rows) == 1)


@pytest.mark.parametrize("number", [2, 10, 20, 37, 50])
def test_confusion_labels_are_readable(tmp_path: Path, figures: list[Figure], number: int) -> None:
    classes = [f"a long class name {index}" for index in range(number)]
    counts = np.random.default_rng(0).integers(0, 5000, (number, number))
    plot_confusion(tmp_path / "confusion.png", counts, classes)
    axes = figures[0].axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert len(labels) == number
        require_apart(labels, figures[0])
        require_inside(labels, figures[0])
    require_inside([axes.xaxis.label, axes.yaxis.label, axes.title], figures[0])
    assert len(axes.texts) == (np.count_nonzero(counts) if number <= 20 else 0)
    if number <= 20:
        require_apart(axes.texts, figures[0])


def test_confusion_rows_are_the_true_classes(tmp_path: Path, figures: list[Figure]) -> None:
    plot_confusion(tmp_path / "confusion.png", np.array([[3, 1], [0, 0]]), ["a", "b"])
    axes = figures[0].axes[0]
    shares = axes.images[0].get_array()
    assert shares is not None and shares.tolist() == [[75, 25], [0, 0]]
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [("3", (0, 0)), ("1", (1, 0))]
    # White on dark, black on light.
    assert [to_hex(text.get_color()) for text in axes.texts] == ["#ffffff", "#000000"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_many_classes_are_a_picture_without_names(tmp_path: Path, figures: list[Figure]) -> None:
    plot_confusion(tmp_path / "confusion.png", np.eye(200, dtype=np.int64), [f"c{index}" for index in range(200)])
    assert len(figures[0].axes[0].get_xticklabels()) < 20 and not figures[0].axes[0].texts


def guess(truth: str | None, predicted: str = "cat", channels: int = 3) -> Guess:
    pixels = np.full((20, 20, channels), 200, dtype=np.uint8)
    return Guess(pixels=pixels, predicted=predicted, probability=0.876, truth=truth)


def test_sheet_marks_the_wrong_ones_in_red(tmp_path: Path, figures: list[Figure]) -> None:
    long = "a very long name of a class that goes on and on"
    guesses = [guess("cat"), guess("dog"), guess(None), guess(long, "some $odd$ other class"), guess("cat", channels=1)]
    plot_guesses(tmp_path / "sheet.png", guesses * 3, columns=4)
    titles = [axes.title for axes in figures[0].axes]
    assert titles[0].get_text().strip() == "cat 88%" and titles[0].get_color() == plots.RIGHT
    assert titles[1].get_text() == "cat 88%\nis dog" and titles[1].get_color() == plots.WRONG
    assert titles[2].get_text().strip() == "cat 88%" and titles[2].get_color() == "black"
    require_apart(titles, figures[0])
    require_inside(titles, figures[0])
    assert figures[0].axes[1].spines["left"].get_edgecolor()[:3] == matplotlib.colors.to_rgb(plots.WRONG)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_sheets_of_any_length(tmp_path: Path, count: int) -> None:
    plot_guesses(tmp_path / "sheet.png", [guess("dog")] * count)
    assert size_of(tmp_path / "sheet.png")[1] > 100


def test_no_global_figure_is_made_and_a_bad_place_is_a_sentence(tmp_path: Path) -> None:
    import matplotlib.pyplot as pyplot

    plot_curves(tmp_path / "curves.png", history(2))
    assert pyplot.get_fignums() == []
    with pytest.raises(UserError, match="cannot write"):
        plot_curves(tmp_path / "missing" / "curves.png", history(2))
