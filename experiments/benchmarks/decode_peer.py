"""The peer's side of the decoding table: transformers' `generate`, in a process."""

from __future__ import annotations

import torch
import transformers

from experiments.benchmarks import cases
from experiments.benchmarks import decode_cases
from experiments.benchmarks import peer
from experiments.benchmarks import sides


class Writing:
    """One case, written again and again."""

    def setup(self, plan: dict) -> dict:
        """Load the weights, float32; return how it will run."""
        plan = cases.Plan(**plan)
        torch.set_num_threads(sides.cores())
        # Not tf32: both sides must write the same tokens.
        torch.set_float32_matmul_precision("highest")
        torch.manual_seed(0)
        self.case = cases.choose(plan.case, decode_cases.CASES)[0]
        self.device = torch.device(plan.device)
        self.model = peer.load(self.case, plan).to(self.device).eval()
        self.model.generation_config = settings_of(self.case)
        vocab = self.model.config.vocab_size
        ids = torch.from_numpy(decode_cases.prompts_of(self.case, vocab)).long()
        ids = ids.to(self.device)
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return peer.about(self.model)

    def cast(self, dtype: str) -> dict:
        """Make the weights and the cache of another dtype."""
        self.model = self.model.to(getattr(torch, dtype))
        return {}

    def _write(self) -> torch.Tensor:
        with torch.inference_mode():
            out = self.model.generate(**self.batch)
        peer.wait(self.device)
        return out[:, -self.case.new :]

    def tokens(self) -> dict:
        """Return the tokens [B][new] of each row."""
        return {"tokens": self._write().tolist()}

    def run(self, seconds: float) -> dict:
        """Return the seconds of a call; as in decode_ours.Writing."""
        return sides.timed(self._write, seconds)


def settings_of(case: decode_cases.Case) -> transformers.GenerationConfig:
    """Return how `generate` writes a case: all its tokens, no end before.

    They take the place of the model's own, which would end a text.
    """
    return transformers.GenerationConfig(
        **decode_cases.PEER_METHODS[case.method],
        max_new_tokens=case.new,
        min_new_tokens=case.new,
        eos_token_id=None,
        pad_token_id=0,
        decoder_start_token_id=0,
        use_cache=True,
    )


def main() -> None:
    """Answer the parent until it closes the pipe."""
    transformers.logging.set_verbosity_error()
    writing = Writing()
    names = ("setup", "cast", "tokens", "run")
    sides.serve({name: getattr(writing, name) for name in names})


if __name__ == "__main__":
    main()
