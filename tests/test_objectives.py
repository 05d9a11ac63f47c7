"""What examples become, objective by objective, array by array."""

import dataclasses
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import templates
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers"
BYTE = tokenizers.train("byte", ())
BOS, EOS = BYTE.bos_id, BYTE.eos_id
CLS, SEP = BYTE.cls_id, BYTE.sep_id
quickly = hypothesis.settings(max_examples=60, deadline=None)
LABELS = ("no", "yes", "yes, but")


def ids(text):
    """Return the bytes of a text as ids."""
    return BYTE.encode(text)


def turn(role, text):
    """Return one turn, its role by its first letter."""
    names = {"s": "system", "u": "user", "a": "assistant"}
    return examples.Turn(names[role], text)


def asked(prompt, *reply):
    """Return a question with its answer, if any."""
    said = [turn("u", prompt), *(turn("a", text) for text in reply)]
    return examples.Turns(tuple(said))


def setting(architecture="decoder", **changes):
    """Return a setting with room for 40 tokens on either side."""
    defaults = {"length": 40, "source_length": 40, "labels": LABELS}
    return base.Setting(architecture, **defaults | changes)


def make(name, architecture, **changes):
    """Return an objective."""
    one = setting(architecture, **changes)
    if name == "classify":
        return classify.make(one, "sum")
    return {"clm": clm.Clm, "generate": generate.Generate}[name](one)


def check(row, **expected):
    """Assert that a row's arrays are exactly these, and integers where they count."""
    for key, values in expected.items():
        assert row[key].tolist() == list(values), key
        assert row[key].dtype == (np.float32 if key == "weights" else np.int32), key


# Arrays, by hand.


def test_each_position_predicts_the_next_id():
    row = base.next_token_features([5, 6, 7, 8], [False, False, True, True])
    check(row, tokens=[5, 6, 7], targets=[6, 7, 8], weights=[0, 1, 1])
    check(row, positions=[0, 1, 2])


def test_ids_are_cut_from_either_end():
    assert base.cut_to([1, 2, 3], 3) == ([1, 2, 3], 0)
    assert base.cut_to([1, 2, 3], 2) == ([1, 2], 1)
    assert base.cut_to([1, 2, 3], 2, keep="end") == ([2, 3], 1)
    assert base.cut_to([], 2, keep="end") == ([], 0)


def test_plain_text_is_windows_whose_targets_go_on_from_the_last():
    writer = clm.Clm(setting(length=3))
    a, b, c, d, e = ids("abcde")
    first, second = writer.featurize(examples.Text("abcde"), BYTE)
    check(first, tokens=[BOS, a, b], targets=[a, b, c], weights=[1, 1, 1])
    check(second, tokens=[c, d, e], targets=[d, e, EOS], weights=[1, 1, 1])
    check(second, positions=[0, 1, 2])
    (only,) = writer.featurize(examples.Text("ab"), BYTE)
    check(only, tokens=[BOS, a, b], targets=[a, b, EOS])
    assert writer.featurize(examples.Text(""), BYTE) == []


@quickly
@hypothesis.given(text=st.text(max_size=40), length=st.integers(1, 9))
def test_evaluation_windows_score_each_token_exactly_once(text, length):
    writer = clm.Clm(setting(length=length))
    rows = writer.featurize(examples.Text(text), BYTE)
    said = [t for row in rows for t in row["targets"].tolist()]
    assert said == ([*ids(text), EOS] if text else [])
    assert all((row["weights"] == 1).all() for row in rows)
    read = [t for row in rows for t in row["tokens"].tolist()]
    assert read == ([BOS, *ids(text)] if text else [])


def bert(folder):
    """Return a vocabulary without beginning and end of a text, as BERT's."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz?.", *(f"##{c}" for c in "abcdefghij")]
    (folder / "vocab.txt").write_text("\n".join(names + letters) + "\n")
    return tokenizers.load(str(folder / "vocab.txt"))


def test_a_text_without_a_first_token_is_scored_from_its_second_on(tmp_path):
    tokenizer = bert(tmp_path)
    assert tokenizer.bos_id is None and tokenizer.eos_id is None
    writer = clm.Clm(setting(length=8))
    a, b, c = tokenizer.encode("a b c")
    (row,) = writer.featurize(examples.Text("a b c"), tokenizer)
    check(row, tokens=[a, b], targets=[b, c], weights=[1, 1])
    assert writer.featurize(examples.Text("a"), tokenizer) == []


def test_a_decoder_learns_the_answer_after_the_prompt():
    row = make("generate", "decoder").featurize(asked("ab", "c"), BYTE)[0]
    a, b, space, c = ids("ab c")
    check(
        row,
        tokens=[BOS, a, b, space, c],
        targets=[a, b, space, c, EOS],
        weights=[0, 0, 1, 1, 1],
        positions=range(5),
    )
    assert row["cut"] == 0 and "source" not in row


def test_a_decoder_learns_every_answer_of_a_conversation():
    talk = examples.Turns(
        (turn("s", "s"), turn("u", "a"), turn("a", "b"), turn("u", "c"), turn("a", "d"))
    )
    row = make("generate", "decoder").featurize(talk, BYTE)[0]
    s, line, a, space, b, c, d = ids("s\na bcd")
    check(
        row,
        tokens=[BOS, s, line, a, space, b, EOS, c, space, d],
        targets=[s, line, a, space, b, EOS, c, space, d, EOS],
        weights=[0, 0, 0, 1, 1, 1, 0, 1, 1, 1],
    )


def test_an_encoder_decoder_reads_the_prompt_and_learns_the_last_answer():
    talk = examples.Turns(
        (turn("u", "a"), turn("a", "b"), turn("u", "c"), turn("a", "d"))
    )
    row = make("generate", "encoder_decoder").featurize(talk, BYTE)[0]
    a, space, b, c, d = ids("a bcd")
    check(row, source=[a, space, b, EOS, c, EOS], source_positions=range(6))
    assert row["tokens"][0] == BOS and row["targets"][-1] == EOS
    assert row["targets"].tolist()[-2] == d and (row["weights"] == 1).all()
    assert row["tokens"].tolist()[1:] == row["targets"].tolist()[:-1]


def test_a_decoder_of_an_encoder_decoder_without_a_first_token_begins_with_pad(
    tmp_path,
):
    tokenizer = bert(tmp_path)
    writer = make("generate", "encoder_decoder")
    row = writer.featurize(asked("a", "b"), tokenizer)[0]
    assert row["tokens"][0] == tokenizer.pad_id
    assert row["targets"].tolist() == tokenizer.encode("b")


def test_an_unanswered_or_empty_prompt_gives_no_row():
    for architecture in ("decoder", "encoder_decoder"):
        writer = make("generate", architecture)
        assert writer.featurize(asked("ab"), BYTE) == []
        assert writer.featurize(asked(" \n", "ab"), BYTE) == []
        assert len(writer.query(asked("ab"), BYTE)) == 1


def test_a_conversation_that_ends_with_a_question_still_teaches_its_answers():
    talk = examples.Turns((turn("u", "a"), turn("a", "b"), turn("u", "bye")))
    row = make("generate", "decoder").featurize(talk, BYTE)[0]
    learned = row["targets"][row["weights"] > 0].tolist()
    assert learned == [*ids(" b"), EOS]


def test_a_conversation_the_assistant_opens_keeps_all_its_tokens(tmp_path):
    tokenizer = bert(tmp_path)
    talk = examples.Turns((turn("a", "hi"), turn("u", "a"), turn("a", "b")))
    row = make("generate", "decoder").featurize(talk, tokenizer)[0]
    whole, _ = chat.render(talk.turns, tokenizer, templates.Template(), bos=True)
    assert row["tokens"].tolist() == whole[:-1]
    assert row["targets"].tolist() == whole[1:] and row["weights"][-1] == 1


def test_an_empty_answer_that_nothing_ends_gives_no_row(tmp_path):
    assert make("generate", "decoder").featurize(asked("a", ""), bert(tmp_path)) == []


def test_an_empty_answer_is_learned_as_its_end():
    row = make("generate", "decoder").featurize(asked("a", ""), BYTE)[0]
    assert row["targets"][row["weights"] > 0].tolist() == [EOS]


def test_a_long_prompt_loses_its_beginning_and_keeps_its_answer():
    writer = make("generate", "decoder", length=8)
    row = writer.featurize(asked("abcdefghij", "xy"), BYTE)[0]
    # bos + 10 + " xy" + eos are 15 ids, one of which is only a target.
    assert row["cut"] == 15 - 9 and len(row["tokens"]) == 8
    assert BYTE.decode(row["tokens"]) == "fghij xy"
    learned = row["targets"][row["weights"] > 0]
    assert learned.tolist() == [*ids(" xy"), EOS]


def test_an_answer_longer_than_the_row_is_cut_at_its_end():
    writer = make("generate", "decoder", length=4)
    row = writer.featurize(asked("ab", "wxyz"), BYTE)[0]
    assert BYTE.decode(row["tokens"]) == "b wx"
    assert BYTE.decode(row["targets"]) == " wxy"
    assert row["weights"].tolist() == [1, 1, 1, 1] and row["cut"] == 9 - 5


def test_both_sides_of_an_encoder_decoder_are_cut_and_counted():
    writer = make("generate", "encoder_decoder", length=3, source_length=4)
    row = writer.featurize(asked("abcdef", "wxyz"), BYTE)[0]
    # The end of the source stands nearest to the answer.
    assert row["source"].tolist() == [*ids("def"), EOS]
    assert len(row["tokens"]) == 3 and row["tokens"][0] == BOS
    assert EOS not in row["targets"]
    whole = len(ids("abcdef")) + 1
    assert row["cut"] >= whole - 4 + 5 - 3


def test_a_question_keeps_the_end_of_a_long_prompt():
    writer = make("generate", "decoder", length=4)
    row = writer.query(asked("abcdefgh"), BYTE)[0]
    check(row, tokens=ids("efgh"), weights=[0, 0, 0, 0], positions=range(4))
    assert row["cut"] == 5


def test_a_class_is_a_target_at_the_first_token():
    row = make("classify", "encoder").featurize(examples.Labelled("ab", "yes"), BYTE)[0]
    a, b = ids("ab")
    check(
        row,
        tokens=[CLS, a, b, SEP],
        targets=[1, 0, 0, 0],
        weights=[1, 0, 0, 0],
        token_types=[0, 0, 0, 0],
        positions=range(4),
    )


def test_a_pair_is_two_texts_of_two_types():
    row = make("classify", "encoder").featurize(
        examples.Labelled("ab", "no", "c"), BYTE
    )[0]
    a, b, c = ids("abc")
    check(
        row,
        tokens=[CLS, a, b, SEP, c, SEP],
        token_types=[0, 0, 0, 0, 1, 1],
        weights=[1, 0, 0, 0, 0, 0],
    )
    row = make("classify", "encoder").query(examples.Labelled("a", None, ""), BYTE)[0]
    check(row, tokens=[CLS, a, SEP, SEP], token_types=[0, 0, 0, 1])


def test_bert_reads_a_pair_as_its_makers_wrote_it():
    path = SHARED / "bert-base-uncased"
    if not path.exists():
        pytest.skip("needs ../shared/tokenizers/bert-base-uncased")
    pair = examples.Labelled(
        "The event is scheduled for Tuesday.",
        "yes",
        "The event is on the weekend.",
    )
    row = make("classify", "encoder").featurize(pair, tokenizers.load(str(path)))[0]
    said = "101 1996 2724 2003 5115 2005 9857 1012 102"
    said += " 1996 2724 2003 2006 1996 5353 1012 102"
    check(row, tokens=map(int, said.split()), token_types=[0] * 9 + [1] * 8)


@quickly
@hypothesis.given(
    a=st.integers(1, 60), b=st.none() | st.integers(0, 60), length=st.integers(6, 40)
)
def test_the_longer_text_of_a_pair_is_cut_first(a, b, length):
    head = make("classify", "encoder", length=length)
    pair = None if b is None else "y" * b
    row = head.featurize(examples.Labelled("x" * a, "yes", pair), BYTE)[0]
    whole = a + 2 if b is None else a + b + 3
    assert len(row["tokens"]) == min(whole, length)
    assert row["cut"] == whole - len(row["tokens"])
    text = BYTE.decode(row["tokens"])
    x, y = text.count("x"), text.count("y")
    if row["cut"] and pair is not None:
        assert (x == a and y >= x) or (y == b and x >= y) or abs(x - y) <= 1
    assert row["tokens"][0] == CLS and row["tokens"][-1] == SEP


@pytest.mark.parametrize("architecture", ("encoder", "decoder", "encoder_decoder"))
def test_a_text_without_words_or_label_gives_no_row(architecture):
    objective = make("classify", architecture)
    assert objective.featurize(examples.Labelled("ab", None), BYTE) == []
    assert objective.featurize(examples.Labelled(" \t", "yes"), BYTE) == []
    assert objective.query(examples.Labelled(" "), BYTE) == []
    assert len(objective.query(examples.Labelled("ab"), BYTE)) == 1


@pytest.mark.parametrize("architecture", ("encoder", "decoder", "encoder_decoder"))
def test_a_label_that_is_no_class_is_refused_with_the_classes(architecture):
    with pytest.raises(ValueError, match="'maybe' is not one of no, yes, yes, but"):
        make("classify", architecture).featurize(examples.Labelled("ab", "maybe"), BYTE)


def test_classification_without_labels_is_refused():
    with pytest.raises(ValueError, match="config.data.labels"):
        classify.make(setting(labels=()), "sum")


def test_a_vocabulary_without_frame_tokens_is_refused_for_an_encoder():
    bare = dataclasses.replace(BYTE, roles={"pad": 0})
    with pytest.raises(ValueError, match="neither .CLS.*tokenizer train"):
        make("classify", "encoder").query(examples.Labelled("ab"), bare)


def test_label_words_carry_their_space_and_an_end_where_they_begin_another():
    found = make("classify", "decoder").label_ids(BYTE)
    assert found == [ids(" no"), [*ids(" yes"), EOS], ids(" yes, but")]


def test_labels_that_read_the_same_are_refused():
    tokenizer = tokenizers.train("word", ["what a day"])
    words = make("classify", "decoder", labels=("sport", "politics"))
    with pytest.raises(ValueError, match="sport.*politics"):
        words.query(examples.Labelled("what"), tokenizer)


def test_all_labels_of_a_prompt_stand_in_one_row():
    words = make("classify", "decoder", labels=("x", "y"), prompt="{text}")
    row = words.query(examples.Labelled("ab"), BYTE)[0]
    a, b, space, x, y = ids("ab xy")
    check(
        row,
        tokens=[BOS, a, b, space, b, space],
        segments=[0, 0, 1, 1, 2, 2],
        positions=[0, 1, 2, 3, 2, 3],
        targets=[0, 0, space, x, space, y],
        weights=[0, 0, 1, 1, 1, 1],
    )


def test_the_docstring_of_label_words_is_what_they_do():
    tokenizer = tokenizers.train("word", ["a b c x y z"])
    words = make("classify", "decoder", labels=("x y", "z"), prompt="{text}")
    row = words.query(examples.Labelled("b c"), tokenizer)[0]
    said = [tokenizer.piece(i) for i in row["tokens"]]
    assert said == ["<bos>", "b", "c", "x", "c"]
    check(row, segments=[0, 0, 1, 1, 2], positions=[0, 1, 2, 3, 2])
    assert [tokenizer.piece(i) for i in row["targets"][2:]] == ["x", "y", "z"]


def test_a_prompt_too_long_for_its_labels_loses_its_beginning():
    words = make("classify", "decoder", labels=("x", "y"), length=6, prompt="{text}")
    row = words.query(examples.Labelled("abcdefgh"), BYTE)[0]
    assert BYTE.decode(row["tokens"][row["segments"] == 0]) == "efg"
    assert row["positions"].max() <= 5 and row["cut"] == 9 - 4


def test_the_prompt_without_its_text_is_a_second_row_for_pmi():
    one = setting(labels=("x", "y"), prompt="Say {text}:{pair}.")
    words = classify.ClassifyWords(one, "pmi")
    rows = words.query(examples.Labelled("ab", None, "c"), BYTE)
    texts = [BYTE.decode(row["tokens"][row["segments"] == 0]) for row in rows]
    assert texts == ["Say ab:c", "Say :"]
    plain = classify.ClassifyWords(one, "sum")
    assert len(plain.query(examples.Labelled("ab", None, "c"), BYTE)) == 1


# Which cells there are.


def test_every_cell_of_the_table_is_allowed_and_its_first_objective_the_default():
    for (kind, architecture), names in base.SUPPORT.items():
        assert base.supported(kind, architecture) == names[0]
        for name in names:
            base.check_cell(name, kind, architecture)


@pytest.mark.parametrize("kind", ("Labelled", "Choice", "Tagged", "Span"))
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_what_has_an_answer_may_be_generated(kind, architecture):
    base.check_cell("generate", kind, architecture)
    assert base.supported(kind, architecture) in ("generate", "classify", "choice")


@pytest.mark.parametrize(
    ("name", "kind", "architecture", "reason"),
    [
        ("clm", "Text", "encoder", "cannot write text"),
        ("generate", "Turns", "encoder", "cannot write text"),
        ("clm", "Text", "encoder_decoder", "only where parts of it are taken out"),
        ("classify", "Turns", "decoder", "does not read Turns"),
        ("clm", "Labelled", "decoder", "does not read Labelled"),
        ("denoise", "Text", "encoder", "mlm hides those"),
        ("denoise", "Turns", "encoder_decoder", "does not read Turns"),
        ("tag", "Labelled", "encoder", "does not read Labelled"),
        ("mlm", "Text", "decoder", "only an encoder sees"),
        ("embed", "Pair", "encoder_decoder", "one stack"),
        ("prefer", "Preference", "decoder", "planned"),
        ("clsasify", "Labelled", "encoder", "did you mean 'classify'"),
    ],
)
def test_a_cell_that_cannot_be_trained_says_why(name, kind, architecture, reason):
    with pytest.raises(ValueError, match=reason):
        base.check_cell(name, kind, architecture)


def test_a_refused_cell_names_the_cells_there_are():
    with pytest.raises(ValueError, match="possible here: mlm on encoder, rtd on enc"):
        base.check_cell("clm", "Text", "encoder")
