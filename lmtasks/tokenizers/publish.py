"""Write a tokenizer as a checkpoint's files, which transformers loads."""

from __future__ import annotations

import json
import pathlib
import typing

from lmtasks.tokenizers import base
from lmtasks.tokenizers import fast
from lmtasks.tokenizers import published
from lmtasks.tokenizers import spm

# What transformers looks for where the class says nothing about the file.
_MODEL = "tokenizer.model"
_MAP = "special_tokens_map.json"


def publish(tokenizer: base.Tokenizer, folder: str | pathlib.Path) -> list[str]:
    """Write the tokenizer for `transformers.AutoTokenizer`; return what differs.

    Plain text gets the same ids there; no file is written for bytes, characters and
    words, which transformers has no tokenizer for, and the note says so. A tokenizer
    that was published goes back as it came if `published_files` are copied instead.
    """
    core, notes = tokenizer.core, []
    if isinstance(core, fast.FastCore):
        files = {fast.FILE: _json(_whole(core, tokenizer))}
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    elif isinstance(core, spm.SentencePieceCore):
        files = {spm.FILE if core.folds else _MODEL: core.model}
        config = _sentence_piece(core, tokenizer)
        if core.folds:
            notes.append(
                "transformers' class for ALBERT cuts around hyphens, brackets and "
                "numbers with a comma otherwise than ALBERT's own code; there some "
                "ids differ."
            )
    else:
        note = (
            f"transformers has no tokenizer of kind {tokenizer.kind!r}, so no file was "
            "written for it; `lmtasks` reads the one that `save` writes."
        )
        return [note]
    roles = _roles(tokenizer)
    config |= {**roles, "clean_up_tokenization_spaces": False}
    if tokenizer.chat_template:
        config["chat_template"] = tokenizer.chat_template
    files |= {published.CONFIG: _json(config), _MAP: _json(roles)}
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return notes


def _json(value: dict[str, typing.Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _roles(tokenizer: base.Tokenizer) -> dict[str, str]:
    return {
        f"{role}_token": tokenizer.piece(id)
        for role, id in tokenizer.roles.items()
        if id in tokenizer.special_ids
    }


def _whole(core: fast.FastCore, tokenizer: base.Tokenizer) -> dict[str, typing.Any]:
    """Return the tokenizer.json with every special token, and what frames a text."""
    data = json.loads(core.raw)
    present = {token["content"] for token in data["added_tokens"]}
    new = [name for name in tokenizer.names if name not in present]
    data["added_tokens"] += [_added(name, tokenizer) for name in new]
    data["added_tokens"].sort(key=lambda token: token["id"])
    if data.get("post_processor") is None and tokenizer.cls_id is not None:
        data["post_processor"] = _frame(tokenizer)
    return data


def _added(name: str, tokenizer: base.Tokenizer) -> dict[str, typing.Any]:
    return {
        "id": tokenizer.names[name],
        "content": name,
        "single_word": False,
        "lstrip": name in tokenizer.left,
        "rstrip": name in tokenizer.right,
        "normalized": False,
        "special": True,
    }


def _frame(tokenizer: base.Tokenizer) -> dict[str, typing.Any] | None:
    """Return [CLS] A [SEP] and [CLS] A [SEP] B [SEP] as the library writes it."""
    if tokenizer.sep_id is None:
        return None
    cls, sep = tokenizer.piece(tokenizer.cls_id), tokenizer.piece(tokenizer.sep_id)
    first = [_token(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, _token(sep, 0)]
    second = [{"Sequence": {"id": "B", "type_id": 1}}, _token(sep, 1)]
    # RoBERTa: a second separator between two texts, and no types.
    if cls == "<s>":
        second = [_token(sep, 0), {"Sequence": {"id": "B", "type_id": 0}}]
        second.append(_token(sep, 0))
    ids = {cls: tokenizer.cls_id, sep: tokenizer.sep_id}
    return {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, *second],
        "special_tokens": {
            name: {"id": name, "ids": [id], "tokens": [name]}
            for name, id in ids.items()
        },
    }


def _token(name: str, kind: int) -> dict[str, typing.Any]:
    return {"SpecialToken": {"id": name, "type_id": kind}}


def _sentence_piece(
    core: spm.SentencePieceCore, tokenizer: base.Tokenizer
) -> dict[str, typing.Any]:
    """Return the configuration of a model file."""
    added = {}
    for name, id in tokenizer.names.items():
        if id >= core.size:
            added[str(id)] = _added(name, tokenizer)
            del added[str(id)]["id"]
    if core.folds:
        return {
            "tokenizer_class": "AlbertTokenizer",
            "do_lower_case": True,
            "keep_accents": False,
            "added_tokens_decoder": added,
        }
    return {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": added}
