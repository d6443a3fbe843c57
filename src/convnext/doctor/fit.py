"""Where network, pictures and machine do not go together: sizes, stem, crops, few pictures, cores, disk, precision.

Each rule is a pure function of the plan, as those of the training are.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from convnext.cost import total_cost
from convnext.data.check.balance import balance_findings
from convnext.data.check.findings import Finding, plural
from convnext.data.check.oddities import passed_over_findings, unreadable_finding
from convnext.doctor.numbers import Plan, stage_sides_px
from convnext.spec import NetSpec

FEW_FROM_SCRATCH, FEW_OF_A_CLASS = 1000, 100
LEAST_SIDE_PX, GOOD_SIDE_PX = 1, 2
ENLARGED = 1.5
TIGHT_CROP, LEAST_CROP_PX = 0.25, 16


Rule = Callable[[Plan], Iterator[Finding]]


def fit_findings(plan: Plan) -> Iterator[Finding]:
    """Yield what is to say of how network, pictures and machine go together."""
    yield from _unreadable(plan)
    if plan.headed is not None:
        yield from _wrong_labels(plan)
        rules: tuple[Rule, ...] = (_few_pictures_dense, _workers, _precision, _disk)
    else:
        yield from passed_over_findings(plan.facts.passed_over)
        yield from balance_findings(plan.facts.train_counts, plan.facts.val_counts)
        rules = (_few_pictures, _last_stage, _enlarged, _tight_crop, _workers, _precision, _disk, _fsdp)
    for rule in rules:
        yield from rule(plan)


def _unreadable(plan: Plan) -> Iterator[Finding]:
    if not plan.facts.unreadable:
        return
    found = unreadable_finding(plan.facts.unreadable, looked_at=plan.facts.looked_at)
    if plan.facts.looked_at_all:
        yield found
    else:
        yield replace(
            found,
            title=f"{found.title}, of those that were looked at",
            advice=f"{_check(plan)} reads all and names each; copy them again, or remove them",
        )


def _check(plan: Plan) -> str:
    return "convnext data check DATA" + (f" --task {plan.recipe.task}" if plan.headed is not None else "")


def _wrong_labels(plan: Plan) -> Iterator[Finding]:
    if plan.facts.wrong_labels:
        where = f"of {plan.facts.looked_at} that were looked at"
        yield wrong_labels_finding(plan, plan.facts.wrong_labels, where)


def wrong_labels_finding(plan: Plan, wrong: tuple[str, ...], where: str) -> Finding:
    """Return what is to say of labels that would end the run; where: among which pictures they were met."""
    return Finding(
        level="error",
        key="wrong_labels",
        title=f"the labels of {plural(len(wrong), 'picture')} contradict their pictures, {where}",
        detail="training stops at such a picture, so that data which is not what it says does not go unnoticed",
        advice=f"mend or remove them; {_check(plan)} looks at all",
        names=wrong,
    )


def _few_pictures_dense(plan: Plan) -> Iterator[Finding]:
    if plan.facts.pretrained or plan.facts.num_train >= FEW_FROM_SCRATCH:
        return
    yield Finding(
        level="warning",
        key="few_pictures",
        title=f"{plural(plan.facts.num_train, 'picture')} to learn from, and no given weights",
        detail="the paper's detectors and segmenters all begin with stages that have seen ImageNet; from scratch "
        "expect little",
        advice="--weights hf:timm/convnext_tiny.fb_in1k --model convnext_tiny, or any checkpoint that you have",
    )


def _few_pictures(plan: Plan) -> Iterator[Finding]:
    facts = plan.facts
    of_a_class = facts.num_train / facts.num_classes
    if facts.pretrained or (facts.num_train >= FEW_FROM_SCRATCH and of_a_class >= FEW_OF_A_CLASS):
        return
    yield Finding(
        level="warning",
        key="few_pictures",
        title=f"{plural(facts.num_train, 'picture')} to learn from, {of_a_class:.0f} a class, and no given weights",
        detail="a network that has seen other pictures before needs far fewer of yours; from scratch expect little",
        advice="--weights hf:timm/convnext_tiny.fb_in1k --recipe small-data, or any checkpoint that you have",
    )


def _last_stage(plan: Plan) -> Iterator[Finding]:
    numbers, spec = plan.numbers, plan.spec
    if not isinstance(spec, NetSpec):
        return
    last = numbers.stage_sides_px[-1]
    if last > GOOD_SIDE_PX:
        return
    own_px = plan.facts.median_side_px * spec.stem_stride / numbers.size if plan.facts.median_side_px else math.inf
    lost = last <= LEAST_SIDE_PX and own_px > 1
    smaller = [stride for stride in (4, 2, 1) if stride < spec.stem_stride]
    cost = total_cost(spec, numbers.size).gmacs
    choices = [
        f"model.stem_stride={stride} ({_sides(stage_sides_px(replace(spec, stem_stride=stride), numbers.size))}, "
        f"{total_cost(replace(spec, stem_stride=stride), numbers.size).gmacs / cost:.1f} times the work)"
        for stride in smaller
    ]
    yield Finding(
        level="warning" if lost else "note",
        key="last_stage",
        title=f"the last stage sees {last} x {last} of a picture of {numbers.size} pixels",
        detail=f"the stages work on {_sides(numbers.stage_sides_px)}: a stem that strides {spec.stem_stride} leaves "
        "little to look at"
        + (", and what small pictures show is lost there" if lost else "; small pictures gain from a finer one"),
        advice=f"--set {' or '.join(choices)}, or a larger --size" if choices else "take a larger --size",
    )


def _sides(sides: tuple[int, ...]) -> str:
    return ", ".join(f"{side}x{side}" for side in sides)


def _enlarged(plan: Plan) -> Iterator[Finding]:
    size, side = plan.numbers.size, plan.facts.median_side_px
    if side == 0 or size < ENLARGED * side:
        return
    yield Finding(
        level="note",
        key="enlarged",
        title=f"pictures of {side} pixels are enlarged to {size}",
        detail=f"{(size / side) ** 2:.0f} times the work for no more detail, unless the network's stem needs it",
        advice=f"--size {_multiple_of_8(side)} with a smaller model.stem_stride does the same for less",
    )


def _multiple_of_8(side: int) -> int:
    return max(8, round(side / 8) * 8)


def _tight_crop(plan: Plan) -> Iterator[Finding]:
    low = max(plan.recipe.augment.crop_scale[0], plan.facts.min_crop_scale)
    side = plan.facts.median_side_px
    crop_px = math.sqrt(low) * side
    if side == 0 or low >= TIGHT_CROP or crop_px >= LEAST_CROP_PX:
        return
    yield Finding(
        level="warning",
        key="tight_crop",
        title=f"random crops go down to {crop_px:.0f} pixels of pictures of {side}",
        detail=f"augment.crop_scale starts at {low:g} of the area, which is made for photographs of 300 pixels",
        advice="--set augment.crop_scale=0.5,1",
    )


def _workers(plan: Plan) -> Iterator[Finding]:
    facts, workers = plan.facts, plan.recipe.data.workers
    if workers * facts.local_processes > facts.cores:
        each = max(1, facts.cores // facts.local_processes)
        yield Finding(
            level="warning",
            key="workers_many",
            title=f"{workers * facts.local_processes} reading processes for {plural(facts.cores, 'core')}",
            detail=f"data.workers={workers} for each training process ({facts.local_processes} on this machine); they "
            "would fight for the cores",
            advice=f"--set data.workers={each}",
        )
    elif workers == 0 and facts.device == "cuda":
        yield Finding(
            level="warning",
            key="workers_none",
            title="pictures are read by the process that trains",
            detail="the GPU waits while a batch is read",
            advice=f"--set data.workers={max(1, facts.cores // facts.local_processes)}",
        )


def _precision(plan: Plan) -> Iterator[Finding]:
    precision, facts = plan.recipe.engine.precision, plan.facts
    if precision == "float32" and facts.device == "cuda" and facts.has_bfloat16:
        yield Finding(
            level="warning",
            key="float32_on_cuda",
            title="float32 on a GPU that has bfloat16",
            detail="about twice the time and the memory for the same result",
            advice="--set engine.precision=auto",
        )
    elif precision == "bfloat16" and not facts.has_bfloat16:
        yield Finding(
            level="warning",
            key="bfloat16_emulated",
            title=f"bfloat16 on a {facts.device} device that does not have it",
            detail="it is emulated, and several times slower than float32",
            advice="--set engine.precision=auto",
        )


def _disk(plan: Plan) -> Iterator[Finding]:
    free, needed = plan.facts.free_disk_bytes, plan.run_bytes
    if free is None or free >= 2 * needed:
        return
    yield Finding(
        level="error" if free < needed else "warning",
        key="disk",
        title=f"{free / 1e9:.1f} GB free on the disk, and a run takes up to {needed / 1e9:.1f} GB",
        detail="last, previous and best checkpoint, and the one that is being written",
        advice="free some space, or take a folder on another disk (--out)",
    )


def _fsdp(plan: Plan) -> Iterator[Finding]:
    if plan.recipe.engine.parallel == "fsdp" and plan.facts.processes == 1:
        yield Finding(
            level="note",
            key="fsdp_alone",
            title="engine.parallel=fsdp with one process",
            detail="there is nobody to share the weights with",
            advice="start several processes with torchrun (docs/distributed.md), or leave the setting out",
        )
