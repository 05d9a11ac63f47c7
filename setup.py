"""Packaging of lmtasks; see README.md."""

import setuptools

CORE = [
    "absl-py",
    "array_record",
    "chex",
    "flax>=0.12",
    "grain>=0.2.17",
    # tensorflow-datasets imports it without saying so.
    "importlib_resources>=6",
    "jax>=0.10",
    # Chat templates of published checkpoints; earlier ones let a template out.
    "jinja2>=3.1.6",
    "matplotlib",
    "ml-collections>=1.1",
    # METEOR; rouge-score stems with it too.
    "nltk",
    "numpy",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12",
    # Regular expressions and JSON schemas as automata, for constrained decoding.
    "outlines-core>=0.2.14",
    # tensorflow-metadata needs it without saying so.
    "protobuf>=6.31.1",
    "rich",
    "rouge-score",
    "sacrebleu>=2.6",
    "safetensors",
    "scikit-learn",
    "sentencepiece",
    "seqeval",
    "tensorflow-datasets>=4.9.10",
    "tokenizers",
]
PEER = ["torch", "transformers>=5"]

setuptools.setup(
    name="lmtasks",
    version="0.1.0",
    description="Train, tune, evaluate and decode language models for every task.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["lmtasks*", "configs*"]),
    install_requires=CORE,
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "test": ["hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "ruff"],
        "hub": ["huggingface_hub"],
        # Compiles for TPUs that are not there.
        "rehearse": ["libtpu"],
        "bench": PEER,
        "parity": PEER,
    },
    entry_points={"console_scripts": ["lmtasks=lmtasks.cli.main:main"]},
)
