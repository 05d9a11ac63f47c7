"""Filling in the middle of a text, on a decoder."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.types import Features

# What stands before the beginning, the middle and the end of a text, as a tokenizer
# trained here has it, and as others spell it.
MARKS = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>")
_OTHERS = (
    ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    ("<fim-prefix>", "<fim-middle>", "<fim-suffix>"),
    ("<PRE>", "<MID>", "<SUF>"),
)
# Where a person leaves out the middle.
HOLE = "<FILL_ME>"


@dataclasses.dataclass(frozen=True)
class Infill(base.Objective):
    """A decoder learns texts whose middle was moved behind their end (Bavarian et al.,
    2022, arXiv:2207.14255).

    A share `rate` of the texts is cut at two characters, wherever these are, the others
    stay as they are; all tokens are learned. Of the cut ones a share `spm` begins with
    the end. How a text is cut is a function of the text; a long one gives several rows.

        PSM   <fim_prefix> beginning <fim_suffix> end <fim_middle> middle
        SPM   <fim_prefix> <fim_suffix> end <fim_middle> beginning middle
    """

    setting: base.Setting
    decode: plan.Decode = plan.Decode()
    rate: float = 0.5
    spm: float = 0.5
    gather = False
    writes = True
    streams = False  # the answer is the text with what is written put into it

    def rows_key(self) -> str:
        """Return the shares."""
        return repr((self.rate, self.spm))

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the rows of a text; [] for an empty one."""
        if not example.text:
            return []
        start = base.text_start(tokenizer)
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        # Three marks, and a word that is cut has a few more pieces than one that is not.
        room = self.setting.length + 1 - len(start) - len(end) - len(MARKS)
        if room < 8:
            raise ValueError(
                f"data.length={self.setting.length} holds no text beside the marks of "
                "its parts; set it to 32 or more"
            )
        rows = []
        for text, first, last in parts_of(example.text, tokenizer, room - room // 8):
            ids = self._moved(text, tokenizer, continues=not first)
            ids, cut = base.cut_to(ids, room + len(MARKS))
            ids = [*start, *ids, *(end if last and not cut else [])]
            row = base.next_token_features(ids, [True] * len(ids))
            rows.append(row | {"cut": cut})
        return rows

    def _moved(self, text: str, tokenizer, *, continues: bool) -> list[int]:
        drawn = np.random.default_rng(np.frombuffer(text.encode(), np.uint8))
        chance, order = drawn.random(2)
        if chance >= self.rate:
            return tokenizer.encode(text, continues=continues)
        i, j = sorted(drawn.integers(0, len(text) + 1, size=2).tolist())
        before = tokenizer.encode(text[:i], continues=continues)
        middle = tokenizer.encode(text[i:j], continues=True)
        after = tokenizer.encode(text[j:], continues=True)
        first, mid, last = marks_of(tokenizer)
        if order < self.spm:
            return [first, last, *after, mid, *before, *middle]
        return [first, *before, last, *after, mid, *middle]

    def asked(self, example, tokenizer):
        """Return a text's first words, the middle one left out."""
        example = super().asked(example, tokenizer)
        words = example.text.split(" ")
        words[len(words) // 2] = HOLE
        return dataclasses.replace(example, text=" ".join(words))

    def query(self, example, tokenizer) -> list[Features]:
        """Return what stands around the hole, <FILL_ME>, as in training; without a hole
        the text as a beginning. Of one that is too long the parts nearest to the hole,
        or its end, are kept.
        """
        if not example.text:
            return []
        before, hole, after = example.text.partition(HOLE)
        start = base.text_start(tokenizer)
        ids = tokenizer.encode(before)
        if not hole:
            ids, cut = base.cut_to(ids, self.setting.length - len(start), keep="end")
        else:
            room = self.setting.length - len(start) - len(MARKS)
            behind = tokenizer.encode(after, continues=True)
            half = room - min(len(behind), room // 2)
            ids, cut = base.cut_to(ids, half, keep="end")
            behind, more = base.cut_to(behind, room - len(ids))
            cut += more
            first, mid, last = marks_of(tokenizer)
            ids = [first, *ids, last, *behind, mid]
        ids = [*start, *ids]
        row = base.next_token_features([*ids, 0], [False] * (len(ids) + 1))
        return [row | {"cut": cut}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over all tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return the perplexity of all tokens, marks included."""
        return base.perplexity(totals)

    def predict(self, model, params, batch, rng, tables=None):
        """Return what `base.write` returns."""
        given = {"decode": self.decode, "rng": rng, "tables": tables}
        return base.write(model, params, batch, **given)

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text", "spans"}: the text with its hole filled, and what fills it;
        without a hole {"text"}, how it goes on. See `base.texts_of`.
        """
        said = base.texts_of(self.decode, outputs[0], tokenizer, continues=True)
        before, hole, after = example.text.partition(HOLE)
        if not hole:
            return said
        said["spans"] = [said["text"]]
        said["text"] = before + said["text"] + after
        if "texts" in said:
            said["texts"] = [before + text + after for text in said["texts"]]
        return said


def marks_of(tokenizer) -> tuple[int, int, int]:
    """Return the ids before a beginning, a middle and an end.

    Raises:
        ValueError: the tokenizer has none.
    """
    for names in (MARKS, *_OTHERS):
        if tokenizer.names.keys() >= set(names):
            return tuple(tokenizer.names[name] for name in names)
    raise ValueError(
        f"the tokenizer has no {', '.join(MARKS)}, which stand before the parts of a text"
    )


def parts_of(text: str, tokenizer, room: int) -> list[tuple[str, bool, bool]]:
    """Return (part, whether it is the first, the last) of about `room` tokens each;
    together they are the text.
    """
    _, spans = tokenizer.encode_offsets(text)
    begins = [a for a, _ in spans[room::room]]
    bounds = sorted({0, *begins, len(text)})
    pairs = itertools.pairwise(bounds)
    return [(text[a:b], a == 0, b == len(text)) for a, b in pairs]


def is_marked(tokenizer) -> bool:
    """Return whether a tokenizer has marks for the parts of a text."""
    return any(tokenizer.names.keys() >= set(names) for names in (MARKS, *_OTHERS))
