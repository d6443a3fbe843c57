"""Keep what a roadmap sweep told as a record: its numbers without its checkpoints, and the figure of the README.

python benchmarks/roadmap.py SWEEP NAME --data "Imagenette (128-pixel copies)"

SWEEP is a folder of `convnext roadmap train`. results/roadmap/NAME/ becomes a sweep as `convnext roadmap report` and
`status` read it: sweep.json and, of each finished run, summary.json and the epochs of log.jsonl. What names folders of
this machine is replaced by --data. docs/pictures/roadmap-NAME.svg is the figure.
"""

import argparse
import json
import shlex
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from record import ROOT

from convnext.folder import SUMMARY
from convnext.lab.report import write_report
from convnext.lab.sweep import SWEEP, read_sweep, run_folder
from convnext.train.journal import Journal
from convnext.train.loop import LOG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", required=True, help="what the record calls the data")
    asked = parser.parse_args()
    target = ROOT / "results" / "roadmap" / asked.name
    keep(asked.sweep, target, asked.data)
    page = write_report(target, asked.sweep / "record")
    pictures = ROOT / "docs" / "pictures"
    pictures.mkdir(exist_ok=True)
    shutil.copyfile(page.parent / "roadmap.svg", pictures / f"roadmap-{asked.name}.svg")
    print(f"wrote {target.relative_to(ROOT)} and its figure; the whole report is {page}")


def keep(folder: Path, target: Path, data: str) -> None:
    """Write the record of a sweep, in place of the one before."""
    sweep = read_sweep(folder)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made, *extended_by = [
        replace(made, command=_without_places(made.command, sweep.data)) for made in (sweep.made, *sweep.extended_by)
    ]
    named = replace(sweep, data=data, root=None, made=made, extended_by=tuple(extended_by))
    (target / SWEEP).write_text(json.dumps(named.to_dict(), indent=1) + "\n", encoding="utf-8")
    for row, seed in sweep.runs():
        place = run_folder(folder, row, seed)
        if not (place / SUMMARY).exists():
            continue
        kept = run_folder(target, row, seed)
        kept.mkdir(parents=True)
        summary = json.loads((place / SUMMARY).read_text(encoding="utf-8"))
        # The matrix and the names of pictures are the bulk, and no number of the report comes from them.
        summary |= {"data": data, "confusion": None, "unreadable": len(summary["unreadable"])}
        (kept / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        epochs = [line for line in Journal(place / LOG).rows() if line["kind"] == "epoch"]
        (kept / LOG).write_text("".join(json.dumps(line) + "\n" for line in epochs), encoding="utf-8")


def _without_places(command: str, data: str) -> str:
    """Return a command with DATA and SWEEP in place of this machine's paths, wherever the sweep lies now."""
    words = shlex.split(command)
    words = ["DATA" if Path(word).resolve() == Path(data).resolve() else word for word in words]
    return shlex.join("SWEEP" if before == "--out" else word for before, word in pairwise(["", *words]))


if __name__ == "__main__":
    main()
