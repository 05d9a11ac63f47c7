"""Written code: what parses, and pass@k."""

import dataclasses
import doctest
import itertools
import pathlib

import pytest

from lmtasks import sandbox
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import code
from lmtasks.metrics import execution
from lmtasks.tasks import mbpp


def turns(prompt, reply="pass"):
    """Return a prompt with its reply."""
    return examples.Turns(
        (examples.Turn("user", prompt), examples.Turn("assistant", reply))
    )


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("def f(x):\n    return x", True),
        ("x = '\\d'", True),  # a warning is no error
        ("def f(x) return x", False),
        ("", False),
        ("# only a remark", False),
        ("x\0", False),
        ("(" * 400 + ")" * 400, False),
        ("-" * 100_000 + "1", False),
    ],
)
def test_python_is_what_parses(text, right):
    assert code.parses(text) == right
    said = code.valid_syntax([{"text": text}, {"text": "1"}], [turns("p")] * 2)
    assert said == {"valid_syntax": (right + 1) / 2}


@pytest.mark.parametrize(
    ("text", "right"), [("    return 1", True), ("return 1", False), ("  ", False)]
)
def test_a_completion_is_parsed_behind_its_prompt(text, right):
    said = code.valid_completion([{"text": text}], [turns("def f():\n    x = 1\n")])
    assert said == {"valid_syntax": float(right)}


def test_pass_at_k_is_the_share_of_draws_with_a_right_one():
    for samples, right in ((5, 0), (5, 2), (6, 6), (7, 1)):
        for k in range(1, samples + 1):
            draws = list(itertools.combinations(range(samples), k))
            share = sum(min(draw) < right for draw in draws) / len(draws)
            assert code.pass_at_k(samples, right, k) == pytest.approx(share)
    assert code.pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert code.pass_at_k(10, 3, 5) == pytest.approx(0.916667, abs=1e-6)
    assert not doctest.testmod(code).failed


@pytest.mark.parametrize(("samples", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0)])
def test_pass_at_k_of_too_few_samples_is_refused(samples, right, k):
    with pytest.raises(ValueError, match="does not exist"):
        code.pass_at_k(samples, right, k)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", "x = 1"),
        ("Sure:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n``` and ```\ny\n```", "x = 1\n"),
        ("```x = 1```", "x = 1"),
        ("```python\nx = 1", "x = 1"),
    ],
)
def test_code_is_the_first_block(text, found):
    assert execution.code_of(text) == found


def test_tests_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="example 0 has no tests"):
        execution.pass_at([{"text": "x"}], [turns("p")])


@pytest.mark.process
def test_pass_at_k_runs_every_text_against_the_tests():
    try:
        sandbox.check()
    except sandbox.Unavailable as error:
        pytest.skip(str(error))
    one = dataclasses.replace(turns("p"), tests="assert add(1, 2) == 3")
    right, wrong = "def add(a, b):\n    return a + b", "def add(a, b):\n    return a"
    said = [{"text": wrong, "texts": [wrong] * 7 + [right] * 3}]
    found = execution.pass_at(said, [one])
    assert found == pytest.approx({"pass@1": 0.3, "pass@10": 1.0, "timeouts": 0.0})
    body = dataclasses.replace(one, opening="def add(a, b):\n")
    said = [{"text": "    return a + b"}, {"text": "while True: pass"}]
    found = execution.pass_at(said, [body, one])
    assert found == {"pass@1": 0.5, "timeouts": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("split", ("train", "validation", "test"))
def test_the_programs_of_mbpp_pass_their_tests_in_the_jail(split):
    folder = pathlib.Path(__file__).parents[1].parent / "shared/data/code/mbpp"
    if not folder.is_dir():
        pytest.skip("the shared data sets are not here")
    options = sources.DataOptions(dir=str(folder))
    records = sources.open_split(mbpp.TASK.source, split, options)
    gold = [mbpp.TASK.example(record) for record in records]
    said = [{"text": example.turns[-1].text} for example in gold]
    found = execution.pass_at(said, gold)
    assert found == {"pass@1": 1.0, "timeouts": 0.0}
