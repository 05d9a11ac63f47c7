"""A conversation in the tokenizer's own chat template as ids with a loss mask."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from lmtasks.tokenizers import base
from lmtasks.tokenizers import chat_template
from lmtasks.tokenizers import names as special_names


@dataclasses.dataclass
class _Run:
    """Text that is cut in one go, or one special token."""

    text: str
    id: int | None
    learned: bool


def render(
    turns: Sequence[tuple[str, str]], tokenizer: base.Tokenizer, *, bos: bool = True
) -> tuple[list[int], list[bool]]:
    """Return (ids, learned): the conversation and which ids carry loss.

    The ids are those that the template's whole text would have, with two differences:
    what somebody said never becomes a special token, and a reply is cut apart from
    its prompt, as when the model writes it. Learned is a reply up to the first
    special token behind it, which ends the turn.

    Args:
        turns: (role, text) of each; where the last is not the assistant's, the ids
            end with what invites a reply.
        tokenizer: one with a chat template.
        bos: False takes a beginning-of-sequence at the front away.

    Raises:
        ValueError: the template refuses the turns, or rewrites their texts.
    """
    parts = chat_template.parts_of(
        tokenizer.chat_template, spelled(tokenizer), list(turns)
    )
    runs = _strip(list(_runs(parts, tokenizer)), tokenizer)
    ids: list[int] = []
    learned: list[bool] = []
    special = False
    for run in runs:
        new = [run.id]
        if run.id is None:
            # Some put a space before each text after a special token, some only
            # before the first of all.
            anew = special and tokenizer.core.anew
            new = tokenizer.core.encode(run.text, bool(ids) and not anew)
        ids += new
        learned += [run.learned] * len(new)
        special = run.id is not None
    if not bos and ids and ids[0] == tokenizer.bos_id:
        return ids[1:], learned[1:]
    return ids, learned


def spelled(tokenizer: base.Tokenizer) -> dict[str, str]:
    """Return "bos_token" and the like -> its spelling, as templates name them."""
    return {
        f"{role}_token": tokenizer.piece(id)
        for role, id in tokenizer.roles.items()
        if id in tokenizer.special_ids
    }


def stop_id(tokenizer: base.Tokenizer) -> int | None:
    """Return the id that ends a reply: the first special one behind it, else eos."""
    form = _example(tokenizer)
    end = form.around[-1][: form.ends[-1]]
    found = [id for _, id in _split(end, tokenizer) if id is not None]
    return found[0] if found else tokenizer.eos_id


def lead(tokenizer: base.Tokenizer) -> str:
    """Return what the template puts before a reply after inviting it."""
    form = _example(tokenizer)
    return form.around[-2][len(form.around[-2]) - form.leads[-1] :]


def _example(tokenizer: base.Tokenizer) -> chat_template.Form:
    names = tuple(sorted(spelled(tokenizer).items()))
    roles = ("user", "assistant")
    form = chat_template.form_of(tokenizer.chat_template, names, roles, (True, True))
    if form.order[-1:] != (1,):
        raise ValueError(
            "the tokenizer's chat template does not write the last reply; use another "
            "prompt.template."
        )
    return form


def _runs(
    parts: Iterable[chat_template.Part], tokenizer: base.Tokenizer
) -> Iterator[_Run]:
    """Yield texts as long as they are cut in one go, and special tokens."""
    text = _Run("", None, False)
    for part in parts:
        ended = False
        pieces = [(part.text, None)] if part.said else _split(part.text, tokenizer)
        for piece, id in pieces:
            learned = part.learned and not ended
            if id is not None or learned != text.learned:
                yield text
                text = _Run("", None, learned)
            if id is None:
                text.text += special_names.clean(piece)
            else:
                yield _Run(piece, id, learned)
                ended = part.closing
    yield text


def _split(text: str, tokenizer: base.Tokenizer) -> Iterator[tuple[str, int | None]]:
    """Yield (text, None) and (name, id) of a stretch that the template wrote."""
    longest_first = sorted(tokenizer.names, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    for piece in re.split(f"({pattern})", text) if pattern else [text]:
        if piece:
            yield piece, tokenizer.names.get(piece)


def _strip(runs: list[_Run], tokenizer: base.Tokenizer) -> list[_Run]:
    """Return the runs without white space that special tokens swallow."""
    for order, sides, strip in (
        (runs, tokenizer.right, str.lstrip),
        (runs[::-1], tokenizer.left, str.rstrip),
    ):
        swallowing = False
        for run in order:
            if run.id is not None:
                swallowing = run.text in sides
            elif swallowing:
                run.text = strip(run.text)
                swallowing = not run.text
    return [run for run in runs if run.id is not None or run.text]
