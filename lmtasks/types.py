"""The axis legend, array aliases, and the names and shapes of batch keys.

Legend, used by every docstring and never redefined:

    B batch          T query or target length   S key or source length
    P prompt length  D width                    F mlp hidden width
    N query heads    K key/value heads          G = N / K
    H head dim       V vocabulary               C classes
    L layers         W beams                    A gathered positions
"""

from __future__ import annotations

import typing
from collections.abc import Mapping

if typing.TYPE_CHECKING:
    import jax
    import numpy as np

    Array = jax.Array | np.ndarray
else:
    Array = typing.Any

# A nested dict of arrays, as `Model.init` makes it.
Params = Mapping[str, typing.Any]
# One row before stacking: 1-D numpy arrays under the keys of BATCH_KEYS.
Features = dict[str, typing.Any]
# Stacked rows: arrays under the keys of BATCH_KEYS.
Batch = Mapping[str, Array]
# name -> (sum, weight); only the train and evaluation steps divide.
Sums = dict[str, tuple[Array, Array]]

# Key -> (shape, meaning). An absent key means "not used by this objective".
BATCH_KEYS = {
    "tokens": ("int32[B, T]", "vocabulary ids the model reads"),
    "positions": ("int32[B, T]", "place within the segment; -1 marks an empty slot"),
    "segments": ("int32[B, T]", "examples of a packed row; 0 is visible to all"),
    "targets": ("int32[B, T]", "what each position predicts; or float32, see classify"),
    "weights": ("float32[B, T]", "multiplies the loss of each position"),
    "token_types": ("int32[B, T]", "0 first text, 1 second text"),
    "prefix": ("bool[B, T]", "visible to every position of its segment"),
    "source": ("int32[B, S]", "vocabulary ids the encoder reads"),
    "source_positions": ("int32[B, S]", "as positions, for the source"),
    "source_segments": ("int32[B, S]", "as segments, for the source"),
    "at": ("int32[B, A]", "positions with weight; T where unused"),
    "mix": ("int32[B, A]", "gathered slot whose vector is mixed in"),
    "mix_share": ("float32[]", "what a vector keeps of its own"),
    "valid": ("float32[B]", "0 for rows that only fill up a batch"),
    "example": ("int32[B]", "index of the example within its split"),
    "piece": ("int32[B]", "index of the window within its example"),
}

# What a slot without content holds, per key; 0 for the others.
EMPTY = {"positions": -1, "source_positions": -1}

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")
