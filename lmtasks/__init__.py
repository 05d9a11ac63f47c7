"""lmtasks: train, tune, evaluate, decode and serve language models, for every task.

    import lmtasks
    loaded = lmtasks.load("runs/sst2")
    lmtasks.predict(loaded, [examples.Labelled("a gem")])

Importing it is cheap: jax is loaded with the first function used.
"""

import importlib

__all__ = ["build", "generate", "load", "predict", "score", "train"]


def __getattr__(name: str):
    if name in __all__:
        return getattr(importlib.import_module("lmtasks.api"), name)
    raise AttributeError(f"module 'lmtasks' has no attribute {name!r}")
