"""A segmenter of any SegmenterSpec: a backbone, UperNet's head, and in training the auxiliary one."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.backbone import Backbone
from convnext.errors import UserError
from convnext.network import Network
from convnext.segmentation.spec import SegmenterSpec
from convnext.segmentation.upernet import FCNHead, UperNetHead, init_classifier, resize
from convnext.spec import NetSpec

# The auxiliary head looks at the third map: stage 3, stride 16.
AUX_MAP = 2


class Segmenter(nn.Module):
    """A network that tells the class of each pixel; `network` is taken over and loses its classifier."""

    spec: SegmenterSpec

    def __init__(self, spec: SegmenterSpec, network: Network) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Backbone(network, norm_outputs=bool(spec.norm_outputs))
        channels = [channels for _, channels in self.backbone.feature_info]
        self.decode_head = UperNetHead(channels, spec.channels, spec.num_classes, spec.pool_scales, spec.dropout)
        self.auxiliary_head: FCNHead | None = None
        if spec.aux_channels is not None:
            self.auxiliary_head = FCNHead(channels[AUX_MAP], spec.aux_channels, spec.num_classes, spec.dropout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map pictures (N, C, H, W) to logits that are not resized.

        "main" is (N, num_classes, H/4, W/4); in training "aux", (N, num_classes, H/16, W/16), is there too where the
        spec has an auxiliary head. UserError for a training batch of one picture, unless BatchNorm is synchronised.
        """
        maps = self.backbone(images)
        outputs: dict[str, Tensor] = {"main": self.decode_head(maps)}
        if self.training and self.auxiliary_head is not None:
            outputs["aux"] = self.auxiliary_head(maps[AUX_MAP])
        return outputs

    def logits(self, images: Tensor) -> Tensor:
        """Map pictures (N, C, H, W) of any size to logits (N, num_classes, H, W) of the same size."""
        height, width = images.shape[-2:]
        # The coarsest map needs a cell; what is missing of one is filled with the mean colour and cut off again.
        least = self.backbone.feature_info[-1][0]
        filled = F.pad(images, (0, max(0, least - width), 0, max(0, least - height)))
        return resize(self.decode_head(self.backbone(filled)), filled)[..., :height, :width]

    def reset_classes(self, num_classes: int) -> None:
        """Replace the classifiers by fresh ones for `num_classes`, on the same device and in the same precision."""
        self.spec = replace(self.spec, num_classes=num_classes)
        for head in (self.decode_head, self.auxiliary_head):
            if head is not None:
                old = head.conv_seg
                head.conv_seg = nn.Conv2d(old.in_channels, num_classes, 1).to(old.weight)
                init_classifier(head.conv_seg)


def build_segmenter(spec: SegmenterSpec, *, network: Network | None = None, drop_path: float = 0.0) -> Segmenter:
    """Build the segmenter of a spec with fresh heads.

    network    whose weights the backbone starts from; the segmenter shares them, the network stays whole. It may have
               another number of classes and another start of LayerScale than the spec
    drop_path  stochastic depth of the backbone's last block, growing linearly from 0 over all blocks

    UserError where the network is not that of the spec, or for a drop_path outside [0, 1).
    """
    if network is None:
        return Segmenter(spec, Network(spec.backbone, drop_path=drop_path))
    if _essence(network.spec) != _essence(spec.backbone):
        raise UserError(
            f"the network to start from must be the spec's backbone, but it is {network.spec}; "
            "the spec was made for another (segmenter_spec takes a network's spec)"
        )
    with torch.device("meta"):
        own = Network(network.spec, drop_path=drop_path)
    own.load_state_dict(network.state_dict(), assign=True)
    return Segmenter(spec, own)


def _essence(spec: NetSpec) -> NetSpec:
    return replace(spec, num_classes=1, layer_scale=None if spec.layer_scale is None else 1.0)
