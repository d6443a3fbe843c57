"""Data sets of the Hugging Face library: from the hub, saved to disk, or as parquet files.

They become Arrow tables in the library's cache, from which any row is read at any time. Its streaming mode is not
offered: a stream cannot go on exactly where it was stopped, nor be shuffled whole.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image

from convnext.data.labelled import Labelled, labelled_source, plain_label
from convnext.data.lists import LABEL_COLUMNS
from convnext.data.part_names import WHOLE, common_root, parts_of
from convnext.data.pictures import PictureError, read_bytes, read_picture
from convnext.data.splits import Integers, Source
from convnext.data.tar_index import Note
from convnext.errors import UserError, nearest

PREFIX = "hf:"
SAVED_MARKS = (("dataset_dict.json",), ("state.json", "dataset_info.json"))
OPTIONS = ("image", "label", "split")
IMAGE_NAMES = ("image", "img")
TRAIN_SPLITS = ("train", "training")
VAL_SPLITS = ("validation", "valid", "val", "dev", "test")
HELP = "write it as hf:NAME?image=COLUMN&label=COLUMN&split=TRAIN,VAL, each of them only where it is needed"


@dataclass(frozen=True, kw_only=True, eq=False)
class HubStore:
    """Pictures in rows of one or two tables, which lie in files that all processes map into memory.

    tables: `datasets.Dataset`s of one column, its pictures not decoded; titles: what to call them.
    """

    titles: tuple[str, ...]
    tables: tuple[Any, ...]
    column: str

    def name(self, entry: int) -> str:
        """Return the title of the table and the row."""
        table, row = self._find(entry)
        return f"{self.titles[table]}/{row}"

    def picture(self, entry: int) -> Image.Image:
        """Read and decode one row."""
        return read_picture(self.encoded(entry), self.name(entry))

    def encoded(self, entry: int) -> bytes:
        """Return the bytes of the picture's file, from the row or from the path that is in it."""
        table, row = self._find(entry)
        try:
            cell = self.tables[table][row][self.column]
        except Exception as error:  # a damaged table fails in Arrow, which raises errors of its own
            raise PictureError(f"{self.name(entry)}: cannot be read ({error})") from error
        if isinstance(cell, bytes):
            return cell
        data, path = (cell or {}).get("bytes"), (cell or {}).get("path")
        if data is not None:
            return bytes(data)
        if path is None:
            raise PictureError(f"{self.name(entry)}: there is no picture in this row")
        return read_bytes(Path(path), self.name(entry))

    def _find(self, entry: int) -> tuple[int, int]:
        first = len(self.tables[0])
        return (0, entry) if entry < first else (1, entry - first)


def is_saved(folder: Path) -> bool:
    """Tell whether a folder is a data set that `save_to_disk` wrote."""
    return any(all((folder / name).is_file() for name in names) for names in SAVED_MARKS)


def open_hub(text: str, *, root: Path | None, seed: int, val_fraction: float, note: Note) -> Source:
    """Return the source of hf:OWNER/NAME[@REVISION][:CONFIG][?image=...&label=...&split=...].

    root: where the library keeps its tables, None for its own place. UserError when it cannot be had, or when it is not
    clear which columns and parts to use.
    """
    name, options = read_options(text)
    if name.startswith((".", "/", "~")):
        raise UserError(f"there is no file or folder {name}; check the name, or write hf:OWNER/NAME for the hub")
    found = re.fullmatch(r"(\w[\w.-]*(?:/\w[\w.-]*)?)(?:@([\w./-]+))?(?::([\w .+-]+))?", name)
    if found is None:
        raise UserError(
            f"a hub data set is written hf:OWNER/NAME[@REVISION][:CONFIG], got {text}; a folder as hf:./NAME"
        )
    datasets = _library(text)
    note(f"opening {PREFIX}{name}; what the hub sends is kept in {root or datasets.config.HF_DATASETS_CACHE}")
    with _asking(text):
        parts = datasets.load_dataset(found[1], found[3], revision=found[2], cache_dir=_text(root))
    return _source(f"{PREFIX}{name}", f"{PREFIX}{name}", parts, options, seed=seed, val_fraction=val_fraction)


def open_saved(folder: Path, options: Mapping[str, str], *, seed: int, val_fraction: float) -> Source:
    """Return the source of a data set that `save_to_disk` wrote."""
    datasets = _library(str(folder))
    with _asking(str(folder)):
        parts = datasets.load_from_disk(str(folder))
    return _source(str(folder), folder.name, parts, options, seed=seed, val_fraction=val_fraction)


def open_parquet(
    where: str,
    paths: Sequence[Path],
    options: Mapping[str, str],
    *,
    root: Path | None,
    seed: int,
    val_fraction: float,
    note: Note,
) -> Source:
    """Return the source of parquet files; the word train or val in their names says the part.

    A parquet file cannot be read by row, so the library keeps a copy that can, in `root` or its own place.
    """
    datasets = _library(where)
    base = common_root(paths)
    files: dict[str, list[str]] = {}
    for name, part in parts_of(where, [path.relative_to(base).as_posix() for path in paths]).items():
        files.setdefault("train" if part == WHOLE else part, []).append(str((base / name).resolve()))
    note(f"opening {where}; tables of it are kept in {root or datasets.config.HF_DATASETS_CACHE}")
    with _asking(where):
        parts = datasets.load_dataset("parquet", data_files=files, cache_dir=_text(root))
    return _source(where, base.name, parts, options, seed=seed, val_fraction=val_fraction)


def read_options(text: str) -> tuple[str, dict[str, str]]:
    """Return the name in hf:NAME?OPTIONS and its options; UserError for an option that there is not."""
    name, _, query = text.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in options.items():
        if key not in OPTIONS:
            raise UserError(f"there is no option {key!r} in {text}{nearest(key, OPTIONS)}")
        if not value:
            raise UserError(f"the option {key} in {text} has no value; {HELP}")
    return name, options


def _library(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import datasets
    except ImportError as error:
        raise UserError(
            f"{text} needs the Hugging Face library datasets ({error}); install it: pip install 'convnext[data]'"
        ) from error
    return datasets


@contextlib.contextmanager
def _asking(text: str) -> Iterator[None]:
    """Keep the library quiet, and turn whatever it raises into one sentence."""
    import datasets

    verbosity, bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(
            f"the hub has no data set {text}, or it is private or asks for an agreement; check the name, or log in "
            "(hf auth login); a folder is written hf:./NAME"
        ) from error
    except ConnectionError as error:
        raise UserError(
            f"the hub cannot be reached and {text} is not in the cache folder ({_reason(error)}); check the connection"
        ) from error
    except Exception as error:  # the library raises errors of its own, of Arrow and of its file systems
        raise UserError(f"{text} cannot be opened ({_reason(error)}); check the name, or fetch it again") from error
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error.__cause__ or error).split())
    return text[:300] or type(error).__name__


def _text(root: Path | None) -> str | None:
    return None if root is None else str(root)


def _source(
    where: str, title: str, parts: Any, options: Mapping[str, str], *, seed: int, val_fraction: float
) -> Source:
    tables: dict[str, Any] = dict(parts) if isinstance(parts, dict) else {"train": parts}
    first, others = _splits(where, tables, options)
    image, label = _columns(where, tables[first].features, options)
    chosen = {first: _labels(where, first, tables[first], label)}
    for name in others:
        labels = _labels(where, name, tables[name], label)
        # Test parts of competitions have -1 for each label; a part that was asked for has to have them.
        if "split" in options or "-1" not in labels[0]:
            chosen[name] = labels
            break
    texts = sorted({text for values, _ in chosen.values() for text in values})
    if "-1" in texts:
        raise UserError(
            f"{where} has pictures without a label (-1) in {' and '.join(chosen)}; choose other parts: {HELP}"
        )
    codes = {text: code for code, text in enumerate(texts)}
    numbers = [np.array([codes[text] for text in values], dtype=np.int64)[rows] for values, rows in chosen.values()]
    held_out = np.repeat([False, True][: len(numbers)], [len(rows) for rows in numbers])
    store = HubStore(
        titles=tuple(f"{title}/{name}" for name in chosen),
        tables=tuple(_undecoded(tables[name], image) for name in chosen),
        column=image,
    )
    given = Labelled(
        where=where,
        store=store,
        texts=tuple(texts),
        labels=np.concatenate(numbers),
        held_out=held_out if len(chosen) > 1 else None,
    )
    return labelled_source(
        given, getattr(tables[first].features[label], "names", None), seed=seed, val_fraction=val_fraction
    )


def _splits(where: str, tables: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the part to train on, and those that may be the held-out one, best first."""
    there = ", ".join(tables)
    if "split" in options:
        wanted = options["split"].split(",")
        unknown = [name for name in wanted if name not in tables]
        if unknown or len(wanted) > 2:
            raise UserError(f"{where} has the parts {there}; split={options['split']} must be one or two of them")
        return wanted[0], wanted[1:]
    first = next((name for name in (*TRAIN_SPLITS, *list(tables)[: len(tables) == 1]) if name in tables), None)
    if first is None:
        raise UserError(f"{where} has the parts {there}, none of them called train; choose: {HELP}")
    return first, [name for name in VAL_SPLITS if name in tables]


def _columns(where: str, features: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, str]:
    """Return the columns of pictures and labels, by what is in them."""
    import datasets

    pictures = [name for name, kind in features.items() if _holds_pictures(kind)]
    named = [name for name in pictures if name.lower() in IMAGE_NAMES]
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    plain = [
        name for name, kind in features.items() if getattr(kind, "dtype", "").startswith(("int", "uint", "string"))
    ]
    called = [name for name in plain if name.lower() in LABEL_COLUMNS]
    labels = classes or called or plain
    return (
        _column(where, "image", named if len(named) == 1 else pictures, features, options),
        _column(where, "label", labels, features, options),
    )


def _column(
    where: str, what: str, found: Sequence[str], features: Mapping[str, Any], options: Mapping[str, str]
) -> str:
    chosen = [options[what]] if what in options else found
    if len(chosen) == 1 and chosen[0] in features:
        return chosen[0]
    there = ", ".join(f"{name} ({_kind(kind)})" for name, kind in features.items())
    if what in options:
        raise UserError(f"{where} has no column {options[what]!r}; there are {there}")
    several = f"several columns that may be the {what} ({', '.join(found)})" if found else f"no {what} column"
    raise UserError(f"{where} has {several}; there are {there}; {HELP}")


def _holds_pictures(kind: Any) -> bool:
    import datasets

    if isinstance(kind, dict):
        return "bytes" in kind
    return isinstance(kind, datasets.Image) or getattr(kind, "dtype", "") in ("binary", "large_binary")


def _kind(kind: Any) -> str:
    return "struct" if isinstance(kind, dict) else str(getattr(kind, "dtype", None) or type(kind).__name__)


def _undecoded(table: Any, column: str) -> Any:
    import datasets

    table = table.select_columns([column])
    return (
        table.cast_column(column, datasets.Image(decode=False))
        if isinstance(table.features[column], datasets.Image)
        else table
    )


def _labels(where: str, part: str, table: Any, column: str) -> tuple[list[str], Integers]:
    """Return the label texts of a part, and for each row the number of its own among them."""
    values = table.select_columns([column]).with_format("arrow")[:][column].combine_chunks()
    if values.null_count:
        raise UserError(f"{where} has {values.null_count} rows without a {column} in its part {part}; leave them out")
    coded = values.dictionary_encode()
    if hasattr(coded, "combine_chunks"):
        coded = coded.combine_chunks()
    texts = [plain_label(str(value)) for value in coded.dictionary.to_pylist()]
    return texts, coded.indices.to_numpy().astype(np.int64)
