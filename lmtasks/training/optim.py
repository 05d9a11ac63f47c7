"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from lmtasks.training import masks
from lmtasks.types import Array
from lmtasks.types import Params

OPTIMIZERS = ("adamw", "adafactor", "sgd", "lion", "muon")
SCHEDULES = ("constant", "cosine", "linear", "inverse_sqrt", "wsd")
DECAY_MASKS = ("matrices", "kernels", "all")


@dataclasses.dataclass(frozen=True)
class Optim:
    """How parameters are updated.

    Attributes:
        name: one of OPTIMIZERS. "muon" takes the matrices inside the network and
            leaves tables, heads, biases and norms to Adam, at one learning rate.
        learning_rate: the peak of the schedule.
        schedule: one of SCHEDULES; the formulas are at `schedule`.
        warmup_steps: steps until the peak.
        ramp: rise linearly during the warm-up; False stays at the peak (T5).
        decay_steps: length of the final fall of "wsd"; 0 is a tenth of all steps.
        final_fraction: of the peak, where the fall ends.
        clip_norm: longest gradient, over all parameters together; 0 is off.
        weight_decay: decoupled; a step takes learning rate x weight_decay of a
            weight away, as `torch.optim.AdamW` does.
        decay_mask: what decays. "matrices": all but biases, norm scales and other
            vectors; "kernels": nor lookup tables; "all": every parameter.
        layer_decay: layer i of L learns at layer_decay^(L - i) of the rate, tables
            at ^(L + 1), what follows the last layer at 1 (Bao et al., 2021,
            arXiv:2106.08254); 1 is off.
        b1, b2, eps: of Adam; lion reads b1, b2.
        momentum: of sgd and muon.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_steps: int = 0
    ramp: bool = True
    decay_steps: int = 0
    final_fraction: float = 0.0
    clip_norm: float = 1.0
    weight_decay: float = 0.01
    decay_mask: str = "matrices"
    layer_decay: float = 1.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9

    def __post_init__(self):
        _known("optim.name", self.name, OPTIMIZERS)
        _known("optim.schedule", self.schedule, SCHEDULES)
        _known("optim.decay_mask", self.decay_mask, DECAY_MASKS)
        for name in ("learning_rate", "warmup_steps", "decay_steps", "clip_norm"):
            self._check(name, "a number >= 0", lambda x: 0 <= x < math.inf)
        for name in ("weight_decay", "eps"):
            self._check(name, "a number >= 0", lambda x: 0 <= x < math.inf)
        for name in ("b1", "b2", "momentum"):
            self._check(name, "at least 0 and below 1", lambda x: 0 <= x < 1)
        self._check("final_fraction", "between 0 and 1", lambda x: 0 <= x <= 1)
        self._check("layer_decay", "above 0 and at most 1", lambda x: 0 < x <= 1)

    def _check(self, name: str, accepted: str, good: Callable[[float], bool]):
        given = getattr(self, name)
        if not good(given):
            raise ValueError(f"optim.{name}={given!r} must be {accepted}.")


def _known(key: str, given: str, known: tuple[str, ...]):
    if given not in known:
        near = difflib.get_close_matches(given, known, n=2, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"{key}={given!r} is not one of {', '.join(known)}{hint}")


def schedule(optim: Optim, steps: int) -> Callable[[Array], Array]:
    """Return the learning rate as a function of the step n = 0 .. steps - 1.

    rate(n) = learning_rate * ramp(n) * fall(n), with w = warmup_steps, f =
    final_fraction and p = clip((n - w) / (steps - w), 0, 1):

        ramp(n)       min(1, (n + 1) / w): 1 / w at step 0, 1 from step w - 1 on;
                      always 1 where w = 0 or `ramp` is off
        constant      1
        linear        f + (1 - f) (1 - p)
        cosine        f + (1 - f) (1 + cos(pi p)) / 2
        wsd           1, then linear from 1 to f over the last d = decay_steps
        inverse_sqrt  max(f, sqrt(w / max(n, w))), w at least 1

    The falls would reach f at n = steps, one past the last update. T5's rate,
    1 / sqrt(max(n, 10^4)), is learning_rate .01, inverse_sqrt, w = 10^4, ramp off.

    Raises:
        ValueError: the warm-up and the fall do not fit into `steps`.
    """
    w, f = optim.warmup_steps, optim.final_fraction
    d = (optim.decay_steps or max(steps // 10, 1)) if optim.schedule == "wsd" else 0
    if optim.schedule in ("linear", "cosine", "wsd") and w + d > steps:
        raise ValueError(
            f"optim.warmup_steps={w}{f' and decay_steps={d}' if d else ''} do not fit "
            f"into {steps} training steps; lower them or train for longer."
        )

    def rate(count: Array) -> Array:
        n = jnp.asarray(count, jnp.float32)
        rise = jnp.minimum(1.0, (n + 1) / w) if optim.ramp and w else 1.0
        p = jnp.clip((n - w) / max(steps - w, 1), 0.0, 1.0)
        if optim.schedule == "linear":
            fall = f + (1 - f) * (1 - p)
        elif optim.schedule == "cosine":
            fall = f + (1 - f) * (1 + jnp.cos(math.pi * p)) / 2
        elif optim.schedule == "wsd":
            fall = f + (1 - f) * jnp.clip((steps - n) / d, 0.0, 1.0)
        elif optim.schedule == "inverse_sqrt":
            fall = jnp.maximum(f, jnp.sqrt(max(w, 1) / jnp.maximum(n, max(w, 1))))
        else:
            fall = jnp.ones_like(n)
        return optim.learning_rate * rise * fall

    return rate


def build(optim: Optim, steps: int) -> optax.GradientTransformation:
    """Return clip -> optimizer -> decoupled weight decay -> layer rates -> -rate.

    None leaves of the parameters have no state. The step's `updates` are added to
    the parameters by `optax.apply_updates`.
    """
    parts = [_clip(optim.clip_norm)] if optim.clip_norm else []
    parts.append(_direction(optim))
    if optim.weight_decay:
        mask = {
            "matrices": masks.decay_mask,
            "kernels": lambda params: masks.decay_mask(params, tables=False),
            "all": None,
        }[optim.decay_mask]
        parts.append(optax.add_decayed_weights(optim.weight_decay, mask))
    if optim.layer_decay != 1:
        parts.append(_layer_rates(optim.layer_decay))
    parts.append(optax.scale_by_learning_rate(schedule(optim, steps)))
    return optax.chain(*parts)


def _direction(optim: Optim) -> optax.GradientTransformation:
    """The step of rate 1, uphill: what the chain's last link turns round."""
    if optim.name == "adamw":
        return optax.scale_by_adam(optim.b1, optim.b2, optim.eps)
    if optim.name == "lion":
        return optax.scale_by_lion(optim.b1, optim.b2)
    if optim.name == "sgd":
        return optax.trace(optim.momentum) if optim.momentum else optax.identity()
    if optim.name == "adafactor":
        # The constants of Shazeer and Stern, 2018, arXiv:1804.04235, sections 6-8.
        return optax.chain(
            optax.scale_by_factored_rms(decay_rate=0.8, epsilon=1e-30),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
        )
    # An rms of .2 is Adam's, so that one rate serves both (arXiv:2502.16982). A rate
    # of -1 leaves the sign to the chain's last link.
    return contrib.muon(
        -1.0,
        beta=optim.momentum,
        adam_b1=optim.b1,
        adam_b2=optim.b2,
        eps=optim.eps,
        consistent_rms=0.2,
        muon_weight_dimension_numbers=_matrices,
    )


def global_norm(tree: Params) -> Array:
    """Return float32[], the length of all leaves as one vector."""
    squares = [
        jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)
    ]
    return jnp.sqrt(sum(squares))


def _clip(longest: float) -> optax.GradientTransformation:
    """Shrink to the length `longest`; a nan anywhere makes every update nan.

    One factor times the gradients: XLA recomputes a product where it is used, but
    writes out optax's quotients, which makes AdamW's update 3 times slower on CPU.
    """

    def update(updates, state, params=None):
        del params
        norm = global_norm(updates)
        factor = jnp.where(norm <= longest, 1.0, longest / norm)
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _matrices(params: Params) -> Params:
    """Which axes make the matrix that muon orthogonalizes; None is left to Adam."""
    mask = masks.decay_mask(params, tables=False)

    def axes(path, leaf, inside):
        parts = masks.name_of(path).split("/")
        if not inside or any("head" in part for part in parts):
            return None
        # A scanned stack has its layers first: a batch of matrices.
        dims = tuple(range("layers" in parts, leaf.ndim))
        if len(dims) < 2:
            return None
        # [N, H, D] sums over its heads, [D, N, H] over its width.
        cut = len(dims) - 1 if "out" in parts else 1
        return contrib.MuonDimensionNumbers(dims[:cut], dims[cut:])

    return jax.tree_util.tree_map_with_path(axes, params, mask)


def _layer_rates(decay: float) -> optax.GradientTransformation:
    def update(updates, params):
        del params
        # A frozen layer, a None, still counts.
        flat, _ = jax.tree_util.tree_flatten_with_path(
            updates, is_leaf=lambda x: x is None
        )
        found = [masks.layers_of(masks.name_of(path), leaf) for path, leaf in flat]
        depth = 1 + max((int(x.max()) for x in found if x is not None), default=-1)

        def rate(path, leaf):
            name = masks.name_of(path)
            layer = masks.layers_of(name, leaf)
            if layer is None:
                return leaf * decay ** (depth + 1) if masks.is_table(name) else leaf
            factor = jnp.asarray(decay ** (depth - layer), leaf.dtype)
            return leaf * factor.reshape(factor.shape + (1,) * (leaf.ndim - layer.ndim))

        return jax.tree_util.tree_map_with_path(rate, updates)

    return optax.stateless(update)
