"""What a network is called on a figure, and its family: convolutions or attention, and a colour."""

from dataclasses import dataclass
from typing import Literal

from convnext.models import MODELS
from convnext.peer_spec import LIBRARIES, PEERS
from convnext.roadmap import STEPS

Kind = Literal["ConvNet", "Transformer"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A line of networks: its name, what it is built of (None where nobody said), and its colour."""

    name: str
    kind: Kind | None
    colour: str


# Colours that everyone tells apart (Okabe and Ito); beside them ConvNets are round and Transformers square.
CONVNEXT = Family(name="ConvNeXt", kind="ConvNet", colour="#0072B2")
SWIN = Family(name="Swin", kind="Transformer", colour="#E69F00")
VIT = Family(name="ViT, DeiT", kind="Transformer", colour="#D55E00")
EFFICIENTNET = Family(name="EfficientNet", kind="ConvNet", colour="#009E73")
REGNET = Family(name="RegNet", kind="ConvNet", colour="#56B4E9")
RESNET = Family(name="ResNet", kind="ConvNet", colour="#CC79A7")
ROADMAP = Family(name="ResNet to ConvNeXt", kind="ConvNet", colour="#5B4A9E")
OTHER = Family(name="other", kind=None, colour="#8A8A8A")
FAMILIES = (CONVNEXT, SWIN, VIT, EFFICIENTNET, REGNET, RESNET, ROADMAP, OTHER)

_STARTS: dict[str, Family] = {
    "convnext_": CONVNEXT,
    "swin_": SWIN,
    "vit_": VIT,
    "deit_": VIT,
    "efficientnet": EFFICIENTNET,
    "regnety_": REGNET,
    "bit_": RESNET,
    "resnet": RESNET,
}
_SIZES = {"tiny": "T", "small": "S", "base": "B", "large": "L", "xlarge": "XL"}
# Rows of a sweep that no step names.
_WHOLE, _WITHOUT = "convnext", "without_"


def family_of(model: str) -> Family:
    """Return the family of a model by its name: registered ones, systems of the paper, and rows of the roadmap.

    "NAME (width=26)", a registered one in which something is changed, is of its family. Nothing is guessed of any
    other, a network of timm included: it is of no family.
    """
    model = _apart(model)[0]
    if model in MODELS or model in PEERS:
        return next((family for start, family in _STARTS.items() if model.startswith(start)), OTHER)
    return ROADMAP if _is_row(model) else OTHER


def title_of(model: str) -> str:
    """Return a model's name as the paper prints it, changed ones with a star; its own where it prints none."""
    name, changes = _apart(model)
    if changes and (name in MODELS or name in PEERS):
        return f"{title_of(name)}*"
    if model in PEERS:
        return PEERS[model].title
    if model in MODELS:
        line, *words = model.split("_")
        if line == "convnext":
            size = _SIZES.get(words[-1], words[-1].capitalize())
            return f"ConvNeXt-{size}" + (" (iso.)" if "isotropic" in words else "")
        return model.replace("resnet", "ResNet-")
    return model


def _apart(model: str) -> tuple[str, str]:
    """Return the name and the changes of "NAME (CHANGES)", as `convnext.plan` writes it."""
    name, space, changes = model.partition(" (")
    return (name, changes) if space and changes.endswith(")") else (model, "")


def _is_row(model: str) -> bool:
    regime, colon, row = model.partition(":")
    steps = [_WHOLE, *(step.name for step in STEPS)]
    return bool(colon) and regime not in LIBRARIES and row.removeprefix(_WITHOUT) in steps
