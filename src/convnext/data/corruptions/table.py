"""The corruptions of ImageNet-C as data: name, group, and parameters for the severities 1 to 5.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(arXiv 1903.12261), and the program that made the published files, ImageNet-C/create_c/make_imagenet_c.py in their
public repository hendrycks/robustness. The parameters hold for pictures of 224 x 224.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from convnext.errors import UserError, nearest

Group = Literal["noise", "blur", "weather", "digital"]
GROUPS: tuple[Group, ...] = get_args(Group)
SEVERITIES = (1, 2, 3, 4, 5)
SIZE_PX = 224
# Published beside the fifteen and not part of mCE.
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """One corruption; `parameters` has a row for each severity, and `meaning` says what stands in a row.

    Levels are shares of the full range, lengths are pixels, angles degrees.
    """

    name: str
    group: Group
    meaning: str
    parameters: tuple[tuple[float, ...], ...]


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption(
        name="gaussian_noise",
        group="noise",
        meaning="standard deviation",
        parameters=((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    ),
    Corruption(
        name="shot_noise",
        group="noise",
        meaning="photons at full level",
        parameters=((60,), (25,), (12,), (5,), (3,)),
    ),
    Corruption(
        name="impulse_noise",
        group="noise",
        meaning="share of the values that become 0 or full",
        parameters=((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    ),
    Corruption(
        name="defocus_blur",
        group="blur",
        meaning="radius of the disc, width of its soft edge",
        parameters=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    Corruption(
        name="glass_blur",
        group="blur",
        meaning="width of the blur, farthest neighbour, passes",
        parameters=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    Corruption(
        name="motion_blur",
        group="blur",
        meaning="half the longest way, width of the weights along it",
        parameters=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    Corruption(
        name="zoom_blur",
        group="blur",
        meaning="end and step of the zoom factors from 1",
        parameters=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    Corruption(
        name="snow",
        group="weather",
        meaning="mean, deviation, zoom and threshold of the flakes, half their way and its width, share of the picture",
        parameters=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    Corruption(
        name="frost",
        group="weather",
        meaning="share of the picture, share of the frost",
        parameters=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    Corruption(
        name="fog",
        group="weather",
        meaning="strength, decay of the roughness from one scale to the next",
        parameters=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    Corruption(
        name="brightness",
        group="weather",
        meaning="what is added to the value of hue, saturation, value",
        parameters=((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    ),
    Corruption(
        name="contrast",
        group="digital",
        meaning="what is left of the distance from the mean",
        parameters=((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    ),
    Corruption(
        name="elastic_transform",
        group="digital",
        meaning="strength of the displacement, its smoothness, shift of the corners",
        # 244 and not 224: a slip in the program that made the published files.
        parameters=(
            (244 * 2, 244 * 0.7, 244 * 0.1),
            (244 * 2, 244 * 0.08, 244 * 0.2),
            (244 * 0.05, 244 * 0.01, 244 * 0.02),
            (244 * 0.07, 244 * 0.01, 244 * 0.02),
            (244 * 0.12, 244 * 0.01, 244 * 0.02),
        ),
    ),
    Corruption(
        name="pixelate",
        group="digital",
        meaning="side of the small picture as a share",
        parameters=((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    ),
    Corruption(
        name="jpeg_compression",
        group="digital",
        meaning="JPEG quality",
        parameters=((25,), (18,), (15,), (10,), (7,)),
    ),
)
NAMES = tuple(corruption.name for corruption in CORRUPTIONS)


def corruption_named(name: str) -> Corruption:
    """Return a corruption by name; UserError offers near names."""
    for corruption in CORRUPTIONS:
        if corruption.name == name:
            return corruption
    raise UserError(f"there is no corruption {name}{nearest(name, NAMES)}")


def check_severity(severity: int) -> int:
    """Return a severity; UserError unless it is 1, 2, 3, 4 or 5."""
    if severity not in SEVERITIES:
        raise UserError(f"a severity is 1, 2, 3, 4 or 5, got {severity}")
    return severity
