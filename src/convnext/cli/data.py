"""Commands about data: check."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.cli.console import note, print_json
from convnext.cli.findings import print_findings
from convnext.cli.options import DATA_HELP, Json, TaskText
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.data.check.report import Check

# So few are read before the processes have started.
FEW = 500


def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    task: TaskText = None,
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

    if task is not None and task.value != "classify":
        if root is not None or size is not None:
            raise UserError(f"--root and --size are for classification, not --task {task.value}; leave them out")
        _check_dense(data, task.value, json)
        return
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


def _check_dense(data: str, task: str, json: bool) -> None:
    """Check data for detection or segmentation, print what was found and exit with 1 where results would be wrong."""
    from convnext.data.dense.check import check_dense
    from convnext.data.dense.sources import open_detection, open_segmentation
    from convnext.machine import cores

    source = (open_detection if task == "detect" else open_segmentation)(data, note=note)
    total = len(source.train) + len(source.val)
    with _bar(total) as advance:
        try:
            findings = check_dense(source, workers=0 if total < FEW else cores(), advance=advance)
        except KeyboardInterrupt:
            note("stopped before all pictures were read, so there is nothing to report")
            raise typer.Exit(130) from None
    ok = not any(finding.level == "error" for finding in findings)
    if json:
        print_json(
            {
                "name": source.name,
                "task": task,
                "classes": list(source.classes),
                "num_train": len(source.train),
                "num_val": len(source.val),
                "has_own_val": source.has_own_val,
                "findings": [finding.to_dict() for finding in findings],
                "ok": ok,
            }
        )
    else:
        drawn = "" if source.has_own_val else ", drawn from the rest"
        print(
            f"{source.name}: {len(source.classes):,} classes, {len(source.train):,} pictures to train on, "
            f"{len(source.val):,} held out{drawn}\n"
        )
        print_findings(findings)
    raise typer.Exit(0 if ok else 1)


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
