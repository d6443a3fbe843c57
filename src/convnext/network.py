"""One network that builds any NetSpec: ResNet-50, each roadmap step, ConvNeXt, isotropic ConvNeXt.

Parameters carry the names that people's files use: the official ConvNeXt names (`downsample_layers.0.0.weight`,
`stages.2.5.pwconv1.weight`; isotropic: `stem.weight`, `blocks.3.gamma`) where downsampling is separate or absent, and
torchvision's ResNet names (`conv1.weight`, `layer3.5.bn2.bias`) where a stage strides inside its first block.
"""

import torch
from torch import Tensor, nn

from convnext import layout as plan
from convnext.classifier import Classifier, require_drop_path
from convnext.layers import LayerFactory, StochasticDepth, init_weights
from convnext.spec import NetSpec


class Block(nn.Module):
    """A residual block: act(shortcut(x) + drop_path(branch(x))), in the memory order of its network."""

    def __init__(self, block: plan.Block, make: LayerFactory, drop_path: float) -> None:
        super().__init__()
        names: list[str] = []

        def add(name: str, layer: nn.Module) -> None:
            self.add_module(name, layer)
            names.append(name)

        for index, conv in enumerate(block.convs, start=1):
            add(conv.name, make.conv(conv))
            if conv.norm_name is not None:
                add(conv.norm_name, make.norm(conv.out_channels))
            if conv.act:
                add(f"act{index}", make.act())
        self.branch_names = tuple(names)
        self.downsample = _conv_norm(block.shortcut, make) if block.shortcut else nn.Identity()
        self.drop_path = StochasticDepth(drop_path) if drop_path > 0 else nn.Identity()
        self.act = make.act() if block.act_after_sum else nn.Identity()

    def branch(self, x: Tensor) -> Tensor:
        """Map the block's input to what is added to its shortcut."""
        for name in self.branch_names:
            x = self._modules[name](x)  # type: ignore[misc]
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) or (N, C, H, W), whichever the network carries, to the same order."""
        out: Tensor = self.act(self.downsample(x) + self.drop_path(self.branch(x)))
        return out


class ScaledBlock(Block):
    """A block whose branch is multiplied by a learned scale per channel, `gamma` (LayerScale)."""

    def __init__(self, block: plan.Block, make: LayerFactory, drop_path: float) -> None:
        super().__init__(block, make, drop_path)
        assert block.layer_scale is not None
        self.gamma = nn.Parameter(torch.full(make.per_channel(block.out_channels), block.layer_scale))

    def branch(self, x: Tensor) -> Tensor:
        """Map the block's input to what is added to its shortcut."""
        return self.gamma * super().branch(x)


class Network(Classifier):
    """The network of a spec; maps pictures (N, C, H, W) to logits (N, num_classes).

    drop_path   chance that the last block's branch is dropped for a sample in training; grows linearly from 0 over all
                blocks (section 2.1 and Table 5)
    head_scale  factor on the head's start; the paper fine-tunes with 0.001

    Raises UserError for a drop_path outside [0, 1).
    """

    spec: NetSpec

    def __init__(self, spec: NetSpec, *, drop_path: float = 0.0, head_scale: float = 1.0) -> None:
        super().__init__()
        require_drop_path(drop_path)
        self.spec = spec
        self.drop_path = drop_path
        net = plan.layout(spec)
        make = LayerFactory(spec)
        blocks = _blocks(net, make, drop_path)
        self.enter, self.leave = make.enter(), make.leave()
        if spec.transitions == "in_block":
            self.path = self._add_resnet(net, make, blocks)
        elif spec.transitions == "separate":
            self.path = self._add_convnext(net, make, blocks)
        else:
            self.stem = make.conv(net.stem)
            self.blocks = blocks[0]
            self.path = (("stem", "blocks"),)
        self.pool = make.mean_pool()
        self.norm = make.pooled_norm(net.out_channels) if net.head_norm else nn.Identity()
        self.add_module(self.head_name, nn.Linear(net.out_channels, net.num_classes))
        init_weights(self, "truncated_normal" if make.nhwc else "he")
        self.scale_head(head_scale)

    @property
    def head_name(self) -> str:
        """Where the head stands among the modules: as torchvision's ResNet or the official ConvNeXt has it."""
        return "fc" if self.spec.transitions == "in_block" else "head"

    def _add_resnet(
        self, net: plan.Layout, make: LayerFactory, blocks: list[nn.Sequential]
    ) -> tuple[tuple[str, ...], ...]:
        stem = ["conv1"]
        self.conv1 = make.conv(net.stem)
        if net.stem.norm_name is not None:
            self.bn1 = make.norm(net.stem.out_channels)
            stem.append("bn1")
        if net.stem.act:
            self.act1 = make.act()
            stem.append("act1")
        if net.pool:
            self.maxpool = make.max_pool()
            stem.append("maxpool")
        names = [f"layer{index + 1}" for index in range(len(blocks))]
        for name, stage in zip(names, blocks, strict=True):
            self.add_module(name, stage)
        return ((*stem, names[0]), *((name,) for name in names[1:]))

    def _add_convnext(
        self, net: plan.Layout, make: LayerFactory, blocks: list[nn.Sequential]
    ) -> tuple[tuple[str, ...], ...]:
        downsamples: list[nn.Module] = [_stem(net, make)]
        for stage in net.stages[1:]:
            assert stage.downsample is not None
            norm = make.norm(stage.downsample.in_channels)
            downsamples.append(nn.Sequential(norm, make.conv(stage.downsample)))
        self.downsample_layers = nn.ModuleList(downsamples)
        self.stages = nn.ModuleList(blocks)
        return tuple((f"downsample_layers.{index}", f"stages.{index}") for index in range(len(blocks)))

    @property
    def feature_info(self) -> tuple[tuple[int, int], ...]:
        """(stride, channels) of each map that `features` returns."""
        stages = plan.layout(self.spec).stages
        return tuple((self.spec.stem_stride * 2**index, stage.out_channels) for index, stage in enumerate(stages))

    def features(self, images: Tensor) -> list[Tensor]:
        """Map pictures (N, C, H, W) to the output of each stage (N, C_i, H_i, W_i), strides 4, 8, 16, 32."""
        x = self.enter(images)
        outputs: list[Tensor] = []
        for names in self.path:
            for name in names:
                x = self.get_submodule(name)(x)
            outputs.append(self.leave(x))
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (N, C, H, W) to logits (N, num_classes)."""
        x = self.enter(images)
        for names in self.path:
            for name in names:
                x = self.get_submodule(name)(x)
        logits: Tensor = self.get_submodule(self.head_name)(self.norm(self.pool(x)))
        return logits


def _conv_norm(conv: plan.Conv, make: LayerFactory) -> nn.Sequential:
    return nn.Sequential(make.conv(conv), make.norm(conv.out_channels))


def _stem(net: plan.Layout, make: LayerFactory) -> nn.Sequential:
    stem = _conv_norm(net.stem, make)
    if net.stem.act:
        stem.append(make.act())
    if net.pool:
        stem.append(make.max_pool())
    return stem


def _blocks(net: plan.Layout, make: LayerFactory, drop_path: float) -> list[nn.Sequential]:
    depths = [len(stage.blocks) for stage in net.stages]
    rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
    stages = []
    for stage in net.stages:
        built = [
            (Block if block.layer_scale is None else ScaledBlock)(block, make, next(rates)) for block in stage.blocks
        ]
        stages.append(nn.Sequential(*built))
    return stages
