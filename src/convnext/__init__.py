"""ConvNeXt: the networks, the roadmap, the recipes and the checkpoints of "A ConvNet for the 2020s" (2201.03545).

>>> import convnext
>>> model = convnext.create_model("convnext_tiny", num_classes=10, drop_path=0.1)
>>> model = convnext.load("convnext_tiny_1k_224_ema.pth")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convnext.cost import stage_costs as stage_costs
    from convnext.cost import total_cost as total_cost
    from convnext.errors import UserError as UserError
    from convnext.models import MODELS as MODELS
    from convnext.models import create_model as create_model
    from convnext.network import Network as Network
    from convnext.preprocess import Preprocess as Preprocess
    from convnext.roadmap import STEPS as STEPS
    from convnext.roadmap import spec_at as spec_at
    from convnext.spec import NetSpec as NetSpec
    from convnext.weights import load as load

__version__ = "0.1.0"

# Read on first use, so that `import convnext` and `convnext --help` do not wait for torch.
_HOME = {
    "MODELS": "convnext.models",
    "STEPS": "convnext.roadmap",
    "NetSpec": "convnext.spec",
    "Network": "convnext.network",
    "Preprocess": "convnext.preprocess",
    "UserError": "convnext.errors",
    "create_model": "convnext.models",
    "load": "convnext.weights",
    "spec_at": "convnext.roadmap",
    "stage_costs": "convnext.cost",
    "total_cost": "convnext.cost",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'convnext' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
