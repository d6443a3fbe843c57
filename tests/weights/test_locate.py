"""A file, a folder or a hub id leads to one checkpoint, without the network where the cache has it."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from convnext.errors import UserError
from convnext.weights.locate import locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_cache(folder: Path, repository: str, files: dict[str, bytes], revision: str = "main") -> Path:
    """Lay out a repository as the hub's client does: blobs, links to them in a snapshot, and the name of the commit."""
    home = folder / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for part in (home / "blobs", home / "refs", snapshot):
        part.mkdir(parents=True)
    (home / "refs" / revision).write_text(COMMIT)
    for name, data in files.items():
        (home / "blobs" / name).write_bytes(data)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    return folder


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


CONFIG = {"architecture": "convnext_tiny", "num_classes": 7}


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("local_files_only", [True, False])
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_hub_id_is_found_in_the_cache(tmp_path: Path, local_files_only: bool, weights: str) -> None:
    cache = hub_cache(tmp_path, "timm/tiny.x", {weights: b"1", "config.json": json.dumps(CONFIG).encode()})
    found = locate("hf:timm/tiny.x", cache_dir=cache, local_files_only=local_files_only)
    assert found.file.read_bytes() == b"1"
    assert found.config == CONFIG
    assert found.processor == {}
    assert found.shown == "hf:timm/tiny.x"


@pytest.mark.usefixtures("_offline")
def test_a_revision_is_taken_or_refused(tmp_path: Path) -> None:
    cache = hub_cache(tmp_path, "timm/tiny.x", {"model.safetensors": b"2"}, revision="v2")
    assert locate("hf:timm/tiny.x@v2", cache_dir=cache).file.read_bytes() == b"2"
    assert locate(f"hf:timm/tiny.x@{COMMIT}", cache_dir=cache).file.read_bytes() == b"2"
    with pytest.raises(UserError, match=r"hf:timm/tiny\.x is not in the cache folder"):
        locate("hf:timm/tiny.x", cache_dir=cache)


@pytest.mark.usefixtures("_offline")
def test_an_unreachable_hub_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the hub cannot be reached and hf:timm/gone .* check the connection"):
        locate("hf:timm/gone", cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"hf:timm/gone cannot be had: the cache folder holds no model\.safetensors"):
        locate("hf:timm/gone", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize("source", ["hf:", "hf:name", "hf:a/b/c", "hf:/b", "hf:a/"])
def test_a_wrong_id_is_refused(source: str) -> None:
    with pytest.raises(UserError, match="a hub id is written hf:OWNER/NAME"):
        locate(source)
    with pytest.raises(UserError, match="no valid hub id"):
        locate("hf:a/b--!c")


def test_a_run_gives_its_best_before_its_last(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"l")
    assert locate(tmp_path).file.name == "last.safetensors"
    (tmp_path / "best.safetensors").write_bytes(b"b")
    found = locate(tmp_path)
    assert found.file.read_bytes() == b"b"
    assert found.shown == f"{tmp_path}/best.safetensors"


def test_folders_of_transformers_and_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"p")
    assert locate(tmp_path).file.read_bytes() == b"p"
    (tmp_path / "other.pt").write_bytes(b"q")
    with pytest.raises(UserError, match=r"holds 2 checkpoints \(net\.pth, other\.pt\); name one"):
        locate(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"m")
    (tmp_path / "preprocessor_config.json").write_text('{"crop_pct": 0.9}')
    found = locate(tmp_path)
    assert (found.file.read_bytes(), found.processor) == (b"m", {"crop_pct": 0.9})


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        locate(tmp_path)
    with pytest.raises(UserError, match=r"there is no file or folder .*gone\.pth.*hf:OWNER/NAME"):
        locate(tmp_path / "gone.pth")
    (tmp_path / "model.safetensors").write_bytes(b"m")
    for text, said in (("{", "cannot be read as JSON"), ("[]", "holds no JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=rf"config\.json {said}"):
            locate(tmp_path)
