"""The mean corruption error (mCE) of ImageNet-C: errors in relation to those of AlexNet.

Hendrycks and Dietterich (arXiv 1903.12261), section 4: the corruption error of a corruption is the sum of a network's
errors over the five severities divided by the sum of AlexNet's, and mCE is the mean over the fifteen corruptions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from convnext.data.corruptions.table import NAMES, SEVERITIES

# AlexNet's top-1 error by severity on the published files, as shares. Their means over the severities are the fifteen
# numbers that github.com/hendrycks/robustness lists; by severity they stand in public programs that use them.
ALEXNET: Mapping[str, tuple[float, ...]] = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}

Errors = Mapping[tuple[str, int], float]
"""Top-1 errors in percent by corruption and severity."""


@dataclass(frozen=True, kw_only=True)
class CorruptionError:
    """One corruption: errors in percent by severity, and their sum in percent of AlexNet's over the same severities."""

    name: str
    errors: Mapping[int, float]
    relative: float


def corruption_errors(errors: Errors) -> list[CorruptionError]:
    """Return the corruption error of each corruption that was scored, in the usual order."""
    found = []
    for name in NAMES:
        own = {severity: errors[name, severity] for severity in SEVERITIES if (name, severity) in errors}
        if own:
            alexnet = sum(ALEXNET[name][severity - 1] for severity in own)
            found.append(CorruptionError(name=name, errors=own, relative=sum(own.values()) / alexnet))
    return found


def mean_corruption_error(errors: Errors) -> float | None:
    """Return mCE in percent, None unless all fifteen corruptions were scored at all five severities."""
    if len(errors) < len(NAMES) * len(SEVERITIES):
        return None
    return sum(one.relative for one in corruption_errors(errors)) / len(NAMES)
