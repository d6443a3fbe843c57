"""The same run with several seeds, one after another, and what they tell together."""

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convnext.errors import UserError
from convnext.files import read_tensors, write_json, write_tensors
from convnext.folder import forget, new_folder, remove_partial
from convnext.kinds.kind import kind_of
from convnext.models import build
from convnext.peer_spec import Spec, spec_from_dict
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.run import RunResult, is_run, resume_run, train_run
from convnext.train.distributed import ALONE, World
from convnext.train.progress import Reporter, SilentReporter

SEEDS, START = "seeds.json", "start.safetensors"


@dataclass(frozen=True, kw_only=True)
class SeedsResult:
    """How several runs ended: their folder, whether all are finished, what they tell together, and a sentence."""

    folder: Path
    finished: bool
    runs: tuple[RunResult, ...]
    summary: Mapping[str, Any] | None
    message: str


def train_seeds(
    plan: RunPlan,
    seeds: Sequence[int],
    *,
    out: Path | None = None,
    reporter: Reporter | None = None,
    world: World = ALONE,
) -> SeedsResult:
    """Do `train_run` once for each seed, in OUT/seed-N, and gather mean and spread in OUT/seeds.json.

    All seeds share the held-out part, so that the spread is that of training. The plan's own seed is not used. Errors
    are those of `train_run`.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise UserError(f"seeds must be different numbers, at least one, got {list(seeds)}")
    model = plan.model
    spec: Any = model.spec if isinstance(model, nn.Module) else model
    asked = {
        "config": asdict(RunConfig.of(plan)),
        "model": spec if isinstance(spec, str) else spec.to_dict(),
        "head_settings": dict(plan.head_settings),
        "recipe": plan.recipe.to_dict(),
        "seeds": list(seeds),
        "preprocess": None if plan.preprocess is None else plan.preprocess.to_dict(),
    }
    with world.together():
        folder = new_folder(out, plan.title) if world.first else Path()
        if world.first:
            if isinstance(model, nn.Module):
                write_tensors(folder / START, model.state_dict(), {"spec": asked["model"]})
            write_json(folder / SEEDS, {"asked": asked, "runs": []})
    return _carry_on(world.of_first(folder), asked, reporter, world)


def resume(
    folder: Path,
    *,
    device: str | None = None,
    settings: Sequence[str] = (),
    reporter: Reporter | None = None,
    world: World = ALONE,
) -> RunResult | SeedsResult:
    """Go on with a run, or with the first unfinished of several seeds, in that folder; see `resume_run`."""
    if not (folder / SEEDS).exists():
        return resume_run(folder, device=device, settings=settings, reporter=reporter, world=world)
    asked = json.loads((folder / SEEDS).read_text(encoding="utf-8"))["asked"]
    if device is not None:
        asked["config"]["device"] = device
    return _carry_on(folder, asked, reporter, world, settings)


def _carry_on(
    folder: Path,
    asked: dict[str, Any],
    reporter: Reporter | None,
    world: World,
    settings: Sequence[str] = (),
) -> SeedsResult:
    voice = reporter if reporter is not None and world.first else SilentReporter()
    device = asked["config"]["device"]
    results: list[RunResult] = []
    for seed in asked["seeds"]:
        voice.note(f"seed {seed} ({len(results) + 1} of {len(asked['seeds'])})")
        place = folder / f"seed-{seed}"
        if is_run(place):
            result = resume_run(place, device=device, settings=settings, reporter=reporter, world=world)
        else:
            with world.together():
                if world.first:
                    # What a run left that was killed before its first checkpoint.
                    remove_partial(place)
                    forget(place)
            plan = _plan(folder, asked, seed)
            result = train_run(plan, out=place, reporter=reporter, world=world)
        results.append(result)
        if not result.finished or (result.interrupted and seed != asked["seeds"][-1]):
            message = f"stopped at seed {seed}; go on with: convnext train --resume {shlex.quote(str(folder))}"
            return SeedsResult(folder=folder, finished=False, runs=tuple(results), summary=None, message=message)
    kind = kind_of(RunConfig.from_dict(asked["config"]).task)
    summary = gather([result.summary for result in results if result.summary is not None], kind.target)
    if world.first:
        write_json(folder / SEEDS, {"asked": asked, **summary})
    best = summary["best"]
    message = f"best {kind.target_text} of {len(results)} seeds: {spread_text(best)}, in {folder}"
    voice.note(message)
    return SeedsResult(folder=folder, finished=True, runs=tuple(results), summary=summary, message=message)


def _plan(folder: Path, asked: Mapping[str, Any], seed: int) -> RunPlan:
    config = RunConfig.from_dict(asked["config"])
    given, recipe = asked["preprocess"], Recipe.from_dict(asked["recipe"])
    return RunPlan(
        data=config.data,
        model=_model(folder, asked["model"], config, recipe),
        recipe=recipe,
        task=config.task,
        head=config.head,
        head_settings=asked.get("head_settings", {}),
        name=config.model,
        seed=seed,
        split_seed=config.split_seed,
        root=None if config.root is None else Path(config.root),
        preprocess=None if given is None else Preprocess.from_dict(given),
        device=config.device,
        track=config.track,
        weights=config.weights,
    )


def _model(folder: Path, asked: str | Mapping[str, Any], config: RunConfig, recipe: Recipe) -> str | Spec | nn.Module:
    if isinstance(asked, str):
        return asked
    if not (folder / START).exists():
        return spec_from_dict(asked)
    # A detector or segmenter is given with its weights only, and its spec names what stands below its head.
    whole = "backbone" in asked
    model = kind_of(config.task).rebuild(asked, recipe) if whole else build(spec_from_dict(asked))
    model.load_state_dict(read_tensors(folder / START)[0])
    return model


def gather(summaries: Sequence[Mapping[str, Any]], target: str = "top1") -> dict[str, Any]:
    """Return mean and sample standard deviation of a score over runs, and a row for each.

    "best" is each run's best epoch, chosen on the held-out pictures themselves; "last" is the last epoch of the same
    weights, which nothing has chosen. The deviation of a single run is None.
    """
    rows = []
    for summary in summaries:
        weights = summary["best"]["weights"]
        rows.append(
            {
                "seed": summary["seed"],
                "weights": weights,
                "best": summary["best"][target],
                "last": summary["last"][weights][target],
                "seconds": summary["seconds"],
                "images_per_second": summary["images_per_second"],
            }
        )
    return {"runs": rows, **{name: _spread([row[name] for row in rows]) for name in ("best", "last")}}


def spread_text(spread: Mapping[str, float | None]) -> str:
    """Return mean ± std in percent; one seed has no std."""
    mean, std = spread["mean"], spread["std"]
    return f"{mean:.2f}%" if std is None else f"{mean:.2f} ± {std:.2f}%"


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }
