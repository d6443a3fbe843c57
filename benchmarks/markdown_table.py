"""Markdown tables."""


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table; the first column is aligned left, the others right."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
