"""A trained run as a checkpoint directory, or its adapters alone."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np

from lmtasks import builder
from lmtasks import presets
from lmtasks import pretrained
from lmtasks.data import directory
from lmtasks.hf import reading
from lmtasks.hf import writing
from lmtasks.models import layout
from lmtasks.tokenizers import publish
from lmtasks.tokenizers import published
from lmtasks.training import files
from lmtasks.training import imports
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import workdir
from lmtasks.types import Params

# What transformers calls classify.kind; a single label is what it assumes.
PROBLEMS = {"multi": "multi_label_classification", "regression": "regression"}


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is exported.

    Attributes:
        dtype: of the numbers; "" = as they were imported, else float32.
        kind: model_type to write; "" = as imported, else that of the preset.
        shard: largest file of weights in bytes.
    """

    dtype: str = ""
    kind: str = ""
    shard: int = 5 * 10**9


def plan(run: builder.Run, folder: str, options: Options) -> writing.Export:
    """Return what is written for the run of a work directory.

    Raises:
        ValueError: an unknown type or dtype, a soft prompt, or a model type that
            cannot hold the model.
    """
    if run.config.soft.kind:
        raise ValueError(
            f"soft.kind={run.config.soft.kind!r}: a checkpoint directory has no place "
            "for trained vectors before the text; keep the work directory"
        )
    if run.config.objective == "rtd":
        raise ValueError(
            "objective='rtd' judges every token, which no class of transformers with "
            "this head does; tune the run on a task (init) and export that"
        )
    origin = pathlib.Path(folder) / imports.ORIGIN
    base, about = _json(origin / "config.json"), _json(origin / "import.json")
    dtype = _known_dtype(options.dtype or about.get("dtype", "float32"))
    kind = options.kind or base.get("model_type") or _usual_kind(run)
    known = reading.families_by_type()
    if kind not in known:
        raise ValueError(f"--as={kind!r} is not one of {', '.join(sorted(known))}")
    family = reading.family_of(known[kind])
    if family.architecture != run.model.architecture:
        raise ValueError(
            f"--as={kind}: that is of architecture {family.architecture!r}, the run of "
            f"{run.model.architecture!r}"
        )
    found = writing.Export(
        family=family,
        kind=kind,
        model=run.model.for_decoding(),
        labels=run.task.labels if run.model.head in ("classify", "tag") else (),
        problem=PROBLEMS.get(run.config.classify.kind, ""),
        dtype=dtype,
        base=base if base.get("model_type") == kind else {},
        shard=options.shard,
    )
    return dataclasses.replace(
        found,
        base=_token_ids(run) | dict(found.base) if found.base else _token_ids(run),
    )


def _usual_kind(run: builder.Run) -> str:
    """Return the model type of the run's preset: the first that can hold its shape."""
    name = run.config.model.preset or presets.DEFAULT_PRESETS[run.config.architecture]
    family = reading.family_of(name.split("/")[0])
    for kind in family.types:
        export = writing.Export(family, kind, run.model.for_decoding())
        try:
            writing.config_of(export)
        except ValueError:
            continue
        return kind
    return next(iter(family.types))


def _token_ids(run: builder.Run) -> dict:
    tok = run.tokenizer
    found = {"pad": tok.pad_id, "bos": tok.bos_id, "eos": tok.eos_id}
    return {f"{k}_token_id": v for k, v in found.items() if v is not None}


def _json(path: pathlib.Path) -> dict:
    return json.loads(path.read_text()) if path.is_file() else {}


def export(
    run: builder.Run,
    params: Params,
    *,
    folder: str,
    to: pathlib.Path,
    options: Options = Options(),
) -> list[str]:
    """Write a directory that transformers loads; return notes.

    Args:
        run, params: of the work directory, adapters merged.
        folder: the work directory.
        to: a new folder; it appears whole or not at all.
        options: how.
    """
    found = plan(run, folder, options)
    arrays = {k: np.asarray(x) for k, x in flat(params).items()}
    with directory.new_directory(to) as partial:
        writing.write_weights(partial, found, arrays)
        notes = _write_tokenizer(run, folder, partial)
        _write_card(run, folder, partial, found)
    return notes


def again(source: str, to: pathlib.Path, options: Options) -> None:
    """Write a checkpoint directory anew, tokenizer files included.

    Raises:
        ValueError: it cannot be read, or an unknown dtype.
    """
    found = reading.open_checkpoint(source)
    model = found.model()
    like = workdir.like_params(model, parallel.make_mesh(parallel.Parallel()))
    arrays, matched = reading.read_params(found, model, like)
    if matched.fresh:
        raise ValueError(
            f"{found.weights.where} lacks the head of its class: "
            f"{', '.join(matched.fresh)}"
        )
    family = reading.family_of(reading.families_by_type()[found.kind])
    plan = writing.Export(
        family=family,
        kind=found.kind,
        model=model,
        labels=found.labels,
        dtype=_known_dtype(options.dtype or found.dtype),
        base=found.values,
        shard=options.shard,
    )
    with directory.new_directory(to) as partial:
        hosted = {path: np.asarray(x) for path, x in arrays.items()}
        writing.write_weights(partial, plan, hosted)
        files = imports.small_files(found.folder)
        for file in files:
            shutil.copyfile(file, partial / file.name)
        if reading.llama2c_of(pathlib.Path(source)):
            publish.publish(pretrained.tokenizer_of(source), partial)


def _known_dtype(name: str) -> str:
    if name not in writing.DTYPES:
        raise ValueError(f"--dtype={name!r} is not one of {', '.join(writing.DTYPES)}")
    return name


def flat(params: Params) -> dict[str, jax.Array]:
    """Return {path: array} of plain parameters, one array per layer."""
    return masks.flat(layout.unstack_layers(params))


def _write_tokenizer(run: builder.Run, folder: str, to: pathlib.Path) -> list[str]:
    """Write the tokenizer's files: as they came where the tokenizer is unchanged."""
    origin = pathlib.Path(folder) / imports.ORIGIN
    if (origin / "generation_config.json").is_file():
        shutil.copyfile(
            origin / "generation_config.json", to / "generation_config.json"
        )
    files = published.published_files(origin) if origin.is_dir() else []
    usual = [file for file in files if file.suffix != ".bin"]
    if usual and pretrained.tokenizer_of(origin) == run.tokenizer:
        for file in usual:
            shutil.copyfile(file, to / file.name)
        return []
    return publish.publish(run.tokenizer, to)


def _write_card(run, folder: str, to: pathlib.Path, found: writing.Export) -> None:
    """Write README.md: what the model is, what it was trained on, how to load it."""
    c, cfg = run.config, run.model.cfg
    loader = writing.class_of(found.family, found.kind, run.model.head)
    rows = {
        "class": f"`{loader}`",
        "parameters": f"{writing.count(found):,}, {found.dtype}",
        "shape": f"{cfg.layers} layers, width {cfg.width}, {cfg.attention.heads} heads",
        "vocabulary": f"{cfg.vocab} rows, {run.tokenizer.size} pieces",
        "task": f"{c.task}, objective {c.objective}",
    }
    if found.labels:
        rows["classes"] = ", ".join(found.labels)
    metrics = _last_metrics(pathlib.Path(folder) / "metrics.jsonl")
    if metrics:
        where = f"scores ({metrics.pop('split')}, step {metrics.pop('step')})"
        rows[where] = ", ".join(f"{name} {x:.4g}" for name, x in metrics.items())
    lines = [
        "---",
        "library_name: transformers",
        "---",
        "",
        f"# {found.kind} for {c.task}",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        "Load it:",
        "",
        "```python",
        "import transformers",
        "",
        f'model = transformers.{loader}.from_pretrained(".")',
        "```",
        "",
        "Not stated here: data licences, intended use, known limits.",
        "",
    ]
    files.write_text(to / "README.md", "\n".join(lines))


def _last_metrics(path: pathlib.Path) -> dict:
    """Return the last row of an evaluation, or {}."""
    rows = (
        [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    )
    rows = [row for row in rows if row["split"] != "train"]
    last = rows[-1] if rows else {}
    named = ("split", "step")
    return {k: v for k, v in last.items() if k in named or isinstance(v, float)}
