"""Our side of the translations: a work directory as `lmtasks eval` reads it."""

from __future__ import annotations

import dataclasses
import pathlib
import time

import jax
import numpy as np

from experiments.benchmarks import sides
from experiments.benchmarks import translation_plan
from lmtasks import api
from lmtasks import schema
from lmtasks.models import model as models
from lmtasks.objectives import generate
from lmtasks.training import evaluate
from lmtasks.training import exports
from lmtasks.training import files
from lmtasks.training import masks
from lmtasks.training import runtime
from lmtasks.training import workdir

# Both sides: the plan that transformers' generate has with early_stopping=False.
DECODE = {
    "method": "beam", "beams": translation_plan.BEAMS, "length_penalty": "average",
    "length_exponent": 1.0, "early_stopping": "bound",
    "max_tokens": translation_plan.NEW,
}  # fmt: skip


def as_t5(run, params):
    """Return (run, params) of the same model in T5's own form.

    T5 scales no attention and its tied head by 1 / sqrt(D): the queries and the last norm
    take up what our shape says otherwise.
    """
    cfg = run.model.cfg
    width, scale = cfg.width, cfg.attention.scale or cfg.head_dim**-0.5

    def folded(path, x):
        name = masks.name_of(path)
        if name.endswith("/query"):
            return x * scale
        if name == "decoder/norm/scale":
            return x * (cfg.head_scale * width**0.5)
        return x

    attention = dataclasses.replace(cfg.attention, scale=1.0)
    shape = dataclasses.replace(cfg, attention=attention, head_scale=width**-0.5)
    model = dataclasses.replace(run.model, cfg=shape)
    return dataclasses.replace(run, model=model), jax.tree_util.tree_map_with_path(
        folded, params
    )


class Translating:
    """One split, translated again and again by a run that is loaded once."""

    def setup(self, plan: dict) -> dict:
        """Load the run and its split; return what is there."""
        self.plan = translation_plan.Plan(**plan)
        device = jax.devices()[0]
        if device.platform == "gpu":
            # Not tf32: both sides must give the same translations.
            jax.config.update("jax_default_matmul_precision", "highest")
        runtime.keep_memory()
        config = schema.from_stored(files.read_config(self.plan.work))
        config.data.dir = self.plan.data
        config.eval.batch_size, config.eval.limit = self.plan.batch, self.plan.limit
        for key, value in DECODE.items():
            config.decode[key] = value
        best = workdir.best(self.plan.work)
        self.loaded = api.load(self.plan.work, best, config)
        self.evaluator = evaluate.Evaluator(self.loaded.run, self.loaded.mesh)
        self.pieces = self._read()
        return {
            "platform": device.platform,
            "device": device.device_kind,
            "parameters": models.count(self.loaded.params),
            "jax": jax.__version__,
            "cores": sides.cores(),
            "sentences": len(self.pieces),
        }

    def _read(self):
        split = evaluate.read_split(self.loaded.run, self.plan.split, predict=True)
        return split.queries

    def export(self) -> dict:
        """Write the model for transformers, and the source ids."""
        run, params = as_t5(self.loaded.run, self.loaded.params)
        checkpoint = pathlib.Path(self.plan.checkpoint)
        exports.export(run, params, folder=self.plan.work, to=checkpoint)
        rows = [self.pieces[i].features["source"] for i in range(len(self.pieces))]
        tokenizer = run.tokenizer
        np.savez(
            self.plan.ids,
            ids=np.concatenate(rows),
            lengths=np.asarray([len(row) for row in rows]),
            start=generate.decoder_start(tokenizer)[0],
            pad=tokenizer.pad_id,
            eos=tokenizer.eos_id,
        )
        return {}

    def _translate(self) -> list[dict]:
        """Return a prediction a sentence: from texts to texts, as `lmtasks eval` does."""
        rng = jax.random.key(0)
        return self.evaluator.predictions(self.loaded.params, self._read(), rng)

    def texts(self) -> dict:
        """Return the first call's seconds, compiling included, and the texts."""
        start = time.perf_counter()
        said = self._translate()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "texts": [one["text"] for one in said]}

    def decode(self, tokens: list[list[int]]) -> dict:
        """Return the texts of the peer's tokens."""
        decode = self.loaded.run.tokenizer.decode
        return {"texts": [decode(row).removeprefix(" ") for row in tokens]}

    def run(self, seconds: float) -> dict:
        """Return the seconds of a call."""
        return sides.timed(self._translate, seconds)


def main() -> None:
    """Answer the parent until it closes the pipe."""
    translating = Translating()
    names = ("setup", "export", "texts", "decode", "run")
    sides.serve({name: getattr(translating, name) for name in names})


if __name__ == "__main__":
    main()
