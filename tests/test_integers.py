"""Training with products of 8-bit integers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.extend import core

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")


def integer_products(one, params, batch):
    """Return how many products of int8 a gradient has, and of float."""
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: one.apply(p, batch).sum()))(params)
    kinds = {"int8": 0, "float32": 0}

    def count(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "dot_general":
                kinds[str(eqn.invars[0].aval.dtype)] += 1
            for inner in core.jaxprs_in_params(eqn.params):
                count(inner)

    count(jaxpr.jaxpr)
    return kinds


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_projections_of_layers_are_of_integers_both_ways(architecture):
    plain = tiny.usual(architecture)
    one = tiny.replace(plain, matmul="int8")
    params = tiny.draw(plain)
    assert jax.tree.structure(tiny.shapes(one)) == jax.tree.structure(
        tiny.shapes(plain)
    )
    batch = tiny.batch(9, 6, architecture=architecture)
    kinds = integer_products(one, params, batch)
    # Six projections a layer, eight with a cross-attention's: each forward and twice
    # back; an encoder-decoder has both stacks.
    projections = {"encoder": 12, "decoder": 12, "encoder_decoder": 32}[architecture]
    assert kinds["int8"] == 3 * projections
    assert 0 < kinds["float32"] < integer_products(plain, params, batch)["float32"]


@pytest.mark.parametrize("scan", [False, True])
def test_integers_are_near_floats(scan):
    plain = tiny.replace(tiny.usual("decoder"), scan_layers=scan, remat="full")
    one = tiny.replace(plain, matmul="int8")
    params, batch = tiny.draw(plain), tiny.batch(9, 6)

    def run(model):
        def loss(p):
            logits = model.apply(p, batch)
            return jnp.square(logits).mean(), logits

        grads, logits = jax.grad(loss, has_aux=True)(params)
        flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(grads)])
        return np.asarray(logits), flat

    (a, grad_a), (b, grad_b) = run(plain), run(one)
    assert 0 < np.sqrt(np.mean(np.square(a - b))) < 0.05 * a.std()
    cosine = grad_a @ grad_b / np.linalg.norm(grad_a) / np.linalg.norm(grad_b)
    assert 0.995 < cosine < 1


def test_an_unknown_kind_of_products_is_refused():
    cfg = tiny.usual("decoder").cfg
    with pytest.raises(ValueError, match="model.matmul='int4'.*int8"):
        dataclasses.replace(cfg, matmul="int4")
