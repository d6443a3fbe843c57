"""How findings are printed: the worst first, each with what to do."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convnext.data.check.findings import Finding

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
INDENT = 9
# Sentences are read best in lines of this length, however wide the window is.
MOST_WIDTH = 110


def print_findings(findings: "Sequence[Finding]") -> None:
    """Print findings on standard output, or that there are none."""
    from rich.console import Console
    from rich.text import Text

    from convnext.data.check.findings import count_text

    console = Console(width=None if sys.stdout.isatty() else MOST_WIDTH)
    width = min(console.width, MOST_WIDTH)
    for finding in findings:
        label = f"{finding.level:<{INDENT}}"
        for text, style in _lines(finding, width - INDENT):
            console.print(Text.assemble((label, STYLES[finding.level]), (text, style)), soft_wrap=True)
            label = " " * INDENT
        console.print()
    console.print(Text(count_text(findings), "bold"))


def _lines(finding: "Finding", width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of a finding with their styles."""
    for text, style in (
        (finding.title, "bold"),
        (finding.detail, ""),
        (finding.shown_names(), "dim"),
        (f"→ {finding.advice}", "green"),
    ):
        # A name or a command stays in one piece, so that it can be copied.
        for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
            yield line, style
