"""The peer's side of the translations: transformers on torch, from ids to ids."""

from __future__ import annotations

import time

import numpy as np
import torch
import transformers

from experiments.benchmarks import peer
from experiments.benchmarks import sides
from experiments.benchmarks import translation_plan


class Translating:
    """One split, translated again and again."""

    def setup(self, plan: dict) -> dict:
        """Load the model and the source ids; return how it will run."""
        self.plan = translation_plan.Plan(**plan)
        torch.set_num_threads(sides.cores())
        torch.set_float32_matmul_precision("highest")
        self.device = torch.device(self.plan.device)
        self.model = transformers.T5ForConditionalGeneration.from_pretrained(
            self.plan.checkpoint, attn_implementation="sdpa", dtype=torch.float32
        )
        self.model = self.model.to(self.device).eval()
        stored = np.load(self.plan.ids)
        ends = np.cumsum(stored["lengths"])[:-1]
        self.rows = np.split(stored["ids"], ends)
        self.start, self.pad, self.eos = (
            int(stored[key]) for key in ("start", "pad", "eos")
        )
        return peer.about(self.model)

    def _translate(self) -> list[list[int]]:
        """Return the tokens of each sentence, batches sorted by length."""
        order = np.argsort([len(row) for row in self.rows], kind="stable")
        out: list[list[int]] = [[] for _ in self.rows]
        for at in range(0, len(order), self.plan.batch):
            part = order[at : at + self.plan.batch]
            ids = peer.padded([self.rows[i] for i in part], self.pad)
            lengths = torch.as_tensor([len(self.rows[i]) for i in part])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            with torch.inference_mode():
                said = self.model.generate(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    do_sample=False,
                    num_beams=translation_plan.BEAMS,
                    length_penalty=1.0,
                    early_stopping=False,
                    max_new_tokens=translation_plan.NEW,
                    decoder_start_token_id=self.start,
                    pad_token_id=self.pad,
                    eos_token_id=self.eos,
                )
            for i, row in zip(part, said.cpu().tolist(), strict=True):
                special = (self.pad, self.eos)
                out[i] = [token for token in row[1:] if token not in special]
        return out

    def tokens(self) -> dict:
        """Return the first call's seconds, and the tokens of each sentence."""
        start = time.perf_counter()
        said = self._translate()
        return {"seconds": time.perf_counter() - start, "tokens": said}

    def run(self, seconds: float) -> dict:
        """Return the seconds of a call."""
        return sides.timed(self._translate, seconds)


def main() -> None:
    """Answer the parent until it closes the pipe."""
    transformers.logging.set_verbosity_error()
    translating = Translating()
    names = ("setup", "tokens", "run")
    sides.serve({name: getattr(translating, name) for name in names})


if __name__ == "__main__":
    main()
