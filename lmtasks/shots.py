"""Solved examples before a prompt (few-shot), drawn from the training split.

    Review: a gem Sentiment: positive

    Review: dull Sentiment: negative

    Review: I left early Sentiment:

The same for every text, by the seed alone. (Brown et al., 2020, arXiv:2005.14165)
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lmtasks.data import chat
from lmtasks.data import examples as kinds
from lmtasks.data import features
from lmtasks.data import templates
from lmtasks.tasks import base as task_base

# Between two shots, and what ends a text that goes on with another one; the second where
# answers have empty lines themselves.
BETWEEN = ("\n\n", "\n\n###\n\n")


def with_shots(
    task: task_base.Task, records, count: int, seed: int, order: int = 0
) -> task_base.Task:
    """Return the task with `count` solved examples before its prompt, and what stands
    between them as what ends a text.

    Args:
        task: with its labels and prompt.
        records: of the training split. count: how many shots. seed: which ones.
        order: 0 = as they were drawn; another number, another order of the same ones.

    Raises:
        ValueError: fewer records have an answer.
    """
    said: list[str] = []
    for i in np.random.default_rng(seed).permutation(len(records)):
        if len(said) == count:
            break
        example = features.read_example(records, int(i), task.example)
        text = shot(example, task)
        said += [text] if text else []
    if len(said) < count:
        raise ValueError(
            f"prompt.shots={count}: the training split has {len(said)} records with an "
            "answer; lower it"
        )
    if order:
        said = [said[i] for i in np.random.default_rng(order).permutation(count)]
    between = BETWEEN[any(BETWEEN[0] in text for text in said)]
    before = between.join([*said, ""]).replace("{", "{{").replace("}", "}}")
    return dataclasses.replace(
        task,
        prompt=before + task.prompt,
        prompts={},
        decode={**task.decode, "stop": (between,)},
    )


def shot(example: kinds.Example, task: task_base.Task) -> str:
    """Return an example as its prompt and answer; "" where it has no answer."""
    turns = chat.as_turns(example, task.prompt, task.labels)
    before, reply = chat.split_reply(turns)
    if not reply or not reply.strip():
        return ""
    asked = "".join(turn.text for turn in before)
    return asked + chat.reply_text(reply, templates.Template())
