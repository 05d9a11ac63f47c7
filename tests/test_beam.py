"""Beam search against brute force over a table of at most 6 tokens and 4 steps."""

import functools
import math

import jax
import jax.numpy as jnp
import markov
import numpy as np
import pytest

from lmtasks.decode import beam
from lmtasks.decode import plan

STOP = 3
# Texts end now and then.
MODEL = markov.Markov(
    markov.Markov.drawn(v=4, seed=4).table + np.eye(4, dtype="f4")[STOP]
)
PROMPTS = ([0, 1], [2, 1, 1, 0], [1, 2, 0])
# (length_penalty, exponent), also negative: favours short texts.
PENALTIES = [("none", 0.0), ("gnmt", 0.6), ("average", 1.0), ("average", 2.0), ("gnmt", -0.8)]  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 2))
def _search(model, batch, decode):
    return beam.generate(model.start, model.step, batch, decode=decode)


def _beam(prompts=PROMPTS, model=MODEL, **values):
    values = {"stop_ids": (STOP,), "early_stopping": "exact"} | values
    decode = plan.Decode(method="beam", **values)
    return jax.device_get(_search(model, markov.prompts(*prompts), decode))


def _divided(score, n, kind, a):
    if kind == "none":
        return score
    return score / (((5 + n) / 6) ** a if kind == "gnmt" else n**a)


def _texts(written, row):
    """Return [(tokens, score)] of a row, best first; empty places left out."""
    lengths = written.lengths[row]
    return [
        (tuple(written.tokens[row, w, :n].tolist()), float(written.scores[row, w]))
        for w, n in enumerate(lengths)
        if n
    ]


@pytest.mark.parametrize("kind, a", PENALTIES)
def test_as_many_beams_as_texts_find_the_best_of_all_texts(kind, a):
    longest = 3
    got = _beam(
        max_tokens=longest, beams=4**longest, length_penalty=kind, length_exponent=a
    )
    for row, prompt in enumerate(PROMPTS):
        every = [
            (text, _divided(score, len(text), kind, a))
            for text, score in MODEL.sequences(prompt, longest, (STOP,))
        ]
        every.sort(key=lambda pair: -pair[1])
        found = _texts(got, row)
        assert len(found) == len(every)
        np.testing.assert_allclose(
            [s for _, s in found], [s for _, s in every], atol=1e-5
        )
        assert [t for t, _ in found[:5]] == [t for t, _ in every[:5]]


def test_one_beam_is_greedy():
    got = _beam(max_tokens=5, beams=1, length_penalty="none")
    for row, prompt in enumerate(PROMPTS):
        text = list(prompt)
        while len(text) < len(prompt) + 5 and text[-1] != STOP or text == list(prompt):
            text.append(int(MODEL.table[text[-2], text[-1]].argmax()))
        assert _texts(got, row)[0][0] == tuple(text[len(prompt) :])


def _reference(prompt, w, longest, kind, a, rule, model=MODEL):
    """Return [(text, score)] of a beam search of lists and sorts."""
    live, finished = [((), 0.0)], []
    for n in range(1, longest + 1):
        ranked = sorted(
            (
                ((*text, t), score + model.log_p[tuple([*prompt, *text][-2:])][t])
                for text, score in live
                for t in range(model.v)
            ),
            key=lambda pair: -pair[1],
        )[: 2 * w]
        ends = [text[-1] == STOP or n == longest for text, _ in ranked]
        new = [
            (text, _divided(score, n, kind, a))
            for (text, score), end in zip(ranked[:w], ends, strict=False)
            if end
        ]
        finished = sorted(finished + new, key=lambda pair: -pair[1])[:w]
        live = [pair for pair, end in zip(ranked, ends, strict=True) if not end][:w]
        if len(finished) == w:
            best = max((s for _, s in live), default=-math.inf)
            length = longest if rule == "exact" and a > 0 else n
            if rule == "full" or _divided(best, length, kind, a) <= finished[-1][1]:
                break
    return finished


@pytest.mark.parametrize("rule", plan.EARLY_STOPPING)
@pytest.mark.parametrize("kind, a", PENALTIES[1::2] + PENALTIES[4:])
def test_a_narrow_search_is_that_of_lists_and_sorts(kind, a, rule):
    settings = {"length_penalty": kind, "length_exponent": a, "early_stopping": rule}
    got = _beam(max_tokens=6, beams=3, **settings)
    for row, prompt in enumerate(PROMPTS):
        wanted = _reference(prompt, 3, 6, kind, a, rule)
        found = _texts(got, row)
        assert [t for t, _ in found] == [t for t, _ in wanted]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=1e-5)  # fmt: skip


def test_the_rules_for_the_end_differ_somewhere():
    """The test above would prove little if all rules gave the same texts."""

    def texts(rule):
        return str(
            [_reference(p, 3, 6, k, a, rule) for p in PROMPTS for k, a in PENALTIES]
        )

    assert len({texts(rule) for rule in plan.EARLY_STOPPING}) == 3


def test_neither_the_batch_nor_padding_changes_a_row():
    whole = _beam(max_tokens=5, beams=3)
    for row, prompt in enumerate(PROMPTS):
        alone = _beam([prompt], max_tokens=5, beams=3)
        assert _texts(alone, 0) == _texts(whole, row)
    wide = _beam([*PROMPTS, [0] * 9], max_tokens=5, beams=3)
    for row in range(3):
        assert _texts(wide, row) == _texts(whole, row)


def test_log_probs_are_those_of_the_model_and_sum_up_to_the_score():
    got = _beam(max_tokens=5, beams=3, length_penalty="none")
    for row, prompt in enumerate(PROMPTS):
        for w, (text, score) in enumerate(_texts(got, row)):
            summed = float(got.log_probs[row, w].sum())
            assert summed == pytest.approx(MODEL.score(prompt, text), abs=1e-5)
            assert summed == pytest.approx(score, abs=1e-5)
            assert (got.log_probs[row, w, len(text) :] == 0).all()
            assert (got.tokens[row, w, len(text) :] == -1).all()


def test_ends_never_starve_the_live_beams():
    """The end is the likeliest token everywhere, yet two texts of length 4 are found."""
    table = MODEL.table.copy()
    table[..., STOP] = table.max() + 3
    model = markov.Markov(table)
    got = _beam(model=model, max_tokens=4, beams=2, length_penalty="average", length_exponent=12.0)  # fmt: skip
    for row in range(3):
        assert [len(text) for text, _ in _texts(got, row)] == [4, 4]


def test_the_length_penalties_have_their_published_values():
    def value(kind, n, a):
        decode = plan.Decode(length_penalty=kind, length_exponent=a)
        return float(beam.penalty(decode, n))

    wanted = {1: 1.0, 2: 1.096903, 5: 1.358655, 10: 1.732862, 20: 2.354362, 50: 3.778565, 100: 5.569585}  # fmt: skip
    for n, expected in wanted.items():
        assert value("gnmt", n, 0.6) == pytest.approx(expected, abs=1e-6)
    # Text A: -3.0 with 4 tokens, text B: -3.9 with 8.
    assert -3.0 / value("gnmt", 4, 0.6) == pytest.approx(-2.352158, abs=1e-6)
    assert -3.9 / value("gnmt", 8, 0.6) == pytest.approx(-2.452389, abs=1e-6)
    assert -3.0 / value("average", 4, 1.0) == pytest.approx(-0.75)
    assert -3.9 / value("average", 8, 1.0) == pytest.approx(-0.4875)
    assert value("none", 8, 1.0) == 1


def _diverse(prompt, groups, w, longest, pay):
    """Return all finished texts of a diverse search without an end."""
    live = [[((), 0.0)] for _ in range(groups)]
    for _ in range(longest):
        taken = np.zeros(MODEL.v)
        for g in range(groups):
            ranked = sorted(
                (
                    ((*text, t), score + MODEL.log_p[tuple([*prompt, *text][-2:])][t])
                    for text, score in live[g]
                    for t in range(MODEL.v)
                ),
                key=lambda pair: -(pair[1] - pay * taken[pair[0][-1]]),
            )
            live[g] = ranked[:w]
            for text, _ in live[g]:
                taken[text[-1]] += 1
    return sorted((pair for group in live for pair in group), key=lambda p: -p[1])


@pytest.mark.parametrize("pay", [0.0, 0.7, 50.0])
def test_diverse_groups_pay_for_what_the_groups_before_have_taken(pay):
    settings = {"beams": 4, "beam_groups": 2, "diversity": pay, "stop_ids": ()}
    got = _beam(max_tokens=3, length_penalty="none", **settings)
    for row, prompt in enumerate(PROMPTS):
        wanted = _diverse(prompt, 2, 2, 3, pay)
        found = _texts(got, row)
        np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=1e-5)  # fmt: skip
        assert sorted(t for t, _ in found) == sorted(t for t, _ in wanted)
        different = len({t[0] for t, _ in found})
        assert pay < 50 or different >= 2


def test_a_row_without_prompt_has_no_text():
    batch = markov.prompts(*PROMPTS)
    batch["positions"][1] = -1
    decode = plan.Decode(method="beam", beams=2, max_tokens=3, stop_ids=(STOP,))
    got = jax.device_get(_search(MODEL, batch, decode))
    assert (got.lengths[1] == 0).all() and (got.tokens[1] == -1).all()
    assert _texts(got, 0) == _texts(_beam(max_tokens=3, beams=2), 0)


def test_best_looks_at_each_lane_alone_and_agrees_with_the_whole():
    wanted = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 7)), jnp.float32)
    lane, token = beam._best(wanted, 6)
    flat = np.asarray(wanted).reshape(3, -1)
    order = np.argsort(-flat, axis=1)[:, :6]
    np.testing.assert_array_equal(np.asarray(lane) * 7 + np.asarray(token), order)
