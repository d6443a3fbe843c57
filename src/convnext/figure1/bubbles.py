"""What a figure shows: bubbles on panels, each panel with a scale of its own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from convnext.figure1.families import Family

Across = Literal["gmacs", "speed"]


@dataclass(frozen=True, kw_only=True)
class Bubble:
    """One network at one picture size.

    label   what stands beside it
    params  parameters, to the million where only the paper tells them
    gmacs   multiply-adds of one picture, 1e9
    top1    in percent: printed, or the mean of the seeds; std and seeds are None where it is printed
    images_per_second   where something tells it
    source  where the accuracy comes from
    """

    model: str
    label: str
    family: Family
    size: int
    params: int
    gmacs: float
    top1: float
    std: float | None = None
    seeds: int | None = None
    images_per_second: float | None = None
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return the bubble as plain JSON values."""
        values = asdict(self)
        del values["family"]
        return {**values, "family": self.family.name, "kind": self.family.kind}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Bubbles whose accuracies may be compared, and so share an axis.

    name      for ids: letters, digits and hyphens
    across    what stands on the x axis
    x_label, y_label   what the axes are
    measured  whether the accuracies are measured, or the paper's
    """

    name: str
    title: str
    across: Across
    x_label: str
    y_label: str
    measured: bool
    bubbles: tuple[Bubble, ...]

    def x(self, bubble: Bubble) -> float:
        """Return where a bubble of this panel stands across."""
        value = bubble.gmacs if self.across == "gmacs" else bubble.images_per_second
        assert value is not None, "a panel of speeds holds only bubbles that have one"
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return the panel as plain JSON values."""
        return {
            "title": self.title,
            "x": self.across,
            "measured": self.measured,
            "bubbles": [bubble.to_dict() for bubble in self.bubbles],
        }


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that a figure shows, and what it does not: sentences on networks that have no place on it."""

    panels: tuple[Panel, ...]
    left_out: tuple[str, ...] = ()


def told_apart(names: Sequence[str], hints: Sequence[Callable[[int], str]]) -> list[str]:
    """Return names that differ from each other where the hints allow it.

    hints  what can be added to the name at a place, the first first; to names that are alike those are added that
           differ among them, until all names differ
    """
    told = list(names)
    for hint in hints:
        alike = {name: [at for at, other in enumerate(told) if other == name] for name in told}
        for places in alike.values():
            words = [hint(at) for at in places]
            if len(set(words)) > 1:
                for at, word in zip(places, words, strict=True):
                    told[at] = f"{told[at]}, {word}"
    return told
