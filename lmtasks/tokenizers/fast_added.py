"""Tokens that stand beside a tokenizer.json rather than in it."""

from __future__ import annotations

import json

from lmtasks.tokenizers import published

# Published with merges and vocabulary, but cut by another rule than GPT-2's.
_OTHER_RULE = ("Qwen2Tokenizer", "CLIPTokenizer", "WhisperTokenizer")


def check_class(kind: str) -> None:
    """Raise ValueError if a class does not cut text as GPT-2 does."""
    if kind in _OTHER_RULE:
        raise ValueError(
            f"{kind} cuts text by a rule that is in neither vocabulary nor merges; "
            "only a checkpoint with tokenizer.json can be read."
        )


def with_added(raw: bytes, stated: published.Stated) -> bytes:
    """Return the tokenizer.json with the tokens that only the configuration adds.

    Pieces of the vocabulary that it calls special become so; tokens it adds that
    text may become (runs of spaces, <think>) get their ids.

    Raises:
        ValueError: the ids of added tokens leave a gap.
    """
    if not stated.special and not stated.ordinary:
        return raw
    try:
        data = json.loads(raw)
        present = {token["content"] for token in data["added_tokens"]}
        ids = _ids(data["model"]["vocab"])
    except (KeyError, TypeError, ValueError):
        return raw  # `fast.parse` says what is wrong
    new = [
        _entry(name, ids[name], stated)
        for name in stated.special
        if name in ids and name not in present and _set_off(name)
    ]
    if stated.ordinary - present - ids.keys():
        beyond = {
            n: i for n, i in stated.added.items() if n not in present | ids.keys()
        }
        top = max([*ids.values(), *(t["id"] for t in data["added_tokens"])], default=-1)
        if sorted(beyond.values()) != list(range(top + 1, top + 1 + len(beyond))):
            raise ValueError(
                f"the added tokens {', '.join(map(repr, list(beyond)[:3]))} do not "
                f"follow upon the last id, {top}; the files do not belong together."
            )
        new += [_entry(name, id, stated) for name, id in beyond.items()]
    if not new:
        return raw
    every = [*data["added_tokens"], *new]
    data["added_tokens"] = sorted(every, key=lambda token: token["id"])
    return json.dumps(data, ensure_ascii=False).encode()


def _ids(vocab: dict[str, int] | list) -> dict[str, int]:
    if isinstance(vocab, dict):
        return vocab
    return {piece: id for id, (piece, _) in enumerate(vocab)}


def _set_off(name: str) -> bool:
    """Return whether a name cannot be meant as text, unlike "!" for padding."""
    return len(name) > 1 and not name.isalnum()


def _entry(name: str, id: int, stated: published.Stated) -> dict:
    return {
        "id": id,
        "content": name,
        "single_word": False,
        "lstrip": name in stated.left,
        "rstrip": name in stated.right,
        "normalized": False,
        "special": name not in stated.ordinary,
    }
