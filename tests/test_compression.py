"""The xz yardstick."""

import random

import pytest

from lmtasks.metrics import compression


def test_text_seen_in_training_costs_next_to_nothing():
    text = "".join(random.Random(0).choices("abcdefgh ", k=4000))
    again = compression.xz_bits_per_byte([text], [text])
    alone = compression.xz_bits_per_byte([""], [text])
    assert again < 0.1 * alone


def test_an_empty_held_out_text_is_refused():
    with pytest.raises(ValueError, match="held-out"):
        compression.xz_bits_per_byte(["a"], [])
