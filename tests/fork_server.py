"""Forks trainings from a process that has imported everything and computed nothing: a start in milliseconds.

Run as a script. Each line of standard input is a JSON object: the arguments of `convnext`, the file that takes what it
prints, and a limit on the size of its files or null. The answers are two lines: its process id, and its exit code.
"""

import json
import os
import resource
import sys

# What the command imports while it runs.
import convnext.cli.app
import convnext.plots
import convnext.seeds  # noqa: F401
from convnext.cli import main


def become(arguments: list[str], output: str, file_size: int | None) -> None:
    """Turn a fresh fork into `convnext ARGUMENTS`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for mine, given in ((0, nothing), (1, file), (2, file)):
        os.dup2(given, mine)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["convnext", *arguments]
    main()


for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        become(**asked)
        break
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
