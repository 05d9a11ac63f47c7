"""`lmtasks inspect`: training rows, attention, and the neighbours of words."""

from __future__ import annotations

import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "training rows token by token; attention; nearest words"
USAGE = """
lmtasks inspect --config=FILE.py | --workdir=DIR [--rows=3] [--html=FILE]

Shows the first rows of training exactly as the model reads them: segment, position,
piece, target and weight of every slot.

    lmtasks inspect --config=quickstart --rows=1 --html=rows.html

lmtasks inspect --attention --workdir=DIR --text="..." [--layer=L] [--head=N|mean|all]
                [--pair="..."] [--target="..."] [--html=FILE] [--step=N|best]

Shows who sees whom and the attention weights of each layer for one text, read as in
training. As text the mean of the heads, or those that --head names; the page has all.
An encoder-decoder's cross-attention is shown as an alignment with --target, or with
what the model writes.

    lmtasks inspect --attention --workdir=runs/sst2 --text="not a bad film" --layer=1
    lmtasks inspect --attention --workdir=runs/nli --text="He sleeps" --pair="He runs"
    lmtasks inspect --attention --workdir=runs/mt --text="a dog" --html=attention.html

lmtasks inspect --words=king,queen --workdir=DIR [--near=10] [--picture=FILE.png]

Shows the pieces nearest to each word in the table of token embeddings, by cosine; a
word of several pieces is their mean. --picture draws the words in the plane in which
they differ most, and says how much of their variance that is.
"""


def main(argv: list[str]) -> int:
    """Show what is asked for: rows, attention, or words."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_integer("rows", 3, "rows to show", flag_values=fv)
    flags.DEFINE_integer("near", 10, "pieces near each word", flag_values=fv)
    flags.DEFINE_bool("attention", False, "show attention", flag_values=fv)
    flags.DEFINE_list("words", [], "words to show", flag_values=fv)
    texts = ("workdir", "html", "step", "text", "pair", "target", "layer", "head")
    for name in (*texts, "picture"):
        flags.DEFINE_string(name, None, "see --help", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    _check(fv)
    config = common.config_of(spec, overrides, fv.workdir)
    if fv.attention:
        return _attention(fv, config)
    return _words(fv, config) if fv.words else _rows(fv, config)


def _check(fv) -> None:
    """Raise ValueError for flags that belong to another use of the verb."""
    if fv.attention and fv.words:
        raise ValueError("--attention and --words are two uses; ask for one of them")
    of = {
        "--attention": ("text", "pair", "target", "layer", "head"),
        "--words": ("picture",),
    }
    for use, names in of.items():
        given = [n for n in names if getattr(fv, n) is not None]
        if given and not getattr(fv, use[2:]):
            raise ValueError(
                f"--{given[0]} belongs to {use}; give that too (see --help)"
            )
    if fv.attention or fv.words:
        common.required(fv, "workdir")
    if fv.near < 1:
        raise ValueError(f"--near={fv.near} must be at least 1")


def _rows(fv, config) -> int:
    """Print the first rows of training; write the page where asked."""
    from lmtasks import builder
    from lmtasks.data import view
    from lmtasks.rehearsal import dry_run
    from lmtasks.training import feed

    run = builder.build(config, fv.workdir)
    read = feed.read(run)
    views = dry_run.first_rows(run, read, max(fv.rows, 1))
    print(read.summary)
    for heading, rows in views:
        print(f"\n{heading}\n{view.as_text(rows)}")
    if fv.html or fv.workdir:
        target = pathlib.Path(fv.html or pathlib.Path(fv.workdir) / "inspect.html")
        title = f"{config.task}: {run.config.objective} on {config.architecture}"
        target.write_text(view.as_html(views, title), encoding="utf-8")
        print(f"\nwrote {target}")
    return 0


def _attention(fv, config) -> int:
    """Print masks and weights for one text; write the page where asked."""
    given = common.required(fv, "text")
    layer = None if fv.layer in (None, "all") else _number("layer", fv.layer, "all")
    head = fv.head
    if head not in (None, "mean", "all"):
        head = _number("head", head, "mean or all")
    from lmtasks import api
    from lmtasks.inspection import attention
    from lmtasks.inspection import attention_html
    from lmtasks.inspection import attention_text
    from lmtasks.training import writing

    loaded = api.load(fv.workdir, common.step_of(fv.workdir, fv.step), config)
    target = fv.target
    if target is None and given.strip() and attention.writes_alone(loaded.run):
        said = writing.Writer(loaded).write([given])[0] or {"text": ""}
        target = said["text"].strip() or None
        print(f"what the model writes: {target or '(nothing)'}\n")
    row = attention.row_of(loaded.run, given, fv.pair, target)
    picture = attention.look(loaded, row)
    print(attention_text.as_text(picture, layer, "mean" if head is None else head))
    if picture.cut:
        print(f"\n{picture.cut} tokens of the text were cut; see config.data.length")
    if fv.html:
        title = f"{fv.workdir}, step {loaded.step}: {given[:60]}"
        page = attention_html.as_html(
            picture, title, layer, "all" if head is None else head
        )
        pathlib.Path(fv.html).write_text(page, encoding="utf-8")
        print(f"\nwrote {fv.html}")
    return 0


def _number(name: str, text: str, accepted: str) -> int:
    if not text.isdigit():
        raise ValueError(f"--{name}={text!r} takes a number from 0, or {accepted}")
    return int(text)


def _words(fv, config) -> int:
    """Print the neighbours of words; draw them where asked."""
    from lmtasks import api
    from lmtasks.inspection import words

    loaded = api.load(fv.workdir, common.step_of(fv.workdir, fv.step), config)
    tokenizer = loaded.run.tokenizer
    table = words.table_of(loaded.params)
    found = [words.find(word, tokenizer, table) for word in fv.words]
    for word in found:
        pieces = " ".join(tokenizer.piece(i) for i in word.ids)
        print(f"{word.text} ({pieces})")
        for piece, cosine in words.nearest(word, tokenizer, table, fv.near):
            print(f"  {cosine:6.3f}  {piece}")
    if fv.picture:
        picture, explained = words.draw(found)
        picture.savefig(fv.picture, dpi=150)
        share = 100 * float(explained.sum())
        print(f"{fv.picture}: {len(found)} words, {share:.0f}% of their variance")
    return 0
