"""Write the fixture of extractive QA: windows, logits and answers by transformers.

    pip install -e '.[parity]' && python tests/reference/make_span.py

transformers cuts the windows and computes start and end; it has no pipeline for the
answers any more, so `answers_of` states the rules once more, by trying every span.
The tensors' values follow from their names (see `values`).
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from reference import values

TO = HERE.parent / "fixtures" / "span_parity.npz"
LENGTH, STRIDE, MAX_ANSWER, N_BEST = 36, 6, 5, 8
TEXTS = {
    "Who mended the clock?": "Ida mended the clock.",
    "Where does the river end?": (
        "The river Aune rises in the hills, passes two mills and a ford, turns north "
        "at Lund, and ends in the bay of Orre, where the old ferry lands; nobody has "
        "measured it since 1904."
    ),
    "Which guests came late?": (
        "In the caf\u00e9 sat Mr. Holt, two nurses (Ada & Eli), and - late, as ever - "
        "the D\u00fcrer twins with their dog."
    ),
    "What?": "Nothing.",
    "How many boats came back?": (
        "Nine boats came back in May; one was lost off Skye and one was sold there."
    ),
}
_WORDS = (
    "the in and of a two at who what where which how came mended clock river ends mills "
    "boats back late was one nine 1904 . , ? ( ) - & ; ##s ##ed"
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *_LETTERS,
    *(f"##{letter}" for letter in _LETTERS),
    *(word for word in _WORDS.split() if len(word) > 1 or not word.isalnum()),
)
CONFIG = {
    "vocab_size": len(PIECES), "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 36,
}  # fmt: skip


def save(folder: pathlib.Path) -> tuple[dict, dict]:
    """Save the checkpoint; return (config.json, {name of a tensor: shape})."""
    import transformers
    from safetensors import numpy as safetensors

    model = transformers.BertForQuestionAnswering(transformers.BertConfig(**CONFIG))
    model.save_pretrained(folder)
    file = folder / "model.safetensors"
    shapes = {key: x.shape for key, x in safetensors.load_file(file).items()}
    state = values.state("bert-span", shapes)
    safetensors.save_file(state, file, metadata={"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return json.loads((folder / "config.json").read_text()), shapes


def windows_of(folder: pathlib.Path, question: str, context: str) -> list[dict]:
    """Return transformers' windows: ids, types, and context tokens' characters."""
    import transformers

    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    found = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    return [
        {
            "tokens": found["input_ids"][k],
            "types": found["token_type_ids"][k],
            "offsets": [
                list(pair) if side == 1 else None
                for pair, side in zip(
                    found["offset_mapping"][k], found.sequence_ids(k), strict=True
                )
            ],
        }
        for k in range(len(found["input_ids"]))
    ]


def logits_of(model, windows: list[dict]) -> np.ndarray:
    """Return float32[windows, 2, LENGTH], 0 behind the end of a window."""
    import torch

    out = np.zeros((len(windows), 2, LENGTH), np.float32)
    for k, window in enumerate(windows):
        with torch.no_grad():
            found = model(
                input_ids=torch.tensor([window["tokens"]]),
                token_type_ids=torch.tensor([window["types"]]),
            )
        out[k, 0, : len(window["tokens"])] = found.start_logits[0].numpy()
        out[k, 1, : len(window["tokens"])] = found.end_logits[0].numpy()
    return out


def answers_of(context: str, windows: list[dict], logits: np.ndarray) -> dict:
    """Return {"null", "spans": [[start, end, score], ...]}: the N_BEST best, in order."""
    best: dict[tuple[int, int], float] = {}
    null = math.inf
    for window, (starts, ends) in zip(windows, logits.astype(np.float64), strict=True):
        null = min(null, starts[0] + ends[0])
        offsets = window["offsets"]
        for i in range(len(offsets)):
            for j in range(i, min(i + MAX_ANSWER, len(offsets))):
                if offsets[i] is None or offsets[j] is None:
                    continue
                place = offsets[i][0], offsets[j][1]
                score = starts[i] + ends[j]
                best[place] = max(score, best.get(place, -math.inf))
    ranked = sorted(best, key=lambda place: -best[place])[:N_BEST]
    return {"null": null, "spans": [[a, b, best[a, b]] for a, b in ranked]}


def make() -> tuple[dict, np.ndarray]:
    """Return (what the fixture says, the logits of all windows)."""
    import transformers

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        config, shapes = save(folder)
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder)
        questions, logits = [], []
        for question, context in TEXTS.items():
            windows = windows_of(folder, question, context)
            logits.append(logits_of(model.eval(), windows))
            answers = answers_of(context, windows, logits[-1])
            said = {"question": question, "context": context, "windows": windows}
            questions.append(said | answers)
    about = {"config": config, "shapes": shapes, "pieces": PIECES}
    return about | {"questions": questions}, np.concatenate(logits)


def main() -> None:
    """Write the fixture."""
    TO.parent.mkdir(exist_ok=True)
    about, logits = make()
    np.savez_compressed(TO, about=json.dumps(about), logits=logits)
    print(TO, f"{TO.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
