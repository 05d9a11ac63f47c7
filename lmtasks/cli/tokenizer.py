"""`lmtasks tokenizer`: train a tokenizer, or compare several on a text."""

from __future__ import annotations

import gzip
import itertools
import json
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import rich.console
import rich.table
import rich.text
from absl import flags

from lmtasks import tokenizers
from lmtasks.cli import common

HELP = "train a tokenizer, or compare several on a text"
USAGE = """lmtasks tokenizer train --kind=KIND --size=N --input=FILE[,FILE] --to=DIR
lmtasks tokenizer compare [TEXT] [--input=FILE] --tokenizers=PATH_OR_KIND[,...]

train writes a tokenizer into a folder that a config can name.
  --kind         byte, char, word, unigram, bpe, wordpiece or bytebpe
  --size         number of ids in all, special tokens and sentinels counted
  --input        .txt, or .jsonl with --field; each also .gz
  --field        the field of a .jsonl line that holds the text (default: text)
  --to           the folder to write
  --extra        more special tokens, such as chat markers: <|user|>,<|end|>
  --sentinels    number of T5's <extra_id_N> tokens
  --lowercase    word, wordpiece: lower-case first
  --byte_fallback  unigram, bpe: write unknown characters as bytes (default: yes)

compare shows the pieces and ids of TEXT, or of the first text of --input, and
what each tokenizer needs for all of it. A KIND is trained on that text first.
  --tokenizers   folders, files or kinds, separated by commas
  --size         cap for kinds trained here (default: 1000)

Examples:
  lmtasks tokenizer train --kind=bpe --size=8000 --input=corpus.txt --to=bpe8k
  lmtasks tokenizer compare "Hello world" --tokenizers=bpe8k,byte,gpt2/encoder.json
"""
_BLOCK = 1000
_COMPARE_SIZE = 1000


def main(argv: list[str]) -> int | None:
    """Run `train` or `compare`; argv is what follows the verb."""
    values = common.flag_values()
    flags.DEFINE_string("kind", None, "kind of tokenizer", flag_values=values)
    flags.DEFINE_integer("size", None, "number of ids", flag_values=values)
    flags.DEFINE_list("input", [], "text files", flag_values=values)
    flags.DEFINE_string("field", "text", "field of a jsonl line", flag_values=values)
    flags.DEFINE_string("to", None, "folder to write", flag_values=values)
    flags.DEFINE_list("extra", [], "more special tokens", flag_values=values)
    flags.DEFINE_integer("sentinels", 0, "number of sentinels", flag_values=values)
    flags.DEFINE_bool("lowercase", False, "lower-case first", flag_values=values)
    flags.DEFINE_bool("byte_fallback", True, "use bytes", flag_values=values)
    flags.DEFINE_list("tokenizers", [], "what to compare", flag_values=values)
    rest = common.parse(values, argv, USAGE)
    action = rest[0] if rest else None
    if action == "train" and len(rest) == 1:
        return _train(values)
    if action == "compare" and len(rest) <= 2:
        return _compare(values, rest[1:])
    said = " ".join(rest) or "nothing"
    raise ValueError(
        f"lmtasks tokenizer takes `train` or `compare [TEXT]`, but was given {said!r}; "
        "see lmtasks tokenizer --help."
    )


def _train(values: flags.FlagValues) -> None:
    for name in ("kind", "to"):
        if not getattr(values, name):
            raise ValueError(f"lmtasks tokenizer train needs --{name}.")
    if not values.input and values.kind != "byte":
        raise ValueError("lmtasks tokenizer train needs --input, the text to read.")
    tokenizer = tokenizers.train(
        values.kind,
        _texts(values.input, values.field),
        size=values.size,
        extra=values.extra,
        sentinels=values.sentinels,
        options=_options(values, exact=True),
    )
    tokenizer.save(values.to)
    least = "" if values.size in (None, tokenizer.size) else f", at most {values.size}"
    print(
        f"Wrote a {tokenizer.kind} tokenizer of {tokenizer.size} ids{least}, to "
        f"{values.to} (fingerprint {tokenizer.fingerprint})."
    )


def _compare(values: flags.FlagValues, rest: Sequence[str]) -> None:
    if not values.tokenizers:
        raise ValueError("lmtasks tokenizer compare needs --tokenizers.")
    texts = [*rest, *_texts(values.input, values.field, block=1)]
    if not any(texts):
        raise ValueError("lmtasks tokenizer compare needs a TEXT or --input.")
    # A text given beside a file is what to show, not what to count.
    counted = texts[len(rest) :] or texts
    found = {}
    for name in values.tokenizers:
        if name in tokenizers.KINDS and not pathlib.Path(name).exists():
            size = None if name == "byte" else values.size or _COMPARE_SIZE
            found[name] = tokenizers.train(
                name, counted, size=size, options=_options(values, exact=False)
            )
        else:
            found[name] = tokenizers.load(name)
    console = rich.console.Console()
    cuts = [_cut(name, tok, texts[0]) for name, tok in found.items()]
    _print(console, ("tokenizer", "pieces", "ids"), cuts)
    header = ("tokenizer", "ids", "tokens", "bytes/token", "tokens/word", "unknown")
    sums = [_summary(name, tok, counted) for name, tok in found.items()]
    _print(console, header, sums)


def _options(values: flags.FlagValues, *, exact: bool) -> tokenizers.Options:
    return tokenizers.Options(
        lowercase=values.lowercase, byte_fallback=values.byte_fallback, exact=exact
    )


def _cut(name: str, tokenizer: tokenizers.Tokenizer, text: str) -> tuple[str, str, str]:
    ids = tokenizer.encode(text)
    pieces = (_visible(tokenizer.piece(i)) for i in ids)
    return name, " ".join(pieces), " ".join(map(str, ids))


def _summary(
    name: str, tokenizer: tokenizers.Tokenizer, texts: Sequence[str]
) -> tuple[str, ...]:
    """Return a row: vocabulary, tokens, bytes a token, tokens a word, unknown."""
    ids = list(itertools.chain.from_iterable(tokenizer.encode_batch(texts)))
    words = sum(len(text.split()) for text in texts)
    size = sum(len(text.encode(errors="replace")) for text in texts)
    unknown = ids.count(tokenizer.unk_id) if tokenizer.unk_id is not None else 0
    return (
        name,
        str(tokenizer.size),
        str(len(ids)),
        f"{size / max(len(ids), 1):.2f}",
        f"{len(ids) / max(words, 1):.2f}",
        f"{unknown / max(len(ids), 1):.1%}",
    )


def _visible(piece: str) -> str:
    """Return a piece with white space made visible."""
    spaced = piece.replace(" ", "\u2581")
    return spaced if spaced.isprintable() else repr(spaced)[1:-1]


def _print(
    console: rich.console.Console, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Print a table that wraps on a terminal, tab-separated lines elsewhere."""
    if not console.is_terminal:
        for row in (header, *rows):
            print("\t".join(row))
        return
    table = rich.table.Table()
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(rich.text.Text, row))
    console.print(table)


def _texts(paths: Sequence[str], field: str, block: int = _BLOCK) -> Iterator[str]:
    """Yield the text of files: a jsonl line's field, or `block` lines of a txt.

    Several lines together let a tokenizer see line breaks.
    """
    for path in map(pathlib.Path, paths):
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        if kind not in ("txt", "jsonl"):
            raise ValueError(f"{path} is not .txt or .jsonl, with or without .gz.")
        reader = gzip.open if path.suffix == ".gz" else open
        with reader(path, "rt", encoding="utf-8-sig") as lines:
            try:
                if kind == "txt":
                    while some := list(itertools.islice(lines, block)):
                        yield "".join(some)
                else:
                    for number, line in enumerate(lines, start=1):
                        yield _field(line, field, f"{path}, line {number}")
            except (UnicodeDecodeError, EOFError) as error:
                raise ValueError(f"{path} cannot be read as text: {error}.") from error


def _field(line: str, field: str, place: str) -> str:
    try:
        record = json.loads(line)
        return record[field]
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: this is no JSON object: {error}.") from error
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{place}: there is no field {field!r}; the line is {line.strip():.80}; "
            "name the field by --field."
        ) from error
