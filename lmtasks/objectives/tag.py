"""A tag for every word: named entities, parts of speech, chunks."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks.data import align
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import tag_text
from lmtasks.objectives import base
from lmtasks.objectives import entities
from lmtasks.types import Features

STRATEGIES = ("first", "all")


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.tag.

    Attributes:
        strategy: which pieces of a word carry its tag: its "first" or "all" of them.
        stride: tokens that two windows of a long sentence share at most; never more
            than half of a row.
        aggregation: how pieces become words and entities, one of
            entities.AGGREGATIONS.
    """

    strategy: str = "first"
    stride: int = 32
    aggregation: str = "first"

    def __post_init__(self):
        _known("strategy", self.strategy, STRATEGIES)
        _known("aggregation", self.aggregation, entities.AGGREGATIONS)
        if self.stride < 0:
            raise ValueError(f"tag.stride={self.stride} is negative; set 0 or more")


def _known(key: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"tag.{key}={value!r} is not one of {', '.join(names)}{hint}")


@dataclasses.dataclass(frozen=True)
class Tag(base.Objective):
    """Tags on the pieces of words, in rows `[CLS] pieces [SEP]`.

    A long sentence is several rows that share some words: each word is learned in one
    of them, and predicted from the same, where it has most context.

        words  Tim Cooks left     tokens   [CLS] Tim Cook ##s left [SEP]
        tags   B-P I-P   O        weights    0    1   1    0    1    0
    """

    setting: base.Setting
    options: Options = Options()
    head = "tag"

    def __post_init__(self):
        if not self.setting.labels:
            raise ValueError("tagging needs labels; set config.data.labels")

    @property
    def classes(self) -> int:
        """C, the number of tags."""
        return len(self.setting.labels)

    def rows_key(self) -> str:
        """Return which pieces are learned, and the stride of the windows."""
        return f"strategy={self.options.strategy} stride={self.options.stride}"

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return a row per window; [] without tags or without any piece."""
        if not example.tags:
            return []
        tags = [self._class(tag) for tag in example.tags]
        sentence = self._align(example, tokenizer)
        rows = []
        for k in range(len(sentence.windows)):
            row = _row(sentence, k)
            for word, slots in sentence.slots(k).items():
                slots = slots if self.options.strategy == "all" else slots[:1]
                row["targets"][slots] = tags[word]
                row["weights"][slots] = 1.0
            rows.append(row)
        return rows if any(sentence.pieces) else []

    def _class(self, tag: str) -> int:
        if tag not in self.setting.labels:
            raise ValueError(
                f"tag {tag!r} is not one of {', '.join(self.setting.labels)}; set "
                "config.data.labels or correct the record"
            )
        return self.setting.labels.index(tag)

    def _align(self, example: examples.Tagged, tokenizer) -> align.Sentence:
        length, stride = self.setting.length, self.options.stride
        return align.align(example.words, tokenizer, length=length, stride=stride)

    def query(self, example, tokenizer) -> list[Features]:
        """Return the rows without targets; [] without words.

        Weights mark the pieces whose probabilities the answer needs.
        """
        if not example.words:
            return []
        sentence = self._align(example, tokenizer)
        rows = []
        for k in range(len(sentence.windows)):
            row = _row(sentence, k)
            for slots in sentence.slots(k).values():
                row["weights"][self._needed(slots)] = 1.0
            rows.append(row)
        return rows

    def _needed(self, slots: range) -> range:
        return slots[:1] if self.options.aggregation == "first" else slots

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the pieces with tags."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"tag_scores": float32[B, A, C], "at": int32[B, A]}: probabilities
        of the tags at these positions.
        """
        scores = jax.nn.softmax(model.apply(params, batch), axis=-1)
        places = jnp.broadcast_to(jnp.arange(scores.shape[1]), scores.shape[:2])
        return {"tag_scores": scores, "at": batch.get("at", places)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"tags", "scores", "entities", "missed"}, and "words" of a raw text.

        `scores` are the probabilities of the tags. `entities` is left out where tags
        name none, `missed` counts words without pieces and is left out at 0.
        """
        labels, how = self.setting.labels, self.options.aggregation
        sentence = self._align(example, tokenizer)
        scores = self._scores(outputs, sentence)
        tags, probabilities, missed = entities.of_words(scores, labels, how)
        said = {"tags": tags, "scores": probabilities}
        if example.text is not None:
            said = {"words": list(example.words)} | said
        if tag_text.name_entities(labels):
            said["entities"] = self._entities(
                example, said, sentence, scores, tokenizer
            )
        return said | ({"missed": missed} if missed else {})

    def _scores(self, outputs, sentence: align.Sentence) -> list[np.ndarray | None]:
        """Return the probabilities [n, C] of each word's pieces."""
        found: list[np.ndarray | None] = [None] * len(sentence.pieces)
        for k, row in enumerate(outputs):
            places = {int(at): i for i, at in enumerate(row["at"])}
            for word, slots in sentence.slots(k).items():
                if slots:
                    rows = [places[slot] for slot in self._needed(slots)]
                    found[word] = np.asarray(row["tag_scores"])[rows]
        return found

    def _entities(self, example, said, sentence, scores, tokenizer) -> list[dict]:
        labels, how = self.setting.labels, self.options.aggregation
        text, spans = align.placed(example)
        if how not in ("none", "simple"):
            parts = zip(said["tags"], said["scores"], spans, strict=True)
            marks = [entities.Mark(tag, p, *span) for tag, p, span in parts]
            return entities.grouped(marks, text)
        inside = align.piece_spans(example.words, sentence.pieces, tokenizer)
        marks = [
            entities.Mark(*entities.best(one, labels), start + begin, start + end)
            for (start, _), word, places in zip(spans, scores, inside, strict=True)
            if word is not None
            for one, (begin, end) in zip(word, places, strict=True)
        ]
        return (entities.single if how == "none" else entities.grouped)(marks, text)


def _row(sentence: align.Sentence, k: int) -> Features:
    """Return row k without targets and weights."""
    ids = sentence.ids(k)
    n = len(ids)
    return {
        "tokens": chat.int_array(ids),
        "positions": np.arange(n, dtype=np.int32),
        "token_types": np.zeros(n, np.int32),
        "targets": np.zeros(n, np.int32),
        "weights": np.zeros(n, np.float32),
        "cut": sum(sentence.cut[word] for word in sentence.windows[k].own),
    }
