"""Finding: one thing that is wrong or worth knowing about data or a plan, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found.

    level   error: the result would be wrong or worthless; warning: it would suffer; note: good to know
    key     a short stable word for programs
    title   what it is, with its number
    detail  why it matters here
    advice  what to do, with the command or the setting
    names   which pictures or classes, all of them; of a pair, "this = that"
    """

    level: Level
    key: str
    title: str
    detail: str
    advice: str
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {**asdict(self), "names": list(self.names)}

    def shown_names(self, most: int = SHOWN) -> str:
        """Return the first few names in one line, and how many more there are; "" where there are none."""
        rest = len(self.names) - most
        return ", ".join(self.names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def by_level(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the worst first, otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def count_text(findings: Sequence[Finding]) -> str:
    """Return how many there are of each level, in words: "1 error, 2 warnings"; "nothing found" for none."""
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    texts = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return ", ".join(texts) or "nothing found"


def plural(count: int, singular: str, many: str | None = None) -> str:
    """Return a count with its noun: "1 picture", "2,000 pictures"."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"
