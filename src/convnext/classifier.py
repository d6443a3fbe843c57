"""What training, scoring and shipping ask of a network, whoever built it: a spec, one head, logits."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from convnext.errors import UserError
from convnext.layers import init_weights
from convnext.peer_spec import Spec

Head = nn.Linear | nn.Conv2d


class Classifier(nn.Module):
    """A network that maps pictures (N, C, H, W) to logits (N, num_classes) by a head, and knows its spec.

    drop_path: stochastic depth that it was built with.
    """

    spec: Spec
    drop_path: float

    @property
    def head_name(self) -> str:
        """Where the head stands among the modules."""
        raise NotImplementedError

    @property
    def feature_info(self) -> tuple[tuple[int, int], ...]:
        """(stride, channels) of each map that `features` returns."""
        raise NotImplementedError

    def features(self, images: Tensor) -> list[Tensor]:
        """Map pictures (N, C, H, W) to the output of each stage (N, C_i, H_i, W_i)."""
        raise NotImplementedError

    @property
    def undecayed(self) -> frozenset[str]:
        """Parameters that take no weight decay beside biases, norms and LayerScale, by name."""
        return frozenset()

    @property
    def classifier(self) -> Head:
        """The head: a linear layer, or a 1x1 convolution that does the same."""
        head = self.get_submodule(self.head_name)
        assert isinstance(head, Head)
        return head

    def reset_head(self, num_classes: int, *, head_scale: float = 1.0) -> None:
        """Replace the head by a fresh one for `num_classes`, on the same device and in the same precision."""
        head = self._new_head(num_classes)
        init_weights(head, "truncated_normal")
        self.set_submodule(self.head_name, head)
        self.scale_head(head_scale)

    def pick_classes(self, rows: Sequence[int]) -> None:
        """Replace the head by these rows of it, in this order: the same scores, for these classes only."""
        old = self.classifier
        head = self._new_head(len(rows))
        with torch.no_grad():
            for new, weights in zip(head.parameters(), old.parameters(), strict=True):
                new.copy_(weights[list(rows)])
        self.set_submodule(self.head_name, head)

    def scale_head(self, factor: float) -> None:
        """Multiply the head's weights by a factor; the paper fine-tunes with 0.001. UserError for 0 or less."""
        if factor <= 0:
            raise UserError(f"head_scale must be above 0, got {factor}; 1 leaves the head as it is")
        with torch.no_grad():
            for weights in self.classifier.parameters():
                weights.mul_(factor)

    def _new_head(self, num_classes: int) -> Head:
        old = self.classifier
        self.spec = replace(self.spec, num_classes=num_classes)
        bias = old.bias is not None
        head: Head
        if isinstance(old, nn.Linear):
            head = nn.Linear(old.in_features, num_classes, bias=bias)
        else:
            head = nn.Conv2d(old.in_channels, num_classes, 1, bias=bias)
        return head.to(old.weight)


def require_drop_path(drop_path: float) -> None:
    """Raise UserError for a stochastic depth that no network can have."""
    if not 0 <= drop_path < 1:
        raise UserError(f"drop_path must be at least 0 and below 1, got {drop_path}; the paper uses 0 to 0.95")
