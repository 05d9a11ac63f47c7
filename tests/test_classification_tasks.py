"""GLUE and its neighbours: TFDS schemas, the makers' own files, prompts, the suite."""

import importlib
import json
import pathlib

import pytest
import runs

from configs import base
from lmtasks import suites
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.metrics import regression
from lmtasks.tasks import boolq
from lmtasks.tasks import classification as single
from lmtasks.tasks import imdb
from lmtasks.tasks import mnli
from lmtasks.tasks import mrpc
from lmtasks.tasks import pairs
from lmtasks.tasks import relations
from lmtasks.tasks import sick_relatedness
from lmtasks.tasks import snli
from lmtasks.tasks import sst2
from lmtasks.tasks import sts
from lmtasks.tasks import stsb
from lmtasks.tasks import wnli

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
CATALOGUE = (
    "ag_news", "boolq", "cola", "imdb", "mnli", "mrpc", "qnli", "qqp", "rte", "snli",
    "sst2", "stsb", "wnli",
)  # fmt: skip
# GLUE's own files: name, header and a line of each, and what the line says.
FILES = {
    "cola": (
        "dev.tsv",
        "",
        "gj04\t1\t\tHe sang.",
        examples.Labelled("He sang.", "acceptable"),
    ),
    "mrpc": (
        "test.tsv",
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '0\t7\t8\tHe said "no".\tHe said yes.',
        examples.Labelled('He said "no".', "not_equivalent", "He said yes."),
    ),
    "qqp": (
        "dev.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\tWhy?\tHow so?\t1",
        examples.Labelled("Why?", "duplicate", "How so?"),
    ),
    "stsb": (
        "dev.tsv",
        "index\tgenre\tsentence1\tsentence2\tscore",
        "3\tnews\tA.\tB.\t2.400",
        examples.Labelled("A.", 2.4, "B."),
    ),
    "mnli": (
        "dev_matched.tsv",
        "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
        "3\tfiction\tA.\tB.\tneutral\tcontradiction",
        examples.Labelled("A.", "contradiction", "B."),
    ),
    "qnli": (
        "dev.tsv",
        "index\tquestion\tsentence\tlabel",
        "0\tWho?\tNobody.\tnot_entailment",
        examples.Labelled("Who?", "not_entailment", "Nobody."),
    ),
    "wnli": (
        "dev.tsv",
        "index\tsentence1\tsentence2\tlabel",
        "0\tA.\tB.\t1",
        examples.Labelled("A.", "entailment", "B."),
    ),
}


def task_of(name):
    """Return a task by its name."""
    return importlib.import_module(f"lmtasks.tasks.{name}").TASK


def read(task, folder, split="validation", **changes):
    """Return the examples of a split of a folder."""
    found = sources.open_split(
        task.source, split, sources.DataOptions(dir=str(folder), **changes)
    )
    return [task.example(record) for record in found]


@pytest.mark.parametrize("name", CATALOGUE)
def test_records_of_the_catalogue_are_what_the_task_reads(name):
    tfds = pytest.importorskip("tensorflow_datasets")
    task = task_of(name)
    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=4, policy=policy):
        found = sources.open_split(task.source, "train")
    assert len(found)
    for record in found:
        example = task.example(record)
        assert example.text and example.text.strip() != ""
        if name == "stsb":
            assert type(example.label) is float
        else:
            assert example.label in task.labels
        two = ("ag_news", "cola", "imdb", "sst2")
        assert (example.pair is None) == (name in two)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("glue/cola", ["unacceptable", "acceptable"]),
        ("glue/mrpc", ["not_equivalent", "equivalent"]),
        ("glue/qqp", ["not_duplicate", "duplicate"]),
        ("glue/mnli", ["entailment", "neutral", "contradiction"]),
        ("glue/qnli", ["entailment", "not_entailment"]),
        ("glue/rte", ["entailment", "not_entailment"]),
        ("glue/wnli", ["not_entailment", "entailment"]),
        ("glue/sst2", ["negative", "positive"]),
        ("snli", ["entailment", "neutral", "contradiction"]),
        ("imdb_reviews", ["neg", "pos"]),
    ],
)
def test_label_numbers_are_those_of_the_catalogue(name, names):
    tfds = pytest.importorskip("tensorflow_datasets")
    importlib.import_module("tensorflow_datasets.text")
    with tfds.testing.mock_data(num_examples=1):
        features = tfds.builder(name).info.features
    assert features["label"].names == names
    short = name.rpartition("/")[2].replace("imdb_reviews", "imdb")
    task = task_of(short)
    assert task.source.tfds == name
    ours = [imdb._SHORT.get(one, one) for one in names]
    assert list(task.labels) == ours


def test_splits_of_the_catalogue_are_named_as_it_names_them():
    assert mnli.TASK.source.splits["validation"] == "validation_matched"
    names = sources.split_names(mnli.TASK.source, sources.DataOptions())
    assert {"validation_mismatched", "test_mismatched"} <= set(names)
    assert not sources.has_split(boolq.TASK.source, "test")


@pytest.mark.parametrize("name", FILES)
def test_the_makers_own_files_are_read(name, tmp_path):
    file, header, line, wanted = FILES[name]
    lines = [header, line] if header else [line]
    (tmp_path / file).write_text("\n".join(lines) + "\n")
    split = "test" if file.startswith("test") else "validation"
    assert read(task_of(name), tmp_path, split) == [wanted]


def test_the_two_development_sets_of_mnli_are_two_splits(tmp_path):
    header = "sentence1\tsentence2\tgold_label"
    for kind in ("matched", "mismatched"):
        line = f"{kind}\tB.\tneutral"
        (tmp_path / f"dev_{kind}.tsv").write_text(f"{header}\n{line}\n")
    assert read(mnli.TASK, tmp_path)[0].text == "matched"
    found = read(mnli.TASK, tmp_path, "validation_mismatched")
    assert found[0].text == "mismatched"


def test_snli_pairs_without_agreement_have_no_label(tmp_path):
    rows = [
        {"sentence1": "A.", "sentence2": "B.", "gold_label": "-"},
        {"sentence1": "A.", "sentence2": "B.", "gold_label": "neutral"},
    ]
    path = tmp_path / "snli_1.0_dev.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [e.label for e in read(snli.TASK, tmp_path)] == [None, "neutral"]


def test_imdb_reads_the_corpus_as_it_is_unpacked(tmp_path):
    for split, label, name, text in (
        ("train", "pos", "0_9.txt", "Fine.<br /><br />Go."),
        ("train", "neg", "1_2.txt", "Bad."),
        ("train", "unsup", "2_0.txt", "Unlabelled."),
        ("test", "neg", "0_1.txt", "Dull."),
    ):
        folder = tmp_path / split / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert read(imdb.TASK, tmp_path, "train") == [
        examples.Labelled("Bad.", "negative"),
        examples.Labelled("Fine.\n\nGo.", "positive"),
    ]
    assert read(imdb.TASK, tmp_path, "test") == [examples.Labelled("Dull.", "negative")]
    (tmp_path / "validation.csv").write_text("review,sentiment\nGreat,positive\n")
    assert read(imdb.TASK, tmp_path) == [examples.Labelled("Great", "positive")]


@pytest.mark.parametrize(
    ("answer", "label"),
    [(True, "yes"), (False, "no"), ("true", "yes"), ("no", "no"), (1, "yes")],
)
def test_boolq_answers_are_yes_and_no(answer, label):
    record = {"question": "q", "passage": "p", "answer": answer}
    assert boolq.TASK.example(record) == examples.Labelled("q", label, "p")


def test_scores_are_numbers_and_hidden_ones_are_none():
    record = {"sentence1": "a", "sentence2": "b"}
    for label in ("3.800", 3.799999952316284, 3.8):
        assert stsb.TASK.example({**record, "label": label}).label == 3.8
    assert stsb.TASK.example({**record, "label": -1.0}).label is None
    with pytest.raises(ValueError, match="could not convert"):
        stsb.TASK.example({**record, "label": "many"})


@pytest.mark.parametrize(
    ("task", "folder", "counts", "bounds"),
    [
        (sts, "sts/semeval", (9092, 500, 1000), (0, 5)),
        (sick_relatedness, "nli/sick", (4500, 500, 2463), (1, 5)),
    ],
)
def test_similarity_files_are_read_as_they_are(task, folder, counts, bounds):
    if not (SHARED / folder).is_dir():
        pytest.skip("the shared data sets are not here")
    for split, count in zip(sources.SPLITS, counts, strict=True):
        found = read(task.TASK, SHARED / folder, split)
        assert len(found) == count
        scores = [example.label for example in found]
        assert bounds[0] <= min(scores) < max(scores) <= bounds[1]
        assert all(example.text and example.pair for example in found)


# Relations.


def test_entities_are_marked_by_characters_and_by_words():
    want = "[E1] Ada [/E1] met [E2] Bo Li [/E2] ."
    by_words = {"words": "Ada met Bo Li .", "head": (0, 1), "tail": [2, 4]}
    by_text = {"text": "Ada met Bo Li .", "head": [0, 3], "tail": [8, 13]}
    for record in (by_words, by_text):
        example = relations.TASK.example({**record, "relation": "met"})
        assert example == examples.Labelled(want, "met")
    swapped = {**by_text, "head": [8, 13], "tail": [0, 3]}
    text = relations.TASK.example(swapped).text
    assert text == "[E2] Ada [/E2] met [E1] Bo Li [/E1] ."


def test_an_entity_within_another_is_closed_first():
    words = ["Ada", "of", "Oslo"]
    for inner, outer in (((0, 1), (0, 3)), ((2, 3), (0, 3)), ((1, 2), (0, 3))):
        marked = relations.mark(words, (inner, outer), "word")
        assert [w for w in marked if w in words] == words
        assert marked[0] == "[E2]" and marked[-1] == "[/E2]"
        at = marked.index("[E1]"), marked.index("[/E1]")
        assert at[1] - at[0] == 2
    beside = relations.mark(words, ((0, 2), (2, 3)), "word")
    assert beside == ["[E1]", "Ada", "of", "[/E1]", "[E2]", "Oslo", "[/E2]"]


def test_the_relation_may_be_missing_but_not_the_entities():
    record = {"text": "Ada met Bo", "head": [0, 3], "tail": [8, 10]}
    assert relations.TASK.example(record).label is None
    with pytest.raises(KeyError, match="tail"):
        relations.TASK.example({"text": "Ada", "head": [0, 3]})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tail": [8, 11]}, r"tail=\[8, 11\] is no span of the 10 characters"),
        ({"head": [3, 3]}, r"head=\[3, 3\] is no span .* give \[first character, end"),
        ({"head": [-3, -1]}, "is no span"),
        ({"head": [1]}, "not the two numbers"),
    ],
)
def test_spans_outside_the_text_are_refused(changes, sentence):
    record = {"text": "Ada met Bo", "head": [0, 3], "tail": [8, 10]}
    with pytest.raises(ValueError, match=sentence):
        relations.TASK.example({**record, **changes})


# Generated answers.


@pytest.mark.parametrize(
    ("text", "label"),
    [(" 3.8", 3.8), ("4", 4.0), ("about -0.5.", -0.5), (".25", 0.25), ("many", None)],
)
def test_a_generated_number_is_the_first_in_the_text(text, label):
    example = examples.Labelled("a", 1.0, "b")
    assert sts.TASK.parse(text, example, ()) == {"label": label, "text": text}
    assert pairs.TASK.parse(text, example, ()) == {"label": label, "text": text}


def test_a_number_is_written_as_the_parser_reads_it():
    for sample in sts.TASK.samples:
        example = sts.TASK.example(sample)
        reply = chat.as_turns(example, sts.TASK.prompt).turns[-1].text
        assert sts.TASK.parse(reply, example, ())["label"] == example.label


def test_generated_labels_are_one_or_several():
    names = ("no", "yes", "yes, but")
    one, several = examples.Labelled("a", "no"), examples.Labelled("a", ("no", "yes"))

    def parse(text, example):
        return single.TASK.parse(text, example, names)["label"]

    assert parse(" Yes, but.", one) == "yes, but"
    assert parse("yes, but", one) == "yes, but"
    assert parse("yes", several) == ["yes"]
    assert parse("No, yes, maybe", several) == ["no", "yes"]
    assert parse("", several) == [] and parse("", one) is None
    # Where nobody says that there may be several, only a clean list is one.
    assert parse("no, yes", examples.Labelled("a")) == ["no", "yes"]
    assert parse("no, perhaps", examples.Labelled("a")) == "no"


def test_numbers_in_json_are_numbers_and_texts_are_classes():
    record = {"text": "a", "pair": "b"}
    assert pairs.TASK.example({**record, "label": 3.5}).label == 3.5
    assert pairs.TASK.example({**record, "label": "3.5"}).label == "3.5"
    assert pairs.TASK.example({**record, "label": 3}).label == "3"
    assert pairs.TASK.example({**record, "label": ["x", "y"]}).label == ("x", "y")


# Scores.


def test_mrpc_and_qqp_are_scored_by_the_f1_of_the_same():
    for name, same, other in (
        ("mrpc", "equivalent", "not_equivalent"),
        ("qqp", "duplicate", "not_duplicate"),
    ):
        task = importlib.import_module(f"lmtasks.tasks.{name}")
        gold = [examples.Labelled("a", x, "b") for x in (same, same, other)]
        said = [{"label": x} for x in (same, other, same)]
        assert task.f1(said, gold) == {"f1": 0.5}
        assert task.f1 in task.TASK.metrics
        assert classification.accuracy in task.TASK.metrics
    assert task_of("cola").metrics[0] is classification.mcc
    for name in ("sts", "stsb", "sick_relatedness"):
        assert task_of(name).metrics == regression.METRICS


# The suite.


def results(**values):
    """Return {task: {split: {metric: value}}} with 0.5 everywhere else."""
    out = {}
    for member in suites.GLUE:
        value = values.get(member.task, 0.5)
        scores = dict.fromkeys(member.scores, value)
        out[member.task] = {split: dict(scores) for split in member.splits}
    return out


def test_glue_is_its_nine_tasks_with_the_metrics_they_report():
    assert {m.task for m in suites.members("glue")} == {
        "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli",
    }  # fmt: skip
    for member in suites.GLUE:
        task = task_of(member.task)
        gold = [task.example(sample) for sample in task.samples]
        said = [{"label": e.label, "score": 1.0} for e in gold]
        names = set().union(*(metric(said, gold) for metric in task.metrics))
        assert set(member.scores) <= names
        assert set(member.splits) <= {*task.source.splits, *task.source.files}
    with pytest.raises(ValueError, match="'glu' is not one of glue; did you mean"):
        suites.members("glu")


def test_a_task_counts_once_however_many_metrics_and_splits_it_has():
    found = results(cola=0.1)
    found["mrpc"]["validation"] = {"accuracy": 0.8, "f1": 0.9}
    found["mnli"] = {
        "validation": {"accuracy": 0.8},
        "validation_mismatched": {"accuracy": 0.7},
    }
    lines = suites.table("glue", found)
    cells = {line.split()[0]: line.split() for line in lines[1:]}
    assert cells["mrpc"] == ["mrpc", "accuracy/f1", "80.0/90.0", "85.0"]
    assert cells["mnli"][-2:] == ["80.0/70.0", "75.0"]
    mean = (10 + 85 + 75 + 6 * 50) / 9
    assert cells["glue"][-1] == f"{mean:.1f}" and len(lines) == 11


def test_missing_tasks_are_said_beside_the_average():
    found = results()
    del found["rte"], found["wnli"]
    lines = suites.table("glue", found)
    assert lines[-1] == "of 7 of 9 tasks; without rte, wnli"
    assert lines[-2].split()[-1] == "50.0"


def glue_config():
    c = base.finetune()
    c.task, c.architecture = "classification", "encoder"
    c.data.labels, c.classify.kind, c.prompt.text = ("x", "y"), "single", "{text}"
    return c


def test_each_task_takes_the_config_without_what_was_another_tasks(tmp_path):
    c = glue_config()
    c.train.steps = 7
    for member in suites.GLUE:
        one = suites.config_of(c, member)
        assert (one.task, one.train.steps, one.data.dir) == (member.task, 7, "")
        assert not (one.data.labels or one.classify.kind or one.prompt.text)
    assert c.data.labels == ("x", "y")
    assert suites.folder_of("runs/g", suites.GLUE[0]) == "runs/g/cola"


def test_the_data_of_a_task_lies_in_its_own_folder(tmp_path):
    c = glue_config()
    c.data.dir = str(tmp_path)
    member = suites.GLUE[1]
    with pytest.raises(ValueError, match="neither SST-2 nor sst2"):
        suites.config_of(c, member)
    (tmp_path / "sst2").mkdir()
    one = suites.config_of(c, member)
    assert one.data.dir == str(tmp_path / "sst2") and not one.data.files.validation
    (tmp_path / "SST-2").mkdir()
    one = suites.config_of(c, member)
    assert one.data.dir == str(tmp_path / "SST-2")
    # GLUE's files have a header, which this task's own do not.
    for split, label in (("train", 1), ("dev", 0)):
        text = f"sentence\tlabel\na warm film\t{label}\n"
        (tmp_path / "SST-2" / f"{split}.tsv").write_text(text)
    options = {
        "files": {k: v for k, v in one.data.files.items() if v},
        "fields": dict(one.data.fields),
    }
    for split, label in (("train", "positive"), ("validation", "negative")):
        found = read(sst2.TASK, one.data.dir, split, **options)
        assert found == [examples.Labelled("a warm film", label)]


def test_glues_own_rte_folder_is_read(tmp_path):
    folder = tmp_path / "RTE"
    folder.mkdir()
    header = "index\tsentence1\tsentence2\tlabel"
    for split in ("train", "dev"):
        line = f"0\t{split}.\tB.\tnot_entailment"
        (folder / f"{split}.tsv").write_text(f"{header}\n{line}\n")
    c = glue_config()
    c.data.dir = str(tmp_path)
    [member] = [m for m in suites.GLUE if m.task == "rte"]
    one = suites.config_of(c, member)
    files = {k: v for k, v in one.data.files.items() if v}
    for split, text in (("train", "train."), ("validation", "dev.")):
        found = read(task_of("rte"), one.data.dir, split, files=files)
        assert found == [examples.Labelled(text, "not_entailment", "B.")]


def test_a_suite_trains_in_order_and_stops_where_it_is_preempted(monkeypatch):
    from lmtasks.training import loop

    seen = []

    def train(config, folder):
        seen.append((config.task, folder))
        stopped = "preempted" if len(seen) == 3 else ""
        return loop.Outcome(1, {}, stopped)

    monkeypatch.setattr(loop, "train", train)
    assert not suites.train("glue", glue_config(), "runs/g")
    assert [task for task, _ in seen] == ["cola", "sst2", "mrpc"]
    assert seen[0][1] == "runs/g/cola"


def test_a_suite_scores_what_is_trained_on_all_its_splits(monkeypatch, tmp_path):
    from lmtasks import api

    (tmp_path / "mnli").mkdir()
    (tmp_path / "cola").mkdir()
    asked = []

    def evaluate(loaded, split):
        asked.append((loaded, split))
        return {"accuracy": 0.6, "mcc": 0.2}, []

    monkeypatch.setattr(api, "evaluate", evaluate)
    found = suites.evaluate("glue", str(tmp_path), lambda f: pathlib.Path(f).name)
    assert asked == [
        ("cola", "validation"),
        ("mnli", "validation"),
        ("mnli", "validation_mismatched"),
    ]
    assert suites.table("glue", found)[-2].split()[-1] == "40.0"
    with pytest.raises(ValueError, match="holds no task of the suite glue; train"):
        suites.evaluate("glue", str(tmp_path / "cola"), None)


def test_neighbours_number_their_labels_differently():
    record = {"sentence1": "a", "sentence2": "b", "label": 1}
    assert wnli.TASK.example(record).label == "entailment"
    assert task_of("rte").example(record).label == "not_entailment"
    assert mrpc.TASK.example(record).label == "equivalent"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_glue_is_trained_by_one_command_and_scored_by_another(
    tmp_path, capsys, monkeypatch
):
    runs.keep_cache(monkeypatch)
    for member in suites.GLUE:
        folder = tmp_path / "data" / member.task
        folder.mkdir(parents=True)
        samples = list(task_of(member.task).samples)
        for split in ("train", *member.splits):
            runs.write_jsonl(folder / f"{split}.jsonl", samples * 2)
    work = tmp_path / "work"
    runs.good(
        capsys, "train", "--suite=glue", "--config=own:classification",
        f"--workdir={work}", *runs.settings(
            data__dir=tmp_path / "data", tokenizer__kind="byte",
            train__steps=2, checkpoint__every=0, eval__every=0,
        ),
    )  # fmt: skip
    out = runs.good(capsys, "eval", "--suite=glue", f"--workdir={work}")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        *(member.task for member in suites.GLUE), "glue",
    ]  # fmt: skip
    [row] = runs.rows(work, "eval.jsonl")
    assert set(row["tasks"]["mnli"]) == {"validation", "validation_mismatched"}
    assert {"pearson", "spearman"} <= row["tasks"]["stsb"]["validation"].keys()
