"""Trained vectors before the text: prompt tuning and prefix tuning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.models import cache as caches
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.models import soft
from lmtasks.training import lora as loras
from lmtasks.training import masks

P = 3
CELLS = [(kind, architecture) for kind in ("prompt", "prefix") for architecture in
         ("encoder", "decoder", "encoder_decoder")]  # fmt: skip


def with_vectors(kind, architecture, **changes):
    """Return a model with three trained vectors."""
    one = tiny.usual(architecture)
    if architecture == "encoder_decoder":
        changes["layers"] = 1  # two stacks take twice as long to compile
    one = tiny.replace(one, **changes)
    return dataclasses.replace(one, soft=soft.Soft(kind, P))


def plain(one):
    """Return the same model without vectors."""
    return dataclasses.replace(one, soft=soft.Soft())


def without(params):
    """Return the parameters without the vectors."""
    return {key: value for key, value in params.items() if key != "soft"}


def prompted(one, params, rows):
    """Return the logits of a decoder that reads the prompt as if it were tokens."""
    table, prompt = params["embed"]["tokens"], params["soft"]["prompt"]
    both = {**without(params), "embed": {"tokens": np.concatenate([table, prompt])}}
    b = len(rows["tokens"])
    ids = np.arange(len(table), len(table) + P, dtype=np.int32)
    places = rows["positions"]
    longer = {
        "tokens": np.concatenate([np.tile(ids, (b, 1)), rows["tokens"]], axis=1),
        "positions": np.concatenate(
            [np.tile(np.arange(P), (b, 1)), np.where(places < 0, -1, places + P)],
            axis=1,
        ).astype(np.int32),
    }
    more = tiny.replace(plain(one), vocab=len(table) + P)
    return tiny.logits(more, both, longer)[:, P:, : len(table)]


@pytest.mark.parametrize("kind", ["rotary", "learned", "alibi"])
def test_a_prompt_reads_as_if_it_were_tokens_with_those_embeddings(kind):
    one = with_vectors("prompt", "decoder")
    positions = dataclasses.replace(one.cfg.positions, kind=kind)
    one = tiny.replace(one, positions=positions)
    params, rows = tiny.draw(one), tiny.batch(5, 3, 4)
    found = tiny.logits(one, params, rows)
    np.testing.assert_allclose(found, prompted(one, params, rows), atol=1e-5)


def test_a_prefix_of_the_prompts_own_keys_and_values_is_the_prompt():
    one = with_vectors("prompt", "decoder")
    params, rows = tiny.draw(one), tiny.batch(5, 3, 4)
    cache = one._run("begin", params, rows, 5)
    other = dataclasses.replace(one, soft=soft.Soft("prefix", P))
    keys, values = (
        np.stack([getattr(own, part)[0, :, :P].swapaxes(0, 1) for own in cache.own])
        for part in ("keys", "values")
    )
    pairs = {"soft": {"decoder_keys": keys, "decoder_values": values}}
    assert jax.tree.structure(tiny.shapes(other)["soft"]) == jax.tree.structure(
        pairs["soft"]
    )
    # Read behind the cache, both do the same sums; a text read whole is compared with
    # one read behind a cache below.
    slot = np.zeros(len(rows["tokens"]), np.int32)
    found, wanted = (
        kind.step(
            values, rows["tokens"], rows["positions"],
            kind._run("begin", values, rows, 5), slot,
        )[0]
        for kind, values in ((other, without(params) | pairs), (one, params))
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert np.abs(wanted).max() > 1


@pytest.mark.parametrize(("kind", "architecture"), CELLS)
def test_vectors_change_the_outputs_and_padding_does_not(kind, architecture):
    one = with_vectors(kind, architecture)
    params = tiny.draw(one)
    rows = tiny.batch(6, 4, architecture=architecture, sources=[6, 4])
    found = tiny.logits(one, params, rows)
    bare = tiny.logits(plain(one), without(params), rows)
    assert found.shape == bare.shape
    assert np.abs(found - bare)[1, :4].max() > 0.01 * bare.std()
    short = {key: x[1:, :4] for key, x in rows.items()}
    alone = tiny.logits(one, params, short)
    np.testing.assert_allclose(found[1, :4], alone[0], atol=1e-5 * bare.std())


@pytest.mark.parametrize(("kind", "architecture"), CELLS)
def test_packing_changes_nothing(kind, architecture):
    one = with_vectors(kind, architecture)
    params = tiny.draw(one)
    rows = tiny.batch(4, 4, architecture=architecture, sources=[5, 5])
    apart = tiny.logits(one, params, rows)
    packed = {key: x.reshape(1, -1) for key, x in rows.items()}
    packed["segments"] = np.repeat([[1, 2]], 4, axis=1).astype(np.int32)
    if architecture == "encoder_decoder":
        packed["source_segments"] = np.repeat([[1, 2]], 5, axis=1).astype(np.int32)
    found = tiny.logits(one, params, packed).reshape(apart.shape)
    np.testing.assert_allclose(found, apart, atol=1e-5 * apart.std())


@pytest.mark.parametrize(
    ("kind", "architecture"), [cell for cell in CELLS if cell[1] != "encoder"]
)
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_text(kind, architecture):
    one = with_vectors(kind, architecture)
    params = tiny.draw(one)
    rows = tiny.batch(6, 6, architecture=architecture, sources=[6, 4])
    whole = tiny.logits(one, params, rows)
    first = {k: x if k.startswith("source") else x[:, :3] for k, x in rows.items()}
    first["positions"] = np.array([[0, 1, 2], [0, 1, -1]], np.int32)
    logits, cache = tiny.start(one)(params, first, 9)
    near = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * whole.std())
    near(logits, whole[[0, 1], [2, 1]])
    slot = np.array([3, 2], np.int32)
    places = slot[:, None] + np.arange(3, dtype=np.int32)
    tokens = np.take_along_axis(rows["tokens"], places, axis=1)
    logits, cache = tiny.step(one)(params, tokens, places, cache, slot)
    near(logits, np.take_along_axis(whole, places[..., None], axis=1))
    # Go back to the prompt and read the rest again, one look at the slots given.
    cache = caches.rewind(cache, slot)
    sees = np.ones((2, 3, 9), bool)
    logits, _ = tiny.step(one)(params, tokens, places, cache, slot, sees)
    near(logits, np.take_along_axis(whole, places[..., None], axis=1))


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_a_prompt_read_in_chunks_is_the_prompt_read_at_once(kind):
    one = with_vectors(kind, "decoder")
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    whole, _ = tiny.start(one)(params, rows, 8)
    parts, _ = jax.jit(lambda p, r: one.start(p, r, 8, chunk=2))(params, rows)
    np.testing.assert_allclose(parts, whole, atol=1e-5 * whole.std())


@pytest.mark.parametrize(("kind", "architecture"), CELLS)
def test_only_the_vectors_are_trained_and_all_of_them_are(kind, architecture):
    one = with_vectors(kind, architecture)
    params, rows = tiny.draw(one), tiny.batch(4, 3, architecture=architecture)
    flags = loras.trained(params, {"soft.also": ()})
    names = {masks.name_of(p) for p, yes in jax.tree.leaves_with_path(flags) if yes}
    stacks = ["encoder", "decoder"] if "_" in architecture else [architecture]
    pairs = {f"soft/{s}_{part}" for s in stacks for part in ("keys", "values")}
    assert names == ({"soft/prompt"} if kind == "prompt" else pairs)

    def loss(vectors):
        logits = one.apply({**params, "soft": vectors}, rows)
        return jnp.mean(logits**2)

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(params["soft"])):
        assert np.abs(leaf).reshape(-1, leaf.shape[-1]).max(axis=1).all()


def test_stacked_layers_read_a_prompt_as_layers_one_by_one_do():
    one = with_vectors("prompt", "decoder")
    scanned = tiny.replace(one, scan_layers=True)
    assert models.logical_axes(scanned)["soft"]["prompt"] == jax.P(None, "embed")
    params, rows = tiny.draw(one), tiny.batch(5, 3)
    found = tiny.logits(scanned, layout.stack_layers(params), rows)
    np.testing.assert_allclose(found, tiny.logits(one, params, rows), atol=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="soft.kind='promt' is not one of"):
        soft.Soft("promt", 3)
    with pytest.raises(ValueError, match="soft.length=0 must be at least 1"):
        soft.Soft("prompt", 0)
    with pytest.raises(ValueError, match="prefix.*model.scan_layers=True"):
        with_vectors("prefix", "decoder", scan_layers=True)
