"""A program as a worker runs it: built, given its weights, checked, called again and again."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from convnext.bench.check import Check, check_losses, check_outputs
from convnext.bench.randomise import pictures, randomise
from convnext.bench.settings import Dtype, Program
from convnext.classifier import Classifier
from convnext.models import create_model
from convnext.recipe import Optim
from convnext.train.device import autocast
from convnext.train.optim import build_optimizer, parameter_groups, set_learning_rate

MEMORY_FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
# Small enough that a few hundred steps leave the network as it was, large enough to be seen in the loss.
LEARNING_RATE = 1e-5
# The reference goes through in pieces of so many pictures, so that its memory is not what is measured.
PIECE = 4


class Runnable(Protocol):
    """A program that can be called."""

    params: int

    def call(self) -> None:
        """Do once what is timed; on a GPU it may still be going on when this returns."""

    def check(self) -> Check:
        """Compare what the calls gave with the reference."""

    def held_bytes(self) -> int:
        """Return what weights, pictures and the optimizer's state take between two calls."""


def build(program: Program) -> Runnable:
    """Build a program, with its reference outputs; UserError where the model is unknown or its library missing."""
    return TrainingStep(program) if program.train else Inference(program)


class Inference:
    """The logits of one batch, under torch.inference_mode."""

    def __init__(self, program: Program) -> None:
        self._program = program
        device = torch.device(program.device)
        model = _fresh(program).eval()
        self.params = sum(parameter.numel() for parameter in model.parameters())
        # One picture has nothing to differ from, so the reference has two.
        images = _pictures(program, max(2, program.batch))
        use_tf32("fp32")
        model.to(device)
        with torch.inference_mode():
            pieces = [model(piece.to(device)).float().cpu() for piece in torch.split(images, PIECE)]
        self._reference = torch.cat(pieces)
        del pieces
        use_tf32(program.dtype)
        dtype = torch.bfloat16 if program.dtype == "bf16" else torch.float32
        layout = MEMORY_FORMATS[program.layout]
        # Changed in place, so that no second copy of the weights is held.
        self._model: nn.Module = model.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        self._images = images[: program.batch].to(device, dtype).contiguous(memory_format=layout)
        self._forward = compiled(model) if program.compiled else model
        self._logits: Tensor | None = None

    def call(self) -> None:
        """Compute the logits of the batch."""
        with torch.inference_mode():
            self._logits = self._forward(self._images)

    def check(self) -> Check:
        """Compare the logits of the last call, of every picture, with the reference."""
        assert self._logits is not None, "call comes first"
        logits = self._logits.float().cpu()
        return check_outputs(logits, self._reference, self._program.dtype, self._program.batch)

    def held_bytes(self) -> int:
        """Return what weights, buffers and pictures take."""
        return _bytes_of([*self._model.parameters(), *self._model.buffers(), self._images])


class TrainingStep:
    """Forward, cross-entropy, backward and a fused AdamW step of the package's parameter groups, on one batch."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._device = torch.device(program.device)
        model = _fresh(program)
        _leave_nothing_to_chance(model)
        self.params = sum(parameter.numel() for parameter in model.parameters())
        images = _pictures(program, program.batch)
        classes = torch.Generator().manual_seed(program.seed)
        self._labels = torch.randint(model.spec.num_classes, (program.batch,), generator=classes).to(self._device)
        use_tf32("fp32")
        self._start(model, "nchw", compile_it=False, images=images)
        self._reference = self._first_losses("fp32")
        # The same weights once more, which two steps have moved.
        del self._optimizer
        model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        randomise(model, program.size, model.spec.in_channels, program.seed)
        use_tf32(program.dtype)
        self._start(model, program.layout, compile_it=program.compiled, images=images)
        self._losses: list[float] = []

    def _start(self, model: Classifier, layout: str, *, compile_it: bool, images: Tensor) -> None:
        order = MEMORY_FORMATS[layout]
        model.to(self._device, memory_format=order).train()  # type: ignore[call-overload]
        self._model = model
        self._images = images.to(self._device).contiguous(memory_format=order)
        self._forward = compiled(model) if compile_it else model
        optim = Optim()
        self._optimizer = build_optimizer(model, parameter_groups(model, optim), optim)
        set_learning_rate(self._optimizer, LEARNING_RATE)

    def _first_losses(self, dtype: Dtype) -> list[float]:
        return [self._step(dtype).item() for _ in range(2)]

    def _step(self, dtype: Dtype) -> Tensor:
        with autocast(self._device, "bfloat16" if dtype == "bf16" else "float32"):
            loss = F.cross_entropy(self._forward(self._images), self._labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def call(self) -> None:
        """Learn once from the batch."""
        loss = self._step(self._program.dtype)
        if len(self._losses) < 2:
            self._losses.append(loss.item())

    def check(self) -> Check:
        """Compare the losses of the first two calls with the reference's."""
        while len(self._losses) < 2:
            self.call()
        return check_losses(self._losses, self._reference, self._program.dtype)

    def held_bytes(self) -> int:
        """Return what weights, buffers, pictures and AdamW's moments take."""
        moments = [
            value for state in self._optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
        ]
        return _bytes_of([*self._model.parameters(), *self._model.buffers(), self._images, *moments])


def compiled(model: nn.Module) -> nn.Module:
    """Return the network through torch.compile, with its usual settings; it is compiled when it is first called."""
    program: Any = torch.compile(model)
    return program  # type: ignore[no-any-return]


def use_tf32(dtype: Dtype) -> None:
    """Let CUDA's matrix products and convolutions of fp32 use TF32, for "tf32", or not, for anything else."""
    # Left alone, torch uses it in convolutions and not in matrix products.
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"


def warm_up(timed: Callable[[int], float], *, calls: int, seconds: float) -> float:
    """Call until at least `calls` calls were made and `seconds` have passed in them; return the seconds of the last.

    timed: does so many calls and returns the seconds that they took in all
    """
    spent, made = 0.0, 0
    while True:
        last = timed(1)
        spent, made = spent + last, made + 1
        if made >= calls and spent >= seconds:
            return last


def timer(runnable: Runnable, device: torch.device) -> Callable[[int], float]:
    """Return what does so many calls and tells the seconds: by events of the device on CUDA, else by the clock."""
    if device.type == "cuda":
        return lambda calls: _timed_by_events(runnable, calls, device)
    return lambda calls: _timed_by_clock(runnable, calls, device)


def _timed_by_events(runnable: Runnable, calls: int, device: torch.device) -> float:
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            runnable.call()
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def _timed_by_clock(runnable: Runnable, calls: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        runnable.call()
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - began


def _fresh(program: Program) -> Classifier:
    model = create_model(program.model, size=program.size)
    randomise(model, program.size, model.spec.in_channels, program.seed)
    return model


def _leave_nothing_to_chance(model: nn.Module) -> None:
    # timm's Swin and most networks of torchvision drop at random unless told otherwise, and two steps that draw
    # different branches have no loss that could be compared.
    for module in model.modules():
        dropping: Any = module
        if isinstance(module, _DropoutNd | StochasticDepth):
            dropping.p = 0.0
        elif hasattr(module, "drop_prob"):
            dropping.drop_prob = 0.0


def _pictures(program: Program, count: int) -> Tensor:
    return pictures(count, program.size, 3, program.seed + 2)


def _bytes_of(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
