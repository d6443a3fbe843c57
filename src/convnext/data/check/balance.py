"""How many pictures each class has to train on and to be scored on, and where that is too few or too uneven."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from convnext.data.check.findings import Finding, plural
from convnext.data.splits import Split

UNEVEN = 10.0
FEW_OF_A_CLASS = 10
FEW_HELD_OUT = 100


def class_counts(split: Split, classes: Sequence[str]) -> dict[str, int]:
    """Return how many pictures of a split each class has, in the order of the classes."""
    return dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))


def balance_findings(train: Mapping[str, int], val: Mapping[str, int]) -> Iterator[Finding]:
    """Yield what is to say of the number of pictures by class, to train on and held out."""
    yield from _train_findings(train)
    yield from _val_findings(val)


def _train_findings(counts: Mapping[str, int]) -> Iterator[Finding]:
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    most, fewest = counts[largest], counts[smallest]
    if fewest == 0:
        empty = tuple(name for name, count in counts.items() if count == 0)
        yield Finding(
            level="error",
            key="empty_class",
            title=f"{plural(len(empty), 'class', 'classes')} without a picture to train on",
            detail="the network can never learn to say them",
            advice="add pictures of these classes, or remove them from the list of classes",
            names=empty,
        )
    elif most >= UNEVEN * fewest:
        yield Finding(
            level="warning",
            key="imbalance",
            title=f"classes are uneven: {most / fewest:.0f} to 1",
            detail=f"{largest} has {plural(most, 'picture')} to train on and {smallest} {fewest:,}; "
            "rare classes will rarely be said, and top-1 hides it",
            advice="read confusion.csv rather than top-1, add pictures of the rare classes, or leave some of the "
            "frequent ones out",
            names=tuple(f"{name} ({counts[name]})" for name in sorted(counts, key=lambda name: counts[name])),
        )
    few = tuple(f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW_OF_A_CLASS)
    if few:
        yield Finding(
            level="warning",
            key="few_of_a_class",
            title=f"{plural(len(few), 'class', 'classes')} with fewer than {FEW_OF_A_CLASS} pictures to train on",
            detail="a network cannot learn from so few what such a picture has in common with the next one",
            advice="add pictures, and start from trained weights (--weights hf:timm/convnext_tiny.fb_in1k)",
            names=few,
        )


def _val_findings(counts: Mapping[str, int]) -> Iterator[Finding]:
    held_out = sum(counts.values())
    absent = tuple(name for name, count in counts.items() if count == 0)
    if held_out == 0:
        yield Finding(
            level="error",
            key="no_val",
            title="no held-out pictures",
            detail="no epoch can be scored, and none be chosen as the best",
            advice="add a val part, or leave it out altogether so that a fifth of the pictures is held out "
            "(data.val_fraction)",
        )
        return
    if absent:
        yield Finding(
            level="warning",
            key="absent_from_val",
            title=f"{plural(len(absent), 'class', 'classes')} without a held-out picture",
            detail="their accuracy is not measured at all",
            advice="move some pictures of these classes from the train part to the val part",
            names=absent,
        )
    if held_out < FEW_HELD_OUT:
        yield Finding(
            level="warning",
            key="few_held_out",
            title=f"only {plural(held_out, 'held-out picture')}",
            detail=f"one picture more or less moves top-1 by {100 / held_out:.1f} points; "
            f"chance alone moves it by about {50 / held_out**0.5:.0f}",
            advice="hold out more (more pictures in val/, or without such a part --set data.val_fraction=0.3), "
            "or train several times (--seeds 5) and read the mean",
        )
