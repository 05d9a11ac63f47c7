"""What decoding is measured of: the cases, their plans, and the prompts.

Imports neither jax nor torch, so that each side's process holds only its own library.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lmtasks.decode import plan as plans

# First tokens of every row that must be the same on both sides.
CHECKED = 8
# Method -> what our Decode is given besides the number of tokens. No stop ids.
METHODS = {
    "greedy": {},
    "top_p": {"temperature": 1.0, "top_p": 0.9},
    "beam4": {
        "method": "beam", "beams": 4, "length_penalty": "average",
        "length_exponent": 1.0, "early_stopping": "bound",
    },
    "samples4": {"temperature": 1.0, "texts": 4},
}  # fmt: skip
# Method -> what `generate` of transformers is given; its top_k is 50 if not said.
PEER_METHODS = {
    "greedy": {"do_sample": False},
    "top_p": {"do_sample": True, "temperature": 1.0, "top_p": 0.9, "top_k": 0},
    "beam4": {
        "do_sample": False, "num_beams": 4, "length_penalty": 1.0,
        "early_stopping": False,
    },
}  # fmt: skip
_SHORT = {"bfloat16": "bf16"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the tables.

    Attributes:
        family, size: a preset of lmtasks.families.
        method: of METHODS.
        batch: B. prompt: P, or the source's length of an encoder-decoder, whose
            decoder begins with one token. new: tokens written, never fewer.
        weights: "bfloat16" | "int8" of a row compared with our own float32, or "".
        peer: whether the row has a peer.
        standard: part of the tables; the others are small, for tests.
    """

    family: str
    size: str
    method: str
    batch: int
    prompt: int
    new: int
    weights: str = ""
    peer: bool = True
    standard: bool = True

    @property
    def name(self) -> str:
        """Return the name, as `--cases` and the json rows have it."""
        end = f"/{_SHORT.get(self.weights, self.weights)}" if self.weights else ""
        sizes = f"b{self.batch}/p{self.prompt}+{self.new}"
        return f"decode/{self.family}-{self.size}/{self.method}/{sizes}{end}"

    @property
    def decode(self) -> plans.Decode:
        """Return our plan."""
        return plans.Decode(max_tokens=self.new, **METHODS[self.method])

    @property
    def certain(self) -> bool:
        """Return whether the tokens depend on no random numbers."""
        return not self.decode.temperature

    @property
    def handed_out(self) -> int:
        """Return the tokens of a call: of all texts that it returns."""
        return self.batch * self.decode.texts * self.new


_OWN = {"peer": False}
_TINY = {"standard": False}
CASES = (
    Case("gpt2", "small", "greedy", 1, 64, 64),
    Case("gpt2", "small", "greedy", 8, 64, 64),
    Case("gpt2", "small", "top_p", 8, 64, 64),
    Case("gpt2", "small", "beam4", 2, 64, 64),
    Case("gpt2", "small", "greedy", 1, 64, 512),
    Case("t5", "small", "greedy", 8, 128, 64),
    Case("t5", "small", "beam4", 4, 128, 64),
    Case("gpt2", "small", "greedy", 8, 64, 64, "bfloat16", **_OWN),
    Case("gpt2", "small", "greedy", 1, 64, 64, "bfloat16", **_OWN),
    Case("gpt2", "small", "greedy", 1, 64, 64, "int8", **_OWN),
    Case("gpt2", "small", "greedy", 8, 64, 64, "int8", **_OWN),
    Case("gpt2", "small", "greedy", 4, 16, 64, **_OWN),
    Case("gpt2", "small", "greedy", 4, 256, 64, **_OWN),
    Case("gpt2", "small", "greedy", 4, 960, 64, **_OWN),
    Case("gpt2", "small", "samples4", 2, 64, 64, **_OWN),
    Case("gpt2", "tiny", "greedy", 2, 8, 4, **_TINY),
    Case("gpt2", "tiny", "top_p", 2, 8, 4, **_TINY),
    Case("gpt2", "tiny", "beam4", 2, 8, 4, **_TINY),
    Case("t5", "tiny", "greedy", 2, 8, 4, **_TINY),
    Case("t5", "tiny", "beam4", 2, 8, 4, **_TINY),
    Case("gpt2", "tiny", "greedy", 2, 8, 4, "bfloat16", **_OWN, **_TINY),
    Case("gpt2", "tiny", "greedy", 2, 8, 4, "int8", **_OWN, **_TINY),
    Case("gpt2", "tiny", "samples4", 2, 8, 4, **_OWN, **_TINY),
)


def prompts_of(case: Case, vocab: int) -> np.ndarray:
    """Return int32[B, P] random ids, the same on both sides, without padding."""
    rng = np.random.default_rng(0)
    return rng.integers(3, vocab, (case.batch, case.prompt), dtype=np.int32)
