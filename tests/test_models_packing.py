"""Segments, prefixes and windows: packed rows equal their examples apart."""

import numpy as np
import pytest
import tiny

KINDS = ("learned", "rotary", "t5", "alibi")


def _model(architecture, kind, window):
    return tiny.model(
        architecture,
        positions={"kind": kind},
        attention={"window": (window,)},
        layers=1,
    )


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


def _apart(pieces, prefix=""):
    """Return one padded row for each (tokens, positions)."""
    wide = max(len(tokens) for tokens, _ in pieces)
    tokens = [np.pad(t, (0, wide - len(t))) for t, _ in pieces]
    places = [np.pad(p, (0, wide - len(p)), constant_values=-1) for _, p in pieces]
    name = prefix.removesuffix("_") or "tokens"
    return {name: np.stack(tokens), f"{prefix}positions": np.stack(places)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder_decoder"])
def test_packed_examples_have_the_logits_they_have_apart(architecture, kind):
    one = _model(architecture, kind, window=4)
    params, lengths = tiny.draw(one), (5, 3)
    target, source = _side(lengths, 0), _side((2, 6), 1)
    packed = _joined(target)
    apart = _apart(list(zip(target[0], target[1], strict=True)))
    if architecture == "encoder_decoder":
        side = _joined(source, spare=1)
        packed |= {f"source_{k}": v for k, v in side.items() if k != "tokens"}
        packed["source"] = side["tokens"]
        apart |= _apart(list(zip(source[0], source[1], strict=True)), "source_")
    got, wanted = tiny.logits(one, params, packed)[0], tiny.logits(one, params, apart)
    np.testing.assert_allclose(got[:5], wanted[0], atol=1e-4)
    np.testing.assert_allclose(got[5:8], wanted[1, :3], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_options_after_a_shared_prompt_score_as_they_do_apart(architecture, kind):
    """The prompt is segment 0; each option goes on from its last position."""
    one = _model(architecture, kind, window=5)
    params, prompt, options = tiny.draw(one), 4, (2, 3, 1)
    tokens, places, segments = _side((prompt, *options), 0, (0, 1, 2, 3))
    places = [places[0], *(place + prompt for place in places[1:])]
    packed = _joined((tokens, places, segments))
    whole = [np.concatenate([tokens[0], t]) for t in tokens[1:]]
    apart = _apart([(t, np.arange(len(t), dtype=np.int32)) for t in whole])
    if architecture == "encoder_decoder":
        (source,), (at,), _ = _side((5,), 1)
        packed |= _apart([(source, at)], "source_")
        packed["source_segments"] = np.zeros((1, 5), np.int32)
        apart |= _apart([(source, at)] * 3, "source_")
    got, wanted = tiny.logits(one, params, packed)[0], tiny.logits(one, params, apart)
    ends = np.cumsum((prompt, *options))
    for i, n in enumerate(options):
        option = got[ends[i] : ends[i + 1]]
        np.testing.assert_allclose(option, wanted[i, prompt : prompt + n], atol=1e-4)
        np.testing.assert_allclose(got[:prompt], wanted[i, :prompt], atol=1e-4)


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
