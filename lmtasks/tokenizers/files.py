"""Find and read the files of a tokenizer, our own or a published one."""

from __future__ import annotations

import gzip
import json
import pathlib
import typing
from collections.abc import Mapping

from lmtasks.tokenizers import base
from lmtasks.tokenizers import core as cores
from lmtasks.tokenizers import fast
from lmtasks.tokenizers import fast_build
from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import plain
from lmtasks.tokenizers import spm
from lmtasks.tokenizers import training

_MODELS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_VOCABS = ("vocab.json", "encoder.json")
_MERGES = ("merges.txt", "vocab.bpe")
_ACCEPTED = (
    "a folder written by `lmtasks tokenizer train`, tokenizer.json, vocab.txt, "
    "*.model (SentencePiece), or vocab.json / encoder.json with merges.txt / vocab.bpe"
    " (each also with .gz)"
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
            tokenizer = _published(chosen, _stated(folder))
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
        wanted = [base.META, fast.FILE, *models, "vocab.txt", *_VOCABS]
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
    if not name.endswith((".json", ".txt", ".model")):
        raise ValueError(f"{path} is no tokenizer file; give {_ACCEPTED}.")
    return (path,)


def _published(
    chosen: tuple[pathlib.Path, ...], stated: Mapping[str, typing.Any]
) -> base.Tokenizer:
    """Return the tokenizer of published files with what stands beside them."""
    name = _plain_name(chosen[0])
    left: frozenset[str] = frozenset()
    right: frozenset[str] = frozenset()
    if name.endswith(".model"):
        core = spm.parse(_read(chosen[0]))
        left = frozenset(special_names.ROLES["mask"]) & core.names.keys()
    else:
        if len(chosen) == 2:
            raw = fast_build.from_merges(*map(_read, chosen))
        elif name.endswith(".txt"):
            raw = fast_build.from_vocab_txt(_read(chosen[0]), stated["lowercase"])
        else:
            raw = _read(chosen[0])
        parsed = fast.parse(raw)
        core, left, right = parsed.core, parsed.left, parsed.right
    more = {n: i for n, i in stated["added"].items() if i >= core.size}
    names = {**core.names, **more}
    roles = special_names.roles(names, stated["roles"])
    return base.Tokenizer(core, names, roles, left, right)


def _stated(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Return what the configuration files of a published tokenizer say."""
    config = _json(folder / "tokenizer_config.json")
    tokens = {**_json(folder / "special_tokens_map.json"), **config}
    roles = {}
    for role in special_names.ROLES:
        if f"{role}_token" in tokens:
            token = tokens[f"{role}_token"]
            roles[role] = token["content"] if isinstance(token, dict) else token
    added = dict(_json(folder / "added_tokens.json"))
    for id, token in config.get("added_tokens_decoder", {}).items():
        if token.get("special"):
            added[token["content"]] = int(id)
    return {
        "roles": roles,
        "added": added,
        "lowercase": config.get("do_lower_case"),
    }


def _json(path: pathlib.Path) -> dict[str, typing.Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} beside it is no JSON object.") from error


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
