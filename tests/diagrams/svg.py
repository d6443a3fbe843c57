"""Reading an SVG back."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def svg_texts(path: Path) -> Iterator[tuple[str, str]]:
    """The texts of an SVG with the name of the group that holds each."""
    for group in ElementTree.parse(path).iter(f"{SVG}g"):
        for text in group.findall(f"{SVG}text"):
            yield group.get("id", ""), text.text or ""
