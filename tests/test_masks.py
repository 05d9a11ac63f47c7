"""Names decide what decays and what is frozen."""

import jax
import jax.numpy as jnp
import pytest

from lmtasks.training import masks
from lmtasks.training import optim


def _params():
    """A tree with the shapes and names that models have."""
    draw = lambda *shape: jnp.full(shape, 0.5)

    block = lambda: {
        "attn": {
            "query": draw(6, 2, 3),
            "query_bias": draw(2, 3),
            "out": draw(2, 3, 6),
        },
        "mlp": {"up": draw(6, 8), "up_bias": draw(8)},
        "attn_norm": {"scale": draw(6)},
    }
    return {
        "embed": {"tokens": draw(11, 6)},
        "decoder": {
            "relative_bias": draw(4, 2),
            "layers_0": block(),
            "layers_1": block(),
            "norm": {"scale": draw(6)},
        },
        "head": {"kernel": draw(6, 3)},
    }


def _names_where(mask) -> set[str]:
    flat, _ = jax.tree_util.tree_flatten_with_path(mask)
    return {masks.name_of(path) for path, yes in flat if yes}


def test_decay_goes_by_name_and_not_by_rank_alone():
    layer = {"attn/query", "attn/out", "mlp/up"}
    kernels = {f"decoder/layers_{i}/{name}" for i in (0, 1) for name in layer}
    kernels |= {"head/kernel"}
    mask = masks.decay_mask(_params())
    assert _names_where(mask) == kernels | {"embed/tokens"}
    assert _names_where(masks.decay_mask(_params(), tables=False)) == kernels


def test_frozen_parameters_have_no_state_and_come_back_unchanged():
    params = _params()
    frozen = masks.freeze_mask(params, (r"^embed/", r"layers_0/"))
    trainable, held = masks.split(params, frozen)
    assert trainable["embed"]["tokens"] is None
    assert held["decoder"]["layers_1"]["mlp"]["up"] is None
    back = masks.merge(trainable, held)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: a is b, back, params)))
    for name in optim.OPTIMIZERS:
        tx = optim.build(optim.Optim(name=name, layer_decay=0.5), 5)
        state = jax.eval_shape(tx.init, trainable)
        updates, new = jax.eval_shape(tx.update, trainable, state, trainable)
        assert jax.tree.structure(updates) == jax.tree.structure(trainable), name
        assert jax.tree.structure(new) == jax.tree.structure(state), name
        paths = jax.tree_util.tree_flatten_with_path(state)[0]
        assert not any("tokens" in masks.name_of(path) for path, _ in paths), name


def test_a_freeze_pattern_that_matches_nothing_names_the_nearest_parameters():
    with pytest.raises(ValueError, match="matches none.*decoder/layers_0/attn/query"):
        masks.freeze_mask(_params(), ("decoder/layer_0/attn/quer",))
    with pytest.raises(ValueError, match="no regular expression"):
        masks.freeze_mask(_params(), ("layers_(",))
