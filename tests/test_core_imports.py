"""What an import costs, and what is not needed for it."""

import subprocess
import sys

import pytest
import runs

# Packages that must never be needed; `fresh` runs code where they cannot be imported.
ABSENT = ("tensorflow", "torch", "transformers", "clu")
HIDE = f"""
import sys

class Hiding:
    "A finder that does not find them."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in {ABSENT!r}
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def fresh(code):
    """Run code in a new interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        text=True,
        env=runs.environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.process
def test_importing_lmtasks_loads_neither_jax_nor_numpy():
    said = fresh(
        "import sys, time; start = time.perf_counter(); import lmtasks;"
        "print(time.perf_counter() - start);"
        "print([m for m in ('jax', 'numpy', 'flax', 'grain') if m in sys.modules]);"
        "assert callable(lmtasks.load) and 'jax' in sys.modules"
    )
    seconds, loaded = said.splitlines()
    assert loaded == "[]"
    assert float(seconds) < 0.5


@pytest.mark.process
def test_tasks_metrics_and_tokenizers_run_without_jax():
    said = fresh(
        "import importlib, pkgutil, sys\n"
        "from lmtasks import metrics, tasks, tokenizers\n"
        "count = 0\n"
        "for package in (metrics, tasks, tokenizers):\n"
        "    for m in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{package.__name__}.{m.name}')\n"
        "        count += 1\n"
        "print(count > 20, 'jax' in sys.modules)\n"
    )
    assert said == "True False"


@pytest.mark.process
def test_every_module_imports_and_a_run_trains_without_other_frameworks(tmp_path):
    folder = runs.data(tmp_path / "data")
    argv = runs.classify(folder, tmp_path / "work", train__steps=2)
    code = f"""{HIDE}
import importlib, pkgutil
import configs, lmtasks
for package in (configs, lmtasks):
    for module in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from lmtasks.cli import main
assert main.main({argv!r}) == 0
print([name for name in {ABSENT!r} if name in sys.modules])
"""
    assert fresh(code).splitlines()[-1] == "[]"
    assert runs.steps(tmp_path / "work") == [2]


@pytest.mark.process
def test_a_hidden_package_really_is_hidden():
    with pytest.raises(AssertionError, match="No module named 'clu'"):
        fresh(f"{HIDE}\nimport clu.metrics")


def test_the_package_says_what_it_offers():
    import lmtasks

    assert sorted(lmtasks.__all__) == lmtasks.__all__
    assert all(callable(getattr(lmtasks, name)) for name in lmtasks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lmtasks.trian  # noqa: B018
