"""GSM8K: school mathematics with written steps. (Cobbe et al., 2021)

TFDS gsm8k (the end of its train split is validation), or a folder of train.jsonl,
validation.jsonl and test.jsonl: question, answer. The calculator marks <<3*4=12>> are
left out and "#### 12" becomes "The answer is 12."
"""

import dataclasses
import re

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

_CALCULATOR = re.compile("<<.*?>>")
_FINAL = re.compile(r"####\s*(.*\S)\s*$")


def example(record: base.Record) -> examples.Turns:
    """Return the question as the prompt, the steps and the answer as the reply."""
    steps = _FINAL.sub(r"The answer is \1.", record["answer"])
    replies = [_CALCULATOR.sub("", steps)]
    return seq2seq.asked(seq2seq.QUESTION, replies, question=record["question"])


TASK = dataclasses.replace(
    seq2seq.SOLUTIONS,
    source=sources.Source(
        tfds="gsm8k",
        splits={"train": "train[:93%]", "validation": "train[93%:]", "test": "test"},
        files={"*": "{split}.jsonl"},
    ),
    example=example,
    samples=(
        {
            "question": "Lena buys 3 bags of 4 apples and eats 2. How many are left?",
            "answer": "She buys 3*4=<<3*4=12>>12 apples.\n12-2=<<12-2=10>>10\n#### 10",
        },
        {
            "question": "A bus carries 40 people. How many buses carry 120?",
            "answer": "120/40=<<120/40=3>>3 buses.\n#### 3",
        },
        {
            "question": "A pen costs $600 and ink $450. What do both cost?",
            "answer": "600+450=<<600+450=1050>>1050\n#### 1,050",
        },
    ),
)
