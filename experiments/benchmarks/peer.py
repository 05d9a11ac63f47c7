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
from experiments.benchmarks import peer_models
from experiments.benchmarks import sides


def padded(rows, fill: int) -> torch.Tensor:
    """Return int64[B, longest] of ragged ids."""
    tensors = [torch.as_tensor(np.asarray(row), dtype=torch.int64) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, True, fill)


def classified(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return what DataCollatorWithPadding makes of a BERT tokenizer's output."""
    labels = torch.as_tensor([int(row.targets[0]) for row in rows])
    return _read(rows) | {"labels": labels}


def tagged(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return what DataCollatorForTokenClassification makes: a label at each token."""
    return _read(rows) | {
        "labels": padded([row.targets for row in rows], cases.IGNORED)
    }


def _read(rows):
    ids = padded([row.ids for row in rows], 0)
    return {
        "input_ids": ids,
        "attention_mask": padded([np.ones(len(row.ids)) for row in rows], 0),
        "token_type_ids": torch.zeros_like(ids),
    }


def continued(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return full rows; without padding there is no mask but the causal one."""
    ids = padded([row.ids for row in rows], 0)
    return {"input_ids": ids, "labels": ids}


def prompted(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return whole conversations with their mask; labels where a reply stands.

    Our rows have the next token as each one's target: the last one is read too here.
    """
    none = [cases.IGNORED]
    ids = [np.append(row.ids, max(row.targets[-1], 0)) for row in rows]
    return {
        "input_ids": padded(ids, 0),
        "attention_mask": padded([np.ones(len(row)) for row in ids], 0),
        "labels": padded([[*none, *row.targets] for row in rows], cases.IGNORED),
    }


def replied(rows: list[cases.Row]) -> dict[str, torch.Tensor]:
    """Return sources with their mask, and replies; the model shifts them."""
    return {
        "input_ids": padded([row.ids for row in rows], 0),
        "attention_mask": padded([np.ones(len(row.ids)) for row in rows], 0),
        "labels": padded([row.reply for row in rows], cases.IGNORED),
    }


# (family, head) -> rows as the model's arguments.
COLLATE = {
    ("bert", "lm"): tagged,
    ("bert", "classify"): classified,
    ("bert", "tag"): tagged,
    ("gpt2", "lm"): continued,
    ("t5", "lm"): replied,
}


def read_ids(path: str) -> list[cases.Row]:
    """Return the examples that real.save_ids wrote."""
    stored = np.load(path)
    ends = np.cumsum(stored["lengths"])[:-1]
    parts = (np.split(stored[name], ends) for name in ("ids", "targets"))
    return [cases.Row(*row) for row in zip(*parts, strict=True)]


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
        self.model = load(self.case, self.plan, self.case.head)
        self.model = self.model.to(self.device).train()
        self.optimizer = adamw(self.model)
        self.forward = torch.compile(self.model) if self.plan.compiled else self.model
        self.collate = COLLATE[self.case.family, self.case.head]
        if self.collate is continued and self.case.kind == "real":
            self.collate = prompted
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
            counts += _counts(batch, replies=self.case.source_length > 0)
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


def load(case, plan: cases.Plan, head: str = "lm"):
    """Return the model with every one of its parameters taken from the file.

    `case` is of training or of decoding: it has a family and a size.
    """
    arrays = safetensors.load_file(plan.weights)
    shape, table = peer_models.SHAPES[case.family]
    config = shape(cases.shape_of(case, plan.dtype), arrays[table].shape[0])
    if "classifier.weight" in arrays:
        config.num_labels = len(arrays["classifier.weight"])
    config._attn_implementation = plan.attention
    model = peer_models.CLASSES[case.family, head](config)
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


def _counts(batch, *, replies: bool) -> np.ndarray:
    """Return (slots, slots with a token, examples); labels are read where they reply."""
    ids, labels = batch["input_ids"], batch["labels"]
    slots, tokens = ids.numel(), int(batch.get("attention_mask", ids >= 0).sum())
    if replies:
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
