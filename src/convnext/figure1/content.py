"""What stands on the figure: the halves of Table 1, networks of a record where it puts them, and measured runs."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from convnext.errors import UserError
from convnext.figure1.bubbles import Across, Bubble, Content, Panel, told_apart
from convnext.figure1.families import family_of, title_of
from convnext.figure1.records import Record, Timed, Trained
from convnext.lab.statistics import spread
from convnext.lab.wording import counted, data_title
from convnext.reference import ISOTROPIC, ONE_K, PAPER_ROWS, TWENTY_TWO_K, PaperRow, Table, paper_row

Half = Literal["1k", "22k"]
HALVES: dict[Half, tuple[str, Table]] = {
    "1k": ("Trained on ImageNet-1K", ONE_K),
    "22k": ("Pre-trained on ImageNet-22K", TWENTY_TWO_K),
}
# Networks that Table 2 prints were trained on ImageNet-1K too.
_TABLES: dict[Half, tuple[Table, ...]] = {"1k": (ONE_K, ISOTROPIC), "22k": (TWENTY_TWO_K,)}
_COST = "GMACs of one picture (10⁹ multiply-adds, the paper's FLOPs)"
_PAPERS_TOP1 = "ImageNet-1K top-1 of the paper, %"
_Thing = TypeVar("_Thing")


def content_of(
    records: Sequence[Record], runs: Sequence[Trained], *, across: Across = "gmacs", half: Half | None = None
) -> Content:
    """Return the panels of a figure.

    records  networks to draw at the paper's accuracies, with the records' cost and speed; without records and runs the
             figure is of all that Table 1 prints
    runs     finished runs, drawn at their measured accuracies on panels of their own, one for each data set
    across   what stands on the x axis
    half     of Table 1; None for both

    UserError where nothing is left to draw, for speeds that compare nothing, for runs against speed, and for a half
    where only runs were given.
    """
    if runs and across == "speed":
        raise UserError("the pictures a second of a run are those of its training; leave runs out, or take --x gmacs")
    if half is not None and runs and not records:
        raise UserError(f"--pretrained {half} chooses a half of Table 1, and only runs were given; leave it out")
    halves = HALVES if half is None else {half: HALVES[half]}
    panels: list[Panel] = []
    left_out: list[str] = []
    if not records and not runs:
        panels, left_out = _printed(halves, across)
    for number, group in enumerate(_groups(records, across), start=1):
        drawn, missing = _recorded(group, halves, across, number)
        panels += drawn
        left_out += missing
    panels += _measured(runs)
    if not panels:
        raise UserError(f"there is nothing to draw: {'; '.join(left_out)}")
    return Content(panels=tuple(panels), left_out=tuple(left_out))


def _printed(halves: Iterable[Half], across: Across) -> tuple[list[Panel], list[str]]:
    label = _COST
    if across == "speed":
        label = "images per second, as the paper printed them (V100, fp32)"
    panels, left_out = [], []
    for half in halves:
        bubbles = [_paper_bubble(row) for row in PAPER_ROWS if row.table == HALVES[half][1]]
        panels.append(_half(half, f"paper-{half}", bubbles, across, label))
        left_out += [f"{bubble.label}: Table 1 prints no speed" for bubble in bubbles if _is_lost(bubble, across)]
    return panels, left_out


def _groups(records: Sequence[Record], across: Across) -> list[list[Record]]:
    """Speeds of two records may be of two machines, so each has panels of its own; costs are the same everywhere."""
    if across == "speed":
        return [[record] for record in records]
    return [list(records)] if records else []


def _recorded(
    records: Sequence[Record], halves: Iterable[Half], across: Across, number: int
) -> tuple[list[Panel], list[str]]:
    names = ", ".join(record.path.name for record in records)
    label = _COST if across == "gmacs" else _speed_label(records[0])
    rows: dict[tuple[str, int], Timed] = {}
    for record in records:
        for timed in record.rows:
            rows.setdefault((timed.model, timed.size), timed)
    panels, placed = [], set()
    left_out = []
    for half in halves:
        found = [(timed, paper_row(timed.model, timed.size, _TABLES[half])) for timed in rows.values()]
        bubbles = [_recorded_bubble(timed, row) for timed, row in found if row is not None]
        placed |= {(bubble.model, bubble.size) for bubble in bubbles}
        lost = [bubble for bubble in bubbles if _is_lost(bubble, across)]
        left_out += [f"{bubble.label}: {names} tells no speed" for bubble in lost]
        if len(bubbles) > len(lost):
            panels.append(_half(half, f"record-{number}-{half}", bubbles, across, label))
    where = " or ".join(f"{HALVES[half][0][0].lower()}{HALVES[half][0][1:]}" for half in halves)
    left_out += [
        f"{_with_size(title_of(model), size)}: Tables 1 and 2 print no accuracy of it, {where}"
        for model, size in rows
        if (model, size) not in placed
    ]
    return panels, list(dict.fromkeys(left_out))


def _speed_label(record: Record) -> str:
    if len(record.ways) > 1:
        raise UserError(
            f"the rows of {record.path} were timed in several ways ({'; '.join(record.ways)}), which compare nothing; "
            "give records of one each"
        )
    return ", ".join(["images per second", *record.ways, record.path.name])


def _half(half: Half, name: str, bubbles: Sequence[Bubble], across: Across, x_label: str) -> Panel:
    return Panel(
        name=name,
        title=HALVES[half][0],
        across=across,
        x_label=x_label,
        y_label=_PAPERS_TOP1,
        measured=False,
        bubbles=tuple(bubble for bubble in bubbles if not _is_lost(bubble, across)),
    )


def _is_lost(bubble: Bubble, across: Across) -> bool:
    return across == "speed" and bubble.images_per_second is None


def _paper_bubble(row: PaperRow) -> Bubble:
    return Bubble(
        model=row.model,
        label=_with_size(title_of(row.model), row.size),
        family=family_of(row.model),
        size=row.size,
        params=round(row.params_millions * 1e6),
        gmacs=row.gmacs,
        top1=row.top1,
        images_per_second=row.images_per_second,
        source=f"paper, Table {row.table}",
    )


def _recorded_bubble(timed: Timed, row: PaperRow) -> Bubble:
    return replace(
        _paper_bubble(row), params=timed.params, gmacs=timed.gmacs, images_per_second=timed.images_per_second
    )


def _with_size(title: str, size: int) -> str:
    return f"{title} {size}"


def _measured(runs: Sequence[Trained]) -> list[Panel]:
    sets = _grouped(runs, lambda run: (data_title(run.data), run.classes, run.held_out))
    titles = told_apart(
        [data_title(some[0].data) for some in sets],
        [
            lambda at: counted(sets[at][0].classes, "class"),
            lambda at: counted(sets[at][0].held_out, "held-out picture"),
        ],
    )
    return [
        Panel(
            name=f"measured-{number}",
            title=f"Measured on {title}",
            across="gmacs",
            x_label=_COST,
            y_label=_measured_top1(some),
            measured=True,
            bubbles=tuple(_measured_bubbles(some, title)),
        )
        for number, (some, title) in enumerate(zip(sets, titles, strict=True), start=1)
    ]


def _measured_top1(runs: Sequence[Trained]) -> str:
    sizes = {run.size for run in runs}
    pixels = f" of {sizes.pop()} pixels" if len(sizes) == 1 else ""
    return f"top-1 on {counted(runs[0].held_out, 'held-out picture')}{pixels}, %"


def _measured_bubbles(runs: Sequence[Trained], data: str) -> list[Bubble]:
    groups = [part for group in _grouped(runs, _same_but_seed) for part in _with_own_seeds(group)]
    one_size = len({run.size for run in runs}) == 1
    labels = told_apart(
        # One size for all stands on the axis.
        [
            title_of(group[0].model) if one_size else _with_size(title_of(group[0].model), group[0].size)
            for group in groups
        ],
        [
            lambda at: groups[at][0].recipe,
            lambda at: counted(groups[at][0].epochs, "epoch"),
            lambda at: f"{groups[at][0].params / 1e6:.2f}M",
            lambda at: f"split {groups[at][0].split_seed}",
            *(lambda at, above=above: _folder(groups[at], above) for above in (2, 1, 0)),
        ],
    )
    bubbles = []
    for group, label in zip(groups, labels, strict=True):
        run, found = group[0], spread([one.top1 for one in group])
        bubbles.append(
            Bubble(
                model=run.model,
                label=label,
                family=family_of(run.model),
                size=run.size,
                params=run.params,
                gmacs=run.gmacs,
                top1=found.mean,
                std=found.std,
                seeds=found.count,
                source=f"measured, {data}, {run.recipe}, {counted(run.epochs, 'epoch')}",
            )
        )
    return bubbles


def _same_but_seed(run: Trained) -> Hashable:
    return (run.model, run.size, run.recipe, run.settings, run.epochs, run.params, run.gmacs, run.split_seed)


def _with_own_seeds(runs: Sequence[Trained]) -> list[list[Trained]]:
    """Divide runs in which a seed comes twice: by the folders that hold theirs, or else one by one.

    The same seed twice is another experiment, such as another learning rate, where no recipe is left to tell.
    """
    for together in (lambda run: None, lambda run: run.folder.resolve().parent):
        groups = _grouped(runs, together)
        if all(len({run.seed for run in group}) == len(group) for group in groups):
            return groups
    return [[run] for run in runs]


def _folder(runs: Sequence[Trained], above: int) -> str:
    """Return the name of the folder so many levels above runs; of several on the level itself the first."""
    parts = runs[0].folder.resolve().parts
    name = parts[max(0, len(parts) - 1 - above)]
    return name if above or len(runs) == 1 else f"{name} and {len(runs) - 1} more"


def _grouped(things: Sequence[_Thing], key: Callable[[_Thing], Hashable]) -> list[list[_Thing]]:
    groups: dict[Hashable, list[_Thing]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.values())
