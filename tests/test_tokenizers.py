"""Tokenizers: round trips, offsets, words, special tokens, training, saving."""

import itertools
import json
import pathlib
import pickle
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers

CORPUS = [
    "the teacher taught the student\n  and  the   dog.",
    "The cat sat on the mat, and the other cat sat on the log!",
    "caf\u00e9 \u4f60\u597d na\u00efve the teachers teach <b>students</b>",
] * 4
# Kind -> size; together they show every core.
SIZES = {
    "byte": None,
    "char": None,
    "word": None,
    "unigram": 305,
    "bpe": 340,
    "wordpiece": 150,
    "bytebpe": 320,
}
LOSSLESS = ("byte", "unigram", "bpe", "bytebpe")
EXTRA = ("<|user|>", "<|end|>")
NAMES = [*tokenizers.SPECIALS, *EXTRA, "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
WORDS = st.lists(
    st.sampled_from(
        ["The", "cat", "sat", ",", "caf\u00e9", "don't", "logs", "<b>", "."]
    )
)
# Text with many near misses of special tokens and of the libraries' own signs.
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*NAMES, " ", "  ", "\n", "a", "<0x41>", "</s>"])).map(
        "".join
    ),
)


def make(kind):
    return tokenizers.train(kind, CORPUS, size=SIZES[kind], extra=EXTRA, sentinels=3)


ALL = {kind: make(kind) for kind in tokenizers.KINDS}
each_kind = pytest.mark.parametrize("kind", tokenizers.KINDS)
quickly = hypothesis.settings(max_examples=100, deadline=None)


def flat(lists):
    """Return the elements of the lists."""
    return list(itertools.chain.from_iterable(lists))


@pytest.mark.parametrize("kind", LOSSLESS)
@quickly
@hypothesis.given(text=TEXTS)
def test_decoding_undoes_encoding(kind, text):
    text = text.replace("\u2581", "")
    assert ALL[kind].decode(ALL[kind].encode(text)) == text


@pytest.mark.parametrize("kind", LOSSLESS)
def test_spaces_and_line_breaks_survive(kind):
    for text in (" a", "  a  b ", "\n\n\ta\r\n", " ", "a\x00b", "\U0001f600 e\u0301"):
        assert ALL[kind].decode(ALL[kind].encode(text)) == text


@quickly
@hypothesis.given(text=st.text(st.sampled_from(sorted(set("".join(CORPUS))))))
def test_characters_of_the_alphabet_survive(text):
    assert ALL["char"].decode(ALL["char"].encode(text)) == text


@each_kind
@quickly
@hypothesis.given(text=TEXTS)
def test_text_never_becomes_a_special_token(kind, text):
    tok = ALL[kind]
    ids = tok.encode(text)
    assert set(ids) & tok.special_ids <= {tok.unk_id}
    assert tok.encode_batch([text, "a"])[0] == ids


@each_kind
@quickly
@hypothesis.given(text=TEXTS)
def test_offsets_go_with_the_ids_and_stay_inside_the_text(kind, text):
    tok = ALL[kind]
    ids, spans = tok.encode_offsets(text)
    assert ids == tok.encode(text) and len(ids) == len(spans)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@each_kind
def test_offsets_point_at_the_text_of_each_piece(kind):
    tok, text = ALL[kind], "The  cat caf\u00e9 sat\non the \u4f60\u597d mat!"
    ids, spans = tok.encode_offsets(text)
    for id, (start, end) in zip(ids, spans, strict=True):
        said = tok.decode([id]).strip().removeprefix("##")
        if said and "\ufffd" not in said:
            assert text[start:end] == said
    covered = {i for start, end in spans for i in range(start, end)}
    assert {i for i, char in enumerate(text) if not char.isspace()} <= covered


@each_kind
def test_special_names_become_ids_only_on_request(kind):
    tok = ALL[kind]
    text = "".join(f"{name} sat" for name in NAMES)
    ids = tok.encode(text, special=True)
    assert [i for i in ids if i in tok.special_ids] == [tok.id_of(n) for n in NAMES]
    assert tok.decode(ids).replace(" ", "") == "sat" * len(NAMES)


def test_a_mask_takes_the_place_of_a_word_with_its_space():
    for kind in ("unigram", "bpe", "bytebpe", "wordpiece"):
        tok = ALL[kind]
        ids = tok.encode("The <mask> sat", special=True)
        assert ids == [*tok.encode("The"), tok.mask_id, *tok.encode(" sat")], kind


@each_kind
def test_ids_are_laid_out_as_promised(kind):
    tok = ALL[kind]
    assert [tok.id_of(name) for name in tokenizers.SPECIALS] == list(range(7))
    assert [tok.id_of(name) for name in EXTRA] == [7, 8]
    assert tok.sentinels == (tok.size - 1, tok.size - 2, tok.size - 3)
    assert tok.piece(tok.size - 1) == "<extra_id_0>"
    ids = tok.pad_id, tok.bos_id, tok.eos_id, tok.unk_id, tok.cls_id, tok.sep_id
    assert (*ids, tok.mask_id) == tuple(range(7))
    assert tok.special_ids == {*range(9), *tok.sentinels}


@each_kind
def test_pieces_and_ids_are_one_to_one(kind):
    tok = ALL[kind]
    assert [tok.id_of(tok.piece(i)) for i in range(tok.size)] == list(range(tok.size))
    assert tok.id_of("no such piece") is None and tok.id_of("") is None


@each_kind
def test_decoding_skips_what_is_no_text(kind):
    tok = ALL[kind]
    ids = tok.encode("the cat")
    noisy = [-1, tok.bos_id, *ids, tok.eos_id, tok.pad_id, tok.size, 10**12, -100]
    assert tok.decode(noisy) == tok.decode(ids) == "the cat"
    assert tok.piece(tok.size) == f"<id {tok.size}>"


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_cut_character_decodes_to_the_replacement_sign(kind):
    ids = ALL[kind].encode("a\U0001f600")
    assert "\ufffd" in ALL[kind].decode(ids[:-1])
    assert ALL[kind].encode("a\ud800") == ALL[kind].encode("a\ufffd")


@each_kind
@quickly
@hypothesis.given(words=WORDS)
def test_words_are_cut_as_in_their_sentence(kind, words):
    ids = ALL[kind].encode_words(words)
    assert len(ids) == len(words)
    assert flat(ids) == ALL[kind].encode(" ".join(words))


@each_kind
def test_an_empty_word_has_no_ids(kind):
    tok = ALL[kind]
    assert tok.encode_words(["", "The", "", "cat"]) == [
        [],
        tok.encode("The"),
        [],
        tok.encode_words(["The", "cat"])[1],
    ]


@each_kind
def test_saving_and_pickling_keep_everything(kind, tmp_path):
    tok = ALL[kind]
    tok.save(tmp_path / "new" / "folder")
    for copy in (
        tokenizers.load(tmp_path / "new" / "folder"),
        pickle.loads(pickle.dumps(tok)),
    ):
        assert copy == tok and hash(copy) == hash(tok)
        assert copy.fingerprint == tok.fingerprint and copy.size == tok.size
        text = "The cat <mask> sat on <|user|> caf\u00e9"
        assert copy.encode(text, special=True) == tok.encode(text, special=True)


@each_kind
def test_training_twice_gives_the_same_tokenizer(kind):
    assert make(kind) == ALL[kind]
    assert len({tok.fingerprint for tok in ALL.values()}) == len(ALL)


def test_another_process_trains_the_same_word_pieces():
    # The library's own order is that of a hash table with a random seed.
    code = (
        "import sys, json; from lmtasks import tokenizers; "
        "print(tokenizers.train('wordpiece', json.loads(sys.argv[1]), size=150, "
        "extra=('<|user|>', '<|end|>'), sentinels=3).fingerprint)"
    )
    command = [sys.executable, "-c", code, json.dumps(CORPUS)]
    folder = pathlib.Path(__file__).parents[1]
    said = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder
    )
    assert said.stdout.strip() == ALL["wordpiece"].fingerprint, said.stderr


def test_merges_are_learned_in_order_of_frequency():
    # h+e is in "the" twice and in "teacher"; then t+he is the only pair left twice.
    texts = ["the", "teacher", "taught", "the", "student"]
    tok = tokenizers.train("bytebpe", texts, size=7 + 256 + 2)
    merges = json.loads(tok.files()["tokenizer.json"])["model"]["merges"]
    assert merges == [["h", "e"], ["t", "he"]]
    assert [tok.piece(i) for i in tok.encode("teacher")] == [
        "t",
        "e",
        "a",
        "c",
        "he",
        "r",
    ]


def test_size_keeps_the_most_frequent():
    tok = tokenizers.train("word", ["b a a c c c d"], size=9)
    assert [tok.piece(i) for i in range(7, tok.size)] == ["c", "a"]
    assert tok.encode("c b a") == [7, tok.unk_id, 8]
    assert tokenizers.train("char", ["abcab"], size=9).encode("abc")[-1] == tok.unk_id


def test_bytes_need_neither_text_nor_size():
    assert tokenizers.train("byte", (), size=0).size == 7 + 256


def test_lower_case_is_an_option():
    options = tokenizers.Options(lowercase=True)
    for kind, size in (("word", None), ("wordpiece", 150)):
        tok = tokenizers.train(kind, CORPUS, size=size, options=options)
        assert tok.encode("THE Cat") == tok.encode("the cat")
        assert tok.encode_offsets("THE Cat")[1] == [(0, 3), (4, 7)]


def test_without_byte_fallback_rare_text_is_unknown():
    options = tokenizers.Options(byte_fallback=False)
    tok = tokenizers.train("bpe", CORPUS, size=80, options=options)
    assert tok.unk_id in tok.encode("\u0416") and tok.decode(tok.encode("\u0416")) == ""


def test_long_texts_are_not_dropped():
    tok = tokenizers.train("bpe", ["the cat " * 2000], size=270)
    assert min(tok.encode("the cat")) >= 263  # no bytes


def test_texts_join_without_added_spaces():
    for kind in LOSSLESS:
        tok = ALL[kind]
        assert tok.decode(tok.encode("The cat") + tok.encode(" sat")) == "The cat sat"
        assert tok.decode(tok.encode(" sat"), continues=True) == " sat"


def test_sizes_that_do_not_fit_say_which_do():
    for kind in ("unigram", "bpe"):
        with pytest.raises(ValueError, match=r"too large.*size=(\d+) or less") as error:
            tokenizers.train(kind, CORPUS, size=5000, sentinels=2)
        most = int(str(error.value).split("use size=")[1].split()[0])
        assert tokenizers.train(kind, CORPUS, size=most, sentinels=2).size == most
    for kind in ("unigram", "bpe", "bytebpe", "wordpiece", "char"):
        with pytest.raises(ValueError, match="too small"):
            tokenizers.train(kind, CORPUS, size=9, sentinels=2)
    with pytest.raises(ValueError, match="too small.*use size=265 or more"):
        tokenizers.train("bytebpe", CORPUS, size=264, sentinels=2)
    assert tokenizers.train("bytebpe", CORPUS, size=265, sentinels=2).size == 265


def test_wrong_arguments_are_explained():
    with pytest.raises(ValueError, match="did you mean bytebpe or byte.*wordpiece"):
        tokenizers.train("bytbpe", CORPUS, size=300)
    with pytest.raises(ValueError, match="needs a size"):
        tokenizers.train("bpe", CORPUS)
    with pytest.raises(ValueError, match="no text"):
        tokenizers.train("bpe", ["", ""], size=300)
    with pytest.raises(ValueError, match="there already"):
        tokenizers.train("char", CORPUS, extra=["<eos>"])
    with pytest.raises(ValueError, match="negative"):
        tokenizers.train("char", CORPUS, sentinels=-1)
    with pytest.raises(ValueError, match="must be a string"):
        ALL["bpe"].encode(None)


def spelled(tok, ids):
    """Return the bytes of ids, one after another."""
    return b"".join(tok.bytes_of(i) for i in ids)


@pytest.mark.parametrize("kind", (*LOSSLESS, "char"))
@quickly
@hypothesis.given(text=TEXTS)
def test_the_bytes_of_the_ids_are_the_text(kind, text):
    tok, text = ALL[kind], text.replace("\u2581", "")
    ids = tok.encode(text, continues=True)
    if tok.unk_id not in ids:
        assert spelled(tok, ids) == text.encode()


@each_kind
@quickly
@hypothesis.given(words=WORDS)
def test_the_bytes_of_the_ids_are_what_decoding_gives(kind, words):
    tok = ALL[kind]
    ids = [i for i in tok.encode(" ".join(["the", *words])) if i != tok.unk_id]
    # Here "the" keeps its space, which the beginning of a text does not show.
    said = spelled(tok, ids).decode()
    assert said.removeprefix(" ") == tok.decode(ids)


@each_kind
def test_only_what_is_text_has_bytes(kind):
    tok = ALL[kind]
    silent = {i for i in range(tok.size) if tok.bytes_of(i) is None}
    assert silent == tok.special_ids
    assert tok.bytes_of(-1) is tok.bytes_of(tok.size) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpt2", "Hello  world, caf\u00e9 \u4f60 \U0001f600\n"),
        ("llama2/tokenizer.model", "Hello  world, caf\u00e9 \u4f60 \U0001f600\n"),
        ("t5-legal", "the Court"),
        ("bert-base-uncased", " the cats are unbelievable."),
        ("deepseek-r1", "Hello  world, caf\u00e9 \u4f60 \U0001f600\n"),
    ],
)
def test_published_vocabularies_know_the_bytes_of_their_ids(name, text):
    path = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers" / name
    if not path.exists():
        pytest.skip(f"there is no shared/tokenizers/{name}")
    tok = tokenizers.load(path)
    assert spelled(tok, tok.encode(text, continues=True)) == text.encode()
    silent = {i for i in range(tok.size) if tok.bytes_of(i) is None}
    assert tok.special_ids <= silent
    assert all(tok.decode([i]) == "" for i in silent)
