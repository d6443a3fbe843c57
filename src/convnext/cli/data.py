"""Commands about data: check."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.cli.console import note, print_json
from convnext.cli.findings import print_findings
from convnext.cli.options import DATA_HELP, Json

if TYPE_CHECKING:
    from convnext.data.check.report import Check

# So few are read before the processes have started.
FEW = 500


def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets lie.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side that you will train at: smaller pictures are named.")
    ] = None,
    json: Json = False,
) -> None:
    """Read every picture once; name broken ones, copies, leaks, imbalance. Exit code 1 where results would be wrong."""
    from convnext.data.check.report import check_source
    from convnext.data.sources import open_source
    from convnext.machine import cores

    source = open_source(data, root=root)
    total = len(source.train) + len(source.val)
    workers = 0 if total < FEW else cores()
    with _bar(total) as advance:
        try:
            checked = check_source(source, size=size, workers=workers, advance=advance)
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
    if stopped:
        note("stopped before all pictures were read, so there is nothing to report")
        raise typer.Exit(130)
    if json:
        print_json(checked.to_dict())
    else:
        _print(checked)
    raise typer.Exit(0 if checked.ok else 1)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error how many pictures were read and how long the rest will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        note(f"reading {total:,} pictures")
    with Progress(
        TextColumn("reading pictures"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        expand=True,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, advance=count)


def _print(checked: "Check") -> None:
    drawn = "" if checked.has_own_val else ", drawn from the rest"
    print(
        f"{checked.name}: {checked.num_classes:,} classes, {checked.num_train:,} pictures to train on, "
        f"{checked.num_val:,} held out{drawn}"
    )
    sizes = checked.sizes
    if sizes is not None:
        print(
            f"shorter sides from {sizes.smallest_px:,} pixels, median {sizes.median_px:,}; "
            f"longest side {sizes.longest_px:,}; {100 * sizes.grey_share:.0f}% grey"
        )
    print()
    print_findings(checked.findings)
    if any(finding.key == "nearly_leaked" for finding in checked.findings):
        note(checked.method)
