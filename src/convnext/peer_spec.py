"""Networks of other libraries as values, and the table of the paper's other systems; nothing is built here.

A peer is written timm:NAME or torchvision:NAME, or by its short name where it is a system of the paper (`swin_tiny`).
`convnext.peers` builds and counts what stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from convnext.errors import UserError
from convnext.spec import NetSpec

Library = Literal["timm", "torchvision"]
LIBRARIES: tuple[Library, ...] = get_args(Library)
Option = bool | int | float | str | tuple[int | float | str, ...] | None
# Arguments that something else decides, and those by which timm reads a file, which may run what is in it.
_RESERVED = frozenset(
    [
        "num_classes",
        "in_channels",
        "in_chans",
        "img_size",
        "image_size",
        "input_size",
        "pretrained",
        "weights",
        "checkpoint_path",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "cache_dir",
    ]
)


@dataclass(frozen=True, kw_only=True)
class PeerSpec:
    """One network of another library.

    library      whose function builds it
    name         what the library calls it, without a tag of weights
    size         side in pixels of the pictures that it is built for; None where the library's own is taken. Nets of
                 any picture size ignore it
    options      further arguments of the library's function, such as embed_dim, in alphabetical order
    num_classes, in_channels   as in NetSpec

    Raises UserError when a field has a value that no network can have.
    """

    library: Library
    name: str
    size: int | None = None
    options: tuple[tuple[str, Option], ...] = ()
    num_classes: int = 1000
    in_channels: int = 3

    def __post_init__(self) -> None:
        if self.library not in LIBRARIES:
            raise UserError(f"library must be one of {', '.join(LIBRARIES)}, got {self.library!r}")
        if not isinstance(self.name, str) or not self.name:
            raise UserError(f"{self.library}: needs a name after the colon, as in timm:swin_tiny_patch4_window7_224")
        for name in ("num_classes", "in_channels", "size"):
            value = getattr(self, name)
            if (value is not None or name != "size") and (type(value) is not int or value < 1):
                raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name, option in self.options:
            _require_option(name, option)
        object.__setattr__(self, "options", tuple(sorted(self.options)))

    @property
    def title(self) -> str:
        """The name as it is typed."""
        return f"{self.library}:{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options}
        return {
            "library": self.library,
            "name": self.name,
            "size": self.size,
            "options": options,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PeerSpec":
        """Build a spec from `to_dict` values; UserError when they are no such values."""
        try:
            return cls(**{**values, "options": _options(values.get("options", {}))})
        except TypeError as error:
            raise UserError(f"these are no values of a peer's spec: {sorted(values)} ({error})") from error


Spec = NetSpec | PeerSpec


def spec_from_dict(values: Mapping[str, Any]) -> Spec:
    """Build a spec of either kind from its `to_dict` values."""
    return PeerSpec.from_dict(values) if "library" in values else NetSpec.from_dict(values)


def with_options(spec: PeerSpec, settings: Mapping[str, Any]) -> PeerSpec:
    """Return the spec with further arguments of the library's function, as `--set model.embed_dim=48` asks."""
    return replace(spec, options=tuple({**dict(spec.options), **dict(_options(settings))}.items()))


def _require_option(name: str, value: object) -> None:
    if name in _RESERVED:
        raise UserError(f"model.{name} cannot be set; the data, the recipe or --weights decides it")
    each = value if isinstance(value, tuple) else (value,)
    if value is not None and not all(isinstance(one, bool | int | float | str) for one in each):
        raise UserError(f"model.{name} must be a number, a text, true, false, none, or a list, got {value!r}")


def _options(values: Mapping[str, Any]) -> tuple[tuple[str, Option], ...]:
    if not isinstance(values, Mapping):
        raise UserError(f"options must be names with values, got {values!r}")
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())


@dataclass(frozen=True, kw_only=True)
class PeerEntry:
    """A system of the paper that is not ours: what it is called there, its spec and the side of its pictures."""

    name: str
    title: str
    spec: PeerSpec
    input_size: int


def _entry(name: str, title: str, timm_name: str, input_size: int = 224) -> tuple[str, PeerEntry]:
    spec = PeerSpec(library="timm", name=timm_name)
    return name, PeerEntry(name=name, title=title, spec=spec, input_size=input_size)


# Tables 1 and 2. Swin, ViT and DeiT are built for one picture size, so those at 384 are networks of their own.
PEERS: dict[str, PeerEntry] = dict(
    (
        _entry("regnety_16g", "RegNetY-16G", "regnety_160"),
        _entry("efficientnet_b7", "EffNet-B7", "tf_efficientnet_b7", 600),
        _entry("efficientnetv2_large", "EffNetV2-L", "tf_efficientnetv2_l", 480),
        _entry("efficientnetv2_xlarge", "EffNetV2-XL", "tf_efficientnetv2_xl", 480),
        _entry("deit_small", "DeiT-S", "deit_small_patch16_224"),
        _entry("deit_base", "DeiT-B", "deit_base_patch16_224"),
        _entry("swin_tiny", "Swin-T", "swin_tiny_patch4_window7_224"),
        _entry("swin_small", "Swin-S", "swin_small_patch4_window7_224"),
        _entry("swin_base", "Swin-B", "swin_base_patch4_window7_224"),
        _entry("swin_base_384", "Swin-B", "swin_base_patch4_window12_384", 384),
        _entry("swin_large", "Swin-L", "swin_large_patch4_window7_224"),
        _entry("swin_large_384", "Swin-L", "swin_large_patch4_window12_384", 384),
        _entry("vit_small", "ViT-S", "vit_small_patch16_224"),
        _entry("vit_base", "ViT-B", "vit_base_patch16_224"),
        _entry("vit_large", "ViT-L", "vit_large_patch16_224"),
        _entry("vit_base_384", "ViT-B/16", "vit_base_patch16_384", 384),
        _entry("vit_large_384", "ViT-L/16", "vit_large_patch16_384", 384),
        _entry("bit_r101x3", "R-101x3", "resnetv2_101x3_bit", 384),
        _entry("bit_r152x4", "R-152x4", "resnetv2_152x4_bit", 480),
    )
)


def peer_named(name: str) -> PeerSpec | None:
    """Return the spec of a system of the paper, or of timm:NAME or torchvision:NAME; None for any other name."""
    if name in PEERS:
        return PEERS[name].spec
    library, colon, inner = name.partition(":")
    for known in LIBRARIES:
        if colon and library == known:
            return PeerSpec(library=known, name=inner)
    return None
