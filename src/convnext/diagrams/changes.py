"""What differs between two drawn networks: the places to highlight, what stood where nothing stands now, and words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convnext.diagrams.parts import FIRST, LAST, ROLES, SPATIAL, ConvPart, NetParts, elements

_SPOKEN = {SPATIAL: "spatial", FIRST: "first 1x1", LAST: "last 1x1"}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The difference of a drawing to the one before it.

    marked  names of the elements that are new or other than before
    gone    the elements that are no longer there, with the text that stood there
    words   the same for reading, one change each: "kernel 3 → 7"
    """

    marked: frozenset[str] = frozenset()
    gone: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()


def changes_between(before: NetParts, after: NetParts) -> Changes:
    """Return what differs from one network to the next; nothing is marked between two equal ones."""
    old, new = elements(before), elements(after)
    return Changes(
        marked=frozenset(name for name in new if old.get(name) != new[name]),
        gone={name: old[name] for name in old if name not in new},
        words=tuple(
            f"{topic} {told(before)} → {told(after)}" for topic, told in _TOPICS if told(before) != told(after)
        ),
    )


def _stem(net: NetParts) -> str:
    return ", ".join(filter(None, [net.stem.size, net.stem.norm, net.stem.act, "max-pool" if net.pool else None]))


def _shape(net: NetParts) -> str:
    last = net.block.conv(LAST)
    if last.in_channels == last.out_channels:
        return "straight"
    return "bottleneck" if last.in_channels < last.out_channels else "inverted bottleneck"


def _places(net: NetParts, has: Callable[[ConvPart], str | None], sum_has: str | None = None) -> str:
    places = [_SPOKEN[role] for role in ROLES if has(net.block.conv(role))]
    named = ["all three convolutions"] if len(places) == len(ROLES) else places
    return "after " + ", ".join(named + ["sum"] * bool(sum_has))


def _kinds(net: NetParts, has: Callable[[ConvPart], str | None]) -> str:
    return "/".join(sorted({kind for conv in net.block.convs if (kind := has(conv)) is not None}))


def _joined(numbers: list[int]) -> str:
    return "-".join(map(str, numbers))


def _between(net: NetParts) -> str:
    ways = {", ".join(filter(None, [stage.norm, stage.shrink])) for stage in net.stages[1:]}
    return " / ".join(sorted(ways)) or "nothing"


def _shortcuts(net: NetParts) -> str:
    # A stage is told by its number: which ones have a shortcut convolution is what steps change.
    return _joined([number for number, stage in enumerate(net.stages, start=1) if stage.shortcut]) or "none"


_TOPICS: tuple[tuple[str, Callable[[NetParts], str]], ...] = (
    ("picture channels", lambda net: str(net.stem.in_channels)),
    ("stem:", _stem),
    ("stem channels", lambda net: str(net.stem.out_channels)),
    ("stem pixels", lambda net: str(net.stem_side)),
    ("kernel", lambda net: str(net.block.conv(SPATIAL).kernel)),
    ("spatial convolution", lambda net: elements(net)["spatial.kind"]),
    ("spatial convolution", lambda net: elements(net)["spatial.place"]),
    ("block:", _shape),
    ("block channels", lambda net: _joined(list(net.block.channels))),
    ("norm", lambda net: _kinds(net, lambda conv: conv.norm)),
    ("norms", lambda net: _places(net, lambda conv: conv.norm)),
    ("activation", lambda net: _kinds(net, lambda conv: conv.act)),
    ("activations", lambda net: _places(net, lambda conv: conv.act, net.block.act)),
    ("scale", lambda net: net.block.scale or "none"),
    ("blocks", lambda net: _joined([stage.blocks for stage in net.stages])),
    ("stage channels", lambda net: _joined([stage.channels for stage in net.stages])),
    ("stage pixels", lambda net: _joined([stage.side for stage in net.stages])),
    ("between stages:", _between),
    ("shortcut convolutions in stages", _shortcuts),
    ("head norm", lambda net: net.head_norm or "none"),
    ("classes", lambda net: str(net.num_classes)),
)
