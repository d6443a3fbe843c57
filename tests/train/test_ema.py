"""The running average against its closed form."""

import pytest
import torch
from torch import nn

from convnext.train.ema import Ema, ema_decay


@pytest.mark.parametrize(
    ("decay", "steps", "expected"),
    [
        ("auto", 300, 1 - 1 / 30),
        ("auto", 100_000, 0.9999),
        ("auto", 10_000_000, 0.9999),
        ("auto", 10, 0.0),
        ("auto", 3, 0.0),
        (0.9999, 3, 0.9999),
        (0.0, 1000, 0.0),
        (0.99999, 1000, 0.99999),
    ],
)
def test_decay(decay: float, steps: int, expected: float) -> None:
    assert ema_decay(decay, steps) == pytest.approx(expected, rel=1e-12)  # type: ignore[arg-type]


def test_average_is_the_closed_form_over_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    model.register_buffer("single", torch.zeros(2, dtype=torch.float32))
    ema = Ema(model, 0.8)
    states = [{name: value.clone() for name, value in model.state_dict().items()}]
    for _ in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model.get_buffer("single").add_(1)
        model(torch.randn(4, 3, dtype=torch.float64))
        ema.update()
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    for name, average in ema.model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert average.item() == 5
            continue
        expected = 0.8**5 * states[0][name]
        for step in range(1, 6):
            expected = expected + 0.2 * 0.8 ** (5 - step) * states[step][name]
        torch.testing.assert_close(average, expected, rtol=1e-6 if average.dtype == torch.float32 else 1e-12, atol=0)
        assert not torch.equal(average, states[-1][name])


def test_copy_is_apart_from_the_model() -> None:
    model = nn.Linear(2, 2).train()
    ema = Ema(model, 0.5)
    assert not ema.model.training and model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = model.weight.detach().clone()
    with torch.no_grad():
        ema.model.weight.fill_(7)
    assert torch.equal(model.weight, before)
