"""Constraints against brute force: what is forbidden is never written, what is asked for
always is, and everything else keeps its logit.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import markov
import numpy as np
import pytest

from lmtasks.decode import automaton
from lmtasks.decode import constraints
from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.layers.attention import BIG_NEGATIVE

MODEL = markov.Markov.drawn(v=6, seed=7)
V, STOP = 6, 5
PROMPTS = ([0, 1], [2, 3, 1, 4], [4, 4, 0], [1, 2, 3])


@functools.partial(jax.jit, static_argnums=1)
def _write(batch, decode, keys, tables):
    rules = constraints.rules_of(decode, batch["tokens"].shape[0], tables)
    return methods.write(
        MODEL.start, MODEL.step, batch, decode=decode, keys=keys, rules=rules
    )


def _texts(*, tables=None, rows=PROMPTS, **values):
    """Return the list of texts of each prompt."""
    decode = plan.Decode(**{"max_tokens": 8} | values)
    batch = markov.prompts(*rows)
    got = jax.device_get(_write(batch, decode, markov.keys(len(rows)), tables))
    return [
        [t[: int(n)].tolist() for t, n in zip(row, lengths, strict=True)]
        for row, lengths in zip(got.tokens, got.lengths, strict=True)
    ]


METHODS = {
    "greedy": {},
    "sampled": {"temperature": 1.5, "texts": 5},
    "beam": {"method": "beam", "beams": 3, "texts": 3},
}


def _rules(b=1, **values):
    return constraints.rules_of(plan.Decode(**values), b)


def _apply(rules, logits, prompt, text, n=None):
    logits = jnp.asarray(logits, jnp.float32)[None, None]
    text = jnp.asarray(text, jnp.int32)[None, None]
    states = constraints.begin(rules, 1, 1)
    out = constraints.apply(
        rules,
        logits,
        n=jnp.int32(int((text >= 0).sum()) if n is None else n),
        prompt=jnp.asarray(prompt, jnp.int32)[None],
        text=text,
        states=states,
    )
    return np.asarray(out)[0, 0]


def test_the_penalties_are_those_of_their_papers():
    logits = np.array([2.0, -2.0, 1.0, -1.0, 0.5, 3.0])
    prompt, text = [0, 1, -1], [2, 2, 3, -1]
    got = _apply(_rules(repetition_penalty=2.0), logits, prompt, text)
    # Divided where positive, multiplied where negative, of prompt and text.
    np.testing.assert_allclose(got, [1.0, -4.0, 0.5, -2.0, 0.5, 3.0])
    got = _apply(_rules(presence_penalty=0.3), logits, prompt, text)
    np.testing.assert_allclose(got, [2, -2, 0.7, -1.3, 0.5, 3], rtol=1e-6)
    got = _apply(_rules(frequency_penalty=0.3), logits, prompt, text)
    np.testing.assert_allclose(got, [2, -2, 0.4, -1.3, 0.5, 3], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_run_stands_twice_as_counted_by_hand(size):
    rng = np.random.default_rng(size)
    for _ in range(40):
        prompt = rng.integers(0, 4, rng.integers(1, 6)).tolist()
        text = rng.integers(0, 4, rng.integers(0, 6)).tolist()
        whole = prompt + text
        runs = {tuple(whole[i : i + size]) for i in range(len(whole) - size + 1)}
        last = tuple(whole[len(whole) - size + 1 :]) if size > 1 else ()
        banned = [len(whole) >= size - 1 and (*last, t) in runs for t in range(V)]
        got = _apply(
            _rules(no_repeat_ngram=size),
            np.zeros(V),
            prompt + [-1] * (7 - len(prompt)),
            text + [-1] * (7 - len(text)),
        )
        np.testing.assert_array_equal(got == BIG_NEGATIVE, banned)


@pytest.mark.parametrize("name", METHODS)
def test_texts_without_repeated_runs_have_none(name):
    for row, texts in zip(
        PROMPTS, _texts(no_repeat_ngram=2, **METHODS[name]), strict=True
    ):
        for text in texts:
            whole = row + text
            pairs = list(itertools.pairwise(whole))[len(row) - 1 :]
            before = list(itertools.pairwise(row))
            assert len(set(pairs)) == len(pairs) and not set(pairs) & set(before)


@pytest.mark.parametrize("name", METHODS)
def test_a_text_has_its_least_length_and_ends_where_it_may(name):
    free = _texts(stop_ids=(STOP, 4), **METHODS[name])
    assert any(len(text) < 5 for row in free for text in row)
    held = _texts(stop_ids=(STOP, 4), min_tokens=4, **METHODS[name])
    for text in itertools.chain(*held):
        assert len(text) >= 5 or len(text) == 0
        assert not {STOP, 4} & set(text[:4])


@pytest.mark.parametrize("name", METHODS)
def test_a_text_begins_as_it_must_and_never_has_what_it_may_not(name):
    tables = constraints.Tables(
        forced=jnp.array([3, -1, 0], jnp.int32),
        forbidden=jnp.arange(V) == 2,
    )
    for texts in _texts(tables=tables, **METHODS[name]):
        for text in texts:
            assert text[0] == 3 and text[2] == 0 and 2 not in text[1:]


def test_the_log_probs_stay_those_of_the_model_alone():
    decode = plan.Decode(max_tokens=4, repetition_penalty=3.0, no_repeat_ngram=1)
    got = _write(markov.prompts(*PROMPTS), decode, markov.keys(4), None)
    for row, prompt in enumerate(PROMPTS):
        text = np.asarray(got.tokens)[row, 0].tolist()
        assert float(got.scores[row, 0]) == pytest.approx(
            MODEL.score(prompt, text), abs=1e-4
        )


LABELS = [[0, 1], [0, 2, 3], [4], [0, 1, 1]]


@pytest.mark.parametrize("name", METHODS)
def test_a_choice_is_the_likeliest_or_some_label_and_nothing_else(name):
    tables = constraints.Tables(automata=(automaton.trie(LABELS, V, (STOP,)),))
    wanted = {(*label, STOP) for label in LABELS} | {(4,), (0, 2, 3), (0, 1, 1)}
    for texts in _texts(tables=tables, stop_ids=(STOP,), **METHODS[name]):
        assert {tuple(text) for text in texts if text} <= wanted


def test_a_wide_beam_over_a_trie_finds_the_likeliest_label():
    labels = [[0, 1, 2], [0, 2, 3], [4, 4, 4], [3, 1, 1]]
    tables = constraints.Tables(automata=(automaton.trie(labels, V, ()),))
    values = {"method": "beam", "beams": 4, "texts": 4, "length_penalty": "none"}
    for prompt, texts in zip(PROMPTS, _texts(tables=tables, **values), strict=True):
        order = sorted(labels, key=lambda label: -MODEL.score(prompt, label))
        assert texts == order


def test_an_automaton_can_end_a_text_without_a_stop_id():
    pieces = [b"a", b"b", b"ab", b"c", b"ca", b"bc"]
    tables = constraints.Tables(automata=(automaton.stops(["abc"], pieces),))
    seen = 0
    for name in ("greedy", "sampled"):
        for text in itertools.chain(
            *_texts(tables=tables, max_tokens=12, **METHODS[name])
        ):
            spelled = b"".join(pieces[t] for t in text)
            seen += b"abc" in spelled
            if b"abc" in spelled:
                assert b"abc" not in b"".join(pieces[t] for t in text[:-1])
            else:
                assert len(text) == 12
    assert seen


def test_each_row_has_its_own_penalties():
    rules = constraints.Rules(
        penalties=constraints.Penalties(
            repetition=jnp.array([1.0, 2.0]),
            presence=jnp.array([0.5, 0.0]),
            frequency=jnp.zeros(2),
        ),
        min_tokens=jnp.array([0, 3]),
        stop_ids=(STOP,),
    )
    got = constraints.apply(
        rules,
        jnp.ones((2, 1, V)),
        n=jnp.int32(1),
        prompt=jnp.array([[0], [0]]),
        text=jnp.array([[[1, -1]], [[1, -1]]]),
        states=constraints.begin(rules, 2, 1),
    )
    np.testing.assert_allclose(got[0, 0], [1, 0.5, 1, 1, 1, 1])
    np.testing.assert_allclose(got[1, 0], [0.5, 0.5, 1, 1, 1, BIG_NEGATIVE])
