"""Our side of the answers: a work directory as the product reads it, in a process."""

from __future__ import annotations

import functools
import pathlib
import time

import jax

from configs import base
from experiments.benchmarks import cases
from experiments.benchmarks import convert
from experiments.benchmarks import questions_cases
from experiments.benchmarks import sides
from lmtasks import api
from lmtasks import builder
from lmtasks import decoding
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import pipeline
from lmtasks.models import model as models
from lmtasks.training import evaluate
from lmtasks.training import exports
from lmtasks.training import imports
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import runtime
from lmtasks.training import workdir
from lmtasks.training import writing


def build(case: questions_cases.Case, plan: questions_cases.Plan) -> builder.Run:
    """Return the run of a case; what is not said here is the product's default."""
    c = base.finetune()
    c.architecture, c.task = "encoder", "extractive_qa"
    c.model.preset = f"{case.family}/{case.size}"
    c.tokenizer.path = plan.vocab
    c.data.length, c.span.stride = case.length, case.stride
    c.eval.batch_size = case.batch
    if plan.bucket:
        c.data.buckets = tuple(range(plan.bucket, case.length, plan.bucket))
    return builder.build(c)


def write(run: builder.Run, folder: str) -> None:
    """Write the work directory of a run, with parameters as convert.random_value."""
    like = workdir.like_params(run.model, parallel.make_mesh(run.parallel))

    def value(path, x):
        drawn = convert.random_value(masks.name_of(path), x.shape, run.model.cfg)
        return jax.device_put(drawn, x.sharding)

    params = jax.tree_util.tree_map_with_path(value, like)
    place = workdir.open_new(folder)
    imports.write_workdir(run, params, place, {"from": "a benchmark"})


def taken(run: builder.Run, pairs, windows: int) -> list[examples.Span]:
    """Return the first questions that have so many windows together, or one more."""
    found, count = [], 0
    for question, context in questions_cases.repeated(pairs):
        found.append(examples.Span(question, context))
        count += len(run.objective.query(found[-1], run.tokenizer))
        if count >= windows:
            return found


class Answering:
    """One case, answered again and again by a run that is loaded once."""

    def setup(self, plan: dict) -> dict:
        """Write the work directory, load it, read the questions; return what is there."""
        self.plan = questions_cases.Plan(**plan)
        table = questions_cases.CASES
        self.case = cases.choose(self.plan.case, table)[0]
        device = jax.devices()[0]
        if device.platform == "gpu":
            # Not tf32: both sides must give the same answers.
            jax.config.update("jax_default_matmul_precision", "highest")
        runtime.keep_memory()
        write(build(self.case, self.plan), self.plan.work)
        self.loaded = api.load(self.plan.work)
        run = self.loaded.run
        pairs = questions_cases.read(self.plan.data)
        self.given = taken(run, pairs, self.case.windows)
        self.evaluator = evaluate.Evaluator(run, self.loaded.mesh)
        self._prepare()
        pieces = self.pieces
        return {
            "platform": device.platform,
            "device": device.device_kind,
            "parameters": models.count(self.loaded.params),
            "jax": jax.__version__,
            "cores": sides.cores(),
            "of": len(pairs),
            "questions": len(self.given),
            "windows": len(pieces),
            "tokens": int(pieces.tokens.sum()),
            "slots": sum(batch["tokens"].size for batch in self.batches),
            "shapes": len({batch["tokens"].shape for batch in self.batches}),
            "digest": questions_cases.digest(p.features["tokens"] for p in pieces),
        }

    def export(self) -> dict:
        """Write the same model for transformers."""
        exports.export(
            self.loaded.run,
            self.loaded.params,
            folder=self.plan.work,
            to=pathlib.Path(self.plan.checkpoint),
        )
        return {}

    def _prepare(self):
        """Set the batches and the program of the model alone, as Evaluator has them."""
        run = self.loaded.run
        self.pieces = self._windows()
        lengths = builder.buckets_of(run.config, run.config.data.length)
        size, shape = run.config.eval.batch_size, pack.Shape(lengths)
        self.batches = list(pipeline.eval_batches(self.pieces, size, shape))
        model = decoding.model_of(run, writes=False)
        self.program = jax.jit(functools.partial(run.objective.predict, model))

    def _windows(self) -> features.Pieces:
        run = self.loaded.run
        return features.Pieces(
            writing.Given(self.given),
            lambda example: example,
            run.objective,
            run.tokenizer,
            on_long=run.config.data.on_long,
            query=True,
        )

    def _answer(self) -> list[dict]:
        """Return a prediction a question: from texts to texts, as api.predict does."""
        rng = jax.random.key(0)
        return self.evaluator.predictions(self.loaded.params, self._windows(), rng)

    def _forward(self) -> None:
        """Read all prepared batches with the model alone."""
        mesh = self.loaded.mesh
        sharding = parallel.batch_sharding(mesh)
        with jax.set_mesh(mesh), parallel.rules():
            for batch in self.batches:
                placed = parallel.put(batch, sharding)
                jax.device_get(self.program(self.loaded.params, placed))

    def answers(self) -> dict:
        """Return the first call's answers and seconds, compiling included."""
        start = time.perf_counter()
        said = self._answer()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "answers": [_brief(one) for one in said]}

    def run(self, part: str, seconds: float) -> dict:
        """Return the seconds of a call, mean over as many as fill `seconds`.

        Args:
            part: "all" from texts to texts, or "model": prepared batches alone.
            seconds: that the calls take together at least; there is one at least.
        """
        return sides.timed({"all": self._answer, "model": self._forward}[part], seconds)


def _brief(said: dict) -> dict:
    """Return a prediction with no more than is compared."""
    keys = ("start", "end", "score")
    best = [[one[key] for key in keys] for one in said["n_best"]]
    return {"text": said["text"], "start": said["start"], "end": said["end"]} | {
        "n_best": best
    }


def main() -> None:
    """Answer the parent until it closes the pipe."""
    answering = Answering()
    names = ("setup", "export", "answers", "run")
    sides.serve({name: getattr(answering, name) for name in names})


if __name__ == "__main__":
    main()
