"""Which device a run works on, and in which precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from convnext.errors import UserError

Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(name: str = "auto", local_rank: int | None = None) -> torch.device:
    """Return the device of that name; "auto" is the first of CUDA, MPS and CPU that is there.

    local_rank: of several processes on this machine each takes the GPU of its number.
    """
    if local_rank is not None and name.startswith("cuda:"):
        raise UserError(f"several processes take a GPU each, so give the device cuda and not {name}")
    if name in ("auto", "cuda") and local_rank is not None and torch.cuda.is_available():
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device must be auto, cuda, cuda:0, mps or cpu, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there is no device {name}: torch sees {torch.cuda.device_count()} CUDA devices; take cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("there is no device mps on this machine; take cpu")
    if device.type not in ("cuda", "mps", "cpu"):
        raise UserError(f"device must be auto, cuda, cuda:0, mps or cpu, got {name!r}")
    return device


def choose_precision(name: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return the precision of the forward pass; "auto" is bfloat16 on a CUDA device that has it and float32 elsewhere.

    float16 is not offered: it overflows in ConvNeXt-L and XL (Table 7's runs had to switch it off).
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise UserError(f"precision must be auto, float32 or bfloat16, got {name!r}")
    if name == "auto":
        # Before Ampere bfloat16 is emulated, which is slower than float32.
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if fast else "float32"
    return name


def autocast(device: torch.device, precision: Literal["float32", "bfloat16"]) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def chosen_convolutions(device: torch.device, *, one_size: bool) -> Iterator[None]:
    """Let cuDNN try its algorithms on a CUDA device and keep the fastest, where the pictures of a run have one size.

    Else it would try them anew for each size that comes.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or (one_size and device.type == "cuda")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
