"""The cached pass over a split: what is counted, cut, refused, and fingerprinted."""

import dataclasses

import numpy as np
import pytest

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import local
from lmtasks.data import records
from lmtasks.data import templates
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate

BYTE = tokenizers.train("byte", ())
LABELS = ("bad", "good")
SETTING = base.Setting("encoder", length=16, labels=LABELS)
HEAD = classify.ClassifyHead(SETTING)
ROWS = (
    {"text": "fine", "label": "good"},
    {"text": "dull", "label": "bad"},
    {"text": "  ", "label": "bad"},
    {"text": "much too long for it", "label": "good"},
    {"text": "who knows", "label": None},
)


def labelled(record):
    """Return a record as an example."""
    return examples.Labelled(record["text"], record["label"])


def split(rows=ROWS, mark="mark"):
    """Return records in memory."""
    return records.Records(list(rows), "toy", mark)


def pieces(objective=HEAD, rows=ROWS, example_of=labelled, tokenizer=BYTE, **options):
    """Return the rows of records in memory."""
    return features.Pieces(split(rows), example_of, objective, tokenizer, **options)


def test_every_example_is_a_row_or_counted_as_something_else():
    found = pieces()
    assert found.counts["examples"] == len(found.examples) == 5
    assert found.counts["rows"] == len(found) == 3
    assert found.counts["empty"] == 2
    assert found.counts["cut"] == 1 and found.counts["skipped_long"] == 0
    # "much too long for it" and [CLS], [SEP] in 16 slots.
    assert found.counts["tokens_cut"] == 20 + 2 - 16
    assert found.counts["tokens"] == 6 + 6 + 16


def test_rows_keep_the_order_of_the_records_and_know_their_example():
    found = pieces()
    assert [(p.example, p.piece) for p in found] == [(0, 0), (1, 0), (3, 0)]
    assert found.tokens.tolist() == [6, 6, 16]
    assert found.sources.tolist() == [0, 0, 0]
    assert found.weighted.tolist() == [1, 1, 1]


def test_an_example_may_give_several_rows():
    writer = clm.Clm(base.Setting("decoder", length=4))
    texts = [{"text": "abcdefghi"}, {"text": ""}, {"text": "xy"}]
    found = pieces(writer, texts, lambda r: examples.Text(r["text"]))
    assert [(p.example, p.piece) for p in found] == [(0, 0), (0, 1), (0, 2), (2, 0)]
    assert found.tokens.tolist() == [4, 4, 2, 3]
    assert found.weighted.sum() == 9 + 1 + 2 + 1
    assert found.counts["empty"] == 1 and found.counts["tokens"] == 13


def test_long_texts_are_cut_and_said_so():
    found = pieces()
    assert BYTE.decode(found[2].features["tokens"]) == "much too long "
    said = found.summary("train")
    assert said.startswith("train: 5 examples, 3 rows, 28 tokens")
    assert "2 without text, label or answer" in said
    assert "1 cut to the length (6 tokens)" in said
    assert "malformed" not in said


def test_long_texts_are_skipped_where_asked_and_said_so():
    found = pieces(on_long="skip")
    assert [p.example for p in found] == [0, 1]
    assert found.counts["skipped_long"] == 1 and found.counts["cut"] == 0
    assert "1 skipped as too long" in found.summary("train")
    assert len(found.examples) == 5


def test_a_long_text_is_refused_where_asked_with_its_file_and_line(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "ok", "label": "bad"}\n\n{"text": "%s"}\n' % ("x" * 99))
    found = local.load([(str(path),)], local.Layout(), "train")

    def read(record):
        return examples.Labelled(record["text"], record.get("label", "bad"))

    with pytest.raises(ValueError) as error:
        features.Pieces(found, read, HEAD, BYTE, on_long="raise")
    said = str(error.value)
    assert f"{path}:3" in said and "85 tokens too long" in said
    assert "data.length" in said and "data.on_long" in said


def test_a_length_that_fits_exactly_is_not_long():
    rows = [{"text": "x" * 14, "label": "good"}]
    assert pieces(rows=rows, on_long="raise").tokens.tolist() == [16]
    with pytest.raises(ValueError, match="1 tokens too long"):
        pieces(rows=[{"text": "x" * 15, "label": "good"}], on_long="raise")


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(ValueError, match="truncate, skip, raise"):
        pieces(on_long="cut")


def test_malformed_records_that_were_skipped_are_named():
    found = pieces()
    found.records = dataclasses.replace(found.records, skipped=3)
    assert "3 malformed records skipped" in found.summary("train")


def test_a_record_of_the_wrong_form_is_named_with_its_keys(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"text": "ok", "label": "bad"}\n{"sentence": "no", "label": "bad"}\n'
    )
    found = local.load([(str(path),)], local.Layout(), "train")
    with pytest.raises(ValueError) as error:
        features.Pieces(found, labelled, HEAD, BYTE)
    said = str(error.value)
    assert f"{path}:2" in said and "sentence, label" in said and "data.fields" in said


@pytest.mark.parametrize(
    "fault", (KeyError("x"), TypeError("x"), ValueError("x"), AttributeError("x"))
)
def test_whatever_a_task_cannot_read_is_named_by_its_place(fault):
    def read(record):
        if record["text"] == "dull":
            raise fault
        return labelled(record)

    with pytest.raises(ValueError, match="toy record 1"):
        pieces(example_of=read)


@pytest.mark.parametrize("architecture", ("encoder", "decoder"))
def test_a_label_that_is_none_of_the_classes_is_named_by_its_place(architecture):
    rows = [*ROWS, {"text": "so so", "label": "medium"}]
    setting = dataclasses.replace(SETTING, architecture=architecture)
    with pytest.raises(ValueError) as error:
        pieces(classify.make(setting, "sum"), rows)
    said = str(error.value)
    assert "'medium'" in said and "bad, good" in said and "toy record 5" in said


def test_questions_are_made_of_what_has_no_answer_too():
    found = pieces(query=True)
    assert [p.example for p in found] == [0, 1, 3, 4]
    assert found.weighted.sum() == 0


def test_the_fingerprint_is_a_function_of_data_tokenizer_and_objective():
    def of(objective=HEAD, mark="mark", tokenizer=BYTE, **options):
        found = features.Pieces(
            split(mark=mark), labelled, objective, tokenizer, **options
        )
        return found.fingerprint

    longer = dataclasses.replace(SETTING, length=24)
    renamed = dataclasses.replace(SETTING, labels=("good", "bad"))
    other = tokenizers.extend(BYTE, extra=("<|x|>",))
    marks = [
        of(),
        of(mark="other"),
        of(tokenizer=other),
        of(classify.ClassifyHead(longer)),
        of(classify.ClassifyHead(renamed)),
        of(on_long="skip"),
    ]
    assert len(set(marks)) == len(marks)
    assert of() == marks[0]


def test_the_fingerprint_changes_with_the_prompt_and_the_template():
    setting = base.Setting("decoder", length=64, prompt="{text}: ")
    changes = (
        {},
        {"prompt": "Review: {text}"},
        {"template": templates.TEMPLATES["inst"]},
        {"architecture": "encoder_decoder"},
    )
    marks = {
        pieces(
            generate.Generate(dataclasses.replace(setting, **change)), ROWS[:2]
        ).fingerprint
        for change in changes
    }
    assert len(marks) == len(changes)


def test_how_text_is_written_or_scored_is_no_part_of_the_data():
    # So that a run may be resumed under another temperature.
    setting = base.Setting("decoder", length=64, labels=LABELS)
    greedy = generate.Generate(setting, plan.Decode())
    drawn = generate.Generate(setting, plan.Decode(temperature=0.7))
    assert pieces(greedy).fingerprint == pieces(drawn).fingerprint
    total = classify.ClassifyWords(setting, "sum")
    mean = classify.ClassifyWords(setting, "tokens")
    assert pieces(total).fingerprint == pieces(mean).fingerprint
    smooth = dataclasses.replace(setting, label_smoothing=0.1)
    assert (
        pieces(total).fingerprint
        == pieces(classify.ClassifyWords(smooth, "sum")).fingerprint
    )


def test_fingerprints_of_parts_do_not_run_into_one_another():
    assert features.fingerprint("ab", "c") != features.fingerprint("a", "bc")
    assert features.fingerprint(1) != features.fingerprint("1")
    assert len(features.fingerprint()) == 16


def test_all_arrays_of_a_row_have_the_length_of_their_side():
    setting = base.Setting("encoder_decoder", length=16, source_length=12)
    found = pieces(generate.Generate(setting))
    for i, piece in enumerate(found):
        for key, array in piece.features.items():
            sizes = found.sources if key.startswith("source") else found.tokens
            assert isinstance(array, np.ndarray) and array.shape == (sizes[i],)
    assert found.counts["tokens"] == found.tokens.sum() + found.sources.sum()
