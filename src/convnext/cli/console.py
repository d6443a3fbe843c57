"""How a command prints: a table for people, JSON for programs, notes on standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any

PLAIN_WIDTH = 200


def print_json(value: Any) -> None:
    """Print one JSON value on standard output, and nothing else."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_json_line(value: Any) -> None:
    """Print one JSON value on one line of standard output, at once."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def note(text: str) -> None:
    """Print a line for people on standard error, so that standard output stays clean."""
    print(text, file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> None:
    """Print a table; columns are aligned right unless named in `left`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=column not in left)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Without a terminal rich would wrap at 80 columns and break what a pipe reads.
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def millions(count: int) -> str:
    """Return a count of parameters or activations as the paper prints it, with two digits more."""
    return f"{count / 1e6:.2f}M"
