"""What a bench shows: a row a model and batch with the paper's numbers beside, and notes below."""

from collections.abc import Mapping, Sequence
from typing import Any

from convnext.bench.numbers import ratio_text, speed_text
from convnext.bench.record import Row
from convnext.bench.rows import Printed, counted, disagreements, printed
from convnext.bench.settings import Settings, Subject
from convnext.cost import Cost
from convnext.reference import GMACS_TOLERANCE, PARAMS_TOLERANCE_MILLIONS

LAYOUT_NAMES = {"nchw": "NCHW", "channels_last": "NHWC"}
LEFT = ("model", "layout")


def winners(rows: Sequence[Row]) -> list[Row]:
    """Return for each network and batch the row of the fastest layout, in order; a failed one where all failed."""
    best: dict[tuple[Subject, int], Row] = {}
    for row in rows:
        key = (row.program.subject, row.program.batch)
        if key not in best or _seconds(row) < _seconds(best[key]):
            best[key] = row
    return list(best.values())


def _seconds(row: Row) -> float:
    speed = row.to_dict()["images_per_second"]
    return float("inf") if speed is None else 1 / speed


def json_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain JSON values; `fastest_layout` says which of several layouts won."""
    best = winners(rows)
    return [{**row.to_dict(), "fastest_layout": row.failed is None and row in best} for row in rows]


def columns(settings: Settings, *, a100: bool, several_batches: bool = True) -> list[str]:
    """Return the heads of the table; `a100` is for Table 12, whose numbers are an A100's."""
    return [
        "model",
        "size",
        *(["batch"] if several_batches else []),
        *(["layout"] if len(settings.layouts) > 1 else []),
        "params, M",
        "GMACs",
        "images/s",
        "ratio",
        "memory",
        *_paper_columns(settings, a100=a100),
    ]


def _paper_columns(settings: Settings, *, a100: bool) -> list[str]:
    if settings.train:
        return ["V100 memory"]
    return ["A100" if a100 else "V100", "top-1 (22K)"]


def cells(row: Row, rows: Sequence[Row], settings: Settings, *, a100: bool, several_batches: bool = True) -> list[str]:
    """Return a row of the table; `rows` holds the other layouts of the same network."""
    values = row.to_dict()
    subject = row.program.subject
    cost = Cost(part="total", params=row.params, macs=row.macs, activations=0)
    paper = printed(subject)
    return [
        subject.model,
        str(subject.size),
        *([str(row.program.batch)] if several_batches else []),
        *([_layout(row, rows)] if len(settings.layouts) > 1 else []),
        params_text(cost, paper),
        gmacs_text(cost, paper),
        _speed(values),
        "" if values["ratio"] is None else ratio_text(values["ratio"]),
        memory_text(values["peak_memory_bytes"]),
        *_paper_cells(values, settings, a100=a100),
    ]


def params_text(cost: Cost, paper: Printed) -> str:
    """Return counted parameters in millions and the paper's in brackets, with a star where they are not the same."""
    params = cost.params / 1e6
    if paper.params is None:
        return f"{params:.1f}"
    off = abs(paper.params / 1e6 - params) > PARAMS_TOLERANCE_MILLIONS
    return f"{params:.1f} ({paper.params / 1e6:.0f}){'*' * off}"


def gmacs_text(cost: Cost, paper: Printed) -> str:
    """Return counted GMACs and the paper's in brackets, with a star where they are not the same."""
    shown = f"{cost.gmacs:.2f}" if cost.gmacs < 100 else f"{cost.gmacs:.1f}"
    if paper.gmacs is None:
        return shown
    off = abs(paper.gmacs - cost.gmacs) > GMACS_TOLERANCE
    return f"{shown} ({paper.gmacs:.1f}){'*' * off}"


def _layout(row: Row, rows: Sequence[Row]) -> str:
    others = [
        other
        for other in rows
        if (other.program.subject, other.program.batch) == (row.program.subject, row.program.batch) and other is not row
    ]
    name = LAYOUT_NAMES[row.program.layout]
    if row.failed is not None or not others or any(other.failed is not None for other in others):
        return name
    gain = min(_seconds(other) for other in others) / _seconds(row) - 1
    return f"{name} +{100 * gain:.0f}%"


def _speed(values: Mapping[str, Any]) -> str:
    if values["images_per_second"] is None:
        return "failed"
    low, high = values["images_per_second_quartiles"]
    half = (high - low) / 2 / values["images_per_second"]
    return f"{speed_text(values['images_per_second'])} ±{100 * half:.0f}%"


def _paper_cells(values: Mapping[str, Any], settings: Settings, *, a100: bool) -> list[str]:
    if settings.train:
        return [memory_text(values["paper_training_memory_bytes"])]
    speed = values["paper_a100_images_per_second" if a100 else "paper_images_per_second"]
    top1, top1_22k = values["paper_top1"], values["paper_top1_22k"]
    shown = "" if top1 is None else f"{top1:.1f}"
    if top1_22k is not None:
        shown += f" ({top1_22k:.1f})"
    return ["" if speed is None else f"{speed:.1f}", shown.strip()]


def memory_text(count: int | None) -> str:
    """Return bytes in units of 1000, as the paper's gigabytes."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def notes(rows: Sequence[Row], settings: Settings, *, a100: bool) -> list[str]:
    """Return what is to be said below the table: failures, printed numbers that counting does not give, the terms."""
    said = [f"failed: {row.program.title}: {row.failed}" for row in rows if row.failed is not None]
    alone = dict.fromkeys(
        (row.program.batch, row.reference) for row in rows if row.failed is None and not row.reference_round_seconds
    )
    said += [f"no ratio at batch {batch}: {name} failed there; bench it alone to see why" for batch, name in alone]
    subjects = list(dict.fromkeys(row.program.subject for row in rows))
    said += [f"* {text}" for subject in subjects for text in disagreements(subject, counted(subject))]
    reference = rows[0].reference if rows else settings.reference
    if any(printed(subject).params is not None for subject in subjects):
        said.append("params, GMACs: counted (the paper's in brackets)")
    said.append(
        f"images/s: the median of the rounds ± half of what lies between the quartiles; ratio: times as fast as "
        f"{reference} at the same batch, in the same rounds; memory: the most that weights and a call take"
    )
    if len(settings.layouts) > 1:
        said.append("layout: the faster of NCHW and NHWC (channels_last), and by how much")
    if not settings.train and any(printed(subject).top1 or printed(subject).top1_22k for subject in subjects):
        setting = "an A100 in TF32 with channels-last (Table 12)" if a100 else "a V100 in fp32 (Tables 1 and 2)"
        said.append(f"the paper's: images/s on {setting}; top-1 from ImageNet-1K alone (pre-trained on 22K)")
    if settings.train and any(printed(subject).training_memory_bytes for subject in subjects):
        said.append("the paper's: memory of training on a V100 at batch 32 (Table 2)")
    return said


def setting_line(
    settings: Settings,
    batches: Sequence[int],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    threads: int,
) -> str:
    """Return in one line where and how it was measured."""
    place = machine["accelerator"] or machine["processor"]
    what = "a training step" if settings.train else "inference"
    compiled = "compiled" if settings.compiled else "eager"
    layouts = " and ".join(settings.layouts)
    named = f", timm {versions['timm']}" if "timm" in versions else ""
    threads_text = f", {threads} thread{'s' * (threads != 1)}" if machine["accelerator"] is None else ""
    sizes = f"batch {' and '.join(map(str, batches))}"
    how = f"{what}, {sizes}, {settings.dtype}, {layouts}, {compiled}"
    return f"{how}; {place}{threads_text}, torch {versions['torch']}{named}"
