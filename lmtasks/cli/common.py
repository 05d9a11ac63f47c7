"""What all verbs share: private absl flags, configs with overrides, help."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from absl import flags
from ml_collections import ConfigDict


def flag_values() -> flags.FlagValues:
    """Return a fresh set of flags, untouched by what libraries define."""
    return flags.FlagValues()


def parse(fv: flags.FlagValues, argv: list[str], usage: str) -> list[str]:
    """Parse argv into fv and return the positional arguments.

    Raises:
        ValueError: an unknown flag (with the nearest) or a bad value.
        SystemExit: after printing `usage` for --help.
    """
    if any(arg in ("--help", "-h", "--helpfull", "--helpshort") for arg in argv):
        print(usage.strip())
        raise SystemExit(0)
    # Libraries such as grain read absl's global flags.
    flags.FLAGS.mark_as_parsed()
    try:
        return fv(["lmtasks", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(fv), n=1)
        hint = f"; did you mean --{near[0]}?" if near else ""
        raise ValueError(
            f"--{error.flagname} is not a flag of this verb{hint}; see --help"
        ) from None
    except flags.Error as error:
        raise ValueError(str(error).splitlines()[0]) from None


def split_config(argv: list[str]) -> tuple[str | None, list[tuple[str, str]], list]:
    """Return (--config, [(key, text)] of --config.key=text, the other arguments)."""
    spec, overrides, rest = None, [], []
    arguments = iter(argv)
    for arg in arguments:
        name, equals, value = arg.lstrip("-").partition("=")
        if not arg.startswith("-") or name.split(".")[0] != "config":
            rest.append(arg)
            continue
        if not equals:
            value = next(arguments, None)
            if value is None:
                raise ValueError(f"{arg} needs a value: {arg}=VALUE")
        if name == "config":
            spec = value
        else:
            overrides.append((name.removeprefix("config."), value))
    return spec, overrides, rest


def config_of(spec: str | None, overrides, folder: str | None = None) -> ConfigDict:
    """Return the config of a file, or of a work directory, with overrides applied."""
    from lmtasks import schema  # late, as elsewhere here: --help must not wait for jax
    from lmtasks.training import files

    if spec is not None:
        config = schema.load(spec)
    else:
        stored = files.read_config(folder) if folder else None
        if stored is None:
            raise ValueError(
                f"{folder} is not a work directory: there is no config.json; give "
                "--workdir of a run, or --config=FILE.py"
                if folder
                else "give --config=FILE.py (see `lmtasks config --help`)"
            )
        config = schema.from_stored(stored)
    override(config, overrides)
    return config


def override(config: ConfigDict, overrides) -> None:
    """Apply [(key, text)] to a config."""
    from lmtasks import schema

    for key, text in overrides:
        schema.override(config, key, text)


def used_run(argv: list[str], usage: str, switch: str = "", **texts: str):
    """Return (flags, config, folder) of a verb that uses a run: --workdir, --input,
    --output, --step, a `switch` and the text flags {name: help}, with --config overrides.
    """
    spec, overrides, rest = split_config(argv)
    fv = flag_values()
    usual = {
        "workdir": "work directory",
        "input": "file or -",
        "output": "file or -",
        "step": "saved step or best; newest",
    }
    for name, about in (usual | texts).items():
        flags.DEFINE_string(name, None, about, flag_values=fv)
    if switch:
        flags.DEFINE_bool(switch, False, "on or off", flag_values=fv)
    no_more(parse(fv, rest, usage))
    folder = required(fv, "workdir")
    return fv, config_of(spec, overrides, folder), folder


def define_hosts(fv: flags.FlagValues) -> None:
    """Add --hosts and --hosts_timeout."""
    flags.DEFINE_string("hosts", None, "auto or H:P,COUNT,I", flag_values=fv)
    flags.DEFINE_integer("hosts_timeout", 300, "seconds", flag_values=fv)


def on_hosts(fv: flags.FlagValues, argv: list[str], work: Callable[[], int]) -> int:
    """Return the exit code of `work`, done by several processes where --hosts says so.

    Args:
        fv: with `define_hosts`. argv: the command, its verb first.
        work: what this process does.
    """
    if fv.hosts is None:
        return work()
    from lmtasks.training import supervise

    where = supervise.parse(fv.hosts, fv.hosts_timeout)
    if not supervise.is_inside():
        return supervise.run(argv, where)
    from lmtasks.training import hosts

    with hosts.joined(where):
        return work()


def no_more(arguments: list[str]) -> None:
    """Raise ValueError when there are arguments that no flag takes."""
    if arguments:
        raise ValueError(f"{arguments[0]!r} is not understood; flags begin with --")


def required(fv: flags.FlagValues, name: str) -> str:
    """Return the value of a flag that must be given."""
    value = getattr(fv, name)
    if value is None:
        raise ValueError(f"give --{name}=... (see --help)")
    return value


def step_of(folder: str, text: str | None) -> int | None:
    """Return the step that --step names: a number, "best", or None for the newest."""
    if text is None or text == "newest":
        return None
    if text == "best":
        from lmtasks.training import workdir

        return workdir.best(folder)
    if not text.isdigit():
        raise ValueError(f"--step={text!r} takes a saved step, newest or best")
    return int(text)
