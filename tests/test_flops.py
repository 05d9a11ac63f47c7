"""FLOPs by formula against the products that a model's program holds."""

import math
import types

import jax
import numpy as np
import pytest
import tiny

from lmtasks.data import pack
from lmtasks.training import feed

ROWS, LENGTH, SOURCES = 2, 8, 6


def counted(one, rows) -> int:
    """Return the FLOPs of the products in a forward pass, 2 a multiply-add."""
    program = jax.make_jaxpr(one.apply)(tiny.shapes(one), rows)
    return of_jaxpr(program.jaxpr)


def of_jaxpr(jaxpr) -> int:
    """Return the FLOPs of every dot_general of a program; loops count as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            left, _ = equation.invars
            (summed, _), _ = equation.params["dimension_numbers"]
            terms = math.prod(left.aval.shape[dim] for dim in summed)
            total += 2 * terms * equation.outvars[0].aval.size
        times = equation.params.get("length", 1)
        total += times * sum(map(of_jaxpr, inner(equation.params)))
    return total


def inner(params):
    """Return the programs that an operation calls."""
    found = (getattr(value, "jaxpr", value) for value in params.values())
    return [one for one in found if hasattr(one, "eqns")]


def batch(architecture, gathered=0):
    """Return full rows, of which a head reads so many places."""
    lengths = [LENGTH] * ROWS
    rows = tiny.batch(*lengths, architecture=architecture, sources=[SOURCES] * ROWS)
    if gathered:
        rows["at"] = np.zeros((ROWS, gathered), np.int32)
    return rows


CASES = {
    "encoder": ("encoder", {}, 0),
    "classes": ("encoder", {"head": "classify", "classes": 3}, 1),
    "start and end": ("encoder", {"head": "span"}, 0),
    "decoder": ("decoder", {}, 0),
    "encoder-decoder": ("encoder_decoder", {"decoder_layers": 3}, 0),
    "gathered": ("encoder", {}, 3),
    "gated": ("decoder", {"gated": True}, 0),
    "groups of heads": ("decoder", {"attention": {"kv_heads": 2}}, 0),
    "wide heads": ("decoder", {"attention": {"head_dim": 16}}, 0),
    "scanned layers": ("decoder", {"scan_layers": True}, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_formula_counts_the_products_of_the_program(name):
    architecture, changes, gathered = CASES[name]
    # T5's positions are looked up by a product with rows of one 1: no FLOPs of the model.
    kind = "rotary" if architecture == "decoder" else "learned"
    one = tiny.model(architecture, positions={"kind": kind}, **changes)
    sources = (SOURCES,) if architecture == "encoder_decoder" else ()
    shape = pack.Shape((LENGTH,), sources, gathered)
    wanted = ROWS * feed.forward_flops(types.SimpleNamespace(model=one), shape)
    assert wanted == counted(one, batch(architecture, gathered))
