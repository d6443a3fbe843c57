"""What copies do to a data set: leaks from train to val, contradicting labels, pictures that count twice."""

from collections.abc import Iterator

import numpy as np

from convnext.data.check.duplicates import LEAST_CORRELATION, comparable, near_pairs, same_groups
from convnext.data.check.findings import Finding, plural
from convnext.data.check.look import Looks
from convnext.data.splits import Source, Split

Pairs = list[tuple[int, int]]


def copy_findings(source: Source, train: Looks, val: Looks) -> Iterator[Finding]:
    """Yield what is to say of pictures that are there twice, with the same pixels or nearly so."""
    seam = len(train.places)
    split = source.whole()
    # A place in the whole: of the train part first, then of the val part.
    places = np.concatenate([train.places, val.places + len(source.train)])
    groups = same_groups(np.concatenate([train.digests, val.digests]))
    contradicting: Pairs = []
    leaked: Pairs = []
    twice: Pairs = []
    twice_held_out: Pairs = []
    for first, *rest in groups:
        for row in rest:
            pair = int(places[row]), int(places[first])
            same_label = split.labels[pair[0]] == split.labels[pair[1]]
            if not same_label:
                contradicting.append(pair)
            if first < seam <= row:
                leaked.append(pair)
            elif same_label:
                (twice if row < seam else twice_held_out).append(pair)
    yield from _contradicting(source, split, contradicting)
    yield from _leaked(source, split, leaked)
    yield from _nearly_leaked(source, train, val, {row for row, _ in leaked})
    yield from _twice(split, twice, len(source.train), held_out=False)
    yield from _twice(split, twice_held_out, len(source.val), held_out=True)


def _contradicting(source: Source, split: Split, pairs: Pairs) -> Iterator[Finding]:
    if not pairs:
        return

    def labelled(place: int) -> str:
        return f"{split.name(place)} ({source.classes[split.labels[place]]})"

    yield Finding(
        level="error",
        key="contradicting",
        title=f"{plural(len(pairs), 'picture')} with the same pixels as one of another class",
        detail="at most one of the two labels can be right, and nothing can be learned from both",
        advice="look at each pair and remove the one whose label is wrong",
        names=tuple(f"{labelled(place)} = {labelled(other)}" for place, other in pairs),
    )


def _leaked(source: Source, split: Split, pairs: Pairs) -> Iterator[Finding]:
    if not pairs:
        return
    yield Finding(
        level="error",
        key="leaked",
        title=f"{plural(len(pairs), 'held-out picture')} with the same pixels as one that is trained on",
        detail=f"{100 * len(pairs) / len(source.val):.1f}% of the held-out pictures are known by heart, so the score "
        "says less about new ones",
        advice=_what_to_remove(source),
        names=_names(split, pairs, "="),
    )


def _nearly_leaked(source: Source, train: Looks, val: Looks, leaked: set[int]) -> Iterator[Finding]:
    of_train = comparable(train.thumbnails, train.short_sides_px)
    of_val = comparable(val.thumbnails, val.short_sides_px)
    of_val = of_val[[int(place) + len(source.train) not in leaked for place in val.places[of_val]]]
    names = [
        f"{source.val.name(int(val.places[of_val[other]]))} ~ {source.train.name(int(train.places[of_train[one]]))}"
        + (" (mirrored)" if mirrored else "")
        for one, other, mirrored in near_pairs(train.thumbnails[of_train], val.thumbnails[of_val])
    ]
    if names:
        yield Finding(
            level="warning",
            key="nearly_leaked",
            title=f"{plural(len(names), 'held-out picture')} nearly the same as one that is trained on",
            detail="saved, scaled or mirrored anew, or taken a moment later; found by likeness (thumbnails correlate "
            f"by {LEAST_CORRELATION} or more), so look before you believe it",
            advice=_what_to_remove(source),
            names=tuple(names),
        )


def _twice(split: Split, pairs: Pairs, count: int, *, held_out: bool) -> Iterator[Finding]:
    if not pairs:
        return
    where = "held-out " if held_out else ""
    yield Finding(
        level="note" if held_out else "warning",
        key="twice_held_out" if held_out else "twice",
        title=f"{plural(len(pairs), f'{where}picture')} with the same pixels as another {where}one of the class",
        detail=f"{100 * len(pairs) / count:.1f}% of {count:,} count twice or more",
        advice="keep one of each",
        names=_names(split, pairs, "="),
    )


def _what_to_remove(source: Source) -> str:
    if source.has_own_val:
        return "remove these pictures from the train part"
    return "keep one of each: the held-out part is drawn from all pictures, and a copy may fall on either side"


def _names(split: Split, pairs: Pairs, sign: str) -> tuple[str, ...]:
    return tuple(f"{split.name(place)} {sign} {split.name(other)}" for place, other in pairs)
