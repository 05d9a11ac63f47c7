"""Our side of the decoding tables: compiled whole texts, in a process of its own."""

from __future__ import annotations

import functools
import math
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from experiments.benchmarks import cases
from experiments.benchmarks import convert
from experiments.benchmarks import decode_cases
from experiments.benchmarks import sides
from lmtasks.decode import methods
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.training import masks
from lmtasks.training import runtime
from lmtasks.types import Params

# What a step leaves alone or takes single rows of: the encoder, lookup tables, and
# what makes the keys and values of a source.
_UNREAD = re.compile(r"^encoder/|/(positions|types|relative_bias)\b|/cross/(key|value)")
# Parameter -> factor. Small tables, whose logits the last norm makes large again, so
# that a tied head does not find the token just read; small biases and large products,
# so that every layer hears the token.
LIVELY = (
    (r"^embed/tokens$|/positions$", 0.02),
    (r"^decoder/norm/", 50),
    (r"(?<!relative)(/|_)bias$", 0.1),
    (r"/query$", 6),
    (r"/mlp/down$", 8),
)
# Products with one matrix in a program that looks for the bandwidth.
PASSES = 4


def model_of(case: decode_cases.Case, kind: str = "float32") -> models.Model:
    """Return the model that decodes with weights of a kind."""
    architecture = cases.family_of(case).ARCHITECTURE
    model = models.Model(architecture, cases.shape_of(case, "float32"), "lm")
    return model.for_decoding(weights=kind)


def shapes_of(model: models.Model, kind: str = "") -> Params:
    """Return the shapes of its parameters, as decoding reads them where a kind is
    given, else as they are trained.
    """
    shapes = models.unbox(jax.eval_shape(model.init, jax.random.key(0)))
    if not kind:
        return shapes
    return jax.eval_shape(functools.partial(_as_kind, model, kind=kind), shapes)


def _as_kind(model, params, kind):
    return layout.for_decoding(params, models.logical_axes(model), kind)


def value_of(name: str, shape: tuple[int, ...], cfg) -> np.ndarray:
    """Return random values of a parameter with which the texts have variety.

    With those of `convert.random_value` alone, good for a loss, a model repeats its
    last token or always writes the same: equal texts would then prove nothing.
    """
    x = convert.random_value(name, shape, cfg)
    for pattern, factor in LIVELY:
        if re.search(pattern, name):
            x = x * np.float32(factor)
    return x


def batch_of(case: decode_cases.Case, model: models.Model) -> dict[str, np.ndarray]:
    """Return the prompts, or sources and the decoder's first token (0)."""
    ids = decode_cases.prompts_of(case, model.cfg.vocab)
    places = np.broadcast_to(np.arange(case.prompt, dtype=np.int32), ids.shape)
    if model.architecture == "decoder":
        return {"tokens": ids, "positions": places}
    first = np.zeros((case.batch, 1), np.int32)
    own = {"tokens": first, "positions": first}
    return own | {"source": ids, "source_positions": places}


def weight_bytes(shapes: Params, *, tied: bool) -> int:
    """Return the bytes of the parameters that a step reads once, from end to end.

    Not the encoder, nor tables of which only rows are taken: the token table counts
    where a tied head multiplies by it.
    """
    total = 0
    for path, x in jax.tree_util.tree_leaves_with_path(shapes):
        name = masks.name_of(path)
        if _UNREAD.search(name) or (name.startswith("embed/tokens") and not tied):
            continue
        total += x.size * jnp.dtype(x.dtype).itemsize
    return total


def cache_bytes(case: decode_cases.Case, model: models.Model) -> int:
    """Return the bytes of the filled cache that a step reads, mean over the steps.

    A prompt is there once for all lanes. Steps 1 .. new - 1 read what they have just
    written too: P + W n slots after step n, P + W new / 2 in the mean.

    Example: P = 64, W = 4, 3 new tokens: the first comes from the prompt, steps 1 and
    2 see 68 and 72 slots, 70 in the mean.
    """
    c = model.cfg
    kind = jnp.dtype(c.cache_dtype or c.dtype)
    crossed = model.architecture == "encoder_decoder"
    depth = (crossed and c.decoder_layers) or c.layers
    own = (1 if crossed else case.prompt) + case.decode.lanes * case.new / 2
    slots = own + (case.prompt if crossed else 0)
    vectors = 2 * depth * case.batch * c.kv_heads * slots
    assert kind != jnp.int8, "scales are not counted"
    return round(vectors * c.head_dim * kind.itemsize)


def step_bytes(case: decode_cases.Case, kind: str = "float32") -> dict[str, int]:
    """Return the bytes a step reads: of weights and of the cache."""
    model = model_of(case, kind)
    shapes = shapes_of(model, kind)
    return {
        "weight_bytes": weight_bytes(shapes, tied=model.cfg.tied),
        "cache_bytes": cache_bytes(case, model),
    }


class Writing:
    """One case, written again and again by programs compiled beforehand."""

    def setup(self, plan: dict) -> dict:
        """Fill the parameters; return where they are and how many."""
        runtime.keep_memory()
        self.plan = cases.Plan(**plan)
        self.case = cases.choose(self.plan.case, decode_cases.CASES)[0]
        device = jax.devices()[0]
        if device.platform == "gpu":
            # Not tf32: both sides must write the same tokens.
            jax.config.update("jax_default_matmul_precision", "highest")
        model = model_of(self.case)

        def value(path, x):
            return jax.device_put(value_of(masks.name_of(path), x.shape, model.cfg))

        self.params = jax.tree_util.tree_map_with_path(value, shapes_of(model))
        self.batch = jax.device_put(batch_of(self.case, model))
        self.turns, self.programs = 0, {}
        return {
            "platform": device.platform,
            "device": device.device_kind,
            "parameters": models.count(self.params),
            "jax": jax.__version__,
            "cores": sides.cores(),
        }

    def export(self) -> dict:
        """Write the parameters under the peer's names."""
        arrays = masks.flat(jax.device_get(self.params))
        found = convert.to_peer(self.case.family, model_of(self.case), arrays)
        save_file(found, self.plan.weights)
        return {}

    def compile(self, kind: str) -> dict:
        """Compile whole texts, and the reading of the prompts alone, for weights of a
        kind; return the seconds of the former, its temporaries and a step's bytes.
        """
        model, plan = model_of(self.case, kind), self.case.decode
        params = jax.jit(functools.partial(_as_kind, model, kind=kind))(self.params)

        def write(params, batch, keys):
            start = functools.partial(model.start, params)
            step = functools.partial(model.step, params)
            return methods.write(start, step, batch, decode=plan, keys=keys)

        def read(params, batch, keys):
            return model.start(params, batch, batch["tokens"].shape[1] + plan.slots)

        given = (params, self.batch, self._keys())
        start = time.perf_counter()
        whole = jax.jit(write).lower(*given).compile()
        seconds = time.perf_counter() - start
        prompt = jax.jit(read, keep_unused=True).lower(*given).compile()
        self.programs[kind] = (params, {"write": whole, "read": prompt})
        return {
            "compile_s": seconds,
            "temp_bytes": whole.memory_analysis().temp_size_in_bytes,
            **step_bytes(self.case, kind),
        }

    def _keys(self):
        return jax.random.split(jax.random.key(self.turns), self.case.batch)

    def tokens(self, kind: str) -> dict:
        """Return the tokens [B][new] of each row's first text."""
        params, programs = self.programs[kind]
        written = programs["write"](params, self.batch, self._keys())
        return {"tokens": np.asarray(written.tokens)[:, 0].tolist()}

    def run(self, kind: str, seconds: float, part: str = "write") -> dict:
        """Return the seconds of a call, mean over as many as fill `seconds`.

        Args:
            kind: of the weights.
            seconds: that the calls take together at least; there is one at least.
            part: "write" whole texts, or "read" the prompts into the cache.
        """
        params, programs = self.programs[kind]
        self.turns += 1
        given = jax.block_until_ready((params, self.batch, self._keys()))
        program = programs[part]
        return sides.timed(lambda: jax.block_until_ready(program(*given)), seconds)

    def bandwidth(self, size: int, seconds: float) -> dict:
        """Return the bytes read a second, at best, of a float32 matrix of `size` bytes.

        The vector that comes out of a product goes into the next, which none can be
        left out of nor begin before.
        """
        side = math.isqrt(size // 4)
        x = jnp.full((side, side), 1 / side, jnp.float32)
        forms = (lambda x, v: x @ v, lambda x, v: jnp.sum(x * v, axis=1))
        best = 0.0
        for form in forms:
            best = max(best, _fastest(form, x, seconds / len(forms)))
        return {"bytes_per_s": best}


def _fastest(form, x, seconds):
    """Return bytes a second of the quickest of some calls."""
    v = jnp.ones(x.shape[0], jnp.float32)
    run = jax.jit(lambda x, v: jax.lax.fori_loop(0, PASSES, lambda _, v: form(x, v), v))
    run(x, v).block_until_ready()
    least, end = math.inf, time.perf_counter() + seconds
    while least == math.inf or time.perf_counter() < end:
        start = time.perf_counter()
        run(x, v).block_until_ready()
        least = min(least, time.perf_counter() - start)
    return PASSES * x.nbytes / least


def main() -> None:
    """Answer the parent until it closes the pipe."""
    writing = Writing()
    names = ("setup", "export", "compile", "tokens", "run", "bandwidth")
    sides.serve({name: getattr(writing, name) for name in names})


if __name__ == "__main__":
    main()
