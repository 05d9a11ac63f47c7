"""SQuAD 1.1 by writing the answer. (Rajpurkar et al., 2016)

Where squad points at the answer, squad_gen writes it. TFDS squad/v1.1, or a folder of
train-v1.1.json and dev-v1.1.json as published, or of train.json and validation.json in
this form. The first answer is learned, all are accepted; scores are 0-100 by SQuAD's
rule.
"""

from lmtasks.data import examples
from lmtasks.metrics import spans
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq
from lmtasks.tasks import squad

PROMPT = "Context: {context} Question: {question} Answer:"


def example(record: base.Record) -> examples.Turns:
    """Return context and question as the prompt, the first answer as the reply."""
    replies = tuple(dict.fromkeys(text for text, _ in record["answers"]))
    fields = {"context": record["context"], "question": record["question"]}
    return seq2seq.asked(PROMPT, replies, **fields)


TASK = base.Task(
    source=squad.TASK.source,
    example=example,
    kind=examples.Turns,
    metrics=(spans.squad_v1,),
    prompt=PROMPT,
    prompts={"t5": "question: {question} context: {context}"},
    samples=squad.TASK.samples,
)
