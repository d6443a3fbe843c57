"""The asking side of a worker: starts the process, asks, and tells how it died."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, Protocol

from convnext.bench.settings import NO_MEMORY, Program


class FailedError(Exception):
    """A program cannot be timed; the text says why in a sentence, `facts` what is known of it all the same."""

    def __init__(self, why: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(why)
        self.facts = dict(facts or {})


class Worker(Protocol):
    """Whoever runs one program."""

    def begin(self, program: Program) -> dict[str, Any]:
        """Build and check; FailedError where that cannot be done. Keys as `convnext.bench.worker` has them."""

    def warm_up(self, seconds: float) -> dict[str, Any]:
        """Call for so many seconds at the least, and return how long a call then takes; FailedError where it died."""

    def round(self, calls: int) -> float:
        """Do so many calls and return the seconds of one; FailedError where it died."""

    def finish(self) -> dict[str, Any]:
        """End it and return what it tells of memory and of the last outputs; FailedError where they are wrong."""

    def stop(self) -> None:
        """End it at once, whatever it is doing; may be called more than once."""


class WorkerProcess:
    """A worker in a process of its own, which Ctrl-C at the terminal does not reach."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        # -P: a file of the working folder that is called like a library shall not be taken for it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "convnext.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def begin(self, program: Program) -> dict[str, Any]:
        """Build and check."""
        return self._ask({"program": program.to_dict()})

    def warm_up(self, seconds: float) -> dict[str, Any]:
        """Call for so many seconds at the least, and return how long a call then takes."""
        return self._ask({"warm_seconds": seconds})

    def round(self, calls: int) -> float:
        """Do so many calls and return the seconds of one."""
        return float(self._ask({"calls": calls})["seconds"])

    def finish(self) -> dict[str, Any]:
        """End it and return what it tells of memory and of the last outputs."""
        return self._ask({"finish": True})

    def stop(self) -> None:
        """End it and what it started, at once."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            # What was not read by the process any more is of no interest.
            with contextlib.suppress(OSError):
                stream.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise FailedError(self._death())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise FailedError(answer.pop("failed"), answer)
        return answer

    def _death(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            # Nobody else sends it: the system does when memory runs out.
            return NO_MEMORY
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its process died ({how}): {said[:300]}"
