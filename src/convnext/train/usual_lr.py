"""Which learning rate is usual at a batch size: what published recipes use, carried over to other batches.

AdamW's follows the square root of the batch, SGD's the batch itself. Below 64 pictures both stay as they are at 64, for
there is no published recipe to lean on, and small nets train well with more.
"""

import math

from convnext.recipe import Optim

SMALLEST_BATCH = 64
# (learning rate, batch): Table 5, Table 6, and torchvision's reference for ResNet-50.
FROM_SCRATCH, FINE_TUNED, SGD = (4e-3, 4096), (5e-5, 512), (0.1, 256)
SGD_FINE_TUNED_SHARE = 0.1
# Two learning rates that differ by less do the same.
ABOUT = 0.1


def usual_lr(optim: Optim, batch_size: int, *, pretrained: bool) -> float:
    """Return the learning rate that published recipes would have at this batch.

    batch_size  of an optimizer step, over all processes and micro-batches
    pretrained  whether training goes on from given weights
    """
    batch = max(batch_size, SMALLEST_BATCH)
    if optim.name == "sgd":
        lr, at_batch = SGD
        return lr * batch / at_batch * (SGD_FINE_TUNED_SHARE if pretrained else 1)
    lr, at_batch = FINE_TUNED if pretrained else FROM_SCRATCH
    return lr * math.sqrt(batch / at_batch)


def lr_to_take(optim: Optim, batch_size: int, *, before: int, pretrained: bool) -> float | None:
    """Return the usual learning rate at another batch than before, to two digits.

    None where there is nothing to change: the rule gives about the same at both, or the recipe already asks for it.
    """
    usual = usual_lr(optim, batch_size, pretrained=pretrained)
    others = usual_lr(optim, before, pretrained=pretrained), optim.lr
    return None if any(math.isclose(usual, other, rel_tol=ABOUT) for other in others) else float(f"{usual:.2g}")


def times_usual(optim: Optim, batch_size: int, *, pretrained: bool) -> float:
    """Return how many times the usual learning rate a recipe asks for."""
    return optim.lr / usual_lr(optim, batch_size, pretrained=pretrained)
