"""An evaluation of a run, written down example by example."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import jax
import numpy as np

from lmtasks import api
from lmtasks.data import features
from lmtasks.metrics import forms
from lmtasks.metrics import generation
from lmtasks.metrics import inputs
from lmtasks.metrics import sums
from lmtasks.studies import scores
from lmtasks.tasks import base
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import files
from lmtasks.training import hosts
from lmtasks.training import samples
from lmtasks.training import yardsticks

# Of a text that is kept to be looked at, and of a field to group by.
_SHOWN = 400
_SHORT = 40


def record(
    folder: str,
    loaded: api.Loaded,
    split: str,
    metrics: Sequence[base.Metric] = (),
    note: Callable[[str], None] = lambda line: None,
) -> dict:
    """Score a split and write down what was found, for `compare` and `report` too.

    eval.jsonl gets a row, predictions-SPLIT.jsonl the answers, scores-SPLIT.jsonl what
    each example scores. Further metrics have no scores of examples; arguments as
    `api.evaluate`.

    Returns:
        {"step", "split", metric: value, ..., "signatures"}, the row.
    """
    evaluator, rows = api.evaluator_of(loaded, split, metrics)
    rng = jax.random.key(loaded.run.config.seed)
    found, said = evaluator.score(loaded.params, rows, rng)
    if evaluator.cut:
        note(evaluator.remark())
    row = {"step": loaded.step, "split": split, **found}
    names = [name for name in generation.SIGNED if name in found]
    if names:
        scored = [one for one in rows.queries.examples if inputs.has_gold(one)]
        signed = {name: generation.signature(name, scored) for name in names}
        row["signatures"] = signed
    counts = bool(loaded.run.config.eval.ngram)
    if counts and not feed.has_split(loaded.run, "train"):
        note("no training split is there to count: eval.ngram is left out")
        counts = False
    each = _of(loaded, evaluator, rows, said, counts)
    if beside := each.parts.get("ngram_perplexity"):
        totals = np.sum(beside.rows, axis=0)
        row["ngram_perplexity"] = float(forms.score(beside.form, totals))
    if hosts.is_chief():
        with open(pathlib.Path(folder) / "eval.jsonl", "a") as out:
            out.write(json.dumps(row) + "\n")
        scores.write(folder, each)
        if said:
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in said)
            answers = pathlib.Path(folder) / f"predictions-{split}.jsonl"
            files.write_text(answers, "".join(lines))
    return row


def _of(
    loaded, evaluator, rows: evaluate.Split, said: list, counts: bool
) -> scores.Scores:
    """Return the scores of the examples that have what they are compared with."""
    every = rows.queries.examples if said else rows.pieces.examples
    known = [i for i, one in enumerate(every) if not said or inputs.has_gold(one)]
    parts = {}
    if said:  # what a task is scored by comes before its loss
        answers, asked = [said[i] for i in known], [every[i] for i in known]
        parts = sums.of(loaded.run.task.metrics, answers, asked)
    each = evaluator.each(loaded.params, rows.pieces)
    for name, pairs in each.items():
        if said and name == "accuracy":  # as the evaluation names it
            name = "token_accuracy"
        parts.setdefault(name, forms.Sums("ratio", pairs[known].tolist()))
    if counts:
        nats = yardsticks.ngram_nats(loaded.run, rows.pieces)
        parts["ngram_perplexity"] = forms.Sums("perplexity", nats[known].tolist())
    if "perplexity" in loaded.run.objective.report({"loss": (0.0, 1.0)}, every):
        parts["perplexity"] = forms.Sums("perplexity", parts["loss"].rows)
    examples = [
        _example(rows.pieces.records[i], every[i], said[i] if said else None)
        for i in known
    ]
    return scores.Scores(
        loaded.run.config.task, rows.name, loaded.step, parts, examples
    )


def _groups(value) -> bool:
    """Return whether examples can be grouped by a value."""
    if isinstance(value, str):
        return 0 < len(value) <= _SHORT
    return isinstance(value, (bool, int, float)) and math.isfinite(value)


def _example(record: dict, example, said: dict | None) -> dict:
    text = samples.prompt_of(example)
    target = samples.target_of(example)
    fields = {key: value for key, value in record.items() if _groups(value)}
    if isinstance(target, str) and len(target) <= _SHORT:
        fields["label"] = target
    return {
        "id": features.fingerprint(sorted(record.items(), key=lambda pair: pair[0])),
        "text": text[-_SHOWN:],
        "target": target if target is None else str(target)[:_SHOWN],
        "said": samples.said_of(said)[:_SHOWN],
        "fields": fields | {"length": len(text.split())},
    }
