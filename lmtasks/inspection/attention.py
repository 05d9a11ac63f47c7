"""What a model attends to in one text: masks and weights of each layer and head."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from lmtasks import builder
from lmtasks import decoding
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.models import model as models
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import embed
from lmtasks.objectives import generate
from lmtasks.training import writing
from lmtasks.types import Features

SIDES = ("encoder", "decoder", "cross")


@dataclasses.dataclass(frozen=True)
class Layer:
    """The attention of one layer for one row.

    Attributes:
        side: one of SIDES. number: of the layer, from 0.
        mask: bool[T, S], who sees whom.
        weights: float32[N, T, S], each row a distribution over what it sees.
    """

    side: str
    number: int
    mask: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Picture:
    """A row with its attention.

    Attributes:
        layers: of every side, in order.
        queries, keys: side -> readable pieces of its T and S; what looks across is
            named "piece > next", with the piece that the slot has to write.
        cut: tokens of the text that did not fit.
    """

    layers: tuple[Layer, ...]
    queries: dict[str, tuple[str, ...]]
    keys: dict[str, tuple[str, ...]]
    cut: int = 0

    def of(self, side: str) -> list[Layer]:
        """Return the layers of a side."""
        return [layer for layer in self.layers if layer.side == side]

    @property
    def sides(self) -> list[str]:
        """Return the sides there are."""
        return [side for side in SIDES if self.of(side)]


def row_of(
    run: builder.Run, text: str, pair: str | None = None, target: str | None = None
) -> Features:
    """Return the row a run reads a text as, formatted as in its training.

    Args:
        run: any run.
        text: what is read. pair: a second text, where the task has pairs.
        target: what is written after it, where the model writes.

    Raises:
        ValueError: a text without words, or one that the run has no place for.
    """
    setting, kind = run.objective.setting, run.task.kind
    where = f"task={run.config.task!r} on architecture={setting.architecture!r}"
    labelled = kind is examples.Labelled
    encodes = setting.architecture == "encoder"
    if pair is not None and not (encodes or labelled or kind is examples.Pair):
        raise ValueError(f"--pair: {where} reads one text; leave it out")
    if target is not None and (encodes or labelled or run.model.head != "lm"):
        raise ValueError(f"--target: {where} writes no text of its own; leave it out")
    if kind is examples.Pair and pair is not None:
        rows = embed.Embed(setting).featurize(examples.Pair(text, pair), run.tokenizer)
    elif kind is examples.Pair:
        rows = embed.Embed(setting).query(examples.Text(text), run.tokenizer)
    elif encodes:
        given = examples.Labelled(text, None, pair)
        rows = classify.ClassifyHead(setting).query(given, run.tokenizer)
    elif labelled:
        given = examples.Labelled(text, None, pair)
        rows = run.objective.query(given, run.tokenizer)
    elif kind is examples.Text and target is None and text.strip():
        rows = clm.Clm(setting).query(examples.Text(text), run.tokenizer)
    else:
        rows = _turns(setting, text, target, run.tokenizer)
    if not rows:
        raise ValueError("--text, or --pair, has no words to look at; give it some")
    return rows[0]


def writes_alone(run: builder.Run) -> bool:
    """Return whether the target of a text is what the model itself writes."""
    both = run.model.architecture == "encoder_decoder" and run.model.head == "lm"
    return both and run.task.kind is not examples.Labelled


def _turns(setting, text, target, tokenizer) -> list[Features]:
    writer, turns = generate.Generate(setting), (examples.Turn("user", text),)
    if not text.strip():
        return []
    if target is None:
        return writer.query(examples.Turns(turns), tokenizer)
    turns = (*turns, examples.Turn("assistant", target))
    return writer.featurize(examples.Turns(turns), tokenizer)


def look(loaded: writing.Loaded, row: Features) -> Picture:
    """Return a row with what each layer and head of a run attends to in it."""
    run = loaded.run
    row = dict(row)
    cut = row.pop("cut", 0)
    row.pop("cut_target", None)
    batch = pack.stack([row], len(row["tokens"]), len(row.get("source", ())), 0)
    params = decoding.params_of(run, loaded.params, writes=False)
    model = decoding.model_of(run, writes=False)
    layers = collect(model, params, batch)
    pieces = {
        key: tuple(run.tokenizer.piece(int(i)) for i in row.get(key, ()))
        for key in ("tokens", "source")
    }
    both = model.architecture == "encoder_decoder"
    queries, keys = {}, {}
    for layer in layers:
        t, s = layer.mask.shape
        own = seen = pieces["source" if both and layer.side == "encoder" else "tokens"]
        if layer.side == "cross":
            own, seen = _writing(own, row, run.tokenizer), pieces["source"]
        queries[layer.side], keys[layer.side] = _named(own, t), _named(seen, s)
    return Picture(tuple(layers), queries, keys, cut)


def _writing(pieces: tuple[str, ...], row: Features, tokenizer) -> tuple[str, ...]:
    """Return "piece > next" for each slot that has to write the next piece."""
    learned = zip(pieces, row["targets"], row["weights"], strict=True)
    return tuple(f"{a} > {tokenizer.piece(int(b))}" if w else a for a, b, w in learned)


def _named(pieces: tuple[str, ...], slots: int) -> tuple[str, ...]:
    """Return the pieces of `slots` slots: trained vectors stand before the text."""
    return (*(f"<soft {i}>" for i in range(slots - len(pieces))), *pieces)


def collect(model: models.Model, params, batch) -> list[Layer]:
    """Return the attention of every layer for the first row of a batch.

    The weights are those the forward pass computes and uses, not computed again.

    Args:
        model: with unrolled layers (Model.for_decoding). params: of it, or of the same
            model with another head.
        batch: as the model reads it.
    """
    # Without any attention that tells its weights there is no such collection.
    kept = jax.device_get(_forward(model)(params, batch))
    found = kept.get("intermediates", {})
    layers = []
    for stack in ("encoder", "decoder"):
        blocks = found.get(stack, {})
        for name in ("attn", "cross"):
            side = stack if name == "attn" else "cross"
            layers += _layers(blocks, name, side)
    if not layers:
        if model.cfg.block == "lstm":
            raise ValueError("this model has model.block='lstm' and so no attention")
        raise ValueError(
            "this model's attention (positions.kind="
            f"{model.cfg.positions.kind!r}) does not tell its weights"
        )
    return layers


@functools.cache
def _forward(model: models.Model):
    """Return the compiled (params, batch) -> what the layers keep of their attention."""
    module = dataclasses.replace(model, head="none", classes=0).module()

    def run(params, batch):
        given = {"params": params}
        return module.apply(given, batch, mutable=["intermediates"])[1]

    return jax.jit(run)


def _layers(blocks: dict, name: str, side: str) -> list[Layer]:
    """Return the layers of a stack; a shared one holds a value for each use."""
    names = sorted(blocks, key=lambda block: int(block.rpartition("_")[2]))
    out = []
    for block in names:
        part = blocks[block].get(name)
        for mask, weights in zip(part["mask"], part["weights"]) if part else ():
            out.append(
                Layer(side, len(out), np.asarray(mask[0]), np.asarray(weights[0]))
            )
    return out
