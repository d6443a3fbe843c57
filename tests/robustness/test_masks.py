"""The classes of ImageNet-A and R against timm's lists, which were made from the published archives."""

from importlib.resources import files

import pytest

from convnext.errors import UserError
from convnext.labels import imagenet_1k
from convnext.robustness.masks import check_classes, classes_of

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["a", "r"])
def test_the_classes_are_timms_in_the_order_of_the_head(name):
    info = files("timm.data").joinpath("_info")
    numbers = [int(line) for line in info.joinpath(f"imagenet_{name}_indices.txt").read_text().split()]
    found = classes_of(name)
    assert found == tuple(info.joinpath(f"imagenet_{name}_synsets.txt").read_text().split())
    assert [imagenet_1k().wnids.index(wnid) for wnid in found] == numbers == sorted(numbers)
    assert len(found) == 200


def test_a_stranger_is_named():
    check_classes("a", "here", classes_of("a")[:3])
    with pytest.raises(UserError, match="here has n01440764, which is none of the 200 classes of ImageNet-A"):
        check_classes("a", "here", (*classes_of("a"), "n01440764"))
