"""A run's checkpoint as one folder that all processes write and read together: for networks that are spread over them.

PyTorch's distributed checkpoint holds the tensors, so that another number of processes can read them; a manifest holds
the counters, and a hash of each file.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convnext.errors import UserError
from convnext.files import DamagedFile, cannot_write, put_back, write_json
from convnext.train.checkpoint import (
    LAST,
    PREVIOUS,
    Checkpoint,
    FileCheckpoint,
    Progress,
    read_checkpoint,
    require_finite,
    run_tensors,
)
from convnext.train.distributed import ALONE, World
from convnext.train.ema import Ema
from convnext.train.sharding import own

FORMAT = "convnext sharded run 1"
LAST_FOLDER, PREVIOUS_FOLDER = "last.sharded", "previous.sharded"
FORMS = ((LAST, PREVIOUS), (LAST_FOLDER, PREVIOUS_FOLDER))
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardedCheckpoint:
    """A checkpoint folder: what is said of it, and the tensors where they lie."""

    path: Path
    progress: Progress
    description: dict[str, Any]

    def restore(self, model: nn.Module, ema: Ema | None, optimizer: Optimizer) -> None:
        """Read the tensors into a model, its average and its optimizer, spread over any number of processes or none."""
        from torch.distributed.checkpoint.filesystem import FileSystemReader
        from torch.distributed.checkpoint.metadata import TensorStorageMetadata
        from torch.distributed.checkpoint.state_dict_loader import load

        sizes = FileSystemReader(self.path).read_metadata().state_dict_metadata
        places = run_tensors(model, ema, None)
        slots: dict[str, Tensor] = {}
        for key, stored in sizes.items():
            if not key.startswith("optimizer."):
                continue
            assert isinstance(stored, TensorStorageMetadata), "only tensors are saved"
            name, _, slot = key.removeprefix("optimizer.").rpartition("/")
            parameter = model.get_parameter(name)
            like_parameter = stored.size == parameter.shape and slot != "step"
            slots[key] = (
                torch.zeros_like(parameter)
                if like_parameter
                else torch.zeros(stored.size, dtype=stored.properties.dtype, device=own(parameter).device)
            )
            optimizer.state[parameter][slot] = slots[key].detach()
        with _quiet():
            load({**places, **slots}, checkpoint_id=self.path)


def save_sharded(
    folder: Path,
    *,
    model: nn.Module,
    ema: Ema | None,
    optimizer: Optimizer,
    progress: Progress,
    description: Mapping[str, Any],
    keep: Path,
    world: World,
) -> None:
    """Write a checkpoint folder, each process its share; all processes call this.

    The folder that is there now becomes `keep`. UserError when a weight is not a finite number or a file cannot be
    written; the old folders then stay.
    """
    require_finite(model, folder, world)
    partial = folder.with_name(f".{folder.name}.partial")
    with world.together():
        if world.first:
            _fresh(partial)
    try:
        with world.together():
            _write(partial, run_tensors(model, ema, optimizer), folder)
    except UserError:
        if world.first:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    hashes = {path.name: _digest(path) for path in partial.glob(f"__{world.rank}_*")}
    hashes = {name: digest for part in world.gather(hashes) for name, digest in part.items()}
    with world.together():
        if world.first:
            hashes[".metadata"] = _digest(partial / ".metadata")
            head = {"format": FORMAT, "progress": progress.to_dict(), "description": dict(description)}
            write_json(partial / MANIFEST, {**head, "files": hashes, "sha256": _digest_of({**head, "files": hashes})})
            _rotate(partial, folder, keep)


def read_sharded(folder: Path, world: World = ALONE) -> ShardedCheckpoint:
    """Read what is said of a checkpoint folder; DamagedFile when a file is missing or changed. All processes call this.

    Each process looks at its share of the files.
    """
    values: dict[str, Any] = {}
    problem: str | None = None
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if values.pop("sha256", None) != _digest_of(values) or values["format"] != FORMAT:
            problem = MANIFEST
    except (OSError, ValueError):
        problem = MANIFEST
    files = [] if problem else sorted(values["files"].items())
    for name, digest in files[world.rank :: world.size]:
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            problem = name
    problems = [one for one in world.gather(problem) if one]
    if problems:
        raise DamagedFile(f"{folder} is damaged: {problems[0]} is missing or does not match its hash")
    return ShardedCheckpoint(
        path=folder, progress=Progress.from_dict(values["progress"]), description=values["description"]
    )


def read_last(folder: Path, warn: Callable[[str], None], world: World = ALONE) -> Checkpoint | None:
    """Read a run's newest checkpoint that is whole, file or folder; None where there is none. All processes call this.

    A damaged one gives way to the one before it, which takes its place, and `warn` is told. UserError when all are
    damaged.
    """
    there = world.of_first([name for form in FORMS for name in form if (folder / name).exists()])
    forms = [form for form in FORMS if any(name in there for name in form)]
    found: list[FileCheckpoint | ShardedCheckpoint] = []
    problems: list[DamagedFile] = []
    for last, previous in forms:
        try:
            found.append(_read_form(folder, last, previous if previous in there else None, warn, world))
        except DamagedFile as error:
            problems.append(error)
    if problems and not found:
        raise problems[0]
    # Both forms are there only where a run was killed while it changed from one to the other.
    return max(found, key=lambda checkpoint: checkpoint.progress.step, default=None)


def _read_form(
    folder: Path, last: str, previous: str | None, warn: Callable[[str], None], world: World
) -> FileCheckpoint | ShardedCheckpoint:
    try:
        return _read(folder / last, world)
    except DamagedFile as error:
        if previous is None:
            raise
        checkpoint = _read(folder / previous, world)
        with world.together():
            if world.first:
                _put_back(folder / previous, folder / last)
        warn(f"{error}; going on from the checkpoint before it, at step {checkpoint.progress.step}")
        return replace(checkpoint, path=folder / last)


def forget_other_form(folder: Path, *, spread: bool) -> None:
    """Remove the checkpoints of the form that a run no longer writes, files or folders."""
    if spread:
        for name in (PREVIOUS, LAST):
            (folder / name).unlink(missing_ok=True)
    else:
        for name in (PREVIOUS_FOLDER, LAST_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)


def _read(path: Path, world: World) -> FileCheckpoint | ShardedCheckpoint:
    """Read a checkpoint in either form; all processes come to the same end, whoever of them sees that it is damaged."""
    if path.name in (LAST_FOLDER, PREVIOUS_FOLDER):
        return read_sharded(path, world)
    found: FileCheckpoint | None = None
    problem = f"{path} is missing"
    try:
        if path.exists():
            found = read_checkpoint(path)
    except DamagedFile as error:
        problem = str(error)
    problems = [one for one in world.gather(problem if found is None else None) if one]
    if problems:
        raise DamagedFile(problems[0])
    assert found is not None, "whoever found nothing has said so"
    return found


def _put_back(keep: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    put_back(keep, path)


def _fresh(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise cannot_write(folder, error) from error


def _write(partial: Path, tensors: dict[str, Tensor], folder: Path) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        with _quiet():
            save(tensors, checkpoint_id=partial)
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values() if isinstance(cause, OSError)]
        if not causes:
            raise
        raise cannot_write(folder, causes[0]) from error


def _rotate(new: Path, folder: Path, keep: Path) -> None:
    """Make `folder` `keep` and `new` `folder`; between the two renames the old one is there as `keep`."""
    try:
        if folder.exists():
            shutil.rmtree(keep, ignore_errors=True)
            folder.rename(keep)
        new.rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # One process without a group is what we mean there; torch thinks it worth a warning.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
