"""LoRA adapters in PEFT's names: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import math
import pathlib

import numpy as np
from ml_collections import ConfigDict
from safetensors import numpy as safetensors

from lmtasks.data import directory
from lmtasks.hf import names
from lmtasks.hf import writing
from lmtasks.training import adapters
from lmtasks.training import checkpoint
from lmtasks.training import exports
from lmtasks.training import files
from lmtasks.training import parallel
from lmtasks.training import workdir

_PREFIX = "base_model.model."
_TASKS = {"lm": "CAUSAL_LM", "classify": "SEQ_CLS", "tag": "TOKEN_CLS", "span": "QUESTION_ANS"}  # fmt: skip


def export(
    folder: str, to: pathlib.Path, *, step: int | None, config: ConfigDict
) -> None:
    """Write the adapters of a LoRA run, and what was trained in full beside them.

    Raises:
        ValueError: the run has no adapters, or adapts a weight that a checkpoint keeps
            joined with others.
    """
    run = workdir.load_run(folder, config)
    if not run.lora.rank:
        raise ValueError(
            f"{folder} has no adapters (lora.rank=0); leave --adapters out"
        )
    if run.lora.also:
        raise ValueError(
            f"lora.also={run.lora.also!r} was trained in full and is no adapter; export "
            "the merged model without --adapters"
        )
    mesh = parallel.make_mesh(run.parallel)
    like = workdir.like_params(run.model, mesh, run.lora)
    path = pathlib.Path(folder) / "checkpoints"
    verify = run.config.checkpoint.verify
    params, _, _ = checkpoint.restore_params(path, like, step, verify=verify)
    plan = exports.plan(run, folder, exports.Options())
    found = tensors(plan, adapters.adapters_of(params))
    with directory.new_directory(to) as partial:
        safetensors.save_file(found, partial / "adapter_model.safetensors")
        files.write_json(partial / "adapter_config.json", _config(run, plan, found))


def tensors(plan: writing.Export, found: adapters.Adapters) -> dict[str, np.ndarray]:
    """Return {PEFT's name: array}: A as [R, in] and B as [out, R].

    Raises:
        ValueError: an adapted weight is stored joined with others.
    """
    rows = {path: row for row in _rows(plan) for path in row.ours}
    out = {}
    for path, (a, b) in found.items():
        row = rows[path]
        if len(row.ours) > 1:
            raise ValueError(
                f"a {plan.kind} checkpoint stores {path} joined with "
                f"{', '.join(p for p in row.ours if p != path)}: its adapter has no name "
                "there; export the merged model without --adapters"
            )
        module = _PREFIX + row.theirs.removesuffix(".weight")
        one, two = "lora_A", "lora_B"
        pair = np.asarray(a).T, np.asarray(b).T
        if path == "embed/tokens":
            one, two = "lora_embedding_A", "lora_embedding_B"
            out |= {f"{module}.{one}": pair[0], f"{module}.{two}": pair[1]}
            continue
        out |= {f"{module}.{one}.weight": pair[0], f"{module}.{two}.weight": pair[1]}
    return {name: np.ascontiguousarray(x, np.float32) for name, x in out.items()}


def _rows(plan: writing.Export):
    parameters = names.parameters_of(plan.model)
    return names.tensors_of(plan.family, plan.kind, plan.model, parameters)


def _config(run, plan: writing.Export, found) -> dict:
    modules = {name.removeprefix(_PREFIX).split(".lora_")[0] for name in found}
    alpha = run.lora.alpha
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM"
        if run.model.architecture == "encoder_decoder"
        else _TASKS.get(run.model.head),
        "r": run.lora.rank,
        "lora_alpha": int(alpha) if math.floor(alpha) == alpha else alpha,
        "lora_dropout": run.lora.dropout,
        "use_rslora": run.lora.rs,
        "target_modules": sorted(modules),
        "bias": "none",
        "fan_in_fan_out": plan.kind == "gpt2",
        "inference_mode": True,
        "base_model_name_or_path": None,
    }
