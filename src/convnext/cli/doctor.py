"""The command that examines a training before it starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convnext.cli.console import millions, note, print_json, print_table
from convnext.cli.findings import print_findings
from convnext.cli.options import (
    DATA_HELP,
    Device,
    Epochs,
    Head,
    Json,
    Model,
    RecipeText,
    Settings,
    Side,
    Start,
    TaskText,
)
from convnext.duration import duration, pace

if TYPE_CHECKING:
    from convnext.doctor.diagnosis import Diagnosis
    from convnext.doctor.forecast import Forecast
    from convnext.doctor.numbers import Plan


def doctor(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    task: TaskText = None,
    model: Model = None,
    head: Head = None,
    recipe: RecipeText = None,
    weights: Start = None,
    epochs: Epochs = None,
    size: Side = None,
    set_: Settings = None,
    processes: Annotated[int, typer.Option(min=1, help="How many torchrun will start, on all machines.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where the run's files will lie. [default: runs]")] = None,
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Do a few steps to forecast time and memory.")] = True,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say before a training starts what would go wrong, how long it takes, how much memory. Exit code 1 for errors."""
    from convnext.cli.plan import make_plan
    from convnext.doctor.diagnosis import examine
    from convnext.doctor.facts import RUNS

    plan = make_plan(
        data,
        model=model,
        recipe=recipe,
        weights=weights,
        epochs=epochs,
        size=size,
        settings=set_ or [],
        seed=0,
        device=device,
        task=None if task is None else task.value,
        head=head,
    )
    diagnosis = examine(plan, processes=processes, timed=timed, folder=out or RUNS, say=note)
    if json:
        print_json(diagnosis.to_dict())
    else:
        _print(diagnosis, data)
    raise typer.Exit(0 if diagnosis.ok else 1)


def _print(diagnosis: "Diagnosis", data: str) -> None:
    plan, facts = diagnosis.plan, diagnosis.plan.facts
    print(
        f"{diagnosis.title} on {data}: {facts.num_classes:,} classes, {facts.num_train:,} pictures to train on, "
        f"{facts.num_val:,} held out\n"
    )
    print_table([f"recipe {plan.recipe.name}", ""], _plan_rows(plan), left=[f"recipe {plan.recipe.name}", ""])
    print()
    if diagnosis.forecast is not None:
        title = f"on this {facts.device}"
        print_table([title, ""], _forecast_rows(plan, diagnosis.forecast), left=[title, ""])
        print()
    print_findings(diagnosis.findings)
    more = "reads all." if not facts.looked_at_all else "also finds copies among them."
    if plan.headed is not None:
        more = f"--task {plan.recipe.task} also looks at every label."
    looked_at = f"all {facts.looked_at}" if facts.looked_at_all else f"{facts.looked_at}"
    note(f"Looked at {looked_at} pictures; convnext data check {more}")


def _plan_rows(plan: "Plan") -> list[list[str]]:
    from convnext.data.check.findings import plural

    numbers, schedule = plan.numbers, plan.recipe.schedule
    times = numbers.times_usual
    usual = ""
    if times is not None:
        usual = f", {f'{times:.1f} times' if times >= 1 else f'1/{1 / times:.1f} of'} what is usual at this batch"
    average = (
        "none"
        if numbers.ema_decay is None or numbers.ema_steps is None
        else f"{numbers.ema_decay:.6g}, over {numbers.ema_steps:,.0f} steps"
    )
    sides = ", ".join(map(str, numbers.stage_sides_px))
    maps = f"; maps of {sides}" if sides else ""
    return [
        [
            "batch",
            f"{numbers.batch_size:,} = {plural(numbers.processes, 'process', 'processes')} x "
            f"{plural(numbers.micro_batches, 'micro-batch', 'micro-batches')} x {numbers.micro_batch}",
        ],
        [
            "steps",
            f"{numbers.steps:,} = {plural(schedule.epochs, 'epoch')} x {numbers.steps_per_epoch:,}; "
            f"{numbers.warmup_steps:,} of warm-up",
        ],
        ["learning rate", f"up to {numbers.lr:g}{usual}"],
        ["average (EMA)", average],
        ["network", f"{millions(numbers.params)} parameters, {_cost(plan)}"],
        ["pictures", f"{numbers.size} pixels (their own: {plan.facts.median_side_px}){maps}"],
    ]


def _forecast_rows(plan: "Plan", forecast: "Forecast") -> list[list[str]]:
    free = "" if forecast.memory_bytes is None else f" of {forecast.memory_bytes / 1e9:.1f} GB free"
    several = f", {pace(forecast.images_per_second)} with {plan.numbers.processes} processes" * (
        plan.numbers.processes > 1
    )
    partly = f" (timed with {forecast.micro_batch} at once)" if forecast.micro_batch < plan.numbers.micro_batch else ""
    each = forecast.images_per_second / plan.numbers.processes
    reading, learning = forecast.reading_images_per_second, forecast.compute_images_per_second
    slower, faster = "  <- the bottleneck", ""
    marks = (slower, faster) if reading < learning else (faster, slower)
    return [
        ["reading", f"{pace(reading)} images/s with data.workers={plan.recipe.data.workers}{marks[0]}"],
        ["learning", f"{pace(learning)} images/s{partly}{marks[1]}"],
        ["together", f"{pace(each)} images/s{several}"],
        [
            "an epoch",
            f"{duration(forecast.epoch_seconds)}: training {duration(forecast.train_seconds)}, scoring "
            f"{duration(forecast.score_seconds)}, saving {duration(forecast.save_seconds)}",
        ],
        ["the run", f"about {duration(forecast.total_seconds)}"],
        ["memory", f"about {forecast.peak_memory_bytes / 1e9:.1f} GB{free}"],
        ["files", f"up to {forecast.run_bytes / 1e9:.2f} GB"],
    ]


def _cost(plan: "Plan") -> str:
    gmacs = plan.numbers.gmacs
    if gmacs is None:
        return "GMACs not counted"
    return f"{gmacs:.3g} GMACs " + ("a picture" if plan.headed is None else "at {}x{}".format(*plan.headed.size))
