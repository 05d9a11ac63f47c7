"""SNLI: does a caption entail another sentence? (Bowman et al., 2015)

TFDS snli, or the corpus's own folder of snli_1.0_train.jsonl, snli_1.0_dev.jsonl and
snli_1.0_test.jsonl with sentence1, sentence2 and gold_label. Pairs whose annotators did
not agree ("-") have no label.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import mnli

LABELS = mnli.LABELS

TASK = dataclasses.replace(
    mnli.TASK,
    source=sources.Source(
        tfds="snli",
        files={
            "train": "snli_1.0_train.jsonl",
            "validation": "snli_1.0_dev.jsonl",
            "test": "snli_1.0_test.jsonl",
        },
    ),
    samples=(
        {
            "premise": "A girl in a red coat throws a snowball.",
            "hypothesis": "A child is outside.",
            "label": 0,
        },
        {
            "premise": "A girl in a red coat throws a snowball.",
            "hypothesis": "The girl plays with her brother.",
            "label": 1,
        },
        {
            "sentence1": "A girl in a red coat throws a snowball.",
            "sentence2": "A girl sleeps in her bed.",
            "gold_label": "contradiction",
        },
    ),
)
