"""A torch DataLoader that is told its batches anew for each run and keeps its workers between runs."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from torch.utils.data import Dataset

from convnext.data.plans import Plan, Share
from convnext.data.readers import planned_loader, quiet_workers, signals_held_back
from convnext.errors import UserError

ItemT = TypeVar("ItemT")


class Feed(Generic[ItemT]):
    """Gives what a dataset makes of each list of (epoch, index) pairs in a plan.

    workers: processes that read, 0 for this one; share: which of several processes this is; pin: as `planned_loader`.
    """

    def __init__(self, dataset: Dataset[ItemT], workers: int, share: Share, *, pin: bool) -> None:
        if workers < 0:
            raise UserError(f"workers must be 0 or more, got {workers}")
        self._plan: Plan = []
        self._run = 0
        self._loader = planned_loader(
            dataset, self._plan, workers=workers, several_processes=share.world_size > 1, pin=pin
        )

    def run(self, plan: Plan) -> Iterator[ItemT]:
        """Yield the planned items in order; starting a run ends an earlier one."""
        self._run += 1
        number = self._run
        # The loader holds this very list and reads it as the run goes on, hence the change in place.
        self._plan[:] = plan
        with quiet_workers(), signals_held_back():
            items = iter(self._loader)
        try:
            for item in items:
                yield item
                if number != self._run:
                    raise RuntimeError("this run of the loader was ended by a newer one")
        except (ConnectionError, EOFError) as error:
            # Torch has a sentence for a worker that was killed, but not while a batch of its is on the way.
            raise RuntimeError(f"a DataLoader worker ended before its pictures came ({error})") from error
