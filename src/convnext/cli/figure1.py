"""convnext figure1: accuracy against cost or speed, a bubble a network."""

import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convnext.cli.console import note, print_json
from convnext.cli.options import Json


class AcrossName(StrEnum):
    """What stands on the x axis."""

    gmacs = "gmacs"
    speed = "speed"


class HalfName(StrEnum):
    """A half of Table 1, by what its networks were first trained on."""

    one_k = "1k"
    twenty_two_k = "22k"


def figure1(
    records: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECORD",
            help="Records of `convnext bench`, runs, or folders of runs. [default: what Table 1 prints]",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The file: a .png, .svg or .html; all three where it has no ending.")
    ] = Path("figure1"),
    x: Annotated[
        AcrossName, typer.Option("--x", help="Accuracy against multiply-adds, or images per second.")
    ] = AcrossName.gmacs,
    pretrained: Annotated[
        HalfName | None, typer.Option(help="Only the networks trained on ImageNet-1K alone, or pre-trained on 22K.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the figure in the browser.")] = False,
    json: Json = False,
) -> None:
    """Redraw Figure 1 of the paper: accuracy against cost, the paper's and that of your own runs."""
    from convnext.figure1.content import content_of
    from convnext.figure1.records import read_given
    from convnext.figure1.write import files_of, write_figure1

    files_of(out)
    found, runs = read_given(records or [])
    content = content_of(found, runs, across=x.value, half=None if pretrained is None else pretrained.value)
    written = write_figure1(content, out)
    for sentence in content.left_out:
        note(f"Not drawn: {sentence}.")
    if written.unlabelled:
        note(f"No room for the labels of {'; '.join(written.unlabelled)} (the page tells them).")
    if json:
        print_json(
            {
                "files": [str(path) for path in written.paths],
                "panels": [panel.to_dict() for panel in content.panels],
                "left_out": list(content.left_out),
            }
        )
    else:
        for path in written.paths:
            print(path)
    if open_:
        webbrowser.open(written.paths[-1].resolve().as_uri())
