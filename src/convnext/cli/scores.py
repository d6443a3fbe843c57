"""Scores as tables and a few lines: the numbers, the weak places, and the published numbers beside them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convnext.cli.console import print_table

if TYPE_CHECKING:
    from convnext.evaluate import Evaluation
    from convnext.examine import CorruptionScores, Examination
    from convnext.metrics.classification import Scores
    from convnext.metrics.several_labels import SeveralLabelsScores
    from convnext.robustness_reference import Comparison

TOLD = 5


def show_scores(done: "Evaluation | Examination") -> None:
    """Print what was scored: a table, and for single classes the worst and the most frequent confusions."""
    from convnext.evaluate import Evaluation
    from convnext.examine import CorruptionScores
    from convnext.metrics.several_labels import SeveralLabelsScores

    what = done.part if isinstance(done, Evaluation) else done.on
    if isinstance(done.scores, CorruptionScores):
        _show_corruptions(done.scores)
    elif isinstance(done.scores, SeveralLabelsScores):
        _show_several_labels(done.scores, what, done.weights)
    else:
        _show_classes(done.scores, done.classes, what, done.weights)


def show_comparisons(comparisons: Sequence["Comparison"]) -> None:
    """Print measured numbers beside published ones, and whether they agree."""
    from convnext.robustness_reference import MEASURES

    print_table(
        ["number", "measured", "published", "in", "row", "verdict"],
        [
            [
                MEASURES[one.measure].title,
                f"{one.measured:.2f}",
                f"{one.reference:g}",
                one.source,
                one.row,
                one.text,
            ]
            for one in comparisons
        ],
        left=["number", "in", "row", "verdict"],
    )


def _show_classes(scores: "Scores", classes: Sequence[str], what: str, weights: str) -> None:
    print_table(
        ["top-1 %", "top-5 %", "loss", "ECE %", "images", "part", "weights"],
        [
            [
                f"{scores.top1:.2f}",
                "" if scores.top5 is None else f"{scores.top5:.2f}",
                f"{scores.loss:.4f}",
                f"{scores.ece:.2f}",
                f"{scores.images}",
                what,
                weights,
            ]
        ],
    )
    from convnext.labels import readable
    from convnext.metrics.breakdown import frequent_confusions, worst_classes

    worst = [f"{readable(one.name)} {one.top1:.1f}% of {one.images}" for one in worst_classes(scores, classes, TOLD)]
    confused = [
        f"{readable(one.truth)} for {readable(one.taken_for)} ({one.count})"
        for one in frequent_confusions(scores, classes, TOLD)
    ]
    if worst:
        print(f"\nworst classes: {', '.join(worst)}")
    if confused:
        print(f"most often taken: {', '.join(confused)}")


def _show_several_labels(scores: "SeveralLabelsScores", what: str, weights: str) -> None:
    print_table(
        ["top-1 %", "ECE %", "images", "without a label", "part", "weights"],
        [
            [
                f"{scores.top1:.2f}",
                f"{scores.ece:.2f}",
                f"{scores.images}",
                f"{scores.without_label}",
                what,
                weights,
            ]
        ],
    )


def _show_corruptions(scores: "CorruptionScores") -> None:
    from convnext.data.corruptions.table import SEVERITIES

    levels = [level for level in SEVERITIES if any(level == severity for _, severity in scores.errors)]
    print_table(
        ["corruption", "% of AlexNet's errors", *(f"error % at {level}" for level in levels)],
        [
            [
                one.name,
                f"{one.relative:.1f}",
                *(f"{one.errors[level]:.1f}" if level in one.errors else "" for level in levels),
            ]
            for one in scores.each()
        ],
        left=["corruption"],
    )
    mean = f"mCE {scores.mce:.2f}% of {scores.images:,} pictures" if scores.mce is not None else "no mCE of a part"
    print(f"\n{mean}")
