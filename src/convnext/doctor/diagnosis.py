"""Examine a plan before it starts: its numbers, what is wrong with it, how long it will take."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convnext.classifier import Classifier
from convnext.data.check.findings import Finding, by_level
from convnext.data.dense.splits import LabelError
from convnext.dense_summary import picture_cost
from convnext.doctor.facts import RUNS, gather_facts
from convnext.doctor.fit import fit_findings, wrong_labels_finding
from convnext.doctor.forecast import Forecast, forecast
from convnext.doctor.numbers import Headed, Plan, plan_of
from convnext.doctor.outlook import no_room_finding, outlook_findings
from convnext.doctor.rules import training_findings
from convnext.kinds.kind import kind_of, silent
from convnext.models import any_spec
from convnext.peer_spec import Spec
from convnext.plan import RunConfig, RunPlan
from convnext.run import prepare
from convnext.spec import NetSpec
from convnext.train.device import choose_device
from convnext.train.distributed import ALONE
from convnext.train.engine import Engine, NotFiniteError


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """A plan, what was found, and how long it will take; `forecast` is None where nothing was timed."""

    title: str
    plan: Plan
    findings: tuple[Finding, ...]
    forecast: Forecast | None

    @property
    def ok(self) -> bool:
        """Whether nothing was found that makes the run worthless."""
        return not any(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        numbers, facts = self.plan.numbers, self.plan.facts
        told = self.forecast
        return {
            "model": self.title,
            "recipe": self.plan.recipe.name,
            "asked_batch_size": self.plan.asked_batch,
            **asdict(numbers),
            "times_usual_lr": numbers.times_usual,
            "ema_steps": numbers.ema_steps,
            "num_classes": facts.num_classes,
            "num_train": facts.num_train,
            "num_val": facts.num_val,
            "median_side_px": facts.median_side_px,
            "device": facts.device,
            "forecast": None
            if told is None
            else {**asdict(told), "epoch_seconds": told.epoch_seconds, "total_seconds": told.total_seconds},
            "findings": [finding.to_dict() for finding in self.findings],
            "ok": self.ok,
        }


def findings_of(plan: Plan) -> list[Finding]:
    """Return what can be said of a plan without timing anything."""
    return [*training_findings(plan), *fit_findings(plan)]


def examine(
    run: RunPlan,
    *,
    processes: int = 1,
    timed: bool = True,
    folder: Path = RUNS,
    say: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Examine a plan on this machine.

    processes  that will train together, with torchrun
    timed      whether a few steps are done to forecast time and memory
    folder     where the run's files will lie
    say        told what is being done

    UserError for what `convnext train` would refuse too.
    """
    device = choose_device(run.device)
    source: Any = kind_of(run.task).open(RunConfig.of(run), run.recipe, say)
    model: Any = None if run.task == "classify" else kind_of(run.task).network(run, run.recipe, source, silent)
    headed = None if model is None else _headed(run, model)
    say("looking at a few pictures")
    facts = gather_facts(
        source,
        device=device,
        processes=processes,
        pretrained=isinstance(run.model, nn.Module),
        folder=folder,
        masks=headed is not None and headed.has_masks,
    )
    plan = plan_of(run.recipe, _spec(run) if model is None else model.spec.backbone, facts, headed=headed)
    if model is not None:
        _require_possible(run, plan, source, model)
    findings = findings_of(plan)
    told = None
    # What ends the run would end the timing.
    if timed and not facts.wrong_labels:
        say("timing a few steps")
        try:
            told = forecast(run, plan, source, folder)
            findings += outlook_findings(plan, told)
        except NotFiniteError as error:
            findings.append(_not_finite(plan, error))
        except LabelError as error:
            findings.append(wrong_labels_finding(plan, (str(error),), "met while a few steps were timed"))
        except torch.OutOfMemoryError:
            findings.append(no_room_finding(plan))
    return Diagnosis(title=run.title, plan=plan, findings=by_level(findings), forecast=told)


def _headed(run: RunPlan, model: Any) -> Headed:
    gmacs, size = picture_cost(model, run.recipe.data.size)
    return Headed(
        params=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=gmacs,
        size=size,
        has_masks=getattr(model.spec, "has_masks", False),
        frozen_norms=getattr(model.spec, "freeze_norms", False),
        given=isinstance(run.model, nn.Module) and not isinstance(run.model, Classifier),
    )


def _require_possible(run: RunPlan, plan: Plan, source: Any, model: nn.Module) -> None:
    """Raise the UserError of whatever training would refuse."""
    prepared = prepare(RunConfig.of(run), plan.recipe, source, model, run.preprocess, ALONE)
    Engine(prepared.task, model, plan.recipe, prepared.place, run.seed)


def _spec(run: RunPlan) -> Spec:
    if isinstance(run.model, Classifier):
        return run.model.spec
    assert isinstance(run.model, str | Spec), "only classification is examined"
    spec = any_spec(run.model) if isinstance(run.model, str) else run.model
    start = run.recipe.regularise.layer_scale
    return replace(spec, layer_scale=start) if isinstance(spec, NetSpec) and start is not None else spec


def _not_finite(plan: Plan, error: NotFiniteError) -> Finding:
    return Finding(
        level="error",
        key="not_finite",
        title=f"the loss became {error.loss} within the first steps",
        detail="training would stop there",
        advice=f"--set optim.lr={_calmer(plan):.1g}, a warm-up (schedule.warmup_epochs), optim.clip=1; "
        "convnext data check DATA for blank pictures",
    )


def _calmer(plan: Plan) -> float:
    """Return the learning rate to take where the asked one is too high."""
    usual = plan.numbers.usual_lr
    return plan.numbers.lr / 10 if usual is None else usual
