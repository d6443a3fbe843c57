"""Pictures of a run: curves, confusion matrix, and a sheet of predictions.

Drawn with matplotlib's objects on the Agg canvas, so that no window system and no global state is touched.
"""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from convnext.files import write_bytes

if TYPE_CHECKING:
    from convnext.tasks.classify import Guess

# Told apart by everyone (Okabe and Ito), and by lightness too.
TRAIN, RAW, EMA, WRONG, RIGHT = "#777777", "#0072B2", "#D55E00", "#C00000", "#1A7F37"
DPI = 120
MOST_LABELS, MOST_NUMBERS = 50, 20
TILE_INCHES, LONGEST_CAPTION = 1.35, 18


def plot_curves(path: Path, history: Sequence[Mapping[str, Any]], *, target: str = "top1") -> None:
    """Draw loss and target over the epochs, of raw and averaged weights, the best epoch marked.

    history: the epoch rows of a run's log. UserError when the file cannot be written.
    """
    figure = _figure(10, 4)
    losses, targets = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 30 else ""
    _line(losses, epochs, [row["train_loss"] for row in history], "training (as optimised)", TRAIN, marker)
    for name, label, colour in (("raw", "raw weights", RAW), ("ema", "EMA weights", EMA)):
        if not history or history[-1][name] is None:
            continue
        _line(losses, epochs, [row[name].get("loss") for row in history], f"held out, {label}", colour, marker)
        _line(targets, epochs, [row[name][target] for row in history], label, colour, marker)
    best = [row["epoch"] for row in history if row["best"]]
    if best:
        targets.axvline(best[-1], color=TRAIN, linewidth=1, linestyle=":", label=f"best: epoch {best[-1]}", zorder=0)
    losses.set_title("loss")
    targets.set_title({"top1": "top-1 on held-out pictures, %"}.get(target, f"{target} on held-out pictures"))
    for axes in (losses, targets):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="#E5E5E5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize=9)
    _write(figure, path)


def plot_confusion(
    path: Path, counts: NDArray[np.int64], classes: Sequence[str], *, title: str = "confusion matrix"
) -> None:
    """Draw a confusion matrix, rows true and columns predicted, coloured by the share of the row.

    Up to 50 classes are named; up to 20 have their counts in the cells. UserError when the file cannot be written.
    """
    number = len(classes)
    labels = [_short(name) for name in classes]
    side = min(16.0, max(4.5, 0.42 * number + 2))
    figure = _figure(side + 1.5, side)
    axes = figure.subplots()
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, label="% of the true class")
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if number <= MOST_LABELS:
        size = 9 if number <= MOST_NUMBERS else 7
        # Short names stand upright; longer ones would run into each other.
        angle = 0 if max(map(len, labels)) <= 2 else 90
        axes.set_xticks(range(number), labels, rotation=angle, fontsize=size)
        axes.set_yticks(range(number), labels, fontsize=size)
    if number <= MOST_NUMBERS:
        _write_counts(axes, counts, shares)
    _write(figure, path)


def plot_guesses(path: Path, guesses: Sequence["Guess"], *, columns: int = 6) -> None:
    """Draw pictures with what the network says of them: green where it is right, red where it is wrong.

    A wrong one also tells its true label; without a truth the caption is black. UserError when the file cannot be
    written.
    """
    columns = max(1, min(columns, len(guesses)))
    rows = max(1, -(-len(guesses) // columns))
    figure = _figure(columns * TILE_INCHES + 0.3, rows * (TILE_INCHES + 0.42) + 0.2)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, guess in zip(cells, guesses, strict=False):
        wrong = guess.truth is not None and guess.truth != guess.predicted
        colour = "black" if guess.truth is None else (WRONG if wrong else RIGHT)
        _show(axes, guess.pixels, colour)
        axes.set_title(_caption(guess, wrong), fontsize=8, color=colour, pad=3, linespacing=1.1)
    _write(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _line(axes: Axes, epochs: list[int], values: list[Any], label: str, colour: str, marker: str) -> None:
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), label=label, color=colour, marker=marker, markersize=4, linewidth=1.8)


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 55 else "black"
        text = f"{counts[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8 if len(text) < 5 else 6, color=colour)


def _show(axes: Axes, pixels: NDArray[np.uint8], colour: str) -> None:
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    grey = pixels.shape[2] == 1
    # Small pictures are shown as the squares that they are, not blurred.
    how = "nearest" if pixels.shape[0] < 48 else "antialiased"
    axes.imshow(pixels[:, :, 0] if grey else pixels, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation=how)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


def _caption(guess: "Guess", wrong: bool) -> str:
    said = f"{_short(guess.predicted)} {100 * guess.probability:.0f}%"
    # Two lines always, so that the pictures of a row stay level; the text stands right above its picture.
    return f"{said}\nis {_short(guess.truth)}" if wrong and guess.truth is not None else f"\n{said}"


def _short(name: str, longest: int = LONGEST_CAPTION) -> str:
    # A dollar sign would start matplotlib's formula mode.
    text = name if len(name) <= longest else name[: longest - 1] + "…"
    return text.replace("$", r"\$")


def _write(figure: Figure, path: Path) -> None:
    buffer = BytesIO()
    # Each drawing lays out anew from the one before; a matrix with many names needs a few to fit its labels in.
    with warnings.catch_warnings():
        # A class name in a script that the font lacks becomes boxes; the labels are in summary.json as they are.
        warnings.filterwarnings("ignore", message="Glyph")
        for _ in range(2):
            figure.draw_without_rendering()
        figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())
