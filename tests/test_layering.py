"""The import layers of the house, read from the source."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]

# Lowest first; a module imports from its own layer and from those before it. The
# longest matching prefix decides.
LAYERS = (
    ("types", "data.examples", "data.sentences", "models.config",
     "models.limits"),
    ("losses", "sandbox", "metrics", "tokenizers", "layers", "decode", "training.optim",
     "training.masks", "training.parallel", "training.track", "training.chips",
     "training.manifest", "training.hosts",
     "training.supervise", "training.guard"),
    ("models", "families", "data", "hf"),
    ("objectives", "tasks"),
    ("training.lora", "training.step", "training.arrays", "training.checkpoint",
     "training.restore", "schema", "presets", "pretrained", "checks", "decoding", "cells", "builder", "mixing", "shots", "taskdata", "hf.hub",
     "hf.reading"),
    ("training", "api", "suites", "zero_shot", "summarize", "rendering", "inspection",
     "rehearsal", "studies"),
    ("cli", "__main__", ""),
)  # fmt: skip


def modules():
    """Return {dotted name below lmtasks: tree} of every module."""
    found = {}
    for path in sorted((ROOT / "lmtasks").rglob("*.py")):
        parts = path.relative_to(ROOT / "lmtasks").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


def layer_of(name: str) -> int:
    """Return the number of a module's layer: the longest prefix that names it."""
    best = max(
        (len(prefix), number)
        for number, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if name == prefix or name.startswith(f"{prefix}.") or not prefix
    )
    return best[1]


def imports_of(tree, known) -> set[str]:
    """Return the modules of the house that a tree imports, anywhere in it."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "lmtasks"
        ):
            base = node.module.removeprefix("lmtasks").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                out.add(full if full in known else base)
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("lmtasks.")]
            out |= {name.removeprefix("lmtasks.") for name in names}
    return out


def outside_of(tree) -> set[str]:
    """Return the top-level packages a tree imports from outside, anywhere in it."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            out.add(node.module.split(".")[0])
        if isinstance(node, ast.Import):
            out |= {alias.name.split(".")[0] for alias in node.names}
    return out - {"lmtasks"}


def test_modules_import_only_from_their_layer_and_below():
    known = modules()
    wrong = [
        f"{name} -> {target}"
        for name, tree in known.items()
        for target in imports_of(tree, known)
        if target and name and layer_of(target) > layer_of(name)
    ]
    assert not wrong, wrong


def test_there_are_no_import_cycles():
    known = modules()
    # An import inside a function waits until both modules are whole.
    tops = {
        name: ast.Module([n for n in tree.body if not hasattr(n, "body")], [])
        for name, tree in known.items()
    }
    graph = {name: imports_of(tree, known) - {name} for name, tree in tops.items()}
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name in done or name not in graph:
            return
        for target in graph[name]:
            visit(target, [*trail, name])
        done.add(name)

    for name in graph:
        visit(name, [])


def test_the_parts_keep_to_themselves():
    known = modules()
    rules = {
        "decode": ("models", "objectives"),
        "models": ("data", "objectives", "decode"),
        "objectives": ("models", "training"),
        "tasks": ("models", "layers", "objectives", "training", "decode"),
    }
    wrong = [
        f"{name} -> {target}"
        for name, tree in known.items()
        for start, forbidden in rules.items()
        if name.split(".")[0] == start
        for target in imports_of(tree, known)
        - {"data.examples", "models.config", "models.limits"}
        if target.split(".")[0] in forbidden
    ]
    assert not wrong, wrong


def test_text_side_modules_do_not_import_jax():
    for name, tree in modules().items():
        if name.split(".")[0] in ("tasks", "metrics", "tokenizers"):
            assert not outside_of(tree) & {"jax", "flax", "optax"}, name


def test_nothing_imports_another_framework():
    for name, tree in modules().items():
        found = outside_of(tree) & {"tensorflow", "torch", "transformers", "clu"}
        assert not found, (name, found)


def test_tensorflow_datasets_is_imported_only_inside_functions():
    for name, tree in modules().items():
        top = {
            alias.name.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "tensorflow_datasets" not in top, name


def test_nothing_imports_a_command_but_the_commands():
    known = modules()
    for name, tree in known.items():
        if name.split(".")[0] not in ("cli", "__main__"):
            reached = imports_of(tree, known)
            assert not any(t.split(".")[0] == "cli" for t in reached), name


def test_configs_import_only_ml_collections_and_each_other():
    for path in (ROOT / "configs").glob("*.py"):
        found = outside_of(ast.parse(path.read_text()))
        assert found <= {"ml_collections", "configs"}, (path.name, found)


def test_the_top_level_holds_its_fixed_names():
    fixed = {"lmtasks", "configs", "experiments", "tests", "setup.py", "README.md"}
    there = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert there - {"lmtasks.egg-info", "build", "runs"} <= fixed | {"LICENSE"}
    assert fixed <= there


def test_no_config_section_is_read_below_the_builder():
    readers = {
        "schema",
        "presets",
        "pretrained",
        "checks",
        "decoding",
        "builder",
        "api",
    }
    for name, tree in modules().items():
        lowest = layer_of(name) < layer_of("builder")
        if name in readers or not lowest:
            continue
        assert "ml_collections" not in outside_of(tree), name
