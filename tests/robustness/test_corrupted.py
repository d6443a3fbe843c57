import numpy as np
import pytest

from convnext.data.corruptions.table import GROUPS, NAMES, corruption_named
from convnext.errors import UserError
from convnext.labels import imagenet_1k
from convnext.robustness.corrupted import Conditions, open_conditions
from tests.robustness.made import paint_all

WNIDS = imagenet_1k().wnids
PICTURE = f"{WNIDS[3]}/ILSVRC2012_val_00000001.JPEG"


def opened(root, said=None, **settings) -> Conditions:
    return open_conditions(str(root), note=(said if said is not None else []).append, **settings)


@pytest.mark.parametrize("layout", ["{name}", "{group}/{name}", "imagenet-c/{group}/{name}"])
def test_the_folders_are_found_with_and_without_groups(tmp_path, layout):
    for name in ("fog", "gaussian_noise"):
        folder = layout.format(name=name, group=corruption_named(name).group)
        paint_all(tmp_path / folder, [f"{level}/{PICTURE}" for level in range(1, 6)])
    found = opened(tmp_path)
    assert found.chosen == tuple((name, level) for name in ("gaussian_noise", "fog") for level in range(1, 6))
    assert not found.computed and len(found.missing) == 13
    exam = found.open("fog", 4)
    assert exam.classes == (WNIDS[3],) and exam.split.name(0) == PICTURE
    # What lies in the folder, not what would be computed.
    assert (np.asarray(exam.split.picture(0)) != np.asarray(found.open("fog", 5).split.picture(0))).any()
    assert exam.split.picture(0).size == (30, 24)


def test_all_fifteen_in_their_groups(tmp_path):
    names = [f"{corruption_named(name).group}/{name}/{level}/{PICTURE}" for name in NAMES for level in range(1, 6)]
    said: list[str] = []
    found = opened(paint_all(tmp_path, [*names, f"extra/spatter/1/{PICTURE}"]), said)
    assert len(found.chosen) == 75 and found.missing == () and "spatter" in said[0]
    assert {folder.name for folder in tmp_path.iterdir()} == {*GROUPS, "extra"}


def test_a_part_of_them(tmp_path):
    paint_all(tmp_path, [f"{name}/{level}/{PICTURE}" for name in ("fog", "snow") for level in (1, 2, 3)])
    found = opened(tmp_path, corruptions=["snow"], severities=[3, 1])
    assert found.chosen == (("snow", 1), ("snow", 3)) and found.missing == ()
    assert opened(tmp_path / "fog", severities=[2]).chosen == (("fog", 2),), "the folder of one corruption"
    with pytest.raises(UserError, match="has no folder frost; it has snow, fog"):
        opened(tmp_path, corruptions=["frost"])
    with pytest.raises(UserError, match="has no folder 5; the severities are folders 1 to 5"):
        opened(tmp_path, severities=[5])
    with pytest.raises(UserError, match="there is no corruption snwo; did you mean snow"):
        opened(tmp_path, corruptions=["snwo"])
    with pytest.raises(UserError, match="a severity is 1, 2, 3, 4 or 5, got 6"):
        opened(tmp_path, severities=[6])


def test_clean_pictures_are_corrupted(tmp_path):
    paint_all(tmp_path, [f"val/{WNIDS[3]}/a.JPEG", f"val/{WNIDS[1]}/b.JPEG"])
    found = opened(tmp_path)
    assert found.computed and len(found.chosen) == 75 and found.missing == ()
    exam = found.open("contrast", 5)
    assert exam.classes == (WNIDS[1], WNIDS[3]) and exam.split.labels.tolist() == [0, 1]
    low, high = (np.asarray(found.open("contrast", level).split.picture(0)).std() for level in (5, 1))
    assert exam.split.picture(0).size == (224, 224) and low < high / 3


def test_what_is_unknown_is_told_though_all_others_are_asked_for(tmp_path):
    paint_all(tmp_path, [f"val/{PICTURE}"])
    with pytest.raises(UserError, match="a severity is 1, 2, 3, 4 or 5, got 6"):
        opened(tmp_path, severities=[1, 2, 3, 4, 5, 6])
    with pytest.raises(UserError, match="there is no corruption fogg; did you mean fog"):
        opened(tmp_path, corruptions=[*NAMES, "fogg"])


def test_corrupted_pictures_are_not_corrupted_again(tmp_path, monkeypatch):
    paint_all(tmp_path, [f"weather/fog/{level}/{PICTURE}" for level in (3, 4)])
    with pytest.raises(
        UserError, match=r"is one severity of fog; name .*fog or what holds it, and take --severities 3"
    ):
        opened(tmp_path / "weather" / "fog" / "3", corruptions=["snow"])
    monkeypatch.chdir(tmp_path / "weather" / "fog")
    found = opened(".", severities=[4])
    assert found.chosen == (("fog", 4),) and not found.computed
