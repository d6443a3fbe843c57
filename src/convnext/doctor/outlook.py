"""What a forecast warns of: too little memory, waiting for pictures, a very long run."""

from collections.abc import Iterator

from convnext.data.check.findings import Finding, plural
from convnext.doctor.forecast import Forecast
from convnext.doctor.numbers import Plan
from convnext.duration import pace

WAITING = 0.25
LONG_DAYS = 3.0
NEARLY_FULL = 0.9
LARGE_PICTURES = 2.0
SMALLER = "a smaller --size or --model, or a machine with more memory"


def outlook_findings(plan: Plan, forecast: Forecast) -> Iterator[Finding]:
    """Yield what is to say of how long a run takes and what it needs."""
    yield from _memory(plan, forecast)
    yield from _waiting(plan, forecast)
    if forecast.total_seconds > LONG_DAYS * 86400:
        yield Finding(
            level="note",
            key="long",
            title=f"about {forecast.total_seconds / 86400:,.0f} days on this machine",
            detail="a stopped run goes on where it was (convnext train --resume), so that need not be in one piece",
            advice="fewer --epochs, a smaller --model or --size, or more machines (docs/distributed.md)",
        )


def _memory(plan: Plan, forecast: Forecast) -> Iterator[Finding]:
    asked = plan.numbers.micro_batch
    where = "GPU" if plan.facts.device == "cuda" else "system"
    if plan.facts.device == "cuda" and forecast.micro_batch < asked:
        yield Finding(
            level="error",
            key="memory",
            title=f"{asked} pictures at once do not fit the GPU's memory",
            detail=f"{forecast.micro_batch} do; the rest of a batch is accumulated, and the result is the same to "
            "rounding (for BatchNorm and Mixup it is not)",
            advice=f"--set engine.micro_batch={forecast.micro_batch}",
        )
        return
    needed = forecast.peak_memory_bytes * (plan.facts.local_processes if plan.facts.device == "cpu" else 1)
    if forecast.memory_bytes is None or needed <= NEARLY_FULL * forecast.memory_bytes:
        return
    yield Finding(
        level="error" if needed > forecast.memory_bytes else "warning",
        key="memory",
        title=f"about {needed / 1e9:.1f} GB of memory needed, {forecast.memory_bytes / 1e9:.1f} GB are free",
        detail=f"the {where} would stop the run, or swap and be very slow",
        advice=f"--set engine.micro_batch={max(plan.least_micro_batch, asked // 2)}, or a smaller --size or --model"
        if asked > plan.least_micro_batch
        else SMALLER,
    )


def no_room_finding(plan: Plan) -> Finding:
    """Return what is to say where a GPU does not hold the smallest micro-batch."""
    return Finding(
        level="error",
        key="memory",
        title=f"not even {plural(plan.least_micro_batch, 'picture')} at once fit the GPU's memory",
        detail="training would stop at the first step",
        advice=SMALLER,
    )


def _waiting(plan: Plan, forecast: Forecast) -> Iterator[Finding]:
    facts, data = plan.facts, plan.recipe.data
    each = forecast.images_per_second / plan.numbers.processes
    if each > (1 - WAITING) * forecast.compute_images_per_second:
        return
    more = facts.cores // facts.local_processes
    if data.workers < more:
        advice = f"--set data.workers={more}"
    elif facts.median_side_px > LARGE_PICTURES * data.size and not data.reduced_decode and plan.headed is None:
        advice = "--set data.reduced_decode=true, or save the pictures smaller"
    else:
        advice = "save the pictures smaller, or take a machine with more cores"
    yield Finding(
        level="warning",
        key="reading",
        title=f"training waits for pictures {100 * (1 - each / forecast.compute_images_per_second):.0f}% of the time",
        detail=f"{pace(forecast.reading_images_per_second)} images/s are read with data.workers={data.workers}, and "
        f"the network could learn from {pace(forecast.compute_images_per_second)}",
        advice=advice,
    )
