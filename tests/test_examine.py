"""The sets of Table 8 end to end, on a network whose answers put each picture where it must be found right.

A picture is filed under the class that the network gives it, so that a score of 100 proves the way from folder to row.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convnext.data.augment import eval_picture
from convnext.data.corruptions.corrupt import CorruptedStore
from convnext.data.corruptions.table import NAMES, SEVERITIES
from convnext.data.folders import FolderStore
from convnext.data.splits import Split
from convnext.errors import UserError
from convnext.evaluate import Scoring, score_pictures
from convnext.examine import Examination, corrupted_preprocess, examine
from convnext.labels import imagenet_1k, imagenet_22k, rows_of_1k_in_22k
from convnext.models import create_model
from convnext.preprocess import Preprocess
from convnext.robustness.corruption_score import ALEXNET
from convnext.robustness.masks import classes_of
from convnext.robustness_reference import row_named
from convnext.spec import CONVNEXT_TINY
from convnext.tasks.normalise import normalise
from convnext.weights import Loaded
from tests.robustness.made import paint

WNIDS = imagenet_1k().wnids
SIZE = 32
SHOWN = Preprocess(size=SIZE)


def loaded_with(labels: tuple[str, ...]) -> Loaded:
    torch.manual_seed(1)
    network = create_model(replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8, num_classes=len(labels)))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return Loaded(
        network=network.eval(), preprocess=SHOWN, labels=labels, scheme="convnext", weights="raw", line="", metadata={}
    )


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return loaded_with(imagenet_1k().names)


def logits_of(loaded: Loaded, picture: Image.Image, preprocess: Preprocess = SHOWN) -> Tensor:
    pixels = torch.from_numpy(eval_picture(picture.convert("RGB"), preprocess)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return loaded.network(normalise(pixels, preprocess))[0]


def filed(root: Path, loaded: Loaded, folder_of: Any, count: int = 6) -> None:
    """Paint pictures and put each where `folder_of` says, given its logits."""
    for seed in range(count):
        path = paint(root / "new.png", seed, side=40 + seed)
        with Image.open(path) as image:
            folder = root / folder_of(logits_of(loaded, image))
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / f"{seed}.JPEG")


def examined(loaded: Loaded, root: Path, on: Any, **settings: Any) -> Examination:
    return examine(loaded, str(root), on, note=lambda text: None, **settings)


@pytest.mark.parametrize("on", ["imagenet", "sketch"])
def test_wnid_folders_are_rows_of_the_head(loaded, tmp_path, on):
    filed(tmp_path, loaded, lambda logits: WNIDS[int(logits.argmax())])
    done = examined(loaded, tmp_path, on)
    assert (done.scores.top1, done.scores.images, done.size) == (100, 6, SIZE)
    assert done.measures()[f"{on}_top1"] == 100 and ("imagenet_top5" in done.measures()) == (on == "imagenet")


def test_v2_folders_are_numbers(loaded, tmp_path):
    filed(tmp_path, loaded, lambda logits: str(int(logits.argmax())))
    assert len({len(path.name) for path in tmp_path.iterdir()}) > 1, "in text order these would be mixed up"
    assert examined(loaded, tmp_path, "v2").scores.top1 == 100


@pytest.mark.parametrize("on", ["a", "r"])
def test_only_200_classes_compete(loaded, tmp_path, on):
    rows = [WNIDS.index(wnid) for wnid in classes_of(on)]
    filed(tmp_path, loaded, lambda logits: classes_of(on)[int(logits[rows].argmax())], count=12)
    done = examined(loaded, tmp_path, on)
    assert done.scores.top1 == 100 and len(done.classes) == 200 and "200 classes" in done.notes[0]
    # Without the mask another class would win at least once, or this proves nothing.
    winners = [int(logits_of(loaded, Image.open(path)).argmax()) for path in tmp_path.glob("*/*")]
    assert any(row not in rows for row in winners)


def test_masks_change_the_confidence_too(loaded, tmp_path):
    rows = [WNIDS.index(wnid) for wnid in classes_of("a")]
    filed(tmp_path, loaded, lambda logits: classes_of("a")[int(logits[rows].argmax())], count=1)
    (path,) = tmp_path.glob("*/*")
    confidence = float(logits_of(loaded, Image.open(path))[rows].softmax(0).max())
    scores = examined(loaded, tmp_path, "a").scores
    assert scores.ece == pytest.approx(100 * (1 - confidence), rel=1e-4)
    assert scores.loss == pytest.approx(-np.log(confidence), rel=1e-4)


def test_a_head_of_22k_is_cut_to_the_200(tmp_path):
    large = loaded_with(imagenet_22k().names)
    of_1k = torch.tensor(rows_of_1k_in_22k())
    rows = of_1k[[WNIDS.index(wnid) for wnid in classes_of("r")]]
    filed(tmp_path, large, lambda logits: classes_of("r")[int(logits[rows].argmax())])
    done = examined(large, tmp_path, "r")
    assert done.scores.top1 == 100 and len(done.notes) == 2


def test_real_takes_any_of_the_labels(loaded, tmp_path):
    labels: list[list[int]] = []
    for number in range(1, 5):
        path = paint(tmp_path / f"ILSVRC2012_val_{number:08d}.JPEG", number)
        best = int(logits_of(loaded, Image.open(path)).argmax())
        wrong = (best + 1) % 1000
        labels.append([[wrong, best], [wrong], [], [best]][number - 1])
    (tmp_path / "real.json").write_text(json.dumps(labels))
    done = examined(loaded, tmp_path, "real")
    assert done.scores.top1 == pytest.approx(200 / 3)
    assert (done.scores.images, done.scores.without_label) == (3, 1)
    assert done.measures() == {"real_top1": done.scores.top1}


@pytest.fixture(scope="module")
def published(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 75 folders with two pictures each: one right, and the other right below severity 3."""
    root = tmp_path_factory.mktemp("imagenet-c")
    shown = corrupted_preprocess(SHOWN)
    for place, name in enumerate(NAMES):
        for severity in SEVERITIES:
            for which in range(2):
                path = paint(root / "new.png", 100 * place + 10 * severity + which, side=36)
                with Image.open(path) as image:
                    best = int(logits_of(loaded, image, shown).argmax())
                right = which == 0 or severity < 3
                folder = root / name / str(severity) / WNIDS[best if right else (best + 1) % 1000]
                folder.mkdir(parents=True, exist_ok=True)
                path.rename(folder / f"{which}.JPEG")
    return root


def test_mce_by_hand(loaded, published):
    seen: list[tuple[int, int]] = []
    done = examined(loaded, published, "c", how=Scoring(progress=lambda *places: seen.append(places)))
    assert done.scores.errors["fog", 2] == 0 and done.scores.errors["fog", 4] == 50
    expected = sum(3 * 50 / sum(errors) for errors in ALEXNET.values()) / 15
    assert done.scores.mce == pytest.approx(expected) and done.scores.images == 150 and not done.scores.computed
    assert done.measures() == {"c_mce": done.scores.mce} and done.notes == ()
    assert seen[-1] == (150, 150) and [place for place, _ in seen] == sorted(place for place, _ in seen)
    written = done.to_dict()
    assert written["corruptions"][9]["name"] == "fog" and written["corruptions"][9]["errors"]["4"] == 50


def test_a_part_has_no_mce_and_says_so(loaded, published):
    done = examined(loaded, published, "c", corruptions=["fog"], severities=[3, 4])
    assert done.scores.mce is None and done.measures() == {} and "no mCE" in done.notes[-1]
    (fog,) = done.scores.each()
    assert fog.relative == pytest.approx(100 / (ALEXNET["fog"][2] + ALEXNET["fog"][3]))


def test_corruptions_are_computed_of_clean_pictures(loaded, tmp_path):
    store = FolderStore(root=tmp_path, files=tuple(f"{seed}.png" for seed in range(3)))
    corrupted = CorruptedStore(store=store, corruption="contrast", severity=4)
    for seed in range(3):
        paint(tmp_path / f"{seed}.png", seed, side=60)
        best = int(logits_of(loaded, corrupted.picture(seed), corrupted_preprocess(SHOWN)).argmax())
        (tmp_path / "val" / WNIDS[best]).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{seed}.png").rename(tmp_path / "val" / WNIDS[best] / f"{seed}.JPEG")
    done = examined(loaded, tmp_path, "c", corruptions=["contrast"], severities=[4])
    # Contrast draws nothing, so the order of the folders does not matter.
    assert done.scores.errors == {("contrast", 4): 0} and done.scores.computed
    assert any("computed here" in note and "only approximately" in note for note in done.notes)


def test_the_report_says_whether_it_agrees(loaded, tmp_path):
    filed(tmp_path, loaded, lambda logits: WNIDS[int(logits.argmax())], count=2)
    row = row_named("convnext_tiny-1k-224")
    done = replace(examined(loaded, tmp_path, "imagenet"), size=224)
    assert [one.verdict for one in done.compared(row)] == ["none", "none"]
    whole = replace(done, scores=replace(done.scores, images=50_000, top1=82.2, top5=95.0))
    assert [(one.measure, one.verdict) for one in whole.compared(row)] == [
        ("imagenet_top1", "agrees"),
        ("imagenet_top5", "differs"),
    ]


@pytest.mark.parametrize(
    ("on", "settings", "words"),
    [
        ("a", {"severities": [1]}, "--corruptions and --severities are for --on c, not for --on a"),
        ("c", {"labels": Path("real.json")}, "--labels is for --on real, not for --on c"),
    ],
)
def test_settings_of_another_set_are_refused(loaded, tmp_path, on, settings, words):
    with pytest.raises(UserError, match=words):
        examined(loaded, tmp_path, on, **settings)


def test_a_head_without_the_classes_is_refused(tmp_path):
    small = loaded_with(imagenet_1k().names[:10])
    paint(tmp_path / classes_of("a")[0] / "x.jpg", 0)
    with pytest.raises(UserError, match="lets the 200 classes of ImageNet-A compete, of which the checkpoint does not"):
        examined(small, tmp_path, "a")


class Watching(nn.Module):
    """A network that keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return self.bias.expand(len(images), -1)


CUTS = [(224, "center", 0.875), (288, "center", 0.875), (384, "squash", 1.0)]


@pytest.mark.parametrize(("size", "mode", "crop"), CUTS)
def test_what_reaches_the_network_is_timms_and_torchvisions(tmp_path, size, mode, crop):
    create_transform = pytest.importorskip("timm.data").create_transform
    from torchvision import transforms

    names = ("tall.png", "wide.png")
    for name, shape in zip(names, ((500, 375), (333, 480)), strict=True):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    network, preprocess = Watching(), Preprocess.for_size(size)
    split = Split(store=FolderStore(root=tmp_path, files=names), entries=np.arange(2), labels=np.array([0, 1]))
    watching = Loaded(
        network=network, preprocess=preprocess, labels=None, scheme="convnext", weights="raw", line="", metadata={}
    )  # type: ignore[arg-type]
    score_pictures(watching, split, ("a", "b", "c"), preprocess, Scoring(device="cpu"))
    bicubic = transforms.InterpolationMode.BICUBIC
    if mode == "squash":
        cut = [transforms.Resize((size, size), bicubic)]
    else:
        cut = [transforms.Resize(int(size / crop), bicubic), transforms.CenterCrop(size)]
    normal = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    of_torchvision = transforms.Compose([*cut, transforms.ToTensor(), normal])
    of_timm = create_transform(input_size=size, interpolation="bicubic", crop_pct=crop, crop_mode=mode)
    (seen,) = network.seen
    for place, name in enumerate(names):
        with Image.open(tmp_path / name) as image:
            for transform in (of_torchvision, of_timm):
                assert torch.allclose(seen[place], transform(image.convert("RGB")), atol=1e-6)
