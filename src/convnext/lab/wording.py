"""How a report puts it: numbers with their signs and intervals, what a row changes, and the finding in sentences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from convnext.lab.analysis import Analysis, RowFinding, distinct
from convnext.lab.rows import Row
from convnext.lab.statistics import Difference, Spread, Verdict
from convnext.roadmap import changes_text, step_named

WITHOUT = "without_"
# Below this the price of a row is not worth a sentence.
DEAR = 1.25
# p-values below this are printed as less than it.
LEAST_P = 0.001


def signed(points: float) -> str:
    """Return a difference in points with its sign, to two digits; 0.00 has none."""
    text = f"{abs(points):.2f}"
    if float(text) == 0:
        return text
    return f"+{text}" if points > 0 else f"−{text}"


def interval_text(found: Difference) -> str:
    """Return the 95% interval of a difference as [low, high]; "" where there is none."""
    return "" if found.low is None or found.high is None else f"[{signed(found.low)}, {signed(found.high)}]"


def difference_text(found: Difference) -> str:
    """Return a difference with its interval."""
    return f"{signed(found.value)} {interval_text(found)}".rstrip()


def spread_text(found: Spread | None) -> str:
    """Return mean ± std; one seed has no std, and no seed is "not run"."""
    if found is None:
        return "not run"
    return f"{found.mean:.2f}" if found.std is None else f"{found.mean:.2f} ± {found.std:.2f}"


def verdict_text(row: RowFinding) -> str:
    """Return what may be said of a row against the one that it is compared with; "" where there is nothing to say."""
    if row.difference is not None:
        return row.difference.verdict
    return "nothing to compare with" if row.spread is not None and row.result.row.before is not None else ""


def p_text(value: float) -> str:
    """Return a p-value as "p = 0.012"."""
    return f"p < {LEAST_P}" if value < LEAST_P else f"p = {value:.3f}"


def gmacs_texts(values: Sequence[float]) -> list[str]:
    """Return multiply-adds in 1e9, all with the digits that give the greatest three."""
    digits = decimals(values)
    return [f"{value:.{digits}f}" for value in values]


def decimals(values: Iterable[float]) -> int:
    """Return how many digits after the point give the greatest of some multiply-adds three digits, at least two."""
    greatest = max([*values, 0.0])
    return 2 if greatest <= 0 else max(2, 2 - math.floor(math.log10(greatest)))


def data_title(data: str) -> str:
    """Return the short name of a data set: the last part of its path or address."""
    name = data.partition("@")[0].rstrip("/\\").replace("\\", "/")
    return Path(name.partition("?")[0]).name or data


def change_text(row: Row, before: Row | None) -> str:
    """Return what a row changes of the one before it, field by field: "stem pool → patch"."""
    if before is None:
        return ""
    parts = [] if row.recipe == before.recipe else [f"recipe {before.recipe} → {row.recipe}"]
    return "; ".join([*parts, *filter(None, [changes_text(row.changes_from(before))])])


def reason_text(row: Row) -> str:
    """Return why the roadmap takes the step of a row, as `convnext.roadmap` puts it; "" for a whole network."""
    return "" if row.name == "convnext" else step_named(row.name.removeprefix(WITHOUT)).reason


def finding(analysis: Analysis) -> list[str]:
    """Return what came out, in a few sentences made of the numbers."""
    if not analysis.done:
        return [
            f"None of the {len(analysis.results.unfinished)} runs of this sweep is finished, so there is no result."
        ]
    sentences = [_runs(analysis), _noise(analysis)]
    sentences += _steps(analysis) if analysis.walks else _left_out(analysis)
    return [*sentences, *_total(analysis), *_orders(analysis), *_differing(analysis)]


def _runs(analysis: Analysis) -> str:
    results = analysis.results
    finished, asked = len(results.runs), len(results.runs) + len(results.unfinished)
    counts = sorted({len(row.result.runs) for row in analysis.done})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    held_out = " or ".join(f"{number:,}" for number in distinct([run.pictures.held_out for run in results.runs]))
    return (
        f"{finished} of {asked} runs are finished: {len(analysis.done)} of {len(analysis.rows)} rows, {each} "
        f"{'seed' if counts[-1] == 1 else 'seeds'} each, scored on {held_out} held-out pictures."
    )


def _noise(analysis: Analysis) -> str:
    if analysis.noise is None:
        return "One seed each: the noise is unknown, so no difference can be told from chance."
    return (
        f"Seeds of one row differ by a standard deviation of {analysis.noise.std:.2f} points, pooled over all rows "
        f"({analysis.noise.freedom} degrees of freedom)."
    )


def _steps(analysis: Analysis) -> list[str]:
    words: dict[Verdict, str] = {
        "better": "Helping beyond the noise ({} of {} steps)",
        "worse": "Hurting beyond the noise ({} of {} steps)",
        "within noise": "Within noise ({} of {} steps)",
    }
    return _verdicts(analysis, words)


def _left_out(analysis: Analysis) -> list[str]:
    words: dict[Verdict, str] = {
        "worse": "Worse than the whole ConvNeXt beyond the noise ({} of {} rows)",
        "better": "Better beyond the noise ({} of {} rows)",
        "within noise": "Within noise of the whole ({} of {} rows)",
    }
    sentences = _verdicts(analysis, words)
    prices = [
        f"{row.result.row.title} {row.gmacs_ratio:.1f} times"
        for row in analysis.done
        if row.gmacs_ratio is not None and not 1 / DEAR < row.gmacs_ratio < DEAR
    ]
    if prices:
        sentences.append(f"They do not cost the same multiply-adds as the whole: {', '.join(prices)}.")
    return sentences


def _verdicts(analysis: Analysis, words: Mapping[Verdict, str]) -> list[str]:
    compared = [(row.result.row.title, row.difference) for row in analysis.rows if row.difference is not None]
    sentences = []
    for verdict, opening in words.items():
        those = [f"{title} ({signed(found.value)})" for title, found in compared if found.verdict == verdict]
        if those:
            sentences.append(f"{opening.format(len(those), len(compared))}: {', '.join(those)}.")
    return sentences


def _total(analysis: Analysis) -> list[str]:
    if analysis.total is None:
        return []
    first, last = analysis.rows[0].result, analysis.rows[-1].result
    costs = gmacs_texts([first.gmacs, last.gmacs])
    paper = "" if analysis.paper_total is None else f"; the paper's {signed(analysis.paper_total)}"
    return [
        f"From {first.row.title} to {last.row.title}: {difference_text(analysis.total)} points{paper} "
        f"({costs[0]} → {costs[1]} GMACs)."
    ]


def _orders(analysis: Analysis) -> list[str]:
    levels, steps = analysis.agreements["rows_kept"], analysis.agreements["steps_kept"]
    if levels is None:
        return []
    of_steps = (
        "" if steps is None else f", the steps between them with τ {steps.kendall:.2f} ({p_text(steps.kendall_p)})"
    )
    return [
        f"The kept rows stand in the paper's order with Kendall's τ {levels.kendall:.2f} "
        f"({p_text(levels.kendall_p)}, {levels.count} rows){of_steps}."
    ]


def _differing(analysis: Analysis) -> list[str]:
    pictures = distinct([run.pictures for run in analysis.results.runs])
    if len(pictures) == 1:
        return []
    shown_each = "; ".join(
        f"{one.train:,} to train on and {one.held_out:,} held out, {one.classes} classes" for one in pictures
    )
    return [f"Take care: not all runs saw the same pictures ({shown_each})."]


def reading(analysis: Analysis) -> list[str]:
    """Return how a report is to be read: what its accuracies, intervals and axes are, and what they cannot tell."""
    sentences = [
        "An accuracy is that of the last epoch, not of the best one: the best is chosen on the held-out pictures "
        "themselves, and what is chosen there looks better than it is. It is that of the raw weights, unless a run "
        "kept an average of them and calls that its best.",
        "GMACs are multiply-adds of one picture at the size it was trained at, counted from the network; the paper's "
        "GFLOPs are counted alike, at 224 pixels.",
        _about_noise(analysis),
    ]
    level = analysis.level
    if level is not None and level.spread is not None and analysis.margin is not None:
        sentences.append(
            "All seeds are scored on the same pictures, so no interval shows what other pictures would change. As an "
            f"accuracy of its own, the {level.spread.mean:.2f}% of {level.result.row.title} is known to "
            f"±{analysis.margin:.2f} points (95%, binomial)."
        )
    if analysis.agreements["rows_kept"] is not None:
        sentences.append(
            "Rank correlations compare orders, not sizes. Rows that build on each other are no independent draws, so "
            "their p-values say less than they seem to."
        )
    if analysis.walks:
        sentences.append("Bars that do not begin at 0 make small differences look large; the numbers in them do not.")
    return sentences


def _about_noise(analysis: Analysis) -> str:
    if analysis.noise is None:
        return (
            "One seed each: the noise is unknown. As soon as one row has two seeds, every difference has an interval."
        )
    return (
        "An interval is Student's at 95%, from the standard deviation between seeds pooled over all rows "
        f"({analysis.noise.std:.2f} points, {analysis.noise.freedom} degrees of freedom), so that a row with one seed "
        "has one too. It is unpaired: with the same seed two rows see the pictures in the same order, but they are "
        "different networks. A difference is within noise when its interval holds 0; of twenty intervals one misses "
        "by chance."
    )
