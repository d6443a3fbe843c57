"""The report of a sweep: one HTML file that needs nothing else, its figures as PNG and SVG, its numbers as JSON."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from convnext.duration import duration
from convnext.files import cannot_write, write_json, write_text
from convnext.lab.analysis import AGREEMENTS, Analysis, RowFinding, analyse, distinct
from convnext.lab.canvas import write_figure
from convnext.lab.cost_figure import plot_cost
from convnext.lab.figures import has_paper, plot_curves_of_steps, plot_roadmap
from convnext.lab.results import PAPERS_SIZE, Place, read_results
from convnext.lab.wording import (
    change_text,
    correlation_text,
    counted,
    data_title,
    finding,
    gmacs_texts,
    interval_text,
    p_text,
    reading,
    reason_text,
    signed,
    spread_text,
    verdict_text,
)
from convnext.recipe import diff, leaves, value_of
from convnext.roadmap import SWIN
from convnext.setting import shown

REPORT, NUMBERS, TEMPLATE = "report.html", "results.json", "report.html.j2"
KINDS = {
    "walk": "The rows of Figure 2",
    "leave-one-out": "ConvNeXt without one of its decisions",
    "order": "The decisions in another order",
}
# What a reader asks of a recipe first; the rest stands in sweep.json.
MAIN_LEAVES = (
    "data.size",
    "data.batch_size",
    "schedule.epochs",
    "schedule.warmup_epochs",
    "schedule.warmup_steps",
    "schedule.shape",
    "optim.name",
    "optim.lr",
    "optim.weight_decay",
    "augment.crop_scale",
    "augment.flip",
    "augment.randaugment",
    "augment.erasing",
    "mix.mixup",
    "mix.cutmix",
    "mix.label_smoothing",
    "regularise.drop_path",
    "ema.decay",
    "engine.precision",
)
AXIS_NAMES = {
    "roadmap": "Accuracy and multiply-adds of every row as bars",
    "curves": "Learning curves of every row",
    "cost": "Multiply-adds against accuracy",
}


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a sweep's folder and return the path of its HTML; see `write_analysis`.

    out  where to; None is the sweep's own folder

    UserError where there is no sweep, it cannot be read, or the place cannot be written.
    """
    return write_analysis(analyse(read_results(folder)), folder if out is None else out)


def write_analysis(analysis: Analysis, place: Path) -> Path:
    """Write what a sweep says into a folder, made if it is not there, and return the path of report.html.

    Beside it lie results.json and roadmap, curves and cost, each as PNG and SVG. UserError where the place cannot be
    written.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(place / REPORT, error) from error
    drawn = {
        "roadmap": plot_roadmap(analysis),
        "curves": plot_curves_of_steps(analysis),
        "cost": plot_cost(analysis),
    }
    figures = {name: inline(write_figure(figure, place, name), name) for name, figure in drawn.items()}
    write_json(place / NUMBERS, numbers(analysis))
    write_text(place / REPORT, _render(analysis, figures))
    return place / REPORT


def numbers(analysis: Analysis) -> dict[str, Any]:
    """Return what results.json holds: every number of the report, and the finding in words."""
    return {"finding": finding(analysis), **analysis.to_dict(), "recipes": _recipe_values(analysis)}


def inline(svg: str, name: str) -> Markup:
    """Return an SVG file as a part of an HTML page: its names are its own there, and it takes the width it is given."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(?:width|height|xmlns(?::xlink)?|version)="[^"]*"', "", head)
    label = f' role="img" aria-label="{AXIS_NAMES[name]}"'
    # In HTML a link inside a picture needs no namespace.
    return Markup(head + label + ">" + rest.replace("xlink:href", "href"))


def _render(analysis: Analysis, figures: Mapping[str, Markup]) -> str:
    results, sweep = analysis.results, analysis.results.sweep
    environment = Environment(
        loader=PackageLoader("convnext", "lab"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    return environment.get_template(TEMPLATE).render(
        title=f"The roadmap on {data_title(sweep.data)}",
        kind=KINDS[sweep.kind],
        walks=analysis.walks,
        paper=has_paper(analysis),
        any_paper=sum(row.paper_top1 is not None for row in analysis.rows) > 1,
        tried=not all(row.result.row.adopted for row in analysis.rows),
        regime=sweep.regime.name,
        paper_regime=sweep.regime.paper,
        swin=SWIN.get(sweep.regime.paper),
        made=sweep.made,
        size=sweep.modern.data.size,
        papers_size=PAPERS_SIZE,
        epochs=sweep.modern.schedule.epochs,
        data=sweep.data,
        split_seed=sweep.split_seed,
        seeds=", ".join(map(str, sorted({run.seed for run in results.runs}))) or "none finished",
        pictures=distinct([run.pictures for run in results.runs]),
        runs={"finished": len(results.runs), "asked": len(results.runs) + len(results.unfinished)},
        time=duration(results.seconds),
        finding=finding(analysis),
        reading=reading(analysis),
        figures=figures,
        rows=_rows(analysis),
        agreements=_agreements(analysis),
        places=[_place(*one) for one in analysis.places()],
        recipes=_recipes(analysis),
        unfinished=results.unfinished,
        failures=results.failures,
        every_run=[
            {
                "row": run.row,
                "seed": run.seed,
                "top1": f"{run.top1:.2f}",
                "images_per_second": f"{run.images_per_second:,.0f}",
                "time": duration(run.seconds),
            }
            for run in results.runs
        ],
    )


def _rows(analysis: Analysis) -> list[dict[str, Any]]:
    own = gmacs_texts([row.result.gmacs for row in analysis.rows])
    as_paper = gmacs_texts([row.result.gmacs_as_paper for row in analysis.rows])
    return [_row(row, text, other, analysis) for row, text, other in zip(analysis.rows, own, as_paper, strict=True)]


def _row(found: RowFinding, gmacs: str, gmacs_as_paper: str, analysis: Analysis) -> dict[str, Any]:
    row, paper = found.result.row, found.result.row.paper
    before = analysis.row(row.before)
    difference = found.difference
    std = "" if paper is None or paper.std is None else f" ± {paper.std:.2f}"
    return {
        "name": row.name,
        "title": found.title,
        "kept": row.adopted,
        "changes": change_text(row, None if before is None else before.result.row),
        "reason": reason_text(row),
        "gmacs": gmacs,
        "gmacs_as_paper": gmacs_as_paper,
        "ratio": "" if found.gmacs_ratio is None else f"{found.gmacs_ratio:.2f}",
        "params": f"{found.result.params / 1e6:.2f}M",
        "seeds": len(found.result.runs),
        "top1": spread_text(found.spread),
        "difference": "" if difference is None else signed(difference.value),
        "interval": "" if difference is None else interval_text(difference),
        "verdict": verdict_text(found),
        "paper": "" if paper is None else f"{paper.top1:.2f}{std}",
        "paper_gmacs": "" if paper is None else f"{paper.gmacs:.2f}",
        "paper_difference": "" if found.paper_difference is None else signed(found.paper_difference),
    }


def _agreements(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "what": AGREEMENTS[name],
            "count": one.count,
            "spearman": f"{correlation_text(one.spearman)} ({p_text(one.spearman_p)})",
            "kendall": f"{correlation_text(one.kendall)} ({p_text(one.kendall_p)})",
        }
        for name, one in analysis.agreements.items()
        if one is not None
    ]


def _place(place: Place, runs: int, seconds: float) -> dict[str, Any]:
    machine = place.machine
    words = [machine.get("processor"), machine.get("accelerator"), machine.get("system")]
    cores = counted(machine["cpus"], "core") if machine.get("cpus") else None
    processes = f", {place.processes} processes" if place.processes > 1 else ""
    return {
        "machine": ", ".join(str(word) for word in [*words, cores] if word),
        "use": f"{place.device}, {place.precision}{processes}",
        "versions": ", ".join(f"{name} {version}" for name, version in place.versions.items()),
        "runs": runs,
        "time": duration(seconds),
    }


def _recipe_values(analysis: Analysis) -> dict[str, dict[str, Any]]:
    """Return the settings of a report's tables by recipe: the main ones, and all in which the recipes differ."""
    sweep = analysis.results.sweep
    used, differing = {"modern": sweep.modern}, set[str]()
    if any(row.recipe == "classic" for row in sweep.rows):
        used["classic"] = sweep.classic
        differing = set(diff(sweep.modern, sweep.classic))
    listed = dict.fromkeys(leaf for recipe in used.values() for leaf in leaves(recipe))
    wanted = [leaf for leaf in listed if leaf in differing or leaf in MAIN_LEAVES]
    return {name: {leaf: value_of(recipe, leaf) for leaf in wanted} for name, recipe in used.items()}


def _recipes(analysis: Analysis) -> list[dict[str, Any]]:
    sweep, values = analysis.results.sweep, _recipe_values(analysis)
    names = {"modern": f"modern: {sweep.modern.name}", "classic": f"classic: {sweep.classic.name}"}

    def table(title: str, chosen: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
        rows = [(leaf, [shown(values[kind][leaf]) for kind in kinds]) for leaf in chosen]
        return {"title": title, "names": [names[kind] for kind in kinds], "leaves": rows}

    if "classic" not in values:
        return [table("The recipe", list(values["modern"]), ["modern"])]
    differing = [leaf for leaf in values["modern"] if values["modern"][leaf] != values["classic"][leaf]]
    same = [leaf for leaf in values["modern"] if leaf not in differing]
    return [
        table("In what the two recipes differ", differing, ["modern", "classic"]),
        table("The main settings of both", same, ["modern"]),
    ]
