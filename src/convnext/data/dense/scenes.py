"""Made scenes: coloured shapes on textured backgrounds, with exact boxes, masks and label maps; no files.

Scene number n is the same everywhere and always: everything in it is drawn from its number. What a thing is follows
from its shape alone, because colours are random. Shapes cover each other, but of each a good part stays in sight.
"""

import colorsys
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convnext.data.dense.coco_masks import boxes_of
from convnext.data.dense.shapes import SHAPES, Outline, outline, turned
from convnext.data.dense.splits import Boxes, DenseSource, DenseSplit, LabelMap, Masks, Objects
from convnext.data.splits import Integers
from convnext.errors import UserError

NAME = "scenes"
TRAIN_SCENES = 200
# Of five scenes to train on there is one held out.
VAL_SHARE = 5
FIRST_VAL_NUMBER = 1_000_000
SIDES_PX = (96, 160)
RADII_PX = (11.0, 30.0)
MOST_SHAPES = 7
PLACE_TRIES = 12
LEAST_IN_SIGHT = 0.45
FINENESS = 4
BACKGROUND = "background"

Pixels = NDArray[np.float32]  # (height, width, 3), 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One scene.

    pixels   uint8 (height, width, 3)
    masks    (M, height, width) what is in sight of each shape, from the lowest to the topmost
    labels   int64 (M,), places in SHAPES
    """

    pixels: NDArray[np.uint8]
    masks: Masks
    labels: Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where the shapes of a scene are, before anything is painted; masks and labels as in Scene."""

    height: int
    width: int
    masks: Masks
    labels: Integers
    placed: "tuple[_Placed, ...]"
    generator: np.random.Generator


@dataclass(frozen=True, kw_only=True, eq=False)
class _Placed:
    label: int
    corners: Outline
    cover: NDArray[np.float32]  # (height, width), the share of each pixel that it covers


def lay_out(number: int) -> Layout:
    """Return where the shapes of scene `number` are; 0 or more."""
    generator = np.random.default_rng(np.random.SeedSequence([number, 6]))
    height, width = (int(side) for side in generator.integers(SIDES_PX[0], SIDES_PX[1] + 1, 2))
    placed, masks = _place(generator, height, width)
    labels = np.array([shape.label for shape in placed], dtype=np.int64)
    return Layout(height=height, width=width, masks=masks, labels=labels, placed=tuple(placed), generator=generator)


def draw_scene(number: int) -> Scene:
    """Return scene `number`, painted."""
    layout = lay_out(number)
    pixels = _background(layout.generator, layout.height, layout.width)
    for shape in layout.placed:
        _paint(pixels, shape, layout.generator)
    pixels += layout.generator.normal(0, 0.012, pixels.shape).astype(np.float32)
    return Scene(pixels=(np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), masks=layout.masks, labels=layout.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneStore:
    """Scenes by their numbers, with their objects or with label maps, in which 0 is the background."""

    kind: Literal["objects", "labels"]

    def name(self, entry: int) -> str:
        """Return the set and the number."""
        return f"{NAME}/{entry}"

    def label_name(self, entry: int) -> str:
        """Return the name of the scene."""
        return self.name(entry)

    def picture(self, entry: int) -> Image.Image:
        """Draw the scene."""
        return Image.fromarray(draw_scene(entry).pixels)

    def fitted(self, entry: int, labels: LabelMap) -> Image.Image:
        """Draw the scene, which every label map of it fits."""
        return self.picture(entry)

    def size(self, entry: int) -> tuple[int, int]:
        """Return height and width."""
        layout = lay_out(entry)
        return layout.height, layout.width

    def picture_id(self, entry: int) -> int:
        """Return the number of the scene."""
        return entry

    def boxes_as_given(self, entry: int) -> tuple[Boxes, Integers]:
        """Return boxes and labels."""
        objects = self.objects(entry, masks=False)
        return objects.boxes, objects.labels

    def objects(self, entry: int, *, masks: bool) -> Objects:
        """Return the shapes in sight."""
        scene = lay_out(entry)
        return Objects(
            boxes=boxes_of(scene.masks),
            labels=scene.labels,
            crowd=np.zeros(len(scene.labels), dtype=np.bool_),
            areas=scene.masks.sum(axis=(1, 2)).astype(np.float32),
            masks=scene.masks if masks else None,
        )

    def label_map(self, entry: int) -> LabelMap:
        """Return the topmost shape at each pixel, counted from 1, and 0 for the background."""
        scene = lay_out(entry)
        labels = np.zeros((scene.height, scene.width), dtype=np.uint8)
        for mask, label in zip(scene.masks, scene.labels, strict=True):
            labels[mask] = label + 1
        return labels


def is_scenes(text: str) -> bool:
    """Whether a text names the made scenes."""
    return text == NAME or text.startswith(f"{NAME}:")


def open_scenes(text: str, kind: Literal["objects", "labels"]) -> DenseSource:
    """Return the source that "scenes" or "scenes:COUNT" names: COUNT to train on and a fifth as many held out."""
    found = re.fullmatch(rf"{NAME}(?::([0-9]{{1,6}}))?", text)
    count = int(found[1] or TRAIN_SCENES) if found else 0
    if not 1 <= count < FIRST_VAL_NUMBER:
        raise UserError(f"scenes take a number of scenes to train on, such as scenes:200, got {text!r}")
    store = SceneStore(kind=kind)
    held_out = max(1, count // VAL_SHARE)
    return DenseSource(
        name=text,
        kind=kind,
        classes=SHAPES if kind == "objects" else (BACKGROUND, *SHAPES),
        train=DenseSplit(store=store, entries=np.arange(count)),
        val=DenseSplit(store=store, entries=FIRST_VAL_NUMBER + np.arange(held_out)),
        has_masks=kind == "objects",
        has_own_val=True,
        category_ids=tuple(range(1, len(SHAPES) + 1)) if kind == "objects" else (),
    )


def _place(generator: np.random.Generator, height: int, width: int) -> tuple[list[_Placed], Masks]:
    """Return shapes from the lowest to the topmost, and what is in sight of each."""
    placed: list[_Placed] = []
    masks = np.zeros((0, height, width), dtype=np.bool_)
    whole: list[int] = []
    for _ in range(int(generator.integers(1, MOST_SHAPES + 1))):
        for _ in range(PLACE_TRIES):
            shape = _shape(generator, height, width)
            mask = shape.cover >= 0.5
            seen = masks & ~mask
            if np.all(seen.sum(axis=(1, 2)) >= LEAST_IN_SIGHT * np.array(whole)):
                placed.append(shape)
                masks = np.concatenate([seen, mask[None]])
                whole.append(int(mask.sum()))
                break
    return placed, masks


def _shape(generator: np.random.Generator, height: int, width: int) -> _Placed:
    label = int(generator.integers(len(SHAPES)))
    # Small ones are as frequent as large ones: each doubling has the same chance.
    radius = RADII_PX[0] * (RADII_PX[1] / RADII_PX[0]) ** generator.random()
    centre = generator.random(2) * (np.array([width, height]) - 1.2 * radius) + 0.6 * radius
    corners = turned(outline(SHAPES[label]), generator.uniform(-35, 35)) * radius + centre
    fine = Image.new("L", (width * FINENESS, height * FINENESS))
    ImageDraw.Draw(fine).polygon([tuple(point) for point in (corners * FINENESS).tolist()], fill=255)
    cover = _shares(fine.resize((width, height), Image.Resampling.BOX))
    return _Placed(label=label, corners=corners, cover=cover)


def _background(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Return soft patches of two related colours, with stripes or without."""
    hue = generator.random()
    dark = _colour(hue, generator.uniform(0.1, 0.4), 0.35)
    light = _colour((hue + 0.08) % 1, generator.uniform(0.1, 0.4), 0.8)
    mix = 0.6 * _patches(generator, 4, height, width) + 0.4 * _patches(generator, 12, height, width)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, length = generator.uniform(0, np.pi), generator.uniform(8, 24)
    waves = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * (2 * np.pi / length))
    mix = np.clip(mix + generator.uniform(0, 0.15) * waves, 0, 1)[:, :, None]
    pixels: Pixels = (dark * (1 - mix) + light * mix).astype(np.float32)
    return pixels


def _paint(pixels: Pixels, shape: _Placed, generator: np.random.Generator) -> None:
    """Paint a shape with light from above, a dark rim and a soft shadow."""
    height, width = pixels.shape[:2]
    colour = _colour(generator.random(), generator.uniform(0.45, 0.95), generator.uniform(0.6, 1.0))
    shadow = _blurred(np.roll(shape.cover, (2, 2), axis=(0, 1)), 2)
    pixels *= 1 - 0.35 * shadow[:, :, None]
    inner = _blurred(shape.cover, 1)
    top, bottom = shape.corners[:, 1].min(), shape.corners[:, 1].max()
    light = 1.12 - 0.3 * (np.arange(height, dtype=np.float32) - top) / (bottom - top)
    rim = 0.55 + 0.45 * np.clip((inner - 0.55) / 0.35, 0, 1)
    stripes = 1 + generator.choice([0.0, 0.12]) * np.sign(np.sin(np.arange(width) * generator.uniform(0.6, 1.2)))
    paint = colour * np.clip(light, 0.7, 1.2)[:, None, None] * rim[:, :, None] * stripes[None, :, None]
    cover = shape.cover[:, :, None]
    pixels[:] = pixels * (1 - cover) + paint * cover


def _patches(generator: np.random.Generator, cells: int, height: int, width: int) -> NDArray[np.float32]:
    coarse = (generator.random((cells, cells)) * 255).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return _shares(smooth)


def _shares(grey: Image.Image) -> NDArray[np.float32]:
    return np.asarray(grey).astype(np.float32) * np.float32(1 / 255)


def _blurred(cover: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    for _ in range(times):
        for axis in (0, 1):
            cover = np.float32(0.25) * (np.roll(cover, 1, axis) + cover + cover + np.roll(cover, -1, axis))
    return cover


def _colour(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)
