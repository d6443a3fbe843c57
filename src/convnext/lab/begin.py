"""From what a user asks to a sweep: regime, rows, recipes, and the pictures looked at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convnext.data.sources import Source, lasting, open_source
from convnext.errors import UserError
from convnext.lab.recipes import sweep_recipes
from convnext.lab.regimes import chosen_regime
from convnext.lab.rows import Kind, picked, rows_of
from convnext.lab.sweep import Made, Sweep
from convnext.recipe import Data


def begin_sweep(
    data: str,
    *,
    regime: str = "quarter",
    width: int | None = None,
    depths: Sequence[int] | None = None,
    model_settings: Mapping[str, Any] | None = None,
    kind: Kind = "walk",
    order: Sequence[str] = (),
    steps: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    recipe: str | None = None,
    classic_recipe: str | None = None,
    epochs: int | None = None,
    size: int | None = None,
    settings: Sequence[str] = (),
    classic_settings: Sequence[str] = (),
    root: Path | None = None,
    command: str = "",
    note: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """Return the sweep of an experiment on a data set; nothing is written.

    data, root                   as of a RunPlan
    regime, width, depths, model_settings   see `chosen_regime`
    kind, order                  which experiment, and for "order" the decisions that come first
    steps                        only these rows; all for none
    recipe, classic_recipe, epochs, size, settings, classic_settings   see `sweep_recipes`
    command                      for the record: what was typed

    UserError for whatever is wrong with any of them.
    """
    start = chosen_regime(regime, width=width, depths=depths, settings=model_settings)
    rows = rows_of(kind, start, order)
    asked = {row.name for row in picked(rows, steps)}
    usual = Data().val_fraction
    source = open_source(data, val_fraction=usual, root=root, note=note)
    modern, classic = sweep_recipes(
        start,
        len(source.train),
        modern=recipe,
        classic=classic_recipe,
        epochs=epochs,
        size=size,
        settings=settings,
        classic_settings=classic_settings,
    )
    if modern.data.val_fraction != usual:
        source = open_source(data, val_fraction=modern.data.val_fraction, root=root, note=note)
    return Sweep(
        kind=kind,
        regime=start,
        rows=rows,
        seeds={row.name: tuple(seeds) if row.name in asked else () for row in rows},
        modern=modern,
        classic=classic,
        data=lasting(data),
        root=None if root is None else str(root.resolve()),
        fingerprint=source.fingerprint(),
        made=Made.now(command),
    )


def open_pictures(sweep: Sweep, note: Callable[[str], None]) -> Source:
    """Open the pictures of a sweep as its runs do; UserError where they are not those that it began with."""
    source = open_source(
        sweep.data,
        seed=sweep.split_seed,
        val_fraction=sweep.modern.data.val_fraction,
        root=None if sweep.root is None else Path(sweep.root),
        note=note,
    )
    if sweep.fingerprint is not None and source.fingerprint() != sweep.fingerprint:
        raise UserError(
            f"the pictures of {sweep.data} have changed since the sweep began; put them back, or begin another sweep "
            "with --out"
        )
    return source
