"""convnext roadmap draw: the block and the stages of steps and models, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from convnext.cli.console import print_json
from convnext.cli.options import Json
from convnext.cli.plan import sorted_settings
from convnext.cli.regime import Depths, Width, read_depths
from convnext.cli.show import Size
from convnext.errors import UserError
from convnext.roadmap import REGIMES, STEPS


def draw(
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP",
            help="Steps of `convnext roadmap show` or models of `convnext models`. [default: all steps]",
        ),
    ] = None,
    regime: Annotated[str, typer.Option(help=f"Where the walk starts: {', '.join(REGIMES)}.")] = "resnet50",
    width: Width = None,
    depths: Depths = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="model.stem_stride=2, ... for every step; may be repeated."),
    ] = None,
    size: Size = 224,
    out: Annotated[Path, typer.Option(help="The drawing: a .svg or a .png.")] = Path("steps.svg"),
    json: Json = False,
) -> None:
    """Draw blocks and stages of steps and models; what differs from the drawing before is highlighted."""
    from convnext.diagrams.draw import check_ending, draw_page
    from convnext.diagrams.nets import drawn
    from convnext.lab.regimes import chosen_regime

    check_ending(out)
    recipe_settings, model_settings = sorted_settings(set_ or [])
    if recipe_settings:
        raise UserError(
            f"a drawing has no recipe, so --set takes fields of the network as model.FIELD, got {recipe_settings[0]}"
        )
    # A regime that no drawing asks for is a mistake all the same.
    start = chosen_regime(regime, width=width, depths=read_depths(depths), settings=model_settings)
    names = steps or [step.name for step in STEPS]
    draw_page(out, [drawn(name, regime=start, size=size) for name in names])
    if json:
        print_json({"file": str(out), "drawn": names})
    else:
        print(out)
