"""How special tokens are spelled, and which of them plays which role."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping

# Role -> the spellings in use, best first. The full-width bars are DeepSeek's.
ROLES = {
    "pad": (
        "<pad>",
        "[PAD]",
        "<|pad|>",
        "<|padding|>",
        "<|finetune_right_pad_id|>",
        "<\uff5c\u2581pad\u2581\uff5c>",
    ),
    "bos": (
        "<bos>",
        "<s>",
        "[BOS]",
        "<|begin_of_text|>",
        "<|startoftext|>",
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
        "<|endoftext|>",
    ),
    "eos": (
        "<eos>",
        "</s>",
        "[EOS]",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    ),
    "unk": ("<unk>", "[UNK]", "<|unk|>"),
    "cls": ("<cls>", "[CLS]"),
    "sep": ("<sep>", "[SEP]"),
    "mask": ("<mask>", "[MASK]", "<|mask|>"),
}
KNOWN = frozenset(name for names in ROLES.values() for name in names)
# Chat and control markers. Some published files list them as ordinary added
# tokens, so a user could type one and speak as the assistant.
MARKER = re.compile(
    r"<[|\uff5c][^|\uff5c<>\s]+[|\uff5c]>|<(?:start|end)_of_(?:turn|image)>"
    r"|<extra_id_\d+>"
)
SENTINEL = re.compile(r"<extra_id_(\d+)>")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_special(name: str) -> bool:
    """Return whether a vocabulary entry is a special token by its spelling."""
    return name in KNOWN or MARKER.fullmatch(name) is not None


def clean(text: str) -> str:
    """Return `text` with lone surrogates, which no UTF-8 can hold, as U+FFFD.

    Raises:
        ValueError: what was given is not a string.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    except AttributeError as error:
        raise ValueError(f"a text must be a string, but got {text!r:.60}.") from error
    return text


def roles(
    ids: Mapping[str, int], stated: Mapping[str, str | None] | None = None
) -> dict[str, int]:
    """Return role -> id: what the files state, else what the names say.

    Args:
        ids: special token -> id.
        stated: role -> name as a published config has it; None = "has none".

    A vocabulary with a mask but no [CLS] is RoBERTa's: there `<s>` and `</s>` take
    the places of [CLS] and [SEP]. "pad" is always there: else it is eos, else 0.
    """
    found = {}
    for role, spellings in ROLES.items():
        known = [ids[name] for name in spellings if name in ids]
        if known:
            found[role] = known[0]
    if "mask" in found:
        for role, name in (("cls", "<s>"), ("sep", "</s>")):
            if role not in found and name in ids:
                found[role] = ids[name]
    for role, name in (stated or {}).items():
        if name is None:
            found.pop(role, None)
        elif name in ids:
            found[role] = ids[name]
    found.setdefault("pad", found.get("eos", 0))
    return found


def check_new(extra: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return `extra` as a tuple after refusing empty, repeated or taken names."""
    if isinstance(extra, str):
        extra = (extra,)
    extra, taken = tuple(extra), frozenset(taken)
    for i, name in enumerate(extra):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"an extra token must be visible text, but got {name!r}.")
        if name in taken or name in extra[:i]:
            raise ValueError(
                f"the extra token {name!r} is there already; name each token once."
            )
    return extra
