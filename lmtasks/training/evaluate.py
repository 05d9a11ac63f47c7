"""Evaluation: sums that are exact for any batch size, predictions, and scores."""

from __future__ import annotations

import collections
import dataclasses
import functools
import typing

import jax
import numpy as np

from lmtasks import builder
from lmtasks import decoding
from lmtasks import taskdata
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import pipeline
from lmtasks.decode import choose
from lmtasks.metrics import inputs
from lmtasks.training import parallel
from lmtasks.training import step
from lmtasks.types import Params


class Stopped(Exception):
    """The run was asked to stop in the middle of an evaluation."""


@dataclasses.dataclass(frozen=True)
class Split:
    """One split, featurized for its loss and, where asked, for predictions."""

    name: str
    pieces: features.Pieces
    queries: features.Pieces | None


def read_split(
    run: builder.Run, name: str, *, predict: bool, limit: int | None = None
) -> Split:
    """Return a split of the run's task as rows; `limit` None = eval.limit of them."""
    if limit is None:  # a mixture limits each of its tasks itself
        limit = 0 if run.parts else run.config.eval.limit
    options = dataclasses.replace(run.data, limit=limit or run.data.limit)
    records = taskdata.records_of(run.task, name, options)

    def rows(query):
        return features.Pieces(
            records,
            run.task.example,
            run.objective,
            run.tokenizer,
            on_long=run.config.data.on_long,
            query=query,
        )

    pieces = rows(False)
    if not len(pieces):
        raise ValueError(
            f"the {name} split gives no row with a target, nothing can be evaluated: "
            f"{pieces.summary(name)}"
        )
    return Split(name, pieces, rows(True) if predict else None)


class Evaluator:
    """The compiled evaluation and prediction steps of one run."""

    def __init__(self, run: builder.Run, mesh, should_stop=lambda: False):
        self.run, self.mesh, self.should_stop = run, mesh, should_stop
        self.cut = self.texts = 0  # of the last predictions: ended by max_tokens; all
        recipe = step.Recipe(run.model.apply, run.objective.loss, None, None)
        self._sums = jax.jit(functools.partial(step.eval_step, recipe))
        self._writes = run.objective.writes
        self._predict = jax.jit(
            functools.partial(
                run.objective.predict, decoding.model_of(run, writes=self._writes)
            )
        )

    def _shape(self, pieces) -> pack.Shape:
        c = self.run.config
        gathered = (
            int(pieces.weighted.max(initial=1)) if self.run.objective.gather else 0
        )
        source = builder.buckets_of(c, c.data.source_length)
        longest = int(max(pieces.tokens.max(initial=1), c.data.length))
        return pack.Shape(
            buckets=builder.buckets_of(c, longest),
            source_buckets=source if pieces.sources.any() else (),
            gathered=gathered,
        )

    def _batches(self, pieces: features.Pieces, only=None):
        host = parallel.Rows(self.mesh)
        ways = parallel.ways(self.mesh)
        rows = -(-self.run.config.eval.batch_size // ways) * ways
        sharding = parallel.batch_sharding(self.mesh)
        shape = self._shape(pieces)
        for batch in pipeline.eval_batches(pieces, rows, shape, host, only):
            if self.should_stop():
                raise Stopped
            yield batch, parallel.put(batch, sharding)

    def totals(self, params: Params, pieces: features.Pieces, only=None) -> dict:
        """Return {name: (sum, weight)} over rows, all or int[n], added up in float64."""
        totals: dict = collections.defaultdict(lambda: np.zeros(2))
        with jax.set_mesh(self.mesh), parallel.rules():
            for _, batch in self._batches(pieces, only):
                for name, pair in jax.device_get(self._sums(params, batch)).items():
                    totals[name] += np.asarray(pair, np.float64)
        return {name: tuple(map(float, pair)) for name, pair in totals.items()}

    def each(self, params: Params, pieces: features.Pieces) -> dict[str, np.ndarray]:
        """Return {name: float64[n, 2]}, the sum and weight of each of n examples; {}
        where the loss compares the examples of a batch with each other.
        """
        if self.run.objective.whole_batch:
            return {}
        found = collections.defaultdict(lambda: np.zeros((len(pieces.examples), 2)))
        recipe = step.Recipe(self.run.model.apply, self.run.objective.loss, None, None)
        rows = jax.jit(functools.partial(step.eval_rows, recipe))
        with jax.set_mesh(self.mesh):
            for _, batch in self._batches(pieces):
                keys = _to_host({k: batch[k] for k in ("valid", "example")})
                there = keys["valid"] > 0
                for name, pair in _to_host(rows(params, batch)).items():
                    values = np.stack(pair, axis=1).astype(np.float64)[there]
                    np.add.at(found[name], keys["example"][there], values)
        return dict(found)

    def predictions(self, params: Params, queries: features.Pieces, rng) -> list:
        """Return one prediction per example, in order; None where there is no text."""
        params = decoding.params_of(self.run, params, writes=self._writes)
        tables = self.run.tables
        outputs: dict[int, dict[int, dict]] = collections.defaultdict(dict)
        self.cut = self.texts = 0
        with jax.set_mesh(self.mesh), parallel.rules():
            for host_batch, batch in self._batches(queries):
                rows = _to_host(self._predict(params, batch, rng, tables))
                host_batch = _to_host(
                    {k: batch[k] for k in ("valid", "example", "piece")}
                )
                if "written" in rows:
                    self._count(rows["written"][host_batch["valid"] > 0])
                for i in np.flatnonzero(host_batch["valid"]):
                    example, piece = host_batch["example"][i], host_batch["piece"][i]
                    row = {name: array[i] for name, array in rows.items()}
                    outputs[int(example)][int(piece)] = row
        return [
            self._answer(outputs[i], example) if i in outputs else None
            for i, example in enumerate(queries.examples)
        ]

    def _count(self, written: np.ndarray) -> None:
        """Count the texts int[B, W, N] of rows, and those that no stop id ended."""
        ended = np.isin(written[..., -1], (-1, *self.run.decode.stop_ids))
        self.texts += ended.size
        self.cut += int(np.sum(~ended))

    def remark(self) -> str:
        """Return how many of the texts last written were cut; "" where none was."""
        most = self.run.decode.max_tokens
        if not self.cut:
            return ""
        return f"{self.cut} of {self.texts} texts end at decode.max_tokens={most}"

    def _answer(self, pieces: dict, example) -> dict:
        rows = [pieces[k] for k in sorted(pieces)]
        return self.run.objective.answer(rows, example, self.run.tokenizer)

    def parsed(self, prediction: dict | None, example) -> dict:
        """Return a prediction as the task's metrics read it."""
        found = self._parsed(prediction, example)
        finish = self.run.task.finish
        return found if finish is None else finish(found, example)

    def _parsed(self, prediction: dict | None, example) -> dict:
        task = self.run.task
        if prediction is None:
            return {"label": None, "text": ""}
        if prediction.keys() == {"text"}:
            return task.parse(prediction["text"], example, task.labels)
        if "texts" in prediction:
            return self._voted(prediction, example)
        return prediction

    def _voted(self, prediction: dict, example) -> dict:
        """Return the parsed text of several, and all of them; a vote counts what the
        task reads in them, such as the number that ends a solution, and is told.
        """
        task, texts = self.run.task, prediction["texts"]

        def parse(text):
            return task.parse(text, example, task.labels)

        def answer(text):
            parsed = parse(text)
            said = [v for k, v in sorted(parsed.items()) if k != "text"]
            if said and all(v is None or v in ("", [], ()) for v in said):
                return None  # read, and nothing found
            return ", ".join(map(str, said)) if said else text.strip() or None

        if self.run.decode.choose != "vote":
            return parse(prediction["text"]) | {"texts": texts}
        chosen = texts[choose.vote(texts, answer, prediction["scores"])]
        votes = collections.Counter(filter(None, map(answer, texts)))
        return parse(chosen) | {"texts": texts, "votes": dict(votes.most_common())}

    def score(self, params: Params, split: Split, rng) -> tuple[dict, list]:
        """Return ({metric: value}, predictions) of a split."""
        parts = self._parts(split.pieces)
        totals = {
            name: self.totals(params, split.pieces, rows)
            for name, rows in parts.items()
        }
        if split.queries is None or not self.run.task.metrics:
            return self._report(totals, split, None), []
        said = self.predictions(params, split.queries, rng)
        examples = split.queries.examples
        parsed = [self.parsed(p, e) for p, e in zip(said, examples, strict=True)]
        return self._report(totals, split, parsed), parsed

    def names(self, params: Params, split: Split) -> list[str]:
        """Return the metrics that `score` measures, without running the model."""
        with jax.set_mesh(self.mesh), parallel.rules():
            _, batch = next(self._batches(split.pieces))
            sums = dict.fromkeys(jax.eval_shape(self._sums, params, batch), (0.0, 1))
        totals = dict.fromkeys(self._parts(split.pieces), sums)
        parsed = None
        if split.queries is not None and self.run.task.metrics:
            form = self.run.objective.form
            parsed = [self.parsed(None, e) | form(e) for e in split.queries.examples]
        return sorted(self._report(totals, split, parsed))

    def _parts(self, pieces: features.Pieces) -> dict[str, np.ndarray | None]:
        """Return {task of a mixture: its rows}; {"": None} = all are of one task."""
        if not self.run.parts:
            return {"": None}
        of = _part_of_examples(pieces)[[piece.example for piece in pieces]]
        return {
            self.run.parts[number].name: np.flatnonzero(of == number)
            for number in np.unique(of)
        }

    def _measured(self, totals: dict[str, dict], pieces: features.Pieces) -> dict:
        """Return the metrics of the sums: of all, and of each task as TASK/METRIC."""
        whole = {
            name: tuple(
                np.sum([sums[name] for sums in totals.values()], axis=0).tolist()
            )
            for name in next(iter(totals.values()))
        }
        out = _means(whole) | self.run.objective.report(whole, pieces.examples)
        if not self.run.parts:
            return out
        of = _part_of_examples(pieces)
        for number, part in enumerate(self.run.parts):
            if part.name in totals:
                sums = totals[part.name]
                own = [pieces.examples[i] for i in np.flatnonzero(of == number)]
                found = _means(sums) | self.run.objective.report(sums, own)
                out |= {f"{part.name}/{name}": value for name, value in found.items()}
        return out

    def _report(self, totals: dict, split: Split, parsed: list | None) -> dict:
        metrics = self._measured(totals, split.pieces)
        if parsed is None:
            return metrics
        examples = split.queries.examples
        # Token accuracy keeps its name; the task's metrics may be named the same.
        for name in [n for n in metrics if n.split("/")[-1] == "accuracy"]:
            metrics[f"{name.removesuffix('accuracy')}token_accuracy"] = metrics.pop(
                name
            )
        known = [i for i, e in enumerate(examples) if inputs.has_gold(e)]
        for metric in self.run.task.metrics if known else ():
            metrics |= metric([parsed[i] for i in known], [examples[i] for i in known])
        return metrics


def _part_of_examples(pieces: features.Pieces) -> np.ndarray:
    """Return int[n], the task of a mixture that each example is of."""
    records = pieces.records
    return np.asarray([records[i]["part"] for i in range(len(records))])


def _means(totals: dict) -> dict[str, float]:
    return {name: s / max(w, 1) for name, (s, w) in totals.items()}


def _to_host(arrays: dict) -> dict[str, typing.Any]:
    """Return whole arrays as numpy, gathered from all processes."""
    if jax.process_count() == 1:
        return jax.device_get(arrays)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(arrays, tiled=True)
