"""Words in texts, as subwords, and in windows: nothing is lost, nothing twice."""

import collections
import doctest
import gzip
import itertools
import pathlib
import unicodedata

import hypothesis
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import align
from lmtasks.data import examples
from lmtasks.data import readers

SHARED = pathlib.Path(__file__).parents[2] / "shared"
CORPUS = [
    "Tim Cook left Oslo , and nobody knows why !",
    "caf\u00e9 don't na\u00efve \u4f60\u597d @mira #why 3.14 U.S. e-mail",
] * 4
SIZES = {
    "byte": None,
    "char": None,
    "word": None,
    "unigram": 304,
    "bpe": 320,
    "wordpiece": 150,
    "bytebpe": 320,
}
ALL = {kind: tokenizers.train(kind, CORPUS, size=size) for kind, size in SIZES.items()}
BYTE = ALL["byte"]
each_kind = pytest.mark.parametrize("kind", SIZES)
quickly = hypothesis.settings(max_examples=80, deadline=None)
WORDS = st.lists(
    st.sampled_from(
        ["Tim", "Oslo", ",", "caf\u00e9", "don't", "U.S.", "\u4f60\u597d", "", "3.14"]
    ),
    min_size=1,
    max_size=30,
)


# Texts as words.


def test_the_docstring_examples_are_true():
    found = doctest.testmod(align)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        (" \t\n", ()),
        ("  Tim  Cook\n", ("Tim", "Cook")),
        ("(U.S.)", ("(", "U", ".", "S", ".", ")")),
        ("e-mail_me @mira #why", ("e", "-", "mail", "_", "me", "@", "mira", "#", "why")),
        ("\u4f60\u597d, caf\u00e9\u2026", ("\u4f60", "\u597d", ",", "caf\u00e9", "\u2026")),
        ("5\u20ac \u00bfqu\u00e9?", ("5\u20ac", "\u00bf", "qu\u00e9", "?")),
        ("a\u200bb\u00a0c", ("a\u200bb", "c")),
    ],
)  # fmt: skip
def test_texts_are_cut_at_white_space_and_punctuation(text, words):
    assert align.split(text)[0] == words


@quickly
@hypothesis.given(st.text())
def test_the_words_of_a_text_are_all_of_it_but_white_space(text):
    words, spans = align.split(text)
    assert tuple(text[a:b] for a, b in spans) == words and all(words)
    assert "".join(words) == "".join(text.split())
    assert all(b <= a for (_, b), (a, _) in itertools.pairwise(spans))


def test_words_have_their_places_in_what_joins_them_by_spaces():
    text, spans = align.placed(examples.Tagged(("New", "", "Delhi", ".")))
    assert text == "New  Delhi ." and spans == ((0, 3), (4, 4), (5, 10), (11, 12))
    words, places = align.split("New  Delhi.")
    example = examples.Tagged(words, text="New  Delhi.", spans=places)
    assert align.placed(example) == ("New  Delhi.", ((0, 3), (5, 10), (10, 11)))


def test_an_example_whose_parts_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 words have 1 tags; give one each"):
        examples.Tagged(("a", "b"), ("O",))
    with pytest.raises(ValueError, match="1 words have 0 spans"):
        examples.Tagged(("a",), text="a")
    with pytest.raises(ValueError, match="words='a b' .* are lists of texts"):
        examples.Tagged("a b")


# Windows.


def sized(found):
    """Return (first, stop, own words) of windows."""
    return [(w.first, w.stop, list(w.own)) for w in found]


def test_the_windows_of_the_docstring():
    assert sized(align.windows([1] * 7, room=4, stride=2)) == [
        (0, 4, [0, 1, 2]),
        (2, 6, [3, 4]),
        (4, 7, [5, 6]),
    ]


def test_windows_are_cut_between_words():
    found = align.windows([2, 3, 1, 1, 3, 2], room=6, stride=2)
    assert sized(found) == [(0, 3, [0, 1, 2]), (2, 5, [3, 4]), (5, 6, [5])]


def test_what_fits_is_one_window():
    assert sized(align.windows([2, 0, 2], room=4, stride=2)) == [(0, 3, [0, 1, 2])]
    assert sized(align.windows([], room=4, stride=2)) == [(0, 0, [])]
    assert sized(align.windows([0, 0], room=1, stride=0)) == [(0, 2, [0, 1])]


SENTENCES = st.integers(1, 12).flatmap(
    lambda room: st.tuples(
        st.just(room),
        st.lists(st.integers(0, room), max_size=60),
        st.integers(0, 15),
    )
)


def context(sizes, window, word):
    """Return the shorter of a word's contexts in a window, in tokens."""
    left, right = sizes[window.first : word], sizes[word + 1 : window.stop]
    return min(sum(left), sum(right))


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(SENTENCES)
def test_windows_hold_every_word_and_each_is_owned_where_it_has_most_context(given):
    room, sizes, stride = given
    found = align.windows(sizes, room=room, stride=stride)
    assert found[0].first == 0 and found[-1].stop == len(sizes)
    assert [w for one in found for w in one.own] == list(range(len(sizes)))
    for one in found:
        assert sum(sizes[one.first : one.stop]) <= room
    for one, other in itertools.pairwise(found):
        assert one.first < other.first <= one.stop < other.stop
        assert sum(sizes[other.first : one.stop]) <= min(stride, room // 2)
    for k, one in enumerate(found):
        for word in one.own:
            most = [
                context(sizes, other, word)
                for other in found
                if other.first <= word < other.stop
            ]
            assert context(sizes, one, word) == max(most)
            earlier = [o for o in found[:k] if o.first <= word < o.stop]
            assert all(context(sizes, o, word) < max(most) for o in earlier)


# Words as subwords.


@each_kind
@quickly
@hypothesis.given(words=WORDS, length=st.integers(4, 40), stride=st.integers(0, 20))
def test_every_word_has_its_own_pieces_in_one_row(kind, words, length, stride):
    tokenizer = ALL[kind]
    sentence = align.align(words, tokenizer, length=length, stride=stride)
    whole = tokenizer.encode_words(words)
    found = {}
    for k in range(len(sentence.windows)):
        ids = sentence.ids(k)
        assert len(ids) <= length
        assert ids[0] == tokenizer.cls_id and ids[-1] == tokenizer.sep_id
        for word, slots in sentence.slots(k).items():
            assert word not in found
            found[word] = [ids[i] for i in slots]
    room = length - 2
    assert [found[i] for i in range(len(words))] == [ids[:room] for ids in whole]
    assert list(sentence.cut) == [max(len(ids) - room, 0) for ids in whole]


def test_a_row_without_room_for_a_word_is_refused():
    with pytest.raises(ValueError, match="data.length=2 leaves no room for a word"):
        align.align(("a",), BYTE, length=2, stride=0)


@each_kind
@quickly
@hypothesis.given(words=WORDS)
def test_pieces_have_their_characters_within_their_word(kind, words):
    tokenizer = ALL[kind]
    pieces = tokenizer.encode_words(words)
    spans = align.piece_spans(words, pieces, tokenizer)
    for word, ids, places in zip(words, pieces, spans, strict=True):
        assert len(places) == len(ids)
        assert all(0 <= a <= b <= len(word) for a, b in places)
        read = {i for a, b in places for i in range(a, b)}
        assert read == set(range(len(word)))


def test_pieces_of_a_word_that_the_tokenizer_reads_otherwise_are_all_of_it():
    found = align.piece_spans(("ab", "cd"), [(1, 2), BYTE.encode(" cd")], BYTE)
    assert found == [((0, 2), (0, 2)), ((0, 0), (0, 1), (1, 2))]


# Real sentences on every tokenizer.

NAMES = (
    "albert-v1", "bert-base-uncased", "deepseek-r1", "gpt2", "llama2", "t5-legal",
    "tinystories-512",
)  # fmt: skip
# What a tokenizer may change in the words of these files: case and accents, which its
# vocabulary does not have; spaces around signs; invisible characters; quotes.
LOSSY = ("albert-v1", "bert-base-uncased", "t5-legal", "word", "wordpiece")


def sentences():
    """Return 3,200 real sentences, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("there is no ../shared/data")
    found = []
    for path in sorted((SHARED / "data").glob("ner/*/*.conll")):
        rows = (row for _, row in readers.conll(str(path), wordless=True))
        found += [row["words"] for row in itertools.islice(rows, 400)]
    for path in sorted((SHARED / "data").glob("pos/*/*.conllu")):
        rows = (row for _, row in readers.conllu(str(path)))
        found += [row["words"] for row in itertools.islice(rows, 400)]
    assert len(found) == 3200
    return found


def folded(text):
    """Return a text as a vocabulary without case, accents and spaces has it."""
    gone = ("Mn", "Cf")
    kept = "".join(
        c
        for c in unicodedata.normalize("NFKD", text)
        if unicodedata.category(c) not in gone and not c.isspace()
    )
    return kept.replace("''", '"').replace("``", '"').casefold()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", (*NAMES, *SIZES))
def test_the_pieces_of_real_words_read_as_the_words(name):
    given = sentences()
    if name in SIZES:
        size = None if SIZES[name] is None else 2000
        texts = [" ".join(words) for words in given]
        tokenizer = tokenizers.train(name, texts, size=size)
    elif (SHARED / "tokenizers" / name).is_dir():
        tokenizer = tokenizers.load(SHARED / "tokenizers" / name)
    else:
        pytest.skip(f"there is no ../shared/tokenizers/{name}")
    counts = collections.Counter()
    framed = tokenizer.cls_id is not None or tokenizer.bos_id is not None
    for words in given:
        pieces = tokenizer.encode_words(words)
        if framed:
            sentence = align.align(words, tokenizer, length=32, stride=8)
            owned = [w for one in sentence.windows for w in one.own]
            assert owned == list(range(len(words)))
            assert [list(p) for p in sentence.pieces] == [ids[:30] for ids in pieces]
        for word, ids in zip(words, pieces, strict=True):
            counts["words"] += 1
            if not ids or (tokenizer.unk_id is not None and tokenizer.unk_id in ids):
                counts["empty" if not ids else "unknown"] += 1
                continue
            said = tokenizer.decode(ids)
            if name in LOSSY:
                assert folded(said) == folded(word), (word, said)
            else:
                assert said.strip(" ") == word
    assert counts["words"] > 49_000
    assert counts["empty"] <= 3 and counts["unknown"] < 0.04 * counts["words"]
    assert name in LOSSY or not counts["empty"] + counts["unknown"]


@pytest.mark.parametrize(("name", "count"), [("a", 1000), ("g", 2138), ("h", 2000)])
def test_every_post_of_the_broad_twitter_corpus_is_read(name, count):
    path = SHARED / "data" / "ner" / "btc" / f"train_{name}.conll"
    if not path.is_file():
        pytest.skip("there is no ../shared/data")
    rows = list(readers.conll(str(path), wordless=True))
    assert len(rows) == count  # one post of H is nothing but a line without a word
    assert not any(isinstance(row, readers.Bad) for _, row in rows)
    assert all(all(row["words"]) for _, row in rows)


def test_a_line_without_a_word_may_be_left_out(tmp_path):
    path = tmp_path / "x.conll.gz"
    with gzip.open(path, "wt") as file:
        file.write("a\tO\n\tO\nb\tB-X\n\n\tB-X\nc\tO\n\n\tO\n\nd\tO\n")
    rows = list(readers.conll(str(path), wordless=True))
    assert rows[0] == (1, {"words": ["a", "b"], "tags": ["O", "B-X"]})
    assert rows[1] == (5, readers.Bad("an empty word or tag"))
    assert rows[2:] == [(10, {"words": ["d"], "tags": ["O"]})]
    assert isinstance(next(readers.conll(str(path)))[1], readers.Bad)
