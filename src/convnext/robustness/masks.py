"""The 200 classes of ImageNet-A and of ImageNet-R: only these logits compete there."""

from functools import cache
from importlib.resources import files
from typing import Literal

from convnext.errors import UserError

DATA_FILE = "subsets.tsv"
TITLES = {"a": "ImageNet-A", "r": "ImageNet-R"}


@cache
def classes_of(name: Literal["a", "r"]) -> tuple[str, ...]:
    """Return the 200 wnids of ImageNet-A or ImageNet-R, in the order of ImageNet-1K."""
    text = files("convnext.robustness").joinpath(DATA_FILE).read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(wnid for wnid, sets in rows if name in sets.split())


def check_classes(name: Literal["a", "r"], where: str, found: tuple[str, ...]) -> None:
    """Check that all folders are among the 200 classes; UserError names those that are not."""
    strangers = [wnid for wnid in found if wnid not in classes_of(name)]
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UserError(
            f"{where} has {', '.join(strangers[:3])}{more}, which is none of the 200 classes of {TITLES[name]}; "
            "is it another set?"
        )
