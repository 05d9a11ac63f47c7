"""Train a tokenizer of any kind on texts."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterable
from collections.abc import Iterator

from lmtasks.tokenizers import base
from lmtasks.tokenizers import fast
from lmtasks.tokenizers import fast_build
from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import plain
from lmtasks.tokenizers import plan as plans
from lmtasks.tokenizers import spm

Options = plans.Options
SPECIALS = plans.SPECIALS
KINDS = ("byte", "char", "word", "unigram", "bpe", "wordpiece", "bytebpe")
_DEFAULTS = Options()


def train(
    kind: str,
    texts: Iterable[str],
    *,
    size: int | None = None,
    extra: Iterable[str] = (),
    sentinels: int = 0,
    options: Options = _DEFAULTS,
) -> base.Tokenizer:
    """Return a tokenizer trained on `texts`; a function of its arguments alone.

    Ids 0..6 are <pad> <bos> <eos> <unk> <cls> <sep> <mask>, then come `extra`, the
    pieces, and at the top the sentinels, <extra_id_0> last.

    Args:
        kind: "byte" (UTF-8, nothing to learn), "char", "word", "unigram" and "bpe"
            (SentencePiece), "wordpiece" (BERT), "bytebpe" (GPT-2).
        texts: strings, read once, or one string; not used for "byte".
        size: number of ids in all; not used for "byte". A cap for "char" and "word"
            (None = no cap), "wordpiece" and "bytebpe", exact for SentencePiece
            unless the options say otherwise.
        extra: more special tokens, such as chat markers.
        sentinels: number of T5's <extra_id_N> tokens.
        options: settings that only some kinds have.

    Raises:
        ValueError: an unknown kind, no text, or a size that does not fit the texts.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"unknown tokenizer kind {kind!r}; {hint}Kinds are {', '.join(KINDS)}."
        )
    extra = special_names.check_new(extra, SPECIALS)
    plan = plans.Plan(kind, size, (*SPECIALS, *extra), sentinels, options)
    _check_size(plan)
    if kind == "byte":
        core, left = plain.ByteCore(first=len(plan.specials)), frozenset()
    elif kind in ("char", "word"):
        core, left = _train_list(_texts(texts), plan), frozenset()
    elif kind in ("unigram", "bpe"):
        core, left = spm.train(_texts(texts), plan), frozenset([plans.MASK])
    else:
        learn = {
            "wordpiece": fast_build.train_word_pieces,
            "bytebpe": fast_build.train_bytes,
        }[kind]
        parsed = fast.parse(learn(_texts(texts), plan))
        core, left = parsed.core, parsed.left
    names = {name: i for i, name in enumerate(plan.specials)}
    tokenizer = base.Tokenizer(core, names, special_names.roles(names), left)
    return extend(tokenizer, sentinels=sentinels)


def extend(
    tokenizer: base.Tokenizer, *, extra: Iterable[str] = (), sentinels: int = 0
) -> base.Tokenizer:
    """Return a tokenizer with more special tokens above the present ids.

    Args:
        tokenizer: what to start from; it stays as it is.
        extra: names, which get the next ids in this order; <mask>, <pad> and the
            like take their roles where these are free.
        sentinels: T5's N tokens, at the top: <extra_id_0> has the last id.

    Raises:
        ValueError: a name is empty, repeated or taken, or N is negative.
    """
    if sentinels < 0:
        raise ValueError(f"sentinels={sentinels} is negative; give 0 or more.")
    extra = (extra,) if isinstance(extra, str) else extra
    # Descending numbers, so that <extra_id_0> comes last, as in T5.
    markers = (f"<extra_id_{n}>" for n in reversed(range(sentinels)))
    new = special_names.check_new((*extra, *markers), tokenizer.names)
    ids = {name: tokenizer.size + i for i, name in enumerate(new)}
    roles = special_names.roles(ids)
    # Without a pad among the new ones, `roles` makes one up.
    if not ids.keys() & set(special_names.ROLES["pad"]):
        del roles["pad"]
    elif tokenizer.piece(tokenizer.pad_id) not in special_names.ROLES["pad"]:
        tokenizer = dataclasses.replace(
            tokenizer, roles={**tokenizer.roles, "pad": roles["pad"]}
        )
    return dataclasses.replace(
        tokenizer,
        names={**tokenizer.names, **ids},
        roles={**roles, **tokenizer.roles},
    )


def _check_size(plan: plans.Plan) -> None:
    if plan.sentinels < 0:
        raise ValueError(f"sentinels={plan.sentinels} is negative; give 0 or more.")
    if plan.kind == "byte":
        return
    if plan.size is None and plan.kind not in ("char", "word"):
        raise ValueError(f"kind={plan.kind} needs a size, the number of ids.")
    if plan.size is not None and plan.room <= len(plan.specials):
        raise plan.too_small(len(plan.specials) + 1)


def _train_list(texts: Iterable[str], plan: plans.Plan) -> plain.ListCore:
    first = len(plan.specials)
    room = None if plan.room is None else plan.room - first
    lowercase = plan.options.lowercase and plan.kind == "word"
    pieces = plain.count(texts, plan.kind, room=room, lowercase=lowercase)
    unknown = plan.specials.index(plans.UNK)
    return plain.ListCore(pieces, plan.kind, first, unknown, lowercase)


def _texts(texts: Iterable[str]) -> Iterator[str]:
    """Return `texts` without lone surrogates; raise if there is nothing to read."""
    texts = (texts,) if isinstance(texts, str) else texts
    cleaned = (special_names.clean(text) for text in texts)
    filled = (text for text in cleaned if text)
    start = list(itertools.islice(filled, 1))
    if not start:
        raise ValueError("there is no text to train a tokenizer on; all is empty.")
    return itertools.chain(start, filled)
