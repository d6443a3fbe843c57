"""An HTML page as a test reads it: its tables and texts, its names and links, and whether every tag is closed."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

EMPTY = ("meta", "br", "hr", "img", "link", "input")
LOADING = ("src", "href", "xlink:href", "data", "poster", "srcset", "action", "background")


class Page(HTMLParser):
    """What stands on a page.

    tables  rows of cells by the table's id; the text of a cell's small print follows after a blank
    ids     every id, in order
    links   the value of every attribute that could load something
    styles  the text of style sheets and style attributes
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._table: list[list[str]] | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs).get("id") or f"table {len(self.tables)}", [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in LOADING:
                self.links.append(value or "")
            if name == "style" or (value or "").startswith("url("):
                self.styles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        if tag == "style":
            self.styles.append(data)
        text = " ".join(data.split())
        if not text:
            return
        self.texts.setdefault(tag, []).append(text)
        if self._table is not None and self._table and self._table[-1]:
            self._table[-1][-1] = f"{self._table[-1][-1]} {text}".strip()

    def row(self, table: str, head: str) -> list[str]:
        """The cells after the first of the row that begins so."""
        (found,) = [cells for cells in self.tables[table] if cells and cells[0] == head]
        return found[1:]

    @property
    def words(self) -> str:
        return " ".join(text for texts in self.texts.values() for text in texts)
