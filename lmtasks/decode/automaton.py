"""Which token may come next, as one table: stop strings, phrases, labels, regex, JSON.

automaton = regex(r"[0-9]{4}", pieces_of(tokenizer, vocab), stop_ids)
states = jnp.zeros(rows, jnp.int32)              # state 0 is where a text begins
mask = allowed(automaton, states)                # before a token is drawn
states = advance(automaton, states, tokens)      # after it
done = automaton.ends[states]

Everything but a trie is first an automaton over bytes; its token table is the walk of
every piece from every state, so that it does not matter how a text is cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import chex
import jax.numpy as jnp
import numpy as np
from flax import struct

from lmtasks.decode import walk
from lmtasks.tokenizers import names
from lmtasks.types import Array

_WHOLE = -1  # marks, among the tokens of a node, that a sequence ends there


@struct.dataclass
class Automaton:
    """A table of what follows; state 0 is where a text begins.

    Attributes:
        next: int16[Q, V] or int32[Q, V], the state after each token; -1 = the token is
            not allowed. A stop id stays in its state: the text has ended.
        ends: bool[Q]; a text ends as soon as it reaches the state, without a stop id.
    """

    next: Array
    ends: Array


def allowed(automaton: Automaton, states: Array) -> Array:
    """Return bool[R, V], the tokens that may come next in states: int32[R]."""
    chex.assert_rank([automaton.next, states], [2, 1])
    return automaton.next[states] >= 0


def advance(automaton: Automaton, states: Array, tokens: Array) -> Array:
    """Return int32[R], the states after tokens: int32[R].

    A forbidden token, or a negative one, leaves the state as it is.
    """
    chex.assert_rank([automaton.next, states, tokens], [2, 1, 1])
    after = automaton.next[states, jnp.maximum(tokens, 0)].astype(jnp.int32)
    return jnp.where((tokens >= 0) & (after >= 0), after, states)


def pieces_of(tokenizer, vocab: int) -> list[bytes | None]:
    """Return the bytes of each of a model's `vocab` ids; None = no text."""
    return [tokenizer.bytes_of(i) for i in range(vocab)]


def stops(strings: Sequence[str], pieces: Sequence[bytes | None]) -> Automaton:
    """Return what ends a text at any of `strings`, in the middle of a token too.

    Every token is allowed (Aho and Corasick, 1975, doi:10.1145/360825.360855).

    Raises:
        ValueError: a string is empty, or the table would be too large.
    """
    delta = walk.search(_encoded(strings, "decode.stop"))
    last = len(delta) - 1
    named = f"decode.stop={list(strings)}"
    table = walk.tabulate(delta, walk.spell(pieces), named, dead=None)
    return _pack(table.next, table.states == last)


def without(phrases: Sequence[str], pieces: Sequence[bytes | None]) -> Automaton:
    """Return what keeps `phrases` out of a text; nothing ends.

    A token that would complete a phrase, anywhere in it, is not allowed, nor is one
    after which nothing is.

    Raises:
        ValueError: a phrase is empty, nothing is left, or the table is too large.
    """
    delta = walk.search(_encoded(phrases, "decode.forbid"))
    named = f"decode.forbid={list(phrases)}"
    table = walk.tabulate(delta, walk.spell(pieces), named, dead=len(delta) - 1)
    alive = walk.lasting(table)
    if not alive[0]:
        raise ValueError(
            f"{named} forbids every token; give phrases that leave some text."
        )
    return _pack(walk.trim(table.next, alive), np.zeros(alive.sum(), bool))


def trie(
    sequences: Iterable[Sequence[int]], vocab: int, stop_ids: Sequence[int]
) -> Automaton:
    """Return what admits exactly one of `sequences`, such as the ids of labels.

    After a sequence that others continue, the stop ids are allowed too; after one that
    none continues, the text ends.

    Raises:
        ValueError: there is no sequence, one is empty or holds an id that is none or a
            stop id, one begins another where there is no stop id, or the table would
            be too large.
    """
    root: dict = {}
    for sequence in sequences:
        _grow(root, [int(token) for token in sequence], vocab, stop_ids)
    if not root:
        raise ValueError("decode.choices is empty; give one choice or more.")
    # All sequences that nothing continues share the last state.
    nodes = [root]
    for node in nodes:
        nodes += [child for child in node.values() if child.keys() - {_WHOLE}]
    last = len(nodes)
    walk.check_size(last + 1, vocab, f"decode.choices with {last + 1} states")
    number = {id(node): n for n, node in enumerate(nodes)}
    table = np.full((last + 1, vocab), -1, np.int32)
    for n, node in enumerate(nodes):
        if _WHOLE in node:
            if not stop_ids:
                raise ValueError(
                    "decode.choices: one choice is the beginning of another, and there "
                    "is no end token to tell them apart; give choices none of which "
                    "begins another, or a tokenizer or decode.stop_ids with an end."
                )
            table[n, list(stop_ids)] = n
        for token in node.keys() - {_WHOLE}:
            table[n, token] = number.get(id(node[token]), last)
    table[last, list(stop_ids)] = last
    return _pack(table, np.arange(last + 1) == last)


def regex(
    pattern: str,
    pieces: Sequence[bytes | None],
    stop_ids: Sequence[int],
    *,
    spaced: bool = False,
) -> Automaton:
    """Return what admits the texts that match `pattern` as a whole.

    Args:
        pattern: in the syntax of Rust's regex, without look-around, ^ and $.
        spaced: a text may begin with one space more, which sets an answer off, or
            which a tokenizer puts before its words (WordPiece, Llama).
        pieces: the bytes of each id.
        stop_ids: allowed exactly where the text so far matches; without any, a text
            ends where it matches and nothing can follow.

    Raises:
        ValueError: the pattern is wrong, nothing spells a match, or the table would be
            too large.
    """
    named = f"decode.regex={pattern!r:.200}"
    return _regex(pattern, pieces, stop_ids, named, spaced)


def json_schema(
    schema: str,
    pieces: Sequence[bytes | None],
    stop_ids: Sequence[int],
    *,
    spaced: bool = False,
) -> Automaton:
    """Return what admits the JSON texts of a schema, given as JSON; see `regex`.

    Keys come in the order of the schema; what outlines_core does not know of a schema,
    such as bounds of a number, is not enforced.

    Raises:
        ValueError: as `regex`, and a schema that cannot be used.
    """
    from outlines_core import json_schema as schemas

    named = f"decode.json_schema={schema!r:.200}"
    try:
        pattern = schemas.build_regex_from_schema(schema)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(". ")
        raise ValueError(
            f"{named} cannot be used ({reason:.200}); give a JSON schema as JSON text "
            "with types, properties, items, enum, const, pattern or $ref."
        ) from error
    return _regex(pattern, pieces, stop_ids, named, spaced)


def _regex(pattern, pieces, stop_ids, named: str, spaced: bool) -> Automaton:
    delta, final = walk.match(pattern, named)
    if (delta[0] == len(delta) - 1).all():
        raise ValueError(
            f"{named} admits no text; give what has at least one character."
        )
    if spaced:
        delta, final = walk.match(f" ?(?:{pattern})", named)
    stop_ids = _checked(stop_ids, len(pieces))
    # A stop id says that a text ends; what it spells is no part of it.
    pieces = [None if i in stop_ids else piece for i, piece in enumerate(pieces)]
    spelling = walk.spell(pieces)
    dead = len(delta) - 1
    table = walk.tabulate(delta, spelling, named, dead=dead, silent=dead)
    final = final[table.states]
    alive = walk.reaching(table, final)
    following = walk.trim(table.next, alive) if alive[0] else table.next[:1]
    if not alive[0] or not (following[0] >= 0).any():
        raise ValueError(
            f"{named} admits no text that the vocabulary can spell; give what the "
            "tokens can write, with at least one character and without ^ and $."
        )
    final = final[alive]
    if not stop_ids:
        return _pack(following, final & ~(following >= 0).any(axis=1))
    here = np.where(final, np.arange(len(final)), -1)
    following[:, list(stop_ids)] = here[:, None]
    return _pack(following, np.zeros(len(final), bool))


def _encoded(strings: Sequence[str], key: str) -> list[bytes]:
    if isinstance(strings, str):
        raise ValueError(f"{key}={strings!r:.200} is one string; give a list of them.")
    for text in strings:
        if not isinstance(text, str) or not text:
            raise ValueError(
                f"{key}={strings!r:.200} holds {text!r}; give strings of one character "
                "or more."
            )
    return [names.clean(text).encode() for text in strings]


def _grow(root: dict, sequence: list[int], vocab: int, stop_ids) -> None:
    """Add a sequence to nested {token: node}."""
    if not sequence or not all(0 <= token < vocab for token in sequence):
        raise ValueError(
            f"decode.choices: a choice has the token ids {sequence}; give choices of "
            f"one character or more, with ids from 0 to {vocab - 1}."
        )
    if set(_checked(stop_ids, vocab)) & set(sequence):
        raise ValueError(
            f"decode.choices: the choice with token ids {sequence} holds one of "
            f"decode.stop_ids={list(stop_ids)}; give choices without end tokens."
        )
    for token in sequence:
        root = root.setdefault(token, {})
    root[_WHOLE] = {}


def _checked(stop_ids: Sequence[int], vocab: int) -> tuple[int, ...]:
    if not all(0 <= i < vocab for i in stop_ids):
        raise ValueError(
            f"decode.stop_ids={list(stop_ids)}: give ids from 0 to {vocab - 1}."
        )
    return tuple(stop_ids)


def _pack(table: np.ndarray, ends: np.ndarray) -> Automaton:
    next = jnp.asarray(table.astype(walk.dtype(len(table))))
    return Automaton(next=next, ends=jnp.asarray(ends))
