"""Toy worlds: known answers, disjoint splits, and nothing for a bag of words."""

import collections

import numpy as np
import pytest
from sklearn import feature_extraction
from sklearn import linear_model

from lmtasks.data import toy

KINDS = {
    "text": toy.toy_text,
    "turns": toy.toy_turns,
    "labelled": toy.toy_labelled,
    "choice": toy.toy_choice,
    "tagged": toy.toy_tagged,
    "span": toy.toy_span,
    "preference": toy.toy_preference,
    "pair": toy.toy_pair,
}
SPLITS = ("train", "validation", "test")


def first(sequence, count):
    return [sequence[i] for i in range(min(count, len(sequence)))]


def texts_of(value):
    """Yield all text in a record that is no label."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("label", "tags", "role"):
                yield from texts_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_of(item)


def things_of(text):
    """Return the two things of the first sentence, without "the"."""
    words = text.split(" .")[0].replace("stands before", "stands behind")
    return frozenset(words.replace("the ", "").split(" stands behind "))


def front_of(text):
    """Return what the first sentence of a text puts in front, and at the back."""
    fact = text.split(" .")[0]
    relation = "behind" if " behind " in fact else "before"
    one, other = (t.removeprefix("the ") for t in fact.split(f" stands {relation} "))
    return (other, one) if relation == "behind" else (one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_a_function_of_seed_split_and_index(kind):
    make = KINDS[kind]
    again = make("train", 3)
    assert [again[i] for i in (7, 0, 19_999)] == [
        make("train", 3)[i] for i in (7, 0, 19_999)
    ]
    assert make("test", 3) == make("test", 3)
    assert first(make("train", 4), 20) != first(make("train", 3), 20)
    assert make("train", 3)[-1] == again[19_999]
    with pytest.raises(IndexError, match="none at 20000"):
        again[20_000]


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_listed_and_texts_are_short(kind):
    for split in SPLITS:
        for record in first(KINDS[kind](split, 0), 300):
            words = " ".join(texts_of(record)).split()
            assert set(words) <= set(toy.WORDS)
            longest = 40 if kind == "pair" else 32
            assert len(words) < longest, record


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_records_are_all_different(kind):
    for split in SPLITS[1:]:
        records = KINDS[kind](split, 0)
        assert len({repr(record) for record in records}) == len(records) == 500


def test_splits_share_no_world():
    for kind in ("text", "labelled", "choice", "span", "preference", "turns"):
        worlds = {
            split: {
                things_of(next(t for t in texts_of(record) if "stands" in t))
                for record in first(KINDS[kind](split, 0), 4000)
            }
            for split in SPLITS
        }
        assert len(worlds["train"]) > 1000 and len(worlds["test"]) > 100
        assert not worlds["train"] & (worlds["validation"] | worlds["test"])
        assert not worlds["validation"] & worlds["test"]
    rows = {s: {r["second"] for r in first(toy.toy_pair(s, 0), 4000)} for s in SPLITS}
    assert not rows["train"] & (rows["validation"] | rows["test"])


def test_every_answer_follows_from_the_facts():
    for record in toy.toy_labelled("test", 0):
        asked = record["text"].split(" is the ")[1].split()[0]
        true = front_of(record["text"])[0].split()[-1] == asked
        assert record["label"] == ("yes" if true else "no")
    for record in toy.toy_choice("test", 0):
        front = front_of(record["context"])[0].split()[-1]
        assert record["options"][record["answer"]] == f"the {front} is in front ."
        assert len(set(record["options"])) == 2
    for record in toy.toy_preference("test", 0):
        front, back = (t.split()[-1] for t in front_of(record["prompt"]))
        assert record["chosen"] == f"the {front} is in front ."
        assert record["rejected"] == f"the {back} is in front ."
    for record in toy.toy_text("test", 0):
        front, back = (t.split()[-1] for t in front_of(record["text"]))
        assert record["text"].endswith(
            f" . so the {front} is in front and the {back} is at the back ."
        )


def test_spans_and_turns_answer_what_is_asked():
    for record in toy.toy_span("test", 0):
        ((answer, start),) = record["answers"]
        assert record["context"][start : start + len(answer)] == answer
        front, back = front_of(record["context"])
        assert answer == (front if "front" in record["question"] else back)
    several = 0
    for record in toy.toy_turns("test", 0):
        turns = record["turns"]
        assert [t["role"] for t in turns] == ["user", "assistant"] * (len(turns) // 2)
        front, back = (t.split()[-1] for t in front_of(turns[0]["text"]))
        for user, assistant in zip(turns[::2], turns[1::2], strict=True):
            right = front if "front" in user["text"] else back
            assert assistant["text"] == f"the {right} ."
        several += len(turns) > 2
    assert 50 < several < 250


def test_a_pair_names_the_same_row_from_both_ends():
    for record in toy.toy_pair("test", 0):
        row = [w for w in record["second"].split() if w in toy.ROW]
        asked = [w for w in record["first"].split() if w in toy.ROW]
        assert asked == row[::-1] and len(row) == 5


def bag_of_words_score(train, test):
    """Return the accuracy of TF-IDF 1-2-grams with logistic regression."""
    bag = feature_extraction.text.TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"\S+"
    )
    features = bag.fit_transform([text for text, _ in train])
    model = linear_model.LogisticRegression(C=10.0, max_iter=200)
    model.fit(features, [label for _, label in train])
    said = model.predict(bag.transform([text for text, _ in test]))
    return np.mean(said == np.array([label for _, label in test]))


def as_classes(kind, record):
    """Return (text, class) pairs that a bag of words would have to tell apart."""
    if kind == "labelled":
        return [(record["text"], record["label"])]
    if kind == "choice":
        return [
            (f"{record['context']} {option}", i == record["answer"])
            for i, option in enumerate(record["options"])
        ]
    if kind == "preference":
        prompt = record["prompt"]
        return [(f"{prompt} {record[k]}", k) for k in ("chosen", "rejected")]
    if kind == "turns":
        user, assistant = record["turns"][:2]
        answer = assistant["text"].split()[1]
        return [(user["text"], answer in toy.ANIMALS)]
    if kind == "span":
        answer = record["answers"][0][0].split()[-1]
        return [(f"{record['context']} {record['question']}", answer in toy.ANIMALS)]
    fact, conclusion = record["text"].split(" so the ")
    return [(fact, conclusion.split()[0] in toy.ANIMALS)]


@pytest.mark.parametrize(
    "kind", ["text", "turns", "labelled", "choice", "span", "preference"]
)
def test_a_bag_of_words_and_word_pairs_only_guesses(kind):
    train, test = (
        [
            pair
            for r in first(KINDS[kind](split, 0), 3000)
            for pair in as_classes(kind, r)
        ]
        for split in ("train", "test")
    )
    share = collections.Counter(label for _, label in test).most_common(1)[0][1]
    assert share / len(test) <= 0.56
    assert bag_of_words_score(train, test) <= 0.6


def test_the_word_alone_does_not_tell_person_from_place():
    def tags(split, count):
        for record in first(toy.toy_tagged(split, 0), count):
            assert len(record["words"]) == len(record["tags"])
            pairs = zip(record["words"], record["tags"], strict=True)
            yield from ((w, t) for w, t in pairs if w in toy.NAMES)

    seen = collections.defaultdict(collections.Counter)
    for word, tag in tags("train", 5000):
        seen[word][tag] += 1
    held_out = list(tags("test", 500))
    right = [seen[word].most_common(1)[0][0] == tag for word, tag in held_out]
    assert np.mean(right) <= 0.6
    kinds = collections.Counter(tag[2:] for _, tag in held_out)
    assert abs(kinds["PER"] - kinds["LOC"]) <= 0.1 * kinds.total()
    assert {tag for _, tag in held_out} == {"B-PER", "B-LOC", "I-LOC"}


def test_a_bag_of_words_and_word_pairs_does_not_find_the_row():
    records = toy.toy_pair("test", 0)
    bag = feature_extraction.text.TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"\S+"
    )
    bag.fit([text for r in records for text in (r["first"], r["second"])])
    ask, row = (bag.transform([r[k] for r in records]) for k in ("first", "second"))
    found = np.asarray((ask @ row.T).argmax(axis=1)).ravel()
    assert np.mean(found == np.arange(len(records))) <= 0.6


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(ValueError, match="no split 'dev', but train, validation, test"):
        toy.toy_text("dev", 0)
