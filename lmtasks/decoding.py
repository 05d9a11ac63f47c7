"""The decode section of a config: the task's defaults, the plan, and its tables."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lmtasks import schema
from lmtasks import tokenizers
from lmtasks.data import examples as kinds
from lmtasks.data import templates
from lmtasks.decode import automaton
from lmtasks.decode import constraints
from lmtasks.decode import plan
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.objectives import classify
from lmtasks.objectives import generate
from lmtasks.tasks import base as task_base
from lmtasks.training import lora as loras

# What words mean, beside the plan's numbers, where neither config nor task say.
_WORDS = {"forbid": (), "prefix": "", "choices": (), "regex": "", "json_schema": ""}
WEIGHTS = ("", "float32", "bfloat16", "int8")


def resolve(config: ConfigDict, task: task_base.Task) -> None:
    """Fill in what config.decode leaves open: the task's default, else the plan's."""
    fields = {f.name: f.default for f in dataclasses.fields(plan.Decode)}
    known = schema.keys_of(config.decode)
    for key in task.decode:
        if key not in known:
            raise ValueError(schema.unknown(f"task {config.task}: decode", key, known))
    for key, value in known.items():
        if value is None:
            config.decode[key] = task.decode.get(key, (_WORDS | fields)[key])


def plan_of(config: ConfigDict) -> plan.Decode:
    """Return the checked plan of a resolved config, without stop ids.

    Raises:
        ValueError: a value that no plan can have, or two that exclude another.
    """
    d = config.decode
    names = {f.name for f in dataclasses.fields(plan.Decode)} & set(d.keys())
    values = {k: tuple(d[k]) if isinstance(d[k], list) else d[k] for k in names}
    for key in ("weights", "cache"):
        if d[key] not in WEIGHTS:
            raise ValueError(schema.unknown(f"decode.{key}", d[key], WEIGHTS))
    given = [key for key in ("choices", "regex", "json_schema") if d[key]]
    if len(given) > 1:
        raise ValueError(
            f"decode.{given[0]} and decode.{given[1]} exclude another: both say what a "
            "whole text is"
        )
    if (d.method == "draft") != bool(d.draft):
        raise ValueError(
            f"decode.method={d.method!r} and decode.draft={d.draft!r}: set both (method "
            "draft, and the work directory of the model that drafts) or neither"
        )
    for key in ("stop", "forbid", "choices"):
        if not all(isinstance(x, str) and x for x in d[key]):
            raise ValueError(
                f"decode.{key}={tuple(d[key])!r} takes texts of one character or more"
            )
    return plan.Decode(**values)


def check_size(decode: plan.Decode, vocab: int) -> None:
    """Raise ValueError for counts that the vocabulary cannot give."""
    if decode.method == "beam" and decode.beams > vocab:
        raise ValueError(
            f"decode.beams={decode.beams} is above the vocabulary's {vocab} tokens; "
            "lower it"
        )
    if decode.method == "contrastive" and decode.top_k > vocab:
        raise ValueError(
            f"decode.top_k={decode.top_k} is above the vocabulary's {vocab} tokens; "
            "lower it"
        )


def schema_of(given: str) -> str:
    """Return a JSON schema given as its text, or as the file that holds it."""
    if given.lstrip()[:1] in ("{", "["):
        return given
    try:
        return pathlib.Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ValueError(
            f"decode.json_schema={given!r} is neither a JSON object nor a file with one"
        ) from None


def tables_of(
    config: ConfigDict,
    task: task_base.Task,
    decode: plan.Decode,
    objective,
    tokenizer: tokenizers.Tokenizer,
    model: models.Model,
) -> constraints.Tables:
    """Return the automata and bans of a run that writes text; see constraints.Tables.

    A labelled task solved by generation may only write its labels.

    Raises:
        ValueError: a constraint that admits nothing.
    """
    d, vocab, stop_ids = config.decode, model.cfg.vocab, decode.stop_ids
    setting = objective.setting
    found = []
    pieces = None
    if d.stop or d.forbid or d.regex or d.json_schema:
        pieces = automaton.pieces_of(tokenizer, vocab)
    if d.stop:
        found.append(automaton.stops(tuple(d.stop), pieces))
    if d.forbid:
        found.append(automaton.without(tuple(d.forbid), pieces))
    if d.regex:
        found.append(automaton.regex(d.regex, pieces, stop_ids, spaced=True))
    if d.json_schema:
        text = schema_of(d.json_schema)
        found.append(automaton.json_schema(text, pieces, stop_ids, spaced=True))
    choices = tuple(d.choices)
    if not choices and task.kind is kinds.Labelled and not (d.regex or d.json_schema):
        choices = task.labels if isinstance(objective, generate.Generate) else ()
    if choices:
        labels = dataclasses.replace(setting, labels=choices)
        ids = classify.choice_ids(labels, tokenizer)
        found.append(automaton.trie(ids, vocab, stop_ids))
    return constraints.Tables(
        automata=tuple(found),
        forced=_prefix(d.prefix, setting, tokenizer),
        forbidden=_no_text(tokenizer, vocab),
    )


def _prefix(text: str, setting, tokenizer):
    if not text:
        return None
    ids = generate.reply_ids(text, setting, tokenizer)
    if not ids:
        raise ValueError(f"decode.prefix={text!r} has no tokens; leave it empty")
    return jnp.asarray(ids, jnp.int32)


def _no_text(tokenizer, vocab: int):
    """Return bool[V] of the ids beyond the tokenizer's, or None where there are none."""
    if vocab <= tokenizer.size:
        return None
    return jnp.arange(vocab) >= tokenizer.size


def stop_ids(config: ConfigDict, tokenizer: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Return the ids that end a text: end-of-sequence, and the template's marker."""
    template = templates.template_of(config.prompt.template)
    found = {tokenizer.eos_id, template.stop_id(tokenizer)} - {None}
    return tuple(sorted(found))


def model_of(run, *, writes: bool) -> models.Model:
    """Return the run's model over per-layer parameters; where it writes text, in the
    dtypes of config.decode.
    """
    d = run.config.decode
    if not writes:
        return run.model.for_decoding()
    return run.model.for_decoding(weights=d.weights, cache=d.cache)


def params_of(run, params, *, writes: bool):
    """Return the parameters that `model_of` reads, adapters merged."""
    params = loras.merge(params)
    cfg, weights = run.model.cfg, run.config.decode.weights
    if cfg.scan_layers:
        params = layout.unstack_layers(params)
    # Where many devices hold parts of the weights they keep the layout of training, as
    # do weights that each product casts.
    if not weights and (jax.device_count() > 1 or cfg.dtype != "float32"):
        return params
    if not writes:
        return params
    axes = models.logical_axes(run.model.for_decoding())
    return layout.for_decoding(params, axes, weights or "float32")
