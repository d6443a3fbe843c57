"""The processes that read pictures: how they are started, what they are given, and that only the parent ends them."""

import atexit
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import accumulate
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from convnext.errors import UserError

ValueT = TypeVar("ValueT")
FORK, FORK_SERVER = "fork", "forkserver"
HELD_BACK = (signal.SIGINT, signal.SIGTERM)
# As multiprocessing's own memory is.
ALIGNED_BYTES = 8


def planned_loader(
    dataset: Dataset[ValueT], plan: Sequence[Any], *, workers: int, several_processes: bool = False, pin: bool = False
) -> DataLoader[ValueT]:
    """Return a torch DataLoader that gives the items of a dataset that a plan names, in its order.

    The plan is read anew for each run. No global random state is read or disturbed.
    workers: readers, which stay between runs; 0 to read in this process.
    several_processes: whether this process trains together with others. Its readers then come from a fork server,
    because to fork a process is unsafe beside the threads of gloo and NCCL; elsewhere they start in Python's usual way.
    pin: give what the items' `pin_memory` returns.
    """
    method = _start_method(several_processes) if workers else FORK
    given: Any = dataset
    if method != FORK:
        given = _Parcel(dataset)
    if method == FORK_SERVER:
        _start_server([__name__, *given.modules])
    with quiet_workers():
        return DataLoader(
            given,
            sampler=plan,
            batch_size=None,  # an item is a whole batch already
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
            multiprocessing_context=method if workers else None,
            worker_init_fn=_LeaveDecisionsToParent(),
            generator=torch.Generator(),  # without it each run draws a number from torch's global state
        )


@contextmanager
def quiet_workers() -> Iterator[None]:
    """Leave out what Python and torch say of processes that is no news here."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside torch's threads; a worker computes on one thread of its own.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        # More workers than cores: the doctor says so, with what to do.
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let readers start with SIGINT and SIGTERM blocked, which they unblock once they know what to do with them.

    Between its fork and that moment a reader has torch's handlers, and a signal to all processes would end it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_method(several_processes: bool) -> str:
    if several_processes and FORK_SERVER in multiprocessing.get_all_start_methods():
        return FORK_SERVER
    return multiprocessing.get_start_method()


def _start_server(modules: Sequence[str]) -> None:
    """Start the process that readers are forked from, unless it runs; it imports for all of them while we go on.

    A signal to the group or to every process must not end it, because the readers would end with it. What is held back
    while it starts, it holds back for good.
    """
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload(list(modules))
    # It lets the signals through when it starts, hence first.
    resource_tracker.ensure_running()
    with signals_held_back():
        forkserver.ensure_running()


class _Parcel:
    """A value for readers that are not forked from this process: pickled once, and all of them see the same arrays.

    A fork shares what lies in memory. Pickled for each reader, the index of fourteen million pictures would lie there
    as many times as there are readers. Unpickled, a parcel is the value itself, its arrays read-only.

    modules: what unpickling will import
    """

    def __init__(self, value: object) -> None:
        arrays: list[pickle.PickleBuffer] = []
        stream = BytesIO()
        pickler = _ModulePickler(stream, protocol=5, buffer_callback=arrays.append)
        try:
            pickler.dump(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(
                f"the pictures cannot be sent to the processes that read them ({error}); make their store of plain "
                "data and its class at the top of a module, or take data.workers=0"
            ) from error
        parts = [stream.getbuffer(), *(array.raw() for array in arrays)]
        starts = accumulate((-(-len(part) // ALIGNED_BYTES) * ALIGNED_BYTES for part in parts), initial=0)
        self.modules = sorted(pickler.modules)
        self._spans = [(start, start + len(part)) for start, part in zip(starts, parts, strict=False)]
        self._memory = multiprocessing.RawArray("b", self._spans[-1][1])
        shared = np.frombuffer(self._memory, dtype=np.uint8)
        for (start, end), part in zip(self._spans, parts, strict=True):
            shared[start:end] = part

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _unpacked, (self._memory, self._spans)


def _unpacked(memory: Any, spans: Sequence[tuple[int, int]]) -> object:
    shared = np.frombuffer(memory, dtype=np.uint8)
    shared.flags.writeable = False
    pickled, *arrays = (shared[start:end].data for start, end in spans)
    return pickle.loads(pickled, buffers=arrays)


class _ModulePickler(pickle.Pickler):
    """Notes of which modules the pickled things are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.modules: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        """Pickle as usual."""
        self.modules.add(type(value).__module__)
        return NotImplemented


class _LeaveDecisionsToParent:
    """What a worker does first, so that only the parent decides when to stop: a worker that died would end the run.

    It leaves the parent's process group, which Ctrl-C goes to, and passes SIGTERM over, which a scheduler sends to
    every process it knows of, until the parent itself is leaving. It ends when the parent is gone.
    """

    def __init__(self) -> None:
        self._leaving = multiprocessing.RawValue("b", 0)
        # Registered after multiprocessing's own hook, hence run before it: that one terminates workers and waits.
        atexit.register(self._leave)

    def __call__(self, worker: int) -> None:
        """Set a worker up."""
        if hasattr(os, "setpgid"):
            os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, self._perhaps_go)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        threading.Thread(target=_end_with_parent, daemon=True).start()

    def _leave(self) -> None:
        self._leaving.value = 1

    def _perhaps_go(self, number: int, frame: FrameType | None) -> None:
        if self._leaving.value:
            # In good order: torch complains of any other code.
            os._exit(0)


def _end_with_parent() -> None:
    # torch's own watch looks for another parent, but that of a reader is the fork server, which lives while readers do.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
