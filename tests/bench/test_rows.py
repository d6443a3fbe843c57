"""The tables have every system that the paper prints, and counting gives what it prints or the exception says."""

import sys

import pytest

from convnext.bench.rows import (
    counted,
    disagreements,
    named_subject,
    named_subjects,
    needs_timm,
    printed,
    table_subjects,
    timm_is_there,
)
from convnext.bench.settings import Subject
from convnext.errors import UserError
from convnext.reference import PAPER_ROWS

TABLE_1 = """
    regnety_16g@224 efficientnet_b7@600 efficientnetv2_large@480 efficientnetv2_xlarge@480 deit_small@224 deit_base@224
    swin_tiny@224 swin_small@224 swin_base@224 swin_large@224 swin_base_384@384 swin_large_384@384
    vit_base_384@384 vit_large_384@384 bit_r101x3@384 bit_r152x4@480
    convnext_tiny@224 convnext_small@224 convnext_base@224 convnext_large@224 convnext_xlarge@224
    convnext_tiny@384 convnext_small@384 convnext_base@384 convnext_large@384 convnext_xlarge@384
    resnet50@224 resnet200@224
""".split()
TABLE_2 = """
    vit_small@224 vit_base@224 vit_large@224
    convnext_isotropic_small@224 convnext_isotropic_base@224 convnext_isotropic_large@224
""".split()
TABLE_12 = """
    convnext_tiny@224 convnext_small@224 convnext_base@224 convnext_large@224 convnext_xlarge@224 convnext_base@384
    convnext_large@384 convnext_xlarge@384 swin_tiny@224 swin_small@224 swin_base@224 swin_large@224
    swin_base_384@384 swin_large_384@384
""".split()


def titles(subjects: list[Subject]) -> list[str]:
    return [subject.title for subject in subjects]


def test_every_system_has_its_row_once() -> None:
    for table, names in (("1", TABLE_1), ("2", TABLE_2), ("12", TABLE_12)):
        found = titles(table_subjects(table))  # type: ignore[arg-type]
        assert sorted(found) == sorted(names)
    # In the order of printing.
    assert titles(table_subjects("1"))[:3] == ["regnety_16g@224", "efficientnet_b7@600", "efficientnetv2_large@480"]


def test_a_printed_number_that_counting_does_not_give_is_told_with_its_reason() -> None:
    # That counting gives all others is held in tests/test_cost.py and tests/test_peers.py.
    exceptions = [row for row in PAPER_ROWS if row.counted_gmacs is not None]
    assert len({row.model for row in exceptions}) == 8
    for row in exceptions:
        subject = Subject(model=row.model, size=row.size)
        cost = counted(subject)
        said = disagreements(subject, cost)
        assert any(f"{row.gmacs:.1f} GMACs printed, {cost.gmacs:.2f} counted" in text for text in said)
        assert any(row.reason in text for text in said)
    tiny = Subject(model="swin_tiny", size=224)
    assert disagreements(tiny, counted(tiny)) == []


def test_a_disagreement_nobody_explained_is_said_all_the_same() -> None:
    subject = Subject(model="convnext_tiny", size=224)
    (text,) = disagreements(subject, counted(Subject(model="convnext_small", size=224)))
    assert "4.5 GMACs printed, 8.68 counted; 29M parameters printed, 50.22M counted" in text
    assert "the reason is not known" in text
    assert disagreements(Subject(model="convnext_tiny", size=256), counted(subject)) == []


def test_both_parts_of_table_1_and_the_other_tables_are_beside() -> None:
    tiny = printed(Subject(model="convnext_tiny", size=224)).to_dict()
    assert tiny == {
        "paper_params": 29_000_000,
        "paper_gmacs": 4.5,
        "paper_top1": 82.1,
        "paper_top1_22k": 82.9,
        "paper_images_per_second": 774.7,
        "paper_a100_images_per_second": 1943.5,
        "paper_training_memory_bytes": None,
    }
    only_22k = printed(Subject(model="swin_large", size=224))
    assert (only_22k.top1, only_22k.top1_22k) == (None, 86.3)
    isotropic = printed(Subject(model="convnext_isotropic_base", size=224))
    assert (isotropic.top1, isotropic.training_memory_bytes) == (82.0, 7_700_000_000)
    resnet = printed(Subject(model="resnet50", size=224))
    assert (resnet.gmacs, resnet.top1, resnet.params, resnet.images_per_second) == (4.09, 76.13, None, None)
    assert set(printed(Subject(model="convnext_tiny", size=256)).to_dict().values()) == {None}


def test_names_have_the_size_they_were_published_for_or_the_one_that_is_typed() -> None:
    names = ["convnext_base", "convnext_base@384", "efficientnet_b7", "swin_tiny", "timm:vit_base_patch16_384"]
    assert [subject.size for subject in named_subjects(names)] == [224, 384, 600, 224, 384]
    assert named_subject("torchvision:resnet50") == Subject(model="torchvision:resnet50", size=224)
    assert named_subject("resnet50:kernel_7@64") == Subject(model="resnet50:kernel_7", size=64)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["convnext_tinny"], "no model convnext_tinny; did you mean convnext_tiny"),
        (["convnext_tiny@big"], "NAME@PIXELS"),
        (["convnext_tiny@0"], "NAME@PIXELS"),
        (["convnext_tiny", "convnext_tiny@224"], "convnext_tiny@224 is named twice"),
        ([], "no model is named"),
    ],
)
def test_wrong_names_are_one_sentence(names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        named_subjects(names)
    assert "\n" not in str(error.value)


def test_who_needs_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {subject.title for subject in table_subjects("1") if not needs_timm(subject)}
    assert ours == {title for title in TABLE_1 if title.startswith(("convnext", "resnet"))}
    assert not needs_timm(named_subject("torchvision:resnet50")) and timm_is_there()
    monkeypatch.setitem(sys.modules, "timm", None)
    assert not timm_is_there()
