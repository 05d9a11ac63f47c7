"""Text as token ids on disk, mapped into memory: corpora larger than it.

DIR/tokens.json          what is there, and the tokenizer's fingerprint
DIR/tokenizer/           the tokenizer
DIR/SPLIT.ids            uint16 or uint32, the documents one behind the other:
                         what a first token is predicted from, ids, end-of-sequence
DIR/SPLIT.begins.npy     int64[n], where each document begins
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np

from lmtasks import tokenizers
from lmtasks.data import directory
from lmtasks.data import records

_META = "tokens.json"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Documents(collections.abc.Sequence):
    """The documents of a split; a record is {"text"}, what its ids stand for.

    Attributes:
        ids: [m] mapped into memory. begins: int64[n].
        tokenizer: that they were made with.
    """

    ids: np.ndarray
    begins: np.ndarray
    tokenizer: tokenizers.Tokenizer

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, i: int) -> records.Record:
        begin = self.begins[i]
        end = self.begins[i + 1] if i + 1 < len(self) else len(self.ids)
        return {"text": self.tokenizer.decode(np.asarray(self.ids[begin:end], int))}


def write(
    folder: str,
    tokenizer: tokenizers.Tokenizer,
    splits: Mapping[str, Iterable[str]],
    around: tuple[int | None, int | None],
) -> dict[str, dict[str, int]]:
    """Write texts as ids, whole or not at all; return {split: counts}.

    Args:
        folder: new, or empty.
        tokenizer: that reads the texts.
        splits: split -> texts, read once, one after another.
        around: ids before and behind each document, None = none.

    Returns:
        For each split "documents", "tokens", and "empty", texts left out.

    Raises:
        ValueError: a split without any text.
    """
    with directory.new_directory(pathlib.Path(folder).absolute()) as partial:
        tokenizer.save(partial / "tokenizer")
        found = {
            split: _write(partial, split, texts, tokenizer, around)
            for split, texts in splits.items()
        }
        about = {
            "version": _VERSION,
            "tokenizer": tokenizer.fingerprint,
            "dtype": _dtype(tokenizer).__name__,
            "splits": found,
        }
        (partial / _META).write_text(json.dumps(about, indent=1) + "\n")
    return found


def _write(folder: pathlib.Path, split: str, texts, tokenizer, around) -> dict:
    before, after = ([] if one is None else [one] for one in around)
    begins, at, empty = [], 0, 0
    digest = hashlib.sha256()
    with open(folder / f"{split}.ids", "wb") as out:
        for text in texts:
            if not text:
                empty += 1
                continue
            ids = [*before, *tokenizer.encode(text), *after]
            data = np.asarray(ids, _dtype(tokenizer)).tobytes()
            out.write(data)
            digest.update(data)
            begins.append(at)
            at += len(ids)
    if not begins:
        raise ValueError(f"the split {split} has no text")
    np.save(folder / f"{split}.begins.npy", np.asarray(begins, np.int64))
    counts = {"documents": len(begins), "tokens": at, "empty": empty}
    return counts | {"sha256": digest.hexdigest()}


def _dtype(tokenizer: tokenizers.Tokenizer) -> type:
    return np.uint16 if tokenizer.size <= 1 << 16 else np.uint32


def is_folder(folder: str) -> bool:
    """Return whether a folder holds token files."""
    return bool(folder) and os.path.isfile(os.path.join(folder, _META))


def splits_of(folder: str) -> list[str]:
    """Return the splits of a folder of token files."""
    return list(_about(folder)["splits"])


def open_split(folder: str, split: str, limit: int = 0) -> records.Records:
    """Return the documents of a split, by index; the first `limit`, 0 = all.

    Raises:
        ValueError: files that do not belong together.
    """
    about = _about(folder)
    counts = about["splits"][split]
    tokenizer = _tokenizer(os.path.abspath(folder))
    path = os.path.join(folder, split)
    dtype = np.dtype(about["dtype"])
    size = os.path.getsize(f"{path}.ids")
    try:
        begins = np.load(f"{path}.begins.npy", allow_pickle=False)
    except (ValueError, EOFError):  # numpy's own words advise to unpickle it
        raise ValueError(
            f"{path}.begins.npy is no array of numbers; prepare the folder again."
        ) from None
    whole = size == counts["tokens"] * dtype.itemsize
    if not whole or len(begins) != counts["documents"]:
        raise ValueError(
            f"{path}.ids and {path}.begins.npy are not what {_META} says; prepare the "
            "folder again."
        )
    if tokenizer.fingerprint != about["tokenizer"]:
        raise ValueError(
            f"{folder}/tokenizer is not the one its ids were made with; prepare the "
            "folder again."
        )
    ids = np.memmap(f"{path}.ids", dtype, "r")
    if 0 < limit < len(begins):
        ids, begins = ids[: begins[limit]], begins[:limit]
    mark = records.fingerprint(counts["sha256"], about["tokenizer"], split, len(begins))
    return records.Records(Documents(ids, begins, tokenizer), path, mark)


@functools.lru_cache(maxsize=4)
def _tokenizer(folder: str) -> tokenizers.Tokenizer:
    return tokenizers.load(os.path.join(folder, "tokenizer"))


def _about(folder: str) -> dict:
    path = os.path.join(folder, _META)
    try:
        with open(path, encoding="utf-8") as file:
            about = json.load(file)
        known = about["version"] == _VERSION and about["splits"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); prepare the folder again."
        ) from None
    if not known:
        raise ValueError(f"{path} is of another version; prepare the folder again.")
    return about


def stream_of(opened: records.Records, tokenizer) -> Documents | None:
    """Return the documents of token files, to be read as ids; None of other records.

    Raises:
        ValueError: they were made with another tokenizer.
    """
    if not isinstance(opened.items, Documents):
        return None
    if opened.items.tokenizer.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"{opened.name}: these ids were made with another tokenizer; leave "
            "tokenizer.path and init empty, or prepare the text with this one."
        )
    return opened.items
