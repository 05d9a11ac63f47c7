"""Questions on passages, worded for T0. (Sanh et al., 2022)

DuoRC, Quoref, ROPES, SciQ and HotpotQA: a folder of train.jsonl, validation.jsonl and
test.jsonl, each also .gz: prompt, completion. A literal <|endoftext|> behind a
completion is left out; scores are 0-100 by SQuAD's rule.
"""

import dataclasses

from lmtasks.metrics import spans
from lmtasks.tasks import t0_mixture

TASK = dataclasses.replace(
    t0_mixture.TASK,
    metrics=(spans.squad_v1,),
    samples=(
        {
            "prompt": "Who built the mill?\n\nTwo brothers built it in 1790.",
            "completion": "Two brothers<|endoftext|>",
        },
        {
            "prompt": "When was it built?\n\nTwo brothers built it in 1790.",
            "completion": "1790<|endoftext|>",
        },
        {
            "prompt": "What does the mill grind?\n\nIt grinds oats and rye.",
            "completion": "oats and rye<|endoftext|>",
        },
    ),
)
