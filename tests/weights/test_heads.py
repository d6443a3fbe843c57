"""Heads kept, picked and replaced: planned in numbers, and carried out on weights in the official layout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from convnext.cli.plan import make_plan
from convnext.errors import UserError
from convnext.evaluate import evaluate
from convnext.labels import imagenet_1k, imagenet_22k, rows_of_1k_in_22k
from convnext.models import create_model
from convnext.network import Network
from convnext.spec import CONVNEXT_TINY
from convnext.weights import read_model, save_model
from convnext.weights.heads import HeadPlan, plan_head

TINY = replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=4)
FEW = ("n01440764", "n02102040", "n03028079")
FEW_ROWS = (0, 217, 497)
ASKED_FOR = "(it knows them, but head_scale 0.001 asks for a fresh one; 1 maps it)"


def plan(has, labels=None, *, num_classes=None, classes=None, head_scale=1.0) -> HeadPlan:
    return plan_head(has, labels, num_classes=num_classes, classes=classes, head_scale=head_scale)


def test_a_head_stays_as_it_is() -> None:
    assert plan(7) == HeadPlan(said="7 classes")
    assert plan(7, tuple("abcdefg"), num_classes=7) == HeadPlan(labels=tuple("abcdefg"), said="7 classes")
    assert plan(3, tuple("abc"), classes="abc") == HeadPlan(labels=tuple("abc"), said="3 classes")
    assert plan(3, classes="abc") == HeadPlan(said="3 classes"), "nobody knows what the file's classes are"
    kept = plan(1000, classes=imagenet_1k().wnids, head_scale=0.001)
    assert kept == HeadPlan(labels=imagenet_1k().names, said="1000 classes, taken to be those of ImageNet-1K")
    assert plan(21841).labels == imagenet_22k().names
    assert plan(1000, classes=[str(number) for number in range(1000)]).rows is None


def test_rows_are_picked() -> None:
    mapped = plan(21841, num_classes=1000)
    assert mapped.rows == rows_of_1k_in_22k() and mapped.fresh is None
    assert mapped.said == "head mapped: 1000 of its 21841 classes"
    assert plan(21841, classes=imagenet_1k().wnids).rows == rows_of_1k_in_22k()
    few = plan(1000, classes=FEW)
    assert (few.rows, few.labels) == (FEW_ROWS, FEW)
    assert plan(3, tuple("abc"), classes="ca").rows == (2, 0)
    assert plan(3, tuple("abc"), classes="cab", head_scale=0.001).rows == (2, 0, 1), "the same classes in another order"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"has": 7, "num_classes": 3}, "head replaced: 7 -> 3 classes"),
        ({"has": 7, "classes": "abc"}, "head replaced: 7 -> 3 classes"),
        ({"has": 1000, "num_classes": 10}, "head replaced: 1000 -> 10 classes"),
        ({"has": 1000, "classes": ("cat", *FEW)}, "head replaced: 1000 -> 4 classes"),
        ({"has": 21843, "num_classes": 1000}, "head replaced: 21843 -> 1000 classes"),
        (
            {"has": 21841, "classes": imagenet_1k().wnids, "head_scale": 0.001},
            f"head replaced: 21841 -> 1000 classes {ASKED_FOR}",
        ),
        (
            {"has": 21841, "num_classes": 1000, "head_scale": 0.001},
            f"head replaced: 21841 -> 1000 classes {ASKED_FOR}",
        ),
        (
            {"has": 3, "labels": tuple("abc"), "classes": "abd"},
            "head replaced: the checkpoint tells as many classes apart, but others than the data has",
        ),
        ({"has": None, "classes": "abc"}, "no head in the file, new head of 3 classes"),
    ],
)
def test_a_fresh_head(given, said) -> None:
    wanted = given.get("num_classes") or len(given["classes"])
    assert plan(**given) == HeadPlan(fresh=wanted, said=said)


def test_contradiction() -> None:
    with pytest.raises(UserError, match="num_classes must be the number of classes, 3, got 4; leave it out"):
        plan(7, num_classes=4, classes="abc")


@pytest.fixture(scope="module")
def official_22k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small network with a head of 22K as the official code writes it."""
    torch.manual_seed(0)
    network = Network(replace(TINY, num_classes=21841))
    with torch.no_grad():
        network.head.weight.normal_()
        network.head.bias.normal_()
    path = tmp_path_factory.mktemp("official") / "convnext_22k_224.pth"
    torch.save({"model": network.state_dict()}, path)
    return path


def test_scores_of_a_mapped_head_are_those_of_the_large_one(official_22k: Path) -> None:
    large, mapped = read_model(official_22k), read_model(official_22k, num_classes=1000)
    assert large.labels == imagenet_22k().names and mapped.labels == imagenet_1k().names
    assert "21841 classes, taken to be those of ImageNet-22K" in large.line
    assert "head mapped: 1000 of its 21841 classes" in mapped.line
    assert mapped.network.spec.num_classes == 1000
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = large.network(images)[:, list(rows_of_1k_in_22k())]
        assert torch.allclose(mapped.network(images), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(mapped.network.classifier.bias, large.network.classifier.bias[list(rows_of_1k_in_22k())])
    assert not mapped.network.training
    assert mapped.network.classifier.weight.requires_grad and mapped.network.classifier.weight.is_leaf


def test_fresh_head_on_request_is_drawn_and_scaled(official_22k: Path) -> None:
    torch.manual_seed(1)
    fresh = read_model(official_22k, num_classes=1000, head_scale=0.001)
    assert fresh.labels is None
    assert fresh.network.classifier.weight.abs().max() < 1e-4


@pytest.fixture
def wnid_folders(make_pictures) -> Path:
    return make_pictures({"n01440764": 3, "n02102040": 2, "n03028079": 2})


@pytest.fixture
def make_pictures(tmp_path: Path):
    from PIL import Image

    def make(counts):
        for number, (name, count) in enumerate(counts.items()):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            for one in range(count):
                Image.new("RGB", (32, 32), (40 * number, 20 * one, 9)).save(tmp_path / "data" / name / f"{one}.png")
        return tmp_path / "data"

    return make


def always(num_classes: int, *order: int) -> Network:
    """Return a network that gives each picture these classes, the likeliest first."""
    network = Network(replace(TINY, num_classes=num_classes))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()
        for place, number in enumerate(order):
            network.head.bias[number] = 20.0 - place
    return network


def score(folder: Path, network: Network, data: Path):
    torch.save({"model": network.state_dict()}, folder / "x.pth")
    return evaluate(read_model(folder / "x.pth"), str(data), size=32, device="cpu", workers=0)


def test_some_of_imagenets_folders_against_a_checkpoint_without_names(tmp_path: Path, wnid_folders: Path) -> None:
    done = score(tmp_path, always(1000, 217), wnid_folders)
    assert done.scores.top1 == pytest.approx(100 * 2 / 7)
    assert done.head is None
    assert done.classes[217] == "English springer"
    assert np.flatnonzero(done.scores.confusion.numpy().sum(1)).tolist() == list(FEW_ROWS)


def test_folders_called_by_name(tmp_path: Path, make_pictures) -> None:
    data = make_pictures({"English_springer": 2, "tench": 4})
    assert score(tmp_path, always(1000, 0), data).scores.top1 == pytest.approx(100 * 4 / 6)


def test_a_head_of_22k_on_folders_of_1k(tmp_path: Path, wnid_folders: Path) -> None:
    fish = imagenet_22k().index("n02512053")
    tench = rows_of_1k_in_22k()[0]
    done = score(tmp_path, always(21841, fish, tench), wnid_folders)
    assert done.scores.top1 == pytest.approx(100 * 3 / 7)
    assert (
        done.head == "of the head's 21,841 classes only the 1,000 of ImageNet-1K count, because the data has no others"
    )
    assert done.classes == imagenet_1k().names


def test_a_head_of_22k_on_folders_of_22k(tmp_path: Path, make_pictures) -> None:
    """The folder of a class that is not in 1K keeps the whole head."""
    data = make_pictures({"n02512053": 2, "n01440764": 6})
    fish = imagenet_22k().index("n02512053")
    done = score(tmp_path, always(21841, fish, rows_of_1k_in_22k()[0]), data)
    assert done.scores.top1 == pytest.approx(100 * 2 / 8)
    assert done.head is None and len(done.classes) == 21841


def test_a_class_that_a_checkpoint_of_1k_does_not_know(tmp_path: Path, make_pictures) -> None:
    data = make_pictures({"unicorn": 2, "n01440764": 2})
    with pytest.raises(UserError, match=r"has classes that the checkpoint does not know \(unicorn\); it knows tench,"):
        score(tmp_path, always(1000, 0), data)


@pytest.mark.parametrize("head_scale", [1.0, 0.001])
def test_training_begins_with_the_rows_for_the_data(official_22k, wnid_folders, head_scale, capsys) -> None:
    network = plan_of(wnid_folders, official_22k, [f"regularise.head_scale={head_scale}"]).model
    large = read_model(official_22k).network.classifier
    rows = [rows_of_1k_in_22k()[row] for row in FEW_ROWS]
    mapped = torch.equal(network.classifier.weight, large.weight[rows])
    assert network.spec.num_classes == 3
    assert mapped == (head_scale == 1.0)
    said = "head mapped: 3 of its 21841 classes" if mapped else "head replaced: 21841 -> 3 classes (it knows them, but"
    assert said in capsys.readouterr().err


def plan_of(data: Path, weights: Path, settings: list[str]):
    return make_plan(
        str(data),
        model=None,
        recipe=None,
        weights=str(weights),
        epochs=None,
        size=32,
        settings=settings,
        seed=0,
        device="cpu",
    )


def test_training_on_other_classes_begins_with_a_fresh_head(official_22k, make_pictures, capsys) -> None:
    network = plan_of(make_pictures({"unicorn": 2, "n01440764": 2}), official_22k, []).model
    assert network.spec.num_classes == 2
    assert "head replaced: 21841 -> 2 classes" in capsys.readouterr().err


def test_labels_that_were_saved_go_before_the_release(tmp_path: Path) -> None:
    names = [f"thing {number}" for number in range(1000)]
    save_model(tmp_path / "x.safetensors", Network(replace(TINY, num_classes=1000)), labels=names)
    assert read_model(tmp_path / "x.safetensors").labels == tuple(names)


def test_picking_keeps_place_and_precision() -> None:
    network = create_model(TINY, num_classes=5).to(torch.bfloat16)
    before = network.classifier.weight.clone()
    network.pick_classes([4, 1])
    assert network.classifier.weight.dtype == torch.bfloat16
    assert torch.equal(network.classifier.weight, before[[4, 1]])
    assert network.spec.num_classes == 2
