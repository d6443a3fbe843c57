"""Which network a name stands for on a page: a step in a regime, a registered model, or a row REGIME:STEP."""

from dataclasses import dataclass

from convnext.diagrams.parts import NetParts, parts_of
from convnext.errors import UserError, nearest
from convnext.models import MODELS, model_spec
from convnext.roadmap import STEPS, Regime, regime_named, spec_at, step_named


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One network of a page: the name that was asked for, its title, a line about it, and its parts."""

    name: str
    title: str
    about: str
    parts: NetParts


def drawn(name: str, *, regime: str | Regime = "resnet50", size: int = 224) -> Drawn:
    """Return the network of a step of the roadmap, of a registered model or of a row REGIME:STEP.

    regime  where a bare step's walk starts: one of the roadmap's by name, or another
    size    side of the square picture in pixels

    UserError offers the near names, and says when the picture is too small.
    """
    steps = [step.name for step in STEPS]
    if name not in steps and name not in MODELS and ":" not in name:
        raise UserError(f"there is no step or model {name}{nearest(name, [*steps, *MODELS])}")
    if name in MODELS:
        return Drawn(name=name, title=name, about="registered model", parts=parts_of(model_spec(name), size))
    own, _, bare = name.rpartition(":")
    where, step = regime_named(own or regime), step_named(bare)
    kept = "the start" if step is STEPS[0] else "kept" if step.adopted else "only tried"
    about = f"{where.name}:{step.name}, {kept}"
    return Drawn(name=name, title=step.title, about=about, parts=parts_of(spec_at(step.name, where), size))
