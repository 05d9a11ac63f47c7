"""NQ-open: answers without a text at hand. (Lee et al., 2019)

TFDS natural_questions_open (a twentieth of its train split is validation), or a folder
of train.jsonl, validation.jsonl and test.jsonl: question, answer. The first answer is
learned, all are accepted; scores are 0-100 by SQuAD's rule.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return the question as the prompt, its first answer as the reply."""
    question = record["question"]
    return seq2seq.asked(seq2seq.QUESTION, record["answer"], question=question)


TASK = base.Task(
    source=sources.Source(
        tfds="natural_questions_open",
        splits={
            "train": "train[:95%]",
            "validation": "train[95%:]",
            "test": "validation",
        },
        files={"*": "{split}.jsonl"},
    ),
    example=example,
    kind=examples.Turns,
    metrics=(spans.squad_v1,),
    prompt=seq2seq.QUESTION,
    prompts=seq2seq.QUESTIONS,
    samples=(
        {"question": "when was the mill built", "answer": ["1790", "in 1790"]},
        {"question": "who wrote the harbour song", "answer": ["Ada Berg"]},
        {"question": "what is the capital of norway", "answer": ["Oslo"]},
    ),
)
