"""Contrastive search against lists and cosines; scoring and choosing."""

import functools
import math

import jax
import markov
import numpy as np
import pytest
import tiny

from lmtasks.decode import choose
from lmtasks.decode import contrastive
from lmtasks.decode import loop
from lmtasks.decode import plan
from lmtasks.decode import score

MODEL = markov.Markov.drawn(v=6, seed=3, scale=1.0)
PROMPTS = ([0, 1], [2, 3, 1, 4], [5])


def _reference(prompt, longest, k, alpha, stop):
    """Return the text by the definition."""
    vectors = MODEL.vectors().astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)

    def state(text, i):
        return vectors[text[i - 1] if i else 0, text[i]]

    text = list(prompt)
    while len(text) < len(prompt) + longest:
        before = text[-2] if len(text) > 1 else 0
        p = np.exp(MODEL.log_p[before, text[-1]])
        past = [state(text, i) for i in range(len(text))]
        found = []
        for v in np.argsort(-p)[:k]:
            mine = vectors[text[-1], v]
            worst = max(float(mine @ one) for one in past)
            found.append(((1 - alpha) * p[v] - alpha * worst, int(v)))
        text.append(max(found)[1])
        if text[-1] == stop:
            break
    return text[len(prompt) :]


@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.8])
def test_contrastive_search_is_that_of_lists_and_cosines(alpha):
    decode = plan.Decode(
        method="contrastive", top_k=3, alpha=alpha, max_tokens=7, stop_ids=(5,)
    )
    start = functools.partial(MODEL.start, hidden=True)
    step = functools.partial(MODEL.step, hidden=True)
    run = jax.jit(lambda b: contrastive.generate(start, step, b, decode=decode))
    got = jax.device_get(run(markov.prompts(*PROMPTS)))
    for row, prompt in enumerate(PROMPTS):
        n = int(got.lengths[row, 0])
        text = got.tokens[row, 0, :n].tolist()
        assert text == _reference(prompt, 7, 3, alpha, 5)
        assert (got.tokens[row, 0, n:] == -1).all()
        total = float(got.log_probs[row, 0].sum())
        if len(prompt) > 1:
            assert total == pytest.approx(MODEL.score(prompt, text), abs=1e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_real_model_searches_contrastively_and_greedily_without_a_penalty(
    architecture,
):
    one = tiny.model(architecture, positions={"kind": "learned"}, layers=1)
    params = tiny.draw(one)
    rows = tiny.batch(4, 2, architecture=architecture, sources=[3, 6])

    def run(method, **values):
        decode = plan.Decode(method=method, max_tokens=5, **values)
        start = functools.partial(one.start, params)
        step = functools.partial(one.step, params)
        if method == "contrastive":
            start, step = (functools.partial(f, hidden=True) for f in (start, step))
            return contrastive.generate(start, step, rows, decode=decode)
        from lmtasks.decode import sampling

        sampled = sampling.sampling_of(decode, 2)
        return loop.generate(
            start, step, rows, decode=decode, sampling=sampled, keys=markov.keys(2)
        )

    greedy = jax.jit(lambda: run("sample"))()
    plain = jax.jit(lambda: run("contrastive", top_k=4, alpha=0.0))()
    np.testing.assert_array_equal(plain.tokens, greedy.tokens)
    np.testing.assert_allclose(plain.log_probs, greedy.log_probs, atol=1e-4)
    other = jax.jit(lambda: run("contrastive", top_k=4, alpha=1.0))()
    assert (np.asarray(other.tokens) != np.asarray(greedy.tokens)).any()


def test_scores_are_sums_over_the_targets_that_count():
    logits = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    batch = {
        "targets": np.array([[1, 2, 3, 4], [0, 0, 1, 2]]),
        "weights": np.array([[0, 1, 1, 0], [0, 0, 0, 0]], np.float32),
    }
    got = score.targets(lambda _: logits, batch)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    wanted = [log_p[0, 1, 2], log_p[0, 2, 3]]
    np.testing.assert_allclose(got.per_token[0], [0, *wanted, 0], rtol=1e-5)
    np.testing.assert_allclose(got.total, [sum(wanted), 0], rtol=1e-5)
    np.testing.assert_allclose(got.mean, [sum(wanted) / 2, 0], rtol=1e-5)
    np.testing.assert_array_equal(got.tokens, [2, 0])
    gathered = {**batch, "at": np.array([[1, 2], [4, 4]])}
    again = score.targets(lambda _: logits[[[0], [1]], [[1, 2], [3, 3]]], gathered)
    np.testing.assert_allclose(again.total, got.total, rtol=1e-5)


def test_the_likeliest_and_the_commonest_are_chosen():
    assert choose.best_of([-3.0, -1.0, -1.0, -2.0]) == 1

    def last(text):
        return text.split()[-1] if text else None

    texts = ["is 3", "is 4", "so 3", "", "", ""]
    assert choose.vote(texts, last, [-5.0, -1.0, -4.0, 0, 0, 0]) == 2
    # One each: the best-scored; no answer at all: the best-scored text.
    assert choose.vote(["1", "2"], last, [-2.0, -1.0]) == 1
    assert choose.vote(["", ""], last, [-2.0, -1.0]) == 1


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("greedy", {"temperature": 0.0, "method": "sample"}),
        ("beam4", {"method": "beam", "beams": 4}),
        ("topk50", {"top_k": 50, "temperature": 1.0}),
        ("topp0.9", {"top_p": 0.9, "temperature": 1.0}),
        ("temp0.7", {"temperature": 0.7}),
        ("contrastive5", {"method": "contrastive", "top_k": 5}),
        ("lookup3", {"method": "lookup", "drafted": 3}),
    ],
)
def test_short_names_stand_for_plans(name, wanted):
    got = plan.named(name, plan.Decode(top_k=7, max_tokens=9))
    assert got.max_tokens == 9
    for key, value in wanted.items():
        assert getattr(got, key) == value


@pytest.mark.parametrize("name", ["greedy4", "beam", "beem4", "beam4.5", "topp7", ""])
def test_an_unknown_short_name_is_refused(name):
    with pytest.raises(ValueError, match="methods|decode.top_p"):
        plan.named(name, plan.Decode())


def test_a_uniform_choice_of_equal_scores_takes_the_first():
    assert choose.best_of([math.log(0.5)] * 2) == 0
