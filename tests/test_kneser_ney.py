"""The n-gram yardstick against its definition, written out slowly."""

import collections
import functools
import math

import numpy as np
import pytest
import runs

from lmtasks.metrics import kneser_ney
from lmtasks.studies import scores

VOCAB = 7


def texts(count, seed=0):
    """Return texts in which a token mostly follows from the two before it."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        text = list(rng.integers(VOCAB, size=2))
        for _ in range(rng.integers(1, 30)):
            follows = (3 * text[-1] + text[-2]) % VOCAB
            text.append(follows if rng.random() < 0.6 else rng.integers(VOCAB))
        found.append(np.array(text))
    return found


def slow(training, order):
    """Return p(word, context) by the recursion of Chen and Goodman, 1998."""
    raw = collections.Counter()
    for text in training:
        padded = [VOCAB] * order + list(text)
        for end in range(order + 1, len(padded)):
            raw[tuple(padded[end - order + 1 : end + 1])] += 1
    counts = {order: raw}
    for k in range(order - 1, 0, -1):
        counts[k] = collections.Counter(gram[1:] for gram in counts[k + 1])
    off = {}
    for k, grams in counts.items():
        n = collections.Counter(grams.values())
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0
        if not all(n[i] for i in (1, 2, 3, 4)):
            off[k] = [0, 0.5, 1, 1.5]
            continue
        off[k] = [0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))]
        if not all(0 < off[k][i] <= i for i in (1, 2, 3)):
            off[k] = [0, 0.5, 1, 1.5]

    @functools.cache
    def p(word, context):
        k = len(context) + 1
        below = p(word, context[1:]) if context else 1 / VOCAB
        mine = {g[-1]: n for g, n in counts[k].items() if g[:-1] == context}
        if not mine:
            return below
        total = sum(mine.values())
        held = sum(off[k][min(n, 3)] for n in mine.values())
        count = mine.get(word, 0)
        return (count - off[k][min(count, 3)] + held * below) / total

    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 60])
def test_it_is_the_definition_s_recursion(order, count):
    training, held_out = texts(count), texts(3, seed=1)
    model, p = kneser_ney.KneserNey(training, VOCAB, order), slow(training, order)
    for text in held_out:
        padded = (VOCAB,) * order + tuple(text.tolist())
        ends = range(order + 1, len(padded))
        wanted = [-math.log(p(padded[e], padded[e - order + 1 : e])) for e in ends]
        np.testing.assert_allclose(model.nats(text), wanted, rtol=1e-10)


def test_the_chances_of_all_tokens_sum_to_one_after_any_context():
    model = kneser_ney.KneserNey(texts(30), VOCAB)
    for context in ([0], [3, 3, 3], [1, 2, 5, 0, 6]):
        last = [model.nats(np.array([*context, w]))[-1] for w in range(VOCAB)]
        assert np.exp(-np.array(last)).sum() == pytest.approx(1, abs=1e-12)


def test_a_longer_context_that_tells_more_is_used():
    train, held_out = texts(300), texts(50, seed=1)
    losses = []
    for order in (1, 2, 3, 5):
        model = kneser_ney.KneserNey(train, VOCAB, order)
        losses.append(np.concatenate([model.nats(t) for t in held_out]).mean())
    # One token before tells nothing, two tell all, and more cost little.
    assert losses[2] < min(losses[:2]) - 0.1
    assert abs(losses[0] - losses[1]) < 0.05 and losses[3] < losses[1] - 0.3


def test_texts_without_a_second_token_are_refused():
    with pytest.raises(ValueError, match="at least two tokens"):
        kneser_ney.KneserNey([np.array([3])], VOCAB)
    with pytest.raises(ValueError, match="at least 1 token"):
        kneser_ney.KneserNey(texts(1), VOCAB, 0)


def test_a_run_says_what_the_n_gram_model_makes_of_its_text(tmp_path, capsys):
    """It counts the same tokens, and more text makes it better."""
    lines = ["the cat sat on the mat", "the dog lay on the mat", "a cat is a cat"] * 20
    for split in ("train", "validation"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    work = tmp_path / "work"
    flags = runs.settings(
        data__dir=tmp_path, tokenizer__kind="byte", eval__ngram=5, eval__every=0
    )
    argv = ["train", "--config=own:text", f"--workdir={work}", *flags]
    said = runs.good(capsys, *argv)
    assert "Kneser-Ney, 5 tokens: perplexity 1." in said  # it has seen these lines
    more = [f"--workdir={work}", "--config.train.steps=6"]
    assert "Kneser-Ney" not in runs.good(capsys, "train", *more)  # said once
    out = runs.good(capsys, "eval", f"--workdir={work}")
    (row,) = runs.rows(work, "eval.jsonl")
    assert 1 < row["ngram_perplexity"] < 2 < row["perplexity"]
    assert "ngram_perplexity" in out
    kept = scores.read(str(work), "validation").parts
    assert len(kept["ngram_perplexity"].rows) == 60
    (tmp_path / "train.txt").unlink()
    said = runs.command(capsys, "eval", f"--workdir={work}")
    assert said.code == 0 and "eval.ngram is left out" in said.out + said.err
    assert "ngram_perplexity" not in runs.rows(work, "eval.jsonl")[-1]


def test_an_n_gram_model_of_what_is_no_plain_text_is_refused(tmp_path, capsys):
    argv = runs.classify(runs.data(tmp_path / "data"), tmp_path / "work")
    said = runs.command(capsys, *argv, "--config.eval.ngram=5")
    assert said.code == 2 and "eval.ngram" in said.err
