"""Write the answer to a prompt; loss on the answer only."""

from __future__ import annotations

import dataclasses

import numpy as np

from lmtasks.data import chat
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import languages
from lmtasks.tokenizers import frame
from lmtasks.types import Features


def _cuts(tokens: int, target: int) -> dict[str, int]:
    """Return how many tokens are cut, and how many of them of the answer, if any."""
    return {"cut": tokens} | ({"cut_target": target} if target else {})


@dataclasses.dataclass(frozen=True)
class Generate(base.Objective):
    """Turns on a decoder, or prompt -> reply on an encoder-decoder.

    A decoder learns every assistant turn of a conversation; an encoder-decoder learns
    the last one, with all turns before it as the source.
    """

    setting: base.Setting
    decode: plan.Decode = plan.Decode()
    writes = True

    def _turns(self, example):
        return chat.as_turns(example, self.setting.prompt, self.setting.labels)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row; [] when the example has no answer or an empty prompt."""
        turns = self._turns(example)
        if not any(t.text.strip() for t in turns.turns if t.role != "assistant"):
            return []
        if self.setting.architecture == "decoder":
            return self._decoder(turns.turns, tokenizer)
        replies = [i for i, t in enumerate(turns.turns) if t.role == "assistant"]
        if not replies or not any(t.text.strip() for t in turns.turns[: replies[-1]]):
            return []
        prompt, reply = turns.turns[: replies[-1]], turns.turns[replies[-1]].text
        codes = languages.codes_of(turns.fields, tokenizer)
        return [self._encoder_decoder(prompt, reply, tokenizer, codes)]

    def _decoder(self, turns, tokenizer) -> list[Features]:
        template, limit = self.setting.template, self.setting.length + 1
        ids, learned = chat.render(turns, tokenizer, template, bos=True)
        if not any(learned[1:]):
            return []
        cut = max(len(ids) - limit, 0)
        # The answer is kept whole where it fits: the prompt loses its beginning.
        head = min(cut, max(learned.index(True) - 1, 0))
        kept, mask = ids[head:][:limit], learned[head:][:limit]
        row = base.next_token_features(kept, mask)
        return [row | _cuts(cut, sum(learned) - sum(mask))]

    def _encoder_decoder(self, prompt, reply, tokenizer, codes) -> Features:
        source, cut = self._source(prompt, tokenizer, codes)
        ids = reply_ids(reply, self.setting, tokenizer)
        if tokenizer.eos_id is not None:
            ids.append(tokenizer.eos_id)
        start = decoder_start(tokenizer, codes)
        ids, cut_reply = base.cut_to(ids, self.setting.length - len(start) + 1)
        ids = [*start, *ids]
        target = base.next_token_features(ids, [True] * len(ids))
        return target | source | _cuts(cut + cut_reply, cut_reply)

    def _source(self, prompt, tokenizer, codes) -> tuple[Features, int]:
        template = self.setting.template
        ids, _ = chat.render(prompt, tokenizer, template, bos=False)
        before, after = around_source(tokenizer, codes)
        room = self.setting.source_length - len(before)
        ids, cut = base.cut_to([*ids, *after], room, keep="end")
        ids = [*before, *ids]
        positions = np.arange(len(ids), dtype=np.int32)
        return {"source": chat.int_array(ids), "source_positions": positions}, cut

    def query(self, example, tokenizer) -> list[Features]:
        """Return the prompt alone, rendered exactly as in training."""
        turns = self._turns(example)
        prompt, _ = chat.split_reply(turns)
        if not prompt:
            return []
        if self.setting.architecture == "encoder_decoder":
            codes = languages.codes_of(turns.fields, tokenizer)
            source, cut = self._source(prompt, tokenizer, codes)
            ids = decoder_start(tokenizer, codes)
        else:
            template = self.setting.template
            ids, _ = chat.render(prompt, tokenizer, template, bos=True)
            ids, cut = base.cut_to(ids, self.setting.length, keep="end")
            source = {}
        row = base.next_token_features([*ids, 0], [False] * (len(ids) + 1))
        return [row | source | {"cut": cut}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the answers' tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return the perplexity of the answers."""
        return base.perplexity(totals)

    def predict(self, model, params, batch, rng, tables=None):
        """Return what `base.write` returns."""
        given = {"decode": self.decode, "rng": rng, "tables": tables}
        return base.write(model, params, batch, **given)

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text"}: the reply; "texts" and "scores" too where there are more."""
        return base.texts_of(self.decode, outputs[0], tokenizer)


def reply_ids(text: str, setting: base.Setting, tokenizer) -> list[int]:
    """Return the ids of an answer: a decoder's goes on from the prompt, set off by a
    space; an encoder-decoder's is a text of its own.
    """
    if setting.architecture == "encoder_decoder":
        return list(tokenizer.encode(text))
    reply = chat.reply_text(text, setting.template, tokenizer)
    return list(tokenizer.encode(reply, continues=True))


def decoder_start(tokenizer, codes: languages.Codes | None = None) -> list[int]:
    """Return the ids an encoder-decoder's decoder begins with: those of the languages
    (mBART), those its checkpoint states, and what it has before every text (BART),
    else bos, else pad (T5).
    """
    if codes is not None:
        return codes.decoder_start
    if "start" in tokenizer.roles:
        return [tokenizer.roles["start"], *_stated(tokenizer).before]
    return [tokenizer.pad_id if tokenizer.bos_id is None else tokenizer.bos_id]


def around_source(
    tokenizer, codes: languages.Codes | None = None
) -> tuple[list[int], list[int]]:
    """Return the ids (before, after) a source: those of the languages, its
    checkpoint's, else eos behind it.
    """
    if codes is not None:
        return codes.around_source
    if "start" in tokenizer.roles:
        around = _stated(tokenizer)
        return list(around.before), list(around.after)
    return [], [] if tokenizer.eos_id is None else [tokenizer.eos_id]


def _stated(tokenizer) -> frame.Frame:
    eos = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
    return frame.frame_of(tokenizer) or frame.Frame((), eos, eos)
