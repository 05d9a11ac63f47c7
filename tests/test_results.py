"""The runs, baselines and tables of experiments/results: what they say is possible."""

import gzip
import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

from lmtasks import checks
from lmtasks import schema
from lmtasks.cli import common
from lmtasks.data import examples
from lmtasks.metrics import classification
from lmtasks.metrics import regression
from lmtasks.metrics import spans
from lmtasks.metrics import tagging
from lmtasks.objectives import base as objectives

FOLDER = pathlib.Path(__file__).parents[1] / "experiments" / "results"


def load(name):
    """Return a script of experiments/results, which nobody installs."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


FAMILIES = load("run").FAMILIES
LISTED = {
    name: about for family in FAMILIES for name, about in load("run").runs_of(family).items()
}  # fmt: skip
TRAINED = [
    name
    for name, about in LISTED.items()
    if not {"of", "import"} & about.keys() and not name.endswith(("-1", "-2"))
]
RECORDED = [
    (path.stem, json.loads(line))
    for path in sorted(FOLDER.glob("*.jsonl"))
    for line in path.read_text().splitlines()
]


@pytest.mark.parametrize("name", TRAINED)
def test_every_listed_run_has_a_config_that_can_be_built(name):
    about = LISTED[name]
    spec, overrides, rest = common.split_config(
        [f"--config={about['config']}", *about["train"]]
    )
    assert not rest
    config = common.config_of(spec, overrides)
    checks.check_values(config)
    task = importlib.import_module(f"lmtasks.tasks.{config.task}").TASK
    assert objectives.supported(task.kind.__name__, config.architecture)


def test_a_run_only_needs_what_is_listed_before_it():
    work = load("texts").filled
    known = []
    for name, about in LISTED.items():
        said = " ".join([about.get("of", ""), about["config"], *about.get("train", ())])
        needed = {part.partition("/")[0] for part in said.split("$RUNS/")[1:]}
        assert {n.split()[0].split(",")[0] for n in needed} <= {*known, "text"}, name
        known.append(name)
    assert work("$RUNS/a $DATA", {"$RUNS": "/r", "$DATA": "/d"}) == "/r/a /d"


def test_scratch_and_start_differ_in_nothing_but_the_start():
    for family in load("understanding").TASKS:
        configs = []
        for way in ("scratch", "mlm"):
            about = LISTED[f"{family}-{way}-0"]
            spec, overrides, _ = common.split_config(
                [f"--config={about['config']}", *about["train"]]
            )
            configs.append(schema.keys_of(common.config_of(spec, overrides)))
        one, other = configs
        changed = {key for key in one if one[key] != other[key]}
        assert changed == {"init", "tokenizer.path"}, family
        assert one["tokenizer.path"] == other["init"] + "/tokenizer"


def test_seeds_differ_in_nothing_but_the_seed():
    one, other = (LISTED[f"sick-mlm-{seed}"] for seed in (0, 1))
    assert one["config"] == other["config"] and one["eval"] == other["eval"]
    assert set(one["train"]) ^ set(other["train"]) == {
        "--config.seed=0",
        "--config.seed=1",
    }


def test_recorded_commands_are_those_of_the_list():
    run, baselines = load("run"), load("baselines")
    tries = {
        f"{case.name}-{attempt.__name__.replace('_', '-')}"
        for case in baselines.CASES
        for attempt in case.tries
    } | {"mlm-unigram"}
    for family, row in RECORDED:
        if "baselines.py" in row["command"]:
            assert row["run"] in tries
            assert f"baselines.py {family} --data=$DATA" in row["command"]
            continue
        commands = run.commands_of(row["run"], run.runs_of(family)[row["run"]])
        said = [f"lmtasks {' '.join(command)}" for command in commands]
        assert row["command"].split(" && ") == said


def test_no_run_is_recorded_twice():
    names = [row["run"] for _, row in RECORDED]
    assert sorted(names) == sorted(set(names))
    assert all(np.isfinite(row["wall_seconds"]) for _, row in RECORDED)


def test_a_run_trains_in_its_folder_and_scores_the_one_it_is_of(tmp_path, monkeypatch):
    run = load("run")
    seen = []

    def fake(command, **_):
        seen.append(command[3:])
        work = next(c for c in command if c.startswith("--workdir=")).split("=")[1]
        path = pathlib.Path(work)
        path.mkdir(exist_ok=True)
        with open(path / "eval.jsonl", "a") as out:
            out.write(json.dumps({"loss": len(seen)}) + "\n")

    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(run.texts, "commit", lambda: "abc")
    places = {"$RUNS": str(tmp_path), "$DATA": "/data"}
    about = {"config": "c,$RUNS/a", "train": ["--x=$DATA"], "eval": ["--split=test"]}
    row = run.run("b", about, places, tmp_path / "again")
    assert seen == [
        [
            "train",
            f"--config=c,{tmp_path}/a",
            f"--workdir={tmp_path}/again",
            "--x=/data",
        ],
        ["eval", f"--workdir={tmp_path}/again", "--split=test"],
    ]
    assert row["command"] == (
        "lmtasks train --config=c,$RUNS/a --workdir=$RUNS/b --x=$DATA && "
        "lmtasks eval --workdir=$RUNS/b --split=test"
    )
    assert row["metrics"] == {"loss": 2}
    about = {"config": "c", "of": "$RUNS/again", "eval": ["--split=test"]}
    row = run.run("d", about, places, tmp_path / "d")
    assert row["metrics"] == {"loss": 3} and len(seen) == 3
    assert row["command"] == "lmtasks eval --workdir=$RUNS/again --split=test"


def test_only_the_runs_that_are_asked_for_are_run(tmp_path, monkeypatch):
    run, seen = load("run"), []
    row = {"metrics": {}, "wall_seconds": 0}
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run.table, "write", lambda: None)
    monkeypatch.setattr(run, "run", lambda name, *_: seen.append(name) or row)
    run._missing("sums", "", ["toy_steps-0", "toy_sums-1"], {}, tmp_path)
    assert seen == ["toy_sums-1", "toy_steps-0"]
    assert len((tmp_path / "sums.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("flag", ["--only=toy_sums-0,toy_sum-1", "--again=toy_sum-1"])
def test_a_run_that_is_not_listed_is_refused(flag, tmp_path, monkeypatch):
    run = load("run")
    monkeypatch.setattr(run.texts, "write", lambda *_: None)
    intents = tmp_path / "text_classification/banking77"
    intents.mkdir(parents=True)
    (intents / "categories.json").write_text("[]")
    argv = ["run.py", "sums", f"--data={tmp_path}", f"--runs={tmp_path}", flag]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(
        SystemExit, match="no run 'toy_sum-1' in sums; it has toy_sums-0"
    ):
        run.main()


def test_a_run_that_was_asked_to_stop_is_not_recorded(tmp_path, monkeypatch):
    run = load("run")

    said = ["preempted: saved step 3; run again to go on", "step 9/9"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "eval.jsonl").write_text('{"loss": 1}')

    def fake(command, *, stdout, **_):
        stdout.write(f"{said.pop(0)}\n")

    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(run.texts, "commit", lambda: "abc")
    given = ({"config": "c", "train": [], "eval": []}, {"$RUNS": str(tmp_path)})
    with pytest.raises(SystemExit, match="a was asked to stop; run again"):
        run.run("a", *given, tmp_path / "a")
    assert run.run("a", *given, tmp_path / "a")["metrics"] == {"loss": 1}


def test_a_threshold_found_on_validation_is_used_on_test(tmp_path, monkeypatch):
    run = load("run")
    seen = []

    def fake(command, **_):
        seen.append(command[3:])
        tmp_path.joinpath("a").mkdir(exist_ok=True)
        if "eval" in command:
            with open(tmp_path / "a" / "eval.jsonl", "a") as out:
                out.write(json.dumps({"best": 0.25 * len(seen), "f1": 7}) + "\n")

    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(run.texts, "commit", lambda: "abc")
    about = {"config": "c", "train": [], "tune": "best", "eval": ["--x=$TUNED"]}
    row = run.run("a", about, {"$RUNS": str(tmp_path)}, tmp_path / "a")
    assert [command[0] for command in seen] == ["train", "eval", "eval"]
    assert "--split=validation" in seen[1] and seen[2][-1] == "--x=0.5"
    assert row["metrics"] == {"best": 0.75, "f1": 7, "tuned": 0.5}
    assert row["command"].endswith("lmtasks eval --workdir=$RUNS/a --x=$TUNED")


def labelled(*rows):
    return [examples.Labelled(*row) for row in rows]


def test_the_majority_and_a_bag_of_words_guess_classes(monkeypatch):
    guesses = load("guesses")
    monkeypatch.setattr(guesses, "REGULARIZATION", (1, 30))
    rows = labelled(
        *((f"a good film {i}", "yes") for i in range(6)),
        *((f"a dull play {i}", "no") for i in range(5)),
    )
    data = {"train": rows, "validation": rows, "test": rows[::-1]}
    always = guesses.majority(data)
    values = classification.accuracy(always.said, data["test"])
    assert values["accuracy"] == pytest.approx(6 / 11)
    assert always.said[0]["scores"] == {"yes": 6 / 11, "no": 5 / 11}
    learned = guesses.bag_of_words(data)
    assert classification.accuracy(learned.said, data["test"])["accuracy"] == 1
    assert learned.numbers["validation_accuracy"] == 1
    for said in learned.said:
        assert sum(said["scores"].values()) == pytest.approx(1)
        assert said["scores"][said["label"]] == max(said["scores"].values())


def test_pairs_are_told_apart_by_what_they_share_though_no_word_is_known(monkeypatch):
    guesses = load("guesses")
    monkeypatch.setattr(guesses, "REGULARIZATION", (1, 30))

    def pairs(letters):
        return [
            examples.Labelled(f"{x} is here", label, f"{y} is here")
            for x in letters
            for y, label in ((x, "same"), (x + x, "other"))
        ]

    data = {
        "train": pairs([f"w{i}" for i in range(20)]),
        "validation": pairs([f"v{i}" for i in range(5)]),
        "test": pairs([f"t{i}" for i in range(5)]),
    }
    found = guesses.bag_of_words(data)
    assert classification.accuracy(found.said, data["test"])["accuracy"] == 1
    assert "5 overlaps" in found.about
    assert guesses.shared("a cat is here", "no cat") == (1 / 5, 1 / 4, 1 / 2, 1 / 2, 1)


def test_the_cosine_of_equal_texts_is_five_and_of_strangers_nought():
    guesses = load("guesses")
    rows = labelled(("a red cat", 5.0, "a red cat"), ("two dogs", 0.0, "warm milk"))
    found = guesses.tfidf_cosine({"train": rows, "test": rows})
    assert [row["label"] for row in found.said] == pytest.approx([5, 0])
    assert regression.correlation(found.said, rows)["pearson"] == pytest.approx(1)


def test_the_most_frequent_tag_is_guessed_and_unknown_words_are_counted():
    guesses = load("guesses")
    train = [
        examples.Tagged(("the", "run", "ends"), ("DET", "NOUN", "VERB")),
        examples.Tagged(("the", "run", "a", "run"), ("DET", "VERB", "DET", "NOUN")),
    ]
    test = [examples.Tagged(("the", "run", "stops", "a"), ("DET", "NOUN", "X", "DET"))]
    found = guesses.most_frequent_tag({"train": train, "test": test})
    assert found.said == [{"tags": ["DET", "NOUN", "DET", "DET"]}]
    assert found.numbers["unknown_words"] == 0.25
    assert tagging.token_accuracy(found.said, test)["token_accuracy"] == 0.75


def test_sentences_answer_questions():
    guesses = load("guesses")
    context = "Mira lives in Oslo. She painted the old door! Was it green?"
    asked = [
        examples.Span("Who painted the door?", context, (("She", 20),)),
        examples.Span("What is the price?", context, ()),
    ]
    data = {"validation": asked, "test": asked}
    assert guesses.first_sentence(data).said[0] == {"text": "Mira lives in Oslo."}
    best = guesses.best_sentence(data)
    assert best.said[0] == {"text": "She painted the old door!"}
    chosen = guesses.best_sentence_or_none(data)
    assert chosen.said == [{"text": "She painted the old door!"}, {"text": ""}]
    assert chosen.numbers["validation_f1"] == spans.squad_v2(chosen.said, asked)["f1"]
    assert spans.squad_v2(guesses.no_answer(data).said, asked)["f1"] == 50


def test_a_case_is_read_scored_and_recorded_once(tmp_path, monkeypatch, capsys):
    baselines = load("baselines")
    for split in ("train", "validation", "test"):
        rows = [("good fun", "a"), ("dull", "b"), ("good", "a")]
        lines = [json.dumps({"text": t, "label": label}) for t, label in rows]
        # Fewer than a tenth may be malformed.
        rows = [*lines * 5, '{"text": "no label"}']
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
    case = baselines.Case("toy", "classification", "$RUNS", baselines.CLASSES, limit=2)
    task = importlib.import_module("lmtasks.tasks.classification").TASK
    data = baselines.read(case, task, {"$RUNS": str(tmp_path)})
    assert [len(data[split]) for split in ("train", "validation", "test")] == [
        2,
        15,
        15,
    ]
    assert "1 malformed records left out" in capsys.readouterr().out
    here = tmp_path / "results"
    here.mkdir()
    monkeypatch.setattr(baselines, "HERE", here)
    monkeypatch.setattr(baselines.table, "HERE", here)
    for _ in range(2):
        baselines.record("toy", baselines.rows_of(case, task, data))
    rows = [json.loads(x) for x in (here / "toy.jsonl").read_text().splitlines()]
    assert [row["run"] for row in rows] == ["toy-majority", "toy-bag-of-words"]
    assert rows[1]["metrics"]["accuracy"] == 1
    assert set(rows[0]) >= {"config", "metrics", "command", "machine", "wall_seconds"}
    assert "| toy-bag-of-words | 1.0000 |" in (here / "README.md").read_text()


def test_articles_and_abstracts_are_cut_where_they_begin():
    texts = load("texts")
    wiki = " = One = \n text \n = = Part = = \n more \n = Two = \n end \n"
    assert [a.count("\n") for a in texts.articles(wiki)] == [4, 2]
    documents = ".I 1\n.T\nt\n.W\na wing\nin air .\n.I 2\n.T\nx\n.W\n\n.I 3\n.W\nb .\n"
    assert texts.cranfield(documents) == ["a wing in air .", "b ."]


def test_sentences_of_an_abstract_are_one_to_keep_and_one_to_drop(tmp_path):
    texts = load("texts")
    folder = tmp_path / "summarization/scitldr_a"
    folder.mkdir(parents=True)
    rows = [
        {"source": ["one", "two", "three"], "source_labels": [0, 1, 0]},
        {"source": ["only"], "source_labels": [1]},
    ]
    for split in ("validation", "test"):
        with gzip.open(folder / f"{split}.jsonl.gz", "wt") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
    found = texts.sentences(tmp_path, "test")
    assert [row["label"] for row in found] == ["keep", "drop"]
    assert found[0]["text"] == "two" and found[1]["text"] in ("one", "three")
    assert found == texts.sentences(tmp_path, "test")


def test_tweets_with_organizations_and_bad_lines_are_left_out(tmp_path):
    texts = load("texts")
    (tmp_path / "wnut17").mkdir()
    (tmp_path / "btc").mkdir()
    (tmp_path / "wnut17/train.conll").write_text("Oslo\tB-location\n\t\nhi\tO\n")
    for section, text in (
        ("a", "Ann\tB-PER\nLee\tI-PER\n\nApple\tB-ORG\n"),
        ("g", "so\tO\tx\nit\tO\n\nRome\tB-LOC\n"),
        ("h", "ok\tO\n"),
    ):
        (tmp_path / f"btc/train_{section}.conll").write_text(text)
    found = texts.tweets(tmp_path).split("\n\n")
    assert found[:2] == ["Oslo\tB-location", "hi\tO"]
    assert "Ann\tB-person\nLee\tI-person" in found and "Rome\tB-location" in found
    assert "ORG" not in "".join(found)


def test_the_table_groups_seeds_and_nothing_else():
    table = load("table")
    assert table.group_of("sst2-mlm-2") == "sst2-mlm"
    assert table.group_of("banking77-50-mlm-0") == "banking77-50-mlm"
    assert table.group_of("banking77-50-bag-of-words") == "banking77-50-bag-of-words"
    rows = [
        {"run": f"a-{i}", "metrics": {"accuracy": x}, "wall_seconds": 1}
        for i, x in enumerate((0.25, 0.75))
    ] + [{"run": "a-majority", "metrics": {"accuracy": 0.125}, "wall_seconds": 2}]
    said = table.table(rows)
    assert said[0] == "| run | accuracy | wall s |"
    assert "| **a, mean** | 0.5000 +- 0.3536 | 1.0 |" in said
    assert "| a-majority | 0.1250 | 2 |" in said
    assert sum("mean" in line for line in said) == 1


def test_every_family_shows_a_metric_of_each_of_its_rows():
    table = load("table")
    for family, row in RECORDED:
        wanted = table.SHOWN.get(family, table.CLASSES)
        assert set(wanted) & set(row["metrics"]), (family, row["run"])


def test_the_page_has_the_tables_across_families():
    table = load("table")

    def row(run, **metrics):
        return {
            "run": run, "metrics": metrics, "wall_seconds": 1, "config": "c",
            "command": f"train {run}",
        }  # fmt: skip

    families = {
        "sick": [row("sick-scratch-0", accuracy=0.5), row("sick-decoder-0", accuracy=0.25)],
        "banking77": [
            row("banking77-50-mlm-0", accuracy=0.125),
            row("banking77-bag-of-words", accuracy=0.875),
        ],
    }  # fmt: skip
    said = table.page(families)
    assert "| SICK | accuracy | 0.5000 | 0.2500 |  |  |" in said
    assert "| 50 |  |  | 0.1250 |  |" in said
    assert "| all 9,003 | 0.8750 |  |  |  |" in said
    assert "- `train banking77-50-mlm-0`" in said and "## sick" in said


def test_the_readme_is_the_page_of_the_recorded_lines():
    table = load("table")
    families = {
        path.stem: table.rows_of(path) for path in sorted(FOLDER.glob("*.jsonl"))
    }
    assert (FOLDER / "README.md").read_text() == table.page(families)
