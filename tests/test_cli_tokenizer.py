"""`lmtasks tokenizer`: training from files and comparing."""

import gzip
import json

import pytest

from lmtasks import tokenizers
from lmtasks.cli import tokenizer

LINES = [
    "the teacher taught the student\n",
    "The cat sat on the mat, and the other cat sat on the log!\n",
]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def write(folder, name, content):
    """Write text into a file, gzipped if its name says so; return the path."""
    path = folder / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(text):
    """Return the tab-separated output as lists of cells."""
    return [line.split("\t") for line in text.splitlines()]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz"])
def test_train_reads_text_and_json_lines(name, tmp_path, capsys):
    content = "".join(LINES)
    if "jsonl" in name:
        content = json.dumps({"body": content})
    path = write(tmp_path, name, content)
    tokenizer.main(
        ["train", "--kind=char", f"--input={path}", "--field=body"]
        + [f"--to={tmp_path / 'new'}", "--extra=<|a|>,<|b|>", "--sentinels=2"]
    )
    tok = tokenizers.load(tmp_path / "new")
    assert tok == tokenizers.train(
        "char", ["".join(LINES)], extra=["<|a|>", "<|b|>"], sentinels=2
    )
    assert tok.id_of("\n") is not None
    assert f"char tokenizer of {tok.size} ids, to {tmp_path}" in capsys.readouterr().out


def test_train_reads_several_files_and_says_when_the_cap_is_not_reached(
    tmp_path, capsys
):
    paths = [write(tmp_path, f"{i}.txt", line) for i, line in enumerate(LINES)]
    joined = ",".join(map(str, paths))
    tokenizer.main(
        ["train", "--kind=word", f"--input={joined}", "--size=99", "--lowercase"]
        + [f"--to={tmp_path / 'new'}"]
    )
    tok = tokenizers.load(tmp_path / "new")
    assert tok.decode(tok.encode("The CAT taught")) == "the cat taught"
    assert f"of {tok.size} ids, at most 99, to" in capsys.readouterr().out


def test_train_bytes_needs_no_text(tmp_path):
    tokenizer.main(["train", "--kind=byte", f"--to={tmp_path / 'new'}"])
    assert tokenizers.load(tmp_path / "new").size == 263


def test_compare_shows_pieces_ids_and_what_they_cost(tmp_path, capsys):
    path = write(tmp_path, "a.txt", "".join(LINES) * 3)
    tokenizers.train("word", LINES).save(tmp_path / "words")
    named = f"byte,bpe,{tmp_path / 'words'}"
    tokenizer.main(
        ["compare", "the  dog", f"--input={path}", f"--tokenizers={named}"]
        + ["--size=300"]
    )
    said = rows(capsys.readouterr().out)
    assert said[0] == ["tokenizer", "pieces", "ids"]
    assert said[1][0] == "byte" and said[1][1].startswith("t h e <0x20> <0x20> d")
    words = tokenizers.load(tmp_path / "words")
    the = words.id_of("the")
    assert said[3] == [str(tmp_path / "words"), "the <unk>", f"{the} {words.unk_id}"]
    assert said[4] == [
        "tokenizer",
        "ids",
        "tokens",
        "bytes/token",
        "tokens/word",
        "unknown",
    ]
    size = sum(map(len, LINES)) * 3
    count = len(" ".join(LINES).split()) * 3
    assert said[5] == ["byte", "263", str(size), "1.00", f"{size / count:.2f}", "0.0%"]
    assert float(said[6][3]) > 1
    assert said[7][2] == str(len(words.encode("".join(LINES))) * 3)


def test_compare_measures_unknown_words(capsys):
    tokenizer.main(["compare", "a a a b", "--tokenizers=word", "--size=8"])
    assert rows(capsys.readouterr().out)[-1][-1] == "25.0%"


def test_compare_trains_every_kind_on_a_short_text(capsys):
    kinds = ",".join(tokenizers.KINDS)
    tokenizer.main(["compare", "Hello world\n", f"--tokenizers={kinds}"])
    said = rows(capsys.readouterr().out)
    assert [row[0] for row in said[1:8]] == list(tokenizers.KINDS)
    assert said[2][1] == "H e l l o \u2581 w o r l d \\n"


def test_compare_wraps_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    tokenizer.main(["compare", "[red]" + "x" * 200, "--tokenizers=char"])
    said = capsys.readouterr().out
    assert "\t" not in said and said.count("x") == 200 and "[ r e d ]" in said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "takes `train` or `compare"),
        (["trian"], "given 'trian'"),
        (["train", "--to=x"], "needs --kind"),
        (["train", "--kind=bpe"], "needs --to"),
        (["train", "--kind=bpe", "--to=x"], "needs --input"),
        (["train", "--kind=bp", "--to=x", "--input=a.txt"], "did you mean bpe"),
        (["train", "--kind=char", "--to=x", "--input=a.csv"], "not .txt or .jsonl"),
        (["compare", "a"], "needs --tokenizers"),
        (["compare", "--tokenizers=byte"], "needs a TEXT"),
        (["compare", "a", "b", "--tokenizers=byte"], "compare a b"),
        (["compare", "a", "--tokenizers=absent"], "no tokenizer at absent"),
    ],
)
def test_mistakes_are_single_sentences(argv, said):
    with pytest.raises((ValueError, OSError)) as error:
        tokenizer.main(argv)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_damaged_input_names_the_file_and_line(tmp_path):
    for name, content, said in (
        ("a.jsonl", '{"text": "a"}\n{"other": "b"}\n', "a.jsonl, line 2.*'text'"),
        ("b.jsonl", '{"text": "a"}\nnot json\n', "b.jsonl, line 2.*no JSON"),
        ("c.jsonl", '{"text": 5}\n', "must be a string"),
        ("d.txt", "", "no text"),
    ):
        path = write(tmp_path, name, content)
        with pytest.raises(ValueError, match=said):
            tokenizer.main(["train", "--kind=char", "--to=x", f"--input={path}"])
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="e.txt cannot be read as text"):
        tokenizer.main(["train", "--kind=char", "--to=x", f"--input={tmp_path}/e.txt"])
    (tmp_path / "f.txt.gz").write_bytes(b"plain")
    with pytest.raises(OSError, match="gzip"):
        tokenizer.main(
            ["train", "--kind=char", "--to=x", f"--input={tmp_path}/f.txt.gz"]
        )
