"""Which parameters decay, learn or stay frozen, decided by their names."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks.types import Params

# Lookup tables: `matrices` decays them, `kernels` and muon's matrices leave out.
TABLES = ("tokens", "positions", "types", "embedding", "table")


def name_of(path) -> str:
    """Return a parameter's name, "a/b/c", of its path in the tree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def weight_of(name: str) -> str:
    """Return the name of the weight that "a/b/c" is, or is a part of (LowRank)."""
    return re.sub(r"/(base|a|b)$", "", name)


def flat(tree) -> dict[str, typing.Any]:
    """Return {"a/b/c": leaf} of a tree, in its order."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {name_of(path): leaf for path, leaf in found}


def nest(leaves: Mapping[str, typing.Any]) -> dict:
    """Return nested dicts of {"a/b/c": leaf}: names outlive the classes they are of."""
    tree: dict = {}
    for name, value in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def is_table(name: str) -> bool:
    """Return whether a parameter is a lookup table."""
    name = weight_of(name)
    return name.split("/")[-1] in TABLES or "embedding" in name


def decay_mask(params: Params, tables: bool = True) -> Params:
    """Return a tree of bools: True for what weight decay shrinks.

    Names decide before ranks: the bias of a head projection is [N, H], a stack of
    norm scales is [L, D], and neither decays. `tables` says whether lookup tables do.
    """

    def decays(path, leaf):
        name = name_of(path)
        last = name.split("/")[-1]
        if "bias" in last or last == "scale" or jnp.ndim(leaf) < 2:
            return False
        return tables or not is_table(name)

    return jax.tree_util.tree_map_with_path(decays, params)


def layers_of(name: str, leaf) -> np.ndarray | None:
    """Return int[], the layer a parameter is of; int[L] if it is a scanned stack.

    None for what belongs to no layer, and for a frozen (None) leaf of a stack.
    """
    if found := re.search(r"\blayers_(\d+)\b", name):
        return np.array(int(found[1]))
    stacked = "layers" in name.split("/") and leaf is not None
    return np.arange(leaf.shape[0]) if stacked else None


def matching(
    names: Sequence[str], patterns: Sequence[str], what: str = "freeze"
) -> set[str]:
    """Return the names in which a pattern is found; `what` the patterns are for.

    Args:
        names: paths "a/b/c".
        patterns: regular expressions, tried with `re.search`.
        what: begins the error, "freeze" or a config key.

    Raises:
        ValueError: a pattern is no regular expression or matches nothing.
    """
    found = set()
    for pattern in patterns:
        try:
            hits = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            message = f"{what} pattern {pattern!r} is no regular expression: {error}."
            raise ValueError(message) from error
        if not hits:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise ValueError(
                f"{what} pattern {pattern!r} matches none of {len(names)} parameters; "
                f"the nearest are {', '.join(near)}."
            )
        found |= hits
    return found


def freeze_mask(
    params: Params, patterns: Sequence[str], what: str = "freeze"
) -> Params:
    """Return a tree of bools: True where a pattern is found in "a/b/c".

    Parts of an adapted weight go by the weight's name. Arguments and errors as of
    `matching`.
    """
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    names = [weight_of(name_of(path)) for path, _ in flat]
    found = matching(list(dict.fromkeys(names)), patterns, what)
    return jax.tree.unflatten(tree, [name in found for name in names])


def split(params: Params, frozen: Params) -> tuple[Params, Params]:
    """Return (trainable, frozen): the same tree twice, None where the other has it."""
    trainable = jax.tree.map(lambda x, held: None if held else x, params, frozen)
    return trainable, jax.tree.map(lambda x, held: x if held else None, params, frozen)


def merge(trainable: Params, frozen: Params) -> Params:
    """Return the whole tree again: `merge(*split(params, frozen))` is `params`."""
    either = lambda a, b: b if a is None else a
    return jax.tree.map(either, trainable, frozen, is_leaf=lambda x: x is None)
