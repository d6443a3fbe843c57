"""torch.compile takes every model in one graph, inductor runs the smallest, torch.export writes a program."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from convnext.models import MODELS, create_model
from convnext.network import Network


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def scaled_up(name: str, *, drop_path: float = 0.0) -> Network:
    """Return a small-class model whose blocks count (LayerScale 0.5 instead of 1e-6)."""
    torch.manual_seed(0)
    net = create_model(name, num_classes=7, drop_path=drop_path)
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)
    return net


def pictures(batch: int = 2, side: int = 64) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_one_graph(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name, num_classes=7, drop_path=0.1).train()
        images = torch.empty(2, 3, 64, 64)
    logits = torch.compile(net, fullgraph=True, backend="eager")(images)
    assert logits.shape == (2, 7)
    assert len(torch._dynamo.utils.counters["graph_break"]) == 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("name", ["convnext_atto", "resnet50", "resnet50:layernorm"])
def test_the_graph_computes_what_the_model_does(name: str) -> None:
    net = scaled_up(name).eval()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(pictures()), net(pictures()), rtol=1e-5, atol=1e-5)


def test_inductor_runs_the_smallest() -> None:
    net = scaled_up("convnext_atto").eval()
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(pictures(side=32)), net(pictures(side=32)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convnext_atto", "convnext_isotropic_small", "resnet50"])
def test_export_writes_a_program_for_any_batch(name: str) -> None:
    net = scaled_up(name).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (pictures(),), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        for count in (1, 3):
            images = pictures(batch=count)
            assert torch.allclose(program.module()(images), net(images), rtol=1e-4, atol=1e-5)
