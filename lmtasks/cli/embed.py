"""`lmtasks embed`: a vector for each text of a file."""

from __future__ import annotations

import pathlib

import numpy as np

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "a vector for each text, written to a .npy file"
USAGE = """
lmtasks embed --workdir=DIR --input=FILE|- --output=FILE.npy [--step=N|best]

Reads text (one a line) or jsonl rows {"text"} and writes float32 [N, D], a vector for
each in the same order. Any run will do: what lies under its head is pooled, of an
encoder-decoder its encoder.

  --config.embed.pooling=mean     mean | cls (first token) | last | max
  --config.embed.normalize=True   vectors of length 1: products are cosines
  --config.data.length=128        longer texts are cut, and counted

    lmtasks embed --workdir=runs/pairs --input=passages.txt --output=passages.npy
"""


def main(argv: list[str]) -> int:
    """Embed; refuse an empty text by its line."""
    fv, config, folder = common.used_run(argv, USAGE)
    source = common.required(fv, "input")
    output = pathlib.Path(common.required(fv, "output"))
    if output.suffix != ".npy" or not output.absolute().parent.is_dir():
        raise ValueError(
            f"--output={output} must be a .npy file in a folder that is there"
        )
    texts = _texts(source)
    from lmtasks import api
    from lmtasks import schema
    from lmtasks.objectives import embed
    from lmtasks.training import vectors

    options = schema.typed(embed.Options, config.embed)
    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    found, counts = vectors.embed_texts(loaded, texts, options)
    with open(output, "wb") as out:
        np.save(out, found)
    size = f"{found.shape[0]} x {found.shape[1]} float32"
    length = "length 1" if options.normalize else "any length"
    print(f"{output}: {size}, {options.pooling} pooling, {length}")
    if counts["cut"]:
        print(f"{counts['cut']} texts were cut ({counts['tokens_cut']} tokens)")
    return 0


def _texts(source: str) -> list[str]:
    """Return the texts of a file; each must have one."""
    texts = []
    for number, row in enumerate(lines.read_input(source, "text"), 1):
        text = (row or {}).get("text")
        if isinstance(text, str) and text.strip():
            texts.append(text)
            continue
        keys = f" its keys are {', '.join(row)};" if row and text is None else ""
        raise ValueError(
            f"{source}:{number}: no text;{keys} each line needs one, for its row of "
            "the vectors"
        )
    return texts
