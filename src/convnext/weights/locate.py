"""From what a user names (a file, a folder, a hub id) to one checkpoint file and the JSON beside it."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convnext.errors import UserError

HUB_PREFIX = "hf:"
# In the order of preference: our runs, then what timm and transformers write.
_OWN_NAMES = ("best.safetensors", "last.safetensors")
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, kw_only=True)
class Located:
    """A checkpoint file, how it is called in messages, and config.json and preprocessor_config.json, where given."""

    file: Path
    shown: str
    config: dict[str, Any] = field(default_factory=dict)
    processor: dict[str, Any] = field(default_factory=dict)


def locate(source: str | Path, *, cache_dir: str | Path | None = None, local_files_only: bool = False) -> Located:
    """Find the checkpoint of a file, a folder (a run, timm's, transformers') or a hub id hf:OWNER/NAME[@REVISION].

    cache_dir         where the hub's files are kept; None is the hub's own place
    local_files_only  take them from there without asking the hub

    UserError when there is none.
    """
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        return _on_hub(source, cache_dir, local_files_only)
    path = Path(source)
    if path.is_dir():
        return _in_folder(path, shown=str(source))
    if not path.exists():
        raise UserError(
            f"there is no file or folder {source}; check the name, or write hf:OWNER/NAME for the Hugging Face hub"
        )
    return Located(file=path, shown=path.name)


def _in_folder(folder: Path, shown: str) -> Located:
    for name in _OWN_NAMES:
        if (folder / name).is_file():
            return Located(file=folder / name, shown=f"{shown}/{name}")
    for name in _HUB_NAMES:
        if (folder / name).is_file():
            config, processor = _json(folder / "config.json"), _json(folder / "preprocessor_config.json")
            return Located(file=folder / name, shown=shown, config=config, processor=processor)
    runs = sorted(path.name for path in folder.glob("seed-*") if path.is_dir())
    if runs:
        raise UserError(f"{shown} holds a run for each seed; name one of them, for example {folder / runs[0]}")
    files = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(files) == 1:
        return Located(file=folder / files[0], shown=f"{shown}/{files[0]}")
    if files:
        raise UserError(f"{shown} holds {len(files)} checkpoints ({', '.join(files[:4])}); name one of them")
    raise UserError(
        f"{shown} holds no checkpoint: neither {', '.join((*_OWN_NAMES, *_HUB_NAMES))} nor any other "
        f"{', '.join(_SUFFIXES)} file is in it"
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); copy it again or remove it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; copy it again or remove it")
    return value


def _on_hub(source: str, cache_dir: str | Path | None, local_files_only: bool) -> Located:
    repository, _, revision = source.removeprefix(HUB_PREFIX).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"a hub id is written hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got {source}")

    # What the cache has is used as it is: no waiting for the hub, and the same weights as last time.
    for local in (True,) if local_files_only else (True, False):

        def fetch(name: str, local: bool = local) -> Path | None:
            return _fetch(source, repository, revision or None, name, cache_dir, local)

        weights = next(filter(None, map(fetch, _HUB_NAMES)), None)
        if weights is not None:
            for beside in ("config.json", "preprocessor_config.json"):
                fetch(beside)
            return _in_folder(weights.parent, shown=source)
    where = "the cache folder holds" if local_files_only else "there is"
    raise UserError(
        f"{source} cannot be had: {where} no {' or '.join(_HUB_NAMES)} of it; check the name, or name a local folder"
    )


def _fetch(
    source: str,
    repository: str,
    revision: str | None,
    name: str,
    cache_dir: str | Path | None,
    local_files_only: bool,
) -> Path | None:
    """Return the local path of one file of a repository, or None where it cannot be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with quiet_hub():
            path = hf_hub_download(
                repository, name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
            )
        return Path(path)
    except GatedRepoError as error:
        raise UserError(f"{source} asks for an agreement; accept it on the hub and log in (hf auth login)") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"the hub has no {source}, or it is private; check the name, or hf auth login") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{repository} has no revision {revision}; check it, or leave it out") from error
    except HFValidationError as error:
        raise UserError(f"{source} is no valid hub id ({error}); write hf:OWNER/NAME") from error
    except LocalEntryNotFoundError as error:
        if local_files_only:
            return None
        raise UserError(
            f"the hub cannot be reached and {source} is not in the cache folder; check the connection, or download "
            "the repository elsewhere and name its folder"
        ) from error
    except EntryNotFoundError:
        return None
    # The hub's client lets the errors of its connection library through, which differ from version to version.
    except Exception as error:
        raise UserError(f"{source} cannot be fetched from the hub ({error}); check the connection") from error


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the hub's log of every retry from burying the one sentence that is given in the end."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
