"""An encoder-decoder puts back what was taken out of a text, as T5, UL2 and BART learn."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks.data import chat
from lmtasks.data import corrupt
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import generate
from lmtasks.types import Array
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to take something out, and the marker in front of the source."""

    noise: corrupt.Spans | corrupt.Prefix | corrupt.Infill
    mode: str = ""


@dataclasses.dataclass(frozen=True)
class Restore(base.Objective):
    """An encoder-decoder reads a text with parts taken out and writes them, or all.

    A long text gives several rows, each as long as its two sides allow. Which way a
    row is changed is drawn once, by its text; what it takes out is drawn anew in every
    epoch, in the same sizes, but for a continuation, which stays.

    Attributes:
        ways: one, or UL2's seven. eos: the end-of-sequence, if there is one.
        sentinels: ids; with eos they bound the spans of a target.
    """

    setting: base.Setting
    decode: plan.Decode = plan.Decode()
    ways: tuple[Way, ...] = (Way(corrupt.Spans()),)
    eos: tuple[int, ...] = ()
    sentinels: tuple[int, ...] = ()
    varies = True
    writes = True
    streams = False  # the answer is the text with what is written put into it

    def rows_key(self) -> str:
        """Return the ways."""
        return repr(self.ways)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the rows of a text; [] for one of fewer than two tokens."""
        ids = chat.int_array(tokenizer.encode(example.text))
        marks, room = corrupt.marks_of(tokenizer), self._room(tokenizer)
        drawn = np.random.default_rng(ids.astype(np.uint32))
        rows, at = [], 0
        while len(ids) - at > 1:
            way = self.ways[int(drawn.integers(len(self.ways)))]
            size = self._size(way, len(ids) - at, room, marks)
            sides = way.noise.draw(ids[at : at + size], marks, drawn, room)
            at += size
            ends = at == len(ids) or not isinstance(way.noise, corrupt.Prefix)
            rows.append(self._row(sides, way.mode, tokenizer, ends=ends))
        return rows

    def _size(self, way: Way, rest: int, room, marks) -> int:
        """Return how many of the remaining tokens a row takes; one is never left."""
        longest = way.noise.longest(*room)
        if longest < 3:
            raise ValueError(
                f"data.source_length={self.setting.source_length} and data.length="
                f"{self.setting.length} hold no text beside what stands around it; "
                "set both to 16 or more"
            )
        size = corrupt.size_of(rest, longest)
        self._check(way, size, marks)
        return size

    def _check(self, way: Way, size: int, marks) -> None:
        if isinstance(way.noise, corrupt.Infill) and marks.mask_id is None:
            raise ValueError(
                "the tokenizer has no mask token, which stands for a gap; use one with "
                "<mask>, as every tokenizer trained here has"
            )
        if not isinstance(way.noise, corrupt.Spans):
            return
        needed = way.noise.counts(size)[1] + (way.noise.ends == "any")
        if needed > len(marks.sentinels):
            raise ValueError(
                f"a row needs {needed} sentinels (<extra_id_0>, ...) and the tokenizer "
                f"has {len(marks.sentinels)}; lower data.source_length or denoise.rate, "
                "raise denoise.span, or train a tokenizer with --sentinels"
            )

    def _room(self, tokenizer) -> tuple[int, int]:
        """Return how many ids the two sides hold beside what stands around them."""
        before, after = generate.around_source(tokenizer)
        modes = any(way.mode for way in self.ways)
        source = self.setting.source_length - len(before) - len(after) - modes
        start = generate.decoder_start(tokenizer)
        return source, self.setting.length - len(start) + 1 - len(self.eos)

    def _row(self, sides, mode: str, tokenizer, *, ends: bool = True) -> Features:
        source, target = sides
        ids = [*generate.decoder_start(tokenizer), *target, *(self.eos if ends else ())]
        row = base.next_token_features(ids, [True] * len(ids))
        return row | self._source(source, mode, tokenizer)

    def _source(self, ids, mode: str, tokenizer) -> Features:
        before, after = generate.around_source(tokenizer)
        marks = [tokenizer.names[mode]] if mode else []
        ids = [*before, *marks, *ids, *after]
        positions = np.arange(len(ids), dtype=np.int32)
        return {"source": chat.int_array(ids), "source_positions": positions}

    def vary(self, row, rng, tokenizer) -> Features:
        """Return the row with as many other tokens taken out."""
        before, after = generate.around_source(tokenizer)
        source, target = row["source"], row["targets"]
        source = source[len(before) : len(source) - len(after)]
        mode = ""
        if any(way.mode for way in self.ways):
            mode, source = tokenizer.piece(int(source[0])), source[1:]
        way = next(way for way in self.ways if way.mode == mode)
        if isinstance(way.noise, corrupt.Prefix):
            return row
        first = len(generate.decoder_start(tokenizer)) - 1
        target = target[first : len(target) - len(self.eos)]
        marks = corrupt.marks_of(tokenizer)
        sides = way.noise.redraw(source, target, marks, rng)
        return self._row(sides, mode, tokenizer)

    def asked(self, example, tokenizer):
        """Return a text's first words with the middle one taken out."""
        example = super().asked(example, tokenizer)
        words, gap = example.text.split(), self._gap(tokenizer)
        if not gap or gap in example.text:
            return example
        at = len(words) // 2
        words[at : at + 1] = [gap] if len(words) > 1 else [*words, gap]
        return dataclasses.replace(example, text=" ".join(words))

    def _gap(self, tokenizer) -> str:
        """Return how a gap is written: the first sentinel, the mask, or ""."""
        kinds = {type(way.noise) for way in self.ways}
        if corrupt.Spans in kinds:
            return tokenizer.piece(tokenizer.sentinels[0])
        if corrupt.Infill in kinds:
            return tokenizer.piece(tokenizer.mask_id)
        return ""

    def query(self, example, tokenizer) -> list[Features]:
        """Return the text as a source, with the gaps that are written in it.

        Raises:
            ValueError: spans are to be filled and the text has no sentinel.
        """
        if not example.text.strip():
            return []
        ids = self._read(example.text, tokenizer)
        spans = bool(set(ids) & set(tokenizer.sentinels))
        fits = [w for w in self.ways if isinstance(w.noise, corrupt.Spans) == spans]
        if not fits:
            raise ValueError(
                "the text has no <extra_id_0>: write <extra_id_0>, <extra_id_1>, ... "
                "where words are missing"
            )
        ids, cut = base.cut_to(ids, self._room(tokenizer)[0])
        start = generate.decoder_start(tokenizer)
        row = base.next_token_features([*start, 0], [False] * (len(start) + 1))
        return [row | self._source(ids, fits[0].mode, tokenizer) | {"cut": cut}]

    def _read(self, text: str, tokenizer) -> list[int]:
        marks = tokenizer.sentinels if self._spans else (tokenizer.mask_id,)
        return _reader(tokenizer, marks).encode(text, special=True)

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the target side; evaluation adds
        "span_accuracy", of the spans whose every token is the likeliest.
        """
        logits = apply(params, batch, rng)
        sums = base.token_sums(self.setting, logits, batch, training=rng is not None)
        if rng is None and self.sentinels and self._spans:
            sums["span_accuracy"] = span_sums(
                logits, batch, sentinels=self.sentinels, eos=self.eos
            )
        return sums

    @property
    def _spans(self) -> bool:
        return any(isinstance(way.noise, corrupt.Spans) for way in self.ways)

    def report(self, totals, examples) -> dict[str, float]:
        """Return the perplexity of the target side."""
        return base.perplexity(totals)

    def predict(self, model, params, batch, rng, tables=None):
        """Return what `base.write` returns."""
        given = {"decode": self.decode, "rng": rng, "tables": tables}
        return base.write(model, params, batch, **given)

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text", "spans"}: the text with its gaps filled, and what fills each;
        {"text"} alone where all of it was written, or how it goes on.
        """
        said = base.texts_of(self.decode, outputs[0], tokenizer)
        source = self._read(example.text, tokenizer)
        marks = [id for id in source if id in tokenizer.sentinels]
        if not marks:
            return said
        filled = [self._filled(source, w, tokenizer) for w in outputs[0]["written"]]
        spans = corrupt.spans_of(
            _ended(outputs[0]["written"][said.get("chosen", 0)], self.eos),
            np.asarray(tokenizer.sentinels),
        )
        said["spans"] = [tokenizer.decode(spans.get(m, ())) for m in marks]
        said["text"] = filled[said.get("chosen", 0)]
        return said | ({"texts": filled} if "texts" in said else {})

    def _filled(self, source, written, tokenizer) -> str:
        written = _ended(written, self.eos)
        marks = np.asarray(tokenizer.sentinels)
        ids = corrupt.restored(np.asarray(source), written, marks)
        return tokenizer.decode(ids)


@functools.lru_cache(maxsize=8)
def _reader(tokenizer, marks: tuple[int, ...]):
    """Return the tokenizer with no other special tokens than marks of gaps.

    A gap takes the space before it, as a span does that begins with a word.
    """
    names = {tokenizer.piece(id): id for id in marks if id is not None}
    left = frozenset(names)
    return dataclasses.replace(tokenizer, names=names, left=left, right=frozenset())


def _ended(ids, eos: tuple[int, ...]) -> np.ndarray:
    """Return what was written before the end."""
    ids = np.asarray(ids)
    ends = np.flatnonzero((ids < 0) | np.isin(ids, eos))
    return ids[: ends[0]] if len(ends) else ids


def span_sums(
    logits: Array, batch, *, sentinels: tuple[int, ...], eos: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return (spans all of whose tokens are the likeliest, spans).

    Args:
        logits: [B, A or T, V]. batch: with `targets`, `weights` and maybe `at`.
        sentinels: ids that begin a span. eos: ids that end the last one.
    """
    targets, weights = base.learned(batch)
    places = jnp.arange(targets.shape[1])
    begins = jnp.isin(targets, jnp.asarray(sentinels)) & (weights > 0)
    bound = begins | (weights == 0) | jnp.isin(targets, jnp.asarray(eos or (-1,)))
    wrong = jnp.cumsum((logits.argmax(-1) != targets) & ~bound, axis=1)
    # The next bound behind each place.
    ends = jnp.where(bound, places, targets.shape[1])
    ends = jax.lax.cummin(ends, axis=1, reverse=True)
    ends = jnp.pad(ends[:, 1:], ((0, 0), (0, 1)), constant_values=targets.shape[1])
    span = begins & (ends > places + 1)
    missed = jnp.take_along_axis(wrong, ends - 1, axis=1) - wrong
    return (span & (missed == 0)).sum(), span.sum()
