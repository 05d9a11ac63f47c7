"""One's own source and target texts: records {"source", "target"}.

For translation, summaries, questions with written answers. Two files that correspond
line by line are parallel text: config.data.files.train=train.en+train.de. `references`
may list further accepted targets. The source is the prompt as it stands.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Turns:
    """Return the source as the user's turn, the target as the assistant's."""
    return turns(record["source"], record["target"], *record.get("references", ()))


def turns(prompt: str, reply: str, *references: str) -> examples.Turns:
    """Return one question with its reply; also used by other tasks."""
    said = (examples.Turn("user", prompt), examples.Turn("assistant", reply))
    return examples.Turns(said, tuple(references))


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Turns,
    metrics=(
        generation.exact_match,
        generation.token_f1,
        generation.bleu,
        generation.chrf,
    ),
    prompt="",
    samples=(
        {"source": "reverse: a b c", "target": "c b a"},
        {"source": "reverse: x y", "target": "y x"},
        {"source": "name a fruit", "target": "apple", "references": ["pear", "plum"]},
    ),
)
