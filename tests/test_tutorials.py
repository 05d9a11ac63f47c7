"""The tutorials run from top to bottom, teach in order, and agree with the product."""

import pathlib
import re
import subprocess
import sys

import pytest
import runs

FOLDER = pathlib.Path(__file__).parents[1] / "experiments" / "tutorials"
NAMES = ("classify", "clm", "generate")
STATIONS = range(1, 11)
# What is printed that an untrained model prints as well, as regular expressions.
SAID = {
    "classify": (
        r"a bag of words: 0\.[3-6]\d+ held out",
        r"slot +segment +position",
        r"Labelled\(text='the ",
        r"segments of the first row: +1 1",
        r"-> +(yes|no) \(0\.\d+\)",
        r"held-out accuracy of the own loop: \d\.\d+",
    ),
    "clm": (
        r"documents, [\d,]+ characters",
        r"<eos>.* 0$",
        r"bits per byte \d\.\d+",
        r"xz after the training text: \d\.\d+",
        r"--- import \[",
        r"nats in \d+ tokens",
    ),
    "generate": (
        r"\[\[the\]\] \[\[\w+\]\] \[\[\.\]\] \[\[<eos>\]\]",
        r"prompt: <bos> the .* in front \?$",
        r"exact match \d\.\d+",
        r"log-likelihood of 'the rose \.': -\d",
    ),
}


def test_there_is_a_tutorial_for_each_name_and_each_is_listed():
    found = {path.stem for path in FOLDER.glob("*.py")}
    assert found == set(NAMES)
    readme = (FOLDER / "README.md").read_text()
    assert all(f"`{name}.py`" in readme for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_goes_through_all_stations_in_order(name):
    text = (FOLDER / f"{name}.py").read_text()
    cells = re.split(r"^# %%", text, flags=re.MULTILINE)[1:]
    prose = [cell for cell in cells if cell.startswith(" [markdown]")]
    assert len(prose) >= len(STATIONS) and len(cells) >= 2 * len(STATIONS)
    numbers = [int(n) for n in re.findall(r"^# ## (\d+)\.", text, flags=re.MULTILINE)]
    assert numbers == [*STATIONS]
    # A cell of prose holds comments only, a cell of code is no longer than a screen.
    for cell in prose:
        assert all(not line or line[0] == "#" for line in cell.splitlines()[1:])
    code = [cell for cell in cells if cell not in prose]
    assert max(len(cell.splitlines()) for cell in code) <= 45
    assert text.isascii() and len(text.splitlines()) <= 300
    loop = text[text.index("def own_loop") :]
    loop = loop[: loop.index("    return state.params")]
    assert len(loop.splitlines()) <= 30 and "steps.jit_step" in loop


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs_small_and_its_own_loop_is_the_products(name, tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        env=runs.environment() | {"LMTASKS_TINY": "1", "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for pattern in SAID[name]:
        assert re.search(pattern, done.stdout, flags=re.MULTILINE), pattern
    pairs = re.findall(r"(\d+\.\d{6}) logged, (\d+\.\d{6}) by", done.stdout)
    pairs += re.findall(r"(\d+\.\d{6}) by hand, (\d+\.\d{6}) logged", done.stdout)
    assert pairs
    for one, other in pairs:
        # 8 devices there, one here: another order of summation.
        assert float(one) == pytest.approx(float(other), rel=1e-4)
    (work,) = tmp_path.glob(f"lmtasks-{name}-*")
    assert runs.steps(work) == [2, 4]
