"""The rows of a roadmap experiment: which networks are trained by which recipe, and what each is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from convnext.errors import UserError, nearest
from convnext.roadmap import (
    STEPS,
    Published,
    Regime,
    Step,
    decisions,
    diff,
    leave_one_out,
    reorder,
    spec_at,
    step_named,
)
from convnext.spec import NetSpec

Kind = Literal["walk", "leave-one-out", "order"]
RecipeName = Literal["modern", "classic"]
WHOLE, WITHOUT = "convnext", "without_"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of an experiment.

    name     of its folder: the step's, or `without_STEP`
    step     of the roadmap that it takes or leaves out; None for a whole network
    recipe   "classic" for the first row of Figure 2, "modern" for the rest
    adopted  whether the paper kept the step
    before   the row that this one is compared with: the last kept one before it, or the whole ConvNeXt where one
             decision is left out; None for the first
    paper    what the paper measured for it, in the regime that the sweep's is compared with; None where it did not
    """

    name: str
    step: str | None
    title: str
    spec: NetSpec
    recipe: RecipeName = "modern"
    adopted: bool = True
    before: str | None = None
    paper: Published | None = None

    def changes_from(self, other: "Row") -> dict[str, tuple[Any, Any]]:
        """Return the fields in which the network differs from another row's, each before and after."""
        return diff(other.spec, self.spec)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {**asdict(self), "spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Row":
        """Rebuild what `to_dict` returned; older versions kept no step, which the name tells too."""
        paper, name = values["paper"], values["name"]
        return cls(
            **{
                "step": None if name == WHOLE else name.removeprefix(WITHOUT),
                **values,
                "spec": NetSpec.from_dict(values["spec"]),
                "paper": None if paper is None else Published(**paper),
            }
        )


def walk_rows(regime: Regime) -> tuple[Row, ...]:
    """Return the 17 rows of Figure 2."""
    rows: list[Row] = []
    kept: str | None = None
    for step in STEPS:
        rows.append(
            Row(
                name=step.name,
                step=step.name,
                title=step.title,
                spec=spec_at(step.name, regime),
                recipe="classic" if step is STEPS[0] else "modern",
                adopted=step.adopted,
                before=kept,
                paper=step.published.get(regime.paper),
            )
        )
        kept = step.name if step.adopted else kept
    return tuple(rows)


def leave_one_out_rows(regime: Regime) -> tuple[Row, ...]:
    """Return ConvNeXt and, for each decision of the roadmap, ConvNeXt without it; the recipe is one of them."""
    whole = spec_at(STEPS[-1].name, regime)
    rows = [
        Row(name=WHOLE, step=None, title="ConvNeXt", spec=whole),
        replace(_without(STEPS[1], whole), recipe="classic"),
        *(_without(step, leave_one_out(step.name, regime)) for step in decisions(regime)),
    ]
    return _with_paper(rows, regime)


def _without(step: Step, spec: NetSpec) -> Row:
    title = f"without {step.title.removesuffix(' = ConvNeXt')}"
    return Row(name=f"{WITHOUT}{step.name}", step=step.name, title=title, spec=spec, before=WHOLE)


def order_rows(names: Sequence[str], regime: Regime) -> tuple[Row, ...]:
    """Return the roadmap with the named decisions taken first, in that order, the others after them as in the paper.

    The first row is the ResNet with the modern recipe, the last is ConvNeXt. UserError for an order that cannot be
    built.
    """
    if not names:
        raise UserError(f"an order names at least one decision: {', '.join(step.name for step in decisions(regime))}")
    rest = [step.name for step in decisions(regime) if step.name not in names]
    way = [STEPS[1].name, *names, *rest]
    specs = [regime.start, *reorder(way[1:], regime)]
    rows = [
        Row(name=name, step=name, title=step_named(name).title, spec=spec, before=before)
        for name, spec, before in zip(way, specs, [None, *way[:-1]], strict=True)
    ]
    return _with_paper(rows, regime)


def _with_paper(rows: Sequence[Row], regime: Regime) -> tuple[Row, ...]:
    """Return the rows with the paper's numbers for those that are a row of Figure 2, whatever way led there."""
    known = {(row.spec, row.recipe): row.paper for row in walk_rows(regime)}
    return tuple(replace(row, paper=known.get((row.spec, row.recipe))) for row in rows)


def rows_of(kind: Kind, regime: Regime, order: Sequence[str] = ()) -> tuple[Row, ...]:
    """Return the rows of an experiment."""
    if kind == "order":
        return order_rows(order, regime)
    return walk_rows(regime) if kind == "walk" else leave_one_out_rows(regime)


def picked(rows: Sequence[Row], names: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these names in the order of the experiment; all for no names, UserError for an unknown one."""
    known = [row.name for row in rows]
    for name in names:
        if name not in known:
            raise UserError(f"this experiment has no row {name}{nearest(name, known)}")
    return tuple(row for row in rows if not names or row.name in names)
