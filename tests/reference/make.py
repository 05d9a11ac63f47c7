"""Write the fixtures: what transformers computes for every case.

    pip install -e '.[parity]' && python tests/reference/make.py [NAME ...]

A fixture holds config.json, names and shapes of the tensors, and, for a ragged batch,
the logits and the last hidden states; the tensors' values follow from their names.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from reference import cases
from reference import values


def save(name: str, folder: pathlib.Path) -> tuple[dict, dict]:
    """Save a case's checkpoint with the values of `values`.

    Returns:
        (config.json, {name of a tensor: shape}), as transformers writes them.
    """
    import transformers
    from safetensors import numpy as safetensors

    case = cases.CASES[name]
    cls = getattr(transformers, case.cls)
    labelled = "Sequence" in case.cls or "Token" in case.cls
    more = {"num_labels": cases.CLASSES} if labelled else {}
    cls(cls.config_class(**case.config, **more)).save_pretrained(folder)
    file = folder / "model.safetensors"
    shapes = {key: x.shape for key, x in safetensors.load_file(file).items()}
    state = values.state(name, shapes)
    safetensors.save_file(state, file, metadata={"format": "pt"})
    return json.loads((folder / "config.json").read_text()), shapes


def load(name: str, folder: pathlib.Path):
    """Return transformers' model of a checkpoint directory."""
    import transformers

    return getattr(transformers, cases.CASES[name].cls).from_pretrained(folder).eval()


def outputs(model, batch: dict) -> dict[str, np.ndarray]:
    """Return {"logits" (or "starts", "ends"), "hidden"} of the last layer."""
    import torch

    def ids(key):
        mask = batch[f"{key}positions"] >= 0
        tokens = np.where(mask, batch["source" if key else "tokens"], pad)
        return torch.tensor(tokens).long(), torch.tensor(mask).long()

    pad = model.config.pad_token_id or 0
    tokens, mask = ids("")
    given = {"input_ids": tokens, "attention_mask": mask}
    if "source" in batch:
        given = {"decoder_input_ids": tokens, "decoder_attention_mask": mask}
        given["input_ids"], given["attention_mask"] = ids("source_")
    if "token_types" in batch:
        given["token_type_ids"] = torch.tensor(batch["token_types"]).long()
    with torch.no_grad():
        found = model(**given, output_hidden_states=True)
        if "source" in batch:
            body = found.decoder_hidden_states[-1]
        else:
            body = model.base_model(**given).last_hidden_state
    logits = (
        found.logits
        if "logits" in found
        else torch.stack([found.start_logits, found.end_logits], -1)
    )
    return {"logits": logits.numpy(), "hidden": body.numpy()}


def write(name: str, to: pathlib.Path) -> None:
    """Write the fixture of a case."""
    with tempfile.TemporaryDirectory() as folder:
        config, shapes = save(name, pathlib.Path(folder))
        model = load(name, pathlib.Path(folder))
    batch = values.batch(config.get("type_vocab_size", 0), "d_model" in config)
    about = json.dumps({"config": config, "shapes": shapes})
    np.savez_compressed(to / f"{name}.npz", about=about, **outputs(model, batch))


def main() -> None:
    """Write all fixtures, or the named ones."""
    to = HERE / "fixtures"
    to.mkdir(exist_ok=True)
    for name in sys.argv[1:] or cases.CASES:
        write(name, to)
        print(name, f"{(to / f'{name}.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
