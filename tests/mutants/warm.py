"""Runs tests again and again in forks of one process that has imported the slow libraries, but not the package.

Each line that it reads is JSON: `source` (the folder that holds the package), `tests` and `out` (a file for what pytest
prints). It answers each with pytest's exit code.
"""

import json
import os
import sys

import matplotlib.figure  # noqa: F401
import numpy  # noqa: F401
import PIL.Image  # noqa: F401
import pytest
import torch
import torchvision  # noqa: F401
import typer.testing  # noqa: F401


def run(source: str, tests: list[str], out: str) -> int:
    """Run tests with the package of a folder, in a fork, and return the exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        printed = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, printed), (2, printed)):
            os.dup2(to, stream)
        # Also for the processes that a test starts.
        os.environ["PYTHONPATH"] = source
        sys.path.insert(0, source)
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    assert "convnext" not in sys.modules, "the mutant's package is to be imported, not ours"
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    for line in sys.stdin:
        print(run(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
