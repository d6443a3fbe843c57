"""Numbers that the paper prints, as rows: what, of which model, at which size, in which table, with how many digits.

A number shown as "paper" anywhere in this project comes from here or from `convnext.roadmap`.
"""

from dataclasses import dataclass
from typing import Literal

Quantity = Literal["params_millions", "gmacs", "top1"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One printed number; `tolerance` is how far a correct recomputation may lie from it."""

    model: str
    size: int
    quantity: Quantity
    value: float
    table: str
    tolerance: float
    note: str = ""


def _rows(
    table: str, model: str, size: int, params: float, gmacs: float, top1: float | None = None, note: str = ""
) -> list[Reference]:
    costs: tuple[tuple[Quantity, float, float], ...] = (("params_millions", params, 0.5), ("gmacs", gmacs, 0.05))
    rows = [
        Reference(
            model=model,
            size=size,
            quantity=quantity,
            value=value,
            table=table,
            tolerance=tolerance,
            note=note if quantity == "gmacs" else "",
        )
        for quantity, value, tolerance in costs
    ]
    if top1 is not None:
        # A band that seeds and library versions explain; the spread over seeds in Table 10 is up to 0.18.
        rows.append(Reference(model=model, size=size, quantity="top1", value=top1, table=table, tolerance=0.3))
    return rows


ONE_K = "Table 1, ImageNet-1K"
TWENTY_TWO_K = "Table 1, ImageNet-22K pre-trained"
ISOTROPIC = "Table 2"

REFERENCES: tuple[Reference, ...] = (
    *_rows(ONE_K, "convnext_tiny", 224, 29, 4.5, 82.1),
    *_rows(ONE_K, "convnext_small", 224, 50, 8.7, 83.1),
    *_rows(ONE_K, "convnext_base", 224, 89, 15.4, 83.8),
    *_rows(
        ONE_K,
        "convnext_base",
        384,
        89,
        45.0,
        85.1,
        note="printed 45.0 here and 45.1 in the 22K rows; the count is 45.12",
    ),
    *_rows(ONE_K, "convnext_large", 224, 198, 34.4, 84.3),
    *_rows(ONE_K, "convnext_large", 384, 198, 101.0, 85.5),
    *_rows(TWENTY_TWO_K, "convnext_tiny", 224, 29, 4.5, 82.9),
    *_rows(TWENTY_TWO_K, "convnext_tiny", 384, 29, 13.1, 84.1),
    *_rows(TWENTY_TWO_K, "convnext_small", 224, 50, 8.7, 84.6),
    *_rows(TWENTY_TWO_K, "convnext_small", 384, 50, 25.5, 85.8),
    *_rows(TWENTY_TWO_K, "convnext_base", 224, 89, 15.4, 85.8),
    *_rows(TWENTY_TWO_K, "convnext_base", 384, 89, 45.1, 86.8),
    *_rows(TWENTY_TWO_K, "convnext_large", 224, 198, 34.4, 86.6),
    *_rows(TWENTY_TWO_K, "convnext_large", 384, 198, 101.0, 87.5),
    *_rows(TWENTY_TWO_K, "convnext_xlarge", 224, 350, 60.9, 87.0),
    *_rows(TWENTY_TWO_K, "convnext_xlarge", 384, 350, 179.0, 87.8),
    *_rows(ISOTROPIC, "convnext_isotropic_small", 224, 22, 4.3, 79.7),
    *_rows(ISOTROPIC, "convnext_isotropic_base", 224, 87, 16.9, 82.0),
    *_rows(ISOTROPIC, "convnext_isotropic_large", 224, 306, 59.7, 82.6),
)


def published(
    model: str, quantity: Quantity, size: int = 224, tables: tuple[str, ...] = (ONE_K, ISOTROPIC)
) -> float | None:
    """Return the number that one of the tables prints for a model, by default trained on ImageNet-1K alone, or None."""
    for row in REFERENCES:
        if (row.model, row.quantity, row.size) == (model, quantity, size) and row.table in tables:
            return row.value
    return None
