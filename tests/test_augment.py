"""Changed copies of training texts: what is changed, how often, and that it replays."""

import collections

import numpy as np
import pytest

from lmtasks import tokenizers
from lmtasks.data import augment
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.data import sources
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.tasks import relations

BYTE = tokenizers.train("byte", ())
HEAD = classify.ClassifyHead(base.Setting("encoder", length=64, labels=("a", "b")))
TEXT = "the old grey cat sleeps on a warm red chair near the stove ."
DELETE, SWAP = {"delete": 0.3}, {"swap": 0.3}
FILL = {"fill": 0.4, "model": "runs/mlm"}


def options(**changes):
    """Return options with two copies."""
    return augment.Options(**{"copies": 2} | changes)


def rng(seed=0):
    return np.random.default_rng(seed)


def read(row):
    """Return a row as an example."""
    return examples.Labelled(row["text"], row.get("label"), row.get("pair"))


def found(*rows):
    """Return records in memory."""
    return records.Records(list(rows), "train", "mark")


def filler(texts):
    """Return the same candidates for every mask."""
    words = [{"text": " dog", "score": 0.75}, {"text": "cow", "score": 0.25}]
    return [[words] * text.count(augment.MASK) for text in texts]


def test_deleted_words_leave_the_others_in_their_order():
    words, rates = TEXT.split(), []
    for seed in range(200):
        draft = augment.augment(TEXT, rng(seed), options(**DELETE))
        left = iter(words)
        assert all(word in left for word in draft.words)
        assert draft.counts["deleted"] == len(words) - len(draft.words)
        rates.append(draft.counts["deleted"] / len(words))
    assert np.mean(rates) == pytest.approx(0.3, abs=0.02)


def test_a_text_never_loses_all_its_words():
    for seed in range(50):
        draft = augment.augment("good film", rng(seed), options(delete=0.99))
        assert draft.words in (["good"], ["film"])
    assert augment.augment("", rng(), options(delete=0.99)).text == ""


def test_swapped_words_are_the_same_words_in_other_places():
    changed = 0
    for seed in range(100):
        draft = augment.augment(TEXT, rng(seed), options(**SWAP))
        assert sorted(draft.words) == sorted(TEXT.split())
        assert (draft.words == TEXT.split()) or draft.counts["swapped"]
        changed += draft.words != TEXT.split()
    assert changed > 90
    assert augment.augment("one", rng(), options(swap=0.99)).text == "one"


def test_masks_stand_for_words_and_leave_their_punctuation():
    draft = augment.augment('a "fine", film !', rng(), options(**FILL, copies=1))
    sure = augment.Options(1, fill=0.99, model="x")
    draft = augment.augment('a "fine", film !', rng(), sure)
    assert draft.text == '[MASK] "[MASK]", [MASK] !'
    assert draft.kept == {0: "a", 1: '"fine",', 2: "film"}
    ours = augment.augment("the [MASK] word", rng(), sure)
    assert ours.text == "the [MASK] word" and not ours.kept


def test_candidates_are_drawn_by_their_score_and_are_other_words():
    drawn = collections.Counter()
    for seed in range(400):
        draft = augment.Draft(["a", '"[MASK]",'], {1: '"Cat",'})
        fills = [
            [
                {"text": "cat", "score": 0.9},
                {"text": "##s", "score": 0.5},
                {"token": "##s", "text": "s", "score": 0.5},
                {"text": ".", "score": 0.5},
                {"text": " dog", "score": 0.03},
                {"text": "cow", "score": 0.01},
            ]
        ]
        augment.fill_in(draft, fills, rng(seed))
        assert draft.counts == {"filled": 1} and not draft.kept
        drawn[draft.words[1]] += 1
    assert drawn.keys() == {'"dog",', '"cow",'}
    assert drawn['"dog",'] / 400 == pytest.approx(0.75, abs=0.07)


def test_a_word_comes_back_where_nothing_fills_its_place():
    for fills in ([], [[]], [[{"text": "cat", "score": 1.0}]]):
        draft = augment.Draft(["a", "[MASK]."], {1: "cat."})
        augment.fill_in(draft, fills, rng())
        assert draft.text == "a cat." and draft.counts == {"unfilled": 1}


def test_entities_and_their_markers_stay_as_they_are():
    example = relations.TASK.example(relations.TASK.samples[0])
    every = options(delete=0.9, swap=0.9, fill=0.9, model="x")
    for seed in range(30):
        draft = augment.augment(example.text, rng(seed), every)
        assert "[E1] Ada Moss [/E1]" in draft.text
        assert "[E2] Oslo [/E2]." in draft.text


def test_copies_stand_behind_their_record_with_its_label():
    rows = [{"text": TEXT, "label": "a"}, {"text": TEXT[::-1], "label": "b"}]
    whole, example_of = augment.wrap(found(*rows), read, options(**DELETE), 0)
    assert len(whole) == 6
    made = [example_of(record) for record in whole]
    assert [made[0], made[3]] == [read(row) for row in rows]
    assert [one.label for one in made] == list("aaabbb")
    assert len({one.text for one in made}) == 6
    assert set(made[4].text.split()) <= set(rows[1]["text"].split())
    assert whole[4] == rows[1]  # its keys, for messages
    with pytest.raises(IndexError):
        whole[6]


def test_both_texts_of_a_pair_are_changed():
    row = {"text": TEXT, "pair": TEXT[::-1], "label": "a"}
    whole, example_of = augment.wrap(found(row), read, options(**DELETE), 0)
    copy = example_of(whole[1])
    assert copy.text != row["text"] and copy.pair != row["pair"]
    text = lambda record: examples.Text(record["text"])
    whole, example_of = augment.wrap(found(row), text, options(**SWAP), 0)
    assert sorted(example_of(whole[2]).text) == sorted(TEXT)


def test_a_copy_depends_on_seed_record_and_number_alone():
    rows = [{"text": f"{TEXT} {i}", "label": "a"} for i in range(4)]
    every = options(**DELETE, **SWAP, **FILL)

    def made(rows, seed, given=filler):
        whole, example_of = augment.wrap(found(*rows), read, every, seed, given)
        return [example_of(record).text for record in whole], whole

    first, whole = made(rows, 1)
    assert made(rows, 1)[0] == first
    assert made(rows, 1)[1].fingerprint == whole.fingerprint
    assert made(rows[:2], 1)[0] == first[:6]
    other, another = made(rows, 2)
    assert other[::3] == first[::3] and other[1] != first[1]
    assert another.fingerprint != whole.fingerprint
    # Another model fills in other words: resuming must notice.
    cows = lambda texts: [[[{"text": "cow", "score": 1}]] * 9 for _ in texts]
    assert made(rows, 1, cows)[1].fingerprint != whole.fingerprint


def test_the_model_is_asked_once_for_all_texts_and_the_counts_are_what_was_done():
    asked = []

    def once(texts):
        asked.append(texts)
        return filler(texts)

    rows = [{"text": TEXT, "pair": "so it was", "label": "a"}] * 30
    every = options(**DELETE, **SWAP, **FILL)
    whole, example_of = augment.wrap(found(*rows), read, every, 0, once)
    [texts] = asked
    assert all(augment.MASK in text for text in texts)
    c = whole.counts
    assert c["copies"] == 60
    made = [example_of(record) for record in whole]
    words = sum(len(f"{e.text} {e.pair}".split()) for e in made)
    assert words == 90 * 17 - c["deleted"]
    said = " ".join(f"{e.text} {e.pair}" for e in made)
    assert said.count("dog") + said.count("cow") == c["filled"] > 100
    assert augment.MASK not in said and c["unfilled"] == 0
    line = whole.summary()
    assert line.startswith("60 changed copies (") and f"{c['filled']} filled" in line
    assert f"{c['deleted']} words deleted, {c['swapped']} swapped" in line


def test_copies_without_a_change_are_counted():
    rows = [{"text": "good", "label": "a"}] * 5
    whole, _ = augment.wrap(found(*rows), read, options(**DELETE, **SWAP), 0)
    assert whole.counts["unchanged"] == 10
    assert "10 copies without a change" in whole.summary()


def test_rows_are_made_of_records_with_copies_and_errors_name_the_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(f"text,label\n{TEXT},a\n{TEXT[::-1]},z\n")
    opened = sources.open_split(
        sources.Source(), "train", sources.DataOptions(dir=str(tmp_path))
    )
    whole, example_of = augment.wrap(opened, read, options(**DELETE), 0)
    assert whole.where(0) == f"{path}:2" and whole.where(5) == f"{path}:3, copy 2"
    with pytest.raises(ValueError, match="train.csv:3: label 'z' is not one of a, b"):
        features.Pieces(whole, example_of, HEAD, BYTE)
    path.write_text(f"text,label\n{TEXT},a\n{TEXT[::-1]},b\n")
    opened = sources.open_split(
        sources.Source(), "train", sources.DataOptions(dir=str(tmp_path))
    )
    whole, example_of = augment.wrap(opened, read, options(**DELETE), 0)
    pieces = features.Pieces(whole, example_of, HEAD, BYTE)
    assert len(pieces) == 6 and pieces.counts["examples"] == 6
    assert len({p.features["tokens"].tobytes() for p in pieces}) == 6
    assert len(pack.PackedRows(pieces, 64, 0)) >= 3
    plain = features.Pieces(opened, read, HEAD, BYTE)
    assert pieces.fingerprint != plain.fingerprint


def test_a_record_of_the_wrong_form_names_itself():
    with pytest.raises(ValueError, match="train record 1: .*KeyError.*its keys are x"):
        augment.wrap(found({"text": "a b"}, {"x": 1}), read, options(**DELETE), 0)


def test_other_kinds_of_examples_are_refused():
    span = lambda record: examples.Span("q", record["text"])
    with pytest.raises(ValueError, match="not Span examples; set it to 0"):
        augment.wrap(found({"text": "a"}), span, options(**DELETE), 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"copies": -1}, "augment.copies=-1 must be at least 0"),
        ({"delete": 1.0}, "augment.delete=1.0 is a probability"),
        ({"copies": 2}, "augment.copies=2 makes copies without a change"),
        ({"copies": 1, "fill": 0.1}, "augment.fill=0.1 needs a masked language model"),
    ],
)
def test_options_without_meaning_are_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        augment.Options(**changes)
