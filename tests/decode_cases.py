"""Four tiny models and nine ways to decode, for tests against transformers."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import jax
import numpy as np
import tiny

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "decode.json"
VOCAB, LENGTHS, LIMIT, BEAMS = 27, (7, 4, 5), 12, 4
BIASED = {"bias": True, "out_bias": True}
# family -> (architecture, its shape). Every size differs from the others.
SHAPES = {
    "gpt2": ("decoder", {
        "positions": {"kind": "learned", "size": 40}, "attention": BIASED,
        "norm": {"kind": "layer", "eps": 1e-5}, "mlp_bias": True,
        "activation": "gelu_tanh",
    }),
    "llama": ("decoder", {
        "positions": {"kind": "rotary", "base": (5e3,)}, "gated": True,
        "attention": {"kv_heads": 2, "head_dim": 6}, "norm": {"eps": 1e-5},
        "activation": "silu", "tied": False,
    }),
    "t5": ("encoder_decoder", {
        # So few that both sides differ within a short row.
        "positions": {"kind": "t5", "buckets": 8, "distance": 20},
        "attention": {"scale": 1.0, "head_dim": 6}, "activation": "relu",
        "layers": 3, "decoder_layers": 2, "head_scale": 32**-0.5,
    }),
    "bart": ("encoder_decoder", {
        "positions": {"kind": "learned", "size": 40, "offset": 2},
        "norm": {"kind": "layer", "at": "post", "eps": 1e-5, "final": False},
        "attention": BIASED, "mlp_bias": True, "activation": "gelu",
        "layers": 3, "decoder_layers": 2, "embed_norm": True, "head_bias": True,
    }),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """One family: the seed of its weights, and the ids that frame its texts.

    Attributes:
        family: of SHAPES.
        seed: of tiny.draw and of the prompts.
        stop: the id that ends a text.
        tokens: multiplies the token table: a tied head would be nearly one-hot.
        first: the decoder's first token; -1 without an encoder.
    """

    family: str
    seed: int
    stop: int
    tokens: float = 1.0
    first: int = -1

    @property
    def model(self):
        """Return our model."""
        architecture, changes = SHAPES[self.family]
        return tiny.model(architecture, vocab=VOCAB, **changes)

    def params(self):
        """Return parameters none of which is neutral."""
        params = tiny.draw(self.model, self.seed)
        params["embed"]["tokens"] = params["embed"]["tokens"] * np.float32(self.tokens)
        return params

    def prompts(self) -> list[list[int]]:
        """Return three ragged rows of ids above 0."""
        rng = np.random.default_rng(self.seed)
        return [rng.integers(1, VOCAB, n).tolist() for n in LENGTHS]

    def batch(self, *, written: int = 1) -> dict[str, np.ndarray]:
        """Return the prompts padded on the right, as our models read them.

        An encoder-decoder reads them as its source; `written` tokens, of which the
        first is `first`, are then its decoder's.
        """
        inside = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
        positions = np.where(inside, np.arange(max(LENGTHS)), -1).astype(np.int32)
        tokens = np.zeros(positions.shape, np.int32)
        tokens[inside] = np.concatenate(self.prompts())
        if self.first < 0:
            return {"tokens": tokens, "positions": positions}
        rng = np.random.default_rng(self.seed)
        ids = rng.integers(1, VOCAB, (len(LENGTHS), written)).astype(np.int32)
        ids[:, 0] = self.first
        places = np.broadcast_to(np.arange(written, dtype=np.int32), ids.shape)
        own = {"tokens": ids, "positions": places}
        return own | {"source": tokens, "source_positions": positions}

    def digest(self) -> str:
        """Return the SHA-256 of the parameters' bytes, in the order of the tree."""
        whole = hashlib.sha256()
        for x in jax.tree.leaves(self.params()):
            whole.update(np.ascontiguousarray(x, "<f4").tobytes())
        return whole.hexdigest()


CASES = {
    "gpt2": Case("gpt2", 20, 8, tokens=0.25),
    "llama": Case("llama", 29, 24),
    "t5": Case("t5", 13, 2, tokens=2.0, first=0),
    "bart": Case("bart", 16, 24, tokens=0.35, first=2),
}

_BEAM = {"num_beams": BEAMS, "num_return_sequences": BEAMS}
_OUR_BEAM = {"method": "beam", "beams": BEAMS, "texts": BEAMS}
# name -> (what `generate` is given, what our Decode is given).
SETTINGS = {
    "greedy": ({}, {}),
    "greedy repetition": ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
    "greedy ngram": ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram": 2}),
    "greedy long": ({"min_new_tokens": 5}, {"min_tokens": 5}),
    "beam": (
        {**_BEAM, "length_penalty": 1.0, "early_stopping": False},
        {**_OUR_BEAM, "length_penalty": "average", "length_exponent": 1.0,
         "early_stopping": "bound"},
    ),
    "beam never": (
        {**_BEAM, "length_penalty": 1.0, "early_stopping": "never"},
        {**_OUR_BEAM, "length_penalty": "average", "length_exponent": 1.0,
         "early_stopping": "exact"},
    ),
    "beam sum": (
        {**_BEAM, "length_penalty": 0.0, "early_stopping": False},
        {**_OUR_BEAM, "length_penalty": "none", "early_stopping": "bound"},
    ),
    "beam full": (
        {**_BEAM, "length_penalty": 2.0, "early_stopping": True},
        {**_OUR_BEAM, "length_penalty": "average", "length_exponent": 2.0,
         "early_stopping": "full"},
    ),
    "beam ngram": (
        {**_BEAM, "length_penalty": 1.0, "early_stopping": False,
         "no_repeat_ngram_size": 2, "min_new_tokens": 5},
        {**_OUR_BEAM, "length_penalty": "average", "length_exponent": 1.0,
         "early_stopping": "bound", "no_repeat_ngram": 2, "min_tokens": 5},
    ),
}  # fmt: skip
