"""Every network of the registry and every step of the roadmap, so small that a test can build them all."""

from dataclasses import replace

from convnext.models import MODELS
from convnext.roadmap import STEPS, spec_at
from convnext.spec import NetSpec


def small(spec: NetSpec) -> NetSpec:
    return replace(spec, width=8, depths=(1,) * len(spec.depths), num_classes=5)


SMALL_SPECS = {name: small(entry.spec) for name, entry in MODELS.items()} | {
    step.name: small(spec_at(step.name, "resnet50")) for step in STEPS
}
