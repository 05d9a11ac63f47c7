"""`lmtasks audit`: leaks, duplicates, cuts and balance of a run's data."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "leaks, duplicates, truncation and balance of a run's data"
USAGE = """
lmtasks audit --config=FILE.py[:ARG] [--ngram=13] [--json=FILE] [--config.KEY=VALUE ...]

Reads the data a config would train on and says what evaluation and training share
(whole texts, with the same answer or another, runs of --ngram words), which texts are
there twice and with other answers, how long they are in tokens and what is cut (answers
apart), tokens an epoch, and the balance of labels and tags; of a mixture, all that of
each task, and its share. Trains nothing.

  --workdir=DIR   the data of a run instead of that of a config
  --ngram=13      words of a run that count as shared; shorter texts are compared whole

    lmtasks audit --config=sst2 --config.data.dir=DIR
"""


def main(argv: list[str]) -> int:
    """Print what was found."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_integer("ngram", 13, "words", flag_values=fv)
    flags.DEFINE_string("json", "", "file to write", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    if fv.ngram < 2:
        raise ValueError(f"--ngram={fv.ngram} must be at least 2")
    config = common.config_of(spec, overrides, fv.workdir)
    from lmtasks import builder
    from lmtasks.rendering import text
    from lmtasks.studies import audit

    found = audit.audit(builder.build(config, fv.workdir), fv.ngram)
    print("\n".join(_lines(found, text.columns)))
    if fv.json:
        out = json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False)
        pathlib.Path(fv.json).write_text(out + "\n")
    return 0


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / max(whole, 1):.1%})"


def _lines(found, columns) -> list[str]:
    out = [f"data of {found.task}"]
    if found.sizes:
        out += ["", *columns(_sizes(found))]
    for one in found.overlaps:
        same = "" if one.answers is None else f", {one.answers:,} with the same answer"
        said = (
            f"{_share(one.same, one.count)} texts stand in both{same}; "
            f"{_share(one.any, one.count)} share {found.n} words in a row, "
            f"{_share(one.most, one.count)} half of theirs"
        )
        train = f"{one.split.rpartition(' ')[0]} train".strip()
        out += ["", f"{one.split} and {train}: {said}"]
        out += [f"  {here} and {there}" for here, there in one.places]
    for one in found.repeats:
        if one.extra:
            other = ""
            if one.answers is not None:
                other = f", {one.answers:,} of them with its answer too"
            if one.conflicts:
                other += f"; {one.conflicts:,} texts with different answers"
            where = f" (first {one.place[0]} and {one.place[1]})"
            said = f"{_share(one.extra, one.count)} texts repeat an earlier one{other}{where}"
            out += ["", f"{one.split}: {said}"]
    for split, labels in found.labels.items():
        total = sum(count for _, count in labels)
        if labels:
            said = ", ".join(f"{name} {_share(count, total)}" for name, count in labels)
            out += ["", f"{split} labels: {said}"]
    return out + (["", found.feed] if found.feed else [])


def _sizes(found) -> list[list[str]]:
    head = [
        "split", "examples", "tokens", "half below", "nine tenths", "longest", "cut",
        "tokens lost", "skipped", "empty",
    ]  # fmt: skip
    answers = any(one.answers for one in found.sizes)
    head += ["answers cut"] * answers
    rows = [head]
    for one in found.sizes:
        examples = f"{one.examples:,}" + ("" if one.whole else " (a part)")
        rows.append([
            one.split, examples, f"{one.tokens:,}", str(one.middle), str(one.ninety),
            str(one.longest), _share(one.cut, one.examples), f"{one.lost:,}",
            _share(one.skipped, one.examples), _share(one.empty, one.examples),
            *[_share(one.answers, one.examples)] * answers,
        ])  # fmt: skip
    return rows
