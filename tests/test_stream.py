"""Text that streams: the pieces are those of the whole, whatever the split."""

import functools
import pathlib
import time

import hypothesis
import numpy as np
import pytest
import tokenizers as library
from hypothesis import strategies as st
from tokenizers import models

from lmtasks import tokenizers
from lmtasks.decode import stream

CORPUS = ["the cat sat on the mat", "caf\u00e9 \u4f60\u597d \U0001f600 the log, it's"]
SIZES = {"unigram": 285, "bpe": 300, "wordpiece": 100, "bytebpe": 300}


def fallback():
    """Return a tokenizer.json with Llama's decoder: one wrong byte spoils its run."""
    pieces = ["<s>", "\u2581", "\u2581the", "cat", "#", "\u4f60"]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    engine = library.Tokenizer(models.BPE(vocab, [], byte_fallback=True))
    steps = (
        library.decoders.Replace("\u2581", " "),
        library.decoders.ByteFallback(),
        library.decoders.Fuse(),
        library.decoders.Strip(" ", 1, 0),
    )
    engine.decoder = library.decoders.Sequence(list(steps))
    engine.add_special_tokens(["<s>"])
    return engine.to_str()


@pytest.fixture(scope="session")
def toks(tmp_path_factory):
    """Return name -> tokenizer."""
    path = tmp_path_factory.mktemp("llama") / "tokenizer.json"
    path.write_text(fallback())
    trained = {k: tokenizers.train(k, CORPUS, size=SIZES.get(k)) for k in KINDS}
    return trained | {"fallback": tokenizers.load(path)}


KINDS = tokenizers.KINDS
each = pytest.mark.parametrize("name", (*KINDS, "fallback"))
quickly = hypothesis.settings(max_examples=150, deadline=None)
STOPS = st.lists(
    st.text(st.sampled_from("the ca\u00e9\u4f60\ufffd#,"), min_size=1, max_size=5),
    max_size=3,
)


@functools.cache
def published(name):
    """Return a published tokenizer, or skip where its files are not there."""
    folder = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip(f"there is no shared/tokenizers/{name}")
    path = folder / "tokenizer.model"
    return tokenizers.load(path if path.is_file() else folder)


def written(tok, data):
    """Return ids of texts and of anything at all, in turns."""
    ids = []
    for part in data.draw(st.lists(st.sampled_from([*CORPUS, "#\u4f60", "  ", None]))):
        if part is None:
            ids += data.draw(st.lists(st.integers(-2, tok.size + 1), max_size=8))
        else:
            ids += tok.encode(part)
    return ids


def stream_of(tok, ids, parts, stops=(), continues=False):
    """Return the pieces of `ids` cut into parts of these sizes."""
    text, at, pieces = stream.TextStream(tok, stops, continues), 0, []
    for size in parts:
        pieces.append(text.push(ids[at : at + size]))
        at += size
    return [*pieces, text.push(ids[at:]), text.finish()], text.finished


@each
@quickly
@hypothesis.given(data=st.data())
def test_the_pieces_are_the_whole_text_whatever_the_split(toks, name, data):
    tok = toks[name]
    ids, stops = written(tok, data), data.draw(STOPS)
    parts = data.draw(st.lists(st.integers(0, 3), max_size=20))
    for continues in (False, True):
        whole = tok.decode(ids, continues=continues)
        pieces, finished = stream_of(tok, ids, parts, stops, continues)
        expected = stream.cut(whole, stops)
        expected = expected if continues else expected.removeprefix(" ")
        assert "".join(pieces) == expected
        assert finished == any(stop in whole for stop in stops)


@each
@quickly
@hypothesis.given(data=st.data())
def test_a_piece_holds_only_what_no_later_id_can_change(toks, name, data):
    tok = toks[name]
    ids, other = written(tok, data), written(tok, data)
    place = data.draw(st.integers(0, len(ids)))
    early = stream.TextStream(tok, ("#",)).push(ids[:place])
    for rest in (ids[place:], other):
        whole = stream.cut(tok.decode(ids[:place] + rest), ("#",)).removeprefix(" ")
        assert whole.startswith(early)


@pytest.mark.parametrize("name", KINDS)
def test_text_comes_as_soon_as_its_characters_are_whole(toks, name):
    tok = toks[name]
    ids, text, said = tok.encode("the cat"), stream.TextStream(tok), ""
    for count, id in enumerate(ids, 1):
        said += text.push([id])
        assert said == tok.decode(ids[:count]).removeprefix(" ")


def test_a_character_is_never_split():
    tok = tokenizers.train("byte", ())
    ids = tok.encode("\u4f60\u597d")
    pieces, _ = stream_of(tok, ids, [1] * len(ids))
    assert [p for p in pieces if p] == ["\u4f60", "\u597d"]
    text = stream.TextStream(tok)
    assert [text.push(ids[:2]), text.finish()] == ["", "\ufffd"]


def test_what_may_begin_a_stop_string_is_held_back():
    tok = tokenizers.train("byte", ())
    text = stream.TextStream(tok, ("###",))
    assert text.push(tok.encode("a#")) == "a"
    assert text.push(np.array(tok.encode("b##"))) == "#b"
    assert not text.finished
    assert text.push(tok.encode("#c")) == "" and text.finished
    assert text.push(tok.encode("more")) == text.finish() == ""


def test_the_stop_string_that_is_complete_first_counts():
    assert stream.cut("a b c", ("b c", "c")) == "a "
    assert stream.cut("abcd", ("abcd", "c")) == "ab"
    assert stream.cut("abc", ()) == stream.cut("abc", ("x",)) == "abc"


def test_long_texts_stream_in_linear_time(toks):
    tok = toks["bytebpe"]
    ids = tok.encode("the cat sat " * 2000)

    def seconds(count):
        start = time.perf_counter()
        stream_of(tok, ids[:count], [1] * count, ("###",))
        return time.perf_counter() - start

    assert len(ids) > 4000
    best = [min(seconds(count) for _ in range(3)) for count in (500, 4000)]
    # Eight times the ids take eight times as long; decoding all each time takes 64.
    assert best[1] < 30 * best[0]


def test_bytes_that_later_ones_may_spoil_wait_for_the_end_of_their_run(toks):
    tok = toks["fallback"]
    ids = [tok.id_of(f"<0x{byte:02X}>") for byte in b"\xc3\xa9\xff"]
    assert tok.decode(ids[:2]) == "\u00e9" and tok.decode(ids) == "\ufffd" * 3
    text = stream.TextStream(tok)
    assert [text.push(ids[:2]), text.push([tok.id_of("cat")])] == ["", "\u00e9cat"]


@pytest.mark.parametrize("name", ["gpt2", "llama2", "t5-legal", "bert-base-uncased"])
@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(data=st.data())
def test_published_vocabularies_stream_too(name, data):
    tok = published(name)
    ids = written(tok, data)
    for continues in (False, True):
        whole = stream.cut(tok.decode(ids, continues=continues), ("#",))
        pieces, _ = stream_of(tok, ids, [1] * len(ids), ("#",), continues)
        assert "".join(pieces) == (whole if continues else whole.removeprefix(" "))
