"""The command that measures Table 1 of the paper on this machine."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import Device, Json
from convnext.errors import UserError, nearest

if TYPE_CHECKING:
    from convnext.bench.conduct import Group
    from convnext.bench.record import Record, Row
    from convnext.bench.rows import TableName
    from convnext.bench.settings import Layout, Program, Settings, Subject
    from convnext.cost import Cost

Models = Annotated[
    str | None, typer.Option(help="These instead of a table: names with commas; NAME@SIZE is another picture size.")
]
Batch = Annotated[
    str | None, typer.Option(help="Batches, with commas. [default: 1 on a CPU (training: 8), 64 elsewhere]")
]
LayoutName = Annotated[
    str | None, typer.Option(help="nchw, channels_last (usual for --table12), or auto: both, and which won.")
]
Out = Annotated[Path | None, typer.Option(help="A JSON record, from which the same command goes on.")]
Reference = Annotated[
    str | None, typer.Option(help="The model that ratios are against. [default: convnext_tiny, or the first]")
]


def bench(
    models: Models = None,
    table12: Annotated[
        bool, typer.Option("--table12", help="Table 12: ConvNeXt and Swin, TF32, channels-last.")
    ] = False,
    isotropic: Annotated[bool, typer.Option("--isotropic", help="Table 2: isotropic ConvNeXt and ViT.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Time a training step instead of inference.")] = False,
    batch: Batch = None,
    device: Device = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="fp32, tf32 (CUDA; usual for --table12 there) or bf16. [default: fp32]")
    ] = None,
    layout: LayoutName = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Through torch.compile.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads of torch. [default: torch's own choice]")] = None,
    seconds: Annotated[float, typer.Option(help="Timed seconds a row, in three rounds at the least.")] = 5.0,
    reference: Reference = None,
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count and estimate, and time nothing.")] = False,
    json: Json = False,
) -> None:
    """Measure Table 1 of the paper on this machine: images/s and memory of every system, the paper's numbers beside."""
    from convnext.bench.conduct import run_groups
    from convnext.bench.progress import reporter_for

    if sum([models is not None, table12, isotropic]) > 1:
        raise UserError("--models, --table12 and --isotropic each choose the rows; give one of them")
    table: TableName = "12" if table12 else "2" if isotropic else "1"
    plan = _plan(
        models,
        table,
        batch=batch,
        device=device,
        dtype=dtype,
        layout=layout,
        compiled=compile_,
        train=train,
        threads=threads,
        seconds=seconds,
        reference=reference,
        out=out,
    )
    if dry_run:
        _show_plan(plan, json)
        return
    # A place that cannot be written is a mistake before an hour of measuring.
    plan.record.put([])
    finished = run_groups(
        plan.groups,
        plan.settings,
        plan.costs,
        plan.record,
        reporter_for(sys.stderr, len(plan.programs), len(plan.programs) - plan.left),
        memory=plan.memory,
    )
    rows = plan.record.rows(plan.programs)
    _show(rows, plan, json, a100=table12)
    if not finished:
        again = f"go on with: {shlex.join(['convnext', *sys.argv[1:]])}"
        note(f"stopped; {again}" if out is not None else "stopped; with --out FILE the same command goes on")
        raise typer.Exit(130)
    if any(row.failed is not None for row in rows):
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything that was asked, counted and found."""

    settings: "Settings"
    programs: "Sequence[Program]"
    costs: "Mapping[Program, Cost]"
    groups: "Sequence[Group]"
    left: int
    record: "Record"
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    memory: int | None


def _plan(
    models: str | None,
    table: "TableName",
    *,
    batch: str | None,
    device: str,
    dtype: str | None,
    layout: str | None,
    compiled: bool,
    train: bool,
    threads: int | None,
    seconds: float,
    reference: str | None,
    out: Path | None,
) -> _Plan:
    """Turn what was typed into programs, before anything is started; UserError for whatever is wrong with it."""
    from convnext.bench.conduct import groups, left_to_do, reference_of
    from convnext.bench.record import Record
    from convnext.bench.rows import counted, named_subject
    from convnext.bench.settings import Settings, program
    from convnext.summary import machine
    from convnext.train.device import choose_device

    chosen = choose_device(device)
    subjects = _subjects(models, table)
    against = _reference(subjects) if reference is None else named_subject(reference)
    settings = Settings(
        device=str(chosen),
        dtype=_dtype(dtype, table, chosen.type),
        layouts=_layouts(layout, table),
        compiled=compiled,
        train=train,
        threads=threads,
        seconds=seconds,
        reference=against.title,
    )
    batches = _batches(batch, 1 if chosen.type == "cpu" and not train else 8 if chosen.type == "cpu" else 64)
    programs = [
        program(subject, count, order, settings)
        for count in batches
        for subject in subjects
        for order in settings.layouts
    ]
    known = {subject: counted(subject) for subject in [*subjects, against]}
    partners = [reference_of(one, against, settings) for one in programs]
    costs = {one: known[one.subject] for one in [*programs, *partners]}
    facts, versions, memory = machine(chosen), _versions(), _memory(settings)
    record = Record(out, settings, machine=facts, versions=versions)
    left = list(left_to_do(programs, record))
    return _Plan(
        settings=settings,
        programs=programs,
        costs=costs,
        groups=groups(left, against, settings, costs, memory),
        left=len(left),
        record=record,
        machine=facts,
        versions=versions,
        memory=memory,
    )


def _subjects(models: str | None, table: "TableName") -> "list[Subject]":
    from convnext.bench.rows import named_subjects, needs_timm, table_subjects, timm_is_there

    if models is not None:
        return named_subjects([name.strip() for name in models.split(",") if name.strip()])
    subjects = table_subjects(table)
    if timm_is_there():
        return subjects
    ours = [subject for subject in subjects if not needs_timm(subject)]
    note(
        f"{len(subjects) - len(ours)} of {len(subjects)} rows are left out, because their systems come from timm; "
        "install it with: pip install 'convnext[peers]'"
    )
    return ours


def _reference(subjects: "Sequence[Subject]") -> "Subject":
    usual = [subject for subject in subjects if (subject.model, subject.size) == ("convnext_tiny", 224)]
    return (usual or list(subjects))[0]


def _dtype(name: str | None, table: "TableName", device: str) -> Any:
    from convnext.bench.settings import DTYPES

    if name is None:
        return "tf32" if table == "12" and device == "cuda" else "fp32"
    if name not in DTYPES:
        raise UserError(f"there is no dtype {name}{nearest(name, DTYPES)}")
    return name


def _layouts(name: str | None, table: "TableName") -> "tuple[Layout, ...]":
    from convnext.bench.settings import LAYOUTS

    if name is None:
        return ("channels_last",) if table == "12" else ("nchw",)
    if name == "auto":
        return LAYOUTS
    for layout in LAYOUTS:
        if layout == name:
            return (layout,)
    raise UserError(f"there is no layout {name}{nearest(name, [*LAYOUTS, 'auto'])}")


def _batches(text: str | None, usual: int) -> list[int]:
    if text is None:
        return [usual]
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--batch must be whole numbers from 1 with commas, such as 1,8,32, got {text}")
    return list(dict.fromkeys(map(int, parts)))


def _versions() -> dict[str, str]:
    from importlib import metadata

    from convnext.bench.rows import timm_is_there
    from convnext.summary import versions

    return versions() | ({"timm": metadata.version("timm")} if timm_is_there() else {})


def _memory(settings: "Settings") -> int | None:
    """Return the bytes that programs may take: what is free of the machine's memory, or all of the GPU's."""
    import torch

    from convnext.machine import memory_bytes

    if settings.device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(torch.device(settings.device)).total_memory)
    return memory_bytes()


def _show(rows: "Sequence[Row]", plan: _Plan, json: bool, *, a100: bool) -> None:
    from convnext.bench.table import LEFT, cells, columns, json_rows, notes, setting_line, winners

    if json:
        print_json(json_rows(rows))
    elif rows:
        several = len({row.program.batch for row in rows}) > 1
        shown = [cells(row, rows, plan.settings, a100=a100, several_batches=several) for row in winners(rows)]
        print_table(columns(plan.settings, a100=a100, several_batches=several), shown, left=LEFT)
    if rows:
        for text in notes(rows, plan.settings, a100=a100):
            note(text)
        threads = next((row.threads for row in rows if row.threads is not None), plan.machine["threads"])
        batches = sorted({row.program.batch for row in rows})
        note(setting_line(plan.settings, batches, plan.machine, plan.versions, threads))


def _show_plan(plan: _Plan, json: bool) -> None:
    from convnext.bench.forecast import Forecast
    from convnext.bench.rows import disagreements, printed
    from convnext.bench.table import gmacs_text, params_text
    from convnext.duration import duration

    forecast = Forecast(plan.costs, plan.settings)
    seconds = sum(forecast.seconds(one) for group in plan.groups for one in group.everyone)
    rows = [
        {
            "model": one.model,
            "input_size": one.size,
            "batch": one.batch,
            "layout": one.layout,
            "params": plan.costs[one].params,
            "gmacs": plan.costs[one].gmacs,
            **printed(one.subject).to_dict(),
            "done": plan.record.is_done(one),
        }
        for one in plan.programs
    ]
    if json:
        print_json({"rows": rows, "seconds": seconds})
        return
    print_table(
        ["model", "size", "batch", "layout", "params, M (paper)", "GMACs (paper)", ""],
        [
            [
                one.model,
                str(one.size),
                str(one.batch),
                one.layout,
                params_text(plan.costs[one], printed(one.subject)),
                gmacs_text(plan.costs[one], printed(one.subject)),
                "done" if plan.record.is_done(one) else "",
            ]
            for one in plan.programs
        ],
        left=["model", "layout", ""],
    )
    for subject in dict.fromkeys(one.subject for one in plan.programs):
        for text in disagreements(subject, plan.costs[next(p for p in plan.programs if p.subject == subject)]):
            note(f"* {text}")
    note(f"{plan.left} of {len(plan.programs)} rows to do, about {duration(seconds)}; nothing was timed")
