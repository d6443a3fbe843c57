"""What would go wrong in the training itself: steps, learning rate, average, mixing, a recipe for something else.

Each rule is a pure function of the plan. The reference everywhere is the paper's recipe at its own scale (section 4 of
the appendix), which no rule may blame.
"""

import math
from collections.abc import Iterator

from convnext.data.check.findings import Finding, Level, plural
from convnext.doctor.numbers import Plan
from convnext.spec import NetSpec
from convnext.train.causes import (
    FAR_TOO_HIGH,
    FINE_TUNING_FAR_TOO_HIGH,
    FINE_TUNING_HIGH,
    FINE_TUNING_LOW,
    HIGH,
    LOW,
)
from convnext.train.usual_lr import lr_to_take

FEW_STEPS, VERY_FEW_STEPS = 1000, 300
FINE_TUNING_FEW_STEPS, FINE_TUNING_VERY_FEW_STEPS = 200, 60
FEW_STEPS_AN_EPOCH = 5
LONGEST_WARMUP = 1 / 3
LONG_FINE_TUNING = 100
INITIAL_SHARE = 0.05
FEWEST_FOR_BATCHNORM = 8


def training_findings(plan: Plan) -> Iterator[Finding]:
    """Yield what is to say of how a network would be trained."""
    for rule in (
        _batch_larger_than_data,
        _few_steps,
        _few_steps_an_epoch,
        _learning_rate,
        _made_for_weights,
        _made_for_scratch,
        _warmup,
        _average,
        _batch_norm,
        _mixing,
        _drop_path,
        _smoothing,
    ):
        yield from rule(plan)


def _batch_larger_than_data(plan: Plan) -> Iterator[Finding]:
    numbers = plan.numbers
    if plan.asked_batch == numbers.batch_size:
        return
    yield Finding(
        level="error",
        key="batch_larger_than_data",
        title=f"a batch of {plan.asked_batch:,} is more than the {plural(plan.facts.num_train, 'picture')} there are",
        detail=f"training would take {numbers.batch_size} instead and keep a learning rate and a schedule that were "
        f"made for {plan.asked_batch:,}",
        advice=("take --recipe small-data, or " if plan.headed is None else "")
        + f"--set {_batch_setting(plan, min(numbers.batch_size, _few_enough(plan)))}",
    )


def _few_steps(plan: Plan) -> Iterator[Finding]:
    steps, epochs = plan.numbers.steps, plan.recipe.schedule.epochs
    pretrained = plan.facts.pretrained
    few, very_few = (FINE_TUNING_FEW_STEPS, FINE_TUNING_VERY_FEW_STEPS) if pretrained else (FEW_STEPS, VERY_FEW_STEPS)
    if steps >= few:
        return
    enough = math.ceil(few / plan.numbers.steps_per_epoch)
    smaller = " or a smaller data.batch_size" if plan.numbers.batch_size > 16 else ""
    papers = {"classify": "93,600", "detect": "264,000", "segment": "160,000"}[plan.recipe.task]
    if plan.headed is None and pretrained:
        compared = "the paper's fine-tuning has 75,000"
    elif pretrained:
        begins = "" if plan.headed is not None and plan.headed.given else "the head begins from nothing; "
        compared = f"{begins}the paper's run has {papers}"
    else:
        compared = (
            f"from scratch a network needs a thousand and more to come far from chance (the paper's has {papers})"
        )
    yield Finding(
        level="warning" if steps < very_few else "note",
        key="few_steps",
        title=f"{plural(steps, 'optimizer step')} in all",
        detail=f"{plural(epochs, 'epoch')} of {plan.numbers.steps_per_epoch}; {compared}",
        advice=f"take --epochs {enough}{smaller}" + ("" if pretrained else ", or start from --weights"),
    )


def _few_steps_an_epoch(plan: Plan) -> Iterator[Finding]:
    numbers = plan.numbers
    if numbers.steps_per_epoch >= FEW_STEPS_AN_EPOCH or plan.asked_batch != numbers.batch_size:
        return
    smaller = _few_enough(plan)
    if smaller >= numbers.batch_size:
        return
    yield Finding(
        level="warning",
        key="few_steps_an_epoch",
        title=f"{plural(numbers.steps_per_epoch, 'step')} an epoch",
        detail=f"a batch of {numbers.batch_size:,} is a large part of {plural(plan.facts.num_train, 'picture')}: the "
        "network moves rarely, and scoring and saving after each epoch take longer than training",
        advice=f"take a smaller batch: --set {_batch_setting(plan, smaller)}",
    )


def _few_enough(plan: Plan) -> int:
    """Return a batch of which an epoch has sixteen and more, or where pictures are fewer still, eight a process."""
    processes = plan.numbers.processes
    most = plan.facts.num_train / 16 / processes
    return processes * (2 ** int(math.log2(most)) if most > 8 else 8)


def _batch_setting(plan: Plan, batch_size: int) -> str:
    """Return another batch as settings, with the learning rate that goes with it where that is another one."""
    if plan.headed is not None:
        return f"data.batch_size={batch_size}"
    lr = lr_to_take(plan.recipe.optim, batch_size, before=plan.asked_batch, pretrained=plan.facts.pretrained)
    return f"data.batch_size={batch_size}" + ("" if lr is None else f" --set optim.lr={lr:g}")


def _learning_rate(plan: Plan) -> Iterator[Finding]:
    numbers, pretrained = plan.numbers, plan.facts.pretrained
    if numbers.usual_lr is None or numbers.times_usual is None:
        return
    high, far_too_high, low = (
        (FINE_TUNING_HIGH, FINE_TUNING_FAR_TOO_HIGH, FINE_TUNING_LOW) if pretrained else (HIGH, FAR_TOO_HIGH, LOW)
    )
    reference = _reference(plan)
    if numbers.times_usual >= high:
        level: Level = "error" if numbers.times_usual >= far_too_high else "warning"
        yield Finding(
            level=level,
            key="lr_high",
            title=f"optim.lr={numbers.lr:g} is {numbers.times_usual:.0f} times what is usual at this batch",
            detail=f"{reference}, which is {numbers.usual_lr:.2g} at {numbers.batch_size:,}; "
            + (
                "the given weights would be forgotten in the first steps"
                if pretrained
                else "the network may stay near chance or come apart"
            ),
            advice=f"--set optim.lr={numbers.usual_lr:.1g}",
        )
    elif numbers.times_usual <= low:
        yield Finding(
            level="warning",
            key="lr_low",
            title=f"optim.lr={numbers.lr:g} is 1/{1 / numbers.times_usual:.0f} of what is usual at this batch",
            detail=f"{reference}, which is {numbers.usual_lr:.2g} at {numbers.batch_size:,}; "
            "the network would hardly move",
            advice=f"--set optim.lr={numbers.usual_lr:.1g}",
        )


def _reference(plan: Plan) -> str:
    if plan.recipe.optim.name == "sgd":
        return "ResNets are trained with 0.1 at a batch of 256 and SGD"
    if plan.facts.pretrained:
        return "the paper fine-tunes with 5e-5 at a batch of 512 (Table 6)"
    return "the paper trains with 4e-3 at a batch of 4096 (Table 5)"


def _made_for_weights(plan: Plan) -> Iterator[Finding]:
    recipe = plan.recipe
    if plan.facts.pretrained:
        return
    signs = [
        (recipe.regularise.head_scale < 0.1, f"regularise.head_scale={recipe.regularise.head_scale:g}", "=1"),
        (recipe.optim.layer_decay < 0.9, f"optim.layer_decay={recipe.optim.layer_decay:g}", "=1"),
        (
            recipe.optim.name == "adamw" and recipe.optim.weight_decay < 1e-4,
            f"optim.weight_decay={recipe.optim.weight_decay:g}",
            "=0.05",
        ),
    ]
    found = [(text, text.partition("=")[0] + right) for wrong, text, right in signs if wrong]
    if found:
        yield Finding(
            level="error" if len(found) > 1 else "warning",
            key="made_for_weights",
            title="settings of fine-tuning, but training starts from scratch",
            detail=f"{', '.join(text for text, _ in found)}: with fresh weights they hold the network back",
            advice="give --weights hf:timm/convnext_tiny.fb_in1k (say), or take another recipe, or "
            + " ".join(f"--set {right}" for _, right in found),
        )


def _made_for_scratch(plan: Plan) -> Iterator[Finding]:
    recipe, numbers = plan.recipe, plan.numbers
    signs = [
        (recipe.schedule.epochs >= LONG_FINE_TUNING, f"{recipe.schedule.epochs} epochs"),
        ((numbers.times_usual or 0.0) >= FINE_TUNING_HIGH, f"optim.lr={numbers.lr:g}"),
        (recipe.mix.on and recipe.mix.mixup >= 0.8 and recipe.mix.chance == 1, "Mixup and CutMix on every batch"),
    ]
    found = [text for wrong, text in signs if wrong]
    if plan.facts.pretrained and len(found) > 1:
        yield Finding(
            level="warning",
            key="made_for_scratch",
            title="a recipe for training from scratch, but weights are given",
            detail=f"{', '.join(found)}: what the weights know is washed out before the end",
            advice="--recipe small-data (which knows of --weights), or finetune-22k-to-1k for ImageNet",
        )


def _warmup(plan: Plan) -> Iterator[Finding]:
    schedule, numbers = plan.recipe.schedule, plan.numbers
    in_steps = schedule.warmup_steps is not None
    takes, whole = (
        (numbers.warmup_steps, numbers.steps) if in_steps else (schedule.warmup_epochs, float(schedule.epochs))
    )
    if takes > LONGEST_WARMUP * whole:
        yield Finding(
            level="warning",
            key="long_warmup",
            title=f"warm-up takes {takes:g} of {plural(int(whole), 'step' if in_steps else 'epoch')}",
            detail="the learning rate is at its height only for a moment; the paper warms up for 20 of 300",
            advice=f"--set schedule.warmup_steps={max(1, numbers.steps // 10)}"
            if in_steps
            else f"--set schedule.warmup_epochs={schedule.epochs / 10:g}",
        )
    elif numbers.warmup_steps == 0 and plan.recipe.optim.name == "adamw" and not plan.facts.pretrained:
        yield Finding(
            level="warning",
            key="no_warmup",
            title="no warm-up",
            detail="AdamW's first steps from scratch are wild, before it knows how large gradients are",
            advice=f"--set schedule.warmup_epochs={schedule.epochs / 10:g}"
            + (" --set schedule.warmup_steps=none" if in_steps else ""),
        )


def _average(plan: Plan) -> Iterator[Finding]:
    numbers, share = plan.numbers, plan.numbers.initial_share
    if share <= INITIAL_SHARE or numbers.ema_steps is None:
        return
    chooses = plan.recipe.evaluate.weights != "raw"
    yield Finding(
        level="error" if share > 0.5 and chooses else "warning",
        key="ema_horizon",
        title=f"at the end {100 * share:.0f}% of the average will still be the initial weights",
        detail=f"ema.decay={numbers.ema_decay:g} reaches over {numbers.ema_steps:,.0f} steps and the run has "
        f"{numbers.steps:,}; " + ("the average chooses the best epoch" if chooses else "raw weights choose the best"),
        advice="--set ema.decay=auto (a tenth of the run), or ema.decay=none",
    )


def _batch_norm(plan: Plan) -> Iterator[Finding]:
    if not (isinstance(plan.spec, NetSpec) and plan.spec.norm == "batch"):
        return
    if plan.headed is not None and plan.headed.frozen_norms:
        return
    seen = plan.numbers.micro_batch
    if plan.headed is not None and plan.facts.device == "cuda":
        # There it counts over all processes.
        seen *= plan.numbers.processes
    if seen < FEWEST_FOR_BATCHNORM:
        yield Finding(
            level="warning",
            key="batch_norm_few",
            title=f"BatchNorm over {plural(seen, 'picture')}",
            detail="it normalises by what is seen at once; of so few, mean and deviation are mostly noise",
            advice="a larger engine.micro_batch or data.batch_size, or a net with model.norm=layer",
        )
    if plan.numbers.ema_decay is not None:
        yield Finding(
            level="warning",
            key="batch_norm_ema",
            title="an average of a BatchNorm net",
            detail='the paper: it "severely hurts" such models (section A.1); both weights are scored, so you will see',
            advice="--set ema.decay=none, or evaluate.weights=raw",
        )


def _mixing(plan: Plan) -> Iterator[Finding]:
    micro_batch = plan.numbers.micro_batch
    if not plan.recipe.mix.on or micro_batch % 2 == 0:
        return
    yield Finding(
        level="warning",
        key="odd_micro_batch",
        title=f"Mixup and CutMix with an odd micro-batch of {micro_batch}",
        detail="pictures are mixed in pairs, so nothing is mixed at all"
        if micro_batch == 1
        else "pictures are mixed in pairs and the middle one is left as it is; the paper's batches are even",
        advice=f"--set {_even(plan)}, so that each process has an even number at once",
    )


def _even(plan: Plan) -> str:
    """Return the setting that makes micro-batches even."""
    numbers = plan.numbers
    share = numbers.batch_size // numbers.processes
    if share % 2:
        pair = 2 * numbers.processes
        return _batch_setting(plan, max(pair, round(numbers.batch_size / pair) * pair))
    most = max(2, plan.recipe.engine.micro_batch)
    return f"engine.micro_batch={next(size for size in range(most, 0, -1) if size % 2 == 0 and share % size == 0)}"


def _drop_path(plan: Plan) -> Iterator[Finding]:
    rate, params, epochs = plan.recipe.regularise.drop_path, plan.numbers.params, plan.recipe.schedule.epochs
    small_net, short_run = params < 40e6 and rate > 0.2, epochs < 50 and rate > 0.3
    if plan.facts.pretrained or not (small_net or short_run):
        return
    yield Finding(
        level="warning",
        key="drop_path_high",
        title=f"regularise.drop_path={rate:g} is much for "
        + (f"{params / 1e6:.0f}M parameters" if small_net else plural(epochs, "epoch")),
        detail="the paper has 0.1 for Tiny (29M), 0.4 for Small (50M) and 0.5 for Base, in 300 epochs; with more, or "
        "in fewer epochs, the network underfits",
        advice="--set regularise.drop_path=0.1",
    )


def _smoothing(plan: Plan) -> Iterator[Finding]:
    smoothing = plan.recipe.mix.label_smoothing
    if plan.facts.num_classes != 2 or smoothing < 0.05:
        return
    yield Finding(
        level="note",
        key="smoothing_two_classes",
        title=f"label smoothing of {smoothing:g} with two classes",
        detail=f"the network is taught to be {100 * (1 - smoothing / 2):.0f}% sure at most, and the training loss ends "
        f"near {_entropy(smoothing / 2):.2f}, not near 0",
        advice="nothing needs to be done for accuracy; --set mix.label_smoothing=0 where probabilities matter",
    )


def _entropy(share: float) -> float:
    return -share * math.log(share) - (1 - share) * math.log(1 - share)
