"""The processes that train one network together: who is who, and how they agree.

PyTorch's own engine does the work: torchrun starts the processes, on one machine or many, and the batch is shared out.
What they say to each other about a run (a signal came, an error, a score) goes over gloo on the processor.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from convnext.errors import UserError

ValueT = TypeVar("ValueT")
# A first epoch's index or a slow shared disk may keep one process long; a dead one is noticed by torchrun anyway.
PATIENCE = timedelta(minutes=30)


class OtherProcessError(UserError):
    """Another process of this run met an error and has said so itself."""


@dataclass(frozen=True, kw_only=True)
class World:
    """One process of those that train together.

    rank        0 to size - 1; the first one writes files and talks to the user
    local_rank  its number on its machine, which is the number of its GPU
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def agree(self, *wishes: bool) -> list[bool]:
        """Return for each wish whether any process has it."""
        if self.size == 1:
            return list(wishes)
        flags = torch.tensor(wishes, dtype=torch.int32)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return [bool(flag) for flag in flags]

    def total(self, *values: float) -> list[float]:
        """Return each value summed over the processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def gather(self, value: ValueT) -> list[ValueT]:
        """Return every process's value in the order of their ranks; it is pickled."""
        if self.size == 1:
            return [value]
        values: list[ValueT | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def of_first(self, value: ValueT) -> ValueT:
        """Return the first process's value; it is pickled."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0)
        return holder[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something in each process; when one meets a UserError, all leave with an error and none waits forever.

        The first process that has one raises it, the others OtherProcessError.
        """
        error: UserError | None = None
        try:
            yield
        except UserError as caught:
            error = caught
        failed = [rank for rank, text in enumerate(self.gather(None if error is None else str(error))) if text]
        if not failed:
            return
        if error is not None and self.rank == failed[0]:
            raise error
        raise OtherProcessError(f"process {failed[0]} of this run met an error")

    def in_turn(self, make: Callable[[], ValueT]) -> ValueT:
        """Make something in the first process and then in the others, which find what it indexed and downloaded."""
        made: list[ValueT] = []
        with self.together():
            if self.first:
                made.append(make())
        with self.together():
            if not made:
                made.append(make())
        return made[0]


ALONE = World()


@contextmanager
def join(environment: Mapping[str, str]) -> Iterator[World]:
    """Join the processes that torchrun started, as its environment variables tell, and leave them at the end.

    Without these variables the process is alone. UserError when only some of them are there.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        yield ALONE
        return
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise UserError(
            f"{', '.join(missing)} is not set, though other variables of torchrun are; start the processes with "
            "torchrun, or unset RANK and WORLD_SIZE"
        )
    world = World(
        rank=int(environment["RANK"]),
        size=int(environment["WORLD_SIZE"]),
        local_rank=int(environment.get("LOCAL_RANK", 0)),
    )
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun's store may outlive the processes: without a prefix a restarted one finds the addresses of the dead.
    store = PrefixStore(f"restart {environment.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    with warnings.catch_warnings():
        # The gradient of a depthwise kernel has another of the two stride texts that mean the same memory.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        yield world
    # Not after an error: the others may be waiting in a collective, and then this would wait for them.
    dist.destroy_process_group()


def pieces(batch_size: int, world_size: int, micro_batch: int) -> int:
    """Return in how many micro-batches each process takes its share of a batch: the fewest that are small enough.

    UserError when the batch cannot be shared out equally, or only in far more pieces than its size asks for.
    """
    if batch_size % world_size:
        near = max(1, round(batch_size / world_size)) * world_size
        raise UserError(
            f"data.batch_size is {batch_size} for {world_size} processes, which cannot share it equally; "
            f"take a multiple, such as {near}"
        )
    share = batch_size // world_size
    count = next(count for count in range(1, share + 1) if share % count == 0 and share // count <= micro_batch)
    fewest = -(-share // micro_batch)
    if count > 2 * fewest:
        raise UserError(
            f"{share} pictures a process can be cut into equal micro-batches of at most {micro_batch} only as "
            f"{count} x {share // count}, which is slow; take data.batch_size={share // fewest * fewest * world_size}, "
            "or another engine.micro_batch"
        )
    return count
