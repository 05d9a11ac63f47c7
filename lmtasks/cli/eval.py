"""`lmtasks eval`: score a trained run on a split."""

from __future__ import annotations

import functools
import json
import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "score a trained run on a split"
USAGE = """
lmtasks eval --workdir=DIR [--split=validation] [--step=N|best] [--verifier=NLI_RUN]
             [--allow_code_exec] [--baselines] [--hosts=...] [--config.KEY=VALUE ...]
lmtasks eval --suite=glue --workdir=DIR [--step=N|best]

Prints the metrics and appends them to DIR/eval.jsonl; predictions go to
DIR/predictions-SPLIT.jsonl, what each example scores, for `lmtasks compare`, to
DIR/scores-SPLIT.jsonl. With --suite, one table of the tasks trained there. With
--verifier, the share of written sentences that follow from their source by a run
trained on NLI is a metric too (entailment_support). With --allow_code_exec, written
Python is run against the tests of its task (pass@k), in namespaces of its own without
network and files; refused where Linux does not offer them. With --baselines, the ROUGE
of the first sentences of a document, of TextRank's and of the best ones is told too.
--hosts is that of `lmtasks train`.

    lmtasks eval --workdir=runs/sst2 --split=test
    lmtasks eval --workdir=runs/sst2 --config.prompt.label_norm=pmi
    lmtasks eval --workdir=runs/summaries --verifier=runs/snli
    lmtasks eval --workdir=runs/mbpp --allow_code_exec --config.decode.texts=10
"""


def _suite(fv, folder: str) -> int:
    """Print the table of the tasks of a suite; their scores go to eval.jsonl."""
    from lmtasks import api
    from lmtasks import suites

    def load(one):
        return api.load(one, common.step_of(one, fv.step))

    found = suites.evaluate(fv.suite, folder, load)
    with open(pathlib.Path(folder) / "eval.jsonl", "a") as out:
        out.write(json.dumps({"suite": fv.suite, "tasks": found}) + "\n")
    print("\n".join(suites.table(fv.suite, found)))
    return 0


def _verifying(folder: str, run) -> list:
    """Return the metric by the run of --verifier, none without one."""
    if not folder:
        return []
    from lmtasks import api
    from lmtasks import zero_shot
    from lmtasks.metrics import entailment

    if not (run.objective.writes and issubclass(run.task.kind, entailment.SOURCED)):
        raise ValueError(
            f"--verifier={folder} holds written answers against their source; task="
            f"{run.config.task!r} with objective={run.config.objective!r} has none: "
            "use a run that writes answers, summaries or replies (objective=generate)"
        )
    if not run.config.eval.predict:
        raise ValueError("--verifier needs answers; leave config.eval.predict=True")
    try:
        return [zero_shot.metric(api.load(folder))]
    except ValueError as error:
        raise ValueError(f"--verifier={folder}: {error}") from None


def _executing(run) -> list:
    """Return the metric of --allow_code_exec, after a trial of the jail."""
    from lmtasks import sandbox
    from lmtasks.metrics import execution

    samples = map(run.task.example, run.task.samples)
    if not any(getattr(example, "tests", "") for example in samples):
        raise ValueError(
            f"--allow_code_exec: task={run.config.task!r} has no tests that written code "
            "could be run against; leave it out"
        )
    if not run.config.eval.predict:
        raise ValueError(
            "--allow_code_exec needs texts; leave config.eval.predict=True"
        )
    sandbox.check()
    return [execution.pass_at]


def _baselines(run) -> list:
    """Return the metric of --baselines."""
    from lmtasks.metrics import extract

    samples = [run.task.example(sample) for sample in run.task.samples]
    if not samples or not all(map(extract.has_document, samples)):
        raise ValueError(
            f"--baselines choose sentences of a document; task={run.config.task!r} "
            "summarizes none: leave it out"
        )
    if not run.config.eval.predict:
        raise ValueError("--baselines need config.eval.predict=True; leave it so")
    return [extract.baselines]


def _beside(run) -> list:
    """Return what stands beside ROUGE: its intervals, and how varied the texts are."""
    from lmtasks.metrics import diversity
    from lmtasks.metrics import generation

    said = run.config.eval.predict and generation.rouge in run.task.metrics
    return [generation.rouge_interval, diversity.diversity] if said else []


def main(argv: list[str]) -> int:
    """Evaluate; print one line per metric."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    common.define_hosts(fv)
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_string("split", None, "split to score", flag_values=fv)
    flags.DEFINE_string("step", None, "saved step or best; newest", flag_values=fv)
    flags.DEFINE_string("suite", None, "tasks to score", flag_values=fv)
    flags.DEFINE_string("verifier", None, "run trained on NLI", flag_values=fv)
    flags.DEFINE_bool("allow_code_exec", False, "run written code", flag_values=fv)
    flags.DEFINE_bool("baselines", False, "sentences chosen", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    folder = common.required(fv, "workdir")
    single = fv.verifier or fv.allow_code_exec or fv.baselines or fv.hosts is not None
    if fv.suite and single:
        raise ValueError(
            "--verifier, --allow_code_exec, --baselines and --hosts are for one run; "
            "leave them or --suite out"
        )
    if fv.suite:
        return _suite(fv, folder)
    evaluate = functools.partial(_evaluate, spec, overrides, fv, folder)
    return common.on_hosts(fv, ["eval", *argv], evaluate)


def _evaluate(spec, overrides, fv, folder: str) -> int:
    """Evaluate one run."""
    from lmtasks import api
    from lmtasks.studies import recording
    from lmtasks.training import hosts

    config = common.config_of(spec, overrides, folder)
    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    split = fv.split or config.eval.split
    more = _verifying(fv.verifier, loaded.run)
    more += _executing(loaded.run) if fv.allow_code_exec else []
    more += _beside(loaded.run)
    more += _baselines(loaded.run) if fv.baselines else []
    notes: list[str] = []
    row = recording.record(folder, loaded, split, more, notes.append)
    if not hosts.is_chief():
        return 0
    signatures = row.pop("signatures", {})
    print(f"{folder}, step {row.pop('step')}, {row.pop('split')}:")
    for name, value in row.items():
        print(f"  {name:20} {value:.6g}")
    for name, text in signatures.items():
        print(f"  {name}: {text}")
    for line in notes:
        print(f"  {line}")
    return 0
