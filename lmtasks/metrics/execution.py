"""pass@k: written Python against the tests of its example, run in a jail."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmtasks import sandbox
from lmtasks.data import examples
from lmtasks.metrics import code
from lmtasks.metrics import inputs

# The first block that a reply sets off as code.
_BLOCK = re.compile(r"```(?:[\w+-]*\n)?(.*?)(?:```|\Z)", re.DOTALL)
AT = (1, 10, 100)


def pass_at(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"pass@1", "pass@10", "pass@100"} for as many as the texts of a prediction
    allow, the mean over examples, and "timeouts", texts that were stopped.

    Every text of a prediction ("texts", else "text") is a sample.

    Raises:
        sandbox.Unavailable: the jail cannot be built on this machine.
        ValueError: an example has no tests.
    """
    inputs.check(predictions, scored)
    for i, example in enumerate(scored):
        if not getattr(example, "tests", ""):
            raise ValueError(
                f"example {i} has no tests that written code could be run against; "
                "leave --allow_code_exec out."
            )
    samples = [p.get("texts") or [p.get("text") or ""] for p in predictions]
    pairs = zip(samples, scored, strict=True)
    programs = [
        (example.opening + code_of(text), example.tests)
        for texts, example in pairs
        for text in texts
    ]
    outcomes = iter(sandbox.run_all(programs))
    found = [[next(outcomes) for _ in texts] for texts in samples]
    right = [sum(one.passed for one in each) for each in found]
    fewest = min(map(len, samples))
    out = {
        f"pass@{k}": sum(
            code.pass_at_k(len(texts), n, k)
            for texts, n in zip(samples, right, strict=True)
        )
        / len(scored)
        for k in AT
        if k <= fewest
    }
    stopped = sum(one.reason == "time" for each in found for one in each)
    return out | {"timeouts": float(stopped)}


def code_of(text: str) -> str:
    """Return the first block between ``` of a text, all of it where there is none."""
    block = _BLOCK.search(text)
    return block[1] if block else text
