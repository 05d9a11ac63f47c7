"""What a user gets wrong: one line, exit code 2, and nothing half-written."""

import json
import shutil

import jax
import pytest
import runs

from lmtasks.training import guard
from lmtasks.training import step as steps

# Overrides of a run that is right otherwise -> what the one line must contain: the key
# or the file and line, and what is accepted.
OVERRIDES = [
    ("train.stepz=3", "config.train.stepz", "did you mean config.train.steps"),
    ("trian.steps=3", "config.trian.steps", "did you mean config.train.steps"),
    ("learning_rate=1", "did you mean config.optim.learning_rate"),
    ("train=3", "config.train", "did you mean"),
    ("data.fields=text:review", "config.data.fields", "KEY=COLUMN"),
    ("train.steps=True", "config.train.steps", "a whole number"),
    ("train.steps=1.5", "config.train.steps", "a whole number"),
    ("train.steps=1e3", "config.train.steps", "a whole number"),
    ("optim.learning_rate=None", "config.optim.learning_rate", "a number"),
    ("optim.learning_rate=fast", "config.optim.learning_rate", "a number"),
    ("data.packing=maybe", "config.data.packing", "True or False"),
    ("data.buckets=small", "data.buckets", "small"),
    ("model.attention.window=wide", "model.attention.window", "whole numbers"),
    ("model.attention.heads=3", "model.width=16", "heads=3"),
    ("model.attention.heads=0", "heads=0", "at least 1"),
    ("model.attention.kv_heads=3", "kv_heads=3", "must divide heads"),
    ("model.attention.head_dim=-2", "head_dim=-2", "at least 0"),
    ("model.width=0", "model.width=0", "at least 1"),
    ("model.layers=-1", "model.layers=-1", "at least 1"),
    ("model.mlp=-8", "model.mlp=-8", "at least 0"),
    ("model.dropout=1.5", "model.dropout=1.5", "below 1"),
    ("model.dtype=float23", "model.dtype='float23'", "did you mean 'float32'"),
    ("model.norm.kind=layre", "norm.kind='layre'", "did you mean 'layer'"),
    ("model.positions.kind=rotry", "positions.kind='rotry'", "'rotary'"),
    ("model.positions.size=8", "model.positions.size=8", "need 48"),
    ("model.activation=glu", "model.activation='glu'", "gelu"),
    ("model.vocab=10", "model.vocab=10", "tokenizer"),
    ("model.preset=brt/base", "family='brt'", "did you mean 'bert'"),
    ("model.preset=bert/bass", "model.preset='bert/bass'", "'bert/base'"),
    ("parallel.tensor=3", "tensor=3", "8 devices"),
    ("parallel.data=2", "data=2", "8 devices"),
    ("parallel.fsdp=-1", "data=-1, fsdp=-1", "one may be -1"),
    ("parallel.mode=pjit", "parallel.mode='pjit'", "jit, pmap"),
    ("parallel.mode=pmap --config.parallel.fsdp=2", "pmap", "parallel.fsdp"),
    ("train.batch_size=12", "train.batch_size=12", "multiple of 8"),
    ("train.accumulate=3", "train.batch_size=8", "train.accumulate=3"),
    ("train.accumulate=2", "train.accumulate=2", "multiple of 16"),
    ("train.steps=0", "train.steps=0", "at least 1"),
    ("train.batch_size=0", "train.batch_size=0", "at least 1"),
    ("train.ema=1.0", "train.ema=1.0", "below 1"),
    ("train.freeze=no_such_name", "'no_such_name'", "the nearest are"),
    ("train.freeze=layers_(0", "'layers_(0'", "no regular expression"),
    ("seed=-1", "seed=-1", "at least 0"),
    ("task=clasification", "task='clasification'", "did you mean 'classification'"),
    ("architecture=encodr", "architecture='encodr'", "did you mean 'encoder'"),
    ("objective=clasify", "objective='clasify'", "did you mean 'classify'"),
    ("objective=mlm", "objective='mlm'", "does not read Labelled"),
    ("objective=clm", "objective='clm'", "Labelled", "classify on encoder"),
    ("objective=generate", "objective='generate'", "cannot write text"),
    ("tokenizer.kind=bpee", "tokenizer.kind='bpee'", "did you mean"),
    ("tokenizer.kind=bpe --config.tokenizer.size=3", "size=3", "size=8 or more"),
    ("tokenizer.path=nowhere", "nowhere"),
    ("init=nowhere", "init='nowhere'", "neither a work directory"),
    ("optim.name=adam", "optim.name='adam'", "did you mean adamw"),
    ("optim.schedule=cosin", "optim.schedule='cosin'", "did you mean cosine"),
    ("optim.decay_mask=kernel", "optim.decay_mask='kernel'", "kernels"),
    ("optim.warmup_steps=99", "optim.warmup_steps=99", "4 training steps"),
    ("optim.learning_rate=-1", "optim.learning_rate=-1", ">= 0"),
    ("optim.learning_rate=nan", "optim.learning_rate=nan", ">= 0"),
    ("optim.b1=1", "optim.b1=1", "below 1"),
    ("loss.label_smoothing=1.5", "loss.label_smoothing=1.5", "below 1"),
    ("loss.z_loss=-1", "loss.z_loss=-1", "at least 0"),
    ("decode.top_p=0", "decode.top_p=0", "0 < top_p <= 1"),
    ("decode.temperature=-1", "decode.temperature=-1", "temperature >= 0"),
    ("decode.max_tokens=0", "decode.max_tokens=0", "max_tokens >= 1"),
    ("decode.top_k=-1", "decode.top_k=-1", "top_k >= 0"),
    ("decode.min_p=2", "decode.min_p=2", "0 <= min_p <= 1"),
    ("eval.mode=maximum", "eval.mode='maximum'", "min, max"),
    ("eval.best=acuracy", "eval.best", "acuracy", "did you mean 'accuracy'"),
    ("eval.split=valdation", "valdation", "validation"),
    ("eval.ema=True", "eval.ema=True", "train.ema"),
    ("eval.every=-1", "eval.every=-1", "at least 0"),
    ("prompt.template=chatlm", "prompt.template='chatlm'", "did you mean 'chatml'"),
    ("prompt.label_norm=avg", "prompt.label_norm='avg'", "sum, tokens, bytes, pmi"),
    ("prompt.text={txt}", "'{txt}'", "'txt'", "text"),
    ("prompt.text={text", "'{text'"),
    ("data.length=2", "data.length=2", "at least 4"),
    ("data.limit=-1", "data.limit=-1", "at least 0"),
    ("data.on_long=cut", "data.on_long='cut'", "truncate, skip, raise"),
    ("data.on_error=ignore", "data.on_error='ignore'", "raise, skip, quarantine"),
    ("data.format=cvs", "data.format='cvs'", "did you mean 'csv'"),
    ("data.dir=nowhere", "nowhere", "no folder"),
    ("data.files.train=nowhere.csv", "config.data.files.train", "nowhere.csv"),
    ("data.files.dev=nowhere.csv", "config.data.files.dev is not a key"),
    ("data.fields.text=txt", "train.csv:2", "'txt'", "did you mean 'text'"),
    ("data.labels=good", "'bad'", "not one of good"),
    ("data.labels=good,evil", "train.csv:3", "'bad'", "good, evil"),
    ("data.on_long=raise --config.data.length=8", "train.csv:2", "data.length"),
    ("data.on_long=skip --config.data.length=8", "24 skipped as too long"),
    ("log.tensorboard=True", "log.tensorboard", "pip install tensorboardX"),
    ("checkpoint.keep=0", "checkpoint.keep=0", "-1 for all"),
    ("checkpoint.every=-1", "checkpoint.every=-1", "at least 0"),
]

# Whole command lines. {data} and {work} are folders that are right, {here} is the
# test's own; {config} is a packaged config.
CALLS = [
    ("", "lmtasks VERB"),
    ("trian --config=quickstart", "'trian'", "did you mean 'train'"),
    ("--config=quickstart", "'--config=quickstart'", "not a verb"),
    ("train --config=quickstart", "--workdir"),
    ("train", "--config=FILE.py"),
    ("train --workdir={here}/new", "config.json", "--config=FILE.py"),
    ("train --config=quickstart --workdir=gs://b/run", "is a URL", "gcsfuse"),
    ("train --config", "--config needs a value"),
    ("train --config=quickstart --config.seed", "--config.seed needs a value"),
    ("train --config=quikstart --workdir={here}/new", "did you mean quickstart"),
    ("train --config=own:clasification --workdir={here}/new", "'classification'"),
    (
        "train --config=own:text,encoder_decoder --config.objective=clm --workdir={here}/n",
        "Text",
        "denoise on encoder_decoder",
    ),
    ("train --config=toy:toy_labeled,encoder --workdir={here}/n", "'toy_labelled'"),
    ("train --config=quickstart:fast --workdir={here}/new", "quickstart", "argument"),
    ("train --config=quickstart --wrokdir={here}/new", "did you mean --workdir"),
    ("train --config=quickstart --dry_run=maybe", "dry_run", "maybe"),
    ("train quickstart --workdir={here}/new", "'quickstart'", "--"),
    ("config quikstart", "did you mean quickstart"),
    ("config quickstart extra", "'extra'"),
    ("config quickstart --config.train.stepz=1", "config.train.steps"),
    ("tasks everything", "'everything'"),
    ("inspect --rows=many", "rows", "many"),
    ("inspect --workdir={here}/new", "{here}/new", "config.json"),
    ("eval", "--workdir"),
    ("eval --workdir={here}/new", "{here}/new", "not a work directory"),
    ("eval --workdir={data}", "not a work directory"),
    ("predict --workdir={here}/new --input=-", "not a work directory"),
    ("plot", "WORKDIR"),
    ("plot {here}/new", "metrics.jsonl"),
    ("plot {data}", "metrics.jsonl"),
    ("prepare", "--"),
]

FINETUNE = "from configs import base\ndef get_config():\n    c = base.finetune()\n    "

# Content of a config file -> what the line must contain.
CONFIGS = [
    ("# empty\n", "mine.py", "get_config"),
    ("def get_config(:\n", "mine.py", "syntax", "line 1"),
    ("import no_such_package\n", "mine.py", "no_such_package"),
    ("steps = ten\n", "mine.py", "'ten'", "line 1"),
    ("def get_config():\n    return {'train': 1}\n", "mine.py", "ConfigDict"),
    (f"{FINETUNE}c.train.stepz = 3\n    return c\n", "mine.py", "stepz", "steps"),
    (f"{FINETUNE}c.train.steps = '3'\n    return c\n", "mine.py", "steps", "int"),
    (f"{FINETUNE}c.train.steps = True\n    return c\n", "train.steps", "whole number"),
    (f"{FINETUNE}c.optim.eps = None\n    return c\n", "optim.eps", "a number"),
    (f"{FINETUNE}c.seed = 1 // 0\n    return c\n", "mine.py", "division", "line 4"),
    (f"{FINETUNE}base.no_such(c)\n    return c\n", "mine.py", "no_such", "line 4"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)
    monkeypatch.delenv("LMTASKS_TRACEBACK", raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a sound train.csv and validation.csv."""
    return runs.data(tmp_path_factory.mktemp("bad") / "data")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A finished run, to be copied before anything is done to it."""
    work = tmp_path_factory.mktemp("trained") / "work"
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert runs.main.main(runs.classify(data, work)) == 0
    return work


def refused(said, *words):
    """Assert exit code 2 and one line on stderr that holds all the words."""
    lines = said.err.splitlines()
    assert said.code == 2, said
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err, said.err
    for word in words:
        assert word.casefold() in lines[0].casefold(), lines[0]


@pytest.mark.parametrize(("flag", "words"), [(c[0], c[1:]) for c in OVERRIDES])
def test_a_wrong_value_is_one_line_and_writes_nothing(
    flag, words, data, tmp_path, capsys
):
    work = tmp_path / "work"
    argv = runs.classify(data, work)
    said = runs.command(capsys, *argv, *f"--config.{flag}".split(" "))
    refused(said, *words)
    assert runs.files(work) == {}


@pytest.mark.parametrize(("line", "words"), [(c[0], c[1:]) for c in CALLS])
def test_a_wrong_call_is_one_line_and_writes_nothing(
    line, words, data, tmp_path, capsys
):
    names = {"data": data, "here": tmp_path}
    argv = [arg.format(**names) for arg in line.split()]
    said = runs.command(capsys, *argv)
    if line:
        refused(said, *(word.format(**names) for word in words))
    else:
        assert said.code == 2 and words[0] in said.out
    assert runs.files(tmp_path) == {}


@pytest.mark.parametrize(("content", "words"), [(c[0], c[1:]) for c in CONFIGS])
def test_a_wrong_config_file_is_one_line_that_names_it(
    content, words, tmp_path, capsys
):
    path = tmp_path / "mine.py"
    path.write_text(content)
    work = tmp_path / "work"
    said = runs.command(capsys, "train", f"--config={path}", f"--workdir={work}")
    refused(said, *words)
    assert runs.files(work) == {}


def test_a_folder_of_the_same_name_does_not_hide_a_packaged_config(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sst2").mkdir()  # the data, most likely
    assert "* task = 'sst2'" in runs.good(capsys, "config", "sst2")
    assert "* task = 'sst2'" in runs.good(capsys, "config", "--config=sst2")


def test_a_config_that_is_no_python_file_is_refused(tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text("{}")
    for name in (path, tmp_path):
        said = runs.command(capsys, "train", f"--config={name}", "--workdir=x")
        refused(said, str(name), ".py")


def test_a_work_directory_that_cannot_be_written_is_refused(data, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    for work in (blocked, blocked / "below"):
        said = runs.command(capsys, *runs.classify(data, work))
        refused(said, str(work), "--workdir")
    assert runs.files(tmp_path) == {"file": b"not a folder"}


# Content of the training file -> what the line must contain.
FILES = [
    ("", "train.csv"),
    ("text,label\n", "train.csv", "no records"),
    ("text,label\na,good\nb,good\n", "1 different labels", "at least 2"),
    ("text,label\na,good\nb,bad,3\n", "train.csv:3", "3 columns"),
    ("text,label\na,good\nb\xff,bad\n", "train.csv:3", "UTF-8"),
    ('text,label\na,good\n"b,bad\n', "train.csv:3", "quote"),
    ("review,stars\na,good\nb,bad\n", "train.csv:2", "review, stars", "data.fields"),
    ("text,label\n,good\n  ,bad\n", "2 without text"),
    ("text,text\na,good\n", "train.csv", "two columns"),
]


@pytest.mark.parametrize(("content", "words"), [(c[0], c[1:]) for c in FILES])
def test_a_wrong_data_file_is_named_with_its_line(content, words, tmp_path, capsys):
    folder, work = tmp_path / "data", tmp_path / "work"
    folder.mkdir()
    (folder / "train.csv").write_bytes(content.encode("latin-1"))
    refused(runs.command(capsys, *runs.classify(folder, work)), *words)
    assert runs.files(work) == {}


@pytest.mark.parametrize(
    "record",
    [{"text": None, "label": "bad"}, {"text": 5, "label": "bad"}]
    + [{"label": "bad"}, {"text": ["a"], "label": "bad"}],
)
def test_a_record_of_the_wrong_type_is_named_with_its_line(record, tmp_path, capsys):
    folder, work = tmp_path / "data", tmp_path / "work"
    folder.mkdir()
    sound = [{"text": text, "label": label} for text, label in runs.reviews(12)]
    runs.write_jsonl(folder / "train.jsonl", [*sound[:4], record, *sound[4:]])
    refused(runs.command(capsys, *runs.classify(folder, work)), "train.jsonl:5")
    assert runs.files(work) == {}


def test_malformed_records_are_left_out_and_counted_on_request(tmp_path, capsys):
    folder = runs.data(tmp_path / "data", train=24)
    with open(folder / "train.csv", "a") as file:
        file.write("one,two,three\n")
    argv = runs.classify(folder, tmp_path / "work", train__steps=1)
    out = runs.good(capsys, *argv, "--config.data.on_error=skip")
    assert "24 examples" in out and "1 malformed records skipped" in out


def test_malformed_records_are_set_apart_on_request(tmp_path, capsys):
    folder, work = runs.data(tmp_path / "data", train=24), tmp_path / "work"
    with open(folder / "train.csv", "a") as file:
        file.write("one,two,three\n")
    argv = runs.classify(folder, work, train__steps=1)
    out = runs.good(capsys, *argv, "--config.data.on_error=quarantine")
    assert "24 examples" in out and "1 malformed records skipped" in out
    [row] = map(json.loads, (work / "quarantine/train.jsonl").read_text().splitlines())
    assert row["place"] == f"{folder}/train.csv:26" and "columns" in row["what"]
    assert not (work / "quarantine/validation.jsonl").exists()


def test_mostly_malformed_records_are_refused_even_on_request(tmp_path, capsys):
    folder = runs.data(tmp_path / "data", train=24)
    with open(folder / "train.csv", "a") as file:
        file.write("one,two,three\n" * 10)
    argv = runs.classify(folder, tmp_path / "work", data__on_error="skip")
    refused(runs.command(capsys, *argv), "10 of 34", "train.csv:26")


def test_empty_texts_and_cut_texts_are_counted(tmp_path, capsys):
    folder = runs.data(tmp_path / "data")
    rows = [*runs.reviews(22), ("", "good"), ("  ", "bad"), ("long " * 20, "bad")]
    runs.write_csv(folder / "train.csv", rows)
    argv = runs.classify(folder, tmp_path / "work", train__steps=1)
    out = runs.good(capsys, *argv)
    assert "2 without text, label or answer" in out
    assert "1 cut to the length" in out
    kept = runs.good(capsys, *argv[:2], *argv[3:], "--config.data.on_long=skip",
                     f"--workdir={tmp_path / 'skip'}")  # fmt: skip
    assert "1 skipped as too long" in kept and "cut to" not in kept


def test_a_run_without_an_evaluation_split_says_so(tmp_path, capsys):
    folder = runs.data(tmp_path / "data")
    (folder / "validation.csv").unlink()
    out = runs.good(capsys, *runs.classify(folder, tmp_path / "w", train__steps=1))
    assert "no validation split" in out


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("model.width=32", ("does not fit", "[", "another work directory")),
        ("model.layers=2", ("does not fit", "layers_1", "another work directory")),
        ("train.batch_size=16", ("data", "has changed", "new --workdir")),
        ("data.length=24", ("data", "has changed", "new --workdir")),
        ("architecture=decoder", ("work",)),
        ("optim.name=sgd", ("does not fit", "absent")),
        ("tokenizer.kind=char", ("tokenizer", "new --workdir")),
    ],
)
def test_resuming_with_what_cannot_be_changed_leaves_the_run_as_it_was(
    flag, words, data, trained, tmp_path, capsys
):
    work = shutil.copytree(trained, tmp_path / "work")
    before = runs.files(work)
    argv = runs.classify(data, work, train__steps=8)
    said = runs.command(capsys, *argv, f"--config.{flag}")
    refused(said, *words)
    assert runs.files(work) == before


def test_resuming_on_changed_data_leaves_the_run_as_it_was(
    data, trained, tmp_path, capsys
):
    work = shutil.copytree(trained, tmp_path / "work")
    folder = shutil.copytree(data, tmp_path / "data")
    before = runs.files(work)
    with open(folder / "train.csv", "a") as file:
        file.write("one more,good\n")
    argv = runs.classify(folder, work, train__steps=8)
    refused(runs.command(capsys, *argv), "has changed", "new --workdir")
    assert runs.files(work) == before
    again = runs.classify(data, work)
    assert runs.command(capsys, *again).code == 0


def test_a_damaged_config_of_a_run_is_named(trained, tmp_path, capsys):
    work = shutil.copytree(trained, tmp_path / "work")
    (work / "config.json").write_text('{"task": "cla')
    said = runs.command(capsys, "eval", f"--workdir={work}")
    refused(said, "config.json", "not valid json")


def test_a_run_without_checkpoint_says_train_first(trained, tmp_path, capsys):
    work = shutil.copytree(trained, tmp_path / "work")
    shutil.rmtree(work / "checkpoints")
    for verb in (["eval"], ["predict", "--input=-"]):
        said = runs.command(capsys, *verb, f"--workdir={work}")
        refused(said, "no checkpoint", "train")


def test_evaluating_what_is_not_there_names_what_is(trained, capsys):
    work = f"--workdir={trained}"
    refused(runs.command(capsys, "eval", work, "--split=tset"), "tset", "validation")
    refused(runs.command(capsys, "eval", work, "--step=3"), "3", "2, 4")
    width = "--config.model.width=32"
    refused(runs.command(capsys, "eval", work, width), "does not fit this model")
    norm = "--config.prompt.label_norm=avg"
    refused(runs.command(capsys, "eval", work, norm), "label_norm", "pmi")
    assert not (trained / "eval.jsonl").exists()


# Content of an input file (None: there is none) -> what the line must contain.
INPUTS = [
    (None, "no such file"),
    ("", "is empty"),
    ("\n\n", "is empty"),
    ('{"text": "a"}\n{"text": \n', ":2", "not valid json"),
    ('{"text": "a"}\n[1]\n', ":2", "one json object"),
    ('{"text": "a"}\n{"review": "b"}\n', ":2", "review", "text"),
    ('{"text": 5}\n', ":1", "text"),
    ('{"text": null}\n', ":1", "text"),
    ("caf\xe9\n", "utf-8"),
]


@pytest.mark.parametrize(("content", "words"), [(c[0], c[1:]) for c in INPUTS])
def test_a_wrong_input_to_predict_is_one_line(
    content, words, trained, tmp_path, capsys
):
    path, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    argv = ["predict", f"--workdir={trained}", f"--input={path}", f"--output={out}"]
    refused(runs.command(capsys, *argv), "rows.jsonl", *words)
    assert not out.exists()


def test_predict_says_what_it_needs(trained, tmp_path, capsys):
    work = f"--workdir={trained}"
    refused(runs.command(capsys, "predict", work), "--input")
    path = tmp_path / "rows.txt"
    path.write_text("fine\n")
    argv = ["predict", work, f"--input={path}", f"--output={tmp_path / 'no' / 'a'}"]
    refused(runs.command(capsys, *argv), "no/a")


def test_generating_with_an_encoder_is_refused(trained):
    import lmtasks

    with pytest.raises(ValueError, match=r"writes no text; use predict"):
        lmtasks.generate(lmtasks.load(str(trained)), ["a fine"])
    with pytest.raises(ValueError, match=r"only a model with a vocabulary head"):
        lmtasks.score(lmtasks.load(str(trained)), [("a", "b")])


def test_a_diverged_loss_stops_the_run_and_keeps_the_last_good_state(
    data, tmp_path, capsys
):
    work = tmp_path / "work"
    assert runs.command(capsys, *runs.classify(data, work)).code == 0
    kept = runs.sha(work)
    argv = runs.classify(data, work, train__steps=8, optim__learning_rate="1e30")
    said = runs.command(capsys, *argv)
    refused(said, "loss of step", "last good checkpoint is step 4", guard.FILE)
    assert "learning_rate" in said.err
    assert runs.sha(work) == kept and runs.steps(work)[-1] == 4
    found = runs.rows(work, guard.FILE)[0]
    assert 4 < found["step"] <= 8
    assert len(found["examples"]) >= 8
    assert set(found["examples"]) <= set(range(24))
    last = runs.rows(work)[-1]
    assert last["step"] == found["step"] and not last["loss"] < 1e30


def test_a_poisoned_parameter_stops_the_run_at_once(
    data, tmp_path, capsys, monkeypatch
):
    make = steps.jit_step

    def poisoned(recipe):
        update = make(recipe)

        def step(state, batch):
            if int(state.step) == 2:
                bad = jax.tree.map(lambda x: x * float("nan"), state.params)
                state = state.replace(params=bad)
            return update(state, batch)

        return step

    monkeypatch.setattr(steps, "jit_step", poisoned)
    work = tmp_path / "work"
    said = runs.command(capsys, *runs.classify(data, work, train__steps=6))
    refused(said, "loss of step 3 is nan", "checkpoint is step 2", guard.FILE)
    assert runs.steps(work) == [2]
    assert runs.rows(work, guard.FILE)[0]["step"] == 3
    monkeypatch.setattr(steps, "jit_step", make)
    assert runs.command(capsys, *runs.classify(data, work, train__steps=6)).code == 0
    assert runs.steps(work)[-1] == 6
    assert all(row["loss"] == row["loss"] for row in runs.rows(work))


def test_every_mistake_is_told_apart_from_the_others():
    for table in (OVERRIDES, CALLS, CONFIGS, FILES, INPUTS):
        assert len({case[0] for case in table}) == len(table)
    assert len(OVERRIDES + CALLS) > 100
