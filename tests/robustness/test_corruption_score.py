import pytest

from convnext.data.corruptions.table import NAMES, SEVERITIES
from convnext.robustness.corruption_score import ALEXNET, corruption_errors, mean_corruption_error

# AlexNet's mean errors as github.com/hendrycks/robustness lists them.
MEANS = (
    0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816, 0.826572, 0.819324, 0.564592,
    0.853204, 0.646056, 0.717840, 0.606500,
)  # fmt: skip
# Top-1 of ResNet-50 on single corruptions and their relative errors, as a public log of the same benchmark prints them.
RESNET50 = {
    "brightness": (68.02, 56.64),
    "contrast": (39.06, 71.43),
    "defocus_blur": (38.75, 74.71),
    "elastic_transform": (45.25, 84.75),
    "fog": (45.83, 66.11),
    "gaussian_noise": (29.29, 79.77),
    "glass_blur": (26.79, 88.61),
    "impulse_noise": (23.81, 82.58),
}


def constant(error: float) -> dict[tuple[str, int], float]:
    return {(name, severity): error for name in NAMES for severity in SEVERITIES}


def test_alexnets_errors_have_the_published_means():
    assert tuple(ALEXNET) == NAMES
    for name, mean in zip(NAMES, MEANS, strict=True):
        assert sum(ALEXNET[name]) / 5 == pytest.approx(mean, abs=1e-6)


def test_alexnet_has_a_hundred():
    own = {(name, severity): 100 * ALEXNET[name][severity - 1] for name in NAMES for severity in SEVERITIES}
    assert mean_corruption_error(own) == pytest.approx(100)
    assert mean_corruption_error({key: error / 2 for key, error in own.items()}) == pytest.approx(50)


def test_by_hand():
    assert mean_corruption_error(constant(40)) == pytest.approx(sum(40 / mean for mean in MEANS) / 15, abs=1e-3)
    # One error more at one severity counts for a fifteenth, in relation to the sum of five.
    worse = constant(40) | {("fog", 3): 41.0}
    assert mean_corruption_error(worse) - mean_corruption_error(constant(40)) == pytest.approx(
        1 / (5 * 0.819324) / 15, abs=1e-6
    )


@pytest.mark.parametrize("name", RESNET50)
def test_a_published_network(name):
    top1, relative = RESNET50[name]
    (found,) = corruption_errors({(name, severity): 100 - top1 for severity in SEVERITIES})
    assert found.relative == pytest.approx(relative, abs=0.01)


def test_a_part_is_compared_with_the_same_part_and_has_no_mean():
    (found,) = corruption_errors({("snow", 2): 44.196, ("snow", 5): 47.476})
    assert found.relative == pytest.approx(50) and found.errors == {2: 44.196, 5: 47.476}
    almost = constant(40)
    del almost["fog", 3]
    assert mean_corruption_error(almost) is None and mean_corruption_error({}) is None
