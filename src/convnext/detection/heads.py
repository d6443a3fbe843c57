"""The layers behind the pooled maps: box heads and mask heads, under torchvision's names.

Whatever half precision they compute in, what they predict is float32.
"""

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork

from convnext.detection.anchors import RATIOS
from convnext.detection.boxes import exact
from convnext.detection.spec import DetectorSpec

BOX_SIDE = 7
MASK_SIDE = 14


class ProposalHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """torchvision's head of the region proposal network, in float32 at its end."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, len(RATIOS))

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map pyramid maps (N, C, H, W) to logits (N, 3, H, W) and offsets (N, 12, H, W) of each."""
        logits, offsets = super().forward(x)
        return [exact(here) for here in logits], [exact(here) for here in offsets]


class BoxPredictor(nn.Module):
    """Logits and offsets of boxes for each class.

    num_logits   classes with the background
    num_offsets  classes that have offsets of their own: torchvision counts the background too, OpenMMLab does not
    """

    def __init__(self, in_channels: int, *, num_logits: int, num_offsets: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_logits)
        self.bbox_pred = nn.Linear(in_channels, num_offsets * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (S, C) to logits (S, num_logits) and offsets (S, 4 num_offsets)."""
        return exact(self.cls_score(x)), exact(self.bbox_pred(x))


class MaskPredictor(MaskRCNNPredictor):  # type: ignore[misc]  # torchvision has no types
    """torchvision's mask predictor, in float32 at its end."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, C, 14, 14) to logits (S, num_classes, 28, 28)."""
        logits: Tensor = super().forward(x)
        return exact(logits)


def box_head(spec: DetectorSpec) -> nn.Module:
    """Return what maps (S, C, 7, 7) to (S, hidden): two linear layers, or in a cascade four convolutions and one.

    A cascade's convolutions carry BatchNorm (the paper: synchronised over the processes).
    """
    if spec.head == "cascade-mask-rcnn":
        shape = (spec.channels, BOX_SIDE, BOX_SIDE)
        deep: nn.Module = FastRCNNConvFCHead(shape, [spec.channels] * 4, [spec.hidden], norm_layer=nn.BatchNorm2d)
        return deep
    flat: nn.Module = TwoMLPHead(spec.channels * BOX_SIDE**2, spec.hidden)
    return flat


def box_predictor(spec: DetectorSpec) -> BoxPredictor:
    """Return the predictor of classes and boxes."""
    num_logits = spec.num_classes + 1
    num_offsets = num_logits if spec.convention == "torchvision" else spec.num_classes
    return BoxPredictor(spec.hidden, num_logits=num_logits, num_offsets=num_offsets)


def mask_head(spec: DetectorSpec) -> nn.Module:
    """Return the four convolutions in front of the mask predictor."""
    head: nn.Module = MaskRCNNHeads(spec.channels, (spec.channels,) * 4, 1)
    return head


def mask_predictor(spec: DetectorSpec) -> MaskPredictor:
    """Return the predictor of a mask for each class; torchvision's has one for the background too."""
    num_masks = spec.num_classes + (spec.convention == "torchvision")
    return MaskPredictor(spec.channels, spec.channels, num_masks)


def start_as_openmmlab(module: nn.Module) -> None:
    """Set the start of the pyramid and of the box and mask heads as OpenMMLab's configurations have it."""
    for part in module.modules():
        if isinstance(part, FeaturePyramidNetwork):
            _xavier([layer for layer in part.modules() if isinstance(layer, nn.Conv2d)])
        elif isinstance(part, TwoMLPHead | FastRCNNConvFCHead):
            _xavier([layer for layer in part.modules() if isinstance(layer, nn.Linear)])
        elif isinstance(part, BoxPredictor):
            nn.init.normal_(part.cls_score.weight, std=0.01)
            nn.init.normal_(part.bbox_pred.weight, std=0.001)
            nn.init.zeros_(part.cls_score.bias)
            nn.init.zeros_(part.bbox_pred.bias)
        elif isinstance(part, MaskPredictor):
            for layer in (part.conv5_mask, part.mask_fcn_logits):
                nn.init.zeros_(layer.bias)


def _xavier(layers: list[nn.Conv2d] | list[nn.Linear]) -> None:
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
