"""log.jsonl: one JSON object a line, each step and epoch of a run once, however often it was resumed."""

import json
from pathlib import Path
from typing import Any

from convnext.errors import UserError
from convnext.files import cannot_write, write_text


class Journal:
    """Appends rows to a log; each row is on its way to the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; UserError when the disk is full or the file cannot be written."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, none where there is no file; half a line at the end, left by a killed run, is passed over.

        UserError names the file, and the line that is none of a log.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}); put it back from a copy") from None
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line.decode())
            # Neither UTF-8 nor JSON.
            except ValueError:
                if number < len(lines):
                    raise UserError(f"{self.path} line {number} is not JSON; remove the line to go on") from None
                continue
            if not isinstance(row, dict) or "kind" not in row:
                raise UserError(f"{self.path} line {number} is no row of a log; remove the line to go on")
            rows.append(row)
        return rows

    def go_on(self, *, step: int, epoch: int) -> None:
        """Drop what was logged after that step and epoch, so that a resumed run logs it again just once.

        A row of kind "resume" takes its place: from which step the run goes on, and how many logged ones were lost.
        """
        rows = self.rows()
        kept = [row for row in rows if row["kind"] == "resume" or _is_known(row, step, epoch)]
        if rows:
            lost = max([0, *(row["step"] - step for row in rows if row["kind"] != "resume")])
            kept.append({"kind": "resume", "step": step, "epoch": epoch + 1, "lost_steps": lost})
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))


def _is_known(row: dict[str, Any], step: int, epoch: int) -> bool:
    return row["step"] <= step and not (row["kind"] == "epoch" and row["epoch"] > epoch)
