"""Commands that show what is known without training anything: models, cost, roadmap."""

from typing import Annotated, Any

import typer

from convnext.cli.console import millions, note, print_json, print_table
from convnext.cli.options import Json
from convnext.cost import Cost, stage_costs, total_cost
from convnext.models import MODELS, any_spec, model_cost
from convnext.peer_spec import PEERS
from convnext.reference import paper_row
from convnext.roadmap import REGIMES, STEPS, Step, changes_text, diff, regime_named, spec_at
from convnext.spec import NetSpec

Size = Annotated[int, typer.Option(min=1, help="Side of the square picture, in pixels.")]


def models(json: Json = False) -> None:
    """List every model: parameters, multiply-adds and input size."""
    rows: list[dict[str, Any]] = []
    for entry in MODELS.values():
        counted = total_cost(entry.spec, entry.input_size)
        paper = paper_row(entry.name, entry.input_size)
        rows.append(
            {
                "name": entry.name,
                "params": counted.params,
                "gmacs": counted.gmacs,
                "activations": counted.activations,
                "input_size": entry.input_size,
                "paper_top1": None if paper is None else paper.top1,
            }
        )
    if json:
        print_json(rows)
        return
    print_table(
        ["model", "params", "GMACs", "input", "paper top-1"],
        [
            [
                row["name"],
                millions(row["params"]),
                f"{row['gmacs']:.2f}",
                str(row["input_size"]),
                "" if row["paper_top1"] is None else f"{row['paper_top1']:.1f}",
            ]
            for row in rows
        ],
        left=["model"],
    )
    note("Paper top-1: trained on ImageNet-1K alone at 224 pixels (Tables 1 and 2).")
    note("Every roadmap row is a model too, as REGIME:STEP (resnet50:depthwise, quarter:kernel_7).")
    note(f"The paper's other systems, through timm: {', '.join(PEERS)}.")
    note("So is any other network of timm or torchvision: timm:NAME, torchvision:NAME.")


def cost(
    model: Annotated[str, typer.Argument(help="A model of `convnext models`, or a roadmap row REGIME:STEP.")],
    size: Size = 224,
    json: Json = False,
) -> None:
    """Count parameters, multiply-adds and activations of a model, stage by stage; of a peer in one sum."""
    spec = any_spec(model)
    parts = stage_costs(spec, size) if isinstance(spec, NetSpec) else []
    total = model_cost(spec, size)
    if json:
        print_json({"model": model, "size": size, **_cost_row(total), "stages": [_cost_row(part) for part in parts]})
        return
    print_table(
        [f"{model} at {size}", "params", "GMACs", "activations"],
        [[part.part, f"{part.params:,}", f"{part.gmacs:.3f}", f"{part.activations:,}"] for part in [*parts, total]],
        left=[f"{model} at {size}"],
    )


def _cost_row(cost: Cost) -> dict[str, Any]:
    return {"part": cost.part, "params": cost.params, "gmacs": cost.gmacs, "activations": cost.activations}


def roadmap(
    regime: Annotated[str, typer.Option(help=f"Where the walk starts: {', '.join(REGIMES)}.")] = "resnet50",
    size: Size = 224,
    json: Json = False,
) -> None:
    """Show the 17 rows of Figure 2 with our counts beside the paper's."""
    regime_named(regime)
    rows = [_roadmap_row(step, regime, size) for step in STEPS]
    if json:
        print_json(rows)
        return
    print_table(
        ["step", "kept", "GMACs", "paper", "params", "paper top-1", "what changes"],
        [
            [
                row["step"],
                "yes" if row["adopted"] else "tried",
                f"{row['gmacs']:.2f}",
                _paper_gmacs(row),
                millions(row["params"]),
                _paper_top1(row),
                changes_text(row["changes"]) or "the training",
            ]
            for row in rows
        ],
        left=["step", "kept", "what changes"],
    )
    for row in rows:
        if row["paper_gmacs_differs"]:
            note(
                f"* {row['step']}: the paper prints {row['paper_gmacs']:.2f}, counting gives {row['gmacs']:.2f}; "
                "one of the two known cells of Tables 10 and 11 that counting does not give."
            )


def _roadmap_row(step: Step, regime: str, size: int) -> dict[str, Any]:
    spec = spec_at(step.name, regime)
    counted = total_cost(spec, size)
    kept_before = [before for before in STEPS[: STEPS.index(step)] if before.adopted]
    before = spec_at(kept_before[-1].name, regime) if kept_before else regime_named(regime).start
    # The paper counts at 224 pixels; at any other size there is nothing to compare with.
    paper = step.published.get(regime)
    compared = paper if size == 224 else None
    return {
        "step": step.name,
        "title": step.title,
        "reason": step.reason,
        "adopted": step.adopted,
        "gmacs": counted.gmacs,
        "params": counted.params,
        "activations": counted.activations,
        "changes": diff(before, spec),
        "paper_gmacs": compared.gmacs if compared else None,
        "paper_gmacs_differs": bool(compared and compared.counted_gmacs is not None),
        "paper_top1": paper.top1 if paper else None,
        "paper_top1_std": paper.std if paper else None,
    }


def _paper_gmacs(row: dict[str, Any]) -> str:
    if row["paper_gmacs"] is None:
        return ""
    return f"{row['paper_gmacs']:.2f}" + ("*" if row["paper_gmacs_differs"] else "")


def _paper_top1(row: dict[str, Any]) -> str:
    if row["paper_top1"] is None:
        return ""
    std = row["paper_top1_std"]
    return f"{row['paper_top1']:.2f}" + ("" if std is None else f" ±{std:.2f}")
