import gc
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from convnext.data.pictures import MAX_PIXELS, PictureError, read_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(data: bytes) -> np.ndarray:
    image = read_picture(data, "some/picture")
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_kinds_are_exact(kind, options):
    assert (read(encoded(Image.fromarray(COLOURS), kind, **options)) == COLOURS).all()


def test_jpeg_equals_pillow():
    data = encoded(Image.fromarray(COLOURS), "JPEG")
    assert (read(data) == np.asarray(Image.open(io.BytesIO(data)))).all()


def test_path_and_bytes_agree(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).save(path)
    assert (np.asarray(read_picture(path, "a.png")) == COLOURS).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(COLOURS), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape == ((5, 7, 3) if orientation < 5 else (7, 5, 3))
    assert (read(data) == expected).all()


def test_orientation_six_is_a_quarter_turn_clockwise():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert (read(encoded(Image.fromarray(COLOURS), "PNG", exif=exif)) == np.rot90(COLOURS, k=-1)).all()


def test_nonsense_orientation_is_passed_over():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert (read(encoded(Image.fromarray(COLOURS), "PNG", exif=exif)) == COLOURS).all()


def test_broken_metadata_loses_no_pixels():
    data = encoded(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\1")
    assert (read(data) == COLOURS).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(kind):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    grey = read(encoded(Image.fromarray(values), kind))
    assert (grey == np.arange(256).reshape(16, 16, 1)).all()


def test_16_bit_grey_is_rounded_to_the_nearest():
    values = np.array([[0, 128, 129, 65406, 65407, 65535]], dtype=np.uint16)
    assert read(encoded(Image.fromarray(values), "PNG"))[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]


def test_16_bit_grey_big_endian():
    tiff = struct.pack(">2sHI", b"MM", 42, 8) + struct.pack(">H", 8)
    entries = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8 + 2 + 8 * 12 + 4), (278, 1)]
    for tag, value in entries:
        is_long = tag == 273
        tiff += struct.pack(">HHI", tag, 4 if is_long else 3, 1)
        tiff += struct.pack(">I", value) if is_long else struct.pack(">HH", value, 0)
    tiff += struct.pack(">HHII", 279, 4, 1, 4) + struct.pack(">I", 0) + struct.pack(">HH", 257 * 3, 257 * 200)
    assert read(tiff)[0, :, 0].tolist() == [3, 200]


def test_pixels_beyond_16_bits_are_refused():
    data = encoded(Image.fromarray(np.array([[70000]], dtype=np.int32)), "TIFF")
    with pytest.raises(PictureError, match=r"some/picture: its pixels do not fit 16 bits"):
        read(data)


def test_floating_point_is_refused():
    data = encoded(Image.fromarray(np.array([[0.5]], dtype=np.float32)), "TIFF")
    with pytest.raises(PictureError, match=r"some/picture: floating-point pixels"):
        read(data)


def test_palette():
    image = Image.fromarray(COLOURS).quantize(16)
    assert (read(encoded(image, "PNG")) == np.asarray(image.convert("RGB"))).all()


def test_transparent_palette_entry_becomes_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        pixels = read(encoded(image, kind, transparency=0))
        assert pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_alpha_is_composited_on_white():
    image = Image.new("RGBA", (3, 1))
    for place, alpha in enumerate((0, 51, 255)):
        image.putpixel((place, 0), (100, 0, 200, alpha))
    assert read(encoded(image, "PNG")).tolist() == [[[255, 255, 255], [224, 204, 244], [100, 0, 200]]]


def test_grey_with_alpha():
    image = Image.new("LA", (2, 1), (100, 0))
    image.putpixel((1, 0), (100, 255))
    assert read(encoded(image, "PNG")).tolist() == [[[255] * 3, [100] * 3]]


def test_transparent_colour_becomes_white():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    assert read(encoded(image, "PNG", transparency=(1, 2, 3))).tolist() == [[[255] * 3, [9] * 3]]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_kinds(mode):
    image = Image.fromarray(COLOURS).convert(mode)
    assert (read(encoded(image, "PNG")) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(read(encoded(ink, kind)).astype(int) - [255, 0, 0]).max() <= 3


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read(data) == [255, 0, 0]).all()


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def test_bomb_is_refused_before_it_is_decoded():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError) as error:
        read_picture(png_header(13_378, 13_378) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e", "bomb.png")
    assert "bomb.png: refused, it has far too many pixels" in str(error.value)
    assert before == Image.MAX_IMAGE_PIXELS
    assert MAX_PIXELS == 178_956_970 < 13_378**2


def test_limit_is_a_parameter_and_inclusive():
    data = encoded(Image.fromarray(COLOURS), "PNG")
    assert read_picture(data, "a", max_pixels=35).size == (7, 5)
    with pytest.raises(PictureError, match=r"^a: refused, 7 x 5 is 35 pixels and at most 34 are read"):
        read_picture(data, "a", max_pixels=34)


def test_warnings_of_pillow_stay_inside(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (read(encoded(Image.fromarray(COLOURS), "PNG")) == COLOURS).all()
    assert caught == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_truncated(kind):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(PictureError, match=r"^cut/off\.xyz: "):
        read_picture(data[: len(data) // 2], "cut/off.xyz")


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_no_picture(data):
    with pytest.raises(PictureError, match=r"^notes\.jpg: not a picture of a known kind \(JPEG, PNG"):
        read_picture(data, "notes.jpg")


def test_missing_file(tmp_path):
    with pytest.raises(PictureError, match=r"^gone: cannot be read as a picture \(No such file or directory\)"):
        read_picture(tmp_path / "gone.png", "gone")


WHOLE = [encoded(Image.fromarray(COLOURS), kind) for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP")]


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(WHOLE),
    keep=st.floats(0, 1),
    spoil=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_any_damage_gives_a_picture_or_a_picture_error(data, keep, spoil):
    damaged = bytearray(data[: int(len(data) * keep)])
    for place, value in spoil if damaged else []:
        damaged[int(place * len(damaged))] = value
    try:
        assert read_picture(bytes(damaged), "damaged", max_pixels=10**6).mode == "RGB"
    except PictureError as error:
        assert str(error).startswith("damaged: ")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files the Linux way")
def test_no_file_stays_open(tmp_path):
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    Image.fromarray(COLOURS).save(good, compression="tiff_lzw")
    bad.write_bytes(good.read_bytes()[:60])
    gc.collect()
    gc.disable()
    try:
        before = open_files()
        kept = [read_picture(good, "good") for _ in range(5)]
        for _ in range(5):
            with pytest.raises(PictureError):
                read_picture(bad, "bad")
        assert open_files() == before
        assert len(kept) == 5
    finally:
        gc.enable()
