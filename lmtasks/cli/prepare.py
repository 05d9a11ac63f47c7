"""`lmtasks prepare`: write local files as a TFDS directory, or text as token ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from absl import flags

from lmtasks.cli import common
from lmtasks.data import sources
from lmtasks.data import tfds_write
from lmtasks.data import token_files

HELP = "write local files as a TFDS directory, or as token ids"
USAGE = """lmtasks prepare --input=FILE --to=DIR
lmtasks prepare --input=train=FILE,validation=FILE,test=FILE --to=DIR

Reads files of records and writes them, in their order, as a TFDS data set of random
access (array_record); config.data.dir=DIR then reads it, and so does
tfds.builder_from_directory(DIR). TensorFlow is not needed.
  --input        SPLIT=FILE,...; one FILE alone is the split --split. Read by their
                 endings: jsonl, json, csv, tsv, txt, conll, conllu, each also .gz;
                 a json file of SQuAD's form; FILE+FILE of parallel text
  --to           the folder to write; new, or empty
  --split        split of an --input without a name (default: train)
  --fields       KEY:COLUMN,... renames columns; numbers, from 0, where the file has
                 no header
  --input_format  format of the files, where their ending does not tell it: also
                 squad, paragraphs, document (a whole file is one record)
  --on_error     malformed record: raise (default) or skip, counted
  --name         name of the data set (default: that of the folder)
  --format       records (default): as they are; tokens: the texts (key text) as ids,
                 which training maps into memory: for corpora larger than it;
                 evaluation reads the text that the ids stand for
  --tokenizer    of --format=tokens: folder or file of the tokenizer

Examples:
  lmtasks prepare --input=train.jsonl --to=data/mine
  lmtasks prepare --input=train=a.tsv,test=b.tsv.gz --fields=text:0,label:1 --to=mine
  lmtasks prepare --format=tokens --tokenizer=runs/a/tokenizer --input=train.jsonl \\
      --to=data/tokens
"""
_FORMATS = ("records", "tokens")


def main(argv: list[str]) -> int | None:
    """Write the splits named by --input; argv is what follows the verb."""
    values = common.flag_values()
    flags.DEFINE_list("input", [], "files to read", flag_values=values)
    flags.DEFINE_string("to", None, "folder to write", flag_values=values)
    flags.DEFINE_string("split", "train", "split of one file", flag_values=values)
    flags.DEFINE_list("fields", [], "key:column pairs", flag_values=values)
    flags.DEFINE_string("input_format", "", "format of the files", flag_values=values)
    flags.DEFINE_string("on_error", "raise", "raise or skip", flag_values=values)
    flags.DEFINE_string("name", None, "name of the data set", flag_values=values)
    flags.DEFINE_string("format", "records", "what to write", flag_values=values)
    flags.DEFINE_string("tokenizer", None, "of format tokens", flag_values=values)
    rest = common.parse(values, argv, USAGE)
    _check(values, rest)
    options = sources.DataOptions(
        files=_files(values.input, values.split),
        fields=_fields(values.fields),
        format=values.input_format,
        on_error=values.on_error,
    )
    tfds_write.check_free(values.to)
    splits = {}
    for split, file in options.files.items():
        opened = sources.open_split(sources.Source(), split, options)
        splits[split] = opened
        skipped = f", {opened.skipped} malformed skipped" if opened.skipped else ""
        print(f"{split}: {len(opened)} records of {file}{skipped}", flush=True)
        for place in opened.skipped_places:
            print(f"  skipped {place}", flush=True)
    if values.format == "tokens":
        _write_tokens(values, splits)
        return
    name = values.name or _name(values.to)
    tfds_write.write(values.to, name, splits)
    print(
        f"Wrote data set {name} to {values.to}; use it by config.data.dir={values.to}"
    )


def _write_tokens(values: flags.FlagValues, splits: dict) -> None:
    """Write the texts of records as ids, with what stands around a document."""
    from lmtasks import tokenizers
    from lmtasks.objectives import base

    tokenizer = tokenizers.load(values.tokenizer)
    around = base.start_id(tokenizer), tokenizer.eos_id
    texts = {split: _texts(opened) for split, opened in splits.items()}
    found = token_files.write(values.to, tokenizer, texts, around)
    for split, counts in found.items():
        left = f", {counts['empty']} without text left out" if counts["empty"] else ""
        print(f"{split}: {counts['documents']} documents, {counts['tokens']} ids{left}")
    print(f"Wrote token ids to {values.to}; use them by config.data.dir={values.to}")


def _texts(opened) -> Iterator[str]:
    for i in range(len(opened)):
        text = opened[i].get("text")
        if not isinstance(text, str):
            raise ValueError(
                f"{opened.where(i)}: the record has no key text; name its column by "
                "--fields=text:COLUMN."
            )
        yield text


def _check(values: flags.FlagValues, rest: list[str]) -> None:
    if rest:
        raise ValueError(
            f"lmtasks prepare takes flags only, but was given {rest[0]!r}; files go to "
            "--input=FILE."
        )
    for name in ("input", "to"):
        if not getattr(values, name):
            raise ValueError(f"lmtasks prepare needs --{name}.")
    if values.on_error not in ("raise", "skip"):
        raise ValueError(
            f"--on_error={values.on_error!r} is not one of raise, skip; a run lists what it "
            "leaves out with config.data.on_error=quarantine."
        )
    if values.format not in _FORMATS:
        raise ValueError(
            f"--format={values.format} is not one of {', '.join(_FORMATS)}; the format "
            "of the files that are read is --input_format."
        )
    if (values.format == "tokens") != bool(values.tokenizer):
        raise ValueError(
            "--format=tokens needs --tokenizer=FOLDER, and nothing else takes one; make "
            "one by `lmtasks tokenizer train`."
        )


def _files(given: list[str], split: str) -> dict[str, str]:
    """Return {split: file} of SPLIT=FILE pairs; one file may go without its split."""
    files: dict[str, str] = {}
    for item in given:
        name, equals, file = item.partition("=")
        if not equals or not name.isidentifier():
            name, file = split, item
        if name in files:
            raise ValueError(
                f"--input names the split {name} twice ({files[name]} and {file}); "
                "write SPLIT=FILE,SPLIT=FILE."
            )
        if not name.isidentifier() or name == "all":
            raise ValueError(f"{name!r} cannot name a split; use letters and _.")
        files[name] = file
    return files


def _fields(given: list[str]) -> dict[str, str | int]:
    """Return {key: column} of KEY:COLUMN pairs; digits are a column number."""
    fields: dict[str, str | int] = {}
    for item in given:
        key, colon, column = item.partition(":")
        if not (key and colon and column):
            raise ValueError(f"--fields={item} is not KEY:COLUMN, such as text:review.")
        fields[key] = int(column) if column.isdigit() else column
    return fields


def _name(folder: str) -> str:
    """Return a data set name made of the folder's: small letters, digits and _."""
    base = os.path.basename(os.path.abspath(folder)).lower()
    name = re.sub("[^a-z0-9_]+", "_", base).strip("_")
    return name if name[:1].isalpha() else f"data_{name}"
