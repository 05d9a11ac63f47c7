"""Scores of generated text against one or more accepted texts.

BLEU, chrF and TER are 0-100 as sacrebleu gives them (TER may exceed 100); ROUGE,
exact match and token F1 are fractions in [0, 1]. Gold texts: see
`inputs.gold_texts`. A missing text counts as "".
"""

from __future__ import annotations

import collections
import functools
import itertools
import re
from collections.abc import Sequence

import numpy as np
import sacrebleu
from rouge_score import rouge_scorer

from lmtasks.data import examples
from lmtasks.metrics import inputs
from lmtasks.metrics import spans

_SACREBLEU = {"bleu": sacrebleu.BLEU, "chrf": sacrebleu.CHRF, "ter": sacrebleu.TER}
SIGNED = tuple(_SACREBLEU)
_ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_DRAWS = 1000  # of the bootstrap
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_ROUGE_TOKEN = re.compile(r"[a-z0-9]", re.IGNORECASE)


def bleu(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"bleu"} of the corpus, 0-100 (Post, 2018).

    The tokenizer is `tokenizer_of` the gold texts.
    """
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
    return _scorer(name, scored, references=_streams(scored)).get_signature().format()


def tokenizer_of(texts: Sequence[str]) -> str:
    """Return sacrebleu's tokenizer for a language, by the letters of its texts.

    "zh" where most are Chinese, "char" where most are of another script that puts no
    spaces between words (Japanese, Thai, Lao, Khmer, Burmese), else "13a".
    """
    letters = collections.Counter(
        _script(letter) for text in texts for letter in text if letter.isalpha()
    )
    if 2 * (letters["zh"] + letters["char"]) <= letters.total():
        return "13a"
    # Japanese is written with Chinese letters too, Chinese never with kana.
    return "char" if 10 * letters["char"] > letters["zh"] else "zh"


def _script(letter: str) -> str:
    code = ord(letter)
    if 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3134F:
        return "zh"
    spaceless = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF))
    return "char" if any(a <= code <= b for a, b in spaceless) else ""


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
    found = _each(tuple(inputs.said_texts(predictions)), tuple(golds))
    return {name: float(np.mean(values)) for name, values in found.items()}


def rouge_of_each(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, list[float]]:
    """Return the F of each text, of its best gold, in [0, 1]."""
    golds = _golds(predictions, scored)
    return _each(tuple(inputs.said_texts(predictions)), tuple(golds))


def rouge_interval(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"rouge1_low", "rouge1_high", ..}: where 95% of the means of as many texts
    drawn anew lie (bootstrap, percentiles of 1,000 draws, the same every time).
    """
    out = {}
    for name, values in rouge_of_each(predictions, scored).items():
        rng = np.random.default_rng(0)
        draws = rng.integers(len(values), size=(_DRAWS, len(values)))
        low, high = np.percentile(np.asarray(values)[draws].mean(axis=1), (2.5, 97.5))
        out |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return out


@functools.lru_cache(maxsize=1)
def _each(
    texts: tuple[str, ...], golds: tuple[tuple[str, ...], ...]
) -> dict[str, list[float]]:
    """Return the F of each text, of its best gold; mean and interval ask for the same."""
    scorer = rouge_scorer.RougeScorer(_ROUGE, use_stemmer=False)
    each: dict[str, list[float]] = {name: [] for name in _ROUGE}
    for said, gold in zip(texts, golds, strict=True):
        found = scorer.score_multi([_lines(text) for text in gold], _lines(said))
        for name in _ROUGE:
            each[name].append(float(found[name].fmeasure))
    return each


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
    score = _scorer(name, scored).corpus_score(said, _streams(scored))
    return {name: float(score.score)}


def statistics(
    name: str,
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
) -> list[list[float]]:
    """Return what sacrebleu adds up over texts for "bleu", "chrf" or "ter", of each."""
    inputs.check(predictions, scored)
    # sacrebleu has no public name for what its own significance tests resample.
    return _scorer(name, scored)._extract_corpus_statistics(
        inputs.said_texts(predictions), _streams(scored)
    )


def _scorer(name: str, scored, **given):
    """Return sacrebleu's scorer for the language of the gold texts."""
    if name == "bleu":
        golds = [text for example in scored for text in inputs.gold_texts(example)]
        given["tokenize"] = tokenizer_of(golds)
    return _SACREBLEU[name](**given)


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
