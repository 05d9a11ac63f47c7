"""Learning to put back what was taken out of a text: which kinds there are, by name."""

from __future__ import annotations

import dataclasses

from lmtasks.data import corrupt
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import infill
from lmtasks.objectives import prefix
from lmtasks.objectives import restore
from lmtasks.objectives.restore import Way

# What each architecture can learn, the first by default.
KINDS = {
    "encoder_decoder": ("span", "prefix", "ul2", "bart"),
    "decoder": ("prefix", "fim"),
}
# UL2's markers (Tay et al., 2022, arXiv:2205.05131): a few short spans, a continuation,
# long spans or many.
MODES = ("[NLU]", "[S2S]", "[NLG]")
SENTINELS = 100


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.denoise.

    Attributes:
        kind: one of KINDS; "" = the first of the architecture.
        rate: of the tokens that are taken out; None = .15, bart .3.
        span: tokens of a span on average. ends: see data.corrupt.Spans.
        permute: bart: sentences change places.
        fim, spm: see objectives.infill.
    """

    kind: str = ""
    rate: float | None = None
    span: float = 3.0
    ends: str = "noise"
    permute: bool = True
    fim: float = 0.5
    spm: float = 0.5

    def __post_init__(self):
        known = sorted(set().union(*KINDS.values()))
        if self.kind and self.kind not in known:
            raise ValueError(
                f"denoise.kind={self.kind!r} is not one of {', '.join(known)}"
            )
        if self.rate is not None and not 0 < self.rate < 1:
            raise ValueError(f"denoise.rate={self.rate} must be above 0 and below 1")
        if self.span < 1:
            raise ValueError(f"denoise.span={self.span} must be at least 1 token")
        if self.ends not in corrupt.ENDS:
            raise ValueError(
                f"denoise.ends={self.ends!r} is not one of {', '.join(corrupt.ENDS)}"
            )
        for name in ("fim", "spm"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"denoise.{name}={getattr(self, name)} is a share, from 0 to 1"
                )


def kind_of(options: Options, architecture: str) -> str:
    """Return what is learned.

    Raises:
        ValueError: the architecture cannot.
    """
    can = KINDS[architecture]
    if not options.kind or options.kind in can:
        return options.kind or can[0]
    why = {
        "decoder": "has no source side: what it reads is a beginning",
        "encoder_decoder": "has a source side, which holds what stands around a gap",
    }[architecture]
    other = "decoder" if architecture == "encoder_decoder" else "encoder_decoder"
    raise ValueError(
        f"denoise.kind={options.kind!r} is for architecture={other!r}: architecture="
        f"{architecture!r} {why}; there {' and '.join(can)} work"
    )


def make(setting: base.Setting, options: Options, decode: plan.Decode, tokenizer):
    """Return the objective of the kind; the tokenizer knows its `names`."""
    kind = kind_of(options, setting.architecture)
    if kind == "fim":
        return infill.Infill(setting, decode, options.fim, options.spm)
    if kind == "prefix" and setting.architecture == "decoder":
        return prefix.PrefixLm(setting, decode)
    eos = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
    ways = ways_of(kind, options)
    return restore.Restore(setting, decode, ways, eos, tokenizer.sentinels)


def lacks(kind: str, tokenizer=None) -> tuple[tuple[str, ...], int]:
    """Return (special tokens, sentinels) a tokenizer lacks, or a new one needs."""
    names = tokenizer.names if tokenizer else ()
    if kind == "fim":
        known = tokenizer and infill.is_marked(tokenizer)
        return (() if known else infill.MARKS), 0
    modes = MODES if kind == "ul2" else ()
    count = {"span": SENTINELS, "ul2": 2 * SENTINELS}.get(kind, 0)
    known = tokenizer and tokenizer.sentinels
    return tuple(m for m in modes if m not in names), 0 if known else count


def ways_of(kind: str, options: Options) -> tuple[Way, ...]:
    """Return the ways of a kind; each row takes one of them, all as likely."""
    if kind == "prefix":
        return (Way(corrupt.Prefix()),)
    if kind == "bart":
        rate = 0.3 if options.rate is None else options.rate
        return (Way(corrupt.Infill(rate, options.span, options.permute)),)
    if kind == "ul2":
        few = ((0.15, 3.0), (0.15, 8.0))
        many = ((0.5, 3.0), (0.5, 8.0), (0.15, 64.0), (0.5, 64.0))
        nlu, s2s, nlg = MODES
        return (
            *(Way(corrupt.Spans(*how, options.ends), nlu) for how in few),
            Way(corrupt.Prefix(), s2s),
            *(Way(corrupt.Spans(*how, options.ends), nlg) for how in many),
        )
    rate = 0.15 if options.rate is None else options.rate
    return (Way(corrupt.Spans(rate, options.span, options.ends)),)
