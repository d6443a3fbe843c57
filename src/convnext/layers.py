"""The layers that torch does not have ready: convolution, norm and pooling in the memory order of the network.

LayerNorm nets carry (N, H, W, C) tensors throughout, so that norms and 1x1 convolutions work on the last dimension
without a copy; BatchNorm nets carry (N, C, H, W) tensors in channels-last memory. A `LayerFactory` makes the layers of
either kind from a layout, so that nothing is decided in a forward pass.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from convnext.layout import Conv
from convnext.spec import NetSpec

LAYER_NORM_EPS = 1e-6


class Conv2dNHWC(nn.Conv2d):
    """A convolution whose input and output are (N, H, W, C); the permutations are views, not copies."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Map (N, H, W, C_in) to (N, H', W', C_out)."""
        return super().forward(input.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class MaxPoolNHWC(nn.MaxPool2d):
    """Max-pooling of (N, H, W, C) maps."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Map (N, H, W, C) to (N, H', W', C)."""
        pooled: Tensor = super().forward(input.permute(0, 3, 1, 2))
        return pooled.permute(0, 2, 3, 1)


class ToNHWC(nn.Module):
    """Bring a picture batch (N, C, H, W), in whatever memory format, into contiguous (N, H, W, C)."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, H, W, C)."""
        return x_nchw.permute(0, 2, 3, 1).contiguous()


class ToNCHW(nn.Module):
    """Show an (N, H, W, C) map as (N, C, H, W) without a copy: it is in channels-last memory."""

    def forward(self, x_nhwc: Tensor) -> Tensor:
        """Map (N, H, W, C) to (N, C, H, W)."""
        return x_nhwc.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """Bring a picture batch (N, C, H, W) into channels-last memory, its shape unchanged."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same in channels-last memory."""
        return x_nchw.contiguous(memory_format=torch.channels_last)


class MeanPool(nn.Module):
    """Global average pooling over the two spatial dimensions."""

    def __init__(self, dims: tuple[int, int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Map a feature map to (N, C)."""
        return x.mean(self.dims)


class StochasticDepth(nn.Module):
    """Drops a sample's whole branch with chance `p` in training, and scales the kept ones to keep the mean."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        """Return the chance, for a printed network."""
        return f"p={self.p:g}"

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to the same shape."""
        if not self.training:
            return x
        kept = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept.div_(1 - self.p)


class LayerFactory:
    """Makes layers in the memory order, norm and activation of a spec."""

    def __init__(self, spec: NetSpec) -> None:
        self.nhwc = spec.norm == "layer"
        self._act: Callable[[], nn.Module] = {"relu": nn.ReLU, "gelu": nn.GELU}[spec.act]

    def conv(self, plan: Conv) -> nn.Module:
        """Return the convolution of a plan: a linear layer where it mixes channels only and they come last."""
        if self.nhwc and plan.pointwise:
            return nn.Linear(plan.in_channels, plan.out_channels, bias=plan.bias)
        kind = Conv2dNHWC if self.nhwc else nn.Conv2d
        return kind(
            plan.in_channels,
            plan.out_channels,
            plan.kernel,
            stride=plan.stride,
            padding=plan.padding,
            groups=plan.groups,
            bias=plan.bias,
        )

    def norm(self, channels: int) -> nn.Module:
        """Return a norm over the channels of a feature map."""
        return nn.LayerNorm(channels, eps=LAYER_NORM_EPS) if self.nhwc else nn.BatchNorm2d(channels)

    def pooled_norm(self, channels: int) -> nn.Module:
        """Return a norm over the channels of a pooled map (N, C)."""
        return nn.LayerNorm(channels, eps=LAYER_NORM_EPS) if self.nhwc else nn.BatchNorm1d(channels)

    def act(self) -> nn.Module:
        """Return a new activation."""
        return self._act()

    def max_pool(self) -> nn.Module:
        """Return the 3x3 stride-2 max-pool of the ResNet stem."""
        return (MaxPoolNHWC if self.nhwc else nn.MaxPool2d)(3, stride=2, padding=1)

    def mean_pool(self) -> nn.Module:
        """Return global average pooling."""
        return MeanPool((1, 2) if self.nhwc else (2, 3))

    def enter(self) -> nn.Module:
        """Return what brings a picture batch (N, C, H, W) into the net's memory order."""
        return ToNHWC() if self.nhwc else ChannelsLast()

    def leave(self) -> nn.Module:
        """Return what shows an inner map as (N, C, H, W)."""
        return ToNCHW() if self.nhwc else nn.Identity()

    def per_channel(self, channels: int) -> tuple[int, ...]:
        """Return the shape of a parameter that multiplies each channel of a feature map."""
        return (channels,) if self.nhwc else (channels, 1, 1)


def init_weights(net: nn.Module, scheme: Literal["truncated_normal", "he"]) -> None:
    """Set the start of every convolution and linear layer; biases become 0.

    "truncated_normal" has std 0.02 (the official code; the paper's Table 5 prints 0.2), "he" is He's normal
    initialisation over the fan out, as BatchNorm nets with ReLU are started; linear layers get the former in either.
    """
    for layer in net.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if scheme == "he" and isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
