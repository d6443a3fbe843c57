"""What becomes of a head when a network is to tell other classes apart: kept, rows of it picked, or a fresh one."""

from collections.abc import Sequence
from dataclasses import dataclass

from convnext.errors import UserError
from convnext.labels import NUM_CLASSES_1K, NUM_CLASSES_22K, imagenet_1k, label_map_of, rows_for


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """What to do with a head.

    rows    those to keep, in this order; None keeps all of them
    fresh   how many classes a fresh head is to have; None for no fresh head
    labels  names of the classes that the head tells apart then, None where nobody knows
    said    the same as words
    """

    rows: tuple[int, ...] | None = None
    fresh: int | None = None
    labels: tuple[str, ...] | None = None
    said: str


def plan_head(
    has: int | None,
    labels: tuple[str, ...] | None,
    *,
    num_classes: int | None,
    classes: Sequence[str] | None,
    head_scale: float,
) -> HeadPlan:
    """Plan the head of a network that was read from a file.

    has          classes of the head in the file, None where it has no head
    labels       their names, where the file tells; a head of 1,000 or 21,841 classes is taken for ImageNet's
    num_classes  how many it is to have, None for those it has
    classes      or their names: rows for them are picked from a head that knows them all
    head_scale   anything but 1 asks for a fresh head wherever classes differ, as the paper fine-tunes with 0.001

    The head of 22K becomes one of 1K by its rows for those classes too, where only the number 1,000 is given. UserError
    when num_classes and classes contradict each other.
    """
    wanted = _wanted(num_classes, classes)
    if has is None:
        assert wanted is not None, "the caller knows that a file has no head"
        return HeadPlan(fresh=wanted, said=f"no head in the file, new head of {wanted} classes")
    named = (labels is None and label_map_of(has)) or None
    labels = named.names if named else labels
    kept = HeadPlan(labels=labels, said=f"{has} classes" + (f", taken to be those of {named.title}" if named else ""))
    if wanted is None:
        return kept
    fresh = HeadPlan(fresh=wanted, said=f"head replaced: {has} -> {wanted} classes")
    if classes is None and wanted == NUM_CLASSES_1K and has == NUM_CLASSES_22K:
        classes = imagenet_1k().names
    if labels is None or classes is None:
        return kept if wanted == has else fresh
    return _for_classes(kept, fresh, labels, classes, head_scale)


def _for_classes(
    kept: HeadPlan, fresh: HeadPlan, labels: tuple[str, ...], classes: Sequence[str], head_scale: float
) -> HeadPlan:
    rows = tuple(row for row in rows_for(labels, classes) if row is not None)
    if rows == tuple(range(len(labels))):
        return kept
    if len(rows) < len(classes):
        others = "head replaced: the checkpoint tells as many classes apart, but others than the data has"
        return HeadPlan(fresh=len(classes), said=others) if len(classes) == len(labels) else fresh
    if head_scale != 1 and len(classes) != len(labels):
        reason = f"it knows them, but head_scale {head_scale:g} asks for a fresh one; 1 maps it"
        return HeadPlan(fresh=fresh.fresh, said=f"{fresh.said} ({reason})")
    said = f"head mapped: {len(classes)} of its {len(labels)} classes"
    return HeadPlan(rows=rows, labels=tuple(classes), said=said)


def _wanted(num_classes: int | None, classes: Sequence[str] | None) -> int | None:
    if classes is None:
        return num_classes
    if num_classes not in (None, len(classes)):
        raise UserError(f"num_classes must be the number of classes, {len(classes)}, got {num_classes}; leave it out")
    return len(classes)
