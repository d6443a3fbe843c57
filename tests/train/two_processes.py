"""What two processes do together, started once by torchrun for all tests of test_distributed.py.

Each scenario trains in OUT/<its name> and returns what the tests want to know of it; both processes write their own
OUT/<name>-<rank>.json.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convnext.data.loader import Batch, epoch_order
from convnext.errors import UserError
from convnext.tasks.classify import ReadyBatch
from convnext.train.chance import Chance
from convnext.train.distributed import OtherProcessError, World, join
from convnext.train.sharded import read_last
from convnext.train.sharding import is_spread, whole
from tests.train.tiny import (
    BATCH_NET,
    LAYER_NET,
    DoubleTask,
    Watcher,
    tiny_recipe,
    tiny_source,
    tiny_task,
    tiny_trainer,
)

# 45 pictures make two steps of 16 and 13 left over.
PICTURES = {"train": 45, "val": 9}
BASE = ("data.batch_size=16", "optim.lr=0.01", "schedule.epochs=3", "ema.decay=0.7")
CALM = (*BASE, "regularise.drop_path=0")
# One picture here, and all four of one micro-batch of the first step, whose order follows from the seed.
SPOILT = frozenset({3, *epoch_order(3, 0, PICTURES["train"])[8:12].tolist()})


class Drawing(DoubleTask):
    """Keeps what each process draws, and which pictures it has."""

    seen: list[list[int]]
    drawn: list[float]

    def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
        if chance is not None:
            self.seen.append(batch.indices.tolist())
            self.drawn += [torch.rand(()).item(), chance.numbers.random()]
        return super().prepare(batch, device, chance)


def train(
    folder: Path,
    world: World,
    *settings: str,
    spec: Any = LAYER_NET,
    watcher: Watcher | None = None,
    going_on: bool = False,
    spoilt: frozenset[int] = frozenset(),
) -> dict[str, Any]:
    """Train, and return the losses, the drawn numbers, the pictures and the history."""
    recipe = tiny_recipe(*settings)
    task = tiny_task(recipe, tiny_source(**PICTURES, spoilt=spoilt), kind=Drawing, world=world)
    assert isinstance(task, Drawing)
    task.seen, task.drawn = [], []
    watcher = watcher or Watcher()
    checkpoint = read_last(folder, watcher.warn, world) if going_on else None
    trainer = tiny_trainer(
        folder, spec=spec, recipe=recipe, task=task, reporter=watcher, checkpoint=checkpoint, world=world, double=True
    )
    finished = trainer.run()
    weights = {name: whole(tensor).tolist() for name, tensor in trainer.engine.model.state_dict().items()}
    return {
        "finished": finished,
        "losses": [report.loss for report in watcher.steps],
        "first_step": watcher.first_step,
        "step": trainer.progress.step,
        "images_seen": trainer.progress.images_seen,
        "history": list(trainer.progress.history),
        "weights": weights,
        "spread": is_spread(trainer.engine.model),
        "seen": task.seen,
        "drawn": task.drawn,
        "readers": [type(reader).__name__ for reader in multiprocessing.active_children()],
    }


def stopped(folder: Path, world: World, *settings: str) -> dict[str, Any]:
    """Train until a signal that only the second process gets in step 3, then go on to the end."""
    watcher = Watcher(signal_after=3 if world.rank == 1 else None, number=signal.SIGTERM)
    first = train(folder, world, *settings, watcher=watcher)
    assert not first["finished"] and first["step"] == 3
    return train(folder, world, *settings, going_on=True)


def left_standing(folder: Path, world: World, *settings: str) -> dict[str, Any]:
    """Train until the same signal and leave the checkpoint to another number of processes."""
    watcher = Watcher(signal_after=3 if world.rank == 1 else None, number=signal.SIGTERM)
    return train(folder, world, *settings, watcher=watcher)


def errors(folder: Path, world: World) -> dict[str, Any]:
    """Meet an error in one process only."""
    heard = []
    for culprit in (0, 1):
        try:
            with world.together():
                if world.rank == culprit:
                    raise UserError("only me")
        except OtherProcessError as error:
            heard.append(f"other: {error}")
        except UserError as error:
            heard.append(f"own: {error}")
    with world.together():
        pass
    return {
        "heard": heard,
        "agreed": [world.agree(world.rank == 1, False), world.total(1.5, 2), world.of_first(world.rank)],
    }


def stopped_scoring(folder: Path, world: World, *settings: str) -> dict[str, Any]:
    """Stop after the last step of an epoch, so that going on begins with scoring."""
    watcher = Watcher(signal_after=2 if world.rank == 1 else None, number=signal.SIGTERM)
    first = train(folder, world, *settings, watcher=watcher)
    assert not first["finished"] and first["step"] == 2
    return train(folder, world, *settings, going_on=True)


def damaged(folder: Path, world: World, *settings: str, pattern: str = "last.sharded/__1_*") -> dict[str, Any]:
    """Go on from the checkpoint before the last one, of which one file was changed; the second process is slow."""
    watcher = Watcher(signal_after=3 if world.rank == 1 else None, number=signal.SIGTERM)
    train(folder, world, *settings, watcher=watcher)
    if world.first:
        victim = sorted(folder.glob(pattern))[0]
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    world.gather(None)
    watcher = Watcher()
    if not world.first:
        time.sleep(0.5)
    again = train(folder, world, *settings, going_on=True, watcher=watcher)
    return {**again, "warnings": watcher.warnings}


def changing(folder: Path, world: World, *settings: str) -> dict[str, Any]:
    """Go on with fsdp where ddp stopped, beside an older checkpoint of the form that is no longer written."""
    left_standing(folder, world, *settings, "engine.parallel=fsdp")
    older = folder.with_name(f"{folder.name}-older")
    if world.first:
        shutil.copytree(folder / "last.sharded", older)
    watcher = Watcher(signal_after=5 if world.rank == 1 else None, number=signal.SIGTERM)
    train(folder, world, *settings, going_on=True, watcher=watcher)
    if world.first:
        # As a kill between writing the one and removing the other leaves it.
        assert not (folder / "last.sharded").exists()
        older.rename(folder / "last.sharded")
    world.gather(None)
    return train(folder, world, *settings, "engine.parallel=fsdp", going_on=True)


SCENARIOS: dict[str, Callable[[Path, World], dict[str, Any]]] = {
    "calm": lambda folder, world: train(folder, world, *CALM),
    "readers": lambda folder, world: train(folder, world, *CALM, "data.workers=1"),
    "pieces": lambda folder, world: train(folder, world, *CALM, "engine.micro_batch=4"),
    "clipped": lambda folder, world: train(folder, world, *CALM, "engine.micro_batch=4", "optim.clip=0.05"),
    "dropping": lambda folder, world: train(folder, world, *BASE),
    "norms": lambda folder, world: train(folder, world, *CALM, spec=BATCH_NET),
    "spread": lambda folder, world: train(folder, world, *BASE, "engine.parallel=fsdp"),
    "spread_calm": lambda folder, world: train(
        folder, world, *CALM, "engine.parallel=fsdp", "engine.micro_batch=4", "optim.clip=0.05"
    ),
    "stopped": lambda folder, world: stopped(folder, world, *BASE),
    "spread_stopped": lambda folder, world: stopped(folder, world, *BASE, "engine.parallel=fsdp"),
    "left": lambda folder, world: left_standing(folder, world, *CALM),
    "spread_left": lambda folder, world: left_standing(folder, world, *CALM, "engine.parallel=fsdp"),
    "damaged": lambda folder, world: damaged(folder, world, *BASE, "engine.parallel=fsdp", "engine.save_minutes=0"),
    "damaged_file": lambda folder, world: damaged(
        folder, world, *BASE, "engine.save_minutes=0", pattern="last.safetensors"
    ),
    "spread_scoring": lambda folder, world: stopped_scoring(folder, world, *BASE, "engine.parallel=fsdp"),
    "changing": lambda folder, world: changing(folder, world, *CALM),
    "unreadable": lambda folder, world: train(folder, world, *CALM, "engine.micro_batch=4", spoilt=SPOILT),
    "compiled": lambda folder, world: train(folder, world, *CALM, "engine.micro_batch=4", "engine.compile=true"),
    "errors": errors,
}


def main(out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    with join(os.environ) as world:
        for name in names or list(SCENARIOS):
            result = SCENARIOS[name](out / name, world)
            (out / f"{name}-{world.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
