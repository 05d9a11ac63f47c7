"""Masked language modelling, and filling the masks a person writes."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks.data import chat
from lmtasks.data import noise
from lmtasks.objectives import base
from lmtasks.objectives import windows
from lmtasks.tokenizers import frame
from lmtasks.tokenizers import names
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Options(noise.Noise):
    """The section config.mlm: how rows are masked, and `top`, fillers shown a mask."""

    top: int = 5

    def __post_init__(self):
        if not 0 < self.rate < 1:
            raise ValueError(f"mlm.rate={self.rate} must be above 0 and below 1")
        # Sums of decimals such as .8 and .2 may lie a rounding above 1.
        both = self.mask + self.random
        if not (self.mask >= 0 and self.random >= 0 and both <= 1 + 1e-9):
            raise ValueError(
                f"mlm.mask={self.mask} and mlm.random={self.random} are shares of the "
                "chosen tokens; give two numbers from 0 on that sum to at most 1"
            )
        if self.unit not in noise.UNITS:
            raise ValueError(
                f"mlm.unit={self.unit!r} is not one of {', '.join(noise.UNITS)}"
            )
        if not 0 < self.span_p < 1:
            raise ValueError(f"mlm.span_p={self.span_p} must be above 0 and below 1")
        for name in ("span_max", "top"):
            if getattr(self, name) < 1:
                raise ValueError(f"mlm.{name}={getattr(self, name)} must be at least 1")


@dataclasses.dataclass(frozen=True)
class Mlm(base.Objective):
    """Some tokens of a text are hidden and predicted from those on both sides (Devlin
    et al., 2019, arXiv:1810.04805).

    A row is [CLS] text [SEP] with what the tokenizer's checkpoint has there; a long
    text gives several. Its targets are what the text says everywhere, its weights are 1
    where a token is to be predicted. Every epoch draws other tokens, always as many:
    see data.noise.
    """

    setting: base.Setting
    options: Options = Options()
    varies = True

    def rows_key(self) -> str:
        """Return how rows are masked; `top` only shows more fillers."""
        return repr(dataclasses.replace(self.options, top=1))

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row a window, masked as its ids alone decide; [] for a text
        without words the tokenizer knows.

        Raises:
            ValueError: the tokenizer has no mask token.
        """
        Mlm.mask_of(tokenizer)
        if not example.text.strip():
            return []
        rows = []
        for piece in pieces_of(example.text, tokenizer, self.setting.length):
            rng = np.random.default_rng(piece.astype(np.uint32))
            rows.append(self.vary(row_of(piece, tokenizer), rng, tokenizer))
        return [row for row in rows if row["weights"].any()]

    def vary(self, row, rng, tokenizer) -> Features:
        """Return the row masked anew, with as many tokens to predict."""
        tokens, chosen = noise.masked(row["targets"], tokenizer, self.options, rng)
        return {**row, "tokens": tokens, "weights": chosen.astype(np.float32)}

    @staticmethod
    def mask_of(tokenizer) -> str:
        """Return how the tokenizer's mask is spelled, or raise ValueError."""
        if tokenizer.mask_id is None:
            raise ValueError(
                "the tokenizer has no mask token, which stands for what a masked "
                "language model predicts; use one with [MASK] or <mask>, as every "
                "tokenizer trained here has, or objective='clm' on architecture="
                "'decoder'"
            )
        return tokenizer.piece(tokenizer.mask_id)

    def asked(self, example, tokenizer):
        """Return a text's first words, the middle one hidden: a mask for each piece.

        "the cat sat on mats" -> "the cat [MASK] on mats"
        """
        example = super().asked(example, tokenizer)
        mask, words = Mlm.mask_of(tokenizer), example.text.split()
        if not words or tokenizer.mask_id in ids_of(example.text, tokenizer):
            return example
        middle = len(words) // 2
        if mask in tokenizer.left:  # the mask stands for the space before it, too
            pieces = tokenizer.encode_words(words)[middle]
        else:
            pieces = tokenizer.encode(words[middle])
        words[middle] = mask * max(len(pieces), 1)
        return dataclasses.replace(example, text=" ".join(words))

    def query(self, example, tokenizer) -> list[Features]:
        """Return the row with weight 1 at each mask; [] for an empty text.

        Of a text that is too long the part around the masks is kept.

        Raises:
            ValueError: no mask in the text, or masks further apart than a row is long.
        """
        mask = Mlm.mask_of(tokenizer)
        if not example.text.strip():
            return []
        ids = np.asarray(ids_of(example.text, tokenizer), np.int32)
        places = np.flatnonzero(ids == tokenizer.mask_id)
        if not len(places):
            raise ValueError(
                f"the text has no {mask}: write {mask} where a word is missing"
            )
        room = room_of(tokenizer, self.setting.length)
        first, last = int(places[0]), int(places[-1])
        if last - first >= room:
            raise ValueError(
                f"the first and the last {mask} are {last - first} tokens apart, and a "
                f"row of data.length={self.setting.length} holds {room}; ask for them "
                "one by one or raise data.length"
            )
        start = min(max((first + last + 1 - room) // 2, 0), max(len(ids) - room, 0))
        kept = ids[start : start + room]
        row = row_of(kept, tokenizer)
        row["weights"] = (row["tokens"] == tokenizer.mask_id).astype(np.float32)
        return [row | {"cut": len(ids) - len(kept)}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the chosen tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return the perplexity of the chosen tokens, also of those that were replaced
        or kept; the accuracy is that of the same tokens.
        """
        return base.perplexity(totals)

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"ids": int32[B, A, top], "scores": float32[B, A, top]}: the likeliest
        tokens at `at`, best first, and their probabilities.
        """
        logits = model.apply(params, batch).astype(jnp.float32)
        log_z = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        best, ids = jax.lax.top_k(logits, min(self.options.top, logits.shape[-1]))
        return {"ids": ids.astype(jnp.int32), "scores": jnp.exp(best - log_z)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text", "fills"}.

        `text` has the best filler in the place of each mask, as the tokenizer decodes
        it; `fills` are for each mask its fillers, best first: {"token", "id", "score",
        "text"}, with the text that has this filler there and the best ones elsewhere.
        """
        ids = ids_of(example.text, tokenizer)
        places = [i for i, id in enumerate(ids) if id == tokenizer.mask_id]
        found, scores = (outputs[0][k][: len(places)] for k in ("ids", "scores"))
        best = list(ids)
        for place, fillers in zip(places, found, strict=True):
            best[place] = int(fillers[0])
        fills = [
            [
                _fill(best, place, int(id), float(score), tokenizer)
                for id, score in zip(*pair, strict=True)
            ]
            for place, *pair in zip(places, found, scores, strict=True)
        ]
        return {"text": tokenizer.decode(best), "fills": fills}


def _fill(ids: list[int], place: int, id: int, score: float, tokenizer) -> dict:
    text = tokenizer.decode([*ids[:place], id, *ids[place + 1 :]])
    # A special token decodes to nothing; a person still wants to see it.
    token = tokenizer.decode([id]) or tokenizer.piece(id)
    return {"token": token, "id": id, "score": score, "text": text}


def ids_of(text: str, tokenizer) -> list[int]:
    """Return the ids of a text in which masks, and no other special tokens, are
    spelled: the tokenizer's own, or as others have it.
    """
    return _reader(tokenizer).encode(text, special=True)


@functools.lru_cache(maxsize=8)
def _reader(tokenizer):
    """Return the tokenizer with no other special tokens than masks."""
    own = Mlm.mask_of(tokenizer)
    masks = dict.fromkeys((own, *names.ROLES["mask"]), tokenizer.mask_id)
    left = frozenset(masks) if own in tokenizer.left else frozenset()
    return dataclasses.replace(tokenizer, names=masks, left=left)


def pieces_of(text: str, tokenizer, length: int) -> list[np.ndarray]:
    """Return the ids of a text in parts that each fit into a row of `length`."""
    ids = chat.int_array(tokenizer.encode(text))
    if not len(ids):
        return []
    places = windows.cut_up(len(ids), room_of(tokenizer, length), 0)
    return [ids[begin:end] for begin, end in places]


def row_of(ids: np.ndarray, tokenizer) -> Features:
    """Return the features of a part of a text: nothing is hidden, all weights are 0."""
    around = frame.around(tokenizer)
    tokens = np.concatenate(
        [np.asarray(x, np.int32) for x in (around.before, ids, around.after)]
    )
    return {
        "tokens": tokens,
        "positions": np.arange(len(tokens), dtype=np.int32),
        "targets": tokens,
        "weights": np.zeros(len(tokens), np.float32),
    }


def room_of(tokenizer, length: int) -> int:
    """Return how many ids of a text fit into a row beside the special ones."""
    around = frame.around(tokenizer)
    room = length - len(around.before) - len(around.after)
    if room < 1:
        raise ValueError(
            f"data.length={length} holds no token beside the {length - room} special "
            "ones of a row; set it to 16 or more"
        )
    return room
