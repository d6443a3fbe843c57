"""Small made data sets in every form: COCO and VOC with two classes, label pictures in four layouts."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 20, 30


def painted(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(picture: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def square(left: float, top: float, side: float) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def annotation(number: int, image: int, *, category: int = 7, left: float = 4, top: float = 5, side: float = 6, **more):
    row = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, side, side],
        "area": side * side,
        "iscrowd": 0,
        "segmentation": [square(left, top, side)],
    }
    return row | more


def coco_tables(images: int, first: int, annotations: list[dict]) -> dict:
    return {
        "images": [
            {"id": first + place, "file_name": f"{first + place:04}.png", "height": HEIGHT, "width": WIDTH}
            for place in range(images)
        ],
        # Not in the order of their ids, and with gaps, as COCO has them.
        "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": annotations,
    }


def write_coco(root: Path, tables: dict, *, json_name: str, folder: str) -> Path:
    path = root / json_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tables))
    for row in tables["images"]:
        save(painted(row["id"], row["width"], row["height"]), root / folder / row["file_name"])
    return path


def coco_folder(root: Path) -> Path:
    """Write train (3 pictures, the last without objects) and val (2) as COCO 2017 lies."""
    run_lengths = [4 * HEIGHT + 5, 6, 14, 6, HEIGHT * WIDTH - 4 * HEIGHT - 5 - 26]
    train = coco_tables(
        3,
        first=10,
        annotations=[
            annotation(3, 11, category=9, left=10.5),
            annotation(1, 10),
            annotation(2, 10, left=20, iscrowd=1, segmentation={"size": [HEIGHT, WIDTH], "counts": run_lengths}),
        ],
    )
    val = coco_tables(2, first=50, annotations=[annotation(8, 51), annotation(9, 50, category=9)])
    write_coco(root, train, json_name="annotations/instances_train2017.json", folder="train2017")
    write_coco(root, val, json_name="annotations/instances_val2017.json", folder="val2017")
    (root / "annotations" / "captions_train2017.json").write_text("{}")
    return root


def voc_xml(objects: list[tuple[str, tuple[float, float, float, float], bool]]) -> str:
    rows = "".join(
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>{size}{rows}</annotation>"


def voc_folder(root: Path, *, lists: bool = True) -> Path:
    base = root / "VOCdevkit" / "VOC2007"
    pages = {
        "a": [("dog", (1, 1, 5, 4), False), ("cat", (11, 3, 20, 12), True)],
        "b": [("cat", (3, 4, 3, 9), False)],
        "c": [],
        "d": [("cat", (26, 10, 40, 18), False)],
    }
    for number, (stem, objects) in enumerate(pages.items()):
        save(painted(number), base / "JPEGImages" / f"{stem}.jpg")
        (base / "Annotations").mkdir(exist_ok=True)
        (base / "Annotations" / f"{stem}.xml").write_text(voc_xml(objects))
    if lists:
        (base / "ImageSets" / "Main").mkdir(parents=True)
        (base / "ImageSets" / "Main" / "train.txt").write_text("a\nc\n")
        (base / "ImageSets" / "Main" / "val.txt").write_text("d\nb\n")
    return root


def label_values(number: int, values: list[int]) -> np.ndarray:
    """Return a map in blocks, so that each value is somewhere."""
    generator = np.random.default_rng(number)
    cells = generator.permutation(np.resize(values, 12)).reshape(3, 4)
    return np.repeat(np.repeat(cells, 7, axis=0), 8, axis=1)[:HEIGHT, :WIDTH]


def label_folder(root: Path, pairs: dict[str, str], values: list[int], *, dtype: type = np.uint8) -> Path:
    """Write pictures with label maps; pairs: of a picture's name to its label map's, relative."""
    for number, (picture, label) in enumerate(pairs.items()):
        save(painted(number), root / picture)
        save(Image.fromarray(label_values(number, values).astype(dtype)), root / label)
    return root


def plain_pairs(train: int = 3, val: int = 2, *, form: str = "{part}/{kind}/{name}") -> dict[str, str]:
    return {
        form.format(part=part, kind="images", name=f"{part}{number}.jpg"): form.format(
            part=part, kind="labels", name=f"{part}{number}.png"
        )
        for part, count in (("train", train), ("val", val))
        for number in range(count)
    }
