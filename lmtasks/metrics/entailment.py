"""Whether each sentence of an answer follows from its source."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs

# (source, answer) pairs -> what zero_shot.verify says of each, None without text.
Verify = Callable[[Sequence[tuple[str, str]]], Sequence[dict | None]]
# From this probability on, a sentence counts as supported.
SUPPORTED = 0.5
# The examples with a source that an answer can follow from.
SOURCED = (examples.Span, examples.Turns)


def support(
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
    *,
    verify: Verify,
) -> dict[str, float]:
    """Return {"entailment_support", "unanswered"}.

    The former is the mean over answers of the share of sentences whose entailment by the
    source has a probability above 0.5; an answer without text is counted by the latter
    and left out. The source is a question's context, or what the turns before the answer
    say.

    Args:
        predictions: whose "text" is the answer.
        scored: Span or Turns.
        verify: of a trained run, `functools.partial(zero_shot.verify, loaded)`.
    """
    inputs.check(predictions, scored)
    texts = inputs.said_texts(predictions)
    pairs = [(_source(one), text) for one, text in zip(scored, texts, strict=True)]
    found = [one for one in verify(pairs) if one is not None]
    shares = []
    for one in found:
        held = [row["support"] > SUPPORTED for row in one["sentences"]]
        shares.append(sum(held) / len(held))
    return {
        "entailment_support": sum(shares) / max(len(shares), 1),
        "unanswered": float(len(pairs) - len(shares)),
    }


def _source(example: examples.Example) -> str:
    if isinstance(example, examples.Span):
        return example.context
    if isinstance(example, examples.Turns):
        turns = example.turns
        if turns and turns[-1].role == "assistant":
            turns = turns[:-1]
        return "\n\n".join(turn.text for turn in turns)
    raise ValueError(
        f"a {type(example).__name__} has no source that an answer could follow from; "
        "entailment_support reads Span and Turns."
    )
