"""How RandAugment is asked for: timm's short text, for example rand-m9-mstd0.5-inc1 (section A.1 of the paper)."""

import re
from dataclasses import dataclass

from convnext.errors import UserError

FORM = "rand-m9-mstd0.5-inc1"
MOST_MAGNITUDE = 10.0
_NUMBER = r"(\d+(?:\.\d+)?)"
_SECTIONS = {
    "mstd": "std",
    "mmax": "most",
    "inc": "increasing",
    "m": "magnitude",
    "n": "ops",
    "p": "chance",
}


@dataclass(frozen=True, kw_only=True)
class RandAugmentPolicy:
    """Which operations RandAugment does, how often and how strongly.

    magnitude   mean strength of an operation, from 0 to 10
    std         of the normal noise on the magnitude; 0 for none
    ops         operations drawn for a picture, with replacement
    chance      of each drawn operation to be done
    increasing  whether a higher magnitude always means a stronger change; False keeps the first paper's mixed senses
    most        where a noisy magnitude is cut off
    """

    magnitude: float = 9.0
    std: float = 0.0
    ops: int = 2
    chance: float = 0.5
    increasing: bool = False
    most: float = MOST_MAGNITUDE

    def __post_init__(self) -> None:
        for name, least, greatest in (("magnitude", 0, MOST_MAGNITUDE), ("most", 0, MOST_MAGNITUDE), ("chance", 0, 1)):
            value = getattr(self, name)
            if not least <= value <= greatest:
                raise UserError(f"RandAugment's {name} must be from {least} to {greatest:g}, got {value:g}")
        if not 1 <= self.ops <= 16:
            raise UserError(f"RandAugment must do from 1 to 16 operations (n), got {self.ops}")
        if not 0 <= self.std < float("inf"):
            raise UserError(f"RandAugment's noise (mstd) must be at least 0, got {self.std:g}")


def parse_randaugment(text: str) -> RandAugmentPolicy:
    """Return what a text such as rand-m9-n2-p0.5-mstd0.5-mmax10-inc1 asks for.

    Sections may be left out and come in any order. UserError for a text of another form or a value out of range.
    """
    head, *sections = text.split("-")
    if head != "rand" or not sections:
        raise UserError(f"RandAugment is written like {FORM}, got {text!r}")
    values: dict[str, float | int | bool] = {}
    for section in sections:
        match = re.fullmatch(rf"({'|'.join(_SECTIONS)}){_NUMBER}", section)
        if match is None:
            raise UserError(
                f"RandAugment has no section {section!r} in {text!r}; it takes m (magnitude), mstd (noise), "
                f"mmax (most), n (operations), p (chance) and inc (increasing), each with a number, as in {FORM}"
            )
        name, number = _SECTIONS[match[1]], float(match[2])
        if name in ("ops", "increasing") and number != int(number):
            raise UserError(f"RandAugment's section {match[1]} takes a whole number, got {section!r}")
        if name == "ops":
            values[name] = int(number)
        elif name == "increasing":
            values[name] = bool(number)
        else:
            values[name] = number
    return RandAugmentPolicy(**values)  # type: ignore[arg-type]
