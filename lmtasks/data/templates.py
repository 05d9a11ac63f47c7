"""Chat templates: what stands before and after what each role says."""

from __future__ import annotations

import dataclasses
import difflib
import json
import pathlib
import typing

from lmtasks.tokenizers import chat_ids

ROLES = ("system", "user", "assistant")


@dataclasses.dataclass(frozen=True)
class Template:
    """What stands before and after each role's text.

    The reply and the token that ends it are learned, the markers around it are not.
    Markers may name special tokens; a user's text never becomes one.

    Attributes:
        system, user, assistant: (before, after). A system of None is no turn of its
            own: its text begins the user's first turn (Gemma).
        start: once before the first turn.
        ends: an assistant turn ends with the tokenizer's end-of-sequence.
        ends_all: so do the others (Zephyr).
        special: the markers that are one token each.
        own: the tokenizer's own chat template writes everything; the others are unused.
    """

    system: tuple[str, str] | None = ("", "\n")
    user: tuple[str, str] = ("", "")
    assistant: tuple[str, str] = ("", "")
    start: str = ""
    ends: bool = True
    ends_all: bool = False
    special: tuple[str, ...] = ()
    own: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all markers, for training a tokenizer that has to know them."""
        roles = (self.system or ("", ""), self.user, self.assistant)
        return (self.start, *(marker for pair in roles for marker in pair))

    def stop_id(self, tokenizer) -> int | None:
        """Return the id that ends an assistant turn: end-of-sequence, or the marker."""
        if self.own:
            return chat_ids.stop_id(tokenizer)
        if self.ends:
            return tokenizer.eos_id
        after = tokenizer.encode(self.assistant[1], special=True, continues=True)
        return after[0] if after else None


def _headers(before: str, after: str, end: str, special: tuple[str, ...]) -> Template:
    """Return the form in which a header names each role, and a token ends each turn."""
    roles = {role: (before + role + after, end) for role in ROLES}
    return Template(**roles, ends=False, special=special)


TEMPLATES = {
    "plain": Template(),
    "inst": Template(system=("", "\n"), user=("[INST] ", " [/INST]")),
    "chatml": _headers(
        "<|im_start|>", "\n", "<|im_end|>\n", ("<|im_start|>", "<|im_end|>")
    ),
    "llama3": _headers(
        "<|start_header_id|>",
        "<|end_header_id|>\n\n",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "gemma": Template(
        system=None,
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
        ends=False,
        special=("<start_of_turn>", "<end_of_turn>"),
    ),
    "zephyr": Template(
        system=("<|system|>\n", "\n"),
        user=("<|user|>\n", "\n"),
        assistant=("<|assistant|>\n", "\n"),
        ends_all=True,
        special=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
}
OWN = "tokenizer"
NAMES = (*TEMPLATES, OWN)
_FORM = (
    '{"user": [BEFORE, AFTER], "assistant": [BEFORE, AFTER], "system": [BEFORE, AFTER] '
    'or null, "start": TEXT, "ends": true, "special": [MARKER, ..]}'
)


def template_of(name: str) -> Template:
    """Return the template of one of NAMES, of a file of json, or of its text.

    "tokenizer" is the tokenizer's own.

    Raises:
        ValueError: none of them, or a template by which nothing would be learned, or no
            reply would end.
    """
    if name == OWN:
        return Template(own=True)
    return TEMPLATES.get(name) or _read(text_of(name))


def text_of(name: str) -> str:
    """Return a template of the user's own as json; any other name as it is.

    A run keeps this, so that it does not need the file again.
    """
    if name in NAMES or name.lstrip().startswith("{"):
        return name
    try:
        return pathlib.Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"prompt.template={name!r} is none of {', '.join(NAMES)}{hint} and no file; "
            f"a template of one's own is a file of json: {_FORM}"
        ) from None


def _read(text: str) -> Template:
    """Return a template of one's own; see _FORM."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"prompt.template is no json ({error}); write {_FORM}"
        ) from None
    known = {f.name for f in dataclasses.fields(Template)} - {"own"}
    wrong = sorted(given.keys() - known) if isinstance(given, dict) else [type(given)]
    if wrong:
        raise ValueError(f"prompt.template has no {wrong[0]!r}; write {_FORM}")
    for role in ROLES:
        if role in given and not (role == "system" and given[role] is None):
            given[role] = _pair(role, given[role])
    special = given.setdefault("special", [])
    texts = isinstance(special, list) and all(isinstance(m, str) and m for m in special)
    if not texts:
        raise ValueError(f"prompt.template: special takes texts; write {_FORM}")
    for key, kind in (("start", str), ("ends", bool), ("ends_all", bool)):
        if not isinstance(given.get(key, kind()), kind):
            raise ValueError(
                f"prompt.template: {key}={given[key]!r} is no {kind.__name__}; write {_FORM}"
            )
    found = Template(**given | {"special": tuple(special)})
    _check(found)
    return found


def _pair(role: str, given: typing.Any) -> tuple[str, str]:
    if not (isinstance(given, list) and [type(x) for x in given] == [str, str]):
        raise ValueError(
            f"prompt.template: {role}={given!r} is not the two texts before and after "
            f"what is said; write {_FORM}"
        )
    return given[0], given[1]


def _check(template: Template) -> None:
    """Raise ValueError for a template whose loss mask could not be right."""
    if not template.ends and not template.assistant[1].startswith(template.special):
        raise ValueError(
            "prompt.template: nothing ends a reply, so that a model never learns to stop; "
            'set "ends": true, or begin what stands after the assistant\'s with a marker '
            "of special"
        )
    for mark in template.special:
        if not any(mark in text for text in template.texts):
            raise ValueError(f"prompt.template: {mark!r} of special stands in no text")


def check(template: Template, tokenizer) -> None:
    """Raise ValueError if the tokenizer has to have a chat template and has none."""
    if template.own and not tokenizer.chat_template:
        raise ValueError(
            f"prompt.template={OWN!r} needs a tokenizer with a chat template (chat_"
            "template.jinja, or chat_template in tokenizer_config.json), but this one "
            f"has none; use one of {', '.join(TEMPLATES)}."
        )
