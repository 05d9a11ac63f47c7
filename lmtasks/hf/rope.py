"""Rotary positions and windows in config.json, as old and new files write them."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.hf import keys
from lmtasks.hf import settings
from lmtasks.models.config import TransformerConfig

_KINDS = {"default": "", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}
_NAMES = {"full": "full_attention", "sliding": "sliding_attention"}


def positions(s: settings.Settings, base: float = 10000.0) -> dict[str, typing.Any]:
    """Return our rotary fields; one set of parameters for all layers.

    New files have "rope_parameters", old ones "rope_theta" and "rope_scaling".
    """
    new = s.take("rope_parameters", {})
    old = {
        "rope_theta": s.take("rope_theta", base),
        "partial_rotary_factor": s.take("partial_rotary_factor", None),
        **(s.take("rope_scaling", None) or {}),
    }
    return {"positions.kind": "rotary"} | _fields(s, {**old, **new})


def _fields(s: settings.Settings, values: Mapping) -> dict[str, typing.Any]:
    """Return the fields of one set of parameters."""
    for key, value in values.items():
        keys.check(s.where, key, value)
    kind = values.get("rope_type") or values.get("type") or "default"
    if kind not in tuple(_KINDS):
        s.refuse("rope_type", kind, _KINDS)
    found = {
        "positions.base": (float(values["rope_theta"]),),
        "positions.fraction": float(values.get("partial_rotary_factor") or 1.0),
        "positions.scaling": _KINDS[kind],
    }
    if kind == "default":
        return found
    if values.get("factor") is None:
        raise ValueError(f"{s.where}: rope_type={kind!r} needs a 'factor' beside it")
    found["positions.factor"] = float(values["factor"])
    if kind == "linear":
        return found
    low, high = _ENDS[kind]
    for key in ("attention_factor", "mscale", "mscale_all_dim"):
        if kind == "yarn" and values.get(key) is not None:
            s.refuse(key, values[key], (None,))
    if values.get("truncate") is False:
        s.refuse("truncate", False, (True,))
    original = values.get("original_max_position_embeddings")
    return found | {
        "positions.low": float(values.get(low) or 1),
        "positions.high": float(values.get(high) or (32 if kind == "yarn" else 4)),
        "positions.original": int(original or s.take("max_position_embeddings")),
    }


_ENDS = {
    "llama3": ("low_freq_factor", "high_freq_factor"),
    "yarn": ("beta_slow", "beta_fast"),
}


def parameters(cfg: TransformerConfig, base: float | None = None) -> dict:
    """Return "rope_parameters" of all layers, or of those with that base."""
    p = cfg.positions
    own = p.base[0] if base is None else base
    scaled = p.scaled[p.base.index(own) % len(p.scaled)]
    kind = p.scaling if scaled else ""
    found = {"rope_theta": own, "rope_type": kind or "default"}
    if p.fraction != 1:
        found["partial_rotary_factor"] = p.fraction
    if kind:
        found["factor"] = p.factor
    if kind in _ENDS:
        low, high = _ENDS[kind]
        found |= {low: p.low, high: p.high}
        found["original_max_position_embeddings"] = p.original
    return found


def layer_types(s: settings.Settings, layers: int, usual: Sequence[str]) -> list[str]:
    """Return "full" or "sliding" of each layer: what the file says, else `usual`."""
    named = s.take("layer_types", None)
    if named is None:
        return list(usual)
    ours = {theirs: kind for kind, theirs in _NAMES.items()}
    if len(named) != layers:
        raise ValueError(
            f"{s.where}: layer_types has {len(named)} entries for {layers} layers"
        )
    for name in named:
        if name not in ours:
            s.refuse("layer_types", name, ours)
    return [ours[name] for name in named]


def window(
    s: settings.Settings, layers: int, size: int | None, usual: Sequence[str]
) -> dict[str, typing.Any]:
    """Return our window field for layers that slide over `size` positions."""
    types = layer_types(s, layers, usual)
    if "sliding" in types and not size:
        raise ValueError(f"{s.where}: sliding layers need sliding_window")
    found = cycle(size if t == "sliding" else 0 for t in types)
    return {"attention.window": found if any(found) else ()}


def by_type(
    s: settings.Settings, types: Sequence[str], bases: Mapping[str, float]
) -> dict[str, typing.Any]:
    """Return our rotary fields where full and sliding layers have their own.

    Old files say rope_theta and rope_local_base_freq (Gemma 3) or global_rope_theta
    and local_rope_theta (ModernBERT), and scale the full layers alone.
    """
    old_full = s.take("rope_theta", s.take("global_rope_theta", bases["full"]))
    local = s.take("local_rope_theta", bases["sliding"])
    old_near = s.take("rope_local_base_freq", local)
    new = s.take("rope_parameters", {})
    scaling = s.take("rope_scaling", None) or {}
    full = {"rope_theta": old_full, **scaling, **(new.get(_NAMES["full"]) or {})}
    near = {"rope_theta": old_near, **(new.get(_NAMES["sliding"]) or {})}
    if (near.get("rope_type") or "default") != "default":
        s.refuse("rope_type of sliding layers", near["rope_type"], ("default",))
    found = {"positions.kind": "rotary"} | _fields(s, full)
    pair = {"full": float(full["rope_theta"]), "sliding": float(near["rope_theta"])}
    found["positions.base"] = cycle(pair[t] for t in types)
    if found["positions.scaling"]:
        found["positions.scaled"] = cycle(t == "full" for t in types)
    return found


def parameters_by_type(cfg: TransformerConfig, windows: Sequence[int]) -> dict:
    """Return "rope_parameters" of full and of sliding layers."""
    bases = settings.spread(cfg.positions.base, cfg.layers)
    pairs = zip(windows, bases, strict=True)
    found = {_NAMES["sliding" if w else "full"]: base for w, base in pairs}
    return {name: parameters(cfg, base) for name, base in found.items()}


def type_names(windows: Sequence[int]) -> list[str]:
    """Return "layer_types" of the windows of all layers."""
    return [_NAMES["sliding" if w else "full"] for w in windows]


def cycle(values: Iterable) -> tuple:
    """Return the shortest pattern that, repeated, gives the values.

    Example: 0 65 65 0 65 -> (0, 65, 65).
    """
    values = tuple(values)
    for n in range(1, len(values) + 1):
        if all(v == values[i % n] for i, v in enumerate(values)):
            return values[:n]
    return values
