"""The layers of a spec: where strides, shortcuts, norms, activations and biases stand."""

from dataclasses import replace

from convnext.layout import layout
from convnext.roadmap import spec_at
from convnext.spec import CONVNEXT_TINY, RESNET50


def test_the_resnet_block_strides_in_its_middle_and_projects_its_shortcut() -> None:
    net = layout(RESNET50)
    first, second = net.stages[1].blocks[:2]
    assert [conv.stride for conv in first.convs] == [1, 2, 1]
    assert [conv.out_channels for conv in first.convs] == [128, 128, 512]
    assert first.shortcut is not None and (first.shortcut.stride, first.shortcut.out_channels) == (2, 512)
    assert second.shortcut is None
    assert net.stages[0].blocks[0].shortcut is not None  # 64 to 256 channels at the same size
    assert not any(conv.bias for conv in first.convs)
    assert all(conv.norm_name for conv in first.convs)
    assert [conv.act for conv in first.convs] == [True, True, False] and first.act_after_sum
    assert net.pool and not net.head_norm


def test_the_inverted_and_the_moved_up_block() -> None:
    inverted = layout(spec_at("inverted")).stages[1].blocks[0]
    assert [(c.in_channels, c.out_channels, c.stride, c.groups) for c in inverted.convs] == [
        (96, 768, 1, 1),
        (768, 768, 2, 768),
        (768, 192, 1, 1),
    ]
    moved = layout(spec_at("move_up")).stages[1].blocks[0]
    assert [(c.in_channels, c.out_channels, c.stride, c.groups) for c in moved.convs] == [
        (96, 96, 2, 96),
        (96, 768, 1, 1),
        (768, 192, 1, 1),
    ]


def test_the_convnext_block() -> None:
    net = layout(CONVNEXT_TINY)
    block = net.stages[1].blocks[0]
    assert [conv.name for conv in block.convs] == ["dwconv", "pwconv1", "pwconv2"]
    assert [conv.norm_name for conv in block.convs] == ["norm", None, None]
    assert [conv.act for conv in block.convs] == [False, True, False]
    assert block.shortcut is None and not block.act_after_sum and block.layer_scale == 1e-6
    assert all(conv.bias for conv in block.convs)
    assert net.stages[0].downsample is None
    assert net.stages[1].downsample is not None and net.stages[1].downsample.kernel == 2
    assert net.stem.norm_name == "1" and net.head_norm


def test_the_one_norm_follows_the_spatial_convolution_wherever_it_stands() -> None:
    for mixer_first, place in ((True, 0), (False, 1)):
        block = layout(replace(CONVNEXT_TINY, mixer_first=mixer_first)).stages[0].blocks[0]
        assert [conv.norm_name is not None for conv in block.convs].index(True) == place
        assert block.convs[place].kernel == 7
        assert [conv.act for conv in block.convs] == [False, True, False]


def test_the_patch_stem_has_a_bias_in_batch_norm_nets_too() -> None:
    stem = layout(spec_at("patchify_stem")).stem
    assert stem.bias and stem.norm_name is None and not stem.act


def test_a_smaller_stem_stride_keeps_the_kernel_where_it_can() -> None:
    sizes = {}
    for stride in (1, 2, 4, 8):
        stem = layout(replace(CONVNEXT_TINY, stem_stride=stride)).stem
        sizes[stride] = (stem.kernel, stem.output_size(64))
    assert sizes == {1: (3, 64), 2: (4, 32), 4: (4, 16), 8: (8, 8)}
    assert layout(replace(RESNET50, stem_stride=2)).pool is False
