"""WebQuestions: answers without a text at hand. (Berant et al., 2013)

TFDS web_questions (a tenth of its train split is validation), or a folder of
train.json, validation.json and test.json: qText, answers. The first answer is learned,
all are accepted; scores are 0-100 by SQuAD's rule.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return the question as the prompt, its first answer as the reply."""
    question = record["question"]
    return seq2seq.asked(seq2seq.QUESTION, record["answers"], question=question)


TASK = base.Task(
    source=sources.Source(
        tfds="web_questions",
        splits={"train": "train[:90%]", "validation": "train[90%:]", "test": "test"},
        files={"*": "{split}.json"},
        fields={"question": "qText"},
    ),
    example=example,
    kind=examples.Turns,
    metrics=(spans.squad_v1,),
    prompt=seq2seq.QUESTION,
    prompts=seq2seq.QUESTIONS,
    samples=(
        {"question": "what is the capital of norway?", "answers": ["Oslo"]},
        {"question": "who are the twins?", "answers": ["Ada Berg", "Ida Berg"]},
        {"question": "which month comes after may?", "answers": ["June"]},
    ),
)
