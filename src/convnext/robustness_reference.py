"""Published numbers that an evaluation is compared with: Table 8 of the paper, and public results for its checkpoints.

A row is a checkpoint: its network, what it was trained on, and the size of its pictures. Which row a file is follows
from its name, where the name is one under which it was published; nothing is guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from convnext.errors import UserError, nearest
from convnext.reference import ISOTROPIC, ONE_K, PAPER_ROWS, TWENTY_TWO_K

Pretraining = Literal["1k", "22k"]
Verdict = Literal["agrees", "differs", "none"]
TABLE_8 = "Table 8"
TABLE_1 = "Table 1"
# Results that others measured with the published 1K checkpoints at 224 pixels, with two digits.
PUBLIC = "public results"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a set: how many pictures it takes, and how far a correct measurement may lie from the printed one.

    tolerance, tolerance_384   points; at 384 pixels the second
    why                        what the tolerance allows for
    """

    title: str
    images: int
    tolerance: float
    why: str
    tolerance_384: float | None = None

    def allowed(self, size: int) -> float:
        """Return the tolerance at a size of the pictures."""
        return self.tolerance if size < 384 or self.tolerance_384 is None else self.tolerance_384


_ROUNDING = "rounding, and JPEG decoders and resizing that differ in the last bit,"
_SMALL_SET = "rounding and decoders on a set of few pictures"
MEASURES: dict[str, Measure] = {
    "imagenet_top1": Measure(title="ImageNet-1K top-1 %", images=50_000, tolerance=0.2, why=_ROUNDING),
    "imagenet_top5": Measure(title="ImageNet-1K top-5 %", images=50_000, tolerance=0.2, why=_ROUNDING),
    "real_top1": Measure(title="ImageNet ReaL top-1 %", images=46_837, tolerance=0.2, why=_ROUNDING),
    "v2_top1": Measure(title="ImageNet-V2 (matched frequency) top-1 %", images=10_000, tolerance=0.3, why=_SMALL_SET),
    "a_top1": Measure(
        title="ImageNet-A top-1 %",
        images=7_500,
        tolerance=0.5,
        tolerance_384=2.0,
        why=f"{_SMALL_SET} (at 384 others read 1 to 2 points more than Table 8)",
    ),
    "r_top1": Measure(title="ImageNet-R top-1 %", images=30_000, tolerance=0.3, why=_ROUNDING),
    "sketch_top1": Measure(title="ImageNet-Sketch top-1 %", images=50_889, tolerance=0.3, why=_ROUNDING),
    "c_mce": Measure(title="ImageNet-C mCE %", images=50_000 * 75, tolerance=0.5, why=_ROUNDING),
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One printed number and where it stands."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A published checkpoint and its numbers by measure; c_bar_error is of ImageNet-C-bar, which is not read here."""

    model: str
    pretraining: Pretraining
    size: int
    numbers: Mapping[str, Published]

    @property
    def name(self) -> str:
        """What --reference takes: convnext_base-22k-384."""
        return f"{self.model}-{self.pretraining}-{self.size}"


# Clean top-1, mCE, error on C-bar, top-1 on A, R and Sketch.
_TABLE_8: dict[tuple[str, Pretraining, int], tuple[float, float, float | None, float, float, float]] = {
    ("resnet50", "1k", 224): (76.1, 76.7, 57.7, 0.0, 36.1, 24.1),
    ("swin_tiny", "1k", 224): (81.2, 62.0, None, 21.6, 41.3, 29.1),
    ("convnext_tiny", "1k", 224): (82.1, 53.2, 40.0, 24.2, 47.2, 33.8),
    ("swin_base", "1k", 224): (83.4, 54.4, None, 35.8, 46.6, 32.4),
    ("convnext_base", "1k", 224): (83.8, 46.8, 34.4, 36.7, 51.3, 38.2),
    ("convnext_base", "22k", 384): (86.8, 43.1, 30.7, 62.3, 64.9, 51.6),
    ("convnext_large", "22k", 384): (87.5, 40.2, 29.9, 65.5, 66.7, 52.8),
    ("convnext_xlarge", "22k", 384): (87.8, 38.8, 27.1, 69.3, 68.2, 55.0),
}
_COLUMNS = ("imagenet_top1", "c_mce", "c_bar_error", "a_top1", "r_top1", "sketch_top1")
# Top-5 on ImageNet-1K, and top-1 on ReaL and V2.
_PUBLIC: dict[tuple[str, Pretraining, int], tuple[float, float, float]] = {
    ("convnext_tiny", "1k", 224): (95.85, 87.31, 70.93),
    ("convnext_small", "1k", 224): (96.43, 88.05, 72.30),
    ("convnext_base", "1k", 224): (96.75, 88.38, 73.78),
    ("convnext_large", "1k", 224): (96.89, 88.59, 74.19),
}
_PUBLIC_COLUMNS = ("imagenet_top5", "real_top1", "v2_top1")
_PRETRAINING: dict[str, Pretraining] = {ONE_K: "1k", TWENTY_TWO_K: "22k", ISOTROPIC: "1k"}


def _rows() -> dict[str, Row]:
    numbers: dict[tuple[str, Pretraining, int], dict[str, Published]] = {}
    for printed in PAPER_ROWS:
        table = "Table 2" if printed.table == ISOTROPIC else TABLE_1
        key = (printed.model, _PRETRAINING[printed.table], printed.size)
        numbers[key] = {"imagenet_top1": Published(value=printed.top1, source=table)}
    for key, values in _TABLE_8.items():
        eighth = zip(_COLUMNS, values, strict=True)
        numbers.setdefault(key, {}).update(
            {name: Published(value=value, source=TABLE_8) for name, value in eighth if value is not None}
        )
    for key, public in _PUBLIC.items():
        columns = zip(_PUBLIC_COLUMNS, public, strict=True)
        numbers[key].update({name: Published(value=value, source=PUBLIC) for name, value in columns})
    rows = (
        Row(model=model, pretraining=pretraining, size=size, numbers=found)
        for (model, pretraining, size), found in numbers.items()
    )
    return {row.name: row for row in rows}


ROWS: dict[str, Row] = _rows()

_SIZES = "tiny|small|base|large|xlarge"
# Names under which the checkpoints of the rows were published; what matches none of them has no certain row.
_NAMES: tuple[tuple[str, str], ...] = (
    # The official files, also with another ending.
    (rf"^convnext_(?P<kind>{_SIZES})_(?P<from>22k_)?1k_(?P<size>224|384)(_ema)?(\.\w+)?$", "convnext_{kind}"),
    (
        r"^convnext_iso_(?P<kind>small|base|large)_(?P<from>22k_)?1k_(?P<size>224)(_ema)?(\.\w+)?$",
        "convnext_isotropic_{kind}",
    ),
    # timm's tags.
    (rf"^convnext_(?P<kind>{_SIZES})\.fb_(?P<from>in22k_ft_)?in1k(_(?P<size>384))?$", "convnext_{kind}"),
    (
        r"^swin_(?P<kind>tiny|small|base|large)_patch4_window(7|12)_(?P<size>224|384)\.ms_(?P<from>in22k_ft_)?in1k$",
        "swin_{kind}",
    ),
    # The hub's names for transformers.
    (rf"^convnext-(?P<kind>{_SIZES})-(?P<size>224|384)(?P<from>-22k)-1k$", "convnext_{kind}"),
    (rf"^convnext-(?P<kind>{_SIZES})-(?P<size>224|384)$", "convnext_{kind}"),
    # torchvision's first weights, which the paper starts from (its second ones are trained otherwise).
    (r"^resnet50-(0676ba61|19c8e357)(?!\w)", "resnet50"),
    (r"^resnet50\.(tv_in1k|IMAGENET1K_V1)$", "resnet50"),
)


def row_named(name: str) -> Row:
    """Return a row by the name that --reference takes; UserError offers near names."""
    if name not in ROWS:
        raise UserError(f"there is no reference row {name}{nearest(name, ROWS)}")
    return ROWS[name]


def row_of_checkpoint(checkpoint: str, model: str | None) -> Row | None:
    """Return the row of a checkpoint that is called as it was published, None where that is not certain.

    checkpoint  a path, a hub id hf:OWNER/NAME[@REVISION], or timm:NAME.TAG
    model       the registered name of the network in it, which must be the row's; None where it has none
    """
    text = checkpoint.partition("@")[0] if checkpoint.startswith("hf:") else checkpoint
    text = re.split(r"[/\\:]", text.rstrip("/\\"))[-1]
    for pattern, title in _NAMES:
        found = re.search(pattern, text)
        if found is None:
            continue
        parts = {"from": None, "size": None, "kind": "", **found.groupdict()}
        name, size = title.format(kind=parts["kind"]), parts["size"] or "224"
        # Swin at 384 is another network than at 224 and so has a name of its own.
        name += "_384" if name.startswith("swin") and size == "384" else ""
        row = ROWS.get(f"{name}-{'22k' if parts['from'] else '1k'}-{size}")
        return row if row is not None and model in (None, row.model) else None
    return None


def candidates(model: str | None) -> list[Row]:
    """Return the rows of a network."""
    return [row for row in ROWS.values() if row.model == model]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A measured number beside the published one, and in words whether they agree.

    verdict     "none" where nothing can be said, for the reason that `text` gives
    difference  measured minus published, points
    """

    measure: str
    row: str
    source: str
    measured: float
    reference: float
    difference: float
    tolerance: float
    verdict: Verdict
    text: str


def compare(
    row: Row, measure: str, measured: float, *, images: int, size: int, computed: bool = False
) -> Comparison | None:
    """Compare a measured number with that of a row, None where the row has none.

    images    how many pictures were scored; a part of a set gets no verdict
    size      of the pictures in pixels, as they were scored
    computed  whether corruptions were computed and not read from the published files
    """
    published = row.numbers.get(measure)
    if published is None:
        return None
    about = MEASURES[measure]
    tolerance = about.allowed(row.size)
    # A hair's breadth, because 82.3 - 82.1 is more than 0.2 in binary.
    difference = measured - published.value
    within = abs(difference) <= tolerance + 1e-9
    verdict: Verdict = "agrees" if within else "differs"
    reason = None
    if size != row.size:
        reason = f"scored at {size} pixels, and the row is for {row.size} (--size {row.size})"
    elif computed:
        reason = "the corruptions were computed here, and the row is for the published files"
    elif images != about.images:
        reason = f"{images:,} pictures were scored, and the set has {about.images:,}"
    if reason is not None:
        verdict, text = "none", f"no verdict: {reason}"
    elif within:
        text = f"agrees: {abs(difference):.2f} apart, and {tolerance} is allowed"
    else:
        text = f"differs by {abs(difference):.2f}, more than the {tolerance} that {about.why.rstrip(',')} explain"
    return Comparison(
        measure=measure,
        row=row.name,
        source=published.source,
        measured=measured,
        reference=published.value,
        difference=difference,
        tolerance=tolerance,
        verdict=verdict,
        text=text,
    )
