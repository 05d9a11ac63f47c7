"""Cached decoding equals the full forward pass, however the text is cut."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.layers import attention
from lmtasks.layers import slots as held
from lmtasks.models import cache as caches
from lmtasks.models import layout
from lmtasks.objectives import base as objectives

KINDS = ("learned", "sinusoidal", "rotary", "t5", "alibi", "none")
PLACES = ("pre", "post", "sandwich", "output")


def _models():
    """Return models of which each pair of switches meets at least once."""
    found = {}
    for (i, kind), (j, at) in itertools.product(enumerate(KINDS), enumerate(PLACES)):
        grouped, near = (i + j) % 2, (i + j // 2) % 2
        crossed = (i // 2 + j + j // 2) % 2
        one = tiny.model(
            "encoder_decoder" if crossed else "decoder",
            positions={"kind": kind},
            norm={"at": at, "kind": "layer" if near else "rms"},
            layers=2 if near else 1,
            attention={
                "kv_heads": 2 if grouped else 4,
                "window": (3, 0) if near else (),
            },
        )
        name = f"{kind}-{at}-{'gqa-' * grouped}{'window-' * near}{'cross' * crossed}"
        found[name] = one
    return found


MODELS = _models()


def test_every_pair_of_switches_meets_in_the_models_under_test():
    def switches(one):
        return (
            one.architecture,
            one.cfg.positions.kind,
            one.cfg.norm.at,
            one.cfg.kv_heads,
            one.cfg.attention.window,
        )

    rows = [switches(one) for one in MODELS.values()]
    for a, b in itertools.combinations(range(5), 2):
        wanted = set(itertools.product({r[a] for r in rows}, {r[b] for r in rows}))
        assert {(r[a], r[b]) for r in rows} == wanted


def _row_piece(rows, begin, width):
    """Return (tokens, positions) of `width` from begin[b] on in each row."""
    at = np.asarray(begin)[:, None] + np.arange(width)
    inside = at < rows["tokens"].shape[1]
    at = np.minimum(at, rows["tokens"].shape[1] - 1)
    tokens = np.take_along_axis(rows["tokens"], at, 1)
    places = np.where(inside, np.take_along_axis(rows["positions"], at, 1), -1)
    return tokens, places.astype(np.int32)


def _prompts(rows, lengths):
    """Return the batch cut to prompts of these lengths, padded on the right."""
    keep = np.arange(max(lengths)) < np.array(lengths)[:, None]
    cut = {k: v[:, : max(lengths)] for k, v in rows.items() if "source" not in k}
    source = {k: v for k, v in rows.items() if "source" in k}
    cut["positions"] = np.where(keep, cut["positions"], -1)
    return cut | source


@functools.partial(jax.jit, static_argnums=(0, 6))
def _decode(one, params, prompts, tokens, positions, slots, size):
    """Return logits after the prompt and after each of T tokens, one at a time."""
    first, cache = one.start(params, prompts, size)

    def one_step(carry, xs):
        cache, slot = carry
        token, place = xs
        logits, cache = one.step(params, token[:, None], place[:, None], cache, slot)
        return (cache, slot + 1), logits[:, 0]

    _, rest = jax.lax.scan(one_step, (cache, slots), (tokens.T, positions.T))
    return jnp.concatenate([first[None], rest]).swapaxes(0, 1)


@pytest.mark.parametrize("name", MODELS)
def test_cached_decoding_equals_the_full_forward_pass(name):
    one = MODELS[name]
    params, lengths, new = tiny.draw(one), np.array([5, 2], np.int32), 3
    rows = tiny.batch(8, 5, architecture=one.architecture, sources=[4, 7])
    tokens, positions = _row_piece(rows, lengths, new)
    prompts = _prompts(rows, lengths)
    got = _decode(one, params, prompts, tokens, positions, lengths, 8)
    full = tiny.logits(one, params, rows)
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(got[b], full[b, n - 1 : n + new], atol=2e-4)


def _standard(architecture):
    """Return (model, params, rows, prompts, logits of the full forward pass)."""
    kind = {"decoder": "rotary", "encoder_decoder": "t5"}[architecture]
    one = tiny.model(architecture, positions={"kind": kind}, attention={"kv_heads": 2})
    params = tiny.draw(one)
    rows = tiny.batch(10, 7, architecture=architecture, sources=[4, 7])
    return one, params, rows, tiny.logits(one, params, rows)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_prompt_read_in_chunks_equals_one_read_at_once(architecture):
    one, params, rows, full = _standard(architecture)
    slots = np.array([4, 2], np.int32)
    _, cache = tiny.start(one)(params, _prompts(rows, slots), 12)
    for width in (3, 3):
        tokens, positions = _row_piece(rows, slots, width)
        # The second row ends within the last chunk, which is padded.
        got, cache = tiny.step(one)(params, tokens, positions, cache, slots)
        for b, begin in enumerate(slots):
            n = int((positions[b] >= 0).sum())
            wanted = full[b, begin : begin + n]
            np.testing.assert_allclose(got[b, :n], wanted, atol=2e-4)
        slots = slots + (positions >= 0).sum(1).astype(np.int32)
    assert slots.tolist() == [10, 7]
    held = np.asarray(cache.positions)
    np.testing.assert_array_equal(held[0], [*range(10), -1, -1])
    np.testing.assert_array_equal(held[1], [*range(7), *[-1] * 5])


def test_a_padded_chunk_at_the_end_of_a_full_cache_loses_nothing():
    """The cache holds exactly the longest text; a ragged chunk hangs over its end."""
    one, params, rows, full = _standard("decoder")
    slots = np.array([7, 5], np.int32)
    _, cache = tiny.start(one)(params, _prompts(rows, slots), 10)
    tokens, positions = _row_piece(rows, slots, 2)
    _, cache = tiny.step(one)(params, tokens, positions, cache, slots)
    tokens, positions = _row_piece(rows, slots + 2, 2)  # slots 9, 10 of 10
    got, _ = tiny.step(one)(params, tokens, positions, cache, slots + 2)
    np.testing.assert_allclose(got[0, 0], full[0, 9], atol=2e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_rewound_cache_goes_on_as_if_nothing_had_been_read(architecture):
    one, params, rows, _ = _standard(architecture)
    slots = np.array([4, 2], np.int32)
    _, cache = tiny.start(one)(params, _prompts(rows, slots), 12)
    tokens, positions = _row_piece(rows, slots, 3)
    wanted, _ = tiny.step(one)(params, tokens, positions, cache, slots)
    other = (tokens + 1) % tiny.VOCAB
    _, read = tiny.step(one)(params, other, positions, cache, slots)
    again = caches.rewind(read, slots)
    np.testing.assert_array_equal(again.positions, cache.positions)
    got, _ = tiny.step(one)(params, tokens, positions, again, slots)
    np.testing.assert_array_equal(got, wanted)
    whole = caches.rewind(read, jnp.int32(0))
    assert (np.asarray(whole.positions) == -1).all()


def test_a_larger_cache_changes_nothing():
    one, params, rows, _ = _standard("decoder")
    prompts = _prompts(rows, np.array([4, 2]))
    small, large = (tiny.start(one)(params, prompts, n)[0] for n in (4, 16))
    np.testing.assert_allclose(small, large, atol=1e-4)


@pytest.mark.parametrize("kind", ["rotary", "t5", "alibi"])
def test_a_step_reads_no_further_than_the_cache_is_filled(kind, monkeypatch):
    one = tiny.model(positions={"kind": kind}, attention={"kv_heads": 2})
    params, rows = tiny.draw(one), tiny.batch(10, 7)
    lengths = np.array([3, 2], np.int32)
    prompts = _prompts(rows, lengths)
    tokens, positions = _row_piece(rows, lengths, 7)
    whole = _decode(one, params, prompts, tokens, positions, lengths, 33)
    read, attend = set(), attention.attend

    def watched(q, kv, mask, **options):
        read.add(kv.keys.shape[2])
        return attend(q, kv, mask, **options)

    monkeypatch.setattr(attention, "attend", watched)
    monkeypatch.setattr(held, "SMALLEST", 4)
    again = tiny.replace(one, dropout=0.5)  # another program; nothing is dropped
    cut = _decode(again, params, prompts, tokens, positions, lengths, 33)
    np.testing.assert_allclose(cut, whole, atol=2e-5)
    assert read >= {5, 9, 17, 33}


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("way", ["beam", "sample"])
def test_lanes_write_the_same_when_only_filled_slots_are_read(
    way, architecture, monkeypatch
):
    one = tiny.usual(architecture)
    params = tiny.draw(one)
    rows = tiny.batch(3, 5, 4, architecture=architecture, sources=[4, 7, 2])
    lanes = {"beams": 3} if way == "beam" else {"texts": 3, "temperature": 1.0}
    decode = plan.Decode(method=way, max_tokens=10, stop_ids=(2,), **lanes)
    start, step = objectives.verbs(one.for_decoding(), params, decode)
    keys = jax.random.split(jax.random.key(0), 3)

    def written():
        run = jax.jit(
            lambda: methods.write(start, step, rows, decode=decode, keys=keys)
        )
        return jax.device_get(run())

    whole = written()
    monkeypatch.setattr(held, "SMALLEST", 5)
    assert len(held.sizes_of(decode.slots)) == 3
    cut = written()
    np.testing.assert_array_equal(cut.tokens, whole.tokens)
    np.testing.assert_allclose(cut.scores, whole.scores, atol=1e-4)
    assert (whole.lengths > 5).any()


@pytest.mark.parametrize("filled, size", [(1, 5), (5, 5), (6, 9), (17, 17), (18, 33)])
def test_of_a_cache_the_fewest_slots_are_read_that_hold_what_is_filled(
    filled, size, monkeypatch
):
    monkeypatch.setattr(held, "SMALLEST", 4)
    kv = held.KeysValues(*(np.zeros((2, 1, 33, 4), np.float32) for _ in range(2)))
    mask, bias = np.zeros((2, 1, 33), bool), np.zeros((1, 1, 1, 33), np.float32)

    def sizes(kv, mask, bias):
        found = kv.keys.shape[2], kv.values.shape[2], mask.shape[2], bias.shape[3]
        return jnp.asarray(found)

    got = jax.jit(functools.partial(held.over_filled, sizes))(kv, mask, bias, filled)
    assert got.tolist() == [size] * 4
    assert held.sizes_of(33) == [5, 9, 17, 33]
    monkeypatch.undo()
    assert held.sizes_of(127) == [127]


def test_a_prefix_is_read_by_start_as_by_the_forward_pass():
    one = tiny.model()
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    rows["prefix"] = np.arange(6) < np.array([[4], [2]])
    full = tiny.logits(one, params, rows)
    got, _ = tiny.start(one)(params, rows, 9)
    np.testing.assert_allclose(got, [full[0, 5], full[1, 3]], atol=1e-4)


def test_token_types_are_read_by_start_as_by_the_forward_pass():
    one = tiny.model(token_types=2)
    params, rows = tiny.draw(one), tiny.batch(6)
    rows["token_types"] = np.array([[0, 0, 0, 1, 1, 1]], np.int32)
    full = tiny.logits(one, params, rows)
    got, _ = tiny.start(one)(params, rows, 9)
    np.testing.assert_allclose(got[0], full[0, 5], atol=1e-4)


def test_scanned_models_decode_from_unstacked_parameters():
    one = tiny.model(scan_layers=True, remat="full")
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    plain = layout.unstack_layers(params)
    full = tiny.logits(one, params, rows)
    got, _ = tiny.start(one.for_decoding())(plain, rows, 8)
    np.testing.assert_allclose(got, [full[0, 5], full[1, 3]], atol=1e-4)


def test_shared_layers_keep_a_cache_for_each_application():
    one = tiny.model(shared_layers=True, layers=3)
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    full = tiny.logits(one, params, rows)
    slots = np.array([4, 2], np.int32)
    _, cache = tiny.start(one)(params, _prompts(rows, slots), 6)
    assert len(cache.own) == 3
    tokens, positions = _row_piece(rows, slots, 1)
    got, _ = tiny.step(one)(params, tokens, positions, cache, slots)
    np.testing.assert_allclose(got[:, 0], [full[0, 4], full[1, 2]], atol=1e-4)


def test_a_row_without_prompt_disturbs_no_other():
    one, params, rows, full = _standard("decoder")
    prompts = _prompts(rows, np.array([4, 0]))
    got, cache = tiny.start(one)(params, prompts, 6)
    np.testing.assert_allclose(got[0], full[0, 3], atol=1e-4)
    assert np.isfinite(got).all() and (np.asarray(cache.positions)[1] == -1).all()
