"""Automata against brute force over every short text of a small vocabulary."""

import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmtasks import tokenizers
from lmtasks.decode import automaton
from lmtasks.decode import walk

# The last is a special id; 0 and 1 together are 2 and 3.
PIECES = [b"a", b"b", b"ab", b"abc", b"c", b"\xc3", b"\xa9", b"bca", None]
STOP = len(PIECES) - 1
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "bb"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
}


def texts(length, size=STOP + 1):
    """Yield every sequence of up to `length` ids."""
    for n in range(length + 1):
        yield from itertools.product(range(size), repeat=n)


def spell(ids):
    """Return the bytes of ids."""
    return b"".join(PIECES[i] or b"" for i in ids)


def states_of(machine, ids):
    """Return the states that ids lead through, None from a forbidden one on."""
    states = [0]
    for id in ids:
        before = states[-1]
        after = None if before is None else int(machine.next[before, id])
        states.append(None if after == -1 else after)
    return states


@pytest.mark.parametrize("strings", [["ab"], ["abca", "bc", "cc"], ["\u00e9", "a"]])
def test_a_text_ends_when_a_stop_string_is_complete(strings):
    machine = automaton.stops(strings, PIECES)
    assert (machine.next >= 0).all()
    for ids in texts(4):
        hit = [any(s.encode() in spell(ids[:n]) for s in strings) for n in range(5)]
        states = states_of(machine, ids)
        assert [bool(machine.ends[s]) for s in states] == hit[: len(states)]


@pytest.mark.parametrize("phrases", [["ab"], ["abca", "bc", "cc"], ["\u00e9", "a"]])
def test_a_forbidden_phrase_is_never_written_and_all_else_is(phrases):
    machine = automaton.without(phrases, PIECES)
    assert not machine.ends.any()
    for ids in texts(4):
        free = not any(phrase.encode() in spell(ids) for phrase in phrases)
        assert (states_of(machine, ids)[-1] is not None) == free


def test_a_token_after_which_all_is_forbidden_is_forbidden():
    pieces = [b"a", b"b"]
    machine = automaton.without(["ba", "bb"], pieces)
    assert machine.next.tolist() == [[0, -1]]
    machine = automaton.without(["ba", "bba", "bbb"], pieces)
    assert machine.next.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    "pattern",
    [
        "a|ab",
        "(ab)*c",
        "a*?b",
        "[^b]{2}",
        "a(b|c)+",
        "(a|bc)?abc",
        "\u00e9a?",
        "a{2,3}",
    ],
)
def test_exactly_the_beginnings_of_matches_are_admitted(pattern):
    machine = automaton.regex(pattern, PIECES, [STOP])
    matches = {
        ids: re.fullmatch(pattern, spell(ids).decode(errors="replace")) is not None
        and "\ufffd" not in spell(ids).decode(errors="replace")
        for ids in texts(5, STOP)
    }
    begun = {
        ids[:n] for ids, hit in matches.items() if hit for n in range(len(ids) + 1)
    }
    assert begun
    for ids in texts(3, STOP):
        state = states_of(machine, ids)[-1]
        assert (state is not None) == (ids in begun), ids
        if state is not None:
            assert (machine.next[state, STOP] >= 0) == matches[ids]
            assert not machine.ends[state]


def test_repetitions_do_not_multiply_the_states():
    machine = automaton.regex("a[ab]{1,40}", PIECES, [STOP])
    assert len(machine.next) == 42


def test_without_a_stop_id_a_text_ends_where_nothing_can_follow():
    machine = automaton.regex("ab?c", PIECES, [])
    ends = {
        ids: bool(machine.ends[states_of(machine, ids)[-1]])
        for ids in texts(3)
        if states_of(machine, ids)[-1] is not None
    }
    assert {spell(ids) for ids, end in ends.items() if end} == {b"ac", b"abc"}
    assert all(end == (spell(ids) in (b"ac", b"abc")) for ids, end in ends.items())


def test_tokens_that_lead_nowhere_are_forbidden():
    # After "a" only "d" could follow, which no piece writes.
    machine = automaton.regex("ad|bc", PIECES, [])
    assert np.flatnonzero(machine.next[0] >= 0).tolist() == [1]
    assert len(machine.next) == 3
    # A piece that is a stop id is no text, and one without bytes leads nowhere.
    machine = automaton.regex("a+", [b"a", b"aa", b""], [1])
    assert machine.next.tolist() == [[1, -1, -1], [1, 1, -1]]


def test_every_state_is_reached_and_leads_to_an_end():
    schema = {"enum": ["abc", "cab", "aab"]}
    pieces = [*PIECES, b'"', b"d"]
    machine = automaton.json_schema(json.dumps(schema), pieces, [])
    reached, frontier = {0}, {0}
    while frontier:
        frontier = {int(t) for s in frontier for t in machine.next[s]} - reached - {-1}
        reached |= frontier
    assert len(reached) == len(machine.next)
    stuck = ~(machine.next >= 0).any(axis=1)
    assert (stuck == machine.ends).all() and machine.ends.any()


def test_random_walks_through_a_schema_write_valid_json():
    tok = tokenizers.train("bytebpe", ['{"name": "tag", "age": 12}'] * 3, size=300)
    vocab = tok.size + 3
    pieces = automaton.pieces_of(tok, vocab)
    machine = automaton.json_schema(json.dumps(SCHEMA), pieces, [tok.eos_id])
    draw = np.random.default_rng(0)
    for _ in range(30):
        state, ids = 0, []
        while True:
            allowed = np.flatnonzero(machine.next[state] >= 0)
            if tok.eos_id in allowed or len(ids) > 500:
                break
            ids.append(int(draw.choice(allowed)))
            state = machine.next[state, ids[-1]]
        found = json.loads(tok.decode(ids))
        assert list(found) == ["name", "age", "tags"]
        assert len(found["name"]) <= 4 and isinstance(found["age"], int)
        assert set(found["tags"]) <= {"a", "bb"} and len(found["tags"]) <= 2


def test_a_trie_admits_its_sequences_alone():
    labels = [(3,), (1, 2), (1, 4, 4), (2, 2)]
    machine = automaton.trie(labels, 6, [])
    done = {
        ids
        for ids in texts(4, 6)
        if states_of(machine, ids)[-1] is not None
        and machine.ends[states_of(machine, ids)[-1]]
    }
    assert done == set(labels)
    for ids in texts(4, 6):
        begun = any(label[: len(ids)] == ids for label in labels)
        assert (states_of(machine, ids)[-1] is not None) == begun


def test_a_label_that_begins_another_is_told_apart_by_a_stop_id():
    machine = automaton.trie([[1], [1, 2]], 6, [5])
    one, two = states_of(machine, [1, 2])[1:]
    assert np.flatnonzero(machine.next[0] >= 0).tolist() == [1]
    assert np.flatnonzero(machine.next[one] >= 0).tolist() == [2, 5]
    assert machine.ends.tolist() == [n == two for n in range(3)]
    with pytest.raises(ValueError, match="decode.choices: one choice is the beginning"):
        automaton.trie([[1, 2], [1]], 6, [])


def test_jitted_steps_follow_the_table():
    machine = automaton.regex("(ab)*c", PIECES, [STOP])
    states = jnp.array([0, 0, 1, 1], jnp.int32)
    tokens = jnp.array([0, 1, -1, 1], jnp.int32)  # "a", a forbidden "b", none, "b"
    may = jax.jit(automaton.allowed)(machine, states)
    assert may.shape == (4, len(PIECES)) and (may == (machine.next[states] >= 0)).all()
    after = jax.jit(automaton.advance)(machine, states, tokens)
    assert after.dtype == jnp.int32
    assert after.tolist() == [1, 0, 1, 0]


def test_ids_beyond_the_tokenizer_have_no_text():
    tok = tokenizers.train("byte", ())
    pieces = automaton.pieces_of(tok, tok.size + 5)
    assert pieces[:7] == [None] * 7 and pieces[tok.size :] == [None] * 5
    assert pieces[7:-5] == [bytes([n]) for n in range(256)]
    assert automaton.stops(["a"], pieces).next[0, tok.size :].tolist() == [0] * 5


def test_tables_are_small_integers():
    assert automaton.stops(["ab", "cc"], PIECES).next.dtype == np.int16
    assert automaton.stops([], PIECES).next.tolist() == [[0] * len(PIECES)]
    pairs = itertools.product(range(200), repeat=2)
    many = automaton.trie([[*pair, 0] for pair in pairs], 200, [])
    assert len(many.next) == 1 + 200 + 200**2 + 1
    assert many.next.dtype == np.int32


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: automaton.stops(["a", ""], PIECES), r"decode\.stop=.* holds ''; give"),
        (lambda: automaton.stops("ab", PIECES), r"decode\.stop='ab' is one string"),
        (lambda: automaton.without([""], PIECES), r"decode\.forbid=.* holds ''; give"),
        (lambda: automaton.without(["a"], [b"a"]), "forbids every token; give"),
        (lambda: automaton.trie([[1], []], 5, []), "decode.choices: a choice has the"),
        (lambda: automaton.trie([[7]], 5, []), "ids from 0 to 4"),
        (lambda: automaton.trie([], 5, []), "decode.choices is empty; give"),
        (lambda: automaton.trie([[1, 2]], 5, [2]), "without end tokens"),
        (lambda: automaton.trie([[1]], 5, [9]), r"decode\.stop_ids=\[9\]: give ids"),
        (lambda: automaton.regex("a(", PIECES, []), r"decode\.regex='a\(' cannot be"),
        (lambda: automaton.regex("a)|(b", PIECES, []), "cannot be used"),
        (lambda: automaton.regex(r"[^\s\S]", PIECES, []), "nothing matches"),
        (lambda: automaton.regex("^a$", PIECES, []), r"without look-around, \^ and \$"),
        (lambda: automaton.regex("", PIECES, [STOP]), "at least one character"),
        (lambda: automaton.regex("d", PIECES, []), "admits no text that the vocab"),
        (lambda: automaton.regex(5, PIECES, []), r"decode\.regex=5 is no text"),
        (lambda: automaton.regex("a", PIECES, [99]), r"decode\.stop_ids=\[99\]"),
        (lambda: automaton.json_schema("{", PIECES, []), r"decode\.json_schema='\{' c"),
        (lambda: automaton.json_schema('{"type":"x"}', PIECES, []), "Unsupported type"),
        (lambda: automaton.json_schema('{"type":"null"}', PIECES, []), "admits no text"),
    ],
)  # fmt: skip
def test_what_admits_nothing_is_refused_in_one_sentence(build, said):
    with pytest.raises(ValueError, match=said) as error:
        build()
    assert "\n" not in str(error.value)


def test_a_table_too_large_is_refused_before_it_is_made(monkeypatch):
    with pytest.raises(ValueError, match="GiB; accepted is 1 GiB: shorten it"):
        automaton.trie([[n] * 300 for n in range(300)], 2**14, [])
    monkeypatch.setattr(walk, "LARGEST", 2 * 50 * len(PIECES))
    assert len(automaton.stops(["a" * 49], PIECES).next) == 50
    with pytest.raises(ValueError, match=r"decode\.stop=.* x 9 tokens"):
        automaton.stops(["a" * 50], PIECES)
    with pytest.raises(ValueError, match=r"decode\.regex=.* x 9 tokens"):
        automaton.regex("c{60}", PIECES, [])
