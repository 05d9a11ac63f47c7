"""Configs against configs/base.py: key names, types, overrides, and stored configs."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import itertools
import pathlib
import pkgutil
import re
import traceback

from ml_collections import ConfigDict

import configs
from configs import base

_COMMENT = re.compile(r"^\s*(?:c|d|m)\.([\w.]+) = (?:.*?)\s\s# (.*)$")
# Sections whose keys are the user's own.
OPEN = ("data.fields",)


def load(spec: str) -> ConfigDict:
    """Return the config of FILE.py[:ARGUMENT], or of a packaged name like quickstart.

    Raises:
        ValueError: no such file, or a key or value that does not fit configs/base.py.
    """
    name, _, argument = spec.partition(":")
    path = pathlib.Path(name)
    if not path.is_file():
        packaged = pathlib.Path(configs.__file__).parent / f"{path.stem}.py"
        if not packaged.exists():
            files = packaged.parent.glob("[a-z]*.py")
            known = sorted(p.stem for p in files if p.stem != "base")
            near = difflib.get_close_matches(path.stem, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(
                f"--config={name}: there is no such .py file{hint} Packaged configs: "
                f"{', '.join(known)}"
            )
        path = packaged
    module = module_of(path)
    if not hasattr(module, "get_config"):
        raise ValueError(f"--config={name}: the file defines no get_config()")
    try:
        config = module.get_config(argument) if argument else module.get_config()
    except Exception as error:  # noqa: BLE001 - it is the user's own code
        raise ValueError(f"--config={name}: {_first_line(error, path)}") from None
    if not isinstance(config, ConfigDict):
        raise ValueError(f"--config={name}: get_config() returns no ConfigDict")
    check(config)
    missing = sorted(set(keys_of(defaults())) - set(keys_of(config)))
    if missing:
        raise ValueError(
            f"--config={name}: {len(missing)} keys are missing ({missing[0]}, ...); "
            "begin with c = base.base(), base.pretrain() or base.finetune()"
        )
    return config


def _first_line(error: Exception, path: pathlib.Path) -> str:
    """Return what is wrong in one line; ml_collections' list of keys is left out."""
    whole = str(error).strip("'\"").replace("\\n", "\n")
    text = whole.partition("\n")[0].partition(" and cannot be added")[0]
    hint = whole.partition("Did you mean ")[2].partition("?")[0]
    hint = f"; did you mean {hint}?" if hint else ""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{text or type(error).__name__}{hint}"


@functools.cache
def defaults() -> ConfigDict:
    """Return configs/base.py's keys with their defaults, to be read only."""
    return base.base()


def module_of(path: pathlib.Path):
    """Return a user's Python file as a module; what it raises is a ValueError."""
    specification = importlib.util.spec_from_file_location("lmtasks_config", path)
    if specification is None or specification.loader is None:
        raise ValueError(f"{path}: this is no Python file (.py)")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - it is the user's own code
        raise ValueError(f"{path}: {_first_line(error, path)}") from None
    return module


def from_stored(stored: dict) -> ConfigDict:
    """Return the config of a config.json, with keys that have come since then."""
    config = base.base()
    with config.unlocked():
        _fill(config, stored)
    check(config)
    return config


def _fill(config: ConfigDict, values: dict, prefix: str = "") -> None:
    known = keys_of(defaults())
    for key, value in values.items():
        dotted = prefix + key
        if dotted in known and prefix[:-1] not in OPEN and dotted not in OPEN:
            optional = known[dotted] is None
            kind = _type_of(defaults(), dotted)
            _check_type(dotted, value, kind, optional=optional)
        elif isinstance(config.get(key), ConfigDict) and not isinstance(value, dict):
            raise ValueError(f"config.{dotted}={value!r} is a section of keys")
        if isinstance(value, dict) and isinstance(config.get(key), ConfigDict):
            _fill(config[key], value, f"{prefix}{key}.")
        elif prefix[:-1] in OPEN:
            config[key] = value
        elif key in config:
            config[key] = tuple(value) if isinstance(value, list) else value
        else:
            raise ValueError(_unknown(prefix + key))


def unknown(key: str, given, accepted) -> str:
    """Return the sentence for a name that is not known, with the nearest one."""
    near = difflib.get_close_matches(str(given), [str(a) for a in accepted], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{key}={given!r} is not one of {', '.join(map(str, accepted))}{hint}"


def modules_of(package) -> list[str]:
    """Return the names of a package's modules, `base` left out."""
    found = (m.name for m in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name != "base")


def keys_of(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Return {dotted key: value} of a config; open sections count as one key."""
    out = {}
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict) and prefix + key not in OPEN:
            out |= keys_of(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def _unknown(key: str) -> str:
    known = list(keys_of(base.base()))
    leaf = key.rsplit(".", 1)[-1]
    near = [k for k in known if k.rsplit(".", 1)[-1] == leaf]
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean config.{near[0]}?" if near else ""
    return f"config.{key} is not a key{hint} `lmtasks config` lists all keys"


def _type_of(default: ConfigDict, dotted: str) -> type:
    *sections, name = dotted.split(".")
    for section in sections:
        default = default[section]
    return default.get_type(name)


def check(config: ConfigDict) -> None:
    """Raise ValueError for a key that is unknown or of another type than its default.

    Stricter than ml_collections, which takes True for an int and None for a float.
    """
    default = base.base()
    known = keys_of(default)
    for key, value in keys_of(config).items():
        if key not in known:
            raise ValueError(_unknown(key))
        if isinstance(value, ConfigDict):
            continue
        _check_type(key, value, _type_of(default, key), optional=known[key] is None)


def _check_type(key: str, value, kind: type, *, optional: bool) -> None:
    if value is None and optional:
        return
    good = {
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, int | float) and not isinstance(value, bool),
        tuple: isinstance(value, tuple | list),
    }
    if not good.get(kind, isinstance(value, kind)):
        raise ValueError(
            f"config.{key}={value!r} has type {type(value).__name__}; it takes "
            f"{_named(kind)}"
        )


def _named(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "True or False"}
    return names.get(kind, {tuple: "a list such as (1,2)"}.get(kind, "text"))


def override(config: ConfigDict, key: str, text: str) -> None:
    """Set config.KEY from the text of a flag, by the type of its default."""
    section, _, name = key.rpartition(".")
    if section in OPEN:
        target = config
        for part in section.split("."):
            target = target[part]
        with target.unlocked():
            target[name] = int(text) if text.isdigit() else text
        return
    default = base.base()
    if key in OPEN:
        raise ValueError(
            f"config.{key} takes one column at a time: --config.{key}.KEY=COLUMN"
        )
    if key not in keys_of(default):
        raise ValueError(_unknown(key))
    kind = _type_of(default, key)
    value = _parse(key, text, kind, optional=keys_of(default)[key] is None)
    _check_type(key, value, kind, optional=keys_of(default)[key] is None)
    target = config
    for part in section.split(".") if section else ():
        target = target[part]
    target[name] = float(value) if kind is float and value is not None else value


def _parse(key: str, text: str, kind: type, *, optional: bool):
    if text == "None" and optional:
        return None
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"config.{key}={text!r} takes True or False")
        return text.lower() == "true"
    if kind is tuple:
        return _parse_tuple(key, text)
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise ValueError(f"config.{key}={text!r} takes {_named(kind)}") from None


def _parse_tuple(key: str, text: str) -> tuple:
    try:
        value = ast.literal_eval(text) if text.strip() else ()
    except (ValueError, SyntaxError):
        # Bare words: negative,positive
        if text[0] == "(" and text.find(")") == len(text) - 1:
            text = text[1:-1]
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def comments() -> dict[str, str]:
    """Return {dotted key: the comment configs/base.py gives it}."""
    found, prefix = {}, {"c": "", "d": "decode.", "m": "model."}
    folder = pathlib.Path(base.__file__).parent
    files = (folder / name for name in ("base.py", "_parts.py"))
    for line in itertools.chain(*(file.read_text().splitlines() for file in files)):
        if match := _COMMENT.match(line):
            found[prefix[line.strip()[0]] + match[1]] = match[2]
    return found


def typed(cls, section: ConfigDict):
    """Return the dataclass `cls` with the section's values, tuples for lists; what is
    None takes the class's own default.
    """
    names = {field.name for field in dataclasses.fields(cls)}
    values = {key: section[key] for key in names & set(section.keys())}
    return cls(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()
            if value is not None
        }
    )
