"""Tiny models, parameters and batches that the model tests share."""

import dataclasses
import functools

import jax
import numpy as np

from lmtasks.models import config as configs
from lmtasks.models import model as models

VOCAB = 50


def config(*, attention=None, norm=None, positions=None, **changes):
    """Return a shape of width 32 and 2 layers; parts are given as dicts."""
    return configs.TransformerConfig(
        **{"vocab": VOCAB, "width": 32, "layers": 2, "mlp": 48} | changes,
        attention=configs.Attention(**{"heads": 4} | (attention or {})),
        norm=configs.Norm(**norm or {}),
        positions=configs.Positions(**{"size": 32} | (positions or {})),
    )


def model(architecture="decoder", *, head="lm", classes=0, **changes):
    """Return a Model of a tiny shape."""
    return models.Model(architecture, config(**changes), head, classes)


def usual(architecture):
    """Return a model with the positions its architecture usually has."""
    kind = {"encoder": "learned", "decoder": "rotary", "encoder_decoder": "t5"}
    return model(architecture, positions={"kind": kind[architecture]})


def replace(one, **changes):
    """Return the model with these fields of its shape replaced."""
    return dataclasses.replace(one, cfg=dataclasses.replace(one.cfg, **changes))


@functools.cache
def shapes(one):
    """Return the tree of parameter shapes, without computing anything."""
    return jax.eval_shape(lambda: models.unbox(one.init(jax.random.key(0))))


def draw(one, seed=0):
    """Return parameters none of which is at its neutral value.

    Weights have a standard deviation of 1 / sqrt(inputs), at least .3 of it in biases
    and norm scales, so that leaving any of them out would show.
    """
    rng = np.random.default_rng(seed)

    def value(path, x):
        name = path[-1].key
        noise = rng.normal(size=x.shape).astype(np.float32)
        if name == "scale":
            return (0.0 if one.cfg.norm.kind == "rms1" else 1.0) + 0.3 * noise
        if "bias" in name or x.ndim < 2:
            return 0.3 * noise
        if name == "tokens":
            return noise
        return noise * 1.5 * one.cfg.width**-0.5

    return jax.tree_util.tree_map_with_path(value, shapes(one))


def batch(*lengths, width=None, seed=0, architecture="decoder", sources=None):
    """Return ragged rows of random tokens, padded on the right with positions -1."""
    rng = np.random.default_rng(seed)

    def side(lengths, width):
        width = width or max(lengths)
        tokens = rng.integers(1, VOCAB, (len(lengths), width)).astype(np.int32)
        place = np.arange(width, dtype=np.int32)
        positions = np.where(place < np.array(lengths)[:, None], place, -1)
        return tokens, positions.astype(np.int32)

    tokens, positions = side(lengths, width)
    out = {"tokens": tokens, "positions": positions}
    if architecture == "encoder_decoder":
        sources = sources or [7 - i % 3 for i in range(len(lengths))]
        source, places = side(sources, None)
        out |= {"source": source, "source_positions": places}
    return out


@functools.cache
def apply(one):
    """Return the jitted forward pass of a model, compiled once per test run."""
    return jax.jit(one.apply)


@functools.cache
def start(one):
    """Return the jitted `start` of a model; the size of the cache is static."""
    return jax.jit(one.start, static_argnums=2)


@functools.cache
def step(one):
    """Return the jitted `step` of a model."""
    return jax.jit(one.step)


@functools.cache
def slope(one):
    """Return the jitted gradient of the logits' mean square."""

    def loss(params, rows):
        return jax.numpy.mean(one.apply(params, rows) ** 2)

    return jax.jit(jax.grad(loss))


def logits(one, params, rows):
    """Return the logits as numpy."""
    return np.asarray(apply(one)(params, rows))
