"""Which networks a table of the paper has, what it prints of them, and where counting gives another number."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from convnext.bench.settings import Subject
from convnext.cost import Cost
from convnext.errors import UserError
from convnext.models import MODELS, any_spec, model_cost
from convnext.peer_spec import PEERS, PeerSpec
from convnext.reference import (
    GMACS_TOLERANCE,
    ISOTROPIC,
    PAPER_ROWS,
    PARAMS_TOLERANCE_MILLIONS,
    TWENTY_TWO_K,
    PaperRow,
)
from convnext.roadmap import STEPS

TableName = Literal["1", "2", "12"]
# Where the roadmap starts: Table 1 has no row of them, Table 10 and 11 have.
RESNETS = ("resnet50", "resnet200")
USUAL_SIZE = 224


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What the paper prints of a network at one size, in the units of a bench; None where it prints nothing.

    params                      as a whole number, of millions as printed
    gmacs                       of the part trained on ImageNet-1K where both parts have the row
    top1, top1_22k              in percent: trained on ImageNet-1K alone, and pre-trained on 22K; of the ResNets that
                                of the original recipe (Tables 10 and 11)
    images_per_second           on a V100 in fp32 (Tables 1 and 2)
    a100_images_per_second      on an A100 in TF32 with channels-last (Table 12)
    training_memory_bytes       on a V100 at batch 32 (Table 2)
    """

    params: int | None = None
    gmacs: float | None = None
    top1: float | None = None
    top1_22k: float | None = None
    images_per_second: float | None = None
    a100_images_per_second: float | None = None
    training_memory_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain JSON, each name behind `paper_`."""
        return {f"paper_{name}": value for name, value in asdict(self).items()}


def paper_rows(subject: Subject) -> list[PaperRow]:
    """Return every row that the paper's tables print for a network at this size, in their order."""
    return [row for row in PAPER_ROWS if (row.model, row.size) == (subject.model, subject.size)]


def printed(subject: Subject) -> Printed:
    """Return what the paper prints of a network at this size, all None for one that it does not have."""
    rows = paper_rows(subject)
    if subject.model in RESNETS and subject.size == USUAL_SIZE:
        start = STEPS[0].published[subject.model]
        return Printed(gmacs=start.gmacs, top1=start.top1)
    if not rows:
        return Printed()
    memory = _first(row.training_memory_gb for row in rows)
    return Printed(
        params=round(1e6 * rows[0].params_millions),
        gmacs=rows[0].gmacs,
        top1=_first(row.top1 for row in rows if row.table != TWENTY_TWO_K),
        top1_22k=_first(row.top1 for row in rows if row.table == TWENTY_TWO_K),
        images_per_second=_first(row.images_per_second for row in rows),
        a100_images_per_second=_first(row.a100_images_per_second for row in rows),
        training_memory_bytes=None if memory is None else round(1e9 * memory),
    )


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def table_subjects(table: TableName) -> list[Subject]:
    """Return the networks of a table in its order, each once: 1 (with the two ResNets), 2 (isotropic) or 12 (A100)."""
    found = [Subject(model=row.model, size=row.size) for row in PAPER_ROWS if _is_in(row, table)]
    if table == "1":
        found += [Subject(model=model, size=USUAL_SIZE) for model in RESNETS]
    return list(dict.fromkeys(found))


def _is_in(row: PaperRow, table: TableName) -> bool:
    if table == "12":
        return row.a100_images_per_second is not None
    return (row.table == ISOTROPIC) == (table == "2")


def named_subjects(names: Sequence[str]) -> list[Subject]:
    """Return the networks of names NAME or NAME@SIZE; a name alone stands for the size that it was published for.

    UserError for a name that is not known, with near ones, a size that is no number, or one network named twice.
    """
    subjects = [named_subject(name) for name in names]
    if not subjects:
        raise UserError("no model is named; give names with commas, such as convnext_tiny,swin_tiny,convnext_base@384")
    for subject in subjects:
        if subjects.count(subject) > 1:
            raise UserError(f"{subject.title} is named twice; name it once")
    return subjects


def named_subject(name: str) -> Subject:
    """Return the network of NAME or NAME@SIZE; UserError as `named_subjects` has it."""
    model, at, size = name.partition("@")
    spec = any_spec(model)
    if not at:
        return Subject(model=model, size=_usual_size(model, spec))
    if not (size.isascii() and size.isdecimal() and int(size) > 0):
        raise UserError(f"a model at another size is NAME@PIXELS, such as convnext_base@384, got {name}")
    return Subject(model=model, size=int(size))


def _usual_size(model: str, spec: object) -> int:
    if model in MODELS:
        return MODELS[model].input_size
    if model in PEERS:
        return PEERS[model].input_size
    if isinstance(spec, PeerSpec) and spec.library == "timm":
        from convnext.peers import require_timm

        known = require_timm().get_pretrained_cfg(spec.name)
        return USUAL_SIZE if known is None else int(known.input_size[-1])
    return USUAL_SIZE


def needs_timm(subject: Subject) -> bool:
    """Whether a network is one of timm's."""
    spec = any_spec(subject.model)
    return isinstance(spec, PeerSpec) and spec.library == "timm"


def timm_is_there() -> bool:
    """Whether timm can be imported."""
    from convnext.peers import require_timm

    try:
        require_timm()
    except UserError:
        return False
    return True


def counted(subject: Subject) -> Cost:
    """Return what counting gives; UserError where the network cannot take such pictures, or its library is missing."""
    return model_cost(any_spec(subject.model), subject.size)


def disagreements(subject: Subject, cost: Cost) -> list[str]:
    """Return a sentence for each printed number that counting does not give to its last digit, with the reason."""
    found = []
    for row in paper_rows(subject):
        gmacs_off = abs(row.gmacs - cost.gmacs) > GMACS_TOLERANCE
        params = cost.params / 1e6
        params_off = abs(row.params_millions - params) > PARAMS_TOLERANCE_MILLIONS
        said = [
            *([f"{row.gmacs:.1f} GMACs printed, {cost.gmacs:.2f} counted"] if gmacs_off else []),
            *([f"{row.params_millions:g}M parameters printed, {params:.2f}M counted"] if params_off else []),
        ]
        if said:
            reason = row.reason or "the reason is not known"
            found.append(f"{subject.title} (Table {row.table}): {'; '.join(said)}: {reason}")
    # Both parts of Table 1 may print the same.
    texts = {text.partition("): ")[2]: text for text in reversed(found)}
    return [text for text in found if text in texts.values()]
