"""The decode section: defaults of tasks, tables from words, what cannot be."""

import json

import pytest

from configs import base
from lmtasks import builder
from lmtasks import decoding
from lmtasks.tasks import base as task_base
from lmtasks.tasks import multi30k


def _config(task, folder, **decode):
    c = base.tiny(base.finetune())
    c.task, c.architecture, c.data.dir = task, "decoder", str(folder)
    for key, value in decode.items():
        c.decode[key] = value
    return c


@pytest.fixture
def texts(tmp_path):
    """A folder of labelled texts."""
    rows = [{"text": f"t{i}", "label": ("good", "bad")[i % 2]} for i in range(8)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(lines)
    return tmp_path


def test_a_task_brings_its_own_decoding_and_the_config_has_the_last_word(tmp_path):
    c = _config("multi30k", tmp_path)
    c.decode.max_tokens = None
    decoding.resolve(c, multi30k.TASK)
    plan = decoding.plan_of(c)
    assert (plan.method, plan.beams, plan.max_tokens) == ("beam", 4, 64)
    c = _config("multi30k", tmp_path, method="sample", beams=2)
    decoding.resolve(c, multi30k.TASK)
    plan = decoding.plan_of(c)
    assert (plan.method, plan.beams) == ("sample", 2)
    assert None not in c.decode.to_dict().values()


def test_a_task_with_an_unknown_key_is_refused(tmp_path):
    task = task_base.Task(
        multi30k.TASK.source, multi30k.example, multi30k.TASK.kind, decode={"beems": 4}
    )
    with pytest.raises(ValueError, match=r"decode='beems' is not one of .*'beams'"):
        decoding.resolve(_config("multi30k", tmp_path), task)


def test_a_labelled_task_solved_by_generation_writes_its_labels_only(texts):
    c = _config("classification", texts)
    assert builder.build(c).tables.automata == ()  # label words are scored
    c.objective = "generate"
    run = builder.build(c)
    (trie,) = run.tables.automata
    # " good" and " bad" in bytes share their first state only.
    first = [i for i in range(run.model.cfg.vocab) if trie.next[0, i] >= 0]
    assert [run.tokenizer.decode([i]) for i in first] == [" "]
    assert builder.build(_config("classification", texts, stop=("x",))).tables.automata


def test_words_become_tables_and_ids_without_text_are_never_written(texts):
    c = _config("classification", texts, prefix="so", forbid=("zz",), regex="[a-z]+")
    c.objective, c.model.vocab = "generate", 300
    run = builder.build(c)
    assert len(run.tables.automata) == 2
    assert run.tokenizer.decode(run.tables.forced) == " so"
    assert run.tables.forbidden.sum() == 300 - run.tokenizer.size


def test_a_schema_is_read_from_a_file(texts, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text('{"type": "integer"}')
    assert decoding.schema_of(str(path)) == '{"type": "integer"}'
    assert decoding.schema_of('{"type": "null"}') == '{"type": "null"}'
    with pytest.raises(ValueError, match="neither a JSON object nor a file"):
        decoding.schema_of("no such file")


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"choices": ("a", "b"), "regex": "a"}, "exclude another"),
        ({"method": "draft"}, "set both"),
        ({"draft": "somewhere"}, "set both"),
        ({"forbid": ("",)}, "one character or more"),
        ({"weights": "int4"}, "decode.weights='int4' is not one of"),
        ({"cache": "int4"}, "decode.cache='int4' is not one of"),
        ({"length_penalty": "avrage"}, "did you mean 'average'"),
        ({"choose": "vote"}, "set decode.texts"),
    ],
)
def test_what_excludes_another_is_refused_in_one_sentence(tmp_path, values, sentence):
    c = _config("multi30k", tmp_path, **values)
    decoding.resolve(c, multi30k.TASK)
    with pytest.raises(ValueError, match=".*") as error:
        decoding.plan_of(c)
    assert sentence in str(error.value) and "\n" not in str(error.value)
