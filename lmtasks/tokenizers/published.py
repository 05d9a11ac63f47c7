"""What stands beside the vocabulary of a published checkpoint."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterator

from lmtasks.tokenizers import names as special_names

CONFIG = "tokenizer_config.json"
# Model type in config.json -> class, where no other file names the class.
_CLASSES = {
    "albert": "AlbertTokenizer",
    "barthez": "BarthezTokenizer",
    "camembert": "CamembertTokenizer",
    "clip": "CLIPTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "mbart": "MBartTokenizer",
    "mt5": "T5Tokenizer",
    "pegasus": "PegasusTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "t5": "T5Tokenizer",
    "xglm": "XGLMTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
_BERT = {"bos": "[CLS]", "eos": "[SEP]", "mask": "[MASK]"}
# Roles that a class gives where the files are silent, and names would not tell.
_ROLES = {
    "AlbertTokenizer": _BERT,
    "DebertaTokenizer": _BERT,
    "DebertaV2Tokenizer": _BERT,
    "PegasusTokenizer": {"mask": "<mask_2>"},
}
_SENTINELS = {"T5Tokenizer": 100}
_FILES = (
    "tokenizer.json",
    CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.txt",
    "vocab.json",
    "encoder.json",
    "merges.txt",
    "vocab.bpe",
    "tokenizer.bin",
)
_ENDINGS = (".model", ".spm", ".tiktoken")


@dataclasses.dataclass(frozen=True)
class Stated:
    """What the configuration files say.

    Attributes:
        kind: the publishing class without "Fast", or "".
        config: tokenizer_config.json.
        roles: role -> name; None = "has none".
        added: name -> id of tokens beyond the vocabulary file, ordered by id.
        ordinary: those of them that text may become.
        special: names called special, ids known or not, roles first.
        left, right: those that swallow the white space before and after them.
        sentinels: how many <extra_id_N> the class puts on top.
        chat_template: Jinja text, or "".
    """

    kind: str
    config: dict[str, typing.Any]
    roles: dict[str, str | None]
    added: dict[str, int]
    ordinary: frozenset[str]
    special: tuple[str, ...]
    left: frozenset[str]
    right: frozenset[str]
    sentinels: int
    chat_template: str

    @property
    def lowercase(self) -> bool | None:
        """Return whether text is lower-cased first; None if no file says."""
        return self.config.get("do_lower_case")


def published_files(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that belong to its tokenizer, ours left out.

    Copied beside an exported model they go back as they came.
    """
    present = sorted(p for p in pathlib.Path(folder).iterdir() if p.is_file())
    return [p for p in present if p.name in _FILES or p.suffix in _ENDINGS]


def read(folder: pathlib.Path) -> Stated:
    """Return what the configuration files in a folder say."""
    config = _json(folder / CONFIG)
    model = _json(folder / "config.json")
    tokens = {**_json(folder / "special_tokens_map.json"), **config}
    kind = config.get("tokenizer_class") or model.get("tokenizer_class")
    kind = kind or _CLASSES.get(model.get("model_type"), "")
    kind = kind.removesuffix("Fast")
    roles = dict(_ROLES.get(kind, {}))
    for role in special_names.ROLES:
        if f"{role}_token" in tokens:
            roles[role] = _name(tokens[f"{role}_token"])
    listed = {
        int(id): token for id, token in config.get("added_tokens_decoder", {}).items()
    }
    decoder = {_name(token): id for id, token in sorted(listed.items())}
    added = {**_json(folder / "added_tokens.json"), **decoder}
    called = [*roles.values(), *map(_name, _further(tokens))]
    called += [_name(token) for token in listed.values() if token.get("special")]
    special = tuple(dict.fromkeys(name for name in called if name))
    rich = [t for t in (*tokens.values(), *listed.values(), *_further(tokens))]
    rich = [t for t in rich if isinstance(t, dict) and "content" in t]
    return Stated(
        kind=kind,
        config=config,
        roles=roles,
        added=dict(sorted(added.items(), key=lambda item: item[1])),
        ordinary=_ordinary(decoder, added, special),
        special=special,
        left=frozenset(t["content"] for t in rich if t.get("lstrip")),
        right=frozenset(t["content"] for t in rich if t.get("rstrip")),
        sentinels=_sentinels(kind, config, special),
        chat_template=_chat_template(folder, config),
    )


def _ordinary(decoder, added, special) -> frozenset[str]:
    """Return the added tokens that no file and no spelling calls special."""
    plain = {name for name in added if not special_names.is_special(name)}
    return frozenset(plain - set(special)) if decoder else frozenset()


def _sentinels(kind: str, config: dict, special: tuple[str, ...]) -> int:
    named = sum(bool(special_names.SENTINEL.fullmatch(name)) for name in special)
    return int(config.get("extra_ids", named or _SENTINELS.get(kind, 0)))


def _further(tokens: dict[str, typing.Any]) -> Iterator[typing.Any]:
    """Yield the special tokens that play no role."""
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value = tokens.get(key) or ()
        yield from value.values() if isinstance(value, dict) else value


def _name(token: typing.Any) -> str | None:
    return token["content"] if isinstance(token, dict) else token


def _chat_template(folder: pathlib.Path, config: dict[str, typing.Any]) -> str:
    """Return the default template: the Jinja file, else the configuration's."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if found is None:
        found = _json(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}
    if isinstance(found, dict):
        found = found.get("default")
    return found or ""


def _json(path: pathlib.Path) -> dict[str, typing.Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} beside it is no JSON object.") from error
