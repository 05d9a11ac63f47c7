"""What transformers' `generate` writes with four tiny models that share our weights.

    python tests/decode_peer.py              # rewrites tests/fixtures/decode.json
    python tests/decode_peer.py --search t5  # seeds for decode_cases.CASES

Half a minute on two cores. torch and transformers are imported inside functions, so
that a test can name this module without them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

import decode_cases as cases
import numpy as np

from lmtasks.hf import reading
from lmtasks.hf import writing
from lmtasks.training import masks

# Above what sums in another order differ by.
MARGIN = 1e-4


def _their_config(case: cases.Case):
    """Return the class of their model and its config."""
    import transformers

    c = case.model.cfg
    heads, eps, size = c.attention.heads, c.norm.eps, c.positions.size
    ids = {"pad_token_id": case.stop, "eos_token_id": case.stop, "bos_token_id": None}
    if case.family == "gpt2":
        return transformers.GPT2LMHeadModel, transformers.GPT2Config(
            vocab_size=c.vocab, n_embd=c.width, n_layer=c.layers, n_head=heads,
            n_inner=c.hidden, n_positions=size, layer_norm_epsilon=eps, **ids,
        )  # fmt: skip
    if case.family == "llama":
        rope = {"rope_type": "default", "rope_theta": c.positions.base[0]}
        return transformers.LlamaForCausalLM, transformers.LlamaConfig(
            vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.hidden,
            num_hidden_layers=c.layers, num_attention_heads=heads,
            num_key_value_heads=c.kv_heads, head_dim=c.head_dim, rms_norm_eps=eps,
            rope_parameters=rope, max_position_embeddings=size, **ids,
        )  # fmt: skip
    ids |= {"decoder_start_token_id": case.first}
    if case.family == "t5":
        return transformers.T5ForConditionalGeneration, transformers.T5Config(
            vocab_size=c.vocab, d_model=c.width, d_kv=c.head_dim, d_ff=c.hidden,
            num_layers=c.layers, num_decoder_layers=c.decoder_layers, num_heads=heads,
            relative_attention_num_buckets=c.positions.buckets,
            relative_attention_max_distance=c.positions.distance,
            layer_norm_epsilon=eps, **ids,
        )  # fmt: skip
    return transformers.BartForConditionalGeneration, transformers.BartConfig(
        vocab_size=c.vocab, d_model=c.width, max_position_embeddings=size,
        encoder_layers=c.layers, decoder_layers=c.decoder_layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=c.hidden, decoder_ffn_dim=c.hidden,
        forced_eos_token_id=None, **ids,
    )  # fmt: skip


def their_model(case: cases.Case):
    """Return transformers' model with our parameters, all of them."""
    import torch

    kind, config = _their_config(case)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    export = writing.Export(
        reading.family_of(case.family), case.family, case.model.for_decoding()
    )
    arrays = {k: np.asarray(x) for k, x in masks.flat(case.params()).items()}
    found = dict(writing.tensors(export, arrays))
    missing, unexpected = model.load_state_dict(
        {k: torch.from_numpy(x) for k, x in found.items()}, strict=False
    )
    model.tie_weights()
    state = model.state_dict()
    given = {state[key].data_ptr() for key in found}
    assert not unexpected and all(state[key].data_ptr() in given for key in missing)
    return model


def inputs(case: cases.Case):
    """Return the prompts as `generate` reads them: a decoder's padded on the left."""
    import torch

    batch = case.batch()
    tokens = batch["source" if case.first >= 0 else "tokens"]
    inside = tokens > 0
    if case.first < 0:
        shift = [len(row) - n for row, n in zip(tokens, cases.LENGTHS, strict=True)]
        tokens = np.stack([np.roll(r, s) for r, s in zip(tokens, shift, strict=True)])
        inside = tokens > 0
        tokens = np.where(inside, tokens, case.stop)
    ids, mask = torch.from_numpy(tokens).long(), torch.from_numpy(inside).long()
    return {"input_ids": ids, "attention_mask": mask}


def their_logits(case: cases.Case, model, written: int = 6) -> list[np.ndarray]:
    """Return the logits of each row's tokens: [T, V], without those of padding."""
    import torch

    given, batch = inputs(case), case.batch(written=written)
    mask = given["attention_mask"]
    if case.first < 0:
        given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    else:
        given["decoder_input_ids"] = torch.from_numpy(batch["tokens"]).long()
    with torch.no_grad():
        logits = model(**given).logits.numpy()
    if case.first >= 0:
        return list(logits)
    return [x[-n:] for x, n in zip(logits, cases.LENGTHS, strict=True)]


def generate(case: cases.Case, model, settings: dict):
    """Return (tokens [B][W][n], cut behind the stop id; scores [B][W], or []).

    Args:
        case, model: of `their_model`.
        settings: more arguments of GenerationConfig.
    """
    out = _generate(case, model, settings)
    # What was written ends the sequence; the prompt's length is the same for all.
    start = 1 if case.first >= 0 else max(cases.LENGTHS)
    rows = [_cut(row, case.stop) for row in out.sequences[:, start:].tolist()]
    beams = len(rows) // len(cases.LENGTHS)
    scores = getattr(out, "sequences_scores", None)
    scores = [] if scores is None else scores.reshape(-1, beams).tolist()
    return [rows[i : i + beams] for i in range(0, len(rows), beams)], scores


def _generate(case, model, settings):
    import transformers

    chosen = transformers.GenerationConfig(
        max_new_tokens=cases.LIMIT,
        do_sample=False,
        # Never written before the end: no_repeat_ngram_size reads the padding too.
        pad_token_id=case.stop,
        eos_token_id=case.stop,
        decoder_start_token_id=case.first if case.first >= 0 else None,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    return model.generate(**inputs(case), generation_config=chosen)


def _cut(row: list[int], stop: int) -> list[int]:
    return row[: row.index(stop) + 1] if stop in row else row


# Each must change a text of some decoder and of some encoder-decoder: a setting that
# changes nothing proves nothing.
CHANGES = (
    ("greedy", {"repetition_penalty": 1.3}),
    ("greedy", {"no_repeat_ngram_size": 2}),
    ("greedy", {"min_new_tokens": 5}),
    ("beam", {"early_stopping": True}),
    ("beam", {"early_stopping": "never"}),
    ("beam", {"no_repeat_ngram_size": 2}),
    ("beam", {"length_penalty": 0.0}),
    ("beam sum", {"early_stopping": True}),
    ("beam full", {"early_stopping": False}),
    ("beam full", {"length_penalty": 1.0}),
)


def fault(case: cases.Case, model) -> str:
    """Return why a case would prove little, or ""."""
    texts, _ = generate(case, model, {})
    ended = [row[0][-1] == case.stop for row in texts]
    if all(ended) or not any(ended):
        return "all rows end alike"
    beams, _ = generate(case, model, cases.SETTINGS["beam"][0])
    if all(a[0] == b[0] for a, b in zip(texts, beams, strict=True)):
        return "beams are greedy"
    gap = min(least_gap(case, model, s) for s, _ in cases.SETTINGS.values())
    return "" if gap > MARGIN else f"a tie: {gap:.1e}"


def unnoticed(case: cases.Case, model) -> set[int]:
    """Return the CHANGES that leave all texts of a case as they are."""

    def texts(settings):
        return generate(case, model, settings)[0]

    return {
        i
        for i, (setting, change) in enumerate(CHANGES)
        if texts(cases.SETTINGS[setting][0])
        == texts(cases.SETTINGS[setting][0] | change)
    }


def least_gap(case: cases.Case, model, settings: dict) -> float:
    """Return the least distance of two candidates that a choice compares."""
    seen = []
    choose = type(model)._get_top_k_continuations

    def watch(accumulated_log_probs, **others):
        kept = others["beams_to_keep"]
        seen.extend(accumulated_log_probs.topk(kept + 1).values.diff().flatten())
        return choose(model, accumulated_log_probs, **others)

    model._get_top_k_continuations = watch
    out = _generate(case, model, settings)
    del model._get_top_k_continuations
    if "num_beams" not in settings:
        seen = [x for step in out.scores for x in step.topk(2).values.diff().flatten()]
    else:
        scores = out.sequences_scores.reshape(len(cases.LENGTHS), -1)
        seen.extend(scores.diff().flatten())
    return min(-float(x) for x in seen)


def fixture() -> dict:
    """Return what all cases and settings give, and with what."""
    import transformers

    out = {"transformers": transformers.__version__}
    for name, case in cases.CASES.items():
        model = their_model(case)
        out[name] = {"sha256": case.digest(), "prompts": case.prompts(), "settings": {}}
        for setting, (settings, _) in cases.SETTINGS.items():
            tokens, scores = generate(case, model, settings)
            written = {"tokens": tokens, "scores": scores}
            out[name]["settings"][setting] = written
    return out


def search(case: cases.Case, seeds: int) -> None:
    """Print (seed, stop) of cases without fault, and the CHANGES they do not notice."""
    for seed in range(seeds):
        model = their_model(dataclasses.replace(case, seed=seed))
        for stop in range(1, cases.VOCAB):
            one = dataclasses.replace(case, seed=seed, stop=stop)
            if not fault(one, model):
                print(
                    case.family, seed, stop, sorted(unnoticed(one, model)), flush=True
                )


def check() -> None:
    """Raise ValueError unless the cases prove what they are for."""
    left = {}
    for name, case in cases.CASES.items():
        model = their_model(case)
        if why := fault(case, model):
            raise ValueError(f"{name}, seed {case.seed}, stop {case.stop}: {why}")
        kind = case.model.architecture
        left[kind] = left.get(kind, set(range(len(CHANGES)))) & unnoticed(case, model)
    if any(left.values()):
        raise ValueError(f"nobody notices these of CHANGES: {left}")


def main() -> None:
    """Write the fixture, or print seeds that would do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--search", choices=list(cases.CASES), help="try 100 seeds")
    name = parser.parse_args().search
    if name:
        search(cases.CASES[name], 100)
        return
    check()
    cases.FIXTURE.parent.mkdir(exist_ok=True)
    cases.FIXTURE.write_text(json.dumps(fixture()) + "\n")


if __name__ == "__main__":
    main()
