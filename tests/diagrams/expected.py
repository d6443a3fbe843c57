"""Each row of Figure 2 beside the one before it, by hand: what is marked, what is gone, what is said of it."""

from convnext.roadmap import STEPS

STEP_NAMES = [step.name for step in STEPS]
STAGE_CHANNELS = {f"stage{number}.channels" for number in range(1, 5)} | {"head.linear"}
SHORTCUTS = {"stage2.shortcut", "stage3.shortcut", "stage4.shortcut"}
BOXES = {"first.channels", "spatial.channels", "last.channels"}
# What is marked, what is gone, what is said: each row of Figure 2 beside the one before it.
TOLD: dict[str, tuple[set[str], set[str], list[str]]] = {
    "modern_recipe": (set(), set(), []),
    "stage_ratio": ({"stage2.blocks", "stage3.blocks"}, set(), ["blocks 3-4-6-3 → 3-3-9-3"]),
    "patchify_stem": (
        {"stem.size"},
        {"stem.norm", "stem.act", "stem.pool"},
        ["stem: 7x7 stride 2, BN, ReLU, max-pool → 4x4 stride 4"],
    ),
    "depthwise": ({"spatial.kind"}, set(), ["spatial convolution dense → depthwise"]),
    "width": (
        {"stem.channels", *BOXES, *STAGE_CHANNELS},
        set(),
        [
            "stem channels 64 → 96",
            "block channels 256-64-64-256 → 384-96-96-384",
            "stage channels 256-512-1024-2048 → 384-768-1536-3072",
        ],
    ),
    "inverted": (
        {*BOXES, *STAGE_CHANNELS},
        {"stage1.shortcut"},
        [
            "block: bottleneck → inverted bottleneck",
            "block channels 384-96-96-384 → 96-384-384-96",
            "stage channels 384-768-1536-3072 → 96-192-384-768",
            "shortcut convolutions in stages 1-2-3-4 → 2-3-4",
        ],
    ),
    "move_up": (
        {"spatial.place", "spatial.channels"},
        set(),
        ["spatial convolution between the 1x1s → before the 1x1s", "block channels 96-384-384-96 → 96-96-384-96"],
    ),
    "kernel_5": ({"spatial.kernel"}, set(), ["kernel 3 → 5"]),
    "kernel_7": ({"spatial.kernel"}, set(), ["kernel 5 → 7"]),
    "kernel_9": ({"spatial.kernel"}, set(), ["kernel 7 → 9"]),
    "kernel_11": ({"spatial.kernel"}, set(), ["kernel 9 → 11"]),
    "gelu": (
        {"spatial.kernel", "spatial.act", "first.act", "block.act"},
        set(),
        ["kernel 11 → 7", "activation ReLU → GELU"],
    ),
    "fewer_activations": (
        set(),
        {"spatial.act", "block.act"},
        ["activations after spatial, first 1x1, sum → after first 1x1"],
    ),
    "fewer_norms": (set(), {"first.norm", "last.norm"}, ["norms after all three convolutions → after spatial"]),
    "layernorm": ({"spatial.norm", *SHORTCUTS}, set(), ["norm BN → LN"]),
    "separate_downsampling": (
        {"stem.norm", "head.norm"} | {f"stage{number}.{what}" for number in (2, 3, 4) for what in ("norm", "shrink")},
        SHORTCUTS,
        [
            "stem: 4x4 stride 4 → 4x4 stride 4, LN",
            "between stages: stride 2 in the first block → LN, 2x2 stride 2 convolution",
            "shortcut convolutions in stages 2-3-4 → none",
            "head norm none → LN",
        ],
    ),
}
