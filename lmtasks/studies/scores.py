"""Scores of every example of an evaluation: scores-SPLIT.jsonl of a work directory.

Its first line says what was scored, {"task", "split", "step", "metrics": {name: form},
"digest"}; each further line is an example: {"id", "text", "target", "said", "fields",
"sums"}. `fields` are what examples can be grouped by, `sums` the numbers of
`metrics.sums`. The digest is that of all else, so that an edit by hand shows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence

from lmtasks.metrics import forms
from lmtasks.training import files

# Of a text that is kept to be looked at, and of a field to group by.
_SHOWN = 400
_SHORT = 40


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a split.

    Attributes:
        task, split, step: of what.
        parts: score -> its numbers for each example.
        examples: [{"id", "text", "target", "said", "fields"}].
    """

    task: str
    split: str
    step: int
    parts: dict[str, forms.Sums]
    examples: Sequence[dict]

    @property
    def ids(self) -> list[str]:
        """Of the records."""
        return [one["id"] for one in self.examples]


def path_of(folder: str, split: str) -> pathlib.Path:
    """Return where the scores of a split lie."""
    return pathlib.Path(folder) / f"scores-{split}.jsonl"


def write(folder: str, scores: Scores) -> None:
    """Write scores-SPLIT.jsonl whole or not at all."""
    head = {"task": scores.task, "split": scores.split, "step": scores.step}
    head["metrics"] = {name: part.form for name, part in scores.parts.items()}
    lines = []
    for i, one in enumerate(scores.examples):
        numbers = {name: part.rows[i] for name, part in scores.parts.items()}
        lines.append(json.dumps(one | {"sums": numbers}, ensure_ascii=False))
    first = json.dumps(head | {"digest": _digest(head, lines)})
    files.write_text(path_of(folder, scores.split), "\n".join([first, *lines]) + "\n")


def _digest(head: dict, lines: Sequence[str]) -> str:
    """Return digits of the first line, its own digest left out, and the others."""
    plain = {key: value for key, value in head.items() if key != "digest"}
    whole = "\n".join([json.dumps(plain), *lines])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def read(folder: str, split: str) -> Scores:
    """Return the scores of a split of a run.

    Raises:
        ValueError: there are none, or the file is not whole, or was edited.
    """
    path = path_of(folder, split)
    if not path.exists():
        if files.read_config(folder) is None:
            raise ValueError(
                f"{folder} is not a work directory: there is no config.json"
            )
        raise ValueError(
            f"{folder} has no scores of {split} yet; run lmtasks eval "
            f"--workdir={folder} --split={split}"
        )
    try:
        # As one list: half the time of line by line. Texts may hold other line ends.
        lines = path.read_text().rstrip("\n").split("\n")
        head, *rows = json.loads(f"[{','.join(lines)}]")
        if "digest" in head and head["digest"] != _digest(head, lines[1:]):
            raise ValueError("it was edited by hand")
        parts = {
            name: forms.Sums(form, [row["sums"][name] for row in rows])
            for name, form in head["metrics"].items()
        }
        unknown = {part.form for part in parts.values()} - forms.FORMS.keys()
        if unknown or not rows:
            raise ValueError(f"form {unknown}" if unknown else "no examples")
        examples = [{k: v for k, v in row.items() if k != "sums"} for row in rows]
        return Scores(head["task"], head["split"], head["step"], parts, examples)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not what lmtasks eval wrote ({type(error).__name__}: {error}); "
            f"run lmtasks eval --workdir={folder} --split={split} again"
        ) from None
