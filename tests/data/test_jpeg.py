import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convnext.data import jpeg as module
from convnext.data.augment import scale_part
from convnext.data.folders import open_folder
from convnext.data.jpeg import plain_jpeg
from convnext.data.pictures import PictureError, Pixels, read_picture
from convnext.data.splits import Split
from convnext.data.uncut import JpegPicture, LoadedPicture, open_uncut


def painting(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> Pixels:
    return np.asarray(read_picture(data, "a"))


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


SAMPLINGS = ("444", "422", "420", "440", "411")


@pytest.mark.parametrize("size", [(64, 48), (37, 53), (17, 70), (1, 1), (3, 2)])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_any_rows_equal_pillows(sampling, size):
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(painting(*size)), 90, "RGB", sampling)
    whole = by_pillow(data)
    jpeg = plain_jpeg(data)
    assert (jpeg.width, jpeg.height) == size
    for end in range(1, size[1] + 1):
        assert (jpeg.rows(end)[:end] == whole[:end]).all()
    assert (jpeg.rows(size[1]) == whole).all()


def test_no_more_rows_are_decoded_than_needed():
    for sampling, rows in (("444", 100), ("420", 104)):
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(painting(80, 400)), 90, "RGB", sampling)
        assert plain_jpeg(data).rows(100).shape == (rows, 80, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"optimize": True},
        {"quality": 100},
        {"exif": with_orientation(1)},
        {"exif": with_orientation(9)},
        {"comment": b"\xff\xd9 not the end"},
        {"icc_profile": b"a profile of a few colours" * 9000},
        {"dpi": (300, 300)},
    ],
)
def test_remarks_change_nothing(options):
    data = encoded(painting(40, 30), **options)
    assert (plain_jpeg(data).rows(30) == by_pillow(data)).all()


def test_grey_files_give_three_equal_channels():
    data = encoded(painting(40, 30).convert("L"))
    assert (plain_jpeg(data).rows(30) == by_pillow(data)).all()


def test_what_follows_the_end_is_passed_over():
    data = encoded(painting(40, 30))
    assert (plain_jpeg(data + encoded(painting(9, 9))).rows(30) == by_pillow(data)).all()


THUMBNAIL = encoded(painting(16, 16))
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
OTHERS = {
    "progressive": encoded(painting(40, 30), progressive=True),
    "turned": encoded(painting(40, 30), exif=with_orientation(6)),
    "turned by another kind of metadata": encoded(painting(40, 30), xmp=XMP),
    "four inks": encoded(painting(40, 30).convert("CMYK")),
    "with restart markers": encoded(painting(40, 30), restart_marker_rows=1),
    "PNG": encoded(painting(40, 30), "PNG"),
    "cut off": encoded(painting(40, 30))[:-20],
    "cut off, with the end of a small picture inside": encoded(painting(40, 30), comment=THUMBNAIL)[:-20],
    "cut off in the header": encoded(painting(40, 30))[:100],
    "a marker inside the pixels": encoded(painting(40, 30))[:-60] + b"\xff\xe5" + encoded(painting(40, 30))[-58:],
    "two bytes": b"\xff\xd8",
    "empty": b"",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_are_left_to_pillow(kind):
    assert plain_jpeg(OTHERS[kind]) is None


class Files:
    """A store of files, or without `encoded` of pictures."""

    def __init__(self, *files: bytes) -> None:
        self.files = files

    def name(self, entry: int) -> str:
        return f"files/{entry}"

    def picture(self, entry: int) -> Image.Image:
        return read_picture(self.files[entry], self.name(entry))


class EncodedFiles(Files):
    def encoded(self, entry: int) -> bytes | None:
        return self.files[entry]


def split_of(store: Files) -> Split:
    entries = np.arange(len(store.files))
    return Split(store=store, entries=entries, labels=entries)


def cut(split: Split, index: int, box: tuple[int, int, int, int], channels: int = 3) -> Pixels:
    pixels, (left, top, width, height) = open_uncut(split, index, channels).part(box, 8)
    return pixels[top : top + height, left : left + width]


@pytest.mark.parametrize("channels", [1, 3])
def test_all_stores_and_kinds_give_the_same_parts(channels):
    kinds = ["progressive", "turned", "turned by another kind of metadata", "four inks", "with restart markers", "PNG"]
    files = [encoded(painting(40, 30)), encoded(painting(40, 30).convert("L")), *(OTHERS[kind] for kind in kinds)]
    for index, data in enumerate(files):
        whole = np.asarray(read_picture(data, "a").convert({1: "L", 3: "RGB"}[channels])).reshape(40, 30, -1)
        if index not in (3, 4):
            whole = whole.reshape(30, 40, -1)
        for store in (Files(*files), EncodedFiles(*files)):
            assert (cut(split_of(store), index, (3, 5, 20, 11), channels) == whole[5:16, 3:23]).all()
            uncut = open_uncut(split_of(store), index, channels)
            assert uncut.size == whole.shape[1::-1]
    assert isinstance(open_uncut(split_of(EncodedFiles(*files)), 0, 3), JpegPicture)
    assert isinstance(open_uncut(split_of(Files(*files)), 0, 3), LoadedPicture)


def test_an_encoded_store_may_have_no_file_for_a_picture():
    store = EncodedFiles(encoded(painting(40, 30)))
    store.encoded = lambda entry: None
    assert isinstance(open_uncut(split_of(store), 0, 3), LoadedPicture)


def test_folders_and_joined_splits_give_the_bytes_of_their_files(tmp_path):
    files = {"cat/1.jpg": encoded(painting(9, 9)), "cat/2.png": OTHERS["PNG"], "dog/1.jpg": encoded(painting(8, 8))}
    for name, data in [*files.items(), ("dog/2.jpg", OTHERS["turned"])]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    whole = open_folder(tmp_path, seed=0, val_fraction=0.5).whole()
    assert {whole.name(index): whole.encoded(index) for index in range(4)} == files | {"dog/2.jpg": OTHERS["turned"]}
    (tmp_path / "cat/1.jpg").unlink()
    gone = [whole.name(index) for index in range(4)].index("cat/1.jpg")
    for read in (whole.encoded, whole.picture):
        with pytest.raises(
            PictureError, match=r"^cat/1.jpg: cannot be read as a picture \(No such file or directory\)"
        ):
            read(gone)


@pytest.mark.parametrize("kind", ["cut off", "cut off, with the end of a small picture inside", "two bytes", "empty"])
def test_broken_files_are_named(kind):
    with pytest.raises(PictureError, match=r"^files/0: "):
        open_uncut(split_of(EncodedFiles(OTHERS[kind])), 0, 3)


def test_pillow_decides_where_the_decoder_gives_up(monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise ValueError("Corrupt JPEG data: bad Huffman code")

    files = encoded(painting(40, 30)), OTHERS["cut off"]
    monkeypatch.setattr(module.simplejpeg, "decode_jpeg", refuse)
    assert (cut(split_of(EncodedFiles(*files)), 0, (0, 0, 40, 10)) == by_pillow(files[0])[:10]).all()
    broken = JpegPicture(jpeg=module.PlainJpeg(data=files[1], width=40, height=30, height_at=0, rows_below=0), name="b")
    with pytest.raises(PictureError, match=r"^b: "):
        broken.part((0, 0, 40, 30), 8)


WHOLE = [
    encoded(painting(40, 33), exif=with_orientation(1), subsampling=sampling, **options)
    for sampling in (0, 2)
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2})
]


@settings(max_examples=400)
@given(
    data=st.sampled_from(WHOLE),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    in_header=st.booleans(),
    spoil=st.lists(st.tuples(st.floats(0, 0.999), st.sampled_from([0, 1, 2, 17, 0xD0, 0xD9, 0xFF])), max_size=4),
    end=st.integers(1, 33),
)
def test_damaged_files_give_what_pillow_gives(data, keep, in_header, spoil, end):
    damaged = bytearray(data)
    for place, value in spoil:
        damaged[int(place * (650 if in_header else len(damaged)))] = value
    damaged = damaged[: int(keep * len(damaged))]
    try:
        expected = np.asarray(read_picture(bytes(damaged), "a", max_pixels=10**6))
    except PictureError:
        expected = None
    try:
        uncut = open_uncut(split_of(EncodedFiles(bytes(damaged))), 0, 3)
        width, height = uncut.size
        if width * height > 10**6:
            return
        part, (_, top, _, rows) = uncut.part((0, 0, width, min(end, height)), 8)
    except PictureError:
        assert expected is None
    else:
        assert (part[top : top + rows] == expected[: min(end, height)]).all()


def test_reduced_decoding_keeps_the_least_side_and_nearly_the_pixels():
    data = encoded(painting(60, 45).resize((403, 301), Image.Resampling.BICUBIC), quality=95)
    jpeg = plain_jpeg(data)
    for side, scale in ((20, 8), (31, 8), (32, 4), (62, 4), (63, 2), (124, 2), (125, 1)):
        box = (11, 40, 300, 249)
        pixels, fine = JpegPicture(jpeg=jpeg, name="a", reduced=True).part(box, side)
        assert pixels.shape[1] == -(-403 // scale), side
        assert fine == tuple(edge / scale for edge in box)
        assert min(fine[2:]) >= side
    assert JpegPicture(jpeg=jpeg, name="a").part(box, 8)[0].shape[1] == 403, "only where it is asked for"
    shrunk = np.asarray(read_picture(data, "a").reduce(2)).astype(int)
    assert np.abs(jpeg.rows(301, 2)[:150, :201] - shrunk[:150, :201]).mean() < 1
    squares = [
        scale_part(*JpegPicture(jpeg=jpeg, name="a", reduced=reduced).part((12, 41, 301, 250), 31), 31, "bicubic")
        for reduced in (False, True)
    ]
    # It is 2.1; a box that lay a quarter of a small pixel aside would make it 8.
    assert 0 < np.abs(squares[0].astype(int) - squares[1]).mean() < 4
