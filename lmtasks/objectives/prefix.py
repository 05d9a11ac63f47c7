"""Going on from a beginning that is read from both sides, on a decoder."""

from __future__ import annotations

import dataclasses

import numpy as np

from lmtasks.data import chat
from lmtasks.data import corrupt
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class PrefixLm(base.Objective):
    """A text is cut in two anywhere: the first part's tokens see each other, the second
    part is learned (Raffel et al., 2020, arXiv:1910.10683, section 3.2.1).

    Where a text is cut is a function of its ids; a long text gives several rows.
    """

    setting: base.Setting
    decode: plan.Decode = plan.Decode()
    writes = True

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the rows of a text; [] for one of fewer than two tokens."""
        ids = chat.int_array(tokenizer.encode(example.text))
        start = base.text_start(tokenizer)
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        room = self.setting.length + 1 - len(start) - len(end)
        if room < 3:
            raise ValueError(
                f"data.length={self.setting.length} holds no text; set it to 16 or more"
            )
        rows, at = [], 0
        while len(ids) - at > 1:
            part = ids[at : at + corrupt.size_of(len(ids) - at, room)]
            at += len(part)
            drawn = np.random.default_rng(part.astype(np.uint32))
            head, tail = corrupt.Prefix().draw(part, None, drawn, (room, room))
            tail = [*tail, *(end if at == len(ids) else [])]
            rows.append(_row([*start, *head], tail))
        return rows

    def query(self, example, tokenizer) -> list[Features]:
        """Return the text, its last T tokens, as a beginning."""
        ids = [*base.text_start(tokenizer), *tokenizer.encode(example.text)]
        ids, cut = base.cut_to(ids, self.setting.length, keep="end")
        row = base.next_token_features([*ids, 0], [False] * (len(ids) + 1))
        return [row | {"prefix": np.ones(len(ids), bool), "cut": cut}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the second parts."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return the perplexity of the second parts."""
        return base.perplexity(totals)

    def predict(self, model, params, batch, rng, tables=None):
        """Return what `base.write` returns."""
        given = {"decode": self.decode, "rng": rng, "tables": tables}
        return base.write(model, params, batch, **given)

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text"}: how it goes on; see `base.texts_of`."""
        return base.texts_of(self.decode, outputs[0], tokenizer, continues=True)


def _row(head: list[int], tail: list[int]) -> Features:
    """Return the row of a beginning and what follows.

    head a b, tail c d   ->   tokens a b c, prefix 1 1 0, targets b c d, weights 0 1 1
    """
    learned = [False] * len(head) + [True] * len(tail)
    row = base.next_token_features([*head, *tail], learned)
    return row | {"prefix": np.arange(len(learned) - 1) < len(head)}
