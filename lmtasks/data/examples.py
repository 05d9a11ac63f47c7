"""Text-level examples: what a task says about one record, before any tokenizer."""

from __future__ import annotations

import dataclasses

Label = str | float | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Text:
    """Plain text for pretraining; one document."""

    text: str


@dataclasses.dataclass(frozen=True)
class Turn:
    """One message; `role` is "system", "user" or "assistant"."""

    role: str
    text: str


@dataclasses.dataclass(frozen=True)
class Turns:
    """A conversation, or a prompt with its completion; loss on assistant turns.

    At inference the last assistant turn may be absent. `references` are further
    accepted answers for scoring.
    """

    turns: tuple[Turn, ...]
    references: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Labelled:
    """One text or a pair with a class name, a number, several names, or None."""

    text: str
    label: Label = None
    pair: str | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """A context with options; `answer` is the index of the right one, -1 unknown."""

    context: str
    options: tuple[str, ...]
    answer: int = -1


@dataclasses.dataclass(frozen=True)
class Tagged:
    """Words with one tag each; `tags` is empty at inference."""

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Span:
    """A question on a context; answers are (text, first character), () = none."""

    question: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Preference:
    """A prompt with a chosen and a rejected completion."""

    prompt: str
    chosen: str
    rejected: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two texts that belong together, for contrastive training."""

    first: str
    second: str


Example = Text | Turns | Labelled | Choice | Tagged | Span | Preference | Pair
KINDS = (Text, Turns, Labelled, Choice, Tagged, Span, Preference, Pair)
