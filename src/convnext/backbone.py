"""The stages of a network as the maps that detection and segmentation work on.

A network of several stages gives one map a stage. An isotropic one has a single map (stride 16), from which the maps
around it are made, as ViTDet and BEiT do: two transposed convolutions, one, none, and a max-pool.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

from convnext.errors import UserError
from convnext.layers import LAYER_NORM_EPS
from convnext.network import Network


class Backbone(nn.Module):
    """The stages of a Network as a list of maps, for dense tasks; the classifier's norm and head are gone.

    network       is taken over: its norm and head become nn.Identity, and with freeze_norms its BatchNorms change too
    norm_outputs  whether each map passes a LayerNorm over its channels, `norm0`, `norm1`, ..., as the official code has
                  it for ConvNeXt
    freeze_norms  whether each BatchNorm keeps its statistics, weights and biases for good, as detectors with a ResNet
                  do; networks with LayerNorm are left as they are

    UserError for an isotropic network whose stride is no multiple of 4.
    """

    network: Network

    def __init__(self, network: Network, *, norm_outputs: bool, freeze_norms: bool = False) -> None:
        super().__init__()
        network.norm = nn.Identity()
        network.set_submodule(network.head_name, nn.Identity())
        if freeze_norms:
            _freeze_norms(network)
        self.network = network
        self.feature_info: tuple[tuple[int, int], ...] = network.feature_info
        self.pyramid: Pyramid | None = None
        if network.spec.isotropic:
            stride, channels = network.feature_info[0]
            self.pyramid = Pyramid(stride, channels)
            self.feature_info = self.pyramid.feature_info
        self.norm_outputs = norm_outputs
        if norm_outputs:
            for index, (_, channels) in enumerate(self.feature_info):
                self.add_module(f"norm{index}", nn.LayerNorm(channels, eps=LAYER_NORM_EPS))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map pictures (N, C, H, W) to one map a stage, (N, C_i, H_i, W_i) as `feature_info` says."""
        maps = self.network.features(images)
        if self.pyramid is not None:
            maps = self.pyramid(maps[0])
        if self.norm_outputs:
            maps = [_over_channels(self.get_submodule(f"norm{index}"), x) for index, x in enumerate(maps)]
        return maps


class Pyramid(nn.Module):
    """Four maps of as many channels from one, at a quarter, half, once and twice its stride.

    UserError for a stride that is no multiple of 4.
    """

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        if stride % 4 != 0:
            raise UserError(
                f"an isotropic network must have a stem_stride that is a multiple of 4 to serve a dense task, "
                f"got {stride}; take 16"
            )
        self.feature_info = tuple((here, channels) for here in (stride // 4, stride // 2, stride, 2 * stride))
        self.up4 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.up4_norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.up4_again = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.up2 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        for conv in (self.up4, self.up4_again, self.up2):
            nn.init.trunc_normal_(conv.weight, std=0.02)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, C, H, W) to maps of sides 4, 2, 1 and 1/2 (rounded up) times H and W."""
        finest = self.up4_again(F.gelu(_over_channels(self.up4_norm, self.up4(x))))
        # Rounded up, so that a map of one cell still has a coarser one.
        return [finest, self.up2(x), x, F.max_pool2d(x, 2, ceil_mode=True)]


def _over_channels(norm: nn.Module, x_nchw: Tensor) -> Tensor:
    normed: Tensor = norm(x_nchw.permute(0, 2, 3, 1))
    return normed.permute(0, 3, 1, 2)


def _freeze_norms(network: nn.Module) -> None:
    norms = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    for name, norm in norms:
        frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
        for part in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(norm, part)
            assert isinstance(value, torch.Tensor)
            setattr(frozen, part, value.detach().clone())
        network.set_submodule(name, frozen)
