"""Single pictures that stand out: those that cannot be read, are blank, tiny, thin or grey, or whose files are odd."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from convnext.data.check.findings import Finding, plural
from convnext.data.check.look import Looks
from convnext.data.pictures import PICTURE_ENDINGS
from convnext.data.splits import Integers, PassedOver, Split

TINY_PX = 16
THIN = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A split and what was seen of it."""

    split: Split
    looks: Looks


def unreadable_finding(reasons: Sequence[str], *, looked_at: int) -> Finding:
    """Return the finding of pictures that cannot be read; each reason names its picture."""
    return Finding(
        level="error",
        key="unreadable",
        title=f"{len(reasons):,} of {plural(looked_at, 'picture')} cannot be read",
        detail="training leaves them out and their batches are that much smaller",
        advice="copy them again from where they came, or remove them",
        names=tuple(reasons),
    )


def passed_over_findings(passed_over: Sequence[PassedOver]) -> Iterator[Finding]:
    """Yield what is to say of files that lie among the pictures and are not read, because of their endings."""
    if passed_over:
        yield Finding(
            level="note",
            key="passed_over",
            title=f"{plural(sum(one.count for one in passed_over), 'file')} passed over because of the ending",
            detail=f"they lie in class folders, where files that end in {', '.join(PICTURE_ENDINGS)} are read; here is "
            "the first of each other ending",
            advice="nothing needs to be done, unless they are pictures: convert those to JPEG or PNG",
            names=tuple(f"{one.example} ({one.count:,} x {one.ending})" for one in passed_over),
        )


def oddity_findings(parts: Sequence[Part], *, size: int | None) -> Iterator[Finding]:
    """Yield what is to say of single pictures; size: the side that they will be trained at, None where not known."""
    reasons = [_reason(part.split, place, text) for part in parts for place, text in part.looks.unreadable.items()]
    if reasons:
        yield unreadable_finding(reasons, looked_at=sum(len(part.split) for part in parts))
    yield from _blank(parts)
    yield from _small(parts, size)
    yield from _thin(parts)
    yield from _grey(parts)
    yield from _files(parts)


def _reason(split: Split, place: int, text: str) -> str:
    name = split.name(place)
    return text if name in text else f"{name}: {text}"


def _blank(parts: Sequence[Part]) -> Iterator[Finding]:
    names: list[str] = []
    for part in parts:
        thumbnails = part.looks.thumbnails
        blank = (thumbnails == thumbnails[:, :1, :1]).all(axis=(1, 2, 3))
        names += _names(part, part.looks.places[blank])
    if names:
        yield Finding(
            level="warning",
            key="blank",
            title=f"{plural(len(names), 'picture')} of a single colour",
            detail="nothing can be learned from them",
            advice="look at them; a broken camera or a failed conversion leaves such files behind",
            names=tuple(names),
        )


def _small(parts: Sequence[Part], size: int | None) -> Iterator[Finding]:
    least = TINY_PX if size is None else size
    names = [name for part in parts for name in _sized(part, part.looks.short_sides_px < least)]
    total = sum(len(part.looks.places) for part in parts)
    if not names:
        return
    yield Finding(
        # Where most are small that is what the data is like; where few are, they are thumbnails by mistake.
        level="warning" if len(names) <= total / 2 else "note",
        key="small",
        title=f"{plural(len(names), 'picture')} with a shorter side below {least} pixels",
        detail=f"{100 * len(names) / total:.0f}% of all; "
        + ("so small that little is to be seen" if size is None else "they are enlarged, which adds no detail"),
        advice="look for the originals of these thumbnails"
        if size is None
        else "train at their own size (--size) with a smaller model.stem_stride, or look for larger originals",
        names=tuple(names),
    )


def _thin(parts: Sequence[Part]) -> Iterator[Finding]:
    names = [
        name
        for part in parts
        for name in _sized(part, part.looks.sizes_px.max(axis=1) > THIN * part.looks.short_sides_px)
    ]
    if names:
        yield Finding(
            level="warning",
            key="thin",
            title=f"{plural(len(names), 'picture')} more than {THIN:g} times as long as wide",
            detail="evaluation shows the middle square, less than a third of such a picture",
            advice="cut them to what the label names",
            names=tuple(names),
        )


def _grey(parts: Sequence[Part]) -> Iterator[Finding]:
    names = [name for part in parts for name in _names(part, part.looks.places[part.looks.grey])]
    total = sum(len(part.looks.places) for part in parts)
    if names:
        all_grey = len(names) == total
        yield Finding(
            level="note",
            key="grey",
            title="all pictures are grey" if all_grey else f"{plural(len(names), 'picture')} of {total:,} are grey",
            detail="they are read as colour pictures with three equal channels",
            advice="nothing needs to be done"
            if all_grey
            else "nothing needs to be done, unless being grey goes with the class: then it is what will be learned",
            names=() if all_grey else tuple(names),
        )


def _files(parts: Sequence[Part]) -> Iterator[Finding]:
    modes = [(part.split.name(place), mode) for part in parts for place, mode in part.looks.modes.items()]
    if modes:
        counts = Counter(mode for _, mode in modes).most_common()
        yield Finding(
            level="note",
            key="mode",
            title=f"{plural(len(modes), 'picture')} with unusual colours: {_counted(counts)}",
            detail="converted to 8-bit RGB when read (CMYK without its colour profile, 16 bits divided by 257)",
            advice="convert them once with a tool that you trust, if their colours matter",
            names=tuple(f"{name} ({mode})" for name, mode in modes),
        )
    turned = [name for part in parts for name in _names(part, np.array(part.looks.turned, dtype=np.int64))]
    if turned:
        yield Finding(
            level="note",
            key="turned",
            title=f"{plural(len(turned), 'picture')} that the camera asks to turn (EXIF)",
            detail="they are turned upright when read here; other programs may show and train on them lying",
            advice="nothing needs to be done here",
            names=tuple(turned),
        )
    kinds = [(part.split.name(place), kind) for part in parts for place, kind in part.looks.kinds.items()]
    if kinds:
        yield Finding(
            level="note",
            key="ending",
            title=f"{plural(len(kinds), 'picture')} with the wrong ending",
            detail="read here by what they are, whatever their names say; other programs may refuse them",
            advice="rename them",
            names=tuple(f"{name} is {kind}" for name, kind in kinds),
        )


def _counted(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} x {what}" for what, count in counts)


def _names(part: Part, places: Integers) -> list[str]:
    return [part.split.name(place) for place in places.tolist()]


def _sized(part: Part, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    """Return the names of chosen rows with their sizes."""
    rows = zip(part.looks.places[chosen].tolist(), part.looks.sizes_px[chosen].tolist(), strict=True)
    return [f"{part.split.name(place)} ({width} x {height})" for place, (width, height) in rows]
