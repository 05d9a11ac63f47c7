"""Automata over bytes, and the walk of a vocabulary's pieces through them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

LARGEST = 2**30  # bytes of a table
_ROWS = 16  # rows walked at once: a few MB for 50,000 pieces


@dataclasses.dataclass(frozen=True)
class Spelling:
    """Pieces for walking many at once.

    Attributes:
        order: int[V], the ids, longest piece first.
        columns: byte j of those pieces that have one, in this order.
        silent: int[...], ids that add nothing to a text.
    """

    order: np.ndarray
    columns: tuple[np.ndarray, ...]
    silent: np.ndarray


@dataclasses.dataclass(frozen=True)
class Table:
    """A token table before its dead ends are cut off.

    Attributes:
        next: int32[Q, V]; -1 = the token is not allowed.
        before: for each state, those from which some token leads to it.
        states: int[Q], the byte state of each row.
    """

    next: np.ndarray
    before: list[list[int]]
    states: np.ndarray


def search(strings: Sequence[bytes]) -> np.ndarray:
    """Return int32[S, 256] that stays in S - 1 once one of `strings` has been read.

    Example: for b"ab", state 1 has read "a", and state 2 = S - 1 has read "ab".
    """
    children: list[dict[int, int]] = [{}]
    hits = set()
    for string in strings:
        node = 0
        for byte in string:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
            node = children[node][byte]
        hits.add(node)
    delta = np.zeros((len(children) + 1, 256), np.int32)
    # Nearest first: what a node falls back to is shorter, hence complete.
    queue = collections.deque([(0, 0)])
    while queue:
        node, back = queue.popleft()
        if back in hits:
            hits.add(node)
        if node:
            delta[node] = delta[back]
        for byte, child in children[node].items():
            queue.append((child, int(delta[node, byte])))
            delta[node, byte] = child
    number = np.arange(len(delta))
    number[list(hits)] = delta[-1] = len(delta) - 1
    return number[delta].astype(np.int32)


def match(pattern: str, named: str) -> tuple[np.ndarray, np.ndarray]:
    """Return int32[S, 256] and bool[S], final; 0 is the start, S - 1 the dead end.

    A text never holds the byte 0, which stands here for its end.
    """
    import outlines_core

    if not isinstance(pattern, str):
        raise ValueError(f"{named} is no text; give a regular expression as a string.")
    # With a vocabulary of single bytes the library's index is the byte automaton.
    letters = {bytes([byte]): [byte] for byte in range(256)}
    vocabulary = outlines_core.Vocabulary(257, letters | {b"\0\1": [256]})
    try:
        # By itself first: a stray ")" must not close the group around the pattern.
        outlines_core.Index(f"|{pattern}", vocabulary)
        # The library takes the first alternative that matches: "a|ab" would never
        # match "ab" without an end to reach. It also prepares to search inside of
        # texts, in exponential time for "a[ab]{20}": the empty alternative matches at
        # once and stops that. It shows in the state after one byte, which the two
        # bytes at the beginning pass over.
        index = outlines_core.Index(rf"\x00\x01(?:{pattern})\x00|", vocabulary)
    except ValueError as error:
        reason = " ".join(str(error).split())
        if "incompatible" in reason:  # it blames the bytes, which are all there are
            reason = "nothing matches it"
        raise ValueError(
            f"{named} cannot be used ({reason:.120}); give a regular expression that "
            "some text matches as a whole, without look-around, ^ and $."
        ) from error
    found = index.get_transitions()
    start = found[index.get_initial_state()].get(256)
    if start is None:
        return np.ones((2, 256), np.int32), np.zeros(2, bool)
    targets = {after for row in found.values() for after in row.values()}
    others = sorted((found.keys() | targets) - {start})
    number = {state: n for n, state in enumerate([start, *others])}
    delta = np.full((len(number) + 1, 256), len(number), np.int32)
    final = np.zeros(len(delta), bool)
    matched = index.get_final_states()
    for state, row in found.items():
        final[number[state]] = row.get(0) in matched
        for byte, after in row.items():
            if 0 < byte < 256:
                delta[number[state], byte] = number[after]
    return delta, final


def spell(pieces: Sequence[bytes | None]) -> Spelling:
    lengths = np.array([len(piece or b"") for piece in pieces])
    order = np.argsort(-lengths, kind="stable")
    starts = np.concatenate([[0], np.cumsum(lengths)])[order]
    content = np.frombuffer(b"".join(piece or b"" for piece in pieces), np.uint8)
    columns = []
    for j in range(int(lengths.max(initial=0))):
        longer = int((lengths > j).sum())
        columns.append(content[starts[:longer] + j])
    return Spelling(order, tuple(columns), np.flatnonzero(lengths == 0))


def _walk(delta: np.ndarray, starts: np.ndarray, spelling: Spelling) -> np.ndarray:
    """Return int32[R, V], the byte state after each piece from each of starts[R]."""
    out = np.repeat(starts.astype(np.int32)[:, None], len(spelling.order), axis=1)
    flat = delta.ravel()
    for column in spelling.columns:
        n = len(column)
        out[:, :n] = flat[out[:, :n] * 256 + column]
    by_id = np.empty_like(out)
    by_id[:, spelling.order] = out
    return by_id


def tabulate(
    delta: np.ndarray, spelling: Spelling, named: str, *, dead, silent=None
) -> Table:
    """Return the token table of the byte states that tokens reach from state 0.

    Args:
        delta: int32[S, 256].
        spelling: the pieces.
        named: what the user gave, for the error.
        dead: the state that no text leaves, or None; it gets no row.
        silent: where pieces without text lead; None = nowhere else.
    """
    states, blocks, links = [0], [], []  # links: (row, byte state after it)
    seen = np.zeros(len(delta), bool)
    seen[[0] if dead is None else [0, dead]] = True
    done = 0
    while done < len(states):
        check_size(len(states), len(spelling.order), named)
        starts = np.array(states[done : done + _ROWS])
        block = _walk(delta, starts, spelling)
        if silent is not None:
            block[:, spelling.silent] = silent
        link = np.zeros((len(starts), len(delta)), bool)
        link[np.arange(len(starts))[:, None], block] = True
        new = np.flatnonzero(link.any(axis=0) & ~seen)
        seen[new] = True
        states += new.tolist()
        blocks.append(block.astype(np.min_scalar_type(-len(delta))))
        links += [(done + row, state) for row, state in np.argwhere(link).tolist()]
        done += len(starts)
    number = np.full(len(delta), -1, np.min_scalar_type(-len(states)))
    number[states] = np.arange(len(states))
    table = np.concatenate([number[block] for block in blocks])
    before: list[list[int]] = [[] for _ in states]
    for row, state in links:
        if number[state] >= 0:
            before[number[state]].append(row)
    return Table(table, before, np.array(states))


def reaching(table: Table, final: np.ndarray) -> np.ndarray:
    """Return bool[Q], the states from which a final one can be reached."""
    alive = final.copy()
    queue = np.flatnonzero(final).tolist()
    while queue:
        for state in table.before[queue.pop()]:
            if not alive[state]:
                alive[state] = True
                queue.append(state)
    return alive


def lasting(table: Table) -> np.ndarray:
    """Return bool[Q], the states from which a text can go on for ever."""
    ways = [0] * len(table.before)
    for sources in table.before:
        for state in sources:
            ways[state] += 1
    queue = [state for state, count in enumerate(ways) if not count]
    while queue:
        for state in table.before[queue.pop()]:
            ways[state] -= 1
            if not ways[state]:
                queue.append(state)
    return np.array(ways) > 0


def trim(table: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return the rows that are alive, with -1 for tokens to the others.

    What only dead states lead to is dead itself, so the rest is still reached.
    """
    number = np.where(alive, np.cumsum(alive) - 1, -1).astype(table.dtype)
    # Index -1, no state, finds the last.
    return np.append(number, number.dtype.type(-1))[table[alive]]


def check_size(states: int, vocab: int, named: str) -> None:
    size = states * vocab * dtype(states).itemsize
    if size > LARGEST:
        raise ValueError(
            f"{named} needs a table of {states} states or more x {vocab} tokens, "
            f"{size / 2**30:.1f} GiB; accepted is 1 GiB: shorten it, lower its counts "
            "of repetitions, or use a smaller vocabulary."
        )


def dtype(states: int) -> np.dtype:
    return np.dtype(np.int16 if states < 2**15 else np.int32)
