"""Written code: what parses, and pass@k."""

import doctest
import itertools

import pytest

from lmtasks.data import examples
from lmtasks.metrics import code


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
