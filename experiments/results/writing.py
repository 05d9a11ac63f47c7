"""The runs on text that is written: which there are, by family.

`spans` comes before `summaries`, which starts from it, `lm` before `instructions`;
`transfer` begins with French.
"""

from __future__ import annotations

SEEDS = (0, 1, 2)
BOTH = ("encoder_decoder", "decoder")
FAMILIES = (
    "multi30k", "transfer", "spans", "summaries", "sums", "instructions", "questions",
    "programs", "slots",
)  # fmt: skip
# Greedily, where a task's own way is beam search.
GREEDY = ["--config.decode.method=sample", "--config.decode.temperature=0"]
# The recipes do not write while they train.
TEST = ["--split=test", "--step=best", "--config.eval.predict=True"]
OURS = "$RUNS/lm-0"
MULTI30K = "$DATA/translation/multi30k"
VOTES = [
    *TEST,
    "--config.decode.temperature=0.7",
    "--config.decode.texts=8",
    "--config.decode.choose=vote",
]
# The rate of a run from scratch, where a start is set beside one.
RATE = "--config.optim.learning_rate=1.2e-3"
# Rows of the pair with few: the first lines of the training files.
FEW = 1000


def runs_of(family: str) -> dict[str, dict]:
    """Return {run: {"config", "train", "eval"}} of a family; see run.py."""
    return {
        "multi30k": _multi30k,
        "transfer": _transfer,
        "spans": _spans,
        "summaries": _summaries,
        "sums": _sums,
        "instructions": _instructions,
        "questions": _questions,
        "programs": _programs,
        "slots": _slots,
    }[family]()


def _run(config: str, folder: str = "", *, more=(), test=TEST, seed=0) -> dict:
    """Return a run of a config on a folder of data."""
    where = [f"--config.data.dir={folder}"] if folder else []
    return {
        "config": config,
        "train": [*where, f"--config.seed={seed}", *more],
        "eval": list(test),
    }


def _again(run: str, config: str, test: list[str]) -> dict:
    """Return another way to write by a run that is trained already."""
    return {"of": f"$RUNS/{run}", "config": config, "eval": test}


def _multi30k() -> dict[str, dict]:
    """Return English to German on both architectures, by beam search and greedily."""
    out = {}
    for kind in BOTH:
        name, config = f"multi30k-{kind}-0", f"translate:multi30k,{kind}"
        out[name] = _run(config, MULTI30K)
        out[f"{name}-greedy"] = _again(name, config, [*TEST, *GREEDY])
    return out


def _transfer() -> dict[str, dict]:
    """Return English to German from 1,000 lines, from scratch and from French, with one
    vocabulary of all three languages.
    """
    french, vocabulary = "$RUNS/transfer-french-0", "$RUNS/text/three_languages"
    files = [
        f"--config.data.files.{split}={stem}.en+{stem}.fr"
        for split, stem in (
            ("train", "train"),
            ("validation", "validation"),
            ("test", "test_2016_flickr"),
        )
    ]
    own = [f"--config.tokenizer.path={vocabulary}/tokenizer"]
    few = [f"--config.data.limit={FEW}", "--config.eval.limit=1014"]
    few += ["--config.train.steps=300", "--config.optim.warmup_steps=60"]
    few += ["--config.eval.every=60"]
    test = [*TEST, "--config.data.limit=0", "--config.eval.limit=0"]
    return {
        "transfer-french-0": _run(
            "translate", MULTI30K, more=[*files, *own, "--config.train.steps=1000"]
        ),
        "transfer-german-scratch-0": _run(
            "translate", MULTI30K, more=[*own, *few], test=test
        ),
        "transfer-german-from-french-0": _run(
            "translate",
            MULTI30K,
            more=[f"--config.init={french}", *few],
            test=test,
        ),
    }


def _spans() -> dict[str, dict]:
    """Return span corruption on WikiText-2 and C4."""
    config = "write:text,encoder_decoder"
    return {"spans-0": _run(config, "$RUNS/text/lm", test=["--split=test"])}


def _summaries() -> dict[str, dict]:
    """Return abstracts and mails in a line, from scratch and from span corruption."""
    out = {}
    for task, folder in (("scitldr", "scitldr_a"), ("aeslc", "aeslc")):
        for name, start in (("scratch", ""), ("spans", "$RUNS/spans-0")):
            config = f"write:{task},encoder_decoder" + (f",{start}" if start else "")
            own = "--config.tokenizer.path=$RUNS/spans-0/tokenizer"
            more = [RATE if start else own]
            test = [*TEST, *(["--baselines"] if not start else [])]
            out[f"{task}-{name}-0"] = _run(
                config, f"$DATA/summarization/{folder}", more=more, test=test
            )
    config = "understand:scitldr_sentences,encoder"
    out["scitldr-sentences-0"] = _run(config, "$DATA/summarization/scitldr_a")
    return out


def _sums() -> dict[str, dict]:
    """Return sums at once and step by step, greedily and by vote."""
    out = {}
    for task in ("toy_sums", "toy_steps"):
        for seed in SEEDS:
            name, config = f"{task}-{seed}", f"write:{task},decoder"
            out[name] = _run(config, seed=seed)
            out[f"{task}-vote-{seed}"] = _again(name, config, VOTES)
    return out


def _instructions() -> dict[str, dict]:
    """Return instructions and dialogue: the stories' model and our own of the family
    `lm`, before and after they are tuned.
    """
    chats = {
        "lima": ("lima", "$DATA/instruction/lima"),
        "alpaca": ("alpaca", "$DATA/instruction/alpaca_gpt4"),
        "sgd": ("sgd", "$DATA/dialogue/sgd"),
    }
    test = TEST[:2]  # what is written is looked at, not scored
    out = {}
    for name, (task, folder) in chats.items():
        start = f"write:{task},decoder,$WEIGHTS"
        out[f"{name}-stories-before"] = {
            "import": ["--from=$WEIGHTS", f"--config={start}",
                       f"--config.data.dir={folder}"],
            "config": start, "train": [], "eval": TEST[:1],
        }  # fmt: skip
        out[f"{name}-stories-0"] = _run(start, folder, test=test)
        start, as_it_is = f"write:{task},decoder,{OURS}", [
            f"--config.task={task}", "--config.objective=generate",
            f"--config.data.dir={folder}", "--config.eval.predict=False",
        ]  # fmt: skip
        out[f"{name}-ours-before"] = {
            "of": OURS, "config": start, "eval": [TEST[0], *as_it_is],
        }  # fmt: skip
        out[f"{name}-ours-0"] = _run(start, folder, test=test)
    return out


def _questions() -> dict[str, dict]:
    """Return problems in words with written steps."""
    out = {}
    for task, folder in (("gsm8k", "gsm8k"), ("asdiv", "asdiv_a")):
        config = f"write:{task},decoder"
        # ASDiv has no validation split: the newest step is taken.
        test = TEST if task == "gsm8k" else [TEST[0], TEST[2]]
        more = [] if task == "gsm8k" else ["--config.eval.every=0"]
        out[f"{task}-0"] = _run(config, f"$DATA/math/{folder}", more=more, test=test)
    return out


def _programs() -> dict[str, dict]:
    """Return programs: MBPP by ten samples run against its tests, and toy programs."""
    config = "write:mbpp,decoder"
    ten = ["--allow_code_exec", "--config.decode.texts=10"]
    ten += ["--config.decode.temperature=0.8"]
    return {
        "mbpp-0": _run(config, "$DATA/code/mbpp", test=[*TEST, *ten]),
        "toy_code-0": _run("write:toy_code,decoder"),
    }


def _slots() -> dict[str, dict]:
    """Return what users say as JSON, on both architectures."""
    return {
        f"slots-{kind}-0": _run(f"write:sgd_slots,{kind}", "$DATA/dialogue/sgd")
        for kind in BOTH
    }
