"""Open a detector or segmenter from a run or a file: which it is, with which weights, names and recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convnext.detection.checkpoint import load_detector
from convnext.detection.detector import Detector
from convnext.errors import UserError
from convnext.files import read_metadata
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe, with_overrides, with_size
from convnext.recipe import Task as TaskName
from convnext.recipes import recipe_for
from convnext.segmentation.checkpoint import load_segmenter
from convnext.segmentation.segmenter import Segmenter
from convnext.weights.locate import HUB_PREFIX, locate
from convnext.weights.statedict import WeightsChoice, WeightsKind

# Whose sizes are taken for a file that does not tell its own.
PAPER_RECIPES: Mapping[TaskName, str] = {"detect": "coco-mask-rcnn", "segment": "ade20k"}


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseModel:
    """A detector or segmenter and everything that its file tells.

    labels    class names; numbers where nobody knows them
    recipe    how it was trained, or the paper's where the file does not tell; its sizes are those of evaluation
    run       what the run was asked, by name; empty of other files
    """

    network: Detector | Segmenter
    labels: tuple[str, ...]
    has_names: bool
    preprocess: Preprocess
    recipe: Recipe
    weights: WeightsKind
    line: str
    run: Mapping[str, Any]

    @property
    def task(self) -> TaskName:
        """What it was trained for."""
        return "detect" if isinstance(self.network, Detector) else "segment"


def task_of_checkpoint(source: str) -> TaskName | None:
    """Return what a run's or our own file was trained for; None of a file of others, or of the hub."""
    if source.startswith(HUB_PREFIX):
        return None
    metadata = read_metadata(locate(source).file)
    if metadata is None:
        return None
    head = (metadata.get("spec") or {}).get("head")
    if head is None:
        return "classify"
    return "segment" if head == "upernet" else "detect"


def open_dense(source: str, task: TaskName, *, weights: WeightsChoice = "auto", size: int | None = None) -> DenseModel:
    """Open a detector or segmenter.

    size  in evaluation: the short side of detection, the window of segmentation; None takes the recipe's

    UserError when the file holds something else.
    """
    network: Detector | Segmenter
    loaded: Any
    if task == "detect":
        loaded = load_detector(source, weights=weights)
        network = loaded.detector
    elif task == "segment":
        loaded = load_segmenter(source, weights=weights)
        network = loaded.segmenter
    else:
        raise UserError(f"a detector or segmenter is opened with --task detect or segment, got {task}")
    values = loaded.metadata.get("recipe")
    recipe = Recipe.from_dict(values) if values else recipe_for(PAPER_RECIPES[task], None)
    recipe = recipe if size is None else with_size(recipe, size)
    names = loaded.labels or tuple(str(number) for number in range(network.spec.num_classes))
    rule = Preprocess.for_size(recipe.data.size)
    return DenseModel(
        network=network,
        labels=names,
        has_names=loaded.labels is not None,
        preprocess=Preprocess.from_dict({**rule.to_dict(), "mean": list(loaded.mean), "std": list(loaded.std)}),
        recipe=with_overrides(recipe, ["data.workers=0"]),
        weights=loaded.weights,
        line=loaded.line,
        run=loaded.metadata.get("run") or {},
    )
