"""Sweep: every row of a roadmap experiment with its seeds and recipes, as one value that its folder keeps.

SWEEP/sweep.json holds the value; SWEEP/<row>/seed-<n>/ is a run directory like any other; SWEEP/failures/ says why a
run failed. There is nothing else, so a sweep that several machines divided is merged by copying the folders together.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import convnext
from convnext.cost import Cost, total_cost
from convnext.errors import UserError
from convnext.files import read_json, write_json
from convnext.lab.rows import Kind, Row
from convnext.machine import commit
from convnext.plan import RunPlan
from convnext.recipe import Recipe, diff
from convnext.roadmap import Regime
from convnext.train.lock import FolderInUseError, run_lock

SWEEP, FAILURES = "sweep.json", "failures"
FORMAT = 1
PATIENCE_SECONDS = 30.0
# What may differ between the runs of a sweep: how they are carried out, not what they learn.
FREE_LEAVES = ("data.workers", "engine.compile", "engine.save_minutes", "engine.log_every")


@dataclass(frozen=True, kw_only=True)
class Made:
    """When and with what a sweep was begun: a date, the package's version and commit (None outside a checkout)."""

    date: str
    version: str
    commit: str | None
    command: str

    @classmethod
    def now(cls, command: str) -> "Made":
        """Return what is to be noted of a sweep that begins now."""
        return cls(date=time.strftime("%Y-%m-%d"), version=convnext.__version__, commit=commit(), command=command)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep shall do.

    rows             all networks of the experiment, in its order
    seeds            of each row by name; a row may have fewer than the others, or none
    modern, classic  the recipes of the rows
    data, root, split_seed   as of a RunPlan
    fingerprint      of the data as it was split; None where a sweep of an older version kept none
    made, extended_by   the start that began it, and those that added seeds or rows

    UserError for a seed that is named twice, no seed at all, or pictures too small for a network.
    """

    kind: Kind
    regime: Regime
    rows: tuple[Row, ...]
    seeds: Mapping[str, tuple[int, ...]]
    modern: Recipe
    classic: Recipe
    data: str
    root: str | None = None
    split_seed: int = 0
    fingerprint: str | None = None
    made: Made
    extended_by: tuple[Made, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(f"a sweep is of kind {', '.join(get_args(Kind))}, got {self.kind!r}")
        for row in self.rows:
            seeds = self.seeds[row.name]
            if len(set(seeds)) != len(seeds) or any(seed < 0 for seed in seeds):
                raise UserError(f"the seeds of {row.name} must be different numbers from 0, got {seeds}")
        if not any(self.seeds.values()):
            raise UserError("a sweep trains at least one row with one seed, got none")
        for row in self.rows:
            # Pictures too small for a network are a mistake before anything is written.
            self.cost(row)

    def runs(self) -> list[tuple[Row, int]]:
        """Return every run, the first seed of all rows before the second of any, so that a part is a whole."""
        return [run for turn in self._turns() for run in turn]

    def _turns(self) -> list[list[tuple[Row, int]]]:
        """Return the first seed of every row, then the second of those that have one, and so on."""
        most = max(len(seeds) for seeds in self.seeds.values())
        seeds = [(row, self.seeds[row.name]) for row in self.rows]
        return [[(row, own[number]) for row, own in seeds if number < len(own)] for number in range(most)]

    def share(self, number: int, count: int) -> list[tuple[Row, int]]:
        """Return the runs of share `number` (from 1) of `count`; UserError for a share that is not there.

        Runs are dealt by what they cost: of the first seeds the dearest row first, each to the share with the least
        work so far, then of the second seeds; so another seed moves no run that was dealt before.
        """
        if not 1 <= number <= count:
            raise UserError(f"a shard is written i/n with i from 1 to n, got {number}/{count}")
        # All runs see the same pictures equally often.
        work = {row.name: self.cost(row).macs for row in self.rows}
        loads, mine = [0] * count, []
        for turn in self._turns():
            taken = set()
            for name in sorted((row.name for row, _ in turn), key=work.__getitem__, reverse=True):
                least = loads.index(min(loads))
                loads[least] += work[name]
                if least == number - 1:
                    taken.add(name)
            mine += [(row, seed) for row, seed in turn if row.name in taken]
        return mine

    def cost(self, row: Row, classes: int | None = None) -> Cost:
        """Return what the network of a row costs as it is trained, with a head for that many classes or the row's."""
        recipe = self.recipe(row)
        scale = row.spec.layer_scale if recipe.regularise.layer_scale is None else recipe.regularise.layer_scale
        spec = replace(row.spec, num_classes=classes or row.spec.num_classes, layer_scale=scale)
        return total_cost(spec, recipe.data.size)

    def recipe(self, row: Row) -> Recipe:
        """Return the recipe that a row is trained by."""
        return self.classic if row.recipe == "classic" else self.modern

    def plan(self, row: Row, seed: int, device: str = "auto") -> RunPlan:
        """Return the plan of one run."""
        return RunPlan(
            data=self.data,
            model=row.spec,
            recipe=self.recipe(row),
            seed=seed,
            split_seed=self.split_seed,
            root=None if self.root is None else Path(self.root),
            device=device,
            name=f"{self.regime.name}:{row.name}",
        )

    def extended(self, other: "Sweep") -> "Sweep":
        """Return this sweep with the seeds of another one that asks for the same otherwise.

        How runs are carried out (FREE_LEAVES) and where the same pictures lie is taken from the other one. UserError
        that names the first thing in which they differ.
        """
        for name in ("kind", "split_seed"):
            mine, asked = getattr(self, name), getattr(other, name)
            if mine != asked:
                raise UserError(_other(name, mine, asked))
        self._require_same_pictures(other)
        for name in ("modern", "classic"):
            for leaf, (before, now) in diff(getattr(self, name), getattr(other, name)).items():
                if leaf not in FREE_LEAVES:
                    raise UserError(_other(f"{leaf} of the {name} recipe", before, now))
        if self.regime.name != other.regime.name:
            raise UserError(_other("regime", self.regime.name, other.regime.name))
        for one, two in zip_longest(self.rows, other.rows):
            if one is None or two is None or (one.name, one.recipe) != (two.name, two.recipe):
                raise UserError(_other("row", one and one.name, two and two.name))
            if one.spec != two.spec:
                raise UserError(_other(f"network of {one.name}", one.spec, two.spec))
        seeds = {name: tuple(dict.fromkeys((*self.seeds[name], *other.seeds[name]))) for name in self.seeds}
        extended = replace(
            other, seeds=seeds, rows=self.rows, regime=self.regime, made=self.made, extended_by=self.extended_by
        )
        if seeds != self.seeds:
            extended = replace(extended, extended_by=(*self.extended_by, other.made))
        return extended

    def _require_same_pictures(self, other: "Sweep") -> None:
        if self.fingerprint is None or other.fingerprint is None:
            if (self.data, self.root) != (other.data, other.root):
                raise UserError(_other("data", self.data, other.data))
        elif self.fingerprint != other.fingerprint:
            where = f"; it lay in {self.data}" if self.data != other.data else ""
            raise UserError(
                f"the pictures of {other.data} are not those that the sweep began with{where}; put them back, or take "
                "another folder with --out"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as plain JSON values."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "regime": self.regime.to_dict(),
            "rows": [{**row.to_dict(), "seeds": list(self.seeds[row.name])} for row in self.rows],
            "modern": self.modern.to_dict(),
            "classic": self.classic.to_dict(),
            "data": self.data,
            "root": self.root,
            "split_seed": self.split_seed,
            "fingerprint": self.fingerprint,
            "made": asdict(self.made),
            "extended_by": [asdict(made) for made in self.extended_by],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Sweep":
        """Rebuild what `to_dict` returned; UserError for a format that this version does not know."""
        if values.get("format") != FORMAT:
            raise UserError(f"{SWEEP} has format {values.get('format')}, this version reads {FORMAT}; update convnext")
        rows = [dict(row) for row in values["rows"]]
        seeds = {row["name"]: tuple(row.pop("seeds")) for row in rows}
        plain = {name: values[name] for name in ("kind", "data", "root", "split_seed")}
        return cls(
            **plain,
            regime=Regime.from_dict(values["regime"]),
            rows=tuple(Row.from_dict(row) for row in rows),
            seeds=seeds,
            modern=Recipe.from_dict(values["modern"]),
            classic=Recipe.from_dict(values["classic"]),
            fingerprint=values.get("fingerprint"),
            made=Made(**values["made"]),
            extended_by=tuple(Made(**made) for made in values.get("extended_by", ())),
        )


def run_folder(sweep: Path, row: Row, seed: int) -> Path:
    """Return the run directory of a row and seed."""
    return sweep / row.name / f"seed-{seed}"


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep."""
    return (folder / SWEEP).is_file()


def read_sweep(folder: Path) -> Sweep:
    """Return the sweep of a folder; UserError where there is none or it cannot be read."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; a sweep is a folder that convnext roadmap train made")
    if not is_sweep(folder):
        raise UserError(f"{folder} holds no {SWEEP}; convnext roadmap train DATA --out {folder} begins a sweep there")
    try:
        return Sweep.from_dict(read_json(folder / SWEEP))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / SWEEP} cannot be read ({error}); put it back from a copy") from None


def write_sweep(folder: Path, sweep: Sweep) -> Sweep:
    """Put a sweep into its folder; one that is there already is extended. Return what is there now.

    One process at a time, so that shards which begin in the same second lose nothing of each other.
    """
    with _alone(folder):
        there = read_sweep(folder) if is_sweep(folder) else None
        now = sweep if there is None else there.extended(sweep)
        if now != there:
            write_json(folder / SWEEP, now.to_dict())
        return now


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other processes that write the sweep of a folder; each needs milliseconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(run_lock(folder, lambda text: None))
                break
            except FolderInUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def _other(what: str, mine: object, asked: object) -> str:
    return (
        f"the sweep in this folder has another {what}: {mine}, not {asked}; take another folder with --out, or ask "
        "for the same"
    )
