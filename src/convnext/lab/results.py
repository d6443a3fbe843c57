"""What a sweep's folder holds: of each row its finished runs and its cost, and what is not finished.

Read from sweep.json, and of each run from summary.json, log.jsonl and, where it is there, recipe.json; checkpoints are
not needed, so a sweep that was committed without them reads the same.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convnext.cost import total_cost
from convnext.errors import UserError
from convnext.files import read_json
from convnext.folder import RECIPE, SUMMARY
from convnext.lab.rows import Row
from convnext.lab.status import RunState, is_done, state_of
from convnext.lab.sweep import FAILURES, FREE_LEAVES, Sweep, read_sweep, run_folder
from convnext.recipe import Recipe, diff
from convnext.setting import shown
from convnext.train.journal import Journal
from convnext.train.loop import LOG

PAPERS_SIZE = 224
# In these a run's recipe may differ from the sweep's: how it is carried out, and a batch that the data can fill.
_OWN_LEAVES = (*FREE_LEAVES, "data.batch_size")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """How much data a run saw: classes, pictures to train on, pictures held out."""

    classes: int
    train: int
    held_out: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run was trained: the machine, what of it was used, and the versions of what a number depends on."""

    machine: Mapping[str, Any]
    device: str
    precision: str
    processes: int
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run.

    top1     of the last epoch, in percent; of the raw weights, or where the run kept an average, of the weights that
             it calls its best
    curve    epoch and top-1 of the same weights, of every epoch that is logged
    seconds  that the run took, held-out pictures included
    """

    row: str
    seed: int
    top1: float
    curve: tuple[tuple[int, float], ...]
    seconds: float
    images_per_second: float
    pictures: Pictures
    place: Place


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run failed and when; `finished` tells whether it was finished by a later start."""

    row: str
    seed: int
    error: str
    when: str
    finished: bool


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """One row of the experiment with its finished runs, in the order of their seeds.

    gmacs           for a picture of the sweep's own size, with the head that was trained
    gmacs_as_paper  for 224 pixels and the head of 1000 classes, as the paper counts
    params          with the head that was trained
    """

    row: Row
    gmacs: float
    gmacs_as_paper: float
    params: int
    runs: tuple[Run, ...]

    @property
    def top1s(self) -> list[float]:
        """The accuracies of the runs, in percent."""
        return [run.top1 for run in self.runs]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a sweep's folder tells.

    rows        all of the experiment, in its order; one that has no finished run has none here
    unfinished  the runs that were asked for and have no result yet
    """

    sweep: Sweep
    rows: tuple[RowResult, ...]
    unfinished: tuple[RunState, ...]
    failures: tuple[Failure, ...] = field(default=())

    @property
    def runs(self) -> list[Run]:
        """All finished runs, row by row."""
        return [run for row in self.rows for run in row.runs]

    @property
    def seconds(self) -> float:
        """The computing time of all finished runs together."""
        return sum(run.seconds for run in self.runs)

    def row(self, name: str | None) -> RowResult | None:
        """Return the row of that name; None for no name."""
        return next((row for row in self.rows if row.row.name == name), None)


def read_results(folder: Path) -> Results:
    """Return what the runs of a sweep's folder tell.

    Runs that are in the folder count even where this copy of sweep.json does not ask for their seed. UserError where
    there is no sweep, a file cannot be read, or a run in it is of another network, recipe or split than its row.
    """
    sweep = read_sweep(folder)
    found = {
        row.name: [_read_run(folder, sweep, row, seed) for seed in _seeds(folder, sweep, row)] for row in sweep.rows
    }
    runs = {name: tuple(run for run in those if isinstance(run, Run)) for name, those in found.items()}
    classes = next((run.pictures.classes for those in runs.values() for run in those), None)
    rows = []
    for row in sweep.rows:
        cost = sweep.cost(row, classes)
        as_paper = total_cost(row.spec, PAPERS_SIZE).gmacs
        rows.append(
            RowResult(row=row, gmacs=cost.gmacs, gmacs_as_paper=as_paper, params=cost.params, runs=runs[row.name])
        )
    unfinished = tuple(run for those in found.values() for run in those if isinstance(run, RunState))
    finished = {(run.row, run.seed) for those in runs.values() for run in those}
    return Results(sweep=sweep, rows=tuple(rows), unfinished=unfinished, failures=_failures(folder, finished))


def _seeds(folder: Path, sweep: Sweep, row: Row) -> list[int]:
    """Return the seeds that were asked for, and those that a copy of the folder brought along."""
    there = [path.name.removeprefix("seed-") for path in (folder / row.name).glob("seed-*")]
    numbers = sorted(int(name) for name in there if name.isdecimal())
    return list(dict.fromkeys((*sweep.seeds[row.name], *numbers)))


def _read_run(folder: Path, sweep: Sweep, row: Row, seed: int) -> Run | RunState:
    place = run_folder(folder, row, seed)
    if not is_done(place):
        return state_of(folder, sweep, row, seed)
    summary = read_json(place / SUMMARY)
    try:
        _require_same(place, sweep, row, seed, summary)
        last = summary["last"]
        weights = "raw" if last["ema"] is None else summary["best"]["weights"]
        rows = [line for line in Journal(place / LOG).rows() if line["kind"] == "epoch"]
        return Run(
            row=row.name,
            seed=seed,
            top1=last[weights]["top1"],
            curve=tuple((line["epoch"], line[weights]["top1"]) for line in rows),
            seconds=summary["seconds"],
            images_per_second=summary["images_per_second"],
            pictures=Pictures(
                classes=summary["classes"], train=summary["train_images"], held_out=summary["val_images"]
            ),
            place=Place(
                **{name: summary[name] for name in ("machine", "device", "precision", "processes", "versions")}
            ),
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the run in {place} cannot be read ({type(error).__name__}: {error}); put it back from a copy, or move it "
            "away"
        ) from None


def _require_same(place: Path, sweep: Sweep, row: Row, seed: int, summary: Mapping[str, Any]) -> None:
    """Refuse a run that is of another network, recipe or split than its place in the sweep says.

    Without its recipe.json a run is held to the name, the length and the picture size of the recipe alone.
    """
    recipe = sweep.recipe(row)
    asked = {
        "model": sweep.plan(row, seed).title,
        "recipe": recipe.name,
        "seed": seed,
        "split_seed": sweep.split_seed,
        "epochs": recipe.schedule.epochs,
        "size": recipe.data.size,
        "params": sweep.cost(row, summary["classes"]).params,
    }
    for name, value in asked.items():
        if summary[name] != value:
            raise _other_run(place / SUMMARY, name, summary[name], value)
    path = place / RECIPE
    if not path.exists():
        return
    values = read_json(path)
    try:
        trained_by = Recipe.from_dict(values)
    except UserError as error:
        raise UserError(f"{path} is no recipe of this version ({error}); put it back from a copy") from None
    for leaf, (found, value) in diff(trained_by, recipe).items():
        if leaf not in _OWN_LEAVES:
            raise _other_run(path, leaf, shown(found), shown(value))


def _other_run(path: Path, name: str, found: object, asked: object) -> UserError:
    return UserError(
        f"{path} is of another run than its place says: {name} is {found}, not {asked}; move its folder away"
    )


def _failures(folder: Path, finished: Set[tuple[str, int]]) -> tuple[Failure, ...]:
    failures = []
    for path in sorted((folder / FAILURES).glob("*.json")):
        noted = read_json(path)
        try:
            row, seed, why, when = (noted[name] for name in ("row", "seed", "error", "when"))
        except KeyError as error:
            raise UserError(f"{path} cannot be read (it lacks {error}); move it away") from None
        failures.append(Failure(row=row, seed=seed, error=why, when=when, finished=(row, seed) in finished))
    return tuple(failures)
