"""What `convnext predict` does with a detector or a segmenter: drawn pictures, COCO results, label pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnext.cli.console import note, print_json_line, print_table
from convnext.cli.options import WeightsName
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.dense_model import DenseModel
    from convnext.dense_predict import Found
    from convnext.recipe import Task as TaskName

OUT = Path("predictions")
RESULTS = "results.json"


def predict_dense(
    checkpoint: str,
    paths: Sequence[Path],
    kind: "TaskName",
    *,
    weights: WeightsName,
    size: int | None,
    score: float,
    device: str,
    out: Path | None,
    lines: bool,
) -> None:
    """Draw what pictures hold into a folder, write it in a form that programs read, and print it in short.

    out    the folder: drawn/NAME.png, and results.json (detection) or labels/NAME.png (segmentation)
    lines  print a JSON object for each picture instead of a table
    """
    from convnext.dense_model import open_dense
    from convnext.dense_predict import find_in_pictures

    model = open_dense(checkpoint, kind, weights=weights.value, size=size)
    note(model.line)
    folder = out or OUT
    names = _names(paths)
    rows: list[list[str]] = []
    results: list[dict[str, Any]] = []
    failed = 0
    for number, found in enumerate(find_in_pictures(model, paths, least_score=score, device=device)):
        if found.error is not None:
            failed += 1
            note(f"warning: {found.error}")
            told: dict[str, Any] = {"path": found.path, "error": found.error}
        elif found.classes is None:
            results += _coco(found, number)
            told = {"path": found.path, "objects": _objects(found)}
            rows.append([found.path, _in_short(found)])
        else:
            told = {"path": found.path, "classes": _shares(found, model)}
            rows.append(
                [found.path, "  ".join(f"{name} {100 * share:.0f}%" for name, share in told["classes"].items())]
            )
        if found.picture is not None:
            _write(folder, names[number], found, model, score)
        if lines:
            print_json_line(told)
    if failed == len(paths):
        raise UserError("none of the pictures could be read")
    if kind == "detect":
        _write_text(folder / RESULTS, json.dumps(results, ensure_ascii=False) + "\n")
    if not lines:
        print_table(["picture", "holds"], rows, left=["picture", "holds"])
    note(f"pictures and {RESULTS if kind == 'detect' else 'label pictures'} are in {folder}")


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each picture's files: its own, with a number where one before has it."""
    names: list[str] = []
    for path in paths:
        name, count = path.stem, 1
        while name in names:
            count += 1
            name = f"{path.stem}-{count}"
        names.append(name)
    return names


def _write(folder: Path, name: str, found: "Found", model: "DenseModel", score: float) -> None:
    from convnext.gallery.maps import draw_map
    from convnext.gallery.objects import Shown, draw_objects

    assert found.picture is not None
    if found.classes is None:
        assert found.boxes is not None and found.scores is not None
        shown = Shown(boxes=found.boxes, labels=found.labels, scores=found.scores, masks=found.masks)
        drawn = draw_objects(found.picture, shown, model.labels, score_threshold=score)
    else:
        drawn = draw_map(found.picture, found.classes, model.labels)
        _write_labels(folder / "labels" / f"{name}.png", found, model)
    _save(folder / "drawn" / f"{name}.png", drawn)


def _write_labels(path: Path, found: "Found", model: "DenseModel") -> None:
    """Write the class numbers as a PNG with a palette: programs read numbers, people see colours."""
    from PIL import Image

    from convnext.gallery.colours import palette

    assert found.classes is not None, "a segmenter found this"
    picture = Image.fromarray(found.classes)
    picture.putpalette(palette(len(model.labels)).tobytes())
    _save(path, picture)


def _save(path: Path, picture: Any) -> None:
    from io import BytesIO

    from convnext.files import cannot_write, write_bytes

    buffer = BytesIO()
    picture.save(buffer, format="png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_bytes(path, buffer.getvalue())


def _write_text(path: Path, text: str) -> None:
    from convnext.files import cannot_write, write_text

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_text(path, text)


def _objects(found: "Found") -> list[dict[str, Any]]:
    assert found.boxes is not None and found.scores is not None
    boxes, scores = found.boxes.tolist(), found.scores.tolist()
    return [
        {"label": label, "score": score, "box": box}
        for label, score, box in zip(found.labels, scores, boxes, strict=True)
    ]


def _coco(found: "Found", number: int) -> list[dict[str, Any]]:
    """Return a picture's objects in the form of COCO's results, with numbers of their own.

    image_id counts the pictures from 0 and category_id the classes from 1; the names stand beside both.
    """
    from convnext.data.dense.coco_masks import run_lengths

    results: list[dict[str, Any]] = []
    for index, one in enumerate(_objects(found)):
        x0, y0, x1, y1 = one["box"]
        row: dict[str, Any] = {
            "image_id": number,
            "file_name": found.path,
            "category_id": found.numbers[index] + 1,
            "category": one["label"],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": one["score"],
        }
        if found.masks is not None:
            mask = found.masks[index]
            row["segmentation"] = {"size": list(mask.shape), "counts": run_lengths(mask)}
        results.append(row)
    return results


def _in_short(found: "Found") -> str:
    from collections import Counter

    counts = Counter(found.labels)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"


def _shares(found: "Found", model: "DenseModel") -> dict[str, float]:
    import numpy as np

    assert found.classes is not None
    numbers, counts = np.unique(found.classes, return_counts=True)
    order = np.argsort(-counts)
    return {model.labels[int(numbers[place])]: float(counts[place] / found.classes.size) for place in order}
