"""The regime of a sweep: one of the roadmap's, wider or deeper where asked, with options that no step touches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from convnext.errors import UserError
from convnext.models import with_model_settings
from convnext.roadmap import STEPS, Regime, regime_named


def chosen_regime(
    name: str,
    *,
    width: int | None = None,
    depths: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Regime:
    """Return a regime of the roadmap at another width or depth, its networks with other options.

    width, depths  at the start of the walk; see `Regime.scaled`
    settings       NetSpec fields such as stem_stride that hold for every row

    UserError for a field that a step of the roadmap sets, or a value that no network can have.
    """
    regime = regime_named(name)
    if width is not None or depths is not None:
        regime = regime.scaled(width=width, depths=depths)
    if not settings:
        return regime
    for field in settings:
        setters = [step.name for step in STEPS if field in step.changes_in(regime)]
        if setters or field in ("width", "depths"):
            instead = f"; --{field} sets where the walk starts" if field in ("width", "depths") else ""
            raise UserError(f"model.{field} cannot be set for a sweep, for its steps ({setters[0]}) do that{instead}")
    options = "-".join(f"{field}{value}" for field, value in settings.items())
    return replace(regime, name=f"{regime.name}-{options}", start=with_model_settings(regime.start, settings))
