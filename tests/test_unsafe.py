"""Nothing that is read may run code: what the source never calls, and what is refused."""

import ast

import numpy as np
import pytest
from test_layering import modules

from lmtasks import tokenizers
from lmtasks.data import token_files

# Run what they are given.
NAMES = {"eval", "exec", "__import__"}
CALLS = {
    "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "dill.loads",
    "torch.load", "yaml.load", "yaml.unsafe_load",
}  # fmt: skip
# Write where an archive says, whatever they are called on.
METHODS = {"extractall", "unpack_archive"}
# Make of a safe call one that is not, unless they are False.
SWITCHES = {"allow_pickle", "shell", "trust_remote_code"}


def unsafe(text_or_tree) -> set[str]:
    """Return what a module calls that it must not."""
    tree = text_or_tree
    if isinstance(tree, str):
        tree = ast.parse(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):  # from os import system
            found |= {f"{node.module}.{one.name}" for one in node.names} & CALLS
        if isinstance(node, ast.Call):
            found |= _unsafe_call(node)
    return found


def _unsafe_call(node: ast.Call) -> set[str]:
    """Return the names by which a call is one that must not be."""
    parts = ast.unparse(node.func).split(".")
    found = {parts[-1]} & METHODS | {".".join(parts[-2:])} & CALLS
    if len(parts) == 1:  # not a method of that name
        found |= {parts[0]} & NAMES
    off = lambda given: isinstance(given, ast.Constant) and not given.value
    return found | {
        given.arg
        for given in node.keywords
        if given.arg in SWITCHES and not off(given.value)
    }


def test_no_module_runs_what_it_reads():
    """The harness of the sandbox is text, run by an interpreter without rights."""
    wrong = {name: unsafe(tree) for name, tree in modules().items()}
    assert not {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("eval(x)", {"eval"}),
        ("model.eval(x)", set()),
        ("import pickle\npickle.loads(x)", {"pickle.loads"}),
        ("from pickle import load", {"pickle.load"}),
        ("np.load(x, allow_pickle=True)", {"allow_pickle"}),
        ("np.load(x, allow_pickle=False)", set()),
        ("tarfile.open(x).extractall(y)", {"extractall"}),
        ("subprocess.run(x, shell=given)", {"shell"}),
        ("yaml.load(x)\nyaml.safe_load(x)", {"yaml.load"}),
    ],
)
def test_what_must_not_be_called_is_found(text, found):
    assert unsafe(text) == found


class Harm:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_an_array_of_objects_among_token_files_is_refused(tmp_path):
    folder = tmp_path / "ids"
    given = tokenizers.train("byte", ()), {"train": ["a"]}
    token_files.write(folder, *given, around=(None, None))
    assert len(token_files.open_split(str(folder), "train")) == 1
    np.save(folder / "train.begins.npy", np.array([Harm()]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"train\.begins\.npy is no array of numbers"):
        token_files.open_split(str(folder), "train")
