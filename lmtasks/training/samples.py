"""What the model says during training: a few prompts and answers to look at."""

from __future__ import annotations

import jax

from lmtasks import builder
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.training import evaluate


class _Few:
    """The first records of a split."""

    def __init__(self, records, count: int):
        self._records, self._count = records, min(count, len(records))
        self.fingerprint, self.where = records.fingerprint, records.where

    def __len__(self):
        return self._count

    def __getitem__(self, i):
        return self._records[i]


def make(
    run: builder.Run,
    evaluator: evaluate.Evaluator,
    split: evaluate.Split,
    params,
    said: list,
) -> list[dict]:
    """Return rows {"prompt", "answer", "target"} of the first examples of a split.

    `said` are predictions already made; without them a few are made here.
    """
    count = run.config.decode.samples
    if not count:
        return []
    records = _Few(split.pieces.records, count)
    few = features.Pieces(
        records,
        lambda record: run.objective.asked(run.task.example(record), run.tokenizer),
        run.objective,
        run.tokenizer,
        query=True,
    )
    if not said:
        rng = jax.random.key(run.config.seed)
        said = evaluator.predictions(params, few, rng)
    return [
        {"prompt": prompt_of(e), "answer": s, "target": target_of(e)}
        for e, s in zip(few.examples, said, strict=False)
    ]


def prompt_of(example: examples.Example) -> str:
    """Return what a person would say the example asks."""
    if isinstance(example, examples.Turns):
        turns = example.turns
        asked = turns[:-1] if turns[-1].role == "assistant" else turns
        return "\n".join(turn.text for turn in asked)
    if isinstance(example, examples.Tagged):
        return example.text or " ".join(example.words)
    if isinstance(example, examples.Span):  # its end is what a line shows
        return f"{example.context}\n{example.question}"
    keys = ("context", "text", "pair", "first", "second")
    parts = [getattr(example, key, None) for key in keys]
    return "\n".join(
        part for part in [*parts, *getattr(example, "options", ())] if part
    )


def target_of(example: examples.Example):
    """Return the answer the data gives, or None."""
    if isinstance(example, examples.Turns):
        last = example.turns[-1]
        return last.text if last.role == "assistant" else None
    if isinstance(example, examples.Tagged):
        return " ".join(example.tags) or None
    if isinstance(example, examples.Span):
        return example.answers[0][0] if example.answers else ""
    if isinstance(example, examples.Choice):
        return example.options[example.answer] if example.answer >= 0 else None
    return getattr(example, "label", None)


def line(row: dict) -> str:
    """Return one line for the terminal."""
    end = "" if row["target"] is None else f"  (target {row['target']!r})"
    return f"  {row['prompt'][-60:]!r} -> {said_of(row['answer'])[:160]!r}{end}"


def said_of(answer: dict | None) -> str:
    """Return what a prediction says, in one text."""
    answer = answer or {}
    if "similarity" in answer:
        return f"similarity {answer['similarity']:.3f}"
    tags = " ".join(answer.get("tags") or ())
    return str(answer.get("text") or answer.get("label") or tags)
