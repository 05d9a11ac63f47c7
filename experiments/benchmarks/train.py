"""Training speed of BERT, GPT-2 and T5 in one table, beside torch if asked.

    python experiments/benchmarks/train.py --peer=torch --json=train.jsonl

With nothing else running. README.md says what is measured and how to read it.
"""

import pathlib
import sys


def main() -> int:
    """Run the table from the repository, installed or not; return the exit code."""
    sys.path[0] = str(pathlib.Path(__file__).parents[2])
    from experiments.benchmarks import measure  # found by the line above

    return measure.main(sys.argv[1:], __doc__)


if __name__ == "__main__":
    sys.exit(main())
