"""A run trained on NLI at work: it classifies by any labels, and verifies answers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmtasks import api
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import sentences
from lmtasks.metrics import entailment
from lmtasks.objectives import base
from lmtasks.training import evaluate as evaluating
from lmtasks.training import writing

TEMPLATE = "This example is {}."


def classify(
    loaded: api.Loaded,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    template: str = TEMPLATE,
    multi_label: bool = False,
) -> list[dict | None]:
    """Return {"label", "score", "scores"} of each text, None of an empty one.

    Each label makes a hypothesis of the template. The scores are the softmax over the
    labels of the logits of entailment; with multi_label each is the probability of
    entailment against contradiction (Yin et al., 2019, arXiv:1909.00161). A decoder has
    the log-likelihoods of its label words for logits.

    Args:
        loaded: a run that classifies pairs, with a label that begins with "entail".
        texts, labels: what is asked; one label alone is as with multi_label.
        template: with one {}, the place of the label.
        multi_label: several labels may hold.

    Raises:
        ValueError: no or empty labels, a template without {}, or a run without them.
    """
    labels = tuple(labels)
    _check(labels, template)
    names = loaded.run.task.labels
    entails = entailing(names)
    against = contradicting(names) if multi_label or len(labels) == 1 else None
    hypotheses = [template.format(label) for label in labels]
    rows = logits(loaded, list(itertools.product(texts, hypotheses)))
    out = []
    for at in range(0, len(rows), len(labels)):
        part = rows[at : at + len(labels)]
        if any(row is None for row in part):
            out.append(None)
            continue
        found = np.stack(part)
        scores = found[:, entails]
        if against is None:
            scores = special.softmax(scores)
        else:
            scores = special.softmax(found[:, [against, entails]], axis=-1)[:, 1]
        said = dict(zip(labels, map(float, scores), strict=True))
        best = labels[int(np.argmax(scores))]
        out.append({"label": best, "score": said[best], "scores": said})
    return out


def _check(labels: tuple[str, ...], template: str) -> None:
    if not labels or not all(label.strip() for label in labels):
        raise ValueError(
            f"labels={labels!r}: give at least one label, none of them empty"
        )
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels={', '.join(labels)}: a label is given twice")
    if template.count("{}") != 1 or "{" in template.replace("{}", ""):
        raise ValueError(
            f"template={template!r} has to have one {{}}, the place of the label"
        )


def entailing(names: Sequence[str]) -> int:
    """Return the index of the label that begins with "entail", in any case."""
    found = [i for i, name in enumerate(names) if name.casefold().startswith("entail")]
    if len(found) != 1:
        raise ValueError(
            f"the run's labels are {', '.join(names) or 'none'}; one, and only one, has "
            'to begin with "entail": use a run trained on NLI (mnli, snli, sick, rte)'
        )
    return found[0]


def contradicting(names: Sequence[str]) -> int:
    """Return the index of the label that begins with "contradict"; of two labels the
    one that does not entail.
    """
    found = [i for i, n in enumerate(names) if n.casefold().startswith("contradict")]
    if not found and len(names) == 2:
        return 1 - entailing(names)
    if len(found) != 1:
        raise ValueError(
            f"the run's labels are {', '.join(names)}; several labels a text (or a "
            'single one) need one that begins with "contradict"'
        )
    return found[0]


def logits(
    loaded: api.Loaded, pairs: Sequence[tuple[str, str]]
) -> list[np.ndarray | None]:
    """Return float64[C] of each (premise, hypothesis), None without a premise: the
    logits of the run's head, or the log-likelihoods of its label words.

    Raises:
        ValueError: the run does not give one class to a pair.
    """
    run = loaded.run
    kind = getattr(getattr(run.objective, "options", None), "kind", "")
    if run.config.objective != "classify" or kind in ("multi", "regression"):
        raise ValueError(
            f"task={run.config.task!r} with objective={run.config.objective!r} gives no "
            "class to a pair of texts; use a run trained on NLI (mnli, snli, sick, rte)"
        )
    given = [examples.Labelled(premise, None, after) for premise, after in pairs]
    queries = features.Pieces(
        writing.Given(given),
        lambda example: example,
        run.objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
        query=True,
    )
    asked = dataclasses.replace(run, objective=_Logits(run.objective))
    evaluator = evaluating.Evaluator(asked, loaded.mesh)
    return evaluator.predictions(loaded.params, queries, jax.random.key(0))


@dataclasses.dataclass(frozen=True)
class _Logits(base.Objective):
    """Says the numbers a classification is made of instead of the class."""

    objective: typing.Any

    @property
    def loss(self):
        return self.objective.loss

    def predict(self, model, params, batch, rng=None, tables=None):
        if self.objective.head == "lm":
            return self.objective.predict(model, params, batch, rng, tables)
        at = jnp.zeros((batch["tokens"].shape[0], 1), jnp.int32)
        return {"log_probs": model.apply(params, {**batch, "at": at})[:, 0]}

    def answer(self, outputs, example, tokenizer):
        return np.asarray(outputs[0]["log_probs"], np.float64)


def verify(
    loaded: api.Loaded, pairs: Sequence[tuple[str, str]], *, window: int = 3
) -> list[dict | None]:
    """Return how well each sentence of an answer is supported by its source.

    A sentence is held against every window of sentences of the source; its support is
    the largest probability of entailment.

    Args:
        loaded: a run that classifies pairs, with a label that begins with "entail".
        pairs: (source, answer).
        window: sentences of the source read together.

    Returns:
        For each pair {"sentences": [{"text", "support", "label", "window"}], "support":
        the least of its sentences, "mean_support"}: label is the likeliest relation to
        the window that supports most, which is given too. None without text.
    """
    names = loaded.run.task.labels
    entails = entailing(names)
    asked, sizes = [], []
    for source, answer in pairs:
        parts = sentences.windows(source, window), sentences.split(answer)
        sizes.append(tuple(map(len, parts)))
        asked += [(a, b) for b in parts[1] for a in parts[0]]
    rows = iter(zip(asked, logits(loaded, asked) if asked else (), strict=True))
    out = []
    for across, count in sizes:
        found = [
            _best(list(itertools.islice(rows, across)), names, entails)
            for _ in range(count if across else 0)
        ]
        out.append(_summary(found) if found else None)
    return out


def _best(rows, names, entails: int) -> dict:
    """Return what the window that supports a sentence most says of it."""
    shares = special.softmax(np.stack([found for _, found in rows]), axis=-1)
    at = int(np.argmax(shares[:, entails]))
    (window, text), _ = rows[at]
    return {
        "text": text,
        "support": float(shares[at, entails]),
        "label": names[int(np.argmax(shares[at]))],
        "window": window,
    }


def _summary(found: list[dict]) -> dict:
    each = [row["support"] for row in found]
    mean = sum(each) / len(each)
    return {"sentences": found, "support": min(each), "mean_support": mean}


def metric(loaded: api.Loaded, *, window: int = 3):
    """Return the metric "entailment_support" by a run, see metrics.entailment.

    Raises:
        ValueError: the run has no label that begins with "entail".
    """
    entailing(loaded.run.task.labels)
    by = functools.partial(verify, loaded, window=window)
    return functools.partial(entailment.support, verify=by)
