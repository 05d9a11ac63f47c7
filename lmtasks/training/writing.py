"""Writing texts with a trained run: whole batches, or one text as it comes."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Iterator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import builder
from lmtasks import decoding
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode import plan
from lmtasks.decode import sampling
from lmtasks.decode import stream
from lmtasks.objectives import base as objectives
from lmtasks.objectives import generate as generating
from lmtasks.training import parallel
from lmtasks.types import Params

# Tokens of a streamed text between two looks at it.
EVERY = 4


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained run, ready to use.

    Attributes:
        run: task, tokenizer, objective and model. params: its parameters.
        step: of the checkpoint. mesh: the devices it lies on.
        draft: the run that drafts (decode.method "draft"), or None.
    """

    run: builder.Run
    params: Params
    step: int
    mesh: jax.sharding.Mesh
    draft: Loaded | None = None


class Given:
    """Examples in memory, in the form of a split's records."""

    fingerprint, skipped = "given", 0

    def __init__(self, given: Sequence[examples.Example]):
        self._given = given

    def __len__(self):
        return len(self._given)

    def __getitem__(self, i):
        return self._given[i]

    def where(self, i: int) -> str:
        """Return how a message names example i."""
        return f"input {i + 1}"


class Writer:
    """Writes texts after prompts.

    Prompts are padded to the run's buckets and batches to powers of two, so that new
    prompts seldom compile: `compilations` says how often it happened.

    Attributes:
        compilations: programs traced so far.
        counts: prompts cut or skipped as too long, and tokens cut (data.on_long).
    """

    def __init__(self, loaded: Loaded, decode: plan.Decode | None = None):
        run = loaded.run
        if run.model.head != "lm":
            raise ValueError(
                f"architecture={run.model.architecture!r} with objective="
                f"{run.config.objective!r} writes no text; use predict"
            )
        self.compilations = 0
        self.counts: collections.Counter = collections.Counter()
        self.decode = decode or run.decode
        self._loaded, self._run = loaded, run
        decoding.check_size(self.decode, run.model.cfg.vocab)
        objective = run.objective
        if not objective.writes:
            objective = generating.Generate(objective.setting)
        self._objective = dataclasses.replace(objective, decode=self.decode)
        self._plain = run.task.kind is examples.Text
        self._model = decoding.model_of(run, writes=True)
        self._params = decoding.params_of(run, loaded.params, writes=True)
        self._draft = self._draft_params = None
        if loaded.draft is not None:
            other = loaded.draft
            self._draft = decoding.model_of(other.run, writes=True)
            self._draft_params = decoding.params_of(
                other.run, other.params, writes=True
            )
        self._write = jax.jit(self._traced_write)
        self._begin = jax.jit(self._traced_begin)
        # The state is updated in place.
        self._advance = jax.jit(self._traced_advance, donate_argnums=1)

    def write(self, prompts: Sequence[str]) -> list[dict | None]:
        """Return {"text", "tokens", "log_prob"} a prompt, in order; None where it was
        skipped as too long.

        "tokens" counts what was written, its end included, "log_prob" is of all of it
        under the unmodified model, in nats. Where a plan asks for several texts, the
        row has them all in "texts", rows of the same form.

        Raises:
            ValueError: an empty prompt.
        """
        pieces = self._pieces(prompts)
        order = np.lexsort((pieces.tokens, pieces.sources))
        out: list[dict | None] = [None] * len(prompts)
        most = self._run.config.eval.batch_size
        for at in range(0, len(order), most):
            chosen = [pieces[int(i)] for i in order[at : at + most]]
            found = self._written(chosen)
            for i, piece in enumerate(chosen):
                row = {name: array[i] for name, array in found.items()}
                out[piece.example] = self._answer(row, pieces.examples[piece.example])
        return out

    def stream(self, prompt: str) -> Iterator[str]:
        """Yield the text after one prompt in pieces that never split a character.

        Joined, the pieces are the text that `write` returns. Only sampling and greedy
        decoding write from left to right; other methods, and objectives that put what
        is written into a text, give it in one piece.
        """
        one_way = self.decode.method == "sample" and self.decode.texts == 1
        if not (one_way and self._objective.streams):
            row = self.write([prompt])[0]
            yield "" if row is None else row["text"]
            return
        pieces = self._pieces([prompt])
        if not len(pieces):
            return
        batch = self._batch([pieces[0]])
        text = stream.TextStream(
            self._run.tokenizer, self.decode.stop, continues=self._plain
        )
        rest = (batch["example"], self._run.tables)
        state, said = self._call(self._begin, batch), 0
        while True:
            done, n = jax.device_get((state.done[0, 0], state.written.lengths[0, 0]))
            tokens = np.asarray(state.written.tokens[0, 0, said:n])
            piece, said = text.push(tokens), int(n)
            if piece:
                yield piece
            if done or n >= self.decode.max_tokens or text.finished:
                break
            limit = jnp.int32(min(n + EVERY, self.decode.max_tokens))
            with jax.set_mesh(self._loaded.mesh), parallel.rules():
                state = self._advance(self._params, state, limit, *rest)
        piece = text.finish()
        if piece:
            yield piece

    def timed(self, prompts: Sequence[str]) -> tuple[list[dict | None], float]:
        """Return (`write` of the prompts, its seconds without compiling)."""
        self.write(prompts)
        begun = time.perf_counter()
        return self.write(prompts), time.perf_counter() - begun

    def _pieces(self, prompts) -> features.Pieces:
        for i, prompt in enumerate(prompts):
            if not prompt.strip():
                raise ValueError(
                    f"prompt {i + 1} is empty; give it some text to go on from"
                )
        turn = functools.partial(examples.Turn, "user")
        given = [
            examples.Text(p) if self._plain else examples.Turns((turn(p),))
            for p in prompts
        ]
        pieces = features.Pieces(
            Given(given),
            lambda example: example,
            self._objective,
            self._run.tokenizer,
            on_long=self._run.config.data.on_long,
            query=True,
        )
        for key in ("cut", "tokens_cut", "skipped_long"):
            self.counts[key] += pieces.counts.get(key, 0)
        return pieces

    def _batch(self, rows) -> dict:
        """Return the rows padded to a bucket, and empty rows up to a power of two."""
        config, mesh = self._run.config, self._loaded.mesh
        ways = mesh.shape["data"] * mesh.shape["fsdp"]
        size = ways * (1 << max(-(-len(rows) // ways) - 1, 0).bit_length())
        sizes = [
            (len(r.features["tokens"]), len(r.features.get("source", ()))) for r in rows
        ]
        source = builder.buckets_of(config, config.data.source_length)
        shape = pack.Shape(
            buckets=builder.buckets_of(config, config.data.length),
            source_buckets=source if any(s for _, s in sizes) else (),
            gathered=0,
        )
        length, source_length = shape.of(sizes)
        if self._run.model.architecture == "encoder_decoder":
            length = max(n for n, _ in sizes)  # the decoder's first token
        full = [*rows, *rows[:1] * (size - len(rows))]
        batch = pack.stack([r.features for r in full], length, source_length, 0)
        batch["positions"][len(rows) :] = -1
        batch["example"] = np.asarray([r.example for r in full], np.int32)
        sharding = parallel.batch_sharding(mesh)
        keys = (
            "tokens",
            "positions",
            "prefix",
            "source",
            "source_positions",
            "example",
        )
        return parallel.put({k: batch[k] for k in keys if k in batch}, sharding)

    def _call(self, function, batch):
        with jax.set_mesh(self._loaded.mesh), parallel.rules():
            return function(self._params, batch, self._run.tables, self._draft_params)

    def _written(self, rows) -> dict:
        found = jax.device_get(self._call(self._write, self._batch(rows)))
        return {name: array[: len(rows)] for name, array in found.items()}

    def _traced_write(self, params, batch, tables, draft_params):
        self.compilations += 1
        draft = None if draft_params is None else (self._draft, draft_params)
        return objectives.write(
            self._model, params, batch,
            decode=self.decode, rng=self._rng(), tables=tables, draft=draft,
        )  # fmt: skip

    def _rng(self):
        return jax.random.key(self._run.config.seed)

    def _given(self, example, tables) -> dict:
        """Return what both halves of a streamed text are given."""
        rows = example.shape[0]
        fold = jax.vmap(jax.random.fold_in, (None, 0))
        return {
            "sampling": (
                sampling.sampling_of(self.decode, rows)
                if self.decode.temperature
                else None
            ),
            "keys": fold(self._rng(), example),
            "rules": constraints.rules_of(self.decode, rows, tables),
        }

    def _traced_begin(self, params, batch, tables, _):
        self.compilations += 1
        start, _ = objectives.verbs(self._model, params, self.decode)
        given = self._given(batch["example"], tables)
        return loop.begin(start, batch, decode=self.decode, **given)

    def _traced_advance(self, params, state, limit, example, tables):
        self.compilations += 1
        _, step = objectives.verbs(self._model, params, self.decode)
        return loop.advance(step, state, limit, **self._given(example, tables))

    def _answer(self, row: dict, example) -> dict:
        said = self._objective.answer([row], example, self._run.tokenizer)
        lengths = (row["written"] >= 0).sum(axis=1)
        totals = row["log_probs"].sum(axis=1)
        texts = said.get("texts", [said["text"]])
        each = [
            {"text": text, "tokens": int(n), "log_prob": float(total)}
            for text, n, total in zip(texts, lengths, totals, strict=True)
        ]
        if len(each) == 1:
            return each[0]
        return {**each[said["chosen"]], "texts": each}
