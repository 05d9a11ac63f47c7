"""What a study varies: named changes of one config, times seeds.

A study's file, experiments/ablations/QUESTION/sweep.py, defines `get_sweep()`:

    from lmtasks.studies import variants

    def get_sweep():
        return variants.Sweep(
            config="sst2",
            common={"data.dir": "$DATA/sentiment/sst2"},
            variants=variants.grid({"model.norm.at": ("pre", "post")}),
            seeds=(0, 1, 2),
        )
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from lmtasks import schema

Values = Mapping[str, typing.Any]
# Keys that say where to stop, not what is run.
_NOT_CONTENT = ("train.stop_at",)


@dataclasses.dataclass(frozen=True)
class Halving:
    """Stop runs early that are behind the others (successive halving; Jamieson and
    Talwalkar, 2016, arXiv:1502.07943).

    Attributes:
        metric: of the evaluations while training; mode: "max" | "min".
        first: steps before the first cut, then `factor` times as many each time.
        factor: one of so many variants goes on.
    """

    metric: str
    mode: str
    first: int
    factor: int = 2

    def __post_init__(self):
        if self.mode not in ("max", "min") or self.first < 1 or self.factor < 2:
            raise ValueError(
                f"{self}: mode is max or min, first at least 1, factor at least 2"
            )


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A study.

    Attributes:
        config: as `lmtasks train --config`; a path is seen from the sweep's folder.
        variants: name -> {key: value} over the config; the key "config" names another.
        common: {key: value} of all; $NAME in a text is that environment variable.
        seeds: of every variant.
        splits: scored at the end of a run, for `compare` and `report`.
        step: which saved step is scored: "newest" | "best".
        halving: None = every run is trained to its end.
        trained: False = nothing is trained, config.init is imported and scored.
    """

    config: str
    variants: Mapping[str, Values]
    common: Values = dataclasses.field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    splits: Sequence[str] = ("validation",)
    step: str = "newest"
    halving: Halving | None = None
    trained: bool = True


@dataclasses.dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
        index: within the sweep. variant, seed: which it is.
        spec: of the config. overrides: ((key, text), ...) over it, the seed included.
        written: the same as the sweep has them, with the names of the environment.
        config: the whole. content: changes with anything in it.
        trained: as of the sweep.
    """

    index: int
    variant: str
    seed: int
    spec: str
    overrides: tuple[tuple[str, str], ...]
    written: tuple[tuple[str, str], ...]
    config: ConfigDict = dataclasses.field(repr=False)
    content: str = ""
    trained: bool = True

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.variant}-{self.seed}"


def grid(
    axes: Mapping[str, Sequence], where: Callable[[dict], bool] | None = None
) -> dict[str, dict]:
    """Return a variant for every combination of values.

    Args:
        axes: key -> its values. where: keeps a combination {key: value} if true.

    >>> list(grid({"model.norm.at": ("pre", "post")}))
    ['at=pre', 'at=post']
    """
    found = {}
    for values in itertools.product(*axes.values()):
        one = dict(zip(axes, values, strict=True))
        if where is None or where(one):
            found[name_of(one)] = one
    return found


def uniform(low: float, high: float) -> Callable:
    """Return a draw between low and high."""
    return lambda rng: float(rng.uniform(low, high))


def log_uniform(low: float, high: float) -> Callable:
    """Return a draw between low and high, both above 0, even over orders of size."""
    return lambda rng: float(math.exp(rng.uniform(math.log(low), math.log(high))))


def choice(*values) -> Callable:
    """Return a draw of one of the values."""
    return lambda rng: values[int(rng.integers(len(values)))]


def random(
    count: int,
    axes: Mapping[str, Callable],
    *,
    seed: int = 0,
    where: Callable[[dict], bool] | None = None,
) -> dict[str, dict]:
    """Return `count` variants whose values are drawn, the same for a seed.

    Args:
        count: of them.
        axes: key -> a draw: `uniform`, `log_uniform` or `choice`.
        seed: of the draws. where: as in `grid`.
    """
    rng, found = np.random.default_rng(seed), {}
    for _ in range(1000 * count):
        if len(found) == count:
            return found
        # Three digits tell as much as a draw means.
        one = {key: _short(draw(rng)) for key, draw in axes.items()}
        if where is None or where(one):
            found.setdefault(name_of(one), one)
    raise ValueError(
        f"only {len(found)} of {count} variants could be drawn; ask for fewer, or let "
        "`where` keep more"
    )


def _short(value):
    return float(f"{value:.3g}") if isinstance(value, float) else value


def name_of(values: Values) -> str:
    """Return a name that says the values by the ends of their keys, fit for a folder."""
    ends = [key.split(".")[-1] for key in values]
    keys = ends if len(set(ends)) == len(ends) else list(values)
    said = ",".join(
        f"{k}={_text(v)}" for k, v in zip(keys, values.values(), strict=True)
    )
    return re.sub(r"[^\w=.,+-]+", "_", said) or "base"


def _text(value) -> str:
    """Return a value as the text of a flag."""
    if isinstance(value, (tuple, list)):
        return f"({','.join(map(str, value))})" if value else ""
    return str(value)


def load(file: str) -> Sweep:
    """Return the sweep of a file.

    Raises:
        ValueError: no such file, or one that defines no get_sweep().
    """
    path = pathlib.Path(file)
    path = path / "sweep.py" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(
            f"{file}: there is no such file; a sweep is a .py file that defines "
            "get_sweep()"
        )
    module = schema.module_of(path)
    if not hasattr(module, "get_sweep"):
        raise ValueError(f"{path}: the file defines no get_sweep()")
    sweep = module.get_sweep()
    if not isinstance(sweep, Sweep):
        raise ValueError(f"{path}: get_sweep() returns a variants.Sweep")
    beside = path.parent / sweep.config.partition(":")[0]
    if beside.is_file():
        argument = sweep.config.partition(":")[1:]
        sweep = dataclasses.replace(sweep, config=str(beside) + "".join(argument))
    return sweep


def runs_of(sweep: Sweep) -> list[Run]:
    """Return the runs of a sweep, variant by variant.

    Raises:
        ValueError: a key that is not there, a name that cannot be a folder's, or two
            variants of the same content.
    """
    if not sweep.variants or not sweep.seeds or not sweep.splits:
        raise ValueError("a sweep has variants, seeds and splits, at least one of each")
    found: list[Run] = []
    seen: dict[str, str] = {}
    for variant, values in sweep.variants.items():
        if not re.fullmatch(r"[\w=.,+-]+", variant) or variant.startswith("."):
            raise ValueError(
                f"the variant {variant!r} names folders: letters, digits, _ = . , + -"
            )
        for seed in sweep.seeds:
            written = {key: _text(v) for key, v in (sweep.common | values).items()}
            spec = written.pop("config", sweep.config)
            written["seed"] = str(seed)
            texts = {key: _expanded(key, text) for key, text in written.items()}
            config = schema.load(spec)
            try:
                for key, text in texts.items():
                    schema.override(config, key, text)
            except ValueError as error:
                raise ValueError(f"variant {variant}: {error}") from None
            content = content_of(config)
            if content in seen:
                raise ValueError(
                    f"the variants {seen[content]} and {variant} are the same config; "
                    "take one out"
                )
            seen[content] = variant
            keys = (tuple(texts.items()), tuple(written.items()))
            if not sweep.trained and not config.init:
                raise ValueError(
                    f"variant {variant}: a sweep with trained=False scores what config.init "
                    "names; set init"
                )
            run = Run(len(found), variant, seed, spec, *keys, config, content)
            found.append(dataclasses.replace(run, trained=sweep.trained))
    return found


def _expanded(key: str, text: str) -> str:
    """Return a text with environment variables in it replaced."""
    out = os.path.expandvars(text)
    if left := re.search(r"\$\{?(\w+)", out):
        raise ValueError(
            f"{key}={text!r}: the environment has no {left[1]}; export {left[1]}=... first"
        )
    return out


def content_of(config: ConfigDict) -> str:
    """Return 16 hexadecimal digits that change with what a config runs."""
    plain = {k: v for k, v in schema.keys_of(config).items() if k not in _NOT_CONTENT}
    plain = {
        k: v.to_dict() if isinstance(v, ConfigDict) else v for k, v in plain.items()
    }
    text = json.dumps(plain, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
