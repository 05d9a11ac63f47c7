"""Fewer rows as texts end: a batch that is half done goes on as half a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lmtasks.types import Array

Tree = Any

# Fewer rows than this save no time that would be worth another program.
SMALLEST = 16


def sizes_of(rows: int) -> list[int]:
    """Return the sizes a batch goes through: halves, none below SMALLEST.

    On several devices a batch keeps its size, for its rows are spread over them.

    Example: 64 -> [64, 32, 16].
    """
    mesh = jax.sharding.get_abstract_mesh()
    out = [rows]
    alone = mesh.empty or mesh.size == 1
    while alone and out[-1] % 2 == 0 and out[-1] >= 2 * SMALLEST:
        out.append(out[-1] // 2)
    return out


def take(tree: Tree, rows: Array) -> Tree:
    """Return the tree with only some rows, int32[b], of its arrays [B, ...]; scalars
    stay.
    """
    return jax.tree.map(lambda x: x[rows] if jnp.ndim(x) else x, tree)


def loop(
    body: Callable[[Tree, Tree], Tree],
    carry: Tree,
    given: Tree,
    *,
    more: Callable[[Tree], Array],
    going: Callable[[Tree], Array],
    result: Callable[[Tree], Tree],
    halves: bool,
) -> Tree:
    """Return `result` of all rows after body(carry, given) ran while `more(carry)` and
    while rows were going.

    Args:
        body: what a step does; rows that go no more keep their result in it.
        carry, given: arrays [B, ...] and scalars; `given` does not change.
        more: bool[]. going: bool[B]. result: arrays [B, ...].
        halves: False = the batch keeps its size.
    """
    rows = going(carry).shape[0]
    sizes = sizes_of(rows) if halves else [rows]
    order, out = jnp.arange(sizes[0]), None
    for size, least in zip(sizes, [*sizes[1:], 0], strict=True):
        carry = jax.lax.while_loop(
            functools.partial(_goes_on, more=more, going=going, least=least),
            functools.partial(body, given=given),
            carry,
        )
        found = result(carry)
        put = functools.partial(_put, rows=order)
        out = found if size == sizes[0] else jax.tree.map(put, out, found)
        if least:
            on = jnp.argsort(~going(carry), stable=True)[:least]
            carry, given, order = take(carry, on), take(given, on), order[on]
    return out


def _goes_on(carry, *, more, going, least: int) -> Array:
    return more(carry) & (jnp.sum(going(carry)) > least)


def _put(whole: Array, part: Array, *, rows: Array) -> Array:
    return whole.at[rows].set(part)
