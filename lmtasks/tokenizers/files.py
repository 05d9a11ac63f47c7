"""Find and read the files of a tokenizer, our own or a published one."""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import typing
from collections.abc import Mapping

from lmtasks.tokenizers import base
from lmtasks.tokenizers import core as cores
from lmtasks.tokenizers import fast
from lmtasks.tokenizers import fast_added
from lmtasks.tokenizers import fast_build
from lmtasks.tokenizers import llama2c
from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import numbering
from lmtasks.tokenizers import plain
from lmtasks.tokenizers import published
from lmtasks.tokenizers import spm
from lmtasks.tokenizers import training

_MODELS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_VOCABS = ("vocab.json", "encoder.json")
_MERGES = ("merges.txt", "vocab.bpe")
# llama2.c's; another .bin in a folder holds a model's weights.
_BINARY = re.compile(r"tok(?:enizer|\d+)\.bin")
_ACCEPTED = (
    "a folder written by `lmtasks tokenizer train`, tokenizer.json, vocab.txt, "
    "*.model (SentencePiece), tokenizer.bin (llama2.c), or vocab.json / encoder.json "
    "with merges.txt / vocab.bpe (each also with .gz)"
)


def load(path: str | pathlib.Path, *, sentinels: int = 0) -> base.Tokenizer:
    """Return the tokenizer in a folder or file.

    Special tokens and their roles are found by name; beside published files,
    tokenizer_config.json, special_tokens_map.json and added_tokens.json are heeded.

    Args:
        path: a folder that `save` wrote, or a folder or file of published form.
        sentinels: number of T5's <extra_id_N> to put on top, for a T5 model file.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: the content is not of an accepted form.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no tokenizer at {path}; give {_ACCEPTED}, or train one."
        )
    folder = path if path.is_dir() else path.parent
    chosen = _choose(path)
    try:
        if chosen[0].name == base.META:
            contents = {file.name: file.read_bytes() for file in _siblings(folder)}
            tokenizer = from_files(contents)
        else:
            stated = published.read(folder)
            tokenizer = _published(chosen, stated)
            if not (sentinels or tokenizer.sentinels):
                sentinels = stated.sentinels
    except ValueError as error:
        raise ValueError(f"cannot load the tokenizer {chosen[0]}: {error}") from error
    return training.extend(tokenizer, sentinels=sentinels)


def from_files(files: Mapping[str, bytes]) -> base.Tokenizer:
    """Return the tokenizer that `Tokenizer.files` described.

    Raises:
        ValueError: a file is missing or damaged.
    """
    try:
        about = json.loads(files[base.META])
        tokenizer = base.Tokenizer(
            core=_core(files, dict(about["core"])),
            names=about["names"],
            roles=about["roles"],
            left=frozenset(about["left"]),
            right=frozenset(about["right"]),
            chat_template=about.get("chat_template", ""),
        )
        size = about["size"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the saved tokenizer is damaged: {error!r}.") from error
    if tokenizer.size != size:
        raise ValueError(
            f"the saved tokenizer is damaged: {tokenizer.size} ids instead of {size}."
        )
    return tokenizer


def _core(files: Mapping[str, bytes], settings: dict[str, typing.Any]) -> cores.Core:
    engine = settings.pop("engine")
    if engine == "byte":
        return plain.ByteCore(**settings)
    if engine == "list":
        return plain.ListCore(tuple(json.loads(files[plain.PIECES])), **settings)
    if engine == "sentencepiece":
        return spm.parse(files[spm.FILE], **settings)
    if engine == "tokenizer.json":
        return fast.parse(files[fast.FILE]).core
    raise ValueError(f"the saved tokenizer has an unknown engine {engine!r}.")


def _siblings(folder: pathlib.Path) -> list[pathlib.Path]:
    kept = (base.META, plain.PIECES, spm.FILE, fast.FILE)
    return [folder / name for name in kept if (folder / name).is_file()]


def _choose(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Return the file to read, or the vocabulary and the merges."""
    if path.is_dir():
        present = {_plain_name(file): file for file in sorted(path.iterdir())}
        models = [name for name in _MODELS if name in present]
        models += [name for name in present if name.endswith(".model")]
        _refuse_marian(present)
        binaries = [name for name in present if _BINARY.fullmatch(name)]
        wanted = [base.META, fast.FILE, *models, "vocab.txt", *_VOCABS, *binaries]
        found = [name for name in wanted if name in present]
        if not found:
            raise ValueError(f"the folder {path} holds no tokenizer; give {_ACCEPTED}.")
        path = present[found[0]]
    name = _plain_name(path)
    beside = {_plain_name(file): file for file in sorted(path.parent.iterdir())}
    if name in (*_VOCABS, *_MERGES):
        vocab = (name,) if name in _VOCABS else _VOCABS
        merges = (name,) if name in _MERGES else _MERGES
        halves = [
            [beside[n] for n in names if n in beside] for names in (vocab, merges)
        ]
        if not all(halves):
            raise ValueError(
                f"{path} needs its other half beside it: {' or '.join(_VOCABS)} with "
                f"{' or '.join(_MERGES)}."
            )
        return halves[0][0], halves[1][0]
    if not name.endswith((".json", ".txt", ".model", ".bin")):
        raise ValueError(f"{path} is no tokenizer file; give {_ACCEPTED}.")
    return (path,)


def _refuse_marian(present: Mapping[str, pathlib.Path]) -> None:
    if "source.spm" in present and not {base.META, fast.FILE} & present.keys():
        raise ValueError(
            "this is a Marian vocabulary, two SentencePiece models that share one "
            "vocab.json, which cannot be read; only one with tokenizer.json can."
        )


def _published(
    chosen: tuple[pathlib.Path, ...], stated: published.Stated
) -> base.Tokenizer:
    """Return the tokenizer of published files with what stands beside them."""
    name = _plain_name(chosen[0])
    left, right = stated.left, stated.right
    if name.endswith((".model", ".bin")):
        core = _sentence_piece(chosen[0], stated)
        left |= frozenset(special_names.ROLES["mask"]) & core.names.keys()
    else:
        parsed = fast.parse(_raw(chosen, stated))
        core = parsed.core
        left, right = left | parsed.left, right | parsed.right
    more = {
        name: id
        for name, id in stated.added.items()
        if id >= core.size and name not in stated.ordinary
    }
    names = {**core.names, **more}
    top = max([core.size, *(id + 1 for id in names.values())])
    # What is called special but has no id yet goes on top, as it does elsewhere.
    new = [n for n in stated.special if n not in names and core.id_of(n) is None]
    new = [n for n in new if not special_names.SENTINEL.fullmatch(n)]
    names |= {name: top + i for i, name in enumerate(new)}
    return base.Tokenizer(
        core,
        names,
        special_names.roles(names, stated.roles),
        left & names.keys(),
        right & names.keys(),
        stated.chat_template,
    )


def _sentence_piece(
    path: pathlib.Path, stated: published.Stated
) -> spm.SentencePieceCore:
    """Return the core of a model file, its ids counted as its class does."""
    content, name = _read(path), _plain_name(path)
    if name.endswith(".bin"):
        return spm.parse(llama2c.to_model(content), folds=False)
    counted = numbering.numbering_of(stated.kind, name, stated.config)
    special = frozenset(stated.special)
    folds = False if stated.lowercase is False else None
    anew = bool(stated.config.get("legacy"))
    model = numbering.renumber(content, counted, special)
    return spm.parse(model, folds=folds, anew=anew)


def _raw(chosen: tuple[pathlib.Path, ...], stated: published.Stated) -> bytes:
    """Return the tokenizer.json of a file, or of a vocabulary with merges."""
    if len(chosen) == 2:
        spaced = bool(stated.config.get("add_prefix_space"))
        fast_added.check_class(stated.kind)
        raw = fast_build.from_merges(*map(_read, chosen), spaced=spaced)
    elif chosen[0].name.removesuffix(".gz").endswith(".txt"):
        raw = fast_build.from_vocab_txt(_read(chosen[0]), stated.lowercase)
    else:
        raw = _read(chosen[0])
    return fast_added.with_added(raw, stated)


def _plain_name(path: pathlib.Path) -> str:
    return path.name.removesuffix(".gz")


def _read(path: pathlib.Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path.name} is not a gzip file: {error}.") from error
