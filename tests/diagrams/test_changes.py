"""What is marked and said between two networks: exactly what differs, and nothing between equal ones."""

from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convnext.diagrams.changes import Changes, changes_between
from convnext.diagrams.parts import elements, parts_of
from convnext.errors import UserError
from convnext.layout import layout
from convnext.models import model_spec
from convnext.roadmap import spec_at
from convnext.spec import CONVNEXT_TINY, NetSpec
from tests.diagrams.expected import STEP_NAMES, TOLD
from tests.strategies import specs


def between(before: str, after: str, regime: str = "resnet50") -> Changes:
    return changes_between(parts_of(spec_at(before, regime)), parts_of(spec_at(after, regime)))


@pytest.mark.parametrize(("before", "after"), list(pairwise(STEP_NAMES)))
def test_neighbours_mark_exactly_what_changed(before: str, after: str) -> None:
    changes = between(before, after)
    assert (changes.marked, set(changes.gone), list(changes.words)) == TOLD[after]
    assert (between(before, after, "quarter").marked, set(between(before, after, "quarter").gone)) == TOLD[after][:2]


def test_the_stage_ratio_of_resnet200_changes_the_width_too() -> None:
    assert between("modern_recipe", "stage_ratio", "resnet200").words == (
        "stem channels 64 → 84",
        "block channels 256-64-64-256 → 336-84-84-336",
        "blocks 3-24-36-3 → 3-3-27-3",
        "stage channels 256-512-1024-2048 → 336-672-1344-2688",
    )


def test_what_is_gone_says_what_it_was() -> None:
    assert between("gelu", "fewer_activations").gone == {"spatial.act": "GELU", "block.act": "GELU"}
    tiny = changes_between(parts_of(spec_at("separate_downsampling")), parts_of(CONVNEXT_TINY))
    assert (tiny.marked, tiny.words) == ({"block.scale"}, ("scale none → LayerScale 1e-6",))


def shape_of(spec: NetSpec) -> tuple[Any, ...]:
    """All layers of a spec, without their names and biases, which no drawing shows."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: inner is not None if name == "norm_name" else plain(inner)
                for name, inner in value.items()
                if name not in ("name", "bias")
            }
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    return (plain(asdict(layout(spec))), spec.norm, spec.act)


@settings(max_examples=150)
@given(specs(), specs(), st.data())
def test_whatever_differs_is_marked_and_said(one: NetSpec, other: NetSpec, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([name for name in one.to_dict() if name not in ("depths", "transitions")]))
    near = {**one.to_dict(), field: other.to_dict()[field]}
    # A stem that this net cannot have: the two are compared as they are.
    with suppress(UserError):
        other = NetSpec.from_dict(near)
    assume(one.kernel > 1 and other.kernel > 1)
    before, after = parts_of(one, 64), parts_of(other, 64)
    changes = changes_between(before, after)
    same = shape_of(one) == shape_of(other)
    assert (not changes.marked and not changes.gone) == same
    assert (not changes.words) == same
    assert set(changes.gone) == changes_between(after, before).marked - changes.marked - set(elements(after))
    assert all(elements(after)[name] != elements(before).get(name) for name in changes.marked)


def test_two_equal_nets_mark_nothing() -> None:
    for name in ("resnet50", "convnext_tiny"):
        assert changes_between(parts_of(model_spec(name)), parts_of(model_spec(name))) == Changes()
