"""How a report puts it: numbers with their signs and intervals, what a row changes, and the finding in sentences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from convnext.lab.analysis import Analysis, RowFinding, distinct
from convnext.lab.rows import Row
from convnext.lab.statistics import Difference, Spread, Verdict
from convnext.roadmap import changes_text, step_named

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


def counted(number: int, thing: str) -> str:
    """Return a number with its thing: "1 run", "2 runs", "1,000 pictures"."""
    several = {"class": "classes", "degree of freedom": "degrees of freedom"}.get(thing, f"{thing}s")
    return f"{number:,} {thing if number == 1 else several}"


def correlation_text(value: float) -> str:
    """Return a rank correlation to two digits, with a minus as in `signed`."""
    return signed(value).removeprefix("+")


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
    return "" if row.step is None else step_named(row.step).reason


def finding(analysis: Analysis) -> list[str]:
    """Return what came out, in a few sentences made of the numbers."""
    if not analysis.done:
        asked = len(analysis.results.unfinished)
        none = "The one run of this sweep is not" if asked == 1 else f"None of the {asked} runs of this sweep is"
        return [f"{none} finished, so there is no result."]
    sentences = [_runs(analysis), _noise(analysis)]
    sentences += _steps(analysis) if analysis.walks else _left_out(analysis)
    sentences += [*_by_chance(analysis), *_total(analysis), *_orders(analysis)]
    return [*sentences, *_other_pictures(analysis), *_other_places(analysis)]


def _runs(analysis: Analysis) -> str:
    results = analysis.results
    finished, asked = len(results.runs), len(results.runs) + len(results.unfinished)
    counts = sorted({len(row.result.runs) for row in analysis.done})
    each = "" if len(counts) == 1 else f"{counts[0]} to "
    *fewer, most = distinct([run.pictures.held_out for run in results.runs])
    held_out = " or ".join([*(f"{number:,}" for number in fewer), counted(most, "held-out picture")])
    return (
        f"{finished} of {counted(asked, 'run')} {'is' if asked == 1 else 'are'} finished: {len(analysis.done)} of "
        f"{counted(len(analysis.rows), 'row')}, {each}{counted(counts[-1], 'seed')} each, scored on {held_out}."
    )


def _noise(analysis: Analysis) -> str:
    if analysis.noise is None:
        return "One seed each: the noise is unknown, so no difference can be told from chance."
    noise = analysis.noise
    freedom = counted(noise.freedom, "degree of freedom")
    if noise.std > noise.least:
        return (
            f"Seeds of one row differ by a standard deviation of {noise.std:.2f} points, pooled over all rows "
            f"({freedom})."
        )
    return (
        "Seeds of one row differ by no more than rounding to one held-out picture is worth, so that the noise is taken "
        f"as that: {noise.std:.2f} points ({freedom})."
    )


def _steps(analysis: Analysis) -> list[str]:
    words: dict[Verdict, str] = {
        "better": "Helping beyond the noise ({} of {})",
        "worse": "Hurting beyond the noise ({} of {})",
        "within noise": "Within noise ({} of {})",
    }
    return _verdicts(analysis, words, "step")


def _left_out(analysis: Analysis) -> list[str]:
    words: dict[Verdict, str] = {
        "worse": "Worse than the whole ConvNeXt beyond the noise ({} of {})",
        "better": "Better beyond the noise ({} of {})",
        "within noise": "Within noise of the whole ({} of {})",
    }
    sentences = _verdicts(analysis, words, "row")
    prices = [
        f"{row.title} {row.gmacs_ratio:.1f} times"
        for row in analysis.done
        if row.gmacs_ratio is not None and not 1 / DEAR < row.gmacs_ratio < DEAR
    ]
    if prices:
        sentences.append(f"They do not cost the same multiply-adds as the whole: {', '.join(prices)}.")
    return sentences


def _verdicts(analysis: Analysis, words: Mapping[Verdict, str], thing: str) -> list[str]:
    compared = [(row.title, row.difference) for row in analysis.rows if row.difference is not None]
    sentences = []
    for verdict, opening in words.items():
        those = [f"{title} ({signed(found.value)})" for title, found in compared if found.verdict == verdict]
        if those:
            sentences.append(f"{opening.format(len(those), counted(len(compared), thing))}: {', '.join(those)}.")
    return sentences


def _total(analysis: Analysis) -> list[str]:
    if analysis.total is None:
        return []
    first, last = analysis.rows[0], analysis.rows[-1]
    costs = gmacs_texts([first.result.gmacs, last.result.gmacs])
    found = f"{difference_text(analysis.total)} points, {analysis.total.verdict}"
    paper = "" if analysis.paper_total is None else f"; the paper's {signed(analysis.paper_total)}"
    return [f"From {first.title} to {last.title}: {found}{paper} ({costs[0]} → {costs[1]} GMACs)."]


def _by_chance(analysis: Analysis) -> list[str]:
    number = analysis.intervals
    if not number:
        return []
    if number == 1:
        return ["This is one interval at 95%: about one in twenty misses by chance."]
    these = f"These are {number} intervals at 95%"
    if analysis.walks:
        return [f"{these}, each for itself: about one in twenty misses by chance, so {number / 20:g} of these."]
    return [f"{these}, for all at once (Dunnett's): one in twenty such sweeps has any that misses by chance."]


def _orders(analysis: Analysis) -> list[str]:
    levels, steps = analysis.agreements["rows_kept"], analysis.agreements["steps_kept"]
    if levels is None:
        return []
    of_steps = (
        ""
        if steps is None
        else f"; of the steps between them {correlation_text(steps.kendall)} ({p_text(steps.kendall_p)}, "
        f"{counted(steps.count, 'step')})"
    )
    return [
        f"Kendall's τ between our order of the kept rows and the paper's is {correlation_text(levels.kendall)} "
        f"({p_text(levels.kendall_p)}, {counted(levels.count, 'row')}){of_steps}."
    ]


def _other_pictures(analysis: Analysis) -> list[str]:
    pictures = distinct([run.pictures for run in analysis.results.runs])
    if len(pictures) == 1:
        return []
    shown_each = "; ".join(
        f"{one.train:,} to train on and {one.held_out:,} held out, {counted(one.classes, 'class')}" for one in pictures
    )
    return [f"Take care: not all runs saw the same pictures ({shown_each})."]


def _other_places(analysis: Analysis) -> list[str]:
    places = [place for place, _, _ in analysis.places()]
    facts = {
        "device": distinct([place.device for place in places]),
        "precision": distinct([place.precision for place in places]),
        "torch": distinct([place.versions.get("torch", "unknown") for place in places]),
    }
    differing = [f"{name} {' or '.join(found)}" for name, found in facts.items() if len(found) > 1]
    if not differing:
        return []
    return [
        f"Take care: not all runs were computed alike ({'; '.join(differing)}), so a difference may come from that."
    ]


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
            f"accuracy of its own, the {level.spread.mean:.2f}% of {level.title} is known to "
            f"±{analysis.margin:.2f} points (half of Wilson's 95% interval)."
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
    noise = analysis.noise
    kind = (
        "Student's at 95%, each for itself: of twenty one misses by chance"
        if analysis.walks
        else "Dunnett's at 95%, for all rows at once, as all are compared with the same runs of the whole ConvNeXt: of "
        "twenty such sweeps one has an interval that misses by chance"
    )
    return (
        f"An interval is {kind}. It takes the standard deviation between seeds pooled over all rows ({noise.std:.2f} "
        f"points, {counted(noise.freedom, 'degree of freedom')}), so that a row with one seed has one, too. It assumes "
        "that the seeds of every row spread alike. The deviation is taken as at least what rounding to one held-out "
        f"picture is worth ({noise.least:.3f} points), for seeds that tie are no certainty. The interval is unpaired: "
        "with the same seed two rows see the pictures in the same order, but they are different networks. A difference "
        "is within noise when its interval holds 0."
    )
