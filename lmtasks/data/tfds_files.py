"""TFDS without TensorFlow: prepared directories and the catalogue.

Only files of random access (array_record, parquet) can be read so. tensorflow_datasets
is imported inside functions, because most runs do not need it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import glob
import importlib
import io
import json
import os
import re
import types
from collections.abc import Iterator
from collections.abc import Mapping

from absl import logging

from lmtasks.data import records

_INFO = "dataset_info.json"
_RANDOM_ACCESS = {"array_record", "parquet"}
# Groups of builders that `import tensorflow_datasets` leaves to be imported lazily:
# without them glue and conll2003 are "not found".
_GROUPS = (
    "question_answering",
    "summarization",
    "text",
    "text_simplification",
    "translate",
)


def is_prepared(folder: str) -> bool:
    """Return whether a folder is itself a prepared data set."""
    return os.path.isfile(os.path.join(folder, _INFO))


def folder_of(folder: str, name: str) -> str:
    """Return the newest version of the data set NAME/VERSION below a folder, "" = none.

    `name` is the catalogue name that is wanted where there are several; a folder that
    lies above one data set only need not know it.

    Raises:
        ValueError: there are several and none is `name`.
    """
    found = []
    for depth in range(1, 4):
        pattern = os.path.join(glob.escape(folder), *"*" * depth, _INFO)
        found += [os.path.dirname(path) for path in glob.glob(pattern)]
    wanted = [path for path in found if _belongs(os.path.relpath(path, folder), name)]
    found = wanted or found
    # Versions of one data set lie side by side; data sets do too, under other names.
    sets = {os.path.dirname(path) if _version(path) else path for path in found}
    if len(sets) > 1:
        names = ", ".join(sorted(os.path.relpath(path, folder) for path in found))
        raise ValueError(
            f"{folder} holds several data sets ({names}); give one of them as "
            "config.data.dir."
        )
    return max(found, key=_version, default="")


def _belongs(path: str, name: str) -> bool:
    return bool(name) and (path + os.sep).startswith(os.path.join(name, ""))


def _version(path: str) -> tuple[int, ...]:
    """Return (1, 2, 0) for a path that ends in 1.2.0, () for any other."""
    said = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", os.path.basename(path))
    return tuple(map(int, said.groups())) if said else ()


def info_of(folder: str) -> tuple[str, list[str]]:
    """Return the name and the splits of a prepared data set."""
    path = os.path.join(folder, _INFO)
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file)
        return info["name"], [split["name"] for split in info["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a sound TFDS description ({type(error).__name__}: {error})."
        ) from None


def open_folder(folder: str, split: str) -> records.Records:
    """Return the records of a split (or "train[:10%]") of a prepared data set.

    Raises:
        ValueError: no such split, or files without random access.
    """
    import tensorflow_datasets as tfds

    return _opened(tfds, tfds.builder_from_directory(folder), split, folder)


def open_catalogue(name: str, split: str) -> records.Records:
    """Return the records of a split of a data set of the catalogue, if prepared.

    Raises:
        ValueError: unknown name (with the nearest), or not prepared here.
    """
    tfds = _catalogue()
    try:
        with quiet():
            builder = tfds.builder(name)
            if not builder.is_prepared():
                builder = tfds.builder(name, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name.partition("/")[0], known, n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise ValueError(
            f"the TFDS catalogue has no {name!r}{hint}; or give your own files by "
            "config.data.dir."
        ) from None
    except ImportError as error:
        raise ValueError(
            f"TFDS cannot build {name!r} here ({str(error).rpartition(': ')[2]}); prepare "
            "it elsewhere as array_record and give that folder as config.data.dir."
        ) from None
    except ValueError as error:
        raise ValueError(f"{name!r}: {' '.join(str(error).split())}") from None
    try:
        return _opened(tfds, builder, split, builder.data_path)
    # TFDS's way to say that there are no splits: nothing is prepared.
    except KeyError:
        raise ValueError(
            f"{name} is not prepared on this machine, and nothing is downloaded "
            'unasked; run once: python -c "import tensorflow_datasets as t; t.builder('
            f"'{name}', file_format='array_record').download_and_prepare()\", or give "
            "your own files by config.data.dir."
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what TFDS prints and logs of downloads and of absent packages."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _catalogue() -> types.ModuleType:
    import tensorflow_datasets as tfds

    for group in _GROUPS:
        importlib.import_module(f"tensorflow_datasets.{group}")
    return tfds


def _opened(tfds, builder, split: str, folder) -> records.Records:
    formats = {found.value for found in builder.info.available_file_formats()}
    if not formats & _RANDOM_ACCESS:
        raise ValueError(
            f"{folder} is in the format {', '.join(formats)}, without random access; "
            "convert it once, where TensorFlow is installed: tfds convert_format "
            f"--dataset_version_dir={folder} --out_file_format=array_record "
            "--out_dir=NEW, and give NEW as config.data.dir."
        )
    base = re.match("[^[]*", split)[0]
    if builder.info.splits and base not in builder.info.splits:
        raise ValueError(
            f"{folder} has no split {split!r}; it has {', '.join(builder.info.splits)}."
        )
    items = builder.as_data_source(split=split)
    name = f"{builder.info.full_name} {split}"
    convert = functools.partial(_converted, rows=_rows(tfds, builder.info.features))
    some = [convert(item) for item in records.sample(items)]
    mark = records.fingerprint(name, len(items), some)
    return records.Records(items, name, mark, convert=convert)


def _converted(item: Mapping, rows: records.Rows) -> records.Record:
    return records.answers(records.plain(item, rows))


def _rows(tfds, feature) -> records.Rows:
    """Return {key: what lies below} of the keys that hold lists of dicts."""
    found = {}
    for key, value in feature.items():
        inner = getattr(value, "feature", None)
        if isinstance(value, tfds.features.Sequence) and hasattr(inner, "items"):
            found[key] = _rows(tfds, inner)
    return found
