"""Texts as vectors by any run: what lies under its head, pooled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.models import model as models
from lmtasks.objectives import base
from lmtasks.objectives import embed
from lmtasks.training import evaluate
from lmtasks.training import writing


def trunk(model: models.Model) -> models.Model:
    """Return the model without its head, an encoder-decoder's encoder; it reads the
    parameters of the whole.
    """
    decoder = model.architecture == "decoder"
    architecture = "decoder" if decoder else "encoder"
    return dataclasses.replace(model, architecture=architecture, head="none", classes=0)


def embed_texts(
    loaded: writing.Loaded, texts: Sequence[str], options: embed.Options
) -> tuple[np.ndarray, dict[str, int]]:
    """Return (float32[N, D], counts), a vector for each text in order.

    Args:
        loaded: any run; a text reads as its architecture reads one, cut to data.length
            (an encoder-decoder's to data.source_length) unless data.on_long=raise.
        texts: none of them empty.
        options: pooling, and whether vectors have length 1.

    Returns:
        The counts have "cut", how many texts were too long, and "tokens_cut".

    Raises:
        ValueError: an empty text.
    """
    run = loaded.run
    setting = run.objective.setting
    if run.model.architecture == "encoder_decoder":
        setting = dataclasses.replace(setting, length=setting.source_length)
    for i, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"text {i + 1} is empty; leave it out")
    objective = _Plain(embed.Embed(setting, options))
    raises = run.config.data.on_long == "raise"
    pieces = features.Pieces(
        writing.Given([examples.Text(text) for text in texts]),
        lambda example: example,
        objective,
        run.tokenizer,
        on_long="raise" if raises else "truncate",  # every text has its vector
        query=True,
    )
    changed = dataclasses.replace(run, objective=objective, model=trunk(run.model))
    found = evaluate.Evaluator(changed, loaded.mesh)
    rows = found.predictions(loaded.params, pieces, jax.random.key(0))
    counts = {key: pieces.counts.get(key, 0) for key in ("cut", "tokens_cut")}
    width = run.model.cfg.width
    return np.asarray(rows, np.float32).reshape(len(texts), width), counts


@dataclasses.dataclass(frozen=True)
class _Plain(base.Objective):
    """Answers with arrays, which a list of numbers would be ten times the size of."""

    objective: embed.Embed
    head = "none"
    gather = False

    @property
    def setting(self):
        return self.objective.setting

    @property
    def loss(self):
        return self.objective.loss

    @property
    def predict(self):
        return self.objective.predict

    def query(self, example, tokenizer):
        return self.objective.query(example, tokenizer)

    def answer(self, outputs, example, tokenizer):
        return outputs[0]["vector"]
