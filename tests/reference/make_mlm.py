"""Write tests/fixtures/mlm_*.json: what transformers' fill-mask pipeline says.

    pip install -e '.[parity]' && python tests/reference/make_mlm.py

The models are the tiny checkpoints of `reference.cases`, their numbers made from names;
a fixture holds the tokenizer's files and, for each text, the fillers of its masks.
"""

from __future__ import annotations

import json
import pathlib
import string
import sys
import tempfile

import tokenizers as library

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from reference import cases

FIXTURES = HERE.parent / "fixtures"
NAMES = ("bert", "roberta")
TOP = 5
# In place of {} stands the model's mask.
TEXTS = (
    "The {} is on fire.",
    "the dog sat {} the mat",
    "{} fire",
    "a cat {}",
    "walk{} on, dog",
    "the {} sat on the {}.",
)
_WORDS = ("the", "is", "on", "fire", "dog", "cat", "sat", "mat", "walk", "##ing", "##s")
_PAIRS = ("t h", "th e", "o n", "d o", "do g", "a t", "\u0120 th", "\u0120 on", "i s",
          "\u0120th e", "r e", "f i", "fi re")  # fmt: skip


def files(name: str) -> dict[str, str]:
    """Return {file: content} of a tokenizer with as many ids as the models have."""
    if name == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pieces = [*special, *_WORDS, *string.ascii_lowercase, ".", ","]
        pieces += [f"##{c}" for c in "abcdefghijklmnop"][: cases.VOCAB - len(pieces)]
        assert len(pieces) == cases.VOCAB
        return {"vocab.txt": "\n".join(pieces) + "\n"}
    return {
        "tokenizer.json": _byte_pairs().to_str(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "RobertaTokenizer"}),
    }


def _byte_pairs() -> library.Tokenizer:
    """Return RoBERTa's tokenizer with a few pieces."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, *".,T\u0120acdefghiklmnorstuw"]
    pieces += [pair.replace(" ", "") for pair in _PAIRS]
    pieces += [f"<unused{n}>" for n in range(cases.VOCAB - 1 - len(pieces))]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<mask>"])}
    assert len(vocab) == cases.VOCAB
    merges = [tuple(pair.split()) for pair in _PAIRS]
    made = library.Tokenizer(library.models.BPE(vocab, merges))
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    made.post_processor = library.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    made.add_special_tokens(special)
    # RoBERTa's mask swallows the space before it, which its fillers bring along.
    made.add_special_tokens([library.AddedToken("<mask>", lstrip=True)])
    return made


def add(found: dict[str, str], folder: pathlib.Path) -> None:
    """Write the files of a tokenizer into a checkpoint directory."""
    for file, content in found.items():
        (folder / file).write_text(content)


def said(name: str, folder: pathlib.Path) -> list[dict]:
    """Return {"text", "fills"} of every text; `fills` are the pipeline's."""
    import transformers

    from reference import make

    model = make.load(name, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    fill = transformers.pipeline(
        "fill-mask", model=model, tokenizer=tokenizer, top_k=TOP, device="cpu"
    )
    out = []
    for text in TEXTS:
        text = text.replace("{}", tokenizer.mask_token)
        fills = fill(text)
        out.append({"text": text, "fills": fills})
        if isinstance(fills[0], dict):
            out[-1]["fills"] = [fills]
    return out


def fixture(name: str) -> dict:
    """Return what the fixture of a model holds."""
    import transformers

    from reference import make

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make.save(name, folder)
        add(files(name), folder)
        texts = said(name, folder)
    about = {"transformers": transformers.__version__, "top": TOP}
    return about | {"files": files(name), "texts": texts}


def main() -> None:
    """Write both fixtures."""
    for name in NAMES:
        path = FIXTURES / f"mlm_{name}.json"
        path.write_text(json.dumps(fixture(name), indent=1) + "\n")
        print(path.name, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
