"""Several tasks trained as one: what each says becomes turns, each is scored alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import records as recorded
from lmtasks.data import sources
from lmtasks.tasks import base

NAME = "mixture"


@dataclasses.dataclass(frozen=True)
class Part:
    """One task of a mixture, its name and the options of its own data."""

    name: str
    task: base.Task
    options: sources.DataOptions

    def records(self, split: str, limit: int = 0) -> recorded.Records:
        """Return the records of a split; one the task cannot read is malformed."""
        options = self.options
        if limit:
            options = dataclasses.replace(options, limit=limit)
        return sources.open_split(
            self.task.source, split, options, check=self.task.example
        )

    def has(self, split: str) -> bool:
        """Return whether the task's data has the split."""
        return sources.has_split(self.task.source, split, self.options)


@dataclasses.dataclass(frozen=True)
class Said(examples.Turns):
    """Turns of a task of a mixture: which, and the example they were made of."""

    part: int = 0
    origin: examples.Example | None = None


def turned(parts: Sequence[Part], number: int, record: base.Record) -> examples.Example:
    """Return a record of a part: its text as it is, anything else as turns."""
    task = parts[number].task
    example = task.example(record)
    if isinstance(example, examples.Text):
        return example
    turns = chat.as_turns(example, task.prompt, task.labels)
    said = {"fields": turns.fields, "part": number, "origin": example}
    return Said(turns.turns, turns.references, **said)


def task_of(parts: Sequence[Part], limit: int = 0) -> base.Task:
    """Return the parts as one task, for evaluation: splits one behind the other.

    Args:
        parts: two or more, all of plain text or none.
        limit: evaluate only so many records of each; 0 = all.

    Raises:
        ValueError: fewer, or plain text beside tasks that have answers.
    """
    if len(parts) < 2:
        raise ValueError(
            f"task={NAME!r} mixes two tasks or more; name them in mix.tasks"
        )
    plain = [part.name for part in parts if part.task.kind is examples.Text]
    if plain and len(plain) < len(parts):
        raise ValueError(
            f"mix.tasks: {plain[0]} is plain text, the others have answers; mix either "
            "texts or tasks that write"
        )
    for part in parts:
        if part.task.kind is examples.Tagged and not part.task.labels:
            raise ValueError(
                f"mix.tasks: {part.name} finds its tags in its data; train it alone"
            )
        if _counts_labels(part.task):
            raise ValueError(
                f"mix.tasks: {part.name} finds its labels in its data; train it alone, or "
                "write its records as prompts with replies (task chat or seq2seq)"
            )

    def make(split: str, seed: int) -> Together:
        del seed
        found = Together()
        for number, part in enumerate(parts):
            if part.has(split):
                records = part.records(split, 0 if split == "train" else limit)
                found.skipped += records.skipped
                found += [
                    {"part": number, "record": records[i]} for i in range(len(records))
                ]
        return found

    splits = [s for s in sources.SPLITS if any(part.has(s) for part in parts)]
    first = dataclasses.replace(parts[0].task, metrics=(), samples=(), labels=())
    return dataclasses.replace(
        first,
        source=sources.Source(splits={s: s for s in splits}, make=make),
        example=lambda record: turned(parts, record["part"], record["record"]),
        kind=examples.Text if plain else examples.Turns,
        metrics=() if plain else (functools.partial(scores, parts),),
        prompt="",
        prompts={},
        parse=functools.partial(_parse, parts),
        finish=None,
        objective="clm" if plain else "generate",
        decode={},
    )


class Together(list):
    """Records of several tasks; `skipped` were malformed."""

    skipped = 0


def _counts_labels(task: base.Task) -> bool:
    """Return whether a task's classes are those of its data."""
    if task.kind is not examples.Labelled or task.labels or not task.samples:
        return False
    return not isinstance(task.example(task.samples[0]).label, float)


def _parse(parts: Sequence[Part], text: str, example, labels) -> base.Prediction:
    del labels
    if not isinstance(example, Said):  # a prompt of nobody's, at inference
        return {"text": text}
    task = parts[example.part].task
    found = task.parse(text, example.origin, task.labels)
    return found if task.finish is None else task.finish(found, example.origin)


def scores(
    parts: Sequence[Part],
    predictions: Sequence[base.Prediction],
    scored: Sequence[Said],
) -> dict[str, float]:
    """Return the metrics of each task over its own examples, named TASK/METRIC."""
    out = {}
    for number, part in enumerate(parts):
        pairs = [
            (said, example.origin)
            for said, example in zip(predictions, scored, strict=True)
            if example.part == number
        ]
        for metric in part.task.metrics if pairs else ():
            said, origins = zip(*pairs, strict=True)
            found = metric(list(said), list(origins))
            out |= {f"{part.name}/{name}": value for name, value in found.items()}
    return out
