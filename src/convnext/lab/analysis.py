"""What the results of a sweep say: each row with its difference to the one before, the noise, the paper's order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from convnext.lab.results import Place, Results, RowResult
from convnext.lab.statistics import (
    Agreement,
    Difference,
    Noise,
    Spread,
    agreement,
    difference,
    dunnetts_quantile,
    level_margin,
    pooled_noise,
    spread,
)

Value = TypeVar("Value")

PAPERS_CLASSIC_EPOCHS = 90

AGREEMENTS = {
    "rows_kept": "rows that the paper kept",
    "rows_all": "all rows",
    "steps_kept": "differences to the row before, of rows that the paper kept",
    "steps_all": "differences to the row before, of all rows",
}
"""The pairs of lists that are compared with the paper's, in words."""


@dataclass(frozen=True, kw_only=True)
class RowFinding:
    """What may be said of one row.

    title             of the row; "90-epoch" is told of the classic recipe only where it is as long as that
    spread            of its seeds; None where no run is finished
    difference        to the row before; None where one of the two has no run, or there is none before
    paper_difference  the same in the paper, in points; None where the paper lacks one of the two
    gmacs_ratio       how many times the multiply-adds of the row before; None for the first
    """

    result: RowResult
    title: str
    spread: Spread | None
    difference: Difference | None
    paper_difference: float | None
    gmacs_ratio: float | None

    @property
    def name(self) -> str:
        """The row's name."""
        return self.result.row.name

    @property
    def paper_top1(self) -> float | None:
        """What the paper measured for the row, in percent."""
        paper = self.result.row.paper
        return None if paper is None else paper.top1

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        row, paper, found = self.result.row, self.result.row.paper, self.difference
        return {
            "name": row.name,
            "title": self.title,
            "kept": row.adopted,
            "recipe": row.recipe,
            "before": row.before,
            "gmacs": self.result.gmacs,
            "gmacs_as_paper": self.result.gmacs_as_paper,
            "gmacs_ratio": self.gmacs_ratio,
            "params": self.result.params,
            "seeds": [run.seed for run in self.result.runs],
            "top1s": self.result.top1s,
            "mean": None if self.spread is None else self.spread.mean,
            "std": None if self.spread is None else self.spread.std,
            "difference": None if found is None else {**asdict(found), "verdict": found.verdict},
            "paper": None if paper is None else asdict(paper),
            "paper_difference": self.paper_difference,
            "curves": {str(run.seed): [list(point) for point in run.curve] for run in self.result.runs},
            "seconds": [run.seconds for run in self.result.runs],
            "images_per_second": [run.images_per_second for run in self.result.runs],
        }


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that a report shows.

    noise        between seeds; None where no row has two
    agreements   with the paper, by the names in AGREEMENTS; None where fewer than three can be compared
    total        from the first row to the last; None where one has no run, and where rows do not build on each other
    paper_total  the same in the paper
    level        the row whose accuracy stands for the whole: the last kept one that has a run, or the whole ConvNeXt
    margin       by how many points that accuracy may be off because the held-out pictures are few
    """

    results: Results
    rows: tuple[RowFinding, ...]
    noise: Noise | None
    agreements: Mapping[str, Agreement | None]
    total: Difference | None
    paper_total: float | None
    level: RowFinding | None
    margin: float | None

    @property
    def done(self) -> list[RowFinding]:
        """The rows that have a finished run."""
        return [row for row in self.rows if row.spread is not None]

    @property
    def walks(self) -> bool:
        """Whether each row builds on the one before, so that the last is what all steps give together."""
        return self.results.sweep.kind != "leave-one-out"

    @property
    def intervals(self) -> int:
        """How many differences of rows have an interval; the total is not among them."""
        return sum(row.difference is not None and row.difference.low is not None for row in self.rows)

    def row(self, name: str | None) -> RowFinding | None:
        """Return the row of that name; None for no name."""
        return next((row for row in self.rows if row.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return every number as plain JSON values."""
        results, sweep = self.results, self.results.sweep
        return {
            "kind": sweep.kind,
            "regime": sweep.regime.name,
            "paper_regime": sweep.regime.paper,
            "data": sweep.data,
            "pictures": [asdict(pictures) for pictures in distinct([run.pictures for run in results.runs])],
            "size": sweep.modern.data.size,
            "epochs": sweep.modern.schedule.epochs,
            "runs": {"finished": len(results.runs), "asked": len(results.runs) + len(results.unfinished)},
            "noise": None if self.noise is None else asdict(self.noise),
            "intervals": {"count": self.intervals, "kind": "Student" if self.walks else "Dunnett"},
            "agreements": {name: None if one is None else asdict(one) for name, one in self.agreements.items()},
            "total": None if self.total is None else {**asdict(self.total), "verdict": self.total.verdict},
            "paper_total": self.paper_total,
            "level": None if self.level is None else {"row": self.level.name, "margin": self.margin},
            "rows": [row.to_dict() for row in self.rows],
            "unfinished": [asdict(run) for run in results.unfinished],
            "failures": [asdict(failure) for failure in results.failures],
            "places": [{**asdict(place), "runs": runs, "seconds": seconds} for place, runs, seconds in self.places()],
            "seconds": results.seconds,
            "made": asdict(sweep.made),
        }

    def places(self) -> list[tuple[Place, int, float]]:
        """Return each place that trained runs, with how many and in how many seconds together."""
        runs = self.results.runs
        return [
            (place, len(seconds), sum(seconds))
            for place in distinct([run.place for run in runs])
            for seconds in [[run.seconds for run in runs if run.place == place]]
        ]


def distinct(values: Sequence[Value]) -> list[Value]:
    """Return the values without repetition, in the order of their first."""
    found: list[Value] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def analyse(results: Results) -> Analysis:
    """Return what results say, all of it computed from the runs' accuracies."""
    held_out = [run.pictures.held_out for run in results.runs]
    noise = pooled_noise((row.top1s for row in results.rows), min(held_out)) if held_out else None
    quantile = _quantile(results, noise)
    rows = tuple(_finding(results, row, noise, quantile) for row in results.rows)
    total, paper_total = _total(results, noise)
    level = _level(results, rows)
    return Analysis(
        results=results,
        rows=rows,
        noise=noise,
        agreements=_agreements(rows),
        total=total,
        paper_total=paper_total,
        level=level,
        margin=None if level is None or level.spread is None else level_margin(level.spread.mean, min(held_out)),
    )


def _quantile(results: Results, noise: Noise | None) -> float | None:
    """Return Dunnett's quantile where all rows are compared with the same runs, None for Student's."""
    if results.sweep.kind != "leave-one-out" or noise is None:
        return None
    compared = [row for row in results.rows if row.row.before is not None and row.runs]
    whole = results.row(compared[0].row.before) if compared else None
    if whole is None or not whole.runs:
        return None
    return dunnetts_quantile([len(row.runs) for row in compared], len(whole.runs), noise.freedom)


def _finding(results: Results, row: RowResult, noise: Noise | None, quantile: float | None) -> RowFinding:
    before = results.row(row.row.before)
    return RowFinding(
        result=row,
        title=_title(results, row),
        spread=spread(row.top1s) if row.runs else None,
        difference=_difference(row, before, noise, quantile),
        paper_difference=_paper_difference(row, before),
        gmacs_ratio=None if before is None else row.gmacs / before.gmacs,
    )


def _title(results: Results, row: RowResult) -> str:
    if results.sweep.recipe(row.row).schedule.epochs == PAPERS_CLASSIC_EPOCHS:
        return row.row.title
    return row.row.title.replace(f"{PAPERS_CLASSIC_EPOCHS}-epoch", "classic")


def _difference(
    row: RowResult, before: RowResult | None, noise: Noise | None, quantile: float | None = None
) -> Difference | None:
    if before is None or not row.runs or not before.runs:
        return None
    return difference(row.top1s, before.top1s, noise, quantile=quantile)


def _paper_difference(row: RowResult, before: RowResult | None) -> float | None:
    if before is None or row.row.paper is None or before.row.paper is None:
        return None
    return row.row.paper.top1 - before.row.paper.top1


def _agreements(rows: Sequence[RowFinding]) -> dict[str, Agreement | None]:
    def levels(of: Sequence[RowFinding]) -> Agreement | None:
        pairs = [(row.spread.mean, row.paper_top1) for row in of if row.spread and row.paper_top1 is not None]
        return agreement([one for one, _ in pairs], [other for _, other in pairs])

    def steps(of: Sequence[RowFinding]) -> Agreement | None:
        pairs = [
            (row.difference.value, row.paper_difference)
            for row in of
            if row.difference and row.paper_difference is not None
        ]
        return agreement([one for one, _ in pairs], [other for _, other in pairs])

    kept = [row for row in rows if row.result.row.adopted]
    return dict(zip(AGREEMENTS, (levels(kept), levels(rows), steps(kept), steps(rows)), strict=True))


def _total(results: Results, noise: Noise | None) -> tuple[Difference | None, float | None]:
    if results.sweep.kind == "leave-one-out":
        return None, None
    first, last = results.rows[0], results.rows[-1]
    return _difference(last, first, noise), _paper_difference(last, first)


def _level(results: Results, rows: Sequence[RowFinding]) -> RowFinding | None:
    kept = [row for row in rows if row.spread is not None and row.result.row.adopted]
    if results.sweep.kind == "leave-one-out":
        kept = [row for row in kept if row.result.row.before is None]
    return kept[-1] if kept else None
