"""The smallest runs of detection and segmentation: a few made scenes, a little network, a light head."""

from dataclasses import replace
from typing import Any

from convnext.models import model_spec
from convnext.plan import RunPlan
from convnext.recipe import with_overrides
from convnext.recipes import recipe_for

NET = replace(model_spec("convnext_atto"), width=8, depths=(1, 1, 1, 1))
HEADS: dict[str, dict[str, Any]] = {
    "detect": {"channels": 8, "hidden": 8, "sampled_boxes": 16},
    "segment": {"channels": 8, "aux_channels": 4},
}


def dense_plan(task: Any, *overrides: str, data: str = "scenes:8", seed: int = 1, **values: Any) -> RunPlan:
    recipe = with_overrides(
        recipe_for(f"{task}-smoke", "convnext_atto"),
        ["engine.log_every=1", "schedule.warmup_steps=none", "ema.decay=0.5", *overrides],
    )
    settings = {"model": NET, "head_settings": HEADS[task]} | values
    return RunPlan(data=data, task=task, recipe=recipe, seed=seed, device="cpu", **settings)
