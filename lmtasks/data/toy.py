"""Small worlds whose answers are known: one generator per kind of example.

Two things stand one behind the other, and a question is about their order. Every world
holds one animal and one plant, so the words of a text do not tell the answer, only who
stands where does: a bag of words and word pairs guesses, a small transformer learns it
in a few hundred steps. Splits share no world: a hash of its facts decides the split.
Texts are lower-case words of WORDS, separated by spaces, under 32 of them.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing
import zlib
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

Record = dict[str, typing.Any]
# One draw: the facts that decide the split, and the record.
Draw = Callable[[np.random.Generator], tuple[str, Record]]

ANIMALS = ("bee", "cat", "cow", "dog", "fox", "hen", "owl", "pig")
PLANTS = ("elm", "fern", "lily", "oak", "palm", "pine", "reed", "rose")
ADJECTIVES = ("", "big", "old", "red", "small", "tall", "young")
# Each names a person or a place, by its neighbours.
NAMES = (
    "austin", "chelsea", "florence", "georgia", "jordan", "lincoln", "madison",
    "paris", "sydney", "victoria",
)  # fmt: skip
LABELS = ("no", "yes")
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
# P a person, L a place; over all of them a name is as often one as the other.
TEMPLATES = (
    "P met P in L .",
    "P left L for L .",
    "in L we saw P .",
    "P came here from L .",
    "we drove to L with P .",
)
ORDER = ("first", "second", "third", "fourth", "fifth")
ROW = ("bee", "cat", "dog", "hen", "elm", "fern", "oak", "rose")
_FUNCTION_WORDS = """
. , ? and at back before behind came drove fifth first for fourth from front has here in
is left met no port row saw second smith so stands the then third to we what which with
yes
"""
WORDS = tuple(
    sorted({*ANIMALS, *PLANTS, *ADJECTIVES[1:], *NAMES, *_FUNCTION_WORDS.split()})
)
TRAIN_SIZE = 20_000
HELD_OUT_SIZE = 500
# Of ten parts by a hash of the facts: eight train, one validation, one test.
_PARTS = {8: "validation", 9: "test"}
_SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Training(collections.abc.Sequence):
    """Records made when asked for, each a function of (seed, index) alone."""

    draw: Draw
    seed: int
    size: int = TRAIN_SIZE

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Record:
        if not -self.size <= i < self.size:
            raise IndexError(f"there are {self.size} records, so none at {i}")
        rng = np.random.default_rng((self.seed, i % self.size))
        while True:
            facts, record = self.draw(rng)
            if split_of(facts) == "train":
                return record


def toy_text(split: str, seed: int) -> Sequence[Record]:
    """Return {"text"}: where two things stand, and what follows from it."""
    return worlds(_text, split, seed)


def toy_turns(split: str, seed: int) -> Sequence[Record]:
    """Return {"turns"}: what stands in front or at the back; some ask for both."""
    return worlds(_turns, split, seed)


def toy_labelled(split: str, seed: int) -> Sequence[Record]:
    """Return {"text", "label"}: whether a thing is in front, of LABELS."""
    return worlds(_labelled, split, seed)


def toy_choice(split: str, seed: int) -> Sequence[Record]:
    """Return {"context", "options", "answer"}: which of two sentences is true."""
    return worlds(_choice, split, seed)


def toy_tagged(split: str, seed: int) -> Sequence[Record]:
    """Return {"words", "tags"}: names that are persons or places, of TAGS."""
    return worlds(_tagged, split, seed)


def toy_span(split: str, seed: int) -> Sequence[Record]:
    """Return {"question", "context", "answers"}: the words that name the thing."""
    return worlds(_span, split, seed)


def toy_preference(split: str, seed: int) -> Sequence[Record]:
    """Return {"prompt", "chosen", "rejected"}: the true answer and the false one."""
    return worlds(_preference, split, seed)


def toy_pair(split: str, seed: int) -> Sequence[Record]:
    """Return {"first", "second"}: a question about a row of things, and the row."""
    return worlds(_pair, split, seed)


def split_of(facts: str) -> str:
    """Return the split a world belongs to, the same in every process."""
    return _PARTS.get(zlib.crc32(facts.encode()) % 10, "train")


def worlds(draw: Draw, split: str, seed: int) -> Sequence[Record]:
    """Return the records of a split that `draw` makes."""
    if split not in _SPLITS:
        raise ValueError(
            f"toy worlds have no split {split!r}, but {', '.join(_SPLITS)}."
        )
    # Generators of numpy take no negative seeds.
    seed = seed % 2**32
    return Training(draw, seed) if split == "train" else _held_out(draw, split, seed)


def _held_out(draw: Draw, split: str, seed: int) -> list[Record]:
    """Return different records of the split's worlds."""
    rng = np.random.default_rng((seed, _SPLITS.index(split), 0))
    found: dict[str, Record] = {}
    while len(found) < HELD_OUT_SIZE:
        facts, record = draw(rng)
        if split_of(facts) == split:
            found.setdefault(repr(record), record)
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class _World:
    """Two things, such as "old cat" and "oak", in the order they are mentioned."""

    things: tuple[str, str]
    relation: str

    @property
    def fact(self) -> str:
        first, second = self.things
        return f"the {first} stands {self.relation} the {second} ."

    @property
    def key(self) -> str:
        """The things alone: who stands where is asked both ways in one split."""
        return " / ".join(sorted(self.things))

    @property
    def front(self) -> str:
        return self.things[self.relation == "behind"]

    @property
    def back(self) -> str:
        return self.things[self.relation != "behind"]


def _pick(rng: np.random.Generator, options: Sequence):
    return options[int(rng.random() * len(options))]


def _world(rng: np.random.Generator, relations=("behind", "before")) -> _World:
    nouns = _pick(rng, ANIMALS), _pick(rng, PLANTS)
    things = [f"{_pick(rng, ADJECTIVES)} {noun}".strip() for noun in nouns]
    if rng.random() < 0.5:
        things.reverse()
    return _World((things[0], things[1]), _pick(rng, relations))


def _noun(thing: str) -> str:
    return thing.split()[-1]


def _text(rng):
    world = _world(rng)
    front, back = _noun(world.front), _noun(world.back)
    end = f"so the {front} is in front and the {back} is at the back ."
    return world.key, {"text": f"{world.fact} {end}"}


def _question(rng, world: _World) -> tuple[list[str], list[str]]:
    """Return the places and the things in them, the one asked for first."""
    asked = [("in front", world.front), ("at the back", world.back)]
    if rng.random() < 0.5:
        asked.reverse()
    return [place for place, _ in asked], [thing for _, thing in asked]


def _turns(rng):
    # One relation, as below: with two the slot is a parity, and copying comes on top.
    world = _world(rng, ("behind",))
    places, things = _question(rng, world)
    turns = [
        ("user", f"{world.fact} what is {places[0]} ?"),
        ("assistant", f"the {_noun(things[0])} ."),
        ("user", f"and {places[1]} ?"),
        ("assistant", f"the {_noun(things[1])} ."),
    ]
    turns = turns[:2] if rng.random() < 0.75 else turns
    return world.key, {"turns": [{"role": role, "text": text} for role, text in turns]}


def _labelled(rng):
    # One relation: two would make the label a parity of three bits, slow to learn.
    world = _world(rng, ("behind",))
    label = _pick(rng, LABELS)
    asked = world.front if label == "yes" else world.back
    text = f"{world.fact} is the {_noun(asked)} in front ?"
    return world.key, {"text": text, "label": label}


def _true_and_false(world: _World) -> list[str]:
    # Not "the oak .", which would repeat the last words of the fact: a word pair.
    return [f"the {_noun(t)} is in front ." for t in (world.front, world.back)]


def _choice(rng):
    world = _world(rng, ("behind",))
    true, false = _true_and_false(world)
    options = [true, false] if rng.random() < 0.5 else [false, true]
    record = {
        "context": world.fact,
        "options": options,
        "answer": options.index(true),
    }
    return world.key, record


def _span(rng):
    world = _world(rng)
    places, things = _question(rng, world)
    start = world.fact.index(f"the {things[0]} ") + len("the ")
    record = {
        "question": f"what is {places[0]} ?",
        "context": world.fact,
        "answers": [(things[0], start)],
    }
    return world.key, record


def _preference(rng):
    world = _world(rng, ("behind",))
    true, false = _true_and_false(world)
    prompt = f"{world.fact} what is in front ?"
    return world.key, {"prompt": prompt, "chosen": true, "rejected": false}


def _tagged(rng):
    template = _pick(rng, TEMPLATES)
    names = [NAMES[i] for i in rng.permutation(len(NAMES))]
    words, tags, used = [], [], []
    for slot in template.split():
        if slot not in ("P", "L"):
            words, tags = [*words, slot], [*tags, "O"]
            continue
        used.append(names.pop())
        entity = [used[-1]]
        if rng.random() < 0.3:
            entity = [used[-1], "smith"] if slot == "P" else ["port", used[-1]]
        kind = "PER" if slot == "P" else "LOC"
        words += entity
        tags += [f"B-{kind}", f"I-{kind}"][: len(entity)]
    return f"{template} {used}", {"words": words, "tags": tags}


def _pair(rng):
    row = [ROW[i] for i in rng.permutation(len(ROW))[: len(ORDER)]]
    places = list(zip(row, ORDER, strict=True))
    asked = " , ".join(f"the {thing} {place}" for thing, place in reversed(places))
    row_said = " then ".join(f"the {thing}" for thing in row)
    record = {"first": f"which row has {asked} ?", "second": f"first {row_said} ."}
    return " ".join(row), record
