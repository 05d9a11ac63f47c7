"""Tags of words: rows, windows, answers, and tags written as text and read back."""

import dataclasses
import functools
import importlib
import itertools

import hypothesis
import jax
import numpy as np
import pytest
import tiny
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.data import sources
from lmtasks.data import tag_text
from lmtasks.metrics import tagging as metrics
from lmtasks.objectives import base
from lmtasks.objectives import entities
from lmtasks.objectives import generate
from lmtasks.objectives import tag
from lmtasks.tasks import btc
from lmtasks.tasks import conll2003
from lmtasks.tasks import tagging
from lmtasks.tasks import ud_ewt
from lmtasks.tasks import ud_pos
from lmtasks.tasks import wnut17

BYTE = tokenizers.train("byte", ())
CLS, SEP = BYTE.cls_id, BYTE.sep_id
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
POS = ("ADV", "NOUN", "VERB")
quickly = hypothesis.settings(max_examples=100, deadline=None)


def make(labels=LABELS, *, length=40, **options):
    """Return the objective."""
    setting = base.Setting("encoder", length=length, labels=labels)
    return tag.Tag(setting, tag.Options(**options))


def tagged(words, tags=""):
    """Return an example of words and tags apart by spaces."""
    return examples.Tagged(tuple(words.split()), tuple(tags.split()))


def ids(text):
    return BYTE.encode(text)


def rows_said(rows, scores, length):
    """Return predictions as `predict` gives them: `scores(piece id)` at each weight."""
    out = []
    for row in rows:
        at = np.flatnonzero(row["weights"])
        said = np.array([scores(int(row["tokens"][i])) for i in at])
        # Unused slots of a batch point behind the row.
        out.append(
            {
                "at": np.append(at, length),
                "tag_scores": np.append(said, said[:1] * 0, axis=0),
            }
        )
    return out


def sure(labels, label, p=0.9):
    """Return probabilities with the mass p on one label."""
    scores = np.full(len(labels), (1 - p) / (len(labels) - 1))
    scores[labels.index(label)] = p
    return scores


# Rows.


def test_the_first_piece_of_a_word_carries_its_tag():
    row = make().featurize(tagged("Al sat", "B-PER O"), BYTE)[0]
    assert row["tokens"].tolist() == [CLS, *ids("Al sat"), SEP]
    assert row["weights"].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert row["targets"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert row["positions"].tolist() == list(range(8)) and row["cut"] == 0
    assert not row["token_types"].any()


def test_all_pieces_of_a_word_may_carry_its_tag():
    row = make(strategy="all").featurize(tagged("Al sat", "B-PER O"), BYTE)[0]
    assert row["weights"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert row["targets"].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_words_without_tags_teach_nothing():
    assert make().featurize(tagged("Al sat"), BYTE) == []
    assert make().featurize(tagged(""), BYTE) == []
    assert make().query(tagged(""), BYTE) == []
    assert len(make().query(tagged("Al sat"), BYTE)) == 1


def test_a_tag_that_is_no_label_is_refused_by_name():
    with pytest.raises(ValueError, match="tag 'B-ORG' is not one of O, B-PER.*labels"):
        make().featurize(tagged("Al sat", "B-ORG O"), BYTE)
    with pytest.raises(ValueError, match="config.data.labels"):
        make(labels=())


def test_a_tag_that_is_no_label_is_refused_with_its_place(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text("Al\tB-PER\n\nBo\tB-X\n")
    options = sources.DataOptions(files={"train": str(path)})
    found = sources.open_split(tagging.TASK.source, "train", options)
    with pytest.raises(ValueError, match=r"train.conll:3: tag 'B-X' is not one of"):
        features.Pieces(found, tagging.TASK.example, make(), BYTE)


def test_words_and_tags_of_different_length_are_refused_with_their_place(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"words": "a b", "tags": "O O"}\n{"words": "a b", "tags": "O"}\n')
    options = sources.DataOptions(files={"train": str(path)})
    with pytest.raises(ValueError, match=r"train.jsonl:2: .*2 words have 1 tags"):
        sources.open_split(
            tagging.TASK.source, "train", options, check=tagging.TASK.example
        )


def test_an_entity_without_its_beginning_is_trained_as_it_is():
    row = make().featurize(tagged("a b", "I-PER I-PER"), BYTE)[0]
    assert row["targets"][row["weights"] > 0].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "frist"}, "tag.strategy='frist' is not one of first, all; did"),
        ({"aggregation": "mean"}, "tag.aggregation='mean' is not one of none, simple"),
        ({"stride": -1}, "tag.stride=-1 is negative"),
    ],
)
def test_options_that_cannot_be_name_their_key(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        tag.Options(**options)


WORDS = st.lists(
    st.tuples(st.text("abc", min_size=0, max_size=5), st.sampled_from(LABELS)),
    min_size=1,
    max_size=25,
)


@quickly
@hypothesis.given(
    WORDS,
    st.integers(4, 20),
    st.integers(0, 12),
    st.sampled_from(tag.STRATEGIES),
    st.sampled_from(entities.AGGREGATIONS),
)
def test_every_word_is_learned_once_and_predicted_once(
    pairs, length, stride, strategy, aggregation
):
    words, tags = zip(*pairs, strict=True)
    objective = make(
        length=length, stride=stride, strategy=strategy, aggregation=aggregation
    )
    example = examples.Tagged(words, tags)
    pieces = [x[: length - 2] for x in BYTE.encode_words(words)]
    learned = []
    rows = objective.featurize(example, BYTE)
    for row in rows:
        assert len(row["tokens"]) <= length
        at = row["weights"] > 0
        learned += zip(row["tokens"][at], row["targets"][at], strict=True)
    counted = [(x if strategy == "all" else x[:1]) for x in pieces]
    assert learned == [
        (piece, LABELS.index(one))
        for x, one in zip(counted, tags, strict=True)
        for piece in x
    ]
    lost = sum(max(len(x) - length + 2, 0) for x in BYTE.encode_words(words))
    assert sum(row["cut"] for row in rows) == lost
    queries = objective.query(example, BYTE)
    outputs = rows_said(queries, lambda piece: sure(LABELS, "B-LOC"), length)
    said = objective.answer(outputs, example, BYTE)
    assert said["tags"] == ["B-LOC" if x else "O" for x in pieces]
    assert said.get("missed", 0) == pieces.count([])


def test_a_word_longer_than_a_row_is_cut_and_counted():
    rows = make(length=6).featurize(tagged("a bcdefgh i", "O B-PER O"), BYTE)
    assert [BYTE.decode(row["tokens"]) for row in rows] == ["a", " bcd", " i"]
    assert sum(row["cut"] for row in rows) == 4
    found = records.Records([{"words": "a bcdefgh i", "tags": "O O O"}], "x", "m")
    pieces = features.Pieces(found, tagging.TASK.example, make(length=6), BYTE)
    assert pieces.counts["cut"] == 1 and pieces.counts["tokens_cut"] == 4


# Answers.


def answered(example, tags, labels=LABELS, **options):
    """Return the answer when each word's pieces all say its tag."""
    objective = make(labels, length=200, **options)
    rows = objective.query(example, BYTE)
    sizes = [len(x) for x in BYTE.encode_words(example.words)]
    if objective.options.aggregation == "first":
        sizes = [min(n, 1) for n in sizes]
    said = iter([t for t, n in zip(tags.split(), sizes, strict=True) for _ in range(n)])
    outputs = rows_said(rows, lambda piece: sure(labels, next(said)), 200)
    return objective.answer(outputs, example, BYTE)


def test_entities_have_their_characters_in_the_words_joined_by_spaces():
    example = tagged("Tim Cook met Bo in Oslo")
    answer = answered(example, "B-PER I-PER O B-PER O B-LOC")
    assert answer["tags"] == ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC"]
    assert [
        (e["type"], e["text"], e["start"], e["end"]) for e in answer["entities"]
    ] == [("PER", "Tim Cook", 0, 8), ("PER", "Bo", 13, 15), ("LOC", "Oslo", 19, 23)]
    assert all(e["score"] == pytest.approx(0.9) for e in answer["entities"])
    assert answer["scores"] == pytest.approx([0.9] * 6)
    assert "words" not in answer and "missed" not in answer


def test_entities_of_a_raw_text_are_cut_from_it():
    text = "Hello,  Tim\tCook (Oslo)!"
    answer = answered(tagging.raw(text), "O O B-PER I-PER O B-LOC O O")
    found = [(e["type"], e["text"], e["start"]) for e in answer["entities"]]
    assert found == [("PER", "Tim\tCook", 8), ("LOC", "Oslo", 18)]
    assert answer["words"] == ["Hello", ",", "Tim", "Cook", "(", "Oslo", ")", "!"]
    assert all(text[e["start"] : e["end"]] == e["text"] for e in answer["entities"])


def test_parts_of_speech_have_scores_and_no_entities():
    answer = answered(tagged("dogs bark loudly"), "NOUN VERB ADV", POS)
    assert answer.keys() == {"tags", "scores"}
    assert answer["tags"] == ["NOUN", "VERB", "ADV"]


SCHEMES = {
    "IOB2": ("B-PER I-PER O B-LOC B-LOC I-LOC", LABELS),
    "IOB1": ("I-PER I-PER O I-LOC B-LOC I-LOC", LABELS),
    "IO": ("PER PER O LOC O LOC", ("LOC", "O", "PER")),
    "IOBES": (
        "B-PER E-PER O S-LOC B-LOC E-LOC",
        ("O", *(f"{m}-{t}" for t in ("LOC", "PER") for m in "BIES")),
    ),
}


@pytest.mark.parametrize("how", ("first", "average", "max"))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_are_found_in_every_scheme(scheme, how):
    tags, labels = SCHEMES[scheme]
    example = tagged("Tim Cook left Oslo New York")
    answer = answered(example, tags, labels, aggregation=how)
    assert answer["tags"] == tags.split()
    texts = [(e["type"], e["text"]) for e in answer["entities"]]
    wanted = [("PER", "Tim Cook"), ("LOC", "Oslo"), ("LOC", "New York")]
    if scheme == "IO":
        wanted[2] = ("LOC", "York")
    assert texts == wanted
    gold = dataclasses.replace(example, tags=tuple(tags.split()))
    assert metrics.entities([answer], [gold])["strict_f1"] == 1.0


def test_simple_and_none_read_every_piece_by_itself():
    labels = ("O", "B-PER", "I-PER")
    example = tagged("Al sat")

    def said(how):
        objective = make(labels, aggregation=how)
        rows = objective.query(example, BYTE)
        tags = iter(["B-PER", "I-PER", "O", "B-PER", "O", "I-PER"])
        outputs = rows_said(rows, lambda piece: sure(labels, next(tags)), 40)
        return objective.answer(outputs, example, BYTE)

    found = [(e["text"], e["start"], e["end"]) for e in said("simple")["entities"]]
    assert found == [("Al", 0, 2), ("s", 3, 4), ("t", 5, 6)]
    found = [(e["tag"], e["type"], e["text"]) for e in said("none")["entities"]]
    assert found == [
        ("B-PER", "PER", "A"),
        ("I-PER", "PER", "l"),
        ("B-PER", "PER", "s"),
        ("I-PER", "PER", "t"),
    ]
    assert said("none")["tags"] == ["B-PER", "O"]


def test_a_word_is_its_first_piece_the_mean_or_the_surest():
    pieces = np.array([[0.5, 0.4, 0.1], [0.1, 0.45, 0.45], [0.05, 0.2, 0.75]])
    labels = ("a", "b", "c")
    assert entities.of_word(pieces, labels, "first") == ("a", 0.5)
    assert entities.of_word(pieces, labels, "average")[0] == "c"
    assert entities.of_word(pieces, labels, "average")[1] == pytest.approx(1.3 / 3)
    assert entities.of_word(pieces, labels, "max") == ("c", 0.75)


def test_words_without_pieces_are_outside_and_counted():
    example = examples.Tagged(("Tim", "", "Cook"))
    answer = answered(example, "B-PER O I-PER")
    assert answer["tags"] == ["B-PER", "O", "I-PER"] and answer["missed"] == 1
    assert answer["scores"][1] == 0.0
    # In text "Tim  Cook" nothing stands between the spaces.
    assert [e["text"] for e in answer["entities"]] == ["Tim", "Cook"]
    nothing = answered(examples.Tagged(("", "")), "O O")
    assert nothing["tags"] == ["O", "O"] and nothing["missed"] == 2


def test_words_without_pieces_have_the_commonest_tag_where_there_is_no_outside():
    example = examples.Tagged(("dogs", "", "cats", "bark"))
    answer = answered(example, "NOUN VERB NOUN VERB", POS)
    assert answer["tags"] == ["NOUN", "NOUN", "NOUN", "VERB"]
    assert answered(examples.Tagged(("",)), "ADV", POS)["tags"] == ["ADV"]


def test_a_vocabulary_that_knows_none_of_the_signs_keeps_words_and_tags_together(
    tmp_path,
):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef", "##a", "##b"]
    (tmp_path / "vocab.txt").write_text("\n".join(names) + "\n")
    tokenizer = tokenizers.load(tmp_path / "vocab.txt")
    words = ("ab", "\ufe0f", "\u200b", "\u2603", "cd")
    row = make().featurize(examples.Tagged(words, ("O",) * 5), tokenizer)[0]
    pieces = [tokenizer.piece(i) for i in row["tokens"]]
    assert pieces == ["[CLS]", "a", "##b", "[UNK]", "[UNK]", "[SEP]"]
    assert row["weights"].tolist() == [0, 1, 0, 1, 1, 0]


def test_gathered_positions_say_what_all_positions_say():
    objective = make(aggregation="average")
    model = tiny.model(
        "encoder", head="tag", classes=5, vocab=BYTE.size, positions={"size": 40}
    )
    params = tiny.draw(model)
    predict = jax.jit(functools.partial(objective.predict, model))
    given = [tagged("Tim Cook left"), tagged("Oslo")]
    rows = [objective.query(one, BYTE)[0] for one in given]
    for row in rows:
        row.pop("cut")
    answers = []
    for gathered in (0, 20):
        batch = pack.stack(rows, 40, 0, gathered)
        said = jax.device_get(predict(params, batch))
        assert said["tag_scores"].shape == (2, gathered or 40, 5)
        answers.append(
            [
                objective.answer([{k: v[i] for k, v in said.items()}], one, BYTE)
                for i, one in enumerate(given)
            ]
        )
    for one, other in zip(*answers, strict=True):
        assert one["tags"] == other["tags"]
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-6)


def test_the_loss_is_that_of_the_words_alone():
    objective = make()
    rows = [
        objective.featurize(tagged("Al sat", "B-PER O"), BYTE)[0],
        objective.featurize(tagged("a b c", "O O B-LOC"), BYTE)[0],
    ]
    for row in rows:
        row.pop("cut")
    batch = pack.stack(rows, 12, 0, 4)
    logits = np.random.default_rng(0).normal(size=(2, 4, 5))
    sums = objective.loss(lambda params, batch, rng: logits, None, batch)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = -(
        log_p[0, 0, 1] + log_p[0, 1, 0]
        + log_p[1, 0, 0] + log_p[1, 1, 0] + log_p[1, 2, 3]
    )  # fmt: skip
    assert sums["loss"][0] == pytest.approx(wanted, rel=1e-5)
    assert sums["loss"][1] == sums["accuracy"][1] == 5


# Tags as text.


@pytest.mark.parametrize(
    ("words", "tags", "labels", "text"),
    [
        ("Tim Cook runs Apple", "B-PER I-PER O B-ORG", (), "PER: Tim Cook; ORG: Apple"),
        ("Tim Cook runs Apple", "PER PER O ORG", (), "PER: Tim Cook; ORG: Apple"),
        ("nobody came", "O O", (), "none"),
        ("dogs bark", "NOUN VERB", (), "NOUN VERB"),
        ("Oslo", "LOC", ("LOC", "O"), "LOC: Oslo"),
        ("I-95 West", "I-R B-R", (), "R: I-95; R: West"),
    ],
)
def test_tags_are_written_as_entities_or_one_by_one(words, tags, labels, text):
    example = tagged(words, tags)
    assert tag_text.write(example, labels) == text
    said = chat.as_turns(example, "{words}:", labels).turns
    assert [turn.text for turn in said] == [f"{words}:", text]
    assert len(chat.as_turns(tagged(words), "{words}:", labels).turns) == 1


ORG = ("O", "B-ORG", "I-ORG", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("text", "tags", "missed"),
    [
        ("PER: Tim Cook; ORG: Apple", "B-PER I-PER O B-ORG O O O", 0),
        (" per : tim cook ; org : apple ", "B-PER I-PER O B-ORG O O O", 0),
        ("ORG: Apple; ORG: Apple; ORG: Apple", "O O O B-ORG O O B-ORG", 1),
        ("ORG: Apple; PER: Tim Cook", "B-PER I-PER O B-ORG O O O", 0),
        ("PER: Tim Cook; PER: Tim", "B-PER I-PER O O O O O", 1),
        ("PER: Tim; PER: Cook", "B-PER B-PER O O O O O", 0),
        ("PER: Bo", "O O O O O O O", 1),
        ("PER: Tim Cook; CITY: Oslo", "B-PER I-PER O O O O O", 1),
        ("CITY: Oslo; PER: Tim Cook; ORG:", "B-PER I-PER O O O O O", 2),
        ("none", "O O O O O O O", 0),
        (" None.", "O O O O O O O", 0),
    ],
)
def test_a_text_is_read_back_to_tags_and_misses_are_counted(text, tags, missed):
    example = tagged("Tim Cook runs Apple , not Apple")
    said = tag_text.read(text, example, ORG)
    assert said["tags"] == tags.split()
    assert said["missed"] == missed and said["text"] == text
    whole = " ".join(example.words)
    for one in said["entities"]:
        assert whole[one["start"] : one["end"]] == one["text"]
    assert metrics.chunks(said["tags"]) == tuple(
        (e["type"], whole[: e["start"]].count(" "), whole[: e["end"]].count(" ") + 1)
        for e in said["entities"]
    )


@pytest.mark.parametrize("text", ("", "  ", "the the", "Tim Cook", "a; b"))
def test_a_text_that_is_no_list_has_no_tags(text):
    example = tagged("Tim Cook", "B-PER I-PER")
    said = tag_text.read(text, example, ORG)
    assert said["tags"] is None and said["entities"] == [] and said["missed"]
    assert metrics.token_accuracy([said], [example])["unparsed"] == 1.0
    assert metrics.missed([said, {"tags": ["O"]}], [example] * 2)["missed"] >= 1.0


def test_an_entity_may_hold_the_signs_of_the_list():
    example = tagged("see Batman ; PER: Returns now", "O B-ORG I-ORG I-ORG I-ORG O")
    text = tag_text.write(example)
    assert text == "ORG: Batman ; PER: Returns"
    assert tag_text.read("ORG: Batman ; Returns", tagged("a Batman ; Returns"), ORG)[
        "tags"
    ] == ["O", "B-ORG", "I-ORG", "I-ORG"]


def test_entities_of_a_raw_text_are_read_with_their_characters():
    example = tagging.raw("(Tim  Cook) left.")
    said = tagging.TASK.parse(" PER: Tim Cook", example, ORG)
    assert said["entities"] == [
        {"type": "PER", "text": "Tim  Cook", "start": 1, "end": 10}
    ]


@pytest.mark.parametrize(
    ("text", "tags", "missed"),
    [
        ("NOUN VERB ADV", "NOUN VERB ADV", 0),
        (" noun verb adv ", "NOUN VERB ADV", 0),
        ("NOUN VERB", "NOUN VERB NOUN", 1),
        ("NOUN VERB ADV ADV VERB", "NOUN VERB ADV", 2),
        ("NOUN X NOUN", "NOUN NOUN NOUN", 1),
    ],
)
def test_parts_of_speech_are_read_in_order(text, tags, missed):
    said = tag_text.read(text, tagged("dogs bark loudly"), POS)
    assert said == {"tags": tags.split(), "missed": missed, "text": text}


def test_a_text_without_any_part_of_speech_has_no_tags():
    said = tag_text.read("well then", tagged("dogs bark"), POS)
    assert said["tags"] is None and said["missed"] == 2


TYPES = ("PER", "creative-work", "ORG")
NAMES = st.sampled_from(["Tim", "Cook", "Apple", "of", "Bo", "e-mail", "caf\u00e9"])


@st.composite
def sentences(draw):
    """Return (words, chunks): every word different, so that each is found again."""
    words = draw(st.lists(NAMES, min_size=1, max_size=7, unique=True))
    borders = [0, *(i for i in range(1, len(words)) if draw(st.booleans())), len(words)]
    kinds = [draw(st.sampled_from(("", *TYPES))) for _ in borders[1:]]
    spans = zip(kinds, itertools.pairwise(borders))
    return tuple(words), tuple((kind, *span) for kind, span in spans if kind)


@quickly
@hypothesis.given(
    sentences(), st.sampled_from(("IOB2", "IOBES")), st.sampled_from(["", "wordpiece"])
)
def test_what_is_written_is_read_back(given, scheme, kind):
    words, chunks = given
    marks = "BIES" if scheme == "IOBES" else "BI"
    labels = ("O", *(f"{mark}-{name}" for name in TYPES for mark in marks))
    example = examples.Tagged(words, metrics.write(chunks, len(words), scheme))
    text = tag_text.write(example, labels)
    if kind:  # a tokenizer that keeps neither case nor spacing
        text = "".join(f" {c} " if c in "-;:" else c for c in text.lower())
    said = tag_text.read(text, example, labels)
    assert tuple(said["tags"]) == example.tags and said["missed"] == 0
    assert [e["type"] for e in said["entities"]] == [kind for kind, *_ in chunks]


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
@pytest.mark.parametrize("task", (wnut17.TASK, btc.TASK, ud_pos.TASK, tagging.TASK))
def test_tags_are_trained_by_writing_them(task, architecture):
    setting = base.Setting(
        architecture, length=200, source_length=200, labels=task.labels,
        prompt=task.prompt,
    )  # fmt: skip
    writer = generate.Generate(setting)
    for sample in task.samples:
        example = task.example(sample)
        row = writer.featurize(example, BYTE)[0]
        text = BYTE.decode(row["targets"][row["weights"] > 0]).removeprefix(" ")
        said = task.parse(text, example, task.labels)
        assert tuple(said["tags"]) == example.tags and said["missed"] == 0
        assert len(writer.query(example, BYTE)) == 1
        assert metrics.token_accuracy([said], [example])["token_accuracy"] == 1.0


# Tasks.


def test_conll_2003_reads_numbers_names_and_the_old_scheme():
    words = ["Tim", "Cook", "Apple", "Oslo"]
    wanted = ("B-PER", "I-PER", "B-ORG", "B-LOC")
    forms = (
        {"tokens": words, "ner": [1, 2, 3, 5], "pos": [0] * 4, "chunks": [0] * 4},
        {"words": words, "tags": ["I-PER", "I-PER", "I-ORG", "I-LOC"]},
        {"words": words, "tags": list(wanted)},
    )
    for form in forms:
        assert conll2003.TASK.example(form) == examples.Tagged(tuple(words), wanted)
    with pytest.raises(ValueError, match="'B-CITY' is none of O, B-PER"):
        conll2003.TASK.example({"words": ["Oslo"], "tags": ["B-CITY"]})
    assert len(conll2003.LABELS) == 9


def test_conll_2003_reads_the_files_of_the_shared_task(tmp_path):
    (tmp_path / "train.conll").write_text(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n"
        "Peter NNP I-NP I-PER\nOslo NNP I-NP I-LOC\nBergen NNP I-NP B-LOC\n"
    )
    options = sources.DataOptions(dir=str(tmp_path))
    source = conll2003.TASK.source
    found = sources.open_split(source, "train", options, check=conll2003.TASK.example)
    said = [conll2003.TASK.example(record) for record in found]
    assert said == [
        tagged("EU rejects", "B-ORG O"),
        tagged("Peter Oslo Bergen", "B-PER B-LOC B-LOC"),
    ]


@pytest.mark.parametrize(
    ("name", "words", "tags", "labels"),
    [
        (conll2003.TASK.source.tfds, "tokens", "ner", conll2003.LABELS),
        (ud_ewt.TASK.source.tfds, "tokens", "upos", (*ud_pos.LABELS, "_")),
    ],
)
def test_tasks_have_the_keys_and_names_of_the_catalogue(
    name, words, tags, labels, tmp_path
):
    import tensorflow_datasets as tfds

    importlib.import_module("tensorflow_datasets.text")  # registers its builders
    info = tfds.builder(name, data_dir=tmp_path).info
    assert tuple(info.features[tags].feature.names) == labels
    assert isinstance(info.features[words].feature, tfds.features.Text)


def test_universal_dependencies_are_read_from_the_catalogue_too():
    record = {"tokens": ["vamonos", "vamos", "nos"], "upos": [17, 15, 10]}
    wanted = tagged("vamos nos", "VERB PRON")
    assert ud_ewt.TASK.example(record) == ud_pos.TASK.example(record) == wanted
    said = {"words": ["vamos", "nos"], "tags": ["VERB", "PRON"], "xpos": ["a", "b"]}
    assert ud_pos.TASK.example(said) == wanted
    assert ud_pos.TASK.example({"tokens": ["x"], "upos": [17]}).words == ()


def test_sections_of_the_broad_twitter_corpus_are_splits(tmp_path):
    for name in "agh":
        lines = f"{name}\tB-PER\n\tO\nke s\tO\n"
        (tmp_path / f"train_{name}.conll").write_text(lines)
    options = sources.DataOptions(dir=str(tmp_path))
    found = {
        split: sources.open_split(btc.TASK.source, split, options)
        for split in ("train", "validation")
    }
    words = {split: [r["words"] for r in rows] for split, rows in found.items()}
    assert words == {
        "train": [["g", "ke s"], ["h", "ke s"]],
        "validation": [["a", "ke s"]],
    }


def test_a_record_of_words_without_tags_or_neither_is_refused_for_training():
    for record in ({"words": "a b"}, {"tags": "O"}):
        with pytest.raises(KeyError):
            tagging.TASK.example(record)
    assert tagging.TASK.example({"text": "a b."}).words == ("a", "b", ".")
