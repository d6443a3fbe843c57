"""The same run with several seeds, one after another, and what they tell together."""

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convnext.data.sources import lasting
from convnext.errors import UserError
from convnext.files import read_tensors, write_json, write_tensors
from convnext.network import Network
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.run import RunResult, new_folder, remove_partial, resume_run, title_of, train_run
from convnext.spec import NetSpec
from convnext.train.device import Precision
from convnext.train.loop import LAST, LOG
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
    data: str,
    model: str | NetSpec | Network,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    out: Path | None = None,
    split_seed: int = 0,
    root: Path | None = None,
    preprocess: Preprocess | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    log_every: int = 10,
    reporter: Reporter | None = None,
) -> SeedsResult:
    """Do `train_run` once for each seed, in OUT/seed-N, and gather mean and spread in OUT/seeds.json.

    All seeds share the held-out part, so that the spread is that of training. Arguments and errors are those of
    `train_run`.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise UserError(f"seeds must be different numbers, at least one, got {list(seeds)}")
    name = title_of(model)
    folder = new_folder(out, name)
    asked = {
        "data": lasting(data),
        "root": None if root is None else str(root.resolve()),
        "model": model if isinstance(model, str) else (model.spec if isinstance(model, Network) else model).to_dict(),
        "recipe": recipe.to_dict(),
        "seeds": list(seeds),
        "split_seed": split_seed,
        "preprocess": None if preprocess is None else preprocess.to_dict(),
        "device": device,
        "precision": precision,
        "log_every": log_every,
    }
    if isinstance(model, Network):
        write_tensors(folder / START, model.state_dict(), {"spec": model.spec.to_dict()})
    write_json(folder / SEEDS, {"asked": asked, "runs": []})
    return _carry_on(folder, asked, reporter or SilentReporter())


def resume(folder: Path, *, device: str | None = None, reporter: Reporter | None = None) -> RunResult | SeedsResult:
    """Go on with a run, or with the first unfinished of several seeds, in that folder."""
    if not (folder / SEEDS).exists():
        return resume_run(folder, device=device, reporter=reporter)
    asked = json.loads((folder / SEEDS).read_text(encoding="utf-8"))["asked"]
    return _carry_on(folder, asked | ({} if device is None else {"device": device}), reporter or SilentReporter())


def _carry_on(folder: Path, asked: dict[str, Any], reporter: Reporter) -> SeedsResult:
    results: list[RunResult] = []
    for seed in asked["seeds"]:
        reporter.note(f"seed {seed} ({len(results) + 1} of {len(asked['seeds'])})")
        place = folder / f"seed-{seed}"
        if (place / LAST).exists():
            result = resume_run(place, device=asked["device"], reporter=reporter)
        else:
            result = _start(folder, place, asked, seed, reporter)
        results.append(result)
        if not result.finished or (result.interrupted and seed != asked["seeds"][-1]):
            message = f"stopped at seed {seed}; go on with: convnext train --resume {shlex.quote(str(folder))}"
            return SeedsResult(folder=folder, finished=False, runs=tuple(results), summary=None, message=message)
    summary = gather([result.summary for result in results if result.summary is not None])
    write_json(folder / SEEDS, {"asked": asked, **summary})
    best = summary["best"]
    message = f"best top-1 of {len(results)} seeds: {spread_text(best)}, in {folder}"
    reporter.note(message)
    return SeedsResult(folder=folder, finished=True, runs=tuple(results), summary=summary, message=message)


def _start(folder: Path, place: Path, asked: Mapping[str, Any], seed: int, reporter: Reporter) -> RunResult:
    # What a run left that was killed before its first checkpoint.
    for name in ("recipe.json", "run.json", LOG):
        (place / name).unlink(missing_ok=True)
    remove_partial(place)
    given = asked["preprocess"]
    return train_run(
        asked["data"],
        _model(folder, asked["model"]),
        Recipe.from_dict(asked["recipe"]),
        out=place,
        seed=seed,
        split_seed=asked["split_seed"],
        root=None if asked["root"] is None else Path(asked["root"]),
        preprocess=None if given is None else Preprocess.from_dict(given),
        device=asked["device"],
        precision=asked["precision"],
        log_every=asked["log_every"],
        reporter=reporter,
    )


def _model(folder: Path, asked: str | Mapping[str, Any]) -> str | NetSpec | Network:
    if isinstance(asked, str):
        return asked
    spec = NetSpec.from_dict(asked)
    if not (folder / START).exists():
        return spec
    network = Network(spec)
    network.load_state_dict(read_tensors(folder / START)[0])
    return network


def gather(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and sample standard deviation of top-1 over runs, and a row for each.

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
                "best": summary["best"]["top1"],
                "last": summary["last"][weights]["top1"],
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
