"""What a run says of decoding: the method and its numbers, checked."""

from __future__ import annotations

import dataclasses
import difflib
import math

METHODS = ("sample", "beam", "contrastive", "lookup", "draft")
LENGTH_PENALTIES = ("gnmt", "average", "none")
EARLY_STOPPING = ("exact", "bound", "full")
CHOOSE = ("", "likeliest", "vote")


@dataclasses.dataclass(frozen=True)
class Decode:
    """How a text is written.

    Attributes:
        method: "sample" (greedy at temperature 0), "beam", "contrastive" search,
            or speculative decoding, "lookup" by n-grams of the text so far and
            "draft" by a smaller model.
        max_tokens: most tokens written, the stop id included.
        min_tokens: fewest tokens before a stop id.
        temperature, top_k, top_p, min_p, typical_p: see sampling.Sampling.
        repetition_penalty, presence_penalty, frequency_penalty: see
            constraints.Penalties.
        no_repeat_ngram: no run of so many tokens is written twice; 0 = off.
        beams: W. beam_groups: of diverse beam search (Vijayakumar et al., 2018).
        diversity: what a group pays for a token another group has just taken.
        length_penalty: of finished beams: "gnmt" ((5 + n) / 6) ** a (Wu et al., 2016),
            "average" n ** a, or "none"; the sum of log-probabilities is divided by it.
        length_exponent: a; above 0 favours long texts.
        early_stopping: when a search ends: "exact", no live beam can beat the worst
            finished one; "bound", none could were it to end now; "full", as soon as W
            texts are finished.
        alpha: contrastive search's weight of the degeneration penalty.
        drafted: tokens proposed at a time by speculative decoding.
        texts: texts a prompt: samples, or the n best beams.
        choose: of several texts: "" all, "likeliest" (best-of-n), "vote" (the
            commonest answer, Wang et al., 2023).
        prefill: tokens of a decoder's prompt read at a time; 0 = all.
        stop: strings that end a text and are no part of it.
        stop_ids: vocabulary ids that end a text.
    """

    method: str = "sample"
    max_tokens: int = 64
    min_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    beams: int = 4
    beam_groups: int = 1
    diversity: float = 0.5
    length_penalty: str = "gnmt"
    length_exponent: float = 0.6
    early_stopping: str = "exact"
    alpha: float = 0.6
    drafted: int = 4
    texts: int = 1
    choose: str = ""
    prefill: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self):
        _choice("method", self.method, METHODS)
        _choice("length_penalty", self.length_penalty, LENGTH_PENALTIES)
        _choice("early_stopping", self.early_stopping, EARLY_STOPPING)
        _choice("choose", self.choose, CHOOSE)
        inf = math.inf
        for key, low, high, open_low in (
            ("max_tokens", 1, inf, False), ("min_tokens", 0, inf, False),
            ("temperature", 0, inf, False), ("top_k", 0, inf, False),
            ("top_p", 0, 1, True), ("min_p", 0, 1, False), ("typical_p", 0, 1, True),
            ("repetition_penalty", 0, inf, True), ("presence_penalty", -inf, inf, False),
            ("frequency_penalty", -inf, inf, False), ("no_repeat_ngram", 0, inf, False),
            ("beams", 1, inf, False), ("beam_groups", 1, inf, False),
            ("diversity", 0, inf, False), ("length_exponent", -inf, inf, False),
            ("alpha", 0, 1, False), ("drafted", 1, inf, False), ("texts", 1, inf, False),
            ("prefill", 0, inf, False),
        ):  # fmt: skip
            value = getattr(self, key)
            good = (low < value if open_low else low <= value) and value <= high
            if not good or not math.isfinite(value):
                raise ValueError(
                    f"decode.{key}={value} is out of range; accepted: "
                    f"{_range(key, low, high, open_low)}"
                )
        self._check_together()

    def _check_together(self):
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"decode.min_tokens={self.min_tokens} is above decode.max_tokens="
                f"{self.max_tokens}; lower it"
            )
        if self.beams % self.beam_groups:
            raise ValueError(
                f"decode.beams={self.beams} is not divisible by decode.beam_groups="
                f"{self.beam_groups}; change one of them"
            )
        if self.method == "beam" and self.texts > self.beams:
            raise ValueError(
                f"decode.texts={self.texts} is above decode.beams={self.beams}; a beam "
                "search has no more texts than beams"
            )
        alone = self.method in ("contrastive", "lookup", "draft")
        if alone and self.texts > 1:
            raise ValueError(
                f"decode.method={self.method!r} writes one text a prompt, got "
                f"decode.texts={self.texts}; use 'sample' or 'beam'"
            )
        if self.method == "contrastive" and not self.top_k:
            raise ValueError(
                "decode.method='contrastive' chooses among decode.top_k tokens; set it "
                "(Su et al., 2022, use 4 to 10)"
            )
        several = self.method == "sample" and self.texts > 1
        if several and not self.temperature:
            raise ValueError(
                f"decode.texts={self.texts} texts of temperature 0 would all be the "
                "same; set decode.temperature above 0 or decode.method='beam'"
            )
        if self.choose and self.texts == 1:
            raise ValueError(
                f"decode.choose={self.choose!r} chooses among several texts; set "
                "decode.texts"
            )

    @property
    def lanes(self) -> int:
        """Return the texts written side by side for a prompt."""
        return self.beams if self.method == "beam" else self.texts

    @property
    def slots(self) -> int:
        """Return the cache slots that writing needs beyond the prompt's."""
        if self.method == "contrastive":
            return self.max_tokens * self.top_k
        if self.method in ("lookup", "draft"):
            return self.max_tokens + self.drafted
        return self.max_tokens * self.lanes


def named(name: str, base: Decode) -> Decode:
    """Return the plan that a short name stands for, its other numbers those of `base`.

    greedy, beam4, topk50, topp0.9, minp0.1, typical0.9, temp0.7, contrastive4, lookup4.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """
    kind = name.rstrip("0123456789.")
    number = name[len(kind) :]
    plain = {
        "method": "sample", "temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
        "typical_p": 1.0, "texts": 1, "choose": "",
    }  # fmt: skip
    warm = plain | {"temperature": base.temperature or 1.0}
    kinds = {
        "greedy": (plain, None), "beam": (plain | {"method": "beam"}, "beams"),
        "topk": (warm, "top_k"), "topp": (warm, "top_p"), "minp": (warm, "min_p"),
        "typical": (warm, "typical_p"), "temp": (plain, "temperature"),
        "contrastive": (plain | {"method": "contrastive"}, "top_k"),
        "lookup": (plain | {"method": "lookup"}, "drafted"),
    }  # fmt: skip
    if kind not in kinds or bool(number) != (kind != "greedy"):
        near = difflib.get_close_matches(kind, kinds, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"--methods: {name!r} is not a method; use greedy, beam4, topk50, topp0.9, "
            f"minp0.1, typical0.9, temp0.7, contrastive4 or lookup4{hint}"
        )
    values, key = kinds[kind]
    if key is not None:
        whole = key in ("beams", "top_k", "drafted")
        try:
            value = int(number) if whole else float(number)
        except ValueError:
            raise ValueError(
                f"--methods: {name!r} needs a {'whole ' if whole else ''}number after "
                f"{kind!r}"
            ) from None
        values = values | {key: value}
    return dataclasses.replace(base, **values)


def _choice(key: str, given: str, accepted: tuple[str, ...]) -> None:
    if given not in accepted:
        near = difflib.get_close_matches(given, accepted, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"decode.{key}={given!r} is not one of "
            f"{', '.join(repr(a) for a in accepted)}{hint}"
        )


def _range(key: str, low: float, high: float, open_low: bool) -> str:
    if low == -math.inf:
        return "any finite number"
    if high == math.inf:
        return f"{key} {'>' if open_low else '>='} {low}"
    return f"{low} {'<' if open_low else '<='} {key} <= {high}"
