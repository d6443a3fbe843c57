"""What detection and segmentation ask of a network: which of them can serve as a backbone."""

from convnext.errors import UserError
from convnext.models import any_spec
from convnext.peer_spec import PeerSpec
from convnext.spec import NetSpec


def backbone_of(model: object, task: str) -> NetSpec:
    """Return the spec of a network for its maps; UserError for one of another library."""
    spec = any_spec(model) if isinstance(model, str) else model
    if isinstance(spec, PeerSpec) or not isinstance(spec, NetSpec):
        shown = spec.title if isinstance(spec, PeerSpec) else type(model).__name__
        raise UserError(
            f"{task} stands on a network of this package, whose maps it knows, got {shown}; take one of "
            "`convnext models`, such as convnext_tiny or resnet50, or a row of the roadmap"
        )
    return spec
