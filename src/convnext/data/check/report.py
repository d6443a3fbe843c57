"""Look through a whole data set and name what is wrong: broken files, copies, leaks, imbalance, odd pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convnext.data.check.balance import balance_findings, class_counts
from convnext.data.check.copies import copy_findings
from convnext.data.check.duplicates import METHOD
from convnext.data.check.findings import Finding, by_level
from convnext.data.check.look import Looks, look_at_all
from convnext.data.check.oddities import Part, oddity_findings, passed_over_findings
from convnext.data.splits import Source


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large pictures are, in pixels: their shorter sides, the longest side of all; and the share of grey ones."""

    smallest_px: int
    median_px: int
    longest_px: int
    grey_share: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a data set holds and what was found.

    has_own_val  the held-out part came with the data, it was not drawn by us
    sizes        None where not one picture could be read
    method       how near copies were found
    """

    name: str
    num_classes: int
    num_train: int
    num_val: int
    has_own_val: bool
    sizes: Sizes | None
    method: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that makes results wrong."""
        return not any(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ok": self.ok, "findings": [finding.to_dict() for finding in self.findings]}


def check_source(
    source: Source, *, size: int | None = None, workers: int = 0, advance: Callable[[int], None] = lambda count: None
) -> Check:
    """Read every picture once and return what was found.

    size     side that the pictures will be trained at, to name those that are smaller; None where it is not known
    workers  processes that read, 0 for this one
    advance  told how many pictures more were read, as they come
    """
    train, val = (
        Part(split=split, looks=look_at_all(split, workers=workers, advance=advance))
        for split in (source.train, source.val)
    )
    findings = [
        *oddity_findings((train, val), size=size),
        *passed_over_findings(source.passed_over),
        *balance_findings(class_counts(source.train, source.classes), class_counts(source.val, source.classes)),
        *copy_findings(source, train.looks, val.looks),
    ]
    return Check(
        name=source.name,
        num_classes=len(source.classes),
        num_train=len(source.train),
        num_val=len(source.val),
        has_own_val=source.has_own_val,
        sizes=_sizes(train.looks, val.looks),
        method=METHOD,
        findings=by_level(findings),
    )


def _sizes(train: Looks, val: Looks) -> Sizes | None:
    sizes = np.concatenate([train.sizes_px, val.sizes_px])
    if len(sizes) == 0:
        return None
    return Sizes(
        smallest_px=int(sizes.min()),
        median_px=int(np.median(sizes.min(axis=1))),
        longest_px=int(sizes.max()),
        grey_share=float(np.concatenate([train.grey, val.grey]).mean()),
    )
