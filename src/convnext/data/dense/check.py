"""Look through a dense data set and name what is wrong: files, labels that contradict, leaks, missing classes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from convnext.data.check.findings import Finding, by_level, plural
from convnext.data.check.oddities import unreadable_finding
from convnext.data.dense.cut import cut_to, has_area
from convnext.data.dense.splits import IGNORED, DenseSource, DenseSplit, LabelError
from convnext.data.pictures import PictureError
from convnext.data.splits import Integers

CHUNK = 16
# Rounding alone puts boxes this far outside.
TOLERATED_PX = 1.0
# Of a class, the most and the fewest objects: COCO's own are 1,300 to 1.
UNEVEN = 100.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What was seen of one picture.

    name        of the picture
    digest      of its file; None where it cannot be read
    unreadable  why it cannot be read
    wrong       what its labels contradict
    counts      int64 (classes,) its objects, without crowds, or its pixels, of each class
    outside     boxes that leave the picture
    no_area     boxes without an area inside the picture
    no_pixels   objects whose box has an area and whose mask has no pixel
    """

    name: str
    digest: bytes | None
    unreadable: str | None
    wrong: str | None
    counts: Integers
    outside: int = 0
    no_area: int = 0
    no_pixels: int = 0


def check_dense(
    source: DenseSource, *, workers: int = 0, advance: Callable[[int], None] = lambda count: None
) -> tuple[Finding, ...]:
    """Read every picture and its labels once and return what was found, the worst first.

    What makes the whole data unreadable, such as an annotation of an unknown category, is said on opening it.

    workers  processes that read, 0 for this one
    advance  told how many pictures more were read, as they come
    """
    train, val = (_look_at_all(source, split, workers, advance) for split in (source.train, source.val))
    looks = [*train, *val]
    unreadable = [look.unreadable for look in looks if look.unreadable is not None]
    findings = [unreadable_finding(unreadable, looked_at=len(looks))] if unreadable else []
    findings += [*_wrong(looks), *_leaked(source, train, val), *_boxes(looks)]
    findings += [*_classes(source, train, "train on"), *_classes(source, val, "be scored on"), *_balance(source, train)]
    findings += _without(source, looks)
    return by_level(findings)


def look_at(source: DenseSource, split: DenseSplit, index: int) -> Look:
    """Return what there is to say of one picture."""
    name = split.name(index)
    digest = unreadable = wrong = None
    counts = np.zeros(len(source.classes), dtype=np.int64)
    faults: dict[str, int] = {}
    try:
        encoded = split.encoded(index)
        picture = split.picture(index)
        digest = hashlib.blake2b(picture.tobytes() if encoded is None else encoded, digest_size=16).digest()
    except PictureError as error:
        unreadable = str(error)
    except LabelError as error:
        wrong = str(error)
    if wrong is None:
        try:
            counts, faults = _labels(source, split, index)
        except PictureError as error:
            unreadable = str(error)
        except LabelError as error:
            wrong = str(error)
    return Look(name=name, digest=digest, unreadable=unreadable, wrong=wrong, counts=counts, **faults)


def _labels(source: DenseSource, split: DenseSplit, index: int) -> tuple[Integers, dict[str, int]]:
    number = len(source.classes)
    if source.kind == "labels":
        counts = np.bincount(split.label_map(index).reshape(-1), minlength=IGNORED + 1)
        return counts[:number], {}
    objects = split.objects(index, masks=source.has_masks)
    given, _ = split.boxes_as_given(index)
    inside = cut_to(given, *split.size(index))
    masks = objects.masks
    return np.bincount(objects.labels[~objects.crowd], minlength=number), {
        "outside": int((np.abs(inside - given).max(axis=1, initial=0) > TOLERATED_PX).sum()),
        "no_area": int((~has_area(inside)).sum()),
        "no_pixels": 0 if masks is None else int((~masks.any(axis=(1, 2))).sum()),
    }


def _look_at_all(source: DenseSource, split: DenseSplit, workers: int, advance: Callable[[int], None]) -> list[Look]:
    # Here, because it imports torch.
    from convnext.data.readers import planned_loader, quiet_workers, signals_held_back

    chunks = [range(start, min(start + CHUNK, len(split))) for start in range(0, len(split), CHUNK)]
    loader: Iterable[list[Look]] = planned_loader(
        _Chunks(source=source, split=split),  # type: ignore[arg-type]
        chunks,
        workers=workers,
    )
    looks: list[Look] = []
    with quiet_workers():
        with signals_held_back():
            found_by_readers = iter(loader)
        for found in found_by_readers:
            looks += found
            advance(len(found))
    return looks


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunks:
    """What runs in the processes: pictures by their places."""

    source: DenseSource
    split: DenseSplit

    def __getitem__(self, places: Sequence[int]) -> list[Look]:
        return [look_at(self.source, self.split, place) for place in places]


def _wrong(looks: Sequence[Look]) -> Iterator[Finding]:
    wrong = [look.wrong for look in looks if look.wrong is not None]
    if wrong:
        yield Finding(
            level="error",
            key="wrong_labels",
            title=f"{plural(len(wrong), 'picture')} with labels that cannot be right",
            detail="training ends with an error when it comes to the first of them",
            advice="mend these labels, or remove the pictures",
            names=tuple(wrong),
        )


def _leaked(source: DenseSource, train: Sequence[Look], val: Sequence[Look]) -> Iterator[Finding]:
    known = {look.digest: look.name for look in reversed(train) if look.digest is not None}
    names = [f"{look.name} = {known[look.digest]}" for look in val if look.digest in known]
    if names:
        advice = "remove these pictures from the train part"
        yield Finding(
            level="error",
            key="leaked",
            title=f"{plural(len(names), 'held-out picture')} with the same bytes as one that is trained on",
            detail=f"{100 * len(names) / len(val):.1f}% of the held-out pictures are known by heart, so the score says "
            "less about new ones",
            advice=advice if source.has_own_val else "keep one of each: the held-out part is drawn from all pictures",
            names=tuple(names),
        )


def _boxes(looks: Sequence[Look]) -> Iterator[Finding]:
    for key, level_title, detail, advice in (
        (
            "outside",
            "{} outside the picture",
            "they are cut to it",
            "look whether pictures and annotations belong together, and whether boxes are left, top, width, height",
        ),
        ("no_area", "{} without an area", "these objects are left out of training and scores", "mend or remove them"),
    ):
        counts = {look.name: getattr(look, key) for look in looks if getattr(look, key)}
        if counts:
            yield Finding(
                level="warning",
                key=key,
                title=level_title.format(plural(sum(counts.values()), "box", "boxes")),
                detail=detail,
                advice=advice,
                names=tuple(f"{name} ({count})" for name, count in counts.items()),
            )
    empty = {look.name: look.no_pixels for look in looks if look.no_pixels}
    if empty:
        yield Finding(
            level="warning",
            key="empty_masks",
            title=f"{plural(sum(empty.values()), 'mask')} without a pixel",
            detail="their boxes are learned, and that there is nothing in them",
            advice="mend or remove these objects",
            names=tuple(f"{name} ({count})" for name, count in empty.items()),
        )


def _classes(source: DenseSource, looks: Sequence[Look], purpose: str) -> Iterator[Finding]:
    counts = _total(source, looks)
    absent = tuple(name for name, count in zip(source.classes, counts.tolist(), strict=True) if count == 0)
    if absent:
        what = "an object" if source.kind == "objects" else "a pixel"
        scored = purpose != "train on"
        yield Finding(
            level="note" if scored else "warning",
            key="absent_from_val" if scored else "empty_class",
            title=f"{plural(len(absent), 'class', 'classes')} without {what} to {purpose}",
            detail="they do not count in the score" if scored else "the network can never learn to find them",
            advice="add pictures of these classes, or take them out of the list of classes",
            names=absent,
        )


def _balance(source: DenseSource, train: Sequence[Look]) -> Iterator[Finding]:
    counts = {
        name: count for name, count in zip(source.classes, _total(source, train).tolist(), strict=True) if count > 0
    }
    if not counts:
        return
    largest, smallest = (max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name]))
    if counts[largest] < UNEVEN * counts[smallest]:
        return
    what = "objects" if source.kind == "objects" else "pixels"
    yield Finding(
        level="warning",
        key="imbalance",
        title=f"classes are uneven: {counts[largest] / counts[smallest]:,.0f} to 1",
        detail=f"{largest} has {counts[largest]:,} {what} to train on and {smallest} {counts[smallest]:,}; rare "
        "classes will rarely be found",
        advice="read the score of each class, and add pictures of the rare ones",
        names=tuple(f"{name} ({counts[name]:,})" for name in sorted(counts, key=lambda name: counts[name])),
    )


def _without(source: DenseSource, looks: Sequence[Look]) -> list[Finding]:
    names = [look.name for look in looks if look.wrong is None and look.unreadable is None and not look.counts.any()]
    if not names:
        return []
    of_objects = source.kind == "objects"
    return [
        Finding(
            level="note" if of_objects else "warning",
            key="without_labels",
            title=f"{plural(len(names), 'picture')} without {'an object' if of_objects else 'a labelled pixel'}",
            detail="they show what is background, and whatever is found there is wrong"
            if of_objects
            else "nothing can be learned from them",
            advice="look whether their annotations got lost",
            names=tuple(names),
        )
    ]


def _total(source: DenseSource, looks: Sequence[Look]) -> Integers:
    counts: Integers = np.zeros(len(source.classes), dtype=np.int64)
    for look in looks:
        counts = counts + look.counts
    return counts
