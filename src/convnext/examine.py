"""Score a checkpoint on a set of Table 8 as the set is meant to be scored, and compare it with the published number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from convnext.data.sources import Split
from convnext.data.tar_index import Note
from convnext.errors import UserError
from convnext.evaluate import (
    Scoring,
    preprocess_for,
    require_numbers,
    rows_of_classes,
    score_pictures,
    scored_metric,
    scores_dict,
    told_apart,
    with_rows,
)
from convnext.labels import imagenet_1k, rows_for
from convnext.metrics.classification import Scores
from convnext.metrics.several_labels import SeveralLabelsScores
from convnext.preprocess import Preprocess
from convnext.robustness.corrupted import Conditions, open_conditions
from convnext.robustness.corruption_score import CorruptionError, corruption_errors, mean_corruption_error
from convnext.robustness.sets import TITLES, Exam, SetName, open_set
from convnext.robustness_reference import Comparison, Row, compare
from convnext.tasks.several_labels import RealMetric, SeveralLabelsScoring
from convnext.weights import Loaded

# Real frost, and the draws and library versions of the published files, are not to be had.
COMPUTED_SAID = (
    "the corruptions were computed here from clean pictures, with made frost and JPEG at quality 85; numbers for the "
    "published files hold only approximately"
)


@dataclass(frozen=True, kw_only=True)
class CorruptionScores:
    """Top-1 errors in percent on ImageNet-C by corruption and severity, and the pictures scored in all.

    computed  whether the corruptions were computed here
    """

    errors: Mapping[tuple[str, int], float]
    images: int
    computed: bool

    @property
    def mce(self) -> float | None:
        """The mean corruption error, percent; None for a part of the corruptions or severities."""
        return mean_corruption_error(self.errors)

    def each(self) -> list[CorruptionError]:
        """Return the error of each corruption."""
        return corruption_errors(self.errors)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """What a checkpoint scored on one of the sets.

    size        side of the pictures in pixels
    classes     those that competed, in the order of the scores
    unreadable  pictures that are not in the scores, by name, with the reason
    notes       what a reader of the numbers must know
    """

    on: SetName
    where: str
    scores: Scores | SeveralLabelsScores | CorruptionScores
    size: int
    weights: str
    classes: tuple[str, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def measures(self) -> dict[str, float]:
        """Return the numbers that have a published counterpart, by the names of `robustness_reference`."""
        if isinstance(self.scores, CorruptionScores):
            return {} if self.scores.mce is None else {"c_mce": self.scores.mce}
        found = {f"{self.on}_top1": self.scores.top1}
        if self.on == "imagenet" and isinstance(self.scores, Scores) and self.scores.top5 is not None:
            found["imagenet_top5"] = self.scores.top5
        return found

    def compared(self, row: Row) -> list[Comparison]:
        """Return each measured number beside that of a row, where it has one."""
        computed = isinstance(self.scores, CorruptionScores) and self.scores.computed
        found = (
            compare(row, measure, value, images=self.scores.images, size=self.size, computed=computed)
            for measure, value in self.measures().items()
        )
        return [one for one in found if one is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON; accuracies and errors in percent."""
        if isinstance(self.scores, Scores):
            numbers = scores_dict(self.scores, self.classes)
        elif isinstance(self.scores, SeveralLabelsScores):
            numbers = asdict(self.scores)
        else:
            numbers = _corruptions_dict(self.scores)
        return {
            "on": self.on,
            "where": self.where,
            "size": self.size,
            **numbers,
            "weights": self.weights,
            "unreadable": list(self.unreadable),
            "notes": list(self.notes),
        }


def examine(
    loaded: Loaded,
    data: str,
    on: SetName,
    *,
    labels: Path | None = None,
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = (),
    how: Scoring | None = None,
    note: Note,
) -> Examination:
    """Score a checkpoint on one of the sets, each picture exactly once.

    labels                   where the ReaL labels lie; None is real.json in the folder
    corruptions, severities  which of ImageNet-C; none for all
    note                     is told of what is passed over

    Of several processes all call this, and all get the whole score. UserError when the data does not lie as the set
    does, or the checkpoint does not know its classes.
    """
    how = how or Scoring()
    if on != "c" and (corruptions or severities):
        raise UserError(f"--corruptions and --severities are for --on c, not for --on {on}")
    if on == "c":
        if labels is not None:
            raise UserError("--labels is for --on real, not for --on c")
        conditions = how.world.in_turn(
            lambda: open_conditions(data, corruptions=corruptions, severities=severities, note=note),
        )
        return _examine_corrupted(loaded, data, conditions, how)
    exam = how.world.in_turn(lambda: open_set(on, data, labels=labels, note=note))
    with how.world.together():
        preprocess = preprocess_for(loaded, how.size)
        able, notes = _able(loaded, exam, on)
    ready = (able, exam, preprocess, how)
    scores, unreadable = _score_real(*ready) if exam.real is not None else _score(*ready)
    return Examination(
        on=on,
        where=exam.where,
        scores=scores,
        size=preprocess.size,
        weights=loaded.weights,
        classes=able.labels or exam.classes,
        unreadable=unreadable,
        notes=notes,
    )


def corrupted_preprocess(preprocess: Preprocess) -> Preprocess:
    """Return how the pictures of ImageNet-C are shown: 224 x 224 as they are, and squashed to any other size.

    Their middle was cut when they were made; to cut it again, as the usual rule does, would look at less than the
    published numbers did.
    """
    return replace(preprocess, resize="squash", crop=1.0)


def _able(loaded: Loaded, exam: Exam, on: SetName) -> tuple[Loaded, tuple[str, ...]]:
    """Return the checkpoint with the classes that compete on the set, and words on it."""
    loaded, head = told_apart(loaded, exam.classes)
    notes = () if head is None else (head,)
    if exam.only is None:
        return loaded, notes
    rows = [None] if loaded.labels is None else rows_for(loaded.labels, exam.only)
    known = [row for row in rows if row is not None]
    if len(known) < len(exam.only):
        raise UserError(
            f"--on {on} lets the {len(exam.only)} classes of {TITLES[on]} compete, of which the checkpoint does not "
            "know all; take one with a head of ImageNet-1K"
        )
    said = f"only the logits of the {len(exam.only)} classes of {TITLES[on]} compete"
    return with_rows(loaded, known, exam.only), (*notes, said)


def _score(loaded: Loaded, exam: Exam, preprocess: Preprocess, how: Scoring) -> tuple[Scores, Mapping[str, str]]:
    with how.world.together():
        pictures = _renumbered(loaded, exam)
    classes = loaded.labels or exam.classes
    return score_pictures(loaded, pictures, classes, preprocess, how)


def _renumbered(loaded: Loaded, exam: Exam) -> Split:
    """Return the pictures with their labels numbered as the head numbers its classes."""
    rows = rows_of_classes(exam.where, exam.classes, loaded.labels, loaded.network.spec.num_classes)
    return replace(exam.split, labels=rows[exam.split.labels])


def _score_real(
    loaded: Loaded, exam: Exam, preprocess: Preprocess, how: Scoring
) -> tuple[SeveralLabelsScores, Mapping[str, str]]:
    assert exam.real is not None
    with how.world.together():
        wnids = imagenet_1k().wnids
        rows = rows_of_classes(TITLES["real"], wnids, loaded.labels, loaded.network.spec.num_classes)
    right = tuple(tuple(int(rows[one]) for one in row) for row in exam.real)
    task = SeveralLabelsScoring(right, preprocess)
    metric, unreadable = scored_metric(loaded, task, exam.split, preprocess, how)
    assert isinstance(metric, RealMetric)
    scores = metric.scores()
    require_numbers(scores.ece, how)
    return scores, unreadable


def _examine_corrupted(loaded: Loaded, data: str, conditions: Conditions, how: Scoring) -> Examination:
    with how.world.together():
        preprocess = corrupted_preprocess(preprocess_for(loaded, how.size))
    errors: dict[tuple[str, int], float] = {}
    images = 0
    unreadable: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    total = len(conditions.chosen)
    for number, (name, severity) in enumerate(conditions.chosen):
        exam = how.world.in_turn(partial(conditions.open, name, severity))
        if not number:
            with how.world.together():
                able, notes = _able(loaded, exam, "c")
        part = replace(how, progress=_part_of_all(how.progress, number, total))
        scores, missed = _score(able, exam, preprocess, part)
        errors[name, severity] = 100 - scores.top1
        images += scores.images
        unreadable |= {f"{name}/{severity}/{picture}": reason for picture, reason in missed.items()}
    if conditions.computed:
        notes = (*notes, COMPUTED_SAID)
    if conditions.missing:
        notes = (*notes, f"there are no folders of {', '.join(conditions.missing)}")
    if mean_corruption_error(errors) is None:
        notes = (*notes, "no mCE, which takes all fifteen corruptions at all five severities")
    return Examination(
        on="c",
        where=data,
        scores=CorruptionScores(errors=errors, images=images, computed=conditions.computed),
        size=preprocess.size,
        weights=loaded.weights,
        classes=able.labels or exam.classes,
        unreadable=unreadable,
        notes=notes,
    )


def _part_of_all(progress: Callable[[int, int], None] | None, number: int, total: int) -> Callable[[int, int], None]:
    """Return what hears of one pass of several and tells of all, as if each had as many pictures as this one."""

    def tell(done: int, of: int) -> None:
        if progress is not None:
            progress(number * of + done, total * of)

    return tell


def _corruptions_dict(scores: CorruptionScores) -> dict[str, Any]:
    rows = [
        {"name": one.name, "relative": one.relative, "errors": {str(key): value for key, value in one.errors.items()}}
        for one in scores.each()
    ]
    return {"mce": scores.mce, "images": scores.images, "computed": scores.computed, "corruptions": rows}
