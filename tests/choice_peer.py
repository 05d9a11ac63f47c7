"""What transformers says of tiny checkpoints that choose, and of one trained on NLI.

    python tests/choice_peer.py    # rewrites tests/fixtures/choice.json

The likelihoods of options follow the rule of lm-evaluation-harness, written anew here:
encode context and continuation together, take off the context, move white space from the
context's end to the continuation. The tensors' values follow from their names
(tests/reference/values.py).
"""

from __future__ import annotations

import json
import pathlib
import string
import tempfile

import numpy as np
from reference import values
from safetensors import numpy as safetensors

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "choice.json"
_MMLU = (
    "The following are multiple choice questions (with answers) about astronomy.\n\n"
)
_PLANETS = "A. Mars\nB. Venus\nC. Jupiter\nD. Earth"
_PLACES = "A. oven\nB. pond\nC. hall stand\nD. fridge\nE. bath"
_BEN = "Article: Ben found a grey kitten in the shed and called it Ash.\n\n"
_ASKED = "The kitten's name was  _  ."
# Task, its sample, and what lm-evaluation-harness makes of it: the context, the
# continuations without the space it puts before them, and the right one.
QUESTIONS = (
    (
        "hellaswag",
        0,
        "Washing a dog: A man kneels beside a tub with a dog in it. He",
        (
            "paints the wall.",
            "flies a kite.",
            "pours water over its back.",
            "reads the map aloud.",
        ),
        2,
    ),
    (
        "hellaswag",
        1,
        "Cooking and Baking: How to boil an egg. Fill a pot. Use water.",
        (
            " Cover the egg with it.",
            "Then sell the pot.",
            "Eggs are birds.. Sing.",
            "Lock the door.",
        ),
        0,
    ),
    (
        "piqa",
        1,
        "Question: How do I find a ring under the sofa?\nAnswer:",
        ("Close your eyes and wait.", "Shine a torch along the floor."),
        1,
    ),
    (
        "arc_easy",
        0,
        "Question: Which of these melts in a warm hand?\nAnswer:",
        ("a stone", "a cube of ice", "a coin"),
        1,
    ),
    (
        "arc_challenge",
        2,
        "Question: Which would a fox lose if all rabbits left a field?\nAnswer:",
        ("shelter", "sunlight", "food", "water", "air"),
        2,
    ),
    (
        "openbookqa",
        1,
        "A magnet would pick up",
        ("a nail", "a leaf", "a glass", "a cork"),
        0,
    ),
    (
        "copa",
        0,
        "The street was wet because",
        ("it had rained.", "it had a name."),
        0,
    ),
    (
        "mmlu",
        0,
        f"{_MMLU}Which planet is the largest?\n{_PLANETS}\nAnswer:",
        ("A", "B", "C", "D"),
        2,
    ),
    (
        "commonsense_qa",
        0,
        f"Question: Where would you leave a wet umbrella?\n{_PLACES}\nAnswer:",
        ("A", "B", "C", "D", "E"),
        2,
    ),
    (
        "race",
        1,
        f"{_BEN}Question: What did he find?\nAnswer: a kitten\n{_ASKED}",
        ("Ben", "Grey", "Ash", "Shed"),
        2,
    ),
)
PAIRS = (
    ("the cat sat on the mat", ("and slept", "and flew off", "blue")),
    ("Snow is", ("white", "black")),
)
TEXTS = ("the cat slept on the mat", "a new phone for less money")
LABELS = ("animals", "shopping", "sport")
TEMPLATES = ("This example is {}.", "It is about {}!")
NLI = ("contradiction", "neutral", "entailment")
SIZE = 192
_SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": SIZE,
}  # fmt: skip
_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
CASES = {
    "gpt2": (
        "GPT2LMHeadModel",
        {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": SIZE} | _IDS,
    ),
    "llama": ("LlamaForCausalLM", _SIZES | {"num_key_value_heads": 1} | _IDS),
    "choice": ("BertForMultipleChoice", _SIZES),
    "nli": (
        "BertForSequenceClassification",
        _SIZES
        | {
            "id2label": dict(enumerate(NLI)),
            "label2id": {name: i for i, name in enumerate(NLI)},
        },
    ),
}


def _wordpiece_files() -> dict[str, str]:
    letters = string.ascii_lowercase
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *".,!?"]
    words += [f"##{letter}" for letter in letters]
    words += ["the", "cat", "sat", "on", "mat", "and", "is", "it", "this", "about"]
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    return {
        "vocab.txt": "\n".join(words) + "\n",
        "tokenizer_config.json": json.dumps(config),
    }


def _bytelevel_files() -> dict[str, str]:
    """Return a byte-level BPE that begins every text with <s>."""
    import tokenizers

    engine = tokenizers.ByteLevelBPETokenizer()
    texts = [context for _, _, context, _, _ in QUESTIONS] * 3
    names = ["<s>", "</s>"]
    engine.train_from_iterator(texts, vocab_size=400, special_tokens=names)
    engine._tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        "<s> $A", "<s> $A $B", [("<s>", 0)]
    )
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return {
        "tokenizer.json": engine._tokenizer.to_str(),
        "tokenizer_config.json": json.dumps(config | roles),
    }


def made(name: str) -> dict:
    """Return {"config", "shapes", "files"} of a case."""
    import transformers

    kind, config = CASES[name]
    if name in ("gpt2", "llama"):
        files = _bytelevel_files()
        size = len(json.loads(files["tokenizer.json"])["model"]["vocab"])
    else:
        files = _wordpiece_files()
        size = len(files["vocab.txt"].split("\n")) - 1
    cls = getattr(transformers, kind)
    with tempfile.TemporaryDirectory() as folder:
        model = cls(cls.config_class(**config, vocab_size=size))
        model.save_pretrained(folder)
        state = safetensors.load_file(f"{folder}/model.safetensors")
        stored = json.loads(pathlib.Path(folder, "config.json").read_text())
    shapes = {key: list(x.shape) for key, x in state.items()}
    return {"config": stored, "shapes": shapes, "files": files}


def likelihood(model, tokenizer, context: str, continuation: str) -> float:
    """Return the log-likelihood in nats, as lm-evaluation-harness counts it."""
    import torch

    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    whole = tokenizer(kept + continuation)["input_ids"]
    start = len(tokenizer(kept)["input_ids"])
    with torch.no_grad():
        logits = model(torch.tensor([whole[:-1]])).logits[0].double()
    log_p = torch.log_softmax(logits, -1)
    return float(sum(log_p[i - 1, whole[i]] for i in range(start, len(whole))))


def _likelihoods(folder: pathlib.Path) -> dict:
    """Return the likelihoods of all options, acc and acc_norm."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows, hits, normed = [], [], []
    for _, _, context, options, gold in QUESTIONS:
        row = [likelihood(model, tokenizer, context, f" {o}") for o in options]
        rows.append(row)
        hits.append(int(np.argmax(row)) == gold)
        sizes = [float(len(option)) for option in options]
        normed.append(int(np.argmax(np.array(row) / sizes)) == gold)
    return {
        "log_probs": rows,
        "acc": float(np.mean(hits)),
        "acc_norm": float(np.mean(normed)),
    }


def _logits(folder: pathlib.Path) -> dict:
    """Return the logit of each option of PAIRS."""
    import torch
    import transformers

    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for context, options in PAIRS:
        contexts = [context] * len(options)
        given = tokenizer(contexts, list(options), return_tensors="pt", padding=True)
        with torch.no_grad():
            found = model(**{k: v[None] for k, v in given.items()}).logits[0]
        rows.append([float(x) for x in found])
    return {"logits": rows}


def _zero_shot(folder: pathlib.Path) -> dict:
    """Return the pipeline's scores of LABELS: [template][multi_label][text]."""
    import transformers

    say = transformers.pipeline("zero-shot-classification", model=str(folder))
    out = []
    for template in TEMPLATES:
        kinds = []
        for several in (False, True):
            said = [
                say(
                    text,
                    list(LABELS),
                    hypothesis_template=template,
                    multi_label=several,
                )
                for text in TEXTS
            ]
            found = [dict(zip(one["labels"], one["scores"])) for one in said]
            kinds.append([{label: row[label] for label in LABELS} for row in found])
        out.append(kinds)
    return {"scores": out}


def answers(name: str, folder: pathlib.Path) -> dict:
    """Return what transformers says with the checkpoint of a case."""
    by = {"choice": _logits, "nli": _zero_shot}
    return by.get(name, _likelihoods)(folder)


def fixture() -> dict:
    """Return {name: {"config", "shapes", "files", "answers"}}."""
    out = {}
    for name in CASES:
        said = made(name)
        with tempfile.TemporaryDirectory() as folder:
            found = answers(name, values.write(pathlib.Path(folder), said))
        out[name] = said | {"answers": found}
    return out


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps(fixture()) + "\n")
