"""Devices and precisions by name."""

import pytest
import torch

from convnext.errors import UserError
from convnext.train.device import autocast, choose_device, choose_precision, chosen_convolutions


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else choose_device().type)
    assert choose_precision("auto", torch.device("cpu")) == "float32"
    for has_it, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert choose_precision("auto", torch.device("cuda")) == precision
    assert choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "xpu"])
def test_what_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match=name):
        choose_device(name)


def test_float16_is_refused() -> None:
    with pytest.raises(UserError, match="float16"):
        choose_precision("float16", torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast(precision: str, dtype: torch.dtype) -> None:
    with autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("before", [False, True])
def test_algorithms_are_tried_out_on_a_gpu_alone_and_the_setting_is_put_back(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    for name, one_size, tried in (("cuda", True, True), ("cuda", False, before), ("cpu", True, before)):
        with chosen_convolutions(torch.device(name), one_size=one_size):
            assert torch.backends.cudnn.benchmark is tried
        assert torch.backends.cudnn.benchmark is before
