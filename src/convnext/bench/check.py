"""Whether a program computes what it shall: its outputs against eager fp32 in NCHW with the same weights.

A fast program that is wrong is worth nothing, so a program that fails here has no speed in its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convnext.bench.settings import Dtype

# Of outputs, in parts of what pictures differ by. Measured on all systems of the paper's tables or small relatives of
# theirs: fp32 in another order of sums 1e-6 to 8e-4 (BiT), bf16 0.01 to 0.7 (BiT). A program that does not look at
# the picture errs by about 1, one that leaves LayerScale out by more.
OUTPUT_TOLERANCE: dict[Dtype, float] = {"fp32": 0.01, "tf32": 0.25, "bf16": 0.75}
# Of the loss, and of what one step of the optimizer changes it by, in parts of the reference's.
LOSS_TOLERANCE: dict[Dtype, float] = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}
STEP_TOLERANCE: dict[Dtype, float] = {"fp32": 0.1, "tf32": 0.3, "bf16": 0.5}


@dataclass(frozen=True, kw_only=True)
class Check:
    """How far a program is off and how far it may be; `what` says of what, with {} in the place of the error."""

    what: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it may be timed; an error that is no number is none that passes."""
        return self.error <= self.tolerance

    @property
    def sentence(self) -> str:
        """Why it may not."""
        said = self.what.format(f"{self.error:.2g}")
        return f"its {said}, and {self.tolerance:g} is allowed; so no speed is given"


def check_outputs(outputs: Tensor, reference: Tensor, dtype: Dtype, batch: int) -> Check:
    """Compare logits (batch, classes) with the first ones of the reference's (M, classes), M at least 2, on the CPU.

    The error is that of the worst picture, in root mean squares over classes: of the difference, against how far
    pictures' reference logits lie from their mean. The latter, and not the logits' own size, is what a program that
    does not look at the picture cannot get right.
    """
    what = "logits are off from those of eager fp32 by {} of what pictures differ by"
    if outputs.shape != reference[:batch].shape:
        return Check(what=what, error=float("inf"), tolerance=OUTPUT_TOLERANCE[dtype])
    reference = reference.double()
    spread = reference.std(dim=0).square().mean().sqrt()
    difference = outputs.double() - reference[:batch]
    worst = difference.square().mean(dim=1).sqrt().max() / spread
    return Check(what=what, error=_number(worst), tolerance=OUTPUT_TOLERANCE[dtype])


def check_losses(losses: Sequence[float], reference: Sequence[float], dtype: Dtype) -> Check:
    """Compare the losses of the first two steps; the second one tells whether the first one learned.

    What is compared is the first loss and the change from it to the second, each in parts of the reference's; the
    error is the one that is further beyond its tolerance.
    """
    first = Check(
        what="loss is off from that of eager fp32 by {} of it",
        error=abs(losses[0] - reference[0]) / abs(reference[0]),
        tolerance=LOSS_TOLERANCE[dtype],
    )
    change, expected = losses[1] - losses[0], reference[1] - reference[0]
    second = Check(
        what="first step changes the loss otherwise than eager fp32, by {} of that change",
        error=abs(change - expected) / abs(expected) if expected else float("inf"),
        tolerance=STEP_TOLERANCE[dtype],
    )
    return first if not first.passed or first.error / first.tolerance > second.error / second.tolerance else second


def _number(value: Tensor) -> float:
    # A reference that does not depend on the picture, or is not finite, proves nothing.
    return float(value) if bool(torch.isfinite(value)) else float("inf")
