"""Codes of languages stand around translations where mBART was trained to see them."""

import pytest
from test_tokenizer_published import checkpoint
from test_tokenizer_published import model
from test_tokenizer_published import theirs_of

from lmtasks import mixing
from lmtasks import tokenizers
from lmtasks.objectives import base
from lmtasks.objectives import generate
from lmtasks.objectives import languages
from lmtasks.tasks import translation

KINDS = ("MBart", "MBart50")
RECORD = {
    "source": "the cat",
    "target": "a hat",
    "source_language": "fr",
    "target_language": "de",
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def tokenizer(kind, tmp_path):
    where = (tmp_path / "tok", "sentencepiece.bpe.model", model())
    return checkpoint(*where, tokenizer_class=f"{kind}Tokenizer")


def objective(**more):
    setting = base.Setting(
        "encoder_decoder", prompt=translation.TASK.prompts["plain"], **more
    )
    return generate.Generate(setting)


def test_rows_have_the_codes_of_their_own_direction(kind, tokenizer):
    row = objective().featurize(translation.example(RECORD), tokenizer)[0]
    names, end = tokenizer.names, tokenizer.eos_id
    source, target = (tokenizer.encode(RECORD[key]) for key in ("source", "target"))
    french, german = names["fr_XX"], names["de_DE"]
    if kind == "MBart":
        assert row["source"].tolist() == [*source, end, french]
        assert row["tokens"].tolist() == [german, *target]
        assert row["targets"].tolist() == [*target, end]
    else:
        assert row["source"].tolist() == [french, *source, end]
        assert row["tokens"].tolist() == [end, german, *target]
        assert row["targets"].tolist() == [german, *target, end]
    assert row["weights"].tolist() == [1.0] * len(row["targets"])
    back = RECORD | {"source_language": "German", "target_language": "French"}
    other = objective().featurize(translation.example(back), tokenizer)[0]
    assert {french, german} & set(other["source"].tolist()) == {german}
    assert french in other["tokens"].tolist()


def test_rows_are_those_of_transformers(kind, tokenizer, tmp_path):
    theirs = theirs_of(tmp_path / "tok", f"{kind}Tokenizer")
    theirs.src_lang, theirs.tgt_lang = "fr_XX", "de_DE"
    ids = theirs(RECORD["source"], text_target=RECORD["target"])
    row = objective().featurize(translation.example(RECORD), tokenizer)[0]
    assert row["source"].tolist() == ids["input_ids"]
    # Their decoder reads the labels turned by one, from the last: the code, or the end.
    labels = ids["labels"]
    read = [labels[-1], *labels[:-1]]
    # mBART also learns its code behind the end, where nothing is written any more.
    count = len(labels) - (kind == "MBart")
    assert row["tokens"].tolist() == read[:count]
    assert row["targets"].tolist() == labels[:count]


def test_a_query_is_the_prompt_and_how_the_reply_begins(tokenizer):
    example = translation.example(RECORD)
    row, query = (
        found(example, tokenizer)[0]
        for found in (objective().featurize, objective().query)
    )
    start = len(query["tokens"])
    assert query["source"].tolist() == row["source"].tolist()
    assert query["tokens"].tolist() == row["tokens"].tolist()[:start]
    assert not any(query["weights"])


def test_a_source_that_is_cut_keeps_its_codes(tokenizer):
    long = RECORD | {"source": "the cat sat on the mat " * 9}
    row = objective(source_length=8).featurize(translation.example(long), tokenizer)[0]
    assert len(row["source"]) == 8 and row["cut"] > 0
    assert {tokenizer.names["fr_XX"], tokenizer.eos_id} <= set(row["source"].tolist())


def test_a_code_that_is_typed_is_text(tokenizer):
    typed = RECORD | {"source": "fr_XX the cat de_DE"}
    row = objective().featurize(translation.example(typed), tokenizer)[0]
    special = {*tokenizer.names.values()} - {tokenizer.unk_id}
    found = [i for i in row["source"].tolist() if i in special]
    assert sorted(found) == sorted([tokenizer.names["fr_XX"], tokenizer.eos_id])


def test_a_mixture_keeps_the_codes(tokenizer):
    part = mixing.Part("translation", translation.TASK, None)
    said = mixing.turned([part], 0, RECORD)
    assert languages.codes_of(said.fields, tokenizer) is not None


def test_other_tokenizers_and_examples_have_none(tokenizer):
    fields = translation.example(RECORD).fields
    plain = tokenizers.train("byte", [])
    assert languages.codes_of(fields, plain) is None
    assert languages.codes_of({}, tokenizer) is None
    unknown = RECORD | {"target_language": "Klingon"}
    assert languages.codes_of(translation.example(unknown).fields, tokenizer) is None
    setting = base.Setting("encoder_decoder", prompt="{source}")
    row = generate.Generate(setting).featurize(translation.example(RECORD), plain)[0]
    assert row["source"].tolist() == [*plain.encode("the cat"), plain.eos_id]
