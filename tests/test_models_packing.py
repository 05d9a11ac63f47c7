"""Segments, prefixes and windows: packed rows equal their examples apart."""

import numpy as np
import pytest
import tiny

KINDS = ("learned", "rotary", "t5", "alibi")


def _side(lengths, seed, numbers=None):
    """Return the parts of a packed side: tokens, positions that restart, segments."""
    rng = np.random.default_rng(seed)
    numbers = numbers or range(1, len(lengths) + 1)
    tokens = [rng.integers(1, tiny.VOCAB, n).astype(np.int32) for n in lengths]
    places = [np.arange(n, dtype=np.int32) for n in lengths]
    segments = [np.full(n, i, np.int32) for i, n in zip(numbers, lengths, strict=True)]
    return tokens, places, segments


def _joined(parts, spare=2):
    """Return [1, T]: the parts end to end, then `spare` empty slots."""
    fill = (0, -1, 0)
    rows = [
        np.concatenate([*part, np.full(spare, empty, np.int32)])[None]
        for part, empty in zip(parts, fill, strict=True)
    ]
    return dict(zip(("tokens", "positions", "segments"), rows, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder_decoder"])
def test_packed_examples_have_the_logits_they_have_apart(architecture, kind):
    one = tiny.model(architecture, positions={"kind": kind}, attention={"window": (4,)})
    params, lengths, sources = tiny.draw(one), (5, 3), (2, 6)
    target, source = _side(lengths, 0), _side(sources, 1)
    packed = _joined(target)
    if architecture == "encoder_decoder":
        packed |= {
            "source" if k == "tokens" else f"source_{k}": v
            for k, v in _joined(source, spare=1).items()
        }
    got, begin = tiny.logits(one, params, packed)[0], 0
    for i, n in enumerate(lengths):
        alone = {"tokens": target[0][i][None], "positions": target[1][i][None]}
        if architecture == "encoder_decoder":
            alone |= {"source": source[0][i][None]}
            alone |= {"source_positions": source[1][i][None]}
        wanted = tiny.logits(one, params, alone)[0]
        np.testing.assert_allclose(got[begin : begin + n], wanted, atol=1e-4)
        begin += n


@pytest.mark.parametrize("kind", ["learned", "rotary", "t5", "alibi"])
@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_options_after_a_shared_prompt_score_as_they_do_apart(architecture, kind):
    """The prompt is segment 0; each option goes on from its last position."""
    one = tiny.model(architecture, positions={"kind": kind}, attention={"window": (5,)})
    params, prompt, options = tiny.draw(one), 4, (2, 3, 1)
    tokens, places, segments = _side((prompt, *options), 0, (0, 1, 2, 3))
    places = [places[0], *(place + prompt for place in places[1:])]
    packed = _joined((tokens, places, segments))
    source = {}
    if architecture == "encoder_decoder":
        sides = _side((5,), 1)
        source = {"source": sides[0][0][None], "source_positions": sides[1][0][None]}
        packed["source_segments"] = np.zeros((1, 5), np.int32)
    got, begin = tiny.logits(one, params, packed | source)[0], prompt
    for i, n in enumerate(options, start=1):
        alone = {
            "tokens": np.concatenate([tokens[0], tokens[i]])[None],
            "positions": np.arange(prompt + n, dtype=np.int32)[None],
        }
        wanted = tiny.logits(one, params, alone | source)[0]
        np.testing.assert_allclose(got[begin : begin + n], wanted[prompt:], atol=1e-4)
        np.testing.assert_allclose(got[:prompt], wanted[:prompt], atol=1e-4)
        begin += n


def test_the_order_of_packed_examples_changes_nothing():
    one = tiny.model(positions={"kind": "t5"})
    params, (tokens, places, segments) = tiny.draw(one), _side((5, 3), 0)
    forward = tiny.logits(one, params, _joined((tokens, places, segments)))[0]
    turned = _joined((tokens[::-1], places[::-1], segments[::-1]))
    backward = tiny.logits(one, params, turned)[0]
    np.testing.assert_allclose(forward[:5], backward[3:8], atol=1e-4)
    np.testing.assert_allclose(forward[5:8], backward[:3], atol=1e-4)


def _changed(one, params, rows, at):
    """Return bool[T]: which positions' logits change with the token at `at`."""
    other = dict(rows, tokens=rows["tokens"].copy())
    other["tokens"][0, at] = (rows["tokens"][0, at] + 1) % tiny.VOCAB
    got, new = (tiny.logits(one, params, x)[0] for x in (rows, other))
    return np.abs(got - new).max(-1) > 1e-4


def test_a_prefix_is_seen_by_its_whole_segment_and_by_no_other():
    one = tiny.model()
    rows = _joined(_side((5, 4), 0), spare=0)
    prefix = np.zeros((1, 9), bool)
    prefix[0, [0, 1, 2, 5]] = True
    params = tiny.draw(one)
    rows["prefix"] = prefix
    # The last token of the first prefix reaches all of its segment, also backwards.
    wanted = [True] * 5 + [False] * 4
    np.testing.assert_array_equal(_changed(one, params, rows, 2), wanted)
    # A token after the prefix still reaches only what follows.
    wanted = [False] * 3 + [True] * 2 + [False] * 4
    np.testing.assert_array_equal(_changed(one, params, rows, 3), wanted)


def test_a_prefix_of_nothing_is_a_causal_row():
    one = tiny.model()
    params, rows = tiny.draw(one), tiny.batch(6)
    got = tiny.logits(one, params, rows | {"prefix": np.zeros((1, 6), bool)})
    np.testing.assert_array_equal(got, tiny.logits(one, params, rows))


def test_a_prefix_of_everything_is_an_encoder():
    one, both = tiny.model("decoder"), tiny.model("encoder")
    params, rows = tiny.draw(one), tiny.batch(6)
    renamed = {"encoder" if k == "decoder" else k: v for k, v in params.items()}
    got = tiny.logits(one, params, rows | {"prefix": np.ones((1, 6), bool)})
    wanted = tiny.logits(both, renamed, rows)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_a_window_reaches_as_far_as_its_layers_carry(scan):
    """Two layers of windows 3 and 2: a token reaches 2 + 1 positions on."""
    one = tiny.model(attention={"window": (3, 2)}, scan_layers=scan)
    params, rows = tiny.draw(one), tiny.batch(8)
    wanted = [False, True, True, True, True, False, False, False]
    np.testing.assert_array_equal(_changed(one, params, rows, 1), wanted)


def test_a_window_of_zero_in_the_pattern_is_a_layer_of_full_attention():
    one = tiny.model(attention={"window": (2, 0)})
    params, rows = tiny.draw(one), tiny.batch(8)
    wanted = [False] + [True] * 7
    np.testing.assert_array_equal(_changed(one, params, rows, 1), wanted)


def test_a_packed_target_without_a_source_reads_no_neighbours_source():
    one = tiny.model("encoder_decoder")
    params, rows = tiny.draw(one), _joined(_side((4, 3), 0), spare=0)
    source = _joined(_side((5,), 1), spare=0)  # of the first example alone
    rows |= {f"source_{k}": v for k, v in source.items() if k != "tokens"}
    rows["source"] = source["tokens"]
    got = tiny.logits(one, params, rows)[0]
    other = tiny.logits(one, params, rows | {"source": (rows["source"] + 1) % 50})[0]
    assert np.abs(got[:4] - other[:4]).max() > 1e-3
    np.testing.assert_array_equal(got[4:], other[4:])
