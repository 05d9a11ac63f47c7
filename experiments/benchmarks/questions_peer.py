"""The peer's side of the answers: transformers on torch, the span rules in numpy."""

from __future__ import annotations

import dataclasses
import itertools
import time

import numpy as np
import torch
import transformers

from experiments.benchmarks import cases
from experiments.benchmarks import peer
from experiments.benchmarks import questions_cases
from experiments.benchmarks import sides


@dataclasses.dataclass(frozen=True)
class Windows:
    """All windows of all questions, in their order.

    Attributes:
        ids, types: a list of int lists, ragged.
        spans: the same of (first, end) characters of each token.
        question: int[n], which one a window is of.
    """

    ids: list
    types: list
    spans: list
    question: list


def best_spans(
    starts: np.ndarray, ends: np.ndarray, allowed: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (score, first, last) of the best span of each row.

    first and last are `allowed`, first <= last < first + longest; the score is
    -inf where there is none.

    Args:
        starts, ends: float[B, T]. allowed: bool[B, T].
    """
    a = np.where(allowed, starts.astype(np.float64), -np.inf)
    b = np.where(allowed, ends.astype(np.float64), -np.inf)
    rows = np.arange(len(a))
    score = np.full(len(a), -np.inf)
    first, last = np.zeros((2, len(a)), np.int64)
    for more in range(min(longest, a.shape[1])):
        sums = a[:, : a.shape[1] - more] + b[:, more:]
        at = sums.argmax(axis=1)
        found = sums[rows, at]
        better = found > score
        score = np.where(better, found, score)
        first, last = np.where(better, at, first), np.where(better, at + more, last)
    return score, first, last


class Answering:
    """One case, answered again and again."""

    def setup(self, plan: dict) -> dict:
        """Load the model and its tokenizer, float32; return how it will run."""
        self.plan = questions_cases.Plan(**plan)
        torch.set_num_threads(sides.cores())
        # Not tf32: both sides must give the same answers.
        torch.set_float32_matmul_precision("highest")
        self.case = cases.choose(self.plan.case, questions_cases.CASES)[0]
        self.device = torch.device(self.plan.device)
        folder = self.plan.checkpoint
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(
            folder, attn_implementation=self.plan.attention, dtype=torch.float32
        )
        self.model = self.model.to(self.device).eval()
        pairs = questions_cases.repeated(questions_cases.read(self.plan.data))
        self.given = list(itertools.islice(pairs, self.plan.questions))
        windows = self._windows()
        self.batches = list(self._batches(windows))
        return peer.about(self.model) | {
            "windows": len(windows.ids),
            "slots": sum(batch["input_ids"].numel() for _, batch in self.batches),
            "digest": questions_cases.digest(windows.ids),
        }

    def _windows(self) -> Windows:
        questions, contexts = zip(*self.given, strict=True)
        found = self.tokenizer(
            list(questions),
            list(contexts),
            truncation="only_second",
            max_length=self.case.length,
            stride=self.case.stride,
            return_token_type_ids=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        keys = ("input_ids", "token_type_ids", "offset_mapping")
        which = found["overflow_to_sample_mapping"]
        return Windows(*(found[key] for key in keys), which)

    def _batches(self, windows: Windows):
        """Yield (windows, arguments of the model): of like length, padded to the
        longest.
        """
        order = np.argsort([len(row) for row in windows.ids], kind="stable")
        for at in range(0, len(order), self.case.batch):
            part = order[at : at + self.case.batch]
            ids = peer.padded([windows.ids[i] for i in part], 0)
            lengths = torch.as_tensor([len(windows.ids[i]) for i in part])
            batch = {
                "input_ids": ids,
                "attention_mask": (
                    torch.arange(ids.shape[1]) < lengths[:, None]
                ).long(),
                "token_type_ids": peer.padded([windows.types[i] for i in part], 0),
            }
            yield part, batch

    def _logits(self, batch) -> tuple[np.ndarray, np.ndarray]:
        """Return float32[B, T] of starts and of ends."""
        with torch.inference_mode():
            said = self.model(**{k: v.to(self.device) for k, v in batch.items()})
        return said.start_logits.cpu().numpy(), said.end_logits.cpu().numpy()

    def _answer(self) -> list[dict]:
        """Return the best answer of each question: from texts to texts."""
        windows = self._windows()
        null = np.full(len(self.given), np.inf)
        best = np.full(len(self.given), -np.inf)
        places = np.zeros((len(self.given), 2), np.int64)
        for part, batch in self._batches(windows):
            starts, ends = self._logits(batch)
            spans = _padded_spans(windows, part, starts.shape[1])
            # Tokens of the context; special ones and padding are of no character.
            allowed = spans[..., 1] > spans[..., 0]
            allowed &= batch["token_type_ids"].numpy() == 1
            found = best_spans(starts, ends, allowed, questions_cases.LONGEST)
            nothing = starts[:, 0].astype(np.float64) + ends[:, 0]
            for i, k in enumerate(part):
                question, score = windows.question[k], found[0][i]
                null[question] = min(null[question], nothing[i])
                if score > best[question]:
                    best[question] = score
                    first, last = found[1][i], found[2][i]
                    places[question] = spans[i, first, 0], spans[i, last, 1]
        places[null - best > questions_cases.NO_ANSWER] = 0
        return [
            {"text": context[start:end], "start": start, "end": end}
            for (_, context), (start, end) in zip(
                self.given, places.tolist(), strict=True
            )
        ]

    def _forward(self) -> None:
        """Read all prepared batches with the model alone."""
        for _, batch in self.batches:
            self._logits(batch)

    def answers(self) -> dict:
        """Return the first call's answers and seconds."""
        start = time.perf_counter()
        said = self._answer()
        return {"seconds": time.perf_counter() - start, "answers": said}

    def run(self, part: str, seconds: float) -> dict:
        """Return the seconds of a call; as in questions_ours.Answering."""
        return sides.timed({"all": self._answer, "model": self._forward}[part], seconds)


def _padded_spans(windows: Windows, part: np.ndarray, length: int) -> np.ndarray:
    """Return int64[B, T, 2], zeros where a window has ended."""
    out = np.zeros((len(part), length, 2), np.int64)
    for i, k in enumerate(part):
        out[i, : len(windows.spans[k])] = windows.spans[k]
    return out


def main() -> None:
    """Answer the parent until it closes the pipe."""
    transformers.logging.set_verbosity_error()
    answering = Answering()
    names = ("setup", "answers", "run")
    sides.serve({name: getattr(answering, name) for name in names})


if __name__ == "__main__":
    main()
