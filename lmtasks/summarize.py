"""Summaries of documents longer than the context, and of several documents.

A document is cut at sentences into chunks that the model reads whole. Each chunk is
summarized, and the summaries are summarized together, as often as they are too long for
the context themselves. Several documents about one event are merged in the same way; of
a transcript the replies can stand as a list instead, such as its decisions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

from lmtasks import api
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import sentences
from lmtasks.training import writing


@dataclasses.dataclass(frozen=True)
class Summary:
    """A summary and how it came about.

    Attributes:
        text: the summary; of a list, one item a line. "" where nothing was written.
        parts: the summaries of the chunks, in the order of the documents; "" = none.
        rounds: how often summaries were summarized.
        cut: chunks, of one word each, that the model did not read whole.
    """

    text: str
    parts: tuple[str, ...]
    rounds: int
    cut: int = 0


def summarize(
    loaded: writing.Loaded,
    documents: Sequence[str],
    *,
    listed: bool = False,
) -> Summary:
    """Return one summary of all documents.

    Args:
        loaded: a run of a task of summaries, whose prompt has {text}.
        documents: texts of any length; several are about one event.
        listed: the replies to the chunks are a list, each item once; nothing is merged.

    Raises:
        ValueError: the run summarizes nothing, or there is no text.
    """
    prompt = _Prompt(loaded)
    texts = [text for text in documents if text.strip()]
    if not texts:
        raise ValueError("there is no text to summarize")
    pieces = [piece for text in texts for piece in _pieces(text, prompt.fits)]
    cut = sum(not prompt.fits(piece) for piece in pieces)
    parts = prompt.replies(pieces)
    said, rounds = [part for part in parts if part], 0
    if listed:
        return Summary("\n".join(dict.fromkeys(said)), parts, 0, cut)
    while len(said) > 1:
        pieces = _pieces("\n".join(said), prompt.fits)
        if len(pieces) >= len(said):
            # Summaries as long as what they summarize: another round ends nowhere.
            break
        said = [one for one in prompt.replies(pieces) if one]
        rounds += 1
    return Summary("\n".join(said), parts, rounds, cut)


def _pieces(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Return a text as it is where it fits, else as chunks."""
    return [text] if fits(text) else chunks(text, fits)


def chunks(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Return a text as chunks of whole sentences, as long as they fit.

    A sentence that does not fit alone is cut between words; nothing is left out.

    >>> chunks("One two. Three. Four five six.", lambda t: len(t.split()) <= 3)
    ['One two. Three.', 'Four five six.']
    """
    found: list[str] = []
    for sentence in sentences.split(text):
        for piece in [sentence] if fits(sentence) else _by_words(sentence, fits):
            joined = f"{found[-1]} {piece}" if found else piece
            if found and fits(joined):
                found[-1] = joined
            else:
                found.append(piece)
    return found


def _by_words(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """Return a sentence as its longest runs of words that fit; one word at least."""
    words, found = sentence.split(), []
    while words:
        low, high = 1, len(words)
        while low < high:  # the longest run by halves
            middle = (low + high + 1) // 2
            fit = fits(" ".join(words[:middle]))
            low, high = (middle, high) if fit else (low, middle - 1)
        found.append(" ".join(words[:low]))
        words = words[low:]
    return found


class _Prompt:
    """The prompt of a run around a text, and what the run says to it."""

    def __init__(self, loaded: writing.Loaded):
        run = loaded.run
        reads = run.objective.writes and run.task.kind is examples.Turns
        samples = run.task.samples[:1] if reads else ()
        fields = dict(run.task.example(samples[0]).fields) if samples else {}
        if "text" not in fields or "{text}" not in run.task.prompt:
            raise ValueError(
                f"task={run.config.task!r} summarizes nothing; use a run of a task of "
                "summaries, whose prompt has {text}"
            )
        self.loaded, self.fields = loaded, fields

    def example(self, text: str) -> examples.Turns:
        """Return the prompt of a text."""
        fields = self.fields | {"text": text}
        open_turn = examples.Turns((examples.Turn("user", ""),), fields=fields)
        return chat.as_turns(open_turn, self.loaded.run.task.prompt)

    def fits(self, text: str) -> bool:
        """Return whether the model reads the text whole."""
        run = self.loaded.run
        rows = run.objective.query(self.example(text), run.tokenizer)
        return not any(row["cut"] for row in rows)

    def replies(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return the reply to each text, "" where there is none."""
        said = api.predict(self.loaded, [self.example(text) for text in texts])
        return tuple("" if one is None else one["text"].strip() for one in said)
