"""Write the fixtures of entities: what transformers' pipeline("ner") finds.

    pip install -e '.[parity]' && python tests/reference/make_tag.py

A fixture tests/fixtures/tag_*.json holds a tiny checkpoint's files but for its tensors,
whose values follow from their names, the inputs, and for every way of aggregation the
entities of each input.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from lmtasks.data import align
from lmtasks.tokenizers import fast
from reference import values

TO = HERE.parent / "fixtures"
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WAYS = ("none", "simple", "first", "average", "max")
TEXT = """Tim Cook left Port Adele for Oslo last Friday with Dr. Sam O'Neil.
The café in São Paulo isn't far from the old tower-house of Lake Vesna, they say!
Nobody   knows why Apple (the company) moved; Mira Keller @mira asked #why.
Zürich, 12 May 2031: "Northwind Radio" went silent... \u4f60\u597d again ^_^
"""
_SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
          "intermediate_size": 40, "max_position_embeddings": 80}  # fmt: skip
_WORDPIECES = """
    tim cook left port for oslo last friday with sam the in far from old tower they say
    nobody knows why app ##le ##le company mo ##ved mira kel ##ler asked north ##wind
    rad ##io sil ##ent again may ##ay ##el ##er ##in ##es ##on ##na ##ich ##ul ##use
"""
_MERGES = "o+o i+m l+e e+r i+n a+y r+t o+m _t+h _th+e _l+e _k+n o+s a+s a+n _C+oo d+e"


def texts() -> list[str]:
    """Return the raw texts."""
    return TEXT.splitlines()


def words() -> list[list[str]]:
    """Return the sentences as words that WordPiece does not cut further: transformers
    takes every piece without ## for a word, whatever the words given were.
    """
    return [list(align.split(text)[0]) for text in texts()]


def wordpiece() -> dict[str, str]:
    """Return the files of a lower-case WordPiece vocabulary; "^" is not in it."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    signs = [*".,;:!?()\"'@#_-", "\u4f60"]
    continued = [f"##{letter}" for letter in letters]
    pieces = dict.fromkeys(names + letters + signs + continued + _WORDPIECES.split())
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    return {
        "vocab.txt": "\n".join(pieces) + "\n",
        "tokenizer_config.json": json.dumps(config),
    }


def bytebpe() -> dict[str, str]:
    """Return the files of a byte-level BPE vocabulary.

    Every first letter merges with the space before it: transformers takes a space that
    is a piece of its own for a word.
    """
    space = fast.LETTERS[ord(" ")]
    starts = sorted({fast.LETTERS[word.encode()[0]] for one in words() for word in one})
    merges = [(space, letter) for letter in starts] + [
        tuple(pair.split("+")) for pair in _MERGES.replace("_", space).split()
    ]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = special + [*fast.LETTERS.values()] + ["".join(pair) for pair in merges]
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}
    return {
        "vocab.json": json.dumps({piece: i for i, piece in enumerate(pieces)}),
        "merges.txt": "\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n",
        "tokenizer_config.json": json.dumps(config),
    }


CASES = {
    "tag_bert": ("BertForTokenClassification", "BertTokenizer", wordpiece),
    "tag_roberta": ("RobertaForTokenClassification", "RobertaTokenizer", bytebpe),
}


def save(name: str, folder: pathlib.Path) -> dict:
    """Save a case's checkpoint; return {"config", "shapes", "files"}."""
    import transformers
    from safetensors import numpy as safetensors

    cls, tokenizer, made = CASES[name]
    files = made()
    for file, content in files.items():
        (folder / file).write_text(content)
    size = len(getattr(transformers, tokenizer).from_pretrained(folder))
    named = {
        "vocab_size": size,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    if name == "tag_roberta":
        named |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    cls = getattr(transformers, cls)
    cls(cls.config_class(**_SIZES, **named)).save_pretrained(folder)
    file = folder / "model.safetensors"
    shapes = {key: list(x.shape) for key, x in safetensors.load_file(file).items()}
    safetensors.save_file(values.state(name, shapes), file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    return {"config": config, "shapes": shapes, "files": files}


def inputs(name: str) -> list:
    """Return the inputs of a case: words, and raw texts.

    Byte-level BPE reads a sign that touches a word as another piece than the sign
    alone, as which words are learned, so its raw texts have all signs set off.
    """
    given = words()
    raw = texts() if name == "tag_bert" else [" ".join(one) for one in given]
    return given + raw


def outputs(name: str, folder: pathlib.Path) -> dict[str, list]:
    """Return {aggregation: the entities of each input} of transformers."""
    import transformers

    cls, tokenizer, _ = CASES[name]
    tokenizer = getattr(transformers, tokenizer).from_pretrained(folder)
    model = getattr(transformers, cls).from_pretrained(folder).eval()
    found = {}
    for how in WAYS:
        pipe = transformers.pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy=how,
            device="cpu",
        )
        said = [
            pipe(x, is_split_into_words=True)[0] if isinstance(x, list) else pipe(x)
            for x in inputs(name)
        ]
        found[how] = [[_plain(entity) for entity in one] for one in said]
    return found


def _plain(entity: dict) -> dict:
    kept = ("word", "start", "end")
    kind = entity.get("entity_group") or entity["entity"]
    return {"type": kind, "score": float(entity["score"])} | {
        key: entity[key] for key in kept
    }


def main() -> None:
    """Write all fixtures."""
    TO.mkdir(exist_ok=True)
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            about = save(name, pathlib.Path(folder))
            about["outputs"] = outputs(name, pathlib.Path(folder))
        about["inputs"] = inputs(name)
        path = TO / f"{name}.json"
        path.write_text(json.dumps(about, ensure_ascii=False, separators=(",", ":")))
        print(name, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
