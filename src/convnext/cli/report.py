"""The command that says what a sweep of the roadmap tells."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import Json

if TYPE_CHECKING:
    from convnext.lab.analysis import Analysis


def report(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP", help="The folder of a sweep: convnext roadmap train.")],
    open_: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write the report. [default: the sweep's folder]")] = None,
    json: Json = False,
) -> None:
    """Write report.html, its figures and results.json: what was measured, with intervals, beside the paper's."""
    from convnext.lab.analysis import analyse
    from convnext.lab.report import numbers, write_analysis
    from convnext.lab.results import read_results

    analysis = analyse(read_results(folder))
    path = write_analysis(analysis, folder if out is None else out)
    if json:
        print_json(numbers(analysis))
        note(f"Written: {path}")
    else:
        _print(analysis)
        print(f"\n{path}")
    if open_:
        webbrowser.open(path.resolve().as_uri())


def _print(analysis: "Analysis") -> None:
    from convnext.lab.wording import difference_text, finding, gmacs_texts, spread_text, verdict_text

    gmacs = gmacs_texts([row.result.gmacs for row in analysis.rows])
    print_table(
        ["row", "GMACs", "seeds", "top-1, %", "difference [95%]", "verdict", "paper"],
        [
            [
                row.name if row.result.row.adopted else f"{row.name} (tried)",
                cost,
                str(len(row.result.runs)),
                spread_text(row.spread),
                "" if row.difference is None else difference_text(row.difference),
                verdict_text(row),
                "" if row.paper_top1 is None else f"{row.paper_top1:.2f}",
            ]
            for row, cost in zip(analysis.rows, gmacs, strict=True)
        ],
        left=["row", "verdict"],
    )
    print()
    for sentence in finding(analysis):
        print(sentence)
