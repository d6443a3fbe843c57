"""Ctrl-C, once or many times and whatever goes on: one sentence, exit code 130, and never a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SENTENCE = "convnext: stopped by Ctrl-C\n"
TINY = (
    "--epochs 500 --size 16 --set data.batch_size=64 --set data.workers=0 --set engine.log_every=1 "
    "--set model.stem_stride=2"
).split()
NARROW = "--width 4 --depths 1,1,1,1 --steps gelu".split()

# In the place of the command tree: a command that sends itself the signals.
OPENING = """
import atexit, os, signal, sys, threading, time, types
import typer
def press():
    os.kill(os.getpid(), signal.SIGINT)
app = typer.Typer()
"""
CLOSING = """
fake = types.ModuleType("convnext.cli.app")
fake.app = app
sys.modules["convnext.cli.app"] = fake
from convnext.cli import main
main()
"""


def run(command: str) -> tuple[int, str]:
    """Run a program whose command has that body; return its exit code and standard error."""
    body = "".join(f"    {line}\n" for line in command.strip().splitlines())
    program = f"{OPENING}@app.command()\ndef command() -> None:\n{body}{CLOSING}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("press()\nprint('went on', file=sys.stderr)", id="once"),
        pytest.param(
            "try:\n    press()\nfinally:\n    try: press()\n    except BaseException: print('on', file=sys.stderr)",
            id="while unwinding",
        ),
        pytest.param("atexit.register(press)\npress()", id="while leaving"),
        pytest.param(
            "threading.Thread(target=lambda: (time.sleep(0.2), press(), time.sleep(30))).start()\npress()",
            id="while a thread is waited for",
        ),
        pytest.param(
            "class Last:\n    def __del__(self): os.kill(os.getpid(), 2)\nimport builtins\nbuiltins.kept = Last()\n"
            "press()",
            id="while the interpreter is taken down",
        ),
        pytest.param(
            "class Lost:\n    def __del__(self): press()\nLost()\nprint('went on', file=sys.stderr)",
            id="where Python cannot raise",
        ),
        pytest.param(
            "try:\n    press()\nexcept KeyboardInterrupt:\n    raise ImportError('half a library') from None",
            id="a library makes another error of it",
        ),
    ],
)
def test_one_sentence_whatever_goes_on(command: str) -> None:
    assert run(command) == (130, SENTENCE)


@pytest.mark.parametrize("later", ["", "atexit.register(press)\n"])
def test_a_command_that_says_how_to_go_on_is_not_talked_over(later: str) -> None:
    command = (
        f"{later}try:\n    press()\nexcept KeyboardInterrupt:\n    print('go on so', file=sys.stderr)\n"
        "raise typer.Exit(130)"
    )
    assert run(command) == (130, "go on so\n")


def test_an_error_that_no_signal_made_is_shown() -> None:
    code, said = run("raise ImportError('half a library')")
    assert code == 1 and "Traceback" in said and said.endswith("ImportError: half a library\n")
    code, said = run("class Lost:\n    def __del__(self): 1 / 0\nLost()")
    assert code == 0 and "ZeroDivisionError" in said


def test_where_ctrl_c_is_switched_off_it_stays_so() -> None:
    program = (
        f"{OPENING}signal.signal(signal.SIGINT, signal.SIG_IGN)\n@app.command()\ndef command() -> None:\n"
        f"    press()\n    print('went on', file=sys.stderr){CLOSING}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "went on\n")


@pytest.mark.parametrize(
    ("command", "log", "presses"),
    [("train", "log.jsonl", 3), ("roadmap train", "gelu/seed-0/log.jsonl", 5)],
)
def test_many_in_the_midst_of_a_training(tmp_path: Path, command: str, log: str, presses: int) -> None:
    out = tmp_path / "out"
    options = TINY if command == "train" else [*TINY, *NARROW]
    asked = [sys.executable, "-m", "convnext", *command.split(), "digits", *options, "--out", str(out)]
    process = subprocess.Popen(
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not ((out / log).exists() and (out / log).stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said and "ignored" not in said
    assert said.splitlines()[-1] == SENTENCE.strip() or "stopped, and saved" in said.splitlines()[-1]
