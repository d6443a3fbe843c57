"""The recipes by name, for each model, every value beside its source."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from convnext import paper_recipes as paper
from convnext.ade20k_recipes import ADE20K
from convnext.coco_recipes import COCO
from convnext.dense_recipes import SMALL
from convnext.errors import UserError, nearest
from convnext.paper_recipes import Settings, Sourced
from convnext.peer_spec import PEERS, peer_named
from convnext.recipe import Recipe, Task, leaves
from convnext.roadmap import regime_named, step_named
from convnext.setting import shown


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """A recipe that has a name: what it is for, and its settings for every kin of models.

    model        whose values are shown where no model is named
    num_classes  of the data that it is made for
    fine_tuning  the recipe that stands in for it where training goes on from given weights
    task         what a network learns by it
    """

    title: str
    model: str
    by_kin: Mapping[str, Settings]
    num_classes: int = 1000
    fine_tuning: str | None = None
    task: Task = "classify"


def _defaults(source: str) -> dict[str, Sourced]:
    return {leaf: Sourced(value=value, source=source) for leaf, value in leaves(Recipe(name="default")).items()}


def _defaults_of(*parts: str) -> dict[str, Sourced]:
    return {leaf: one for leaf, one in _defaults("ours: the default").items() if leaf.partition(".")[0] in parts}


def _ours(why: str, **values: Any) -> dict[str, Sourced]:
    """Return leaves of our own recipes; a leaf optim.lr is written optim__lr."""
    return {name.replace("__", "."): Sourced(value=value, source=f"ours: {why}") for name, value in values.items()}


_DROP_PATH = {
    "little": 0.05,
    "tiny": 0.1,
    "small": 0.2,
    "base": 0.3,
    "large": 0.4,
    "xlarge": 0.5,
    "isotropic_small": 0.1,
    "isotropic_base": 0.2,
    "isotropic_large": 0.3,
    "resnet50": 0.1,
    "resnet200": 0.2,
    "quarter": 0.05,
}

_SMALL_DATA: Settings = {
    **_defaults("ours: the default"),
    **_ours("a fair exchange of detail and time; --size changes it", data__size=128),
    **_ours("as many steps as memory allows, for few pictures make few steps", data__batch_size=64),
    **_ours("Table 5 begins at 0.08, which leaves little of the object", augment__crop_scale=(0.25, 1.0)),
    **_ours("Table 5's at two thirds of its strength", augment__randaugment="rand-m6-mstd0.5-inc1"),
    **_ours("less than Table 5's 0.25", augment__erasing=0.1),
    **_ours("every other batch stays as it is; Table 5 mixes all", mix__mixup=0.2, mix__cutmix=1.0, mix__chance=0.5),
    **_ours("Table 5's 4e-3 is for batches of 4096; about its square-root share", optim__lr=1e-3),
    **_ours("a few hundred pictures want --epochs 300", schedule__epochs=100),
    **_ours("a tenth of the epochs", schedule__warmup_epochs=10.0),
    **_ours("0.9999 would reach over more steps than there are", ema__decay="auto"),
}

_SMALL_DATA_FINETUNE: Settings = {
    **_SMALL_DATA,
    **_ours("what published weights were trained with", data__size=224),
    **_ours("given weights know most of it already", augment__crop_scale=(0.35, 1.0)),
    **_ours("none, as in Table 6", mix__mixup=0.0, mix__cutmix=0.0, mix__chance=1.0),
    **_ours("above Table 6's 5e-5 because there are few steps, below what forgets", optim__lr=3e-4),
    **_ours("Table 6", optim__layer_decay=0.8, regularise__head_scale=0.001),
    **_ours("Table 6", schedule__epochs=30),
    **_ours("a tenth of the epochs", schedule__warmup_epochs=3.0),
}

# Both recipes of a roadmap experiment see the same pictures in the same batches; what else differs is the recipe.
_SAME_PICTURES: Settings = {
    **_ours("a laptop's; --size changes it", data__size=64),
    **_ours("both roadmap recipes alike; Table 5's 4096 would make two steps an epoch", data__batch_size=64),
    **_ours("Table 5 begins at 0.08, which cost points in a short run", augment__crop_scale=(0.35, 1.0)),
    **_ours("as Table 5's, for both recipes", augment__interpolation="bicubic"),
    **_ours("what a laptop can do; --epochs changes it", schedule__epochs=20),
}
_ROADMAP_SMALL: Settings = {
    **_defaults("ours: the default"),
    **_SAME_PICTURES,
    **_ours("a compromise: in five epochs 1e-3 was best for the last row, 4e-3 for the second", optim__lr=2e-3),
    **_ours("section A.1: every row of the ResNet-50 regime", regularise__drop_path=0.1),
    **_ours("section A.1: the average hurts nets with BatchNorm", ema__decay=None),
    **_ours("a tenth of the epochs", schedule__warmup_epochs=2.0),
}
_CLASSIC_SMALL: Settings = {
    **paper.CLASSIC_90,
    **_defaults_of("data", "engine"),
    **_SAME_PICTURES,
    **_ours("0.1 is for batches of 256; its linear share", optim__lr=0.025),
    **_ours("a third of the epochs, as 30 of 90", schedule__step_epochs=20 / 3),
}

_SMOKE: Settings = {
    **_defaults("ours: the default"),
    **_ours("seconds", data__size=32, data__batch_size=16, data__workers=0, schedule__epochs=2),
    **_ours("seconds", schedule__warmup_epochs=0.2, optim__lr=1e-3),
    **_ours("every element is on, so that what would break breaks now", optim__clip=5.0, optim__layer_decay=0.9),
    **_ours("every element is on, so that what would break breaks now", augment__randaugment="rand-m9-mstd0.5-inc1"),
    **_ours("every element is on, so that what would break breaks now", augment__erasing=0.25, mix__mixup=0.8),
    **_ours("every element is on, so that what would break breaks now", mix__cutmix=1.0, regularise__drop_path=0.1),
    **_ours("two micro-batches a step", engine__micro_batch=8),
}


def _small_data() -> dict[str, Settings]:
    own = {
        kin: _ours("grows with the model, as in Table 5", regularise__drop_path=value)
        for kin, value in _DROP_PATH.items()
    }
    for kin in ("little", "quarter"):
        own[kin] |= _ours("a little net takes more; 2e-3 and 1e-3 were equal on Imagenette", optim__lr=2e-3)
    return {kin: {**_SMALL_DATA, **own[kin]} for kin in paper.KIN}


def _small_data_finetune() -> dict[str, Settings]:
    rates = paper.DROP_PATH["finetune-22k-to-1k"]
    return {kin: {**_SMALL_DATA_FINETUNE, "regularise.drop_path": rates[kin]} for kin in paper.KIN}


def _detect(title: str, model: str, by_kin: Mapping[str, Settings]) -> NamedRecipe:
    return NamedRecipe(title=title, model=model, by_kin=by_kin, num_classes=80, task="detect")


def _segment(title: str, model: str, by_kin: Mapping[str, Settings]) -> NamedRecipe:
    return NamedRecipe(title=title, model=model, by_kin=by_kin, num_classes=150, task="segment")


_TINY, _ATTO = "convnext_tiny", "convnext_atto"
NAMED: Mapping[str, NamedRecipe] = {
    "imagenet-1k": NamedRecipe(
        title="the paper's: ImageNet-1K from scratch (Table 5; roadmap rows and isotropic nets by section A.1)",
        model=_TINY,
        by_kin=paper.by_kin("imagenet-1k", paper.IMAGENET_1K),
    ),
    "imagenet-22k": NamedRecipe(
        title="the paper's: pre-training on ImageNet-22K (Table 5)",
        model=_TINY,
        by_kin=paper.by_kin("imagenet-22k", paper.IMAGENET_22K),
        num_classes=21_841,
    ),
    "finetune-22k-to-1k": NamedRecipe(
        title="the paper's: from 22K weights to ImageNet-1K at 224 pixels (Table 6)",
        model=_TINY,
        by_kin=paper.by_kin("finetune-22k-to-1k", paper.FINETUNE_22K_TO_1K),
    ),
    "finetune-22k-to-1k-384": NamedRecipe(
        title="the paper's: from 22K weights to ImageNet-1K at 384 pixels (Table 6)",
        model=_TINY,
        by_kin=paper.by_kin("finetune-22k-to-1k-384", paper.FINETUNE_22K_TO_1K_384),
    ),
    "finetune-1k-384": NamedRecipe(
        title="the paper's: from 1K weights at 224 to 384 pixels (Table 6)",
        model="convnext_base",
        by_kin=paper.by_kin("finetune-1k-384", paper.FINETUNE_1K_384),
    ),
    "isotropic": NamedRecipe(
        title="the paper's: isotropic nets on ImageNet-1K (section A.1)",
        model="convnext_isotropic_small",
        by_kin=paper.isotropic(),
    ),
    "roadmap": NamedRecipe(
        title="the paper's: every row of Figure 2 but the first (section A.1)",
        model="resnet50",
        by_kin=paper.roadmap(),
    ),
    "classic-90": NamedRecipe(
        title="the ResNet recipe of Figure 2's first row: 90 epochs of SGD, crop and flip",
        model="resnet50",
        by_kin=dict.fromkeys(paper.KIN, paper.CLASSIC_90),
    ),
    "roadmap-small": NamedRecipe(
        title="rows of Figure 2 on some thousand pictures: AdamW, cosine, no average, no strong augmentation",
        model="resnet50",
        by_kin=dict.fromkeys(paper.KIN, _ROADMAP_SMALL),
    ),
    "classic-small": NamedRecipe(
        title="Figure 2's first row on some thousand pictures: classic-90 at the batch and length of roadmap-small",
        model="resnet50",
        by_kin=dict.fromkeys(paper.KIN, _CLASSIC_SMALL),
    ),
    "small-data": NamedRecipe(
        title="a few hundred to some ten thousand pictures of one's own, from scratch",
        model=_ATTO,
        by_kin=_small_data(),
        fine_tuning="small-data-finetune",
    ),
    "small-data-finetune": NamedRecipe(
        title="a few hundred to some ten thousand pictures of one's own, from given weights",
        model=_TINY,
        by_kin=_small_data_finetune(),
    ),
    "default": NamedRecipe(
        title="plain and short: what `convnext train` takes where no recipe is named",
        model=_ATTO,
        by_kin=dict.fromkeys(paper.KIN, _defaults("ours: the default")),
    ),
    "smoke": NamedRecipe(
        title="seconds: every element once, to see that all works",
        model=_ATTO,
        by_kin=dict.fromkeys(paper.KIN, _SMOKE),
    ),
    "coco-mask-rcnn": _detect(
        "the paper's: Mask R-CNN on COCO from 1K weights (Table 3)", _TINY, COCO["coco-mask-rcnn"]
    ),
    "coco-cascade-mask-rcnn": _detect(
        "the paper's: Cascade Mask R-CNN on COCO from 1K weights (Table 3)",
        _TINY,
        COCO["coco-cascade-mask-rcnn"],
    ),
    "coco-cascade-mask-rcnn-22k": _detect(
        "the paper's: Cascade Mask R-CNN on COCO from 22K weights (Table 3)",
        "convnext_base",
        COCO["coco-cascade-mask-rcnn-22k"],
    ),
    "detect-small": _detect("a few hundred pictures of one's own with objects", _ATTO, SMALL["detect-small"]),
    "detect-smoke": _detect("seconds: every element once, to see that all works", _ATTO, SMALL["detect-smoke"]),
    "ade20k": _segment("the paper's: UperNet on ADE20K from 1K weights (Table 4)", _TINY, ADE20K["ade20k"]),
    "ade20k-22k": _segment(
        "the paper's: UperNet on ADE20K from 22K weights (Table 4)", "convnext_base", ADE20K["ade20k-22k"]
    ),
    "segment-small": _segment("a few hundred pictures of one's own with label maps", _ATTO, SMALL["segment-small"]),
    "segment-smoke": _segment("seconds: every element once, to see that all works", _ATTO, SMALL["segment-smoke"]),
}
_USUAL: Mapping[Task, str] = {"classify": "default", "detect": "detect-small", "segment": "segment-small"}

_LITTLE = ("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano")
_KIN_OF_MODEL: Mapping[str, str] = {
    **dict.fromkeys(_LITTLE, "little"),
    **{f"convnext_{kin}": kin for kin in paper.KIN if kin not in ("little", "resnet50", "resnet200", "quarter")},
    "resnet50": "resnet50",
    "resnet200": "resnet200",
}
# What stands in the short name of a peer; the first that does counts.
_KIN_OF_PEERS = (("small", "small"), ("base", "base"), ("xlarge", "xlarge"), ("large", "large"))


def kin_of(model: str) -> str:
    """Return which models share their values with this one, a registered name or a row of the roadmap REGIME:STEP.

    Networks of other libraries have those of ConvNeXt-T, or of the ConvNeXt that the paper compares them with.
    UserError offers near names for an unknown one.
    """
    if peer_named(model) is not None:
        return next((kin for ending, kin in _KIN_OF_PEERS if ending in model), "tiny") if model in PEERS else "tiny"
    regime, colon, step = model.partition(":")
    if colon:
        regime_named(regime)
        step_named(step)
        return regime
    if model not in _KIN_OF_MODEL:
        raise UserError(f"there is no model {model}{nearest(model, _KIN_OF_MODEL)} (convnext models lists them)")
    return _KIN_OF_MODEL[model]


def named(name: str) -> NamedRecipe:
    """Return what is known under a recipe's name; UserError offers near names."""
    if name not in NAMED:
        raise UserError(
            f"there is no recipe {name}{nearest(name, NAMED)} (convnext recipe list shows them; "
            "a file ends in .yaml, .yml or .json)"
        )
    return NAMED[name]


def sources_of(name: str, model: str | None) -> Settings:
    """Return every leaf of a named recipe for a model, with its source.

    model  a registered name or a row REGIME:STEP; None takes the model that the recipe is shown for
    """
    entry = named(name)
    kin = kin_of(model or entry.model)
    settings = entry.by_kin[kin]
    if model is None or peer_named(model) is None:
        return settings
    borrowed = f"the value of convnext_{kin}; the paper trains no {model}"
    return {
        leaf: replace(one, differs=borrowed) if _depends_on_model(entry, leaf) else one
        for leaf, one in settings.items()
    }


def _depends_on_model(entry: NamedRecipe, leaf: str) -> bool:
    return any(other[leaf].value != entry.by_kin["tiny"][leaf].value for other in entry.by_kin.values())


def source_of(name: str, model: str | None, leaf: str) -> Sourced:
    """Return the value of one leaf, its source and how it differs from the paper."""
    settings = sources_of(name, model)
    if leaf not in settings:
        raise UserError(f"a recipe has no setting {leaf}{nearest(leaf, settings)}")
    return settings[leaf]


def recipe_for(name: str, model: str | None, *, pretrained: bool = False) -> Recipe:
    """Return the named recipe with the values for a model.

    pretrained  whether training goes on from given weights: `small-data` is then `small-data-finetune`

    A model that the paper does not train with the recipe gets a value whose source says so. UserError for an unknown
    name.
    """
    entry = named(name)
    if pretrained and entry.fine_tuning is not None:
        return recipe_for(entry.fine_tuning, model)
    parts: dict[str, dict[str, Any]] = {}
    for leaf, one in sources_of(name, model).items():
        part, _, setting = leaf.partition(".")
        parts.setdefault(part, {})[setting] = one.value
    return Recipe.from_dict({"name": name, **parts})


def usual_recipe(task: Task, pretrained: bool) -> str:
    """Return the name of the recipe that a task takes where none is named.

    pretrained  whether training goes on from given weights; each task's usual recipe serves both
    """
    return _USUAL[task]


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name, with the values of the model that it is shown for."""
    named(name)
    return RECIPES[name]


def traced(before: Settings, after: Recipe, where: str) -> Settings:
    """Return every leaf of a recipe with its source; what differs from `before` comes from `where` (a file, --set)."""
    return {leaf: _replaced(before.get(leaf), value, where) for leaf, value in leaves(after).items()}


def _replaced(before: Sourced | None, value: Any, where: str) -> Sourced:
    if before is None:
        return Sourced(value=value, source=where)
    if before.value == value:
        return before
    return Sourced(value=value, source=where, differs=f"{shown(before.value)} before ({before.source})")


RECIPES: Mapping[str, Recipe] = {name: recipe_for(name, None) for name in NAMED}
