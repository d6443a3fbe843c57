"""What a score hides: single classes, pairs that are confused, the whole matrix as a table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

import numpy as np
from numpy.typing import NDArray

from convnext.metrics.classification import Scores


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class: its pictures, and the percent of them that were recognised (None without a picture)."""

    name: str
    images: int
    top1: float | None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How many pictures of one class were taken for another."""

    truth: str
    taken_for: str
    count: int


def per_class(scores: Scores, classes: Sequence[str]) -> list[ClassScore]:
    """Return each class in the order of the head."""
    rows = zip(classes, scores.class_images.tolist(), scores.class_right.tolist(), strict=True)
    return [
        ClassScore(name=name, images=images, top1=100 * right / images if images else None)
        for name, images, right in rows
    ]


def worst_classes(scores: Scores, classes: Sequence[str], count: int) -> list[ClassScore]:
    """Return the classes with the lowest share of recognised pictures, the worst first; of equal ones the larger."""
    shown = [one for one in per_class(scores, classes) if one.top1 is not None and one.top1 < 100]
    return sorted(shown, key=lambda one: (one.top1, -one.images))[:count]


def frequent_confusions(scores: Scores, classes: Sequence[str], count: int) -> list[Confusion]:
    """Return the pairs that were confused most often, the most frequent first; none where no matrix was counted."""
    if scores.confusion is None:
        return []
    counts = scores.confusion.numpy().copy()
    np.fill_diagonal(counts, 0)
    places = np.argsort(-counts, axis=None, kind="stable")[:count]
    pairs = (divmod(int(place), len(classes)) for place in places)
    return [
        Confusion(truth=classes[true], taken_for=classes[other], count=int(counts[true, other]))
        for true, other in pairs
        if counts[true, other]
    ]


def confusion_csv(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return a confusion matrix with the true class at the head of each row and the predicted ones on top."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, counts.tolist(), strict=True))
    return text.getvalue()
