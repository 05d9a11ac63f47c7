"""Conversations as a published checkpoint's own Jinja template writes them.

The template is a foreign program, so it runs in a sandbox; and it may do to a text
what it likes, so the result is taken apart again: what it wrote itself may hold
special tokens, what somebody said never does.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Iterator
from collections.abc import Sequence

import jinja2
from jinja2 import ext
from jinja2 import sandbox

# The day Llama 3's templates fall back to: a run must not depend on its date.
_TODAY = datetime.datetime(2024, 7, 26)
# Around the number of a turn; private-use characters no template writes.
_MARK = re.compile("\ue000(\\d+)\ue001")


@dataclasses.dataclass(frozen=True)
class Part:
    """A stretch of a conversation.

    Attributes:
        text: what it reads.
        said: whether somebody said it; else the template wrote it.
        learned: whether the model has to write it.
        closing: whether it stands behind a reply and ends it.
    """

    text: str
    said: bool = False
    learned: bool = False
    closing: bool = False


@dataclasses.dataclass(frozen=True)
class Form:
    """What a template writes around the texts of turns with certain roles.

    Attributes:
        around: what stands before, between and behind the texts.
        order: index of the turn after each of `around` but the last.
        leads: for each of `order`, how many characters before an assistant's text
            are its own: those after what invites a reply.
        ends: for each of `order`, how many characters behind it end its turn.
    """

    around: tuple[str, ...]
    order: tuple[int, ...]
    leads: tuple[int, ...]
    ends: tuple[int, ...]


class _Generation(ext.Extension):
    """{% generation %} ... {% endgeneration %}: marks a reply, writes nothing."""

    tags = frozenset({"generation"})

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def write(source: str, names: dict[str, str], messages: list, *, invite: bool) -> str:
    """Return the conversation as text.

    Args:
        source: the template.
        names: "bos_token" and the like -> its spelling.
        messages: {"role", "content"} of each turn.
        invite: end with what stands before a reply (add_generation_prompt).

    Raises:
        ValueError: the template cannot be read, or refuses the conversation.
    """
    try:
        return _compiled(source).render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=invite,
            **names,
        )
    except Exception as error:  # whatever a foreign program raises
        roles = ", ".join(message["role"] for message in messages) or "none"
        raise ValueError(
            f"the tokenizer's chat template refuses turns of {roles}: {error}"
        ) from error


@functools.lru_cache(maxsize=8)
def _compiled(source: str) -> jinja2.Template:
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _TODAY.strftime
    return environment.from_string(source)


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """Return JSON; jinja's own filter would escape < and > as HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message):
    raise jinja2.TemplateError(message)


def parts_of(
    source: str, names: dict[str, str], turns: Sequence[tuple[str, str]]
) -> list[Part]:
    """Return the conversation in stretches; joined they are the template's text.

    Args:
        source: the template.
        names: as in `write`.
        turns: (role, text) of each.

    Example (ChatML, "Hi" and "Yo"): "<|im_start|>user\\n", "Hi" (said),
    "<|im_end|>\\n<|im_start|>assistant\\n", "Yo" (said, learned), "<|im_end|>\\n"
    (learned).

    Raises:
        ValueError: the template refuses the turns, or rewrites their texts.
    """
    roles = tuple(role for role, _ in turns)
    filled = tuple(bool(text) for _, text in turns)
    form = form_of(source, tuple(sorted(names.items())), roles, filled)
    messages = [{"role": role, "content": text} for role, text in turns]
    whole = write(source, names, messages, invite=_invites(roles))
    said = _said(whole, form, [turns[i][1] for i in form.order])
    found, own = [], 0
    for i, text in enumerate(said):
        replying = roles[form.order[i]] == "assistant"
        before = form.around[i]
        lead = len(before) - form.leads[i]
        found += [Part(before[own:lead]), Part(before[lead:], learned=True)]
        own = form.ends[i]
        end = form.around[i + 1][:own]
        found += [Part(text, said=True, learned=replying)]
        found += [Part(end, learned=True, closing=True)]
    found.append(Part(form.around[-1][own:]))
    return [part for part in found if part.text]


def _invites(roles: Sequence[str]) -> bool:
    return bool(roles) and roles[-1] != "assistant"


@functools.lru_cache(maxsize=1024)
def form_of(source: str, names: tuple, roles: tuple, filled: tuple) -> Form:
    """Return what the template writes around texts.

    Args:
        source, names: as in `write`, the names as sorted pairs.
        roles: of each turn.
        filled: whether each turn has a text; an empty one is passed as it is.
    """
    messages = [
        {"role": role, "content": f"\ue000{i}\ue001" if full else ""}
        for i, (role, full) in enumerate(zip(roles, filled, strict=True))
    ]

    def cut(count, invite):
        found = _MARK.split(write(source, dict(names), messages[:count], invite=invite))
        return found[::2], tuple(map(int, found[1::2]))

    around, order = cut(len(messages), _invites(roles))
    leads, ends = [], []
    for at, i in enumerate(order):
        lead = end = 0
        if roles[i] == "assistant":
            before, after = around[at], around[at + 1]
            asked = cut(i, True)[0][-1] if i else None
            if asked is not None and before.startswith(asked):
                # Two replies must not share what stands between them.
                lead = min(len(before) - len(asked), len(before) - (ends or [0])[-1])
            end = _common(after, cut(i + 1, False)[0][-1])
        leads.append(lead)
        ends.append(end)
    return Form(tuple(around), order, tuple(leads), tuple(ends))


def _common(a: str, b: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _said(whole: str, form: Form, texts: Sequence[str]) -> list[str]:
    """Return what became of each text: itself, or what the template left of it."""
    dead: set[tuple[int, int]] = set()

    def solve(k: int, at: int) -> list[str] | None:
        if (k, at) in dead or not whole.startswith(form.around[k], at):
            return None
        at += len(form.around[k])
        if k == len(texts):
            return [] if at == len(whole) else None
        for text in _remains(texts[k], whole, at, form.around[k + 1]):
            rest = solve(k + 1, at + len(text))
            if rest is not None:
                return [text, *rest]
        dead.add((k, at - len(form.around[k])))
        return None

    found = solve(0, 0)
    if found is None:
        raise ValueError(
            "the tokenizer's chat template rewrites the texts of this conversation, so "
            "what was said cannot be told from markers; use another prompt.template."
        )
    return found


def _remains(text: str, whole: str, at: int, after: str) -> Iterator[str]:
    """Yield what may be left of a text at a place, the likeliest first."""
    usual = dict.fromkeys((text, text.strip(), text.lstrip(), text.rstrip()))
    yield from (one for one in usual if whole.startswith(one, at))
    # A template may cut out a part, such as what follows </think>.
    for length in range(min(len(text), len(whole) - at), -1, -1):
        part = whole[at : at + length]
        if part in text and part not in usual and whole.startswith(after, at + length):
            yield part
