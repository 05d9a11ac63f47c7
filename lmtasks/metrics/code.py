"""Scores of written Python: whether it parses, and pass@k of what was run elsewhere."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs
from lmtasks.metrics import programs


def valid_syntax(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"valid_syntax"}: the fraction of texts that are Python and not empty.

    They are compiled, never run.
    """
    inputs.check(predictions, scored)
    right = map(parses, inputs.said_texts(predictions))
    return {"valid_syntax": sum(right) / len(scored)}


def valid_completion(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"valid_syntax"}: the same where a text goes on from its prompt."""
    inputs.check(predictions, scored)
    said = inputs.said_texts(predictions)
    prompts = [_prompt(example) for example in scored]
    pairs = zip(prompts, said, strict=True)
    right = [bool(text.strip()) and parses(prompt + text) for prompt, text in pairs]
    return {"valid_syntax": sum(right) / len(scored)}


def equal_results(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"equal_results"}: the fraction of small programs that compute what the
    right one does, of all of programs.INPUTS. Nothing is executed, see programs.run.
    """
    inputs.check(predictions, scored)
    right = 0
    for said, example in zip(inputs.said_texts(predictions), scored, strict=True):
        language = example.fields["target_language"]
        gold, mine = (
            [programs.run(text, language, *given) for given in programs.INPUTS]
            for text in (inputs.gold_texts(example)[0], said)
        )
        right += None not in mine and mine == gold
    return {"equal_results": right / len(scored)}


def parses(text: str) -> bool:
    """Return whether a text is Python with at least one statement."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape in a string
            compile(text, "<text>", "exec", dont_inherit=True)
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the probability that one of k of the samples at least is right.

    Unbiased: 1 - C(n - c, k) / C(n, k) of n samples with c right (Chen et al., 2021,
    arXiv:2107.03374, equation 1).

    >>> round(pass_at_k(10, 3, 5), 6)
    0.916667

    Raises:
        ValueError: fewer samples than k, or more right ones than samples.
    """
    if not 0 < k <= samples or not 0 <= right <= samples:
        raise ValueError(
            f"pass@{k} of {samples} samples, {right} of them right, does not exist; "
            "draw at least k samples."
        )
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def _prompt(example: examples.Example) -> str:
    """Return what a text goes on from: the turns before the reply."""
    turns = example.turns
    before = turns[:-1] if turns[-1].role == "assistant" else turns
    return "".join(turn.text for turn in before)
