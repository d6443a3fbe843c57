"""The arithmetic cost equals what torch counts on the built network, and what the paper prints."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convnext.cost import Cost, stage_costs, total_cost
from convnext.errors import UserError
from convnext.models import MODELS
from convnext.reference import GMACS_TOLERANCE, PAPER_ROWS, PARAMS_TOLERANCE_MILLIONS, PaperRow
from convnext.spec import NetSpec
from tests.flops import counted_activations, counted_macs, counted_params, on_meta
from tests.strategies import specs


@given(specs(), st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_any_spec_at_any_size_costs_what_torch_counts(spec: NetSpec, size: int) -> None:
    try:
        cost = total_cost(spec, size)
    except UserError:
        assume(False)
    model = on_meta(spec)
    assert cost.macs == counted_macs(model, size)
    assert cost.activations == counted_activations(model, size)
    assert cost.params == counted_params(model)


@given(specs(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_size_is_refused_exactly_when_the_network_cannot_take_it(spec: NetSpec, size: int) -> None:
    try:
        total_cost(spec, size)
        refused = False
    except UserError as error:
        refused = True
        assert f"a picture of {size} pixels is too small" in str(error)
    try:
        counted_macs(on_meta(spec), size)
        failed = False
    except (RuntimeError, ValueError):
        failed = True
    assert refused == failed


@pytest.mark.parametrize(
    ("name", "params", "gmacs_224", "gmacs_384"),
    [
        ("convnext_tiny", 28_589_128, "4.46", "13.09"),
        ("convnext_small", 50_223_688, "8.68", "25.52"),
        ("convnext_base", 88_591_464, "15.35", "45.12"),
        ("convnext_large", 197_767_336, "34.36", "100.98"),
        ("convnext_xlarge", 350_196_968, "60.92", "179.03"),
        ("resnet50", 25_557_032, "4.09", None),
    ],
)
def test_golden_costs(name: str, params: int, gmacs_224: str, gmacs_384: str | None) -> None:
    spec = MODELS[name].spec
    assert total_cost(spec).params == params
    assert f"{total_cost(spec).gmacs:.2f}" == gmacs_224
    if gmacs_384 is not None:
        assert f"{total_cost(spec, 384).gmacs:.2f}" == gmacs_384


@pytest.mark.parametrize(
    "row",
    [row for row in PAPER_ROWS if row.model in MODELS],
    ids=lambda row: f"{row.table}-{row.model}-{row.size}",
)
def test_the_printed_costs_of_tables_1_and_2(row: PaperRow) -> None:
    cost = total_cost(MODELS[row.model].spec, row.size)
    require_printed(row, cost)


def require_printed(row: PaperRow, cost: Cost) -> None:
    """Hold a count against a printed row; where the row names another count, that one to its last digit."""
    params = cost.params / 1e6
    if row.counted_params_millions is None:
        assert abs(params - row.params_millions) <= PARAMS_TOLERANCE_MILLIONS
    else:
        assert f"{params:.1f}" == f"{row.counted_params_millions:.1f}" and row.reason
        assert abs(params - row.params_millions) > PARAMS_TOLERANCE_MILLIONS
    if row.counted_gmacs is None:
        assert abs(cost.gmacs - row.gmacs) <= GMACS_TOLERANCE + 1e-9
    else:
        assert f"{cost.gmacs:.2f}" == f"{row.counted_gmacs:.2f}" and row.reason
        assert abs(cost.gmacs - row.gmacs) > GMACS_TOLERANCE


def test_the_stages_add_up_and_are_named() -> None:
    parts = stage_costs(MODELS["convnext_tiny"].spec)
    assert [part.part for part in parts] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    total = total_cost(MODELS["convnext_tiny"].spec)
    assert sum(part.macs for part in parts) == total.macs
    assert parts[0].params == 3 * 16 * 96 + 96 + 2 * 96
    assert parts[-1].params == 768 * 1000 + 1000 + 2 * 768
    assert parts[0].macs == 56 * 56 * 96 * 3 * 16
    assert parts[-1].activations == 1000
