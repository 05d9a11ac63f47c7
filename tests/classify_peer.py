"""What transformers' text-classification pipeline says of tiny checkpoints.

    python tests/classify_peer.py    # rewrites tests/fixtures/classify.json

The tensors' values follow from their names (tests/reference/values.py), so that the
fixture holds config.json, shapes, the tokenizer's files, texts and answers only.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile

from reference import values
from safetensors import numpy as safetensors

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "classify.json"
# Texts, alone or in pairs, with what tokenizers stumble over.
TEXTS = (
    ("the film was good",),
    ("The FILM was n't bad, indeed!",),
    ("caf\u00e9 caf\u00e9  \u2603 poor",),
    ("good",),
    ("the film was good", "the film was poor"),
    ("bad bad bad film", "indeed"),
)
_WORDS = "the film was good fine bad poor indeed n ' t , ! cafe ##s ##ed in ##deed"
_SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": 40,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint: its class in transformers, its labels and what they are."""

    cls: str
    labels: tuple[str, ...]
    problem: str = "single_label_classification"


CASES = {
    "bert": Case("BertForSequenceClassification", ("sad", "so so", "glad")),
    "roberta": Case("RobertaForSequenceClassification", ("no", "yes")),
    "several": Case(
        "BertForSequenceClassification",
        ("film", "price", "sound"),
        "multi_label_classification",
    ),
    "number": Case("RobertaForSequenceClassification", ("score",), "regression"),
}


def _bert_files() -> dict[str, str]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS.split()]
    return {
        "vocab.txt": "\n".join(words) + "\n",
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        ),
    }


def _roberta_files() -> dict[str, str]:
    import tokenizers

    engine = tokenizers.ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = [" ".join(pair) for pair in TEXTS] * 4
    engine.train_from_iterator(texts, vocab_size=300, special_tokens=special)
    processor = tokenizers.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    engine._tokenizer.post_processor = processor
    roles = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
             "cls_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>",
             "mask_token": "<mask>"}  # fmt: skip
    return {
        "tokenizer.json": engine._tokenizer.to_str(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "RobertaTokenizer"} | roles
        ),
    }


def made(case: Case) -> dict:
    """Return {"config", "shapes", "files"} of a case."""
    import transformers

    bert = case.cls.startswith("Bert")
    files = _bert_files() if bert else _roberta_files()
    if bert:
        size = len(files["vocab.txt"].split())
    else:
        size = len(json.loads(files["tokenizer.json"])["model"]["vocab"])
    cls = getattr(transformers, case.cls)
    config = cls.config_class(
        **_SIZES,
        vocab_size=size,
        type_vocab_size=2 if bert else 1,
        id2label=dict(enumerate(case.labels)),
        label2id={name: i for i, name in enumerate(case.labels)},
        problem_type=case.problem,
    )
    with tempfile.TemporaryDirectory() as folder:
        cls(config).save_pretrained(folder)
        state = safetensors.load_file(f"{folder}/model.safetensors")
        stored = json.loads(pathlib.Path(folder, "config.json").read_text())
    shapes = {key: list(x.shape) for key, x in state.items()}
    return {"config": stored, "shapes": shapes, "files": files}


def answers(folder: pathlib.Path) -> list[dict]:
    """Return {label: score} of each text by transformers' pipeline."""
    import transformers

    say = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    given = [dict(zip(("text", "text_pair"), texts)) for texts in TEXTS]
    rows = [say(one) for one in given]
    return [{one["label"]: one["score"] for one in row} for row in rows]


def fixture() -> dict:
    """Return {name: {"config", "shapes", "files", "answers"}}."""
    out = {}
    for name, case in CASES.items():
        said = made(case)
        with tempfile.TemporaryDirectory() as folder:
            found = answers(values.write(pathlib.Path(folder), said))
        out[name] = said | {"answers": found}
    return out


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps(fixture()) + "\n")
