"""Task: where records come from, what an example is, and how answers are scored."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.data import sources

Record = dict[str, typing.Any]
# A prediction is a json-ready dict: {"label", "score", "scores"} | {"text"} |
# {"tags"} | {"text", "start", "end", "score"} | {"choice", "scores"}.
Prediction = dict[str, typing.Any]
Metric = Callable[[Sequence[Prediction], Sequence[examples.Example]], dict[str, float]]
Parse = Callable[[str, examples.Example, tuple[str, ...]], Prediction]


def label_or_text(text: str, example: examples.Example, labels) -> Prediction:
    """Return the label the generated text names, or the text itself.

    The label is the one that the stripped text starts with, ignoring case, the
    longest of several; a text that names none gives {"label": None, "text": text}.
    """
    if not isinstance(example, examples.Labelled):
        return {"text": text}
    said = text.strip().casefold()
    named = [name for name in labels if said.startswith(name.strip().casefold())]
    return {"label": max(named, key=len, default=None), "text": text}


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of the house; see the README, "How to add a task".

    Attributes:
        source: split -> indexable records.
        example: turns one record into a text-level example.
        kind: the class of the examples.
        metrics: each maps (predictions, examples) to {name: value}.
        prompt: how the example reads when it is solved by generation: a format
            string over the fields of the example (`{text}`, `{pair}`, ...); of Turns
            over those it says itself, "" where a record holds whole turns.
        prompts: further ones by name, for config.prompt.text.
        labels: class or tag names, the index is the id; () = found in the
            training data and stored with the run.
        parse: generated text -> prediction.
        finish: adds to a prediction what only the example tells, such as the sentences
            that its tags keep.
        objective: what is trained when the config does not say.
        decode: values of config.decode where the config gives none, such as
            {"method": "beam", "beams": 4}.
        samples: a few records of the right form, for tests and `lmtasks tasks`.
    """

    source: sources.Source
    example: Callable[[Record], examples.Example]
    kind: type
    metrics: tuple[Metric, ...] = ()
    prompt: str = "{text}"
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()
    parse: Parse = label_or_text
    finish: Callable[[Prediction, examples.Example], Prediction] | None = None
    objective: str = "generate"
    decode: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    samples: tuple[Record, ...] = ()
