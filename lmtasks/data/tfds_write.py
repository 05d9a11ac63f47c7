"""Records written as a prepared TFDS directory (array_record), without TensorFlow."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np

from lmtasks.data import directory
from lmtasks.data import records
from lmtasks.data import tfds_files

# What a key holds: (form, type name); the form is "one", "list" (of any length) or
# "rows", a list of dicts, whose types are {key: type name}.
Kind = tuple[str, str | dict[str, str]]
_EMPTY: Kind = ("list", "")
_INT64 = range(-(2**63), 2**63)


def write(folder: str, name: str, splits: Mapping[str, records.Records]) -> None:
    """Write splits as one prepared data set, whole or not at all, in their order.

    Raises:
        ValueError: the folder holds something, or a record has what TFDS cannot hold.
    """
    folder = os.path.abspath(folder)
    check_free(folder)
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"{name!r} cannot name a data set; use small letters, digits and _, a "
            "letter first."
        )
    kinds = kinds_of(splits)
    with directory.new_directory(pathlib.Path(folder)) as partial:
        _prepare(str(partial / "work"), name, splits, kinds)
        (made,) = (partial / "work" / name).iterdir()
        for file in made.iterdir():
            file.rename(partial / file.name)
        shutil.rmtree(partial / "work")


def check_free(folder: str) -> None:
    """Raise ValueError unless the folder is new or empty."""
    if os.path.exists(folder) and not (
        os.path.isdir(folder) and not os.listdir(folder)
    ):
        raise ValueError(
            f"{folder} is there already; name another folder or remove it."
        )


def kinds_of(splits: Mapping[str, records.Records]) -> dict[str, Kind]:
    """Return what each key holds in all records of all splits.

    Raises:
        ValueError: records differ in their keys or types, or hold null or deeper lists.
    """
    kinds: dict[str, Kind] = {}
    for split in splits.values():
        for i in range(len(split)):
            record = split[i]
            if kinds and record.keys() != kinds.keys():
                odd = sorted(record.keys() ^ kinds.keys())
                raise ValueError(
                    f"{split.where(i)}: the records differ in their keys "
                    f"({', '.join(odd)}); all need the same."
                )
            try:
                for key, value in record.items():
                    here = _kind(value, pairs=key == "answers")
                    kinds[key] = _merged(kinds.get(key, here), here)
            except ValueError as error:
                raise ValueError(f"{split.where(i)}: {key!r} {error}") from None
    bad = [key for key in kinds if not key or "/" in key]
    if bad:
        raise ValueError(f"{bad[0]!r} cannot name a key; rename it with --fields.")
    return {k: ("list", "str") if kind == _EMPTY else kind for k, kind in kinds.items()}


def _kind(value: object, pairs: bool) -> Kind:
    if not isinstance(value, (list, tuple)):
        return "one", _scalar(value)
    if not value:
        return _EMPTY
    if pairs and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return "rows", {"text": "str", "answer_start": "int"}
    if all(isinstance(item, dict) for item in value):
        found = [{k: _scalar(v) for k, v in item.items()} for item in value]
        if any(row != found[0] for row in found):
            raise ValueError("is a list of dicts that differ in their keys or types.")
        return "rows", found[0]
    kind = "list", _scalar(value[0])
    for item in value[1:]:
        kind = _merged(kind, ("list", _scalar(item)))
    return kind


def _scalar(value: object) -> str:
    if isinstance(value, int) and value not in _INT64:
        raise ValueError(f"is {value}, which 64 bits cannot hold.")
    if type(value) in (str, int, float, bool):
        return type(value).__name__
    what = "null" if value is None else f"a {type(value).__name__} inside"
    raise ValueError(
        f"holds {what}; text, numbers, true or false, lists of them, and lists of dicts "
        "of them can be written."
    )


def _merged(one: Kind, other: Kind) -> Kind:
    if one == other or other == _EMPTY and one[0] != "one":
        return one
    if one == _EMPTY and other[0] != "one":
        return other
    if one[0] == other[0] != "rows" and {one[1], other[1]} == {"int", "float"}:
        return one[0], "float"
    raise ValueError(f"is {_said(other)} here and {_said(one)} before; it must be one.")


def _said(kind: Kind) -> str:
    form = {"one": "", "list": "a list of ", "rows": "a list of dicts of "}[kind[0]]
    return f"{form}{kind[1] or 'nothing'}"


def _prepare(folder: str, name: str, splits, kinds: Mapping[str, Kind]) -> None:
    import tensorflow_datasets as tfds

    features = {key: _feature(tfds, kind) for key, kind in kinds.items()}
    # A builder is made by subclassing; it must not enter TFDS's list of known ones.
    with tfds.core.registered.skip_registration():

        class Builder(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    description="Written by `lmtasks prepare`.",
                    features=tfds.features.FeaturesDict(features),
                    disable_shuffling=True,
                )

            def _split_generators(self, download):
                del download
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split):
                return _examples(splits[split], kinds)

    Builder.name = name
    tfds.disable_progress_bar()
    with tfds_files.quiet():
        builder = Builder(data_dir=folder, file_format="array_record")
        builder.download_and_prepare()


def _examples(split: records.Records, kinds: Mapping[str, Kind]) -> Iterator[tuple]:
    for i in range(len(split)):
        record = dict(split[i])
        for key, (form, of) in kinds.items():
            if form == "rows" and record[key] and isinstance(record[key][0], tuple):
                record[key] = [dict(zip(of, pair, strict=True)) for pair in record[key]]
        yield i, record


def _feature(tfds, kind: Kind):
    form, of = kind
    if form == "one":
        return _scalar_feature(tfds, of)
    if form == "list":
        return tfds.features.Sequence(_scalar_feature(tfds, of))
    return tfds.features.Sequence({k: _scalar_feature(tfds, t) for k, t in of.items()})


def _scalar_feature(tfds, of: str):
    if of == "str":
        return tfds.features.Text()
    if of == "float":
        # As bytes: TFDS would keep 32 of the 64 bits.
        return tfds.features.Tensor(
            shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES
        )
    return tfds.features.Scalar({"int": np.int64, "bool": np.bool_}[of])
