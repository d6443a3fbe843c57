"""Hypothesis strategies: any small network that a spec can say."""

from hypothesis import strategies as st

from convnext.spec import NetSpec


@st.composite
def specs(draw: st.DrawFn) -> NetSpec:
    isotropic = draw(st.booleans())
    stem = "patch" if isotropic else draw(st.sampled_from(["pool", "patch"]))
    return NetSpec(
        depths=tuple(draw(st.lists(st.integers(1, 2), min_size=1, max_size=1) if isotropic else _several_depths())),
        width=draw(st.integers(2, 6)),
        expansion=draw(st.integers(1, 4)),
        inverted=draw(st.booleans()),
        stem=stem,  # type: ignore[arg-type]
        stem_stride=draw(st.sampled_from([1, 2, 4] if stem == "pool" else [1, 2, 4, 8])),
        transitions="none" if isotropic else draw(st.sampled_from(["in_block", "separate"])),
        depthwise=draw(st.booleans()),
        mixer_first=draw(st.booleans()),
        kernel=draw(st.sampled_from([1, 3, 5, 7])),
        act=draw(st.sampled_from(["relu", "gelu"])),
        act_at=draw(st.sampled_from(["every", "one"])),
        norm=draw(st.sampled_from(["batch", "layer"])),
        norm_at=draw(st.sampled_from(["every", "one"])),
        layer_scale=draw(st.sampled_from([None, 1e-6, 0.5])),
        num_classes=draw(st.integers(1, 7)),
        in_channels=draw(st.integers(1, 4)),
    )


def _several_depths() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 2), min_size=2, max_size=4)
