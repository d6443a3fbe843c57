from pathlib import Path

import pytest
import timm
from torchvision.models._meta import _IMAGENET_CATEGORIES as TORCHVISION_NAMES

from convnext.errors import UserError
from convnext.labels import imagenet_1k, imagenet_22k, label_map_of, readable, rows_for, rows_of_1k_in_22k

TIMM = Path(timm.__file__).parent / "data" / "_info"
# From the map that Swin's code ships. It numbers Google's 21,843 classes, two of which no release of ImageNet has; the
# heads of ConvNeXt have the other 21,841, as transformers' conversion of them says too.
SWIN_1K_IN_GOOGLES = {0: 359, 1: 368, 2: 460, 500: 5676, 849: 11137, 851: 11168, 998: 21369, 999: 21817}
ONLY_GOOGLES = (9205, 15027)
TEDDY, TOY = "n04399382", "n04461879"


def timm_lines(name):
    return (TIMM / name).read_text(encoding="utf-8").splitlines()


def test_wnids_and_words_are_timms():
    words = dict(line.split("\t") for line in timm_lines("imagenet_synset_to_lemma.txt"))
    for known, name in ((imagenet_1k(), "imagenet_synsets.txt"), (imagenet_22k(), "imagenet22k_synsets.txt")):
        assert list(known.wnids) == timm_lines(name) == sorted(known.wnids)
        assert list(known.words) == [words[wnid] for wnid in known.wnids]


def test_names_of_1k_are_torchvisions():
    assert list(imagenet_1k().names) == TORCHVISION_NAMES
    assert len(set(TORCHVISION_NAMES)) == 1000


def test_names_of_22k_differ_from_each_other():
    known = imagenet_22k()
    assert len(set(known.names)) == len(known.names) == 21841
    assert known.names[known.index("n01440764")] == "tench"
    assert known.names[known.index("n02012849")] == "crane (n02012849)"
    assert known.names[known.index("n02114548")] == "white wolf"
    assert all(name.startswith(words.split(", ")[0]) for name, words in zip(known.names, known.words, strict=True))


def test_rows_of_1k_in_22k():
    rows = rows_of_1k_in_22k()
    one, large = imagenet_1k(), imagenet_22k()
    expected = {one: place - sum(place > gap for gap in ONLY_GOOGLES) for one, place in SWIN_1K_IN_GOOGLES.items()}
    assert {number: rows[number] for number in expected} == expected
    differing = [number for number, row in enumerate(rows) if large.wnids[row] != one.wnids[number]]
    assert [one.wnids[number] for number in differing] == [TEDDY]
    assert large.wnids[rows[differing[0]]] == TOY
    assert TEDDY not in large.wnids
    # Swin's map has 5564 for the teddy bear, a chemise.
    assert large.words[5564] == "chemise, shimmy, shift, slip, teddy" and rows[850] != 5564


def test_googles_list_less_two_is_ours():
    theirs = timm_lines("imagenet21k_goog_synsets.txt")
    assert [wnid for place, wnid in enumerate(theirs) if place not in ONLY_GOOGLES] == list(imagenet_22k().wnids)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("n01440764", 0),
        ("tench", 0),
        ("Tinca tinca", 0),
        ("tench, Tinca tinca", 0),
        ("TENCH", 0),
        ("english_springer", 217),
        ("chainsaw", 491),
        ("crane bird", 134),
        ("crane", 517),
        ("Cardigan", 264),
        ("cardigan", 474),
        ("missile", 657),
        ("projectile", 744),
        ("maillot", 638),
        ("maillot tank suit", 639),
    ],
)
def test_classes_are_found_by_any_name(text, number):
    assert imagenet_1k().index(text) == number


@pytest.mark.parametrize("text", ["tennch", "", "0", "n99999999", "wagon", "panda"])
def test_names_that_are_unknown_or_have_two_meanings(text):
    assert imagenet_1k().find(text) is None
    with pytest.raises(UserError, match="ImageNet-1K has no one class"):
        imagenet_1k().index(text)


def test_near_names_are_offered():
    with pytest.raises(UserError, match=r"no one class 'tennch'; did you mean tench"):
        imagenet_1k().index("tennch")


def test_all_names_of_both_maps_lead_back():
    for known in (imagenet_1k(), imagenet_22k()):
        for texts in (known.wnids, known.names):
            assert [known.find(text) for text in texts] == list(range(len(texts)))


def test_map_of_a_head():
    assert label_map_of(1000) is imagenet_1k()
    assert label_map_of(21841) is imagenet_22k()
    assert label_map_of(21843) is label_map_of(10) is None


def test_readable():
    assert readable("n01440764") == "tench (n01440764)"
    assert readable("n02012849") == "crane bird (n02012849)"
    assert readable("n00004475") == "organism (n00004475)"
    assert readable("n99999999") == "n99999999"
    assert readable("tench") == "tench"


IMAGENETTE = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079"]
IMAGENETTE_NAMES = ["tench", "English springer", "cassette player", "chain saw", "church"]
IMAGENETTE_ROWS = [0, 217, 482, 491, 497]


@pytest.mark.parametrize(
    "classes", [IMAGENETTE, IMAGENETTE_NAMES, [name.replace(" ", "_") for name in IMAGENETTE_NAMES]]
)
@pytest.mark.parametrize("form", ["names", "wnids", "words"])
def test_rows_of_some_classes_in_a_head_of_1k(classes, form):
    labels = getattr(imagenet_1k(), form)
    assert rows_for(labels, classes) == IMAGENETTE_ROWS
    assert rows_for(labels, [*reversed(classes), "unicorn"]) == [*reversed(IMAGENETTE_ROWS), None]


def test_rows_of_whole_releases():
    one, large = imagenet_1k(), imagenet_22k()
    for labels in (one.names, one.wnids, one.words):
        for classes in (one.names, one.wnids, one.words):
            assert rows_for(labels, classes) == list(range(1000))
        assert rows_for(large.names, labels) == list(rows_of_1k_in_22k())
    assert rows_for(large.names, large.wnids) == list(range(21841))
    assert rows_for(one.names, sorted(one.wnids, reverse=True)) == list(range(999, -1, -1))


def test_words_that_two_classes_share_are_told_apart_by_their_places():
    """The hub's imagenet-1k calls the bird "crane" and the machine "crane2"."""
    names = list(imagenet_1k().names)
    names[134], names[517] = "crane", "crane2"
    assert rows_for(imagenet_1k().names, names) == list(range(1000))
    assert rows_for(names, imagenet_1k().wnids) == list(range(1000))


def test_rows_of_numbered_classes():
    numbers = [str(number) for number in range(1000)]
    assert rows_for(imagenet_1k().names, numbers) == list(range(1000))
    assert rows_for(imagenet_1k().names, numbers[:999]) == [None] * 999
    assert rows_for(["1", "0"], ["0", "1"]) == [1, 0], "names go before places"


def test_a_head_of_other_labels_knows_no_other_words():
    assert rows_for(["cat", "church"], ["church", "church building"]) == [1, None]
    assert rows_for(["tench", "church"], ["n03028079", "n01440764"]) == [1, 0], "unless one side is all wnids"
    assert rows_for(["n03028079", "n01440764"], ["tench", "church building"]) == [1, 0]
