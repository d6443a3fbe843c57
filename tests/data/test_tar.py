import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convnext.data.tar import TarError, TarMember, tar_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
# ustar has 100 bytes for a name and 155 for the folders before it.
LONG = "folder/" * 30 + "a name of more than a hundred bytes " * 6 + ".jpg"


def make(members, kind="pax", **settings):
    """Return the bytes of a tar of (name, contents) pairs, contents None for a folder and a text for a link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind], **settings) as archive:
        for name, contents in members:
            member = tarfile.TarInfo(name)
            if contents is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(contents, str):
                member.type, member.linkname = tarfile.SYMTYPE, contents
            else:
                member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents) if isinstance(contents, bytes) else None)
    return buffer.getvalue()


def read(data):
    return list(tar_members(io.BytesIO(data), len(data)))


def files(data):
    return [(one.name, data[one.offset : one.offset + one.length]) for one in read(data) if one.kind == "file"]


@pytest.mark.parametrize("kind", FORMATS)
def test_files_folders_and_links(kind):
    data = make([("a", None), ("a/1.jpg", b"one"), ("a/empty", b""), ("a/2.jpg", "1.jpg"), ("b.cls", b"x" * 513)], kind)
    # tarfile takes a folder's slash away, the header has it.
    assert [(one.name.rstrip("/"), one.kind) for one in read(data)] == [
        ("a", "other"),
        ("a/1.jpg", "file"),
        ("a/empty", "file"),
        ("a/2.jpg", "link"),
        ("b.cls", "file"),
    ]
    assert files(data) == [("a/1.jpg", b"one"), ("a/empty", b""), ("b.cls", b"x" * 513)]


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_long_and_foreign_names_belong_to_their_member_alone(kind):
    members = [(LONG, b"1"), ("short.jpg", b"2"), ("äöü/猫.jpg", b"3"), (LONG + "2", LONG), ("last.jpg", b"4")]
    data = make(members, kind)
    assert [one.name for one in read(data)] == [name for name, _ in members]
    assert files(data) == [pair for pair in members if isinstance(pair[1], bytes)]


def test_folders_before_a_name_of_ustar():
    name = "folder/" * 20 + "x.jpg"
    assert files(make([(name, b"1")], "ustar")) == [(name, b"1")]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150).filter(
    lambda name: name.strip(".") != ""
)


@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=1100)), max_size=5),
    kind=st.sampled_from(["gnu", "pax"]),
)
def test_equals_tarfile(members, kind):
    data = make(members, kind)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(one.name, one.offset_data, one.size) for one in archive]
    assert [(one.name, one.offset, one.length) for one in read(data)] == expected


def test_size_of_more_than_octal_digits_hold():
    header = bytearray(make([("big.jpg", b"")], "gnu")[:512])
    header[124:136] = b"\x80" + (9 << 30).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)

    class Hollow(io.BytesIO):
        """A file of nine gigabytes and more, of which only the start is there."""

        def read(self, size=-1):
            return super().read(size) if self.tell() < 512 else bytes(min(size, 512))

    (member,) = tar_members(Hollow(bytes(header)), (9 << 30) + 1024)
    assert member == TarMember("big.jpg", "file", 512, 9 << 30)


DATA = make([("cat.jpg", b"c" * 700), ("cat.cls", b"0"), ("dog.jpg", b"d" * 700), ("dog.cls", b"1")], "gnu")


@pytest.mark.parametrize("keep", [100, 511, 512, 800, 1600, 2048, 2100, 3000, 4500])
def test_every_cut_is_noticed(keep):
    with pytest.raises(TarError, match="cut short"):
        read(DATA[:keep])


def test_one_block_of_zeros_is_an_end():
    end = max(number for number in range(0, len(DATA), 512) if DATA[number : number + 512].strip(b"\0")) + 512
    assert len(read(DATA[: end + 512])) == 4
    with pytest.raises(TarError, match=r"ends without the end mark .* truncate -s \+1024"):
        read(DATA[:end])


@pytest.mark.parametrize("place", [0, 130, 155, 1536, 1536 + 140])
def test_a_changed_header_is_noticed(place):
    """Python's tarfile takes all but the first for the end of the archive."""
    data = bytearray(DATA)
    data[place] ^= 4
    with pytest.raises(TarError, match="is not a tar" if place < 512 else r"is damaged at byte 1,536"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (
            b"\x1f\x8b" + bytes(2000),
            "is compressed with gzip, so that no picture in it can be read without all before it",
        ),
        (b"BZh9" + bytes(2000), "is compressed with bzip2"),
        (b"\xfd7zXZ\0" + bytes(2000), "is compressed with xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(2000), "is compressed with zstd"),
        (b"hello" * 1000, "is not a tar"),
        (DATA + DATA, "holds more behind its end mark, as tars do that were joined with cat"),
    ],
)
def test_refusals(data, words):
    with pytest.raises(TarError) as error:
        read(data)
    assert words in str(error.value)


def test_sparse_files_are_refused():
    data = bytearray(DATA)
    data[156:157] = b"S"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with pytest.raises(TarError, match=r"holds cat\.jpg as a sparse file"):
        read(bytes(data))


def test_damaged_extended_header():
    data = make([(LONG, b"1")], "pax")
    place = data.index(b" path=")
    with pytest.raises(TarError, match="damaged in an extended header"):
        read(data[: place - 1] + b"x" + data[place:])
