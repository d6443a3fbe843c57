"""Twenty kills of one training: the real command in processes of its own, killed at random moments and resumed.

python benchmarks/torture.py
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from record import ROOT, heading, write

sys.path.insert(0, str(ROOT))

from tests.torture import (
    ENVIRONMENT,
    STEPS_PER_EPOCH,
    command,
    make_pictures,
    new_run,
    require_equal_runs,
    steps_done,
    tortured,
)

EPOCHS, KILLS, SEED = 10, 20, 20


def main() -> None:
    steps = EPOCHS * STEPS_PER_EPOCH
    with TemporaryDirectory() as name:
        place = Path(name)
        make_pictures(place / "pictures")
        began = time.perf_counter()
        kills = tortured(
            command,
            new_run(place / "pictures", place / "killed", epochs=EPOCHS),
            place / "killed",
            place / "killed.txt",
            epochs=EPOCHS,
            kills=KILLS,
            seed=SEED,
        )
        seconds = time.perf_counter() - began
        whole = command(new_run(place / "pictures", place / "whole", epochs=EPOCHS), place / "whole.txt")
        assert whole.wait() == 0, (place / "whole.txt").read_text()
        require_equal_runs(place / "killed", place / "whole")
    done = steps_done(kills, steps)
    assert len(kills) == KILLS and all(kill.saved > 0 and kill.saved % STEPS_PER_EPOCH for kill in kills)
    assert done <= 1.5 * steps, f"{done} steps were done for {steps}"
    record = {
        **heading("python benchmarks/torture.py"),
        "signal": "SIGKILL",
        "seed": SEED,
        "epochs": EPOCHS,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "threads": ENVIRONMENT["OMP_NUM_THREADS"],
        "workers": 1,
        "kills": [{**asdict(kill), "step_of_epoch": kill.saved % STEPS_PER_EPOCH} for kill in kills],
        "steps_of_one_run": steps,
        "steps_of_all_processes": done,
        "ratio": round(done / steps, 3),
        "equal": "every tensor of last and best, counters, scores and log, to the bit",
        "seconds": round(seconds, 1),
    }
    write(ROOT / "results" / "torture.json", record)
    print(f"{KILLS} kills, {done} steps for {steps} ({done / steps:.2f} times), the same bits, {seconds:.0f} s")


if __name__ == "__main__":
    main()
