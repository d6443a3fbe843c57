"""Figure 2 of the paper as data: from ResNet-50 to ConvNeXt, one decision at a time.

A step names the fields of a NetSpec that it changes, whether the paper kept it, and what the paper measured for it
(Table 10: ResNet-50 regime, mean and std of 3 seeds; Table 11: ResNet-200 regime, one run). A regime is where a walk
starts, and the values of the two steps, stage ratio and width, that depend on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from convnext.errors import UserError, nearest
from convnext.setting import shown
from convnext.spec import RESNET50, RESNET200, NetSpec


@dataclass(frozen=True, kw_only=True)
class Published:
    """The paper's numbers for a step in one regime: top-1 in percent, its std over seeds, and GFLOPs as printed."""

    top1: float
    std: float | None
    gmacs: float
    counted_gmacs: float | None = None
    """What counting gives where it differs from the printed value; None where they are equal to the last digit."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A network that stands beside the roadmap: top-1 in percent and GFLOPs, as printed in a table of the paper."""

    name: str
    top1: float
    gmacs: float
    table: str


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Where a walk starts, and what the steps set that depends on it.

    changes  the fields that a step of that name sets in this regime, beside those that it sets in all
    paper    the regime of the paper whose accuracies stand beside its rows
    """

    name: str
    start: NetSpec
    changes: Mapping[str, Mapping[str, Any]]
    paper: str

    def scaled(self, *, width: int | None = None, depths: Sequence[int] | None = None) -> "Regime":
        """Return the regime of a wider or deeper net, its steps scaled alike.

        width   channels at the start; the widths of later steps keep their proportion to it
        depths  blocks of each stage at the start; the stage ratio keeps its proportions, with as many blocks to a start

        Its name tells both. UserError for what no net can have.
        """
        changes = {step: dict(fields) for step, fields in self.changes.items()}
        start, name = self.start, self.name
        if width is not None:
            start = replace(start, width=width)
            name = f"{name}-width{width}"
            for fields in changes.values():
                if "width" in fields:
                    fields["width"] = max(1, round(fields["width"] * width / self.start.width))
        if depths is not None:
            start = replace(start, depths=tuple(depths))
            name = f"{name}-depths{'.'.join(map(str, depths))}"
            if len(start.depths) != len(self.start.depths):
                raise UserError(f"depths must name four stages, got {start.depths}; ResNet-50 has (3, 4, 6, 3)")
            stretch = sum(start.depths) / sum(self.start.depths)
            goal = self.changes["stage_ratio"]["depths"]
            changes["stage_ratio"]["depths"] = tuple(max(1, round(stretch * depth)) for depth in goal)
        return replace(self, name=name, start=start, changes=changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the regime as plain JSON values."""
        changes = {
            step: {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
            for step, fields in self.changes.items()
        }
        return {"name": self.name, "start": self.start.to_dict(), "changes": changes, "paper": self.paper}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Regime":
        """Rebuild what `to_dict` returned."""
        changes = {
            step: {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
            for step, fields in values["changes"].items()
        }
        start = NetSpec.from_dict(values["start"])
        return cls(name=values["name"], start=start, changes=changes, paper=values["paper"])


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row of Figure 2: a name, a reason, the fields it changes, and the paper's numbers for each of its regimes."""

    name: str
    title: str
    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    adopted: bool = True
    published: Mapping[str, Published]

    def changes_in(self, regime: "str | Regime") -> dict[str, Any]:
        """Return the fields that the step sets in a regime."""
        return {**self.changes, **regime_named(regime).changes.get(self.name, {})}


def _paper(
    resnet50: tuple[float, float | None, float],
    resnet200: tuple[float, float],
    counted50: float | None = None,
) -> dict[str, Published]:
    top1, std, gmacs = resnet50
    return {
        "resnet50": Published(top1=top1, std=std, gmacs=gmacs, counted_gmacs=counted50),
        "resnet200": Published(top1=resnet200[0], std=None, gmacs=resnet200[1]),
    }


_RESNET50 = Regime(
    name="resnet50",
    start=RESNET50,
    changes={"stage_ratio": {"depths": (3, 3, 9, 3)}, "width": {"width": 96}},
    paper="resnet50",
)
REGIMES: dict[str, Regime] = {
    "resnet50": _RESNET50,
    "resnet200": Regime(
        name="resnet200",
        start=RESNET200,
        changes={"stage_ratio": {"depths": (3, 3, 27, 3), "width": 84}, "width": {"width": 128}},
        paper="resnet200",
    ),
    "quarter": replace(_RESNET50.scaled(width=16), name="quarter"),
}
"""The paper's two regimes, and `quarter`: the resnet50 regime at a quarter of the width, for a laptop."""

STEPS: tuple[Step, ...] = (
    Step(
        name="original",
        title="ResNet, 90-epoch recipe",
        reason="where the field stood: the ResNet of 2015 with its own training (section 2)",
        published=_paper((76.13, None, 4.09), (78.20, 15.01)),
    ),
    Step(
        name="modern_recipe",
        title="modern recipe",
        reason="train as Transformers are trained: AdamW, 300 epochs, strong augmentation (section 2.1)",
        published=_paper((78.82, 0.07, 4.09), (81.14, 15.01)),
    ),
    Step(
        name="stage_ratio",
        title="stage ratio",
        reason="give the third stage more of the blocks, as Swin does (section 2.2)",
        published=_paper((79.36, 0.07, 4.53), (81.33, 14.52)),
    ),
    Step(
        name="patchify_stem",
        title="patchify stem",
        reason="cut the picture into 4x4 patches with one convolution (section 2.2)",
        changes={"stem": "patch"},
        published=_paper((79.51, 0.18, 4.42), (81.59, 14.38)),
    ),
    Step(
        name="depthwise",
        title="depthwise convolution",
        reason="mix space and channels apart, as self-attention does (section 2.3)",
        changes={"depthwise": True},
        published=_paper((78.28, 0.08, 2.35), (80.54, 7.23)),
    ),
    Step(
        name="width",
        title="wider",
        reason="spend what the depthwise convolution saved on width, Swin's (section 2.3)",
        published=_paper((80.50, 0.02, 5.27), (81.85, 16.76)),
    ),
    Step(
        name="inverted",
        title="inverted bottleneck",
        reason="make the middle of the block wide, as in a Transformer's MLP (section 2.4)",
        changes={"inverted": True},
        published=_paper((80.64, 0.03, 4.64), (82.64, 15.68)),
    ),
    Step(
        name="move_up",
        title="depthwise convolution first",
        reason="mix space at the narrow end, so that large kernels are cheap (section 2.5)",
        changes={"mixer_first": True},
        published=_paper((79.92, 0.08, 4.07), (82.04, 14.63)),
    ),
    Step(
        name="kernel_5",
        title="kernel 5",
        reason="try a larger window (section 2.5)",
        changes={"kernel": 5},
        adopted=False,
        published=_paper((80.35, 0.08, 4.10), (82.32, 14.70)),
    ),
    Step(
        name="kernel_7",
        title="kernel 7",
        reason="the window of Swin; larger ones gain nothing (section 2.5)",
        changes={"kernel": 7},
        published=_paper((80.57, 0.14, 4.15), (82.30, 14.81)),
    ),
    Step(
        name="kernel_9",
        title="kernel 9",
        reason="try a larger window (section 2.5)",
        changes={"kernel": 9},
        adopted=False,
        published=_paper((80.57, 0.06, 4.21), (82.27, 14.95)),
    ),
    Step(
        name="kernel_11",
        title="kernel 11",
        reason="try a larger window (section 2.5)",
        changes={"kernel": 11},
        adopted=False,
        published=_paper((80.47, 0.11, 4.29), (82.18, 15.13)),
    ),
    Step(
        name="gelu",
        title="ReLU to GELU",
        reason="use the activation of Transformers (section 2.6)",
        changes={"act": "gelu"},
        published=_paper((80.62, 0.14, 4.15), (82.19, 14.81)),
    ),
    Step(
        name="fewer_activations",
        title="fewer activations",
        reason="keep the one between the two 1x1 convolutions (section 2.6)",
        changes={"act_at": "one"},
        published=_paper((81.27, 0.06, 4.15), (82.71, 14.81)),
    ),
    Step(
        name="fewer_norms",
        title="fewer norms",
        reason="keep the one after the depthwise convolution (section 2.6)",
        changes={"norm_at": "one"},
        published=_paper((81.41, 0.09, 4.15), (83.17, 14.81)),
    ),
    Step(
        name="layernorm",
        title="BatchNorm to LayerNorm",
        reason="normalise each position alone, free of the batch (section 2.6)",
        changes={"norm": "layer"},
        published=_paper((81.47, 0.09, 4.46), (83.35, 14.81), counted50=4.15),
    ),
    Step(
        name="separate_downsampling",
        title="separate downsampling = ConvNeXt",
        reason="shrink between stages with norm and 2x2 convolution, as Swin does (section 2.6)",
        changes={"transitions": "separate"},
        published=_paper((81.97, 0.06, 4.49), (83.60, 15.35), counted50=4.46),
    ),
)

SWIN: dict[str, Level] = {
    "resnet50": Level(name="Swin-T", top1=81.30, gmacs=4.50, table="Table 10"),
    "resnet200": Level(name="Swin-B", top1=83.50, gmacs=15.43, table="Table 11"),
}
"""What the roadmap sets out to reach, by the regime of the paper that it stands beside."""


def step_named(name: str) -> Step:
    """Return the step of that name; UserError offers the near ones."""
    for step in STEPS:
        if step.name == name:
            return step
    raise UserError(f"the roadmap has no step {name}{nearest(name, [step.name for step in STEPS])}")


def regime_named(regime: str | Regime) -> Regime:
    """Return the regime of that name, or the given one; UserError offers the known regimes."""
    if isinstance(regime, Regime):
        return regime
    if regime not in REGIMES:
        raise UserError(f"the roadmap has no regime {regime}{nearest(regime, REGIMES)}")
    return REGIMES[regime]


def apply_steps(steps: Sequence[Step], regime: str | Regime = "resnet50") -> NetSpec:
    """Return the spec that these steps give when taken one after the other from the regime's start."""
    spec = regime_named(regime).start
    for step in steps:
        spec = replace(spec, **step.changes_in(regime))
    return spec


def spec_at(name: str, regime: str | Regime = "resnet50") -> NetSpec:
    """Return the spec of a row of Figure 2: every adopted step up to it, and itself."""
    here = STEPS.index(step_named(name))
    return apply_steps([step for step in STEPS[:here] if step.adopted] + [STEPS[here]], regime)


def diff(before: NetSpec, after: NetSpec) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two specs differ, each with its value before and after."""
    old, new = before.to_dict(), after.to_dict()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def changes_text(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Return what `diff` found in words: "depthwise off → on; width 64 → 96"."""

    def words(value: Any) -> str:
        return ("on" if value else "off") if isinstance(value, bool) else shown(value)

    return "; ".join(f"{name} {words(old)} → {words(new)}" for name, (old, new) in changes.items())


def decisions(regime: str | Regime = "resnet50") -> tuple[Step, ...]:
    """Return the steps that ConvNeXt is made of: the adopted ones that change the network, in the paper's order."""
    return tuple(step for step in STEPS if step.adopted and step.changes_in(regime))


def leave_one_out(name: str, regime: str | Regime = "resnet50") -> NetSpec:
    """Return ConvNeXt without one of its decisions; UserError for a step that ConvNeXt does not have."""
    left = _decision(name, regime)
    return apply_steps([step for step in decisions(regime) if step is not left], regime)


def reorder(names: Sequence[str], regime: str | Regime = "resnet50") -> list[NetSpec]:
    """Return the spec after each of the named decisions, taken in the given order from the regime's start.

    UserError for a step that ConvNeXt does not have, one that is named twice, and an order in which a step would undo
    another: in the resnet200 regime the stage ratio sets the width to 84, so the step `width` cannot stand before it.
    """
    steps = [_decision(name, regime) for name in names]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UserError(f"the order names {twice[0]} twice; each decision is taken once")
    for before, after in combinations(steps, 2):
        shared = sorted(set(before.changes_in(regime)) & set(after.changes_in(regime)))
        if shared and STEPS.index(before) > STEPS.index(after):
            one, other = before.changes_in(regime)[shared[0]], after.changes_in(regime)[shared[0]]
            raise UserError(
                f"the order cannot be built: {before.name} sets {shared[0]} to {one} and {after.name} would set it "
                f"back to {other}; name {after.name} before {before.name}"
            )
    return [apply_steps(steps[: end + 1], regime) for end in range(len(steps))]


def _decision(name: str, regime: str | Regime) -> Step:
    step = step_named(name)
    known = decisions(regime)
    if step not in known:
        raise UserError(f"ConvNeXt has no decision {name}; it has {', '.join(one.name for one in known)}")
    return step
