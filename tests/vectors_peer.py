"""Attention weights and mean-pooled vectors of transformers, for tiny checkpoints.

    python tests/vectors_peer.py    # rewrites tests/fixtures/vectors.npz

torch and transformers are imported inside functions, so that a test can name this
module without them.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE)]

import checkpoints
from reference import make
from reference import values

FIXTURE = HERE / "fixtures" / "vectors.npz"
# Plain, one layer for all, grouped heads, a window, relative positions and two stacks.
CASES = ("bert", "albert", "llama", "mistral", "gemma2", "t5", "bart", "deberta")
SIDES = {
    "attentions": "own",
    "encoder_attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
}
TEXTS = ("a b c", "w7", "the cat sat on w3 and w4", "hello w9 w9")


def attentions(name: str) -> dict[str, np.ndarray]:
    """Return {"CASE/SIDE": float32[L, B, N, T, S]} of a case's batch; side "own" is the
    only stack.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        config, _ = make.save(name, pathlib.Path(folder))
        model = make.load(name, pathlib.Path(folder))
    model.set_attn_implementation("eager")
    batch = values.batch(config.get("type_vocab_size", 0), "d_model" in config)

    def ids(key, positions):
        mask = batch[positions] >= 0
        return torch.tensor(batch[key]).long(), torch.tensor(mask).long()

    tokens, mask = ids("tokens", "positions")
    given = {"input_ids": tokens, "attention_mask": mask}
    if "source" in batch:
        given = {"decoder_input_ids": tokens, "decoder_attention_mask": mask}
        source = ids("source", "source_positions")
        given["input_ids"], given["attention_mask"] = source
    if "token_types" in batch:
        given["token_type_ids"] = torch.tensor(batch["token_types"]).long()
    with torch.no_grad():
        found = model(**given, output_attentions=True)
    return {
        f"{name}/{side}": np.stack([x.numpy() for x in found[key]])
        for key, side in SIDES.items()
        if found.get(key) is not None
    }


def vectors() -> np.ndarray:
    """Return float32[N, D]: TEXTS by BERT's own tokenizer and body, the mean of the
    last hidden states of each text, [CLS] and [SEP] included.
    """
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make.save("bert-classify", folder)
        checkpoints.write_vocab(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    given = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**given).last_hidden_state
    mask = given["attention_mask"][..., None].float()
    return ((hidden * mask).sum(1) / mask.sum(1)).numpy()


def main() -> None:
    """Write the fixture."""
    arrays = {"vectors": vectors()}
    for name in CASES:
        arrays |= attentions(name)
    np.savez_compressed(FIXTURE, **arrays)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
