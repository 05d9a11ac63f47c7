"""Text-level examples: what a task says about one record, before any tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

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
    accepted answers for scoring. `tests` are Python that fails where the reply, with
    `opening` before it, is not right. `fields` are what the last user turn was made of,
    so that another prompt can be; {} = it is what the record holds.
    """

    turns: tuple[Turn, ...]
    references: tuple[str, ...] = ()
    tests: str = ""
    opening: str = ""
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)


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
    """Words with one tag each; `tags` is empty at inference.

    `text` is what the words were cut from and `spans` are the (start, end) characters
    of each word in it; None = the words joined by single spaces.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    text: str | None = None
    spans: tuple[tuple[int, int], ...] = ()

    def __post_init__(self):
        if isinstance(self.words, str) or isinstance(self.tags, str):
            raise ValueError(
                f"words={self.words!r:.60} and tags={self.tags!r:.60} are lists of texts"
            )
        if self.tags and len(self.words) != len(self.tags):
            raise ValueError(
                f"{len(self.words)} words have {len(self.tags)} tags; give one each."
            )
        if self.text is not None and len(self.words) != len(self.spans):
            raise ValueError(
                f"{len(self.words)} words have {len(self.spans)} spans in their text; "
                "give one each, or no text."
            )


@dataclasses.dataclass(frozen=True)
class Sentences(Tagged):
    """The sentences of a document as words, whether each is kept as tags.

    `summaries` are what those kept are compared with.
    """

    summaries: tuple[str, ...] = ()


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
    """Two texts that belong together, for contrastive training.

    `negatives` are texts like the second that do not belong to the first; `score`,
    from 0 to 1, says how much the two do, None = they do.
    """

    first: str
    second: str
    negatives: tuple[str, ...] = ()
    score: float | None = None


Example = Text | Turns | Labelled | Choice | Tagged | Span | Preference | Pair
KINDS = (Text, Turns, Labelled, Choice, Tagged, Span, Preference, Pair)
