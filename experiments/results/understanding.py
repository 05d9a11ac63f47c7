"""The runs on text that is read: which there are, by family.

`mlm` comes first: all others take its tokenizer, and the -mlm- runs its parameters, so
that scratch and MLM start differ in nothing else. Three seeds where SEEDS says so, one
elsewhere.
"""

from __future__ import annotations

SEEDS = (0, 1, 2)
ONE = (0,)
MLM = "$RUNS/mlm-0"
TOKENIZER = f"--config.tokenizer.path={MLM}/tokenizer"
TEST = ["--split=test", "--step=best"]
# family -> (task, folder of its data, seeds).
TASKS = {
    "sst2": ("sst2", "$DATA/sentiment/sst2", SEEDS),
    "sick": ("sick", "$DATA/nli/sick", SEEDS),
    "ewt": ("ud_ewt", "$DATA/pos/ud_english_ewt", SEEDS),
    "banking77": ("banking77", "$DATA/text_classification/banking77", SEEDS),
    "ag_news": ("ag_news", "$DATA/text_classification/ag_news", ONE),
    "rte": ("rte", "$DATA/nli/rte", ONE),
    "sts": ("sts", "$DATA/sts/semeval", ONE),
    "wnut17": ("wnut17", "$DATA/ner/wnut17", ONE),
    "xquad": ("xquad", "$DATA/extractive_qa/xquad_en", ONE),
    "subjqa": ("subjqa", "$DATA/extractive_qa/subjqa", ONE),
    "adversarial_qa": ("adversarial_qa", "$DATA/extractive_qa/adversarial_qa", ONE),
}
# Also trained on the other two architectures; those of SST-2 are in the first table.
OTHERS = {family: ("decoder", "encoder_decoder") for family in ("sick", "wnut17")}
FAMILIES = ("mlm", *TASKS, "domain", "science")
# Rows of the learning curve -> steps; all rows are the runs of TASKS.
CURVE = {50: 60, 200: 100, 1000: 200}
AUGMENT = [
    "--config.augment.copies=2",
    "--config.augment.delete=0.1",
    "--config.augment.swap=0.1",
    "--config.augment.fill=0.1",
    f"--config.augment.model={MLM}",
]
ADAPTED = "$RUNS/domain-adapted-in"
SCIENCE = "--config.data.dir=$RUNS/text/science"
LANGUAGE = "--config.data.dir=$RUNS/text/lm"
SENTENCES = "$RUNS/text/science_sentences"


def runs_of(family: str) -> dict[str, dict]:
    """Return {run: {"config", "train", "eval"}} of a family; see run.py."""
    if family == "mlm":
        return {"mlm-0": _mlm()}
    if family == "domain":
        return _domain()
    if family == "science":
        return _science()
    out = _starts(family) | _architectures(family)
    if family == "banking77":
        out |= _curve()
    if family == "wnut17":
        out["wnut17-btc-mlm-0"] = _more_tweets()
    if family == "sts":
        out |= _vectors()
    if family == "subjqa":
        # "No answer" by the threshold that is best on validation.
        for about in out.values():
            about["tune"] = "best_f1_thresh"
            about["eval"] = [*TEST, "--config.span.no_answer=$TUNED"]
    return out


def spec(task: str, architecture: str = "encoder", start: str = "") -> str:
    """Return the config's name with its argument."""
    return f"understand:{task},{architecture}" + (f",{start}" if start else "")


def _run(task, folder, seed, *, start="", architecture="encoder", more=()):
    """Return a run from its own beginning, or from a work directory."""
    tokenizer = [] if start else [TOKENIZER]
    train = [f"--config.data.dir={folder}", f"--config.seed={seed}", *tokenizer, *more]
    return {
        "config": spec(task, architecture, start),
        "train": train,
        "eval": TEST,
    }


def _mlm() -> dict:
    return {
        "config": spec("text"),
        "train": [LANGUAGE, "--config.seed=0"],
        "eval": ["--split=test"],
    }


def _starts(family: str) -> dict[str, dict]:
    """Return the runs from scratch and from the masked language model."""
    task, folder, seeds = TASKS[family]
    return {
        f"{family}-{name}-{seed}": _run(task, folder, seed, start=start)
        for name, start in (("scratch", ""), ("mlm", MLM))
        for seed in seeds
    }


def _architectures(family: str) -> dict[str, dict]:
    task, folder, _ = TASKS[family]
    return {
        f"{family}-{kind}-0": _run(task, folder, 0, architecture=kind)
        for kind in OTHERS.get(family, ())
    }


def _more_tweets() -> dict:
    """Return WNUT17 with the sentences of the Broad Twitter Corpus that fit."""
    task, folder, _ = TASKS["wnut17"]
    more = ["--config.data.files.train=$RUNS/text/wnut17_btc/train.conll"]
    return _run(task, folder, 0, start=MLM, more=more)


def _vectors() -> dict[str, dict]:
    """Return similarity as the cosine of two vectors, each sentence read alone."""
    _, folder, _ = TASKS["sts"]
    return {
        f"sts-embed-{name}-0": _run("sts_pairs", folder, 0, start=start)
        for name, start in (("scratch", ""), ("mlm", MLM))
    }


def _curve() -> dict[str, dict]:
    """Return the learning curve: the first rows of train.csv, which is shuffled; all
    rows of validation and test, and all 77 names.
    """
    task, folder, _ = TASKS["banking77"]
    ways = {"scratch": ("", []), "mlm": (MLM, []), "augmented": (MLM, AUGMENT)}
    out = {}
    for rows, steps in CURVE.items():
        limit = [f"--config.data.limit={rows}", f"--config.train.steps={steps}"]
        limit += [
            f"--config.eval.every={steps // 4}",
            "--config.eval.limit=10000",
            "--config.data.labels=$INTENTS",
        ]
        for way, (start, more) in ways.items():
            name = f"banking77-{rows}-{way}-0"
            out[name] = _run(task, folder, 0, start=start, more=[*limit, *more])
    out["banking77-augmented-0"] = _run(task, folder, 0, start=MLM, more=AUGMENT)
    return out


def _domain() -> dict[str, dict]:
    """Return the masked language model before and after it has read abstracts, on
    abstracts (in) and on WikiText (out).
    """
    test = {"in": ["--split=test", SCIENCE], "out": ["--split=test", LANGUAGE]}
    adapt = {
        "config": spec("text", start=MLM),
        "train": [SCIENCE, "--config.seed=0", "--config.train.steps=400"],
        "eval": test["in"],
    }
    return {
        "domain-before-in": {"of": MLM, "config": spec("text"), "eval": test["in"]},
        "domain-before-out": {"of": MLM, "config": spec("text"), "eval": test["out"]},
        "domain-adapted-in": adapt,
        "domain-adapted-out": {
            "of": ADAPTED,
            "config": adapt["config"],
            "eval": test["out"],
        },
    }


def _science() -> dict[str, dict]:
    """Return the task of the domain: which sentence of an abstract does its summary
    repeat? From the masked language model before and after.
    """
    return {
        f"science-{name}-{seed}": _run("classification", SENTENCES, seed, start=start)
        for name, start in (("mlm", MLM), ("adapted", ADAPTED))
        for seed in SEEDS
    }
