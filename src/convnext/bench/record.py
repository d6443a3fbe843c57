"""The record of a bench: a JSON file with everything that was measured, from which the same command goes on."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from convnext.bench.numbers import ratios, speeds
from convnext.bench.rows import printed
from convnext.bench.settings import Program, Settings
from convnext.errors import UserError
from convnext.files import read_json, write_json

FORMAT = 1
# What fields of a program are called in its row.
# How many threads there were is told too, and is not how many were asked for.
_PROGRAM = {"input_size": "size", "compile": "compiled", "threads_asked": "threads"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one program.

    params, macs             counted, macs for one picture
    reference                the title of the network that the ratio is against
    round_seconds            of one call, in each round; empty where it failed
    reference_round_seconds  of the reference in the same rounds; empty where it failed
    calls                    in each round
    peak_memory_bytes        between two calls and during them; on a CPU the resident set beyond what the process takes
                             without the network, on CUDA what torch had allocated; None where nothing tells it
    reserved_memory_bytes    what torch held back from the device, CUDA only
    compile_seconds          of the first call less a later one, where it was compiled
    check_error, check_tolerance   how far the outputs were off, see `convnext.bench.check`
    threads                  of torch
    measured, commit         the date, and the commit of the package (None outside a checkout)
    failed                   why there is no speed
    """

    program: Program
    params: int
    macs: int
    reference: str
    round_seconds: tuple[float, ...] = ()
    reference_round_seconds: tuple[float, ...] = ()
    calls: int | None = None
    peak_memory_bytes: int | None = None
    reserved_memory_bytes: int | None = None
    compile_seconds: float | None = None
    check_error: float | None = None
    check_tolerance: float | None = None
    threads: int | None = None
    measured: str
    commit: str | None = None
    failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values, with what follows from them and the paper's numbers beside."""
        named = {inner: name for name, inner in _PROGRAM.items()}
        asked = {named.get(name, name): value for name, value in self.program.to_dict().items()}
        measured = {name: getattr(self, name) for name in _MEASURED}
        return {
            **asked,
            "params": self.params,
            "gmacs": self.macs / 1e9,
            **self._speed(),
            **measured,
            "round_seconds": list(self.round_seconds),
            "reference_round_seconds": list(self.reference_round_seconds),
            **printed(self.program.subject).to_dict(),
        }

    def _speed(self) -> dict[str, Any]:
        batch = self.program.batch
        speed = speeds(self.round_seconds, batch) if self.round_seconds else None
        ratio = None
        if self.round_seconds and self.reference_round_seconds:
            ratio = ratios(self.round_seconds, self.reference_round_seconds, batch, batch)
        return {
            "images_per_second": None if speed is None else speed.median,
            "images_per_second_quartiles": None if speed is None else [speed.low, speed.high],
            "ratio": None if ratio is None else ratio.median,
            "ratio_quartiles": None if ratio is None else [ratio.low, ratio.high],
            "rounds": len(self.round_seconds),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Row":
        """Build a row from `to_dict` values; what follows from others, and the paper's numbers, are not read."""
        named = {inner: name for name, inner in _PROGRAM.items()}
        asked = {field.name: values[named.get(field.name, field.name)] for field in fields(Program)}
        return cls(
            program=Program.from_dict(asked),
            params=values["params"],
            macs=round(1e9 * values["gmacs"]),
            round_seconds=tuple(values["round_seconds"]),
            reference_round_seconds=tuple(values["reference_round_seconds"]),
            **{name: values[name] for name in _MEASURED},
        )


_MEASURED = (
    "reference",
    "calls",
    "peak_memory_bytes",
    "reserved_memory_bytes",
    "compile_seconds",
    "check_error",
    "check_tolerance",
    "threads",
    "measured",
    "commit",
    "failed",
)


class Record:
    """The rows that were measured, in a file where there is one.

    path      the file; None keeps them in memory alone
    settings  how every program is run
    machine, versions   what the numbers depend on besides

    What the file holds is read and kept, so that nothing is measured twice. UserError when it is of other settings, of
    another machine or of other versions, or no record.
    """

    def __init__(
        self, path: Path | None, settings: Settings, *, machine: Mapping[str, Any], versions: Mapping[str, str]
    ) -> None:
        self._path = path
        self._heading = {
            "format": FORMAT,
            "began": time.strftime("%Y-%m-%d"),
            "machine": dict(machine),
            "versions": dict(versions),
            "settings": settings.to_dict(),
        }
        self._rows: dict[Program, Row] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        values = read_json(path)
        try:
            for part in ("settings", "machine", "versions"):
                _require_same(path, part, values[part], self._heading[part])
            if values["format"] != FORMAT:
                raise UserError(f"{path} is of another version of this command; take another name for --out")
            rows = {row.program: row for row in map(Row.from_dict, values["rows"])}
            for row in rows.values():
                # Its rounds are reckoned with here, not when it is shown.
                row.to_dict()
            self._heading["began"] = values["began"]
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise UserError(
                f"{path} is no record of convnext bench ({type(error).__name__}: {error}); take another name for --out"
            ) from None
        self._rows = rows

    def is_done(self, program: Program) -> bool:
        """Whether a program has a row that did not fail."""
        row = self._rows.get(program)
        return row is not None and row.failed is None

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows, in the place of older ones of the same programs, and write the file, atomically."""
        self._rows |= {row.program: row for row in rows}
        if self._path is not None:
            write_json(self._path, {**self._heading, "rows": [row.to_dict() for row in self._rows.values()]})

    def rows(self, programs: Sequence[Program]) -> list[Row]:
        """Return the rows of these programs that there are, in this order."""
        return [self._rows[program] for program in programs if program in self._rows]


def _require_same(path: Path, part: str, before: Mapping[str, Any], now: Any) -> None:
    for name in now:
        if before.get(name) != now[name]:
            raise UserError(
                f"{path} was measured with other {part}: {name} was {before.get(name)}, and is {now[name]} now; take "
                "another name for --out"
            )
