"""convnext roadmap draw: the block and the stages of steps and models, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from convnext.cli.console import print_json
from convnext.cli.options import Json
from convnext.cli.show import Size
from convnext.roadmap import REGIMES, STEPS, regime_named


def draw(
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP",
            help="Steps of `convnext roadmap show` or models of `convnext models`. [default: all steps]",
        ),
    ] = None,
    regime: Annotated[str, typer.Option(help=f"Where the walk starts: {', '.join(REGIMES)}.")] = "resnet50",
    size: Size = 224,
    out: Annotated[Path, typer.Option(help="The drawing: a .svg or a .png.")] = Path("steps.svg"),
    json: Json = False,
) -> None:
    """Draw blocks and stages of steps and models; what differs from the drawing before is highlighted."""
    from convnext.diagrams.draw import check_ending, draw_page
    from convnext.diagrams.nets import drawn

    check_ending(out)
    # A regime that no drawing asks for is a mistake all the same.
    regime_named(regime)
    names = steps or [step.name for step in STEPS]
    draw_page(out, [drawn(name, regime=regime, size=size) for name in names])
    if json:
        print_json({"file": str(out), "drawn": names})
    else:
        print(out)
