"""Conversations as tokens with a loss mask, and other examples as conversations."""

from __future__ import annotations

import dataclasses

import numpy as np

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import templates
from lmtasks.tokenizers import chat_ids


def reply_text(text: str, template: templates.Template, tokenizer=None) -> str:
    """Return the reply with the space that sets it off a marker-free prompt.

    Of the tokenizer's own template it is what that puts before a reply.
    """
    if template.own:
        return chat_ids.lead(tokenizer) + text
    apart = not template.assistant[0] and text[:1].strip()
    return f" {text}" if apart else text


def render(
    turns, tokenizer, template: templates.Template, *, bos: bool
) -> tuple[list, list]:
    """Return (ids, learned): the conversation and which ids carry loss.

    Each piece of text is encoded apart, so the mask is exact by construction.

        "Q: 1+1?" | "2"  ->  ids     [bos] Q : ... ?  _2  [eos]
                             learned   0   0  ...  0   1    1

    Args:
        turns: sequence of examples.Turn; a last assistant turn may be missing, then
            the ids end with what stands before a reply. A reply with `ids` has these;
            the tokenizer's own template goes by its text.
        tokenizer: any tokenizer of lmtasks.tokenizers.
        template: the markers.
        bos: begin with the tokenizer's beginning-of-sequence where it has one; the
            tokenizer's own template says itself whether it does.
    """
    if template.own:
        templates.check(template, tokenizer)
        said = [(turn.role, turn.text) for turn in turns]
        return chat_ids.render(said, tokenizer, bos=bos)
    out = _Rendered(tokenizer, template, bos=bos)
    for turn in turns if template.system else _merged(turns):
        out.turn(turn)
    if turns and turns[-1].role != "assistant":
        out.add(template.assistant[0], special=True)
    return out.ids, out.learned


class _Rendered:
    """A conversation as it grows: ids, and which of them carry loss."""

    def __init__(self, tokenizer, template: templates.Template, *, bos: bool):
        self.tokenizer, self.template = tokenizer, template
        start = bos and tokenizer.bos_id is not None
        self.ids: list[int] = [tokenizer.bos_id] if start else []
        self.learned: list[bool] = [False] * len(self.ids)
        self._before_text = len(self.ids)
        self.add(template.start, special=True)

    def add(self, text: str, *, special=False, learn=False) -> None:
        """Add a piece of text."""
        # Only the first text may get the space a tokenizer puts before a sentence.
        continues = len(self.ids) > self._before_text
        new = self.tokenizer.encode(text, special=special, continues=continues)
        self._extend(new, learn)

    def _extend(self, ids, learn: bool) -> None:
        self.ids.extend(ids)
        self.learned.extend([learn] * len(ids))

    def turn(self, turn) -> None:
        """Add a turn with its markers."""
        before, after = getattr(self.template, turn.role)
        replying = turn.role == "assistant"
        if replying and getattr(turn, "ids", None) is not None:
            self.add(before, special=True)
            self._extend(turn.ids, True)
        else:
            # A marker's last space belongs to the text: "_Hello" is one piece, "_" and
            # "Hello" are not what the model would read in running text.
            marker = before.rstrip(" ")
            self.add(marker, special=True)
            text = reply_text(turn.text, self.template) if replying else turn.text
            self.add(before[len(marker) :] + text, learn=replying)
        self._finish(after, replying)

    def _finish(self, after: str, replying: bool) -> None:
        # Only what ends the turn is learned, not what else stands behind it.
        ends = self.template.ends_all or (self.template.ends and replying)
        if ends and self.tokenizer.eos_id is not None:
            self._extend([self.tokenizer.eos_id], replying)
        at = len(self.ids)
        self.add(after, special=True)
        if replying and not self.template.ends and len(self.ids) > at:
            self.learned[at] = True


def _merged(turns) -> list:
    """Return the turns with what the system says before the user's first text, or as
    the user's where there is none.
    """
    system = [turn.text for turn in turns if turn.role == "system"]
    rest = [turn for turn in turns if turn.role != "system"]
    if not system:
        return rest
    asked = rest[:1] if rest and rest[0].role == "user" else []
    text = "\n\n".join([*system, *(turn.text for turn in asked)])
    return [examples.Turn("user", text), *rest[len(asked) :]]


def prompt_text(example: examples.Example, prompt: str) -> str:
    """Return the task's prompt filled with the example's text fields."""
    fields = {
        name: " ".join(value) if isinstance(value, tuple) else value
        for name, value in vars(example).items()
        if isinstance(value, str) or (name == "words" and isinstance(value, tuple))
    }
    if isinstance(example, examples.Turns):
        fields = dict(example.fields)
    if isinstance(example, examples.Choice):
        fields["options"] = letters.listed(example.options)
    try:
        return prompt.format(**fields)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(
            f"the prompt {prompt!r} cannot be filled ({error}); "
            f"a {type(example).__name__} example has the fields "
            f"{', '.join('{' + name + '}' for name in sorted(fields))}"
        ) from None


def as_turns(
    example: examples.Example, prompt: str, labels: tuple[str, ...] = ()
) -> examples.Turns:
    """Return any supervised example as a prompt with its answer.

    Labelled("a gem", "positive") with the prompt "Review: {text} Sentiment:" becomes
    user "Review: a gem Sentiment:", assistant "positive". An unlabelled example gets
    no assistant turn. Tags are written as data.tag_text has it; `labels`, all tags of
    the task, say whether they name entities. Of Turns with `fields` the prompt is made
    anew.
    """
    if isinstance(example, examples.Turns):
        return _prompted(example, prompt)
    answer, references = _answer(example, prompt, labels)
    turns = [examples.Turn("user", prompt_text(example, prompt))]
    if answer is not None:
        turns.append(examples.Turn("assistant", answer))
    return examples.Turns(tuple(turns), references)


def _prompted(example: examples.Turns, prompt: str) -> examples.Turns:
    """Return the turns with the prompt as the last user turn, where fields fill it."""
    if not (prompt and example.fields):
        return example
    turns = list(example.turns)
    at = max(i for i, turn in enumerate(turns) if turn.role == "user")
    turns[at] = examples.Turn("user", prompt_text(example, prompt))
    return dataclasses.replace(example, turns=tuple(turns))


def _label(label) -> str | None:
    """Return a label as it is written: several by commas, a number shortly."""
    if isinstance(label, tuple):
        return ", ".join(label) or "none"
    if isinstance(label, float):
        return f"{label:g}"
    return None if label is None else str(label)


def _answer(example, prompt, labels) -> tuple[str | None, tuple[str, ...]]:
    if isinstance(example, examples.Labelled):
        return _label(example.label), ()
    if isinstance(example, examples.Choice):
        said = letters.answers(example, prompt)
        return (said[example.answer] if example.answer >= 0 else None), ()
    if isinstance(example, examples.Span):
        texts = [text for text, _ in example.answers] or ["no answer"]
        return texts[0], tuple(texts[1:])
    if isinstance(example, examples.Tagged):
        # Its scheme reader needs scikit-learn, a second that other runs need not wait.
        from lmtasks.data import tag_text

        return (tag_text.write(example, labels) if example.tags else None), ()
    if isinstance(example, examples.Preference):
        return example.chosen, ()
    raise ValueError(f"a {type(example).__name__} example has no answer to generate")


def split_reply(turns: examples.Turns) -> tuple[tuple, str | None]:
    """Return (the turns before the last reply, that reply's text or None)."""
    if turns.turns and turns.turns[-1].role == "assistant":
        return turns.turns[:-1], turns.turns[-1].text
    return turns.turns, None


def int_array(values) -> np.ndarray:
    """Return the values as int32[n]."""
    return np.asarray(values, np.int32)
