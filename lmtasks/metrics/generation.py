"""Scores of generated text against one or more accepted texts.

BLEU, chrF and TER are 0-100 as sacrebleu gives them (TER may exceed 100); ROUGE,
exact match and token F1 are fractions in [0, 1]. Gold texts: see
`inputs.gold_texts`. A missing text counts as "".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import sacrebleu
from rouge_score import rouge_scorer

from lmtasks.data import examples
from lmtasks.metrics import inputs
from lmtasks.metrics import spans

_SACREBLEU = {"bleu": sacrebleu.BLEU, "chrf": sacrebleu.CHRF, "ter": sacrebleu.TER}
_ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_ROUGE_TOKEN = re.compile(r"[a-z0-9]", re.IGNORECASE)


def bleu(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"bleu"} of the corpus, 0-100, tokenizer 13a (Post, 2018)."""
    return _corpus("bleu", predictions, scored)


def chrf(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"chrf"} of the corpus, chrF2, 0-100 (Popovic, 2015)."""
    return _corpus("chrf", predictions, scored)


def ter(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"ter"} of the corpus, in percent, lower is better (Snover, 2006)."""
    return _corpus("ter", predictions, scored)


def signature(name: str, scored: Sequence[examples.Example]) -> str:
    """Return sacrebleu's signature of "bleu", "chrf" or "ter" on these examples.

    Print it beside every such number: it names the tokenizer, the case rule, the
    count of references and the version.
    """
    if name not in _SACREBLEU:
        raise ValueError(
            f"{name!r} has no signature; use one of {', '.join(sorted(_SACREBLEU))}."
        )
    scorer = _SACREBLEU[name](references=_streams(scored))
    return scorer.get_signature().format()


def rouge(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return the mean F of "rouge1", "rouge2", "rougeL", "rougeLsum", in [0, 1].

    No stemmer; the best of several golds (Lin, 2004). Lsum compares sentence by
    sentence: lines where the text has several, else split behind `.`, `!` and `?`.

    Raises:
        ValueError: most gold texts have no Latin letter or digit, all that the
            library's tokenizer keeps: every score would be 0.
    """
    golds = _golds(predictions, scored)
    blank = sum(not any(map(_ROUGE_TOKEN.search, gold)) for gold in golds)
    if 2 * blank > len(golds):
        raise ValueError(
            f"rouge keeps only a-z and 0-9 and {blank} of {len(golds)} gold texts have "
            "neither; use chrf for this language."
        )
    scorer = rouge_scorer.RougeScorer(_ROUGE, use_stemmer=False)
    totals = dict.fromkeys(_ROUGE, 0.0)
    for said, gold in zip(inputs.said_texts(predictions), golds):
        found = scorer.score_multi([_lines(text) for text in gold], _lines(said))
        for name in _ROUGE:
            totals[name] += float(found[name].fmeasure)
    return {name: total / len(golds) for name, total in totals.items()}


def exact_match(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"exact_match"}: the fraction equal to a gold but for outer spaces."""
    golds = _golds(predictions, scored)
    said = inputs.said_texts(predictions)
    right = [a.strip() in {text.strip() for text in b} for a, b in zip(said, golds)]
    return {"exact_match": sum(right) / len(golds)}


def token_f1(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"token_f1"}: mean F1 of words, the best gold of each, in [0, 1].

    Words are those of SQuAD's rule (`spans.normalize`).
    """
    golds = _golds(predictions, scored)
    said = inputs.said_texts(predictions)
    best = [max(spans.f1(a, text) for text in b) for a, b in zip(said, golds)]
    return {"token_f1": sum(best) / len(golds)}


def _corpus(name: str, predictions, scored) -> dict[str, float]:
    """Return one sacrebleu score of the corpus."""
    inputs.check(predictions, scored)
    said = inputs.said_texts(predictions)
    score = _SACREBLEU[name]().corpus_score(said, _streams(scored))
    return {name: float(score.score)}


def _streams(scored) -> list[tuple[str | None, ...]]:
    """Return references as sacrebleu wants them: one list per reference number."""
    golds = [inputs.gold_texts(example) or ("",) for example in scored]
    return list(itertools.zip_longest(*golds))


def _golds(predictions, scored) -> list[tuple[str, ...]]:
    """Return the accepted texts of each example, ("",) where the right one is none."""
    inputs.check(predictions, scored)
    return [inputs.gold_texts(example) or ("",) for example in scored]


def _lines(text: str) -> str:
    """Return the text with one sentence per line."""
    return text if "\n" in text.strip() else _SENTENCE_END.sub("\n", text.strip())
