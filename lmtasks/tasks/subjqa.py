"""SubjQA: what do reviews say of a thing? (Bjerva et al., 2020)

Over half of the questions have no answer. A folder of *_train.csv, *_validation.csv and
*_test.csv (also .gz) as published, one for each sort of thing; all are read, or those
that config.data.files names: --config.data.files.train=restaurants_train.csv.

The annotators' answers are cut into words ("$ 11" for "$11"): in about 8% of the rows
they do not stand where the row says. Such an answer is looked for with other spaces,
then with other punctuation, and the occurrence nearest to the stated place is taken.
Where there is none (under 2%: words picked here and there) the row is malformed: set
config.data.on_error=skip, which counts them.
"""

import dataclasses
import re
from collections.abc import Iterator

from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

# Ends every review, as what annotators marked for want of an answer.
_NONE = "ANSWERNOTFOUND"
_COLUMNS = ("question", "review", "human_ans_spans", "human_ans_indices")
_PAIR = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def read(path: str) -> Iterator[readers.Row]:
    """Yield {"id", "question", "context", "answers"} of a file."""
    for number, row in readers.csv_table(path):
        if isinstance(row, readers.Bad):
            yield number, row
            continue
        missing = [name for name in _COLUMNS if name not in row]
        if missing:
            raise ValueError(
                f"{path} has no column {missing[0]!r} among {', '.join(row)}; "
                "SubjQA's own files have it, for others use task=extractive_qa."
            )
        yield number, _question(row)


def _question(row: dict) -> dict | readers.Bad:
    context = row["review"].removesuffix(_NONE).rstrip()
    answer, stated = row["human_ans_spans"], _PAIR.fullmatch(row["human_ans_indices"])
    record = {
        "id": row.get("q_review_id", ""),
        "question": row["question"],
        "context": context,
        "answers": [],
    }
    if answer == _NONE:
        return record
    if stated is None:
        return readers.Bad(
            f"human_ans_indices {row['human_ans_indices']!r} are no pair"
        )
    found = place(answer, int(stated[1]), context)
    if found is None:
        return readers.Bad(f"the answer {answer[:60]!r} does not occur in the review")
    start, end = found
    return record | {"answers": [(context[start:end], start)]}


def place(answer: str, stated: int, context: str) -> tuple[int, int] | None:
    """Return (start, end) of the occurrence nearest to a stated start, or None.

    Spaces may differ; where it then does not occur, all but letters and digits may.

    >>> place("for $ 750", 3, "no: for $750!")
    (4, 12)
    """
    signs = "".join(answer.split())
    for between, wanted in ((r"\s*", signs), (r"\W*", re.sub(r"\W", "", signs))):
        if not wanted:
            continue
        pattern = between.join(map(re.escape, wanted))
        found = [match.span() for match in re.finditer(pattern, context)]
        if found:
            return min(found, key=lambda span: abs(span[0] - stated))
    return None


TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(files={"*": "*_{split}.csv"}, read=read),
    metrics=(spans.squad_v2,),
    samples=(
        {
            "question": "How is the sound?",
            "context": "The sound is clear and the cable long enough.",
            "answers": [("The sound is clear", 0)],
        },
        {
            "question": "How is the case?",
            "context": "The sound is clear and the cable long enough.",
            "answers": [],
        },
        {
            "question": "Was the service good?",
            "context": "We waited an hour. The soup was worth it.",
            "answers": [("We waited an hour", 0)],
        },
    ),
)
