"""The peer's side of the table: transformers on torch, in a process of its own."""

from __future__ import annotations

import itertools
import time

import numpy as np
import torch
import transformers
from safetensors import torch as safetensors
from transformers import trainer_pt_utils

from experiments.benchmarks import cases
from experiments.benchmarks import sides
from lmtasks.models.config import TransformerConfig

# What transformers' loss leaves out.
IGNORED = -100


def bert_config(cfg: TransformerConfig, vocab: int) -> transformers.BertConfig:
    """Return the shape as transformers says it."""
    return transformers.BertConfig(
        vocab_size=vocab,
        hidden_size=cfg.width,
        num_hidden_layers=cfg.layers,
        num_attention_heads=cfg.attention.heads,
        intermediate_size=cfg.hidden,
        max_position_embeddings=cfg.positions.size,
        layer_norm_eps=cfg.norm.eps,
        hidden_dropout_prob=cfg.dropout,
        attention_probs_dropout_prob=cfg.attention_dropout,
        num_labels=len(cases.LABELS),
    )


def gpt2_config(cfg: TransformerConfig, vocab: int) -> transformers.GPT2Config:
    """Return the shape as transformers says it."""
    return transformers.GPT2Config(
        vocab_size=vocab,
        n_embd=cfg.width,
        n_layer=cfg.layers,
        n_head=cfg.attention.heads,
        n_positions=cfg.positions.size,
        layer_norm_epsilon=cfg.norm.eps,
        embd_pdrop=cfg.dropout,
        resid_pdrop=cfg.dropout,
        attn_pdrop=cfg.attention_dropout,
        use_cache=False,
    )


def t5_config(cfg: TransformerConfig, vocab: int) -> transformers.T5Config:
    """Return the shape as transformers says it."""
    return transformers.T5Config(
        vocab_size=vocab,
        d_model=cfg.width,
        d_kv=cfg.head_dim,
        d_ff=cfg.hidden,
        num_layers=cfg.layers,
        num_heads=cfg.attention.heads,
        layer_norm_epsilon=cfg.norm.eps,
        dropout_rate=cfg.dropout,
        feed_forward_proj=cfg.activation,
        decoder_start_token_id=0,
        use_cache=False,
    )


# family -> (shape, model, its token table).
MODELS = {
    "bert": (
        bert_config,
        transformers.BertForSequenceClassification,
        "bert.embeddings.word_embeddings.weight",
    ),
    "gpt2": (gpt2_config, transformers.GPT2LMHeadModel, "transformer.wte.weight"),
    "t5": (t5_config, transformers.T5ForConditionalGeneration, "shared.weight"),
}


def padded(rows, fill: int) -> torch.Tensor:
    """Return int64[B, longest] of ragged ids."""
    tensors = [torch.as_tensor(np.asarray(row), dtype=torch.int64) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, True, fill)


def classified(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return what DataCollatorWithPadding makes of a BERT tokenizer's output."""
    ids = padded([row.ids for row in rows], 0)
    mask = padded([np.ones(len(row.ids)) for row in rows], 0)
    labels = torch.as_tensor([int(row.label) for row in rows])
    types = torch.zeros_like(ids)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
        "labels": labels,
    }


def continued(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return full rows; without padding there is no mask but the causal one."""
    ids = padded([row.ids for row in rows], 0)
    return {"input_ids": ids, "labels": ids}


def replied(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return sources with their mask, and replies; the model shifts them."""
    return {
        "input_ids": padded([row.ids for row in rows], 0),
        "attention_mask": padded([np.ones(len(row.ids)) for row in rows], 0),
        "labels": padded([row.reply for row in rows], IGNORED),
    }


COLLATE = {"bert": classified, "gpt2": continued, "t5": replied}


def read_ids(path: str) -> list[cases.Row]:
    """Return the examples that real.save_ids wrote."""
    stored = np.load(path)
    ends = np.cumsum(stored["lengths"])
    parts = np.split(stored["ids"], ends[:-1])
    return [
        cases.Row(ids, int(label))
        for ids, label in zip(parts, stored["labels"], strict=True)
    ]


class Training:
    """One case, trained step by step."""

    def setup(self, plan: dict) -> dict:
        """Load the weights, make the optimizer; return how it will run."""
        self.plan = cases.Plan(**plan)
        torch.set_num_threads(sides.cores())
        self.device = torch.device(self.plan.device)
        # On a GPU jax multiplies float32 in tf32: so does the peer then.
        torch.set_float32_matmul_precision(
            "high" if self.device.type == "cuda" else "highest"
        )
        self.case = cases.choose(self.plan.case)[0]
        self.model = load(self.case, self.plan).to(self.device).train()
        self.optimizer = adamw(self.model)
        self.forward = torch.compile(self.model) if self.plan.compiled else self.model
        self.collate = COLLATE[self.case.family]
        self._read()
        return about(self.model) | {"compiled": self.plan.compiled}

    def _read(self):
        if self.case.kind == "step":
            vocab = self.model.config.vocab_size
            fixed = self._place(self.collate(cases.rows_of(self.case, vocab)))
            self.batches = itertools.repeat(fixed)
            return
        rows, size = read_ids(self.plan.ids), self.case.examples
        self.first = rows[: cases.CHECKED]
        generator = torch.Generator().manual_seed(0)
        sampler = torch.utils.data.RandomSampler(rows, generator=generator)
        if self.plan.side == "grouped":
            lengths = [len(row.ids) for row in rows]
            sampler = trainer_pt_utils.LengthGroupedSampler(
                size, lengths=lengths, generator=generator
            )
        loader = torch.utils.data.DataLoader(
            rows, size, sampler=sampler, collate_fn=self.collate
        )
        epochs = itertools.chain.from_iterable(itertools.repeat(loader))
        self.batches = map(self._place, epochs)

    def _place(self, batch):
        return {k: v.to(self.device) for k, v in batch.items()}

    def _loss(self, batch):
        mixed = self.plan.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            return self.forward(**batch).loss

    def check(self) -> dict:
        """Return the loss before the first step, on the examples both sides read."""
        with torch.no_grad():
            loss = self._loss(self._place(self.collate(self.first)))
        return {"losses": [loss.item()]}

    def _step(self):
        batch = next(self.batches)
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), cases.CLIP_NORM, foreach=True
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach(), batch

    def run(self, warm: int, steps: int, seconds: float) -> dict:
        """Return the time of `steps` steps; as in ours.Training."""
        for _ in range(warm):
            self._step()
        wait(self.device)
        losses, counts = [], np.zeros(3, np.int64)
        start = time.perf_counter()
        while len(losses) < steps:
            if losses and time.perf_counter() - start > seconds:
                break
            loss, batch = self._step()
            losses.append(loss)
            counts += _counts(batch)
        wait(self.device)
        elapsed = time.perf_counter() - start
        slots, tokens, examples = counts.tolist()
        return {
            "seconds": elapsed,
            "losses": [loss.item() for loss in losses],
            "slots": slots,
            "tokens": tokens,
            "examples": examples,
        }

    def memory(self) -> dict:
        """Return the peak memory in MiB, of a GPU where there is one."""
        if self.device.type == "cuda":
            return {"peak_mb": torch.cuda.max_memory_allocated() / 2**20}
        return {"peak_mb": sides.peak_memory()}


def load(case: cases.Case, plan: cases.Plan):
    """Return the model with every one of its parameters taken from the file."""
    arrays = safetensors.load_file(plan.weights)
    shape, kind, table = MODELS[case.family]
    config = shape(cases.shape_of(case, plan.dtype), arrays[table].shape[0])
    config._attn_implementation = plan.attention
    model = kind(config)
    missing, unexpected = model.load_state_dict(arrays, strict=False)
    model.tie_weights()
    # The file has tied weights once.
    assert not unexpected and set(missing) <= set(model._tied_weights_keys or ())
    return model


def about(model) -> dict:
    """Return what a model runs with, and its size."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "attention": model.config._attn_implementation,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def wait(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def adamw(model) -> torch.optim.AdamW:
    """Return fused AdamW that decays what ours does: matrices and tables."""
    groups = {True: [], False: []}
    for name, p in model.named_parameters():
        groups[p.ndim > 1 and "relative_attention_bias" not in name].append(p)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": cases.WEIGHT_DECAY},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=cases.LEARNING_RATE,
        fused=True,
    )


def _counts(batch) -> np.ndarray:
    """Return (slots, slots with a token, examples)."""
    ids, labels = batch["input_ids"], batch["labels"]
    slots, tokens = ids.numel(), int(batch.get("attention_mask", ids >= 0).sum())
    if "attention_mask" in batch and labels.ndim > 1:
        slots, tokens = slots + labels.numel(), tokens + int((labels >= 0).sum())
    return np.asarray([slots, tokens, len(ids)], np.int64)


def main() -> None:
    """Answer the parent until it closes the pipe."""
    transformers.logging.set_verbosity_error()
    training = Training()
    names = ("setup", "check", "run", "memory")
    sides.serve({name: getattr(training, name) for name in names})


if __name__ == "__main__":
    main()
