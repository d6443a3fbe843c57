"""The command tree. Each command imports what it needs when it runs, so that --help answers at once."""

from typing import Annotated

import typer

from convnext.cli import data, recipe, show, work
from convnext.cli import roadmap as lab
from convnext.cli.bench import bench
from convnext.cli.doctor import doctor
from convnext.cli.draw import draw
from convnext.cli.eval import evaluate
from convnext.cli.figure1 import figure1
from convnext.cli.report import report
from convnext.cli.train import train

app = typer.Typer(
    name="convnext",
    help='"A ConvNet for the 2020s" as software: networks, roadmap, training, checkpoints.',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
roadmap = typer.Typer(
    help="Figure 2 of the paper: from ResNet-50 to ConvNeXt, one decision at a time.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
recipes = typer.Typer(
    help="How networks are trained: every value of a recipe with its source.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data_commands = typer.Typer(help="Data sets: what is wrong with them.", no_args_is_help=True, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from convnext import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the whole command."""


app.command("models")(show.models)
app.command("cost")(show.cost)
app.add_typer(roadmap, name="roadmap")
roadmap.command("show")(show.roadmap)
roadmap.command("draw")(draw)
roadmap.command("train")(lab.train)
roadmap.command("status")(lab.status)
roadmap.command("report")(report)
app.add_typer(recipes, name="recipe")
recipes.command("list")(recipe.list_recipes)
recipes.command("show")(recipe.show)
recipes.command("diff")(recipe.diff)
app.command("doctor")(doctor)
app.add_typer(data_commands, name="data")
data_commands.command("check")(data.check)
app.command("train")(train)
app.command("eval")(evaluate)
app.command("predict")(work.predict)
app.command("convert")(work.convert)
app.command("bench")(bench)
app.command("figure1")(figure1)
app.command("demo")(work.demo)
