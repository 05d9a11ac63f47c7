"""Text as token ids on disk: the same rows as of the text, and refusals."""

import json

import numpy as np
import pytest
import runs
from test_builder import config

from lmtasks import builder
from lmtasks import tokenizers
from lmtasks.data import sources
from lmtasks.data import token_files
from lmtasks.tasks import text
from lmtasks.training import feed

TEXTS = [
    f"Document {i}: the harbour was quiet, and {'so ' * i}on.\n" for i in range(30)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with texts, a tokenizer of them, and both as token files."""
    made = tmp_path_factory.mktemp("tokens")
    for split, rows in (("train", TEXTS), ("validation", TEXTS[:5])):
        runs.write_jsonl(made / f"{split}.jsonl", [{"text": row} for row in rows])
    tokenizers.train("bytebpe", TEXTS, size=300).save(made / "tokenizer")
    return made


def prepare(capsys, folder, to, *more):
    """Run `lmtasks prepare --format=tokens` on the folder's texts."""
    files = ",".join(f"{s}={folder / s}.jsonl" for s in ("train", "validation"))
    return runs.command(
        capsys, "prepare", "--format=tokens", f"--input={files}", f"--to={to}", *more
    )


def read(**changes):
    """Return the first batches of a run that reads plain text."""
    c = config(task="text", architecture="decoder", data__limit=0, **changes)
    c.train.batch_size = 4
    return builder.build(c)


def test_training_on_ids_reads_what_training_on_their_text_reads(
    folder, tmp_path, capsys
):
    to = tmp_path / "ids"
    said = prepare(capsys, folder, to, f"--tokenizer={folder / 'tokenizer'}")
    assert said.code == 0 and "train: 30 documents" in said.out
    ids = read(data__dir=to)
    plain = read(data__dir=folder, tokenizer__path=folder / "tokenizer")
    assert ids.tokenizer == plain.tokenizer
    mine, theirs = feed.read(ids), feed.read(plain)
    assert isinstance(mine.train.rows.stream, np.memmap)
    assert "tokens from disk" in mine.summary
    assert len(mine.train.rows) == len(theirs.train.rows)
    for step in range(6):
        one, other = mine.train.batch(step), theirs.train.batch(step)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_a_split_is_its_texts_again(folder, tmp_path, capsys):
    to = tmp_path / "ids"
    prepare(capsys, folder, to, f"--tokenizer={folder / 'tokenizer'}")
    options = sources.DataOptions(dir=str(to))
    assert sources.split_names(text.TASK.source, options) == ["train", "validation"]
    found = sources.open_split(text.TASK.source, "train", options)
    assert [found[i]["text"] for i in range(len(found))] == TEXTS
    limited = sources.open_split(
        text.TASK.source, "train", sources.DataOptions(dir=str(to), limit=3)
    )
    assert [limited[i]["text"] for i in range(len(limited))] == TEXTS[:3]
    assert isinstance(limited.items, token_files.Documents)
    with pytest.raises(ValueError, match="no split 'test', but train, validation"):
        sources.open_split(text.TASK.source, "test", options)


@pytest.mark.parametrize("objective", ("denoise", ""))
def test_other_objectives_read_the_text(folder, tmp_path, capsys, objective):
    to = tmp_path / "ids"
    prepare(capsys, folder, to, f"--tokenizer={folder / 'tokenizer'}")
    kind = "encoder_decoder" if objective else "encoder"
    c = config(task="text", architecture=kind, data__dir=to, objective=objective)
    c.tokenizer.path = ""
    assert len(_read(c).train.rows) > 0


def _read(c):
    return feed.read(builder.build(c))


def test_ids_of_another_tokenizer_are_refused(folder, tmp_path, capsys):
    to = tmp_path / "ids"
    prepare(capsys, folder, to, f"--tokenizer={folder / 'tokenizer'}")
    other = tokenizers.train("bytebpe", TEXTS, size=280)
    other.save(tmp_path / "other")
    run = read(data__dir=to, tokenizer__path=tmp_path / "other")
    with pytest.raises(ValueError, match="made with another tokenizer"):
        feed.read(run)


def test_what_is_not_whole_is_refused(folder, tmp_path, capsys):
    to = tmp_path / "ids"
    prepare(capsys, folder, to, f"--tokenizer={folder / 'tokenizer'}")
    options = sources.DataOptions(dir=str(to))
    with open(to / "train.ids", "ab") as out:
        out.write(b"x")
    with pytest.raises(ValueError, match="prepare the folder again"):
        sources.open_split(text.TASK.source, "train", options)
    (to / "tokens.json").write_text(json.dumps({"version": 9, "splits": {"train": 1}}))
    with pytest.raises(ValueError, match="another version"):
        sources.open_split(text.TASK.source, "train", options)
    (to / "tokens.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        sources.open_split(text.TASK.source, "train", options)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "--format=tokens needs --tokenizer"),
        (("--format=records", "--tokenizer=x"), "nothing else takes one"),
        (("--tokenizer=nowhere",), "nowhere"),
    ],
)
def test_mistakes_write_nothing(folder, tmp_path, capsys, more, said):
    found = prepare(capsys, folder, tmp_path / "ids", *more)
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1
    assert not (tmp_path / "ids").exists()


def test_records_without_text_name_their_line(folder, tmp_path, capsys):
    path = runs.write_jsonl(tmp_path / "train.jsonl", [{"text": "a"}, {"body": "b"}])
    found = runs.command(
        capsys, "prepare", "--format=tokens", f"--input={path}",
        f"--to={tmp_path / 'ids'}", f"--tokenizer={folder / 'tokenizer'}",
    )  # fmt: skip
    assert found.code == 2 and f"{path}:2" in found.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train.jsonl"]
