"""Write the tables of experiments/results/README.md from the recorded lines.

python experiments/results/table.py
"""

from __future__ import annotations

import collections
import json
import pathlib
import re
import statistics

HERE = pathlib.Path(__file__).parent
HEAD = """# Results on real data

One json line per run in the files beside this one; this page is made of them by
`python experiments/results/table.py`. `$DATA` is the folder of the data sets, `$RUNS` the
folder of work directories. Settings were chosen on validation, seeds 0, 1 and 2 were
fixed beforehand. `python experiments/results/run.py FAMILY --data=$DATA` runs what is
missing (the stories: one setting each, not searched for; `$WEIGHTS` is a folder with
stories260K, given by --weights), and `--again=RUN` repeats a row and compares it bit for
bit. `python experiments/results/baselines.py FAMILY --data=$DATA` computes what a person
would try first; its docstring says what each is. Their wall seconds are of a busy machine.
[written.md](written.md) has conversations and texts, made by `shown.py`.

The test split was read once, but: again for baselines where validation had chosen the
largest C, after larger ones were added, and when the sentences of `science` were made as
many to keep as to drop; and for first runs of SST-2, SICK, Banking77, AG News and STS
whose class head read the first token, and which were dropped when validation had chosen
another dropout and number of steps.

`scratch` and `mlm` are four layers of width 256 (`configs/understand.py`) with the same
tokenizer and settings: from new parameters, and from the masked language model of the
family `mlm`, which is pretrained here. What has no mean has one seed. The encoder's shape,
one learning rate for all tasks, and the dropout were looked at on validation (language,
Banking77, EWT, SICK, SST-2; seed 0); the steps are what two to five minutes on two quiet
cores allow. Two ran side by side, some beside other work, so that wall seconds are two to
three times that.
"""
# family -> the metrics of its table, those there are; () = CLASSES.
CLASSES = ("accuracy", "f1_macro", "mcc", "validation_accuracy", "loss")
LANGUAGE = ("accuracy", "loss", "perplexity", "bits_per_byte", "word_perplexity")
MASKED = ("perplexity", "accuracy", "loss")
WRITTEN = ("bleu", "chrf", "ter", "meteor", "perplexity", "loss")
SUMMARIES = (
    "rouge1", "rouge2", "rougeL", "rouge1_low", "rouge1_high", "lead_rouge1",
    "lead_rougeL", "textrank_rouge1", "oracle_rouge1", "oracle_rougeL",
    "perplexity", "loss",
)  # fmt: skip
REASONING = ("answer_accuracy", "unparsed", "perplexity", "loss")
ANSWERS = (
    "exact_match", "f1", "has_answer_f1", "no_answer_f1", "validation_f1", "tuned",
    "loss",
)  # fmt: skip
SHOWN = {
    "lm": LANGUAGE,
    "shakespeare": LANGUAGE,
    "stories": LANGUAGE,
    "mlm": MASKED,
    "domain": MASKED,
    "sts": ("pearson", "spearman", "mse", "loss"),
    "ewt": ("token_accuracy", "unknown_words", "loss"),
    "wnut17": (
        "strict_f1", "strict_precision", "strict_recall", "lenient_f1",
        "token_accuracy", "missed", "loss",
    ),
    "xquad": ANSWERS,
    "subjqa": ANSWERS,
    "adversarial_qa": ANSWERS,
    "multi30k": WRITTEN,
    "transfer": WRITTEN,
    "spans": ("perplexity", "accuracy", "loss"),
    "summaries": SUMMARIES,
    "sums": REASONING,
    "questions": REASONING,
    "instructions": ("perplexity", "accuracy", "loss"),
    "programs": (
        "pass@1", "pass@10", "exact_match", "valid_syntax", "equal_results", "loss",
    ),
    "slots": (
        "slot_f1", "slot_precision", "slot_recall", "exact_record", "valid_json", "loss",
    ),
}  # fmt: skip
NOTES = {
    "multi30k": "English to German from scratch, one SentencePiece vocabulary of 6,000 "
    "for both; `greedy` is the same model. Beam search is the task's own: four beams, "
    "GNMT's length penalty of .6. On raw text, "
    "`nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0`. One run after the "
    "other on two cores that did some other work meanwhile; the seconds are of training "
    "(about ten epochs: 3,200 updates of some 1,530 target tokens and 5,400 of 850), a "
    "pause of the decoder's run left out, or of the evaluation. Which of the two writes "
    "better is not told by one seed each, and a decoder's smaller batches give it more "
    "updates.",
    "adversarial_qa": "484 questions to learn from, 58 to test: one question is 1.7 "
    "points. Values in percent.",
    "architectures": "From scratch. SST-2 in the shape of configs/sst2.py (2 layers of "
    "width 128, three seeds), the others in four layers of width 256; an "
    "encoder-decoder has as many on each side.",
    "curve": "Accuracy on the whole test, from the first rows of the training file, "
    "which is shuffled. `mlm` starts from the masked language model, so does "
    "`augmented`, with two changed copies of each row (words left out, swapped, filled "
    "in by that model). One seed, three where all rows are learned from without copies.",
    "domain": "The masked language model before and after 400 steps on abstracts "
    "(Cranfield's documents, SciTLDR's sources): `in` is on held-out abstracts, `out` "
    "on WikiText-2's test. The masked places are the same before and after.",
    "instructions": "Perplexity of the replies of held-out conversations, before and "
    "after 300 updates of some 3,000 tokens (LIMA: 829 conversations, Alpaca 799, SGD "
    "2,175; longer ones are cut at 256 tokens and counted). `stories` is the stories' "
    "model, 260,000 parameters and 512 pieces; `ours` is `lm-0`, 4.2 million and 4,000 "
    "pieces: perplexities of different vocabularies do not compare. "
    "[written.md](written.md) has a conversation with five of them. The two cores did "
    "other work meanwhile.",
    "mlm": "WikiText-2 and C4 (about 530,000 words) by a WordPiece vocabulary of 8,000; "
    "tested on WikiText-2, with 30% of its tokens hidden as in training.",
    "programs": "MBPP from scratch on its few hundred programs: ten samples of each of the "
    "250 problems of test, run against their tests in the jail. Nothing passes, an eighth "
    "is valid Python; the references, scored the same way, pass all (250 of 250).",
    "questions": "Problems in words from scratch, four layers of width 256: the form of a "
    "solution is learned, sums are not. Run end to end for the figure alone.",
    "rte": "Trained on RTE-1 dev, RTE-2 dev and test; tested on RTE-1 test.",
    "spans": "Span corruption (15%, spans of 3) on WikiText-2 and C4 for 1,000 updates; "
    "tested on WikiText-2's spans. The packed rows are 99% full. Half of the time the "
    "two cores did other work.",
    "science": "The task of the domain: of two sentences of a SciTLDR abstract, which "
    "does its summary repeat? Sentences are classified one by one; half are right. "
    "From the masked language model before (`mlm`) and after (`adapted`) the domain's "
    "text.",
    "sst2": "`sst2-encoder`, `-decoder` and `-encoder_decoder` are two layers of width "
    "128 with a tokenizer of their own (`configs/sst2.py`).",
    "sts": "`sts-scratch` and `-mlm` read both sentences in one row and give a number; "
    "`sts-embed` reads each alone and gives the cosine of their vectors.",
    "subjqa": "Electronics and restaurants together; of the questions of test 60% have "
    "no answer; `tuned` is the threshold of none, best on validation. Records whose "
    "answer is not in the review are left out (18 of 1,251 in test). Values in percent.",
    "sums": "Toy stories of numbers (two to four changes), 500 of test; a decoder of four "
    "layers of width 128 by characters. `toy_sums` answers at once, `toy_steps` writes the "
    "sums first. `vote`: the commonest answer of eight texts at temperature .7, of which "
    "65% are right one by one (with steps): the vote mends most of what the temperature "
    "costs, and greedy decoding stays ahead. One seed of three. The seconds are of "
    "training beside other work.",
    "summaries": "SciTLDR's abstracts in a sentence and AESLC's mails in a subject, 300 "
    "updates of six at one learning rate: `spans` starts from the model of span "
    "corruption. The start pays in perplexity and not in ROUGE: SciTLDR is one sentence "
    "of common words, AESLC one word for all mails or none, far below the first "
    "sentence (`lead`). The two cores did other work meanwhile.",
    "transfer": "English to French from the 29,000 captions for 1,000 updates (3 epochs), then "
    "English to German from the first 1,000 lines for 300, beside the same from scratch: "
    "one vocabulary of the three languages, one learning rate. Both fit their 1,000 "
    "lines soon; the step with the least validation loss is tested, 120 from French and "
    "180 from scratch. One seed.",
    "wnut17": "`btc`: with 3,661 sentences of the Broad Twitter Corpus beside the 3,394 "
    "of WNUT17, those without an organization, persons and locations renamed.",
    "xquad": "829 questions to learn from, 130 to test. Values in percent.",
}
# task -> (metric, {architecture: group of runs}, baseline).
ARCHITECTURES = {
    "SST-2": (
        "accuracy",
        ("sst2-encoder", "sst2-decoder", "sst2-encoder_decoder"),
        "sst2-bag-of-words",
    ),
    "SICK": (
        "accuracy",
        ("sick-scratch", "sick-decoder", "sick-encoder_decoder"),
        "sick-bag-of-words",
    ),
    "WNUT17": (
        "strict_f1",
        ("wnut17-scratch", "wnut17-decoder", "wnut17-encoder_decoder"),
        "wnut17-most-frequent-tag",
    ),
}
# rows of Banking77 -> what its runs' names begin with.
CURVE = {
    "50": "banking77-50",
    "200": "banking77-200",
    "1,000": "banking77-1000",
    "all 9,003": "banking77",
}
WAYS = ("bag-of-words", "scratch", "mlm", "augmented")


def rows_of(path: pathlib.Path) -> list[dict]:
    """Return the recorded rows of a family."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def group_of(run: str) -> str:
    """Return the run's name without its seed, a last number of one digit."""
    return re.sub(r"-\d$", "", run)


def grouped(rows: list[dict]) -> dict[str, list[dict]]:
    """Return {name without seed: rows}."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[group_of(row["run"])].append(row)
    return groups


def table(rows: list[dict], family: str = "") -> list[str]:
    """Return a Markdown table: a line per run, and mean and deviation over seeds."""
    wanted = SHOWN.get(family, CLASSES)
    names = [n for n in wanted if any(n in row["metrics"] for row in rows)]
    lines = [f"| run | {' | '.join(names)} | wall s |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = [_cell(row["metrics"].get(name)) for name in names]
        lines.append(f"| {row['run']} | {' | '.join(cells)} | {row['wall_seconds']} |")
    for group, members in grouped(rows).items():
        if len(members) < 2:
            continue
        cells = [_spread([m["metrics"].get(name) for m in members]) for name in names]
        seconds = statistics.mean(m["wall_seconds"] for m in members)
        lines.append(f"| **{group}, mean** | {' | '.join(cells)} | {seconds:.1f} |")
    return lines


def _cell(value) -> str:
    return "" if value is None else f"{value:.4f}"


def _spread(values) -> str:
    """Return mean and deviation; the value itself where there is one."""
    if not values or any(v is None for v in values):
        return ""
    if len(values) == 1:
        return _cell(values[0])
    return f"{statistics.mean(values):.4f} +- {statistics.stdev(values):.4f}"


def _value(groups: dict[str, list[dict]], name: str, metric: str) -> str:
    return _spread([row["metrics"].get(metric) for row in groups.get(name, ())])


def architectures(groups: dict[str, list[dict]]) -> list[str]:
    """Return one table of three tasks on three architectures."""
    lines = [
        "| task | metric | encoder | decoder | encoder-decoder | baseline |",
        "|---|---|---|---|---|---|",
    ]
    for task, (metric, names, baseline) in ARCHITECTURES.items():
        cells = [_value(groups, name, metric) for name in (*names, baseline)]
        lines.append(f"| {task} | {metric} | {' | '.join(cells)} |")
    return lines


def curve(groups: dict[str, list[dict]]) -> list[str]:
    """Return Banking77's accuracy by the number of rows that are learned from."""
    lines = [f"| rows | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 1) + "|"]
    for rows, name in CURVE.items():
        cells = [_value(groups, f"{name}-{way}", "accuracy") for way in WAYS]
        lines.append(f"| {rows} | {' | '.join(cells)} |")
    return lines


def page(families: dict[str, list[dict]]) -> str:
    """Return the README of {family: rows}."""
    parts = [HEAD]
    groups = grouped([row for rows in families.values() for row in rows])
    parts += [
        "## Three architectures",
        "",
        NOTES["architectures"],
        "",
        *architectures(groups),
        "",
        "## Learning curve of Banking77",
        "",
        NOTES["curve"],
        "",
        *curve(groups),
        "",
    ]
    for family, rows in families.items():
        parts += [f"## {family}", ""]
        parts += [NOTES[family], ""] if family in NOTES else []
        parts += [*table(rows, family), ""]
        parts += ["Commands, of the first seed:", ""]
        first = {_key(row): row["command"] for row in reversed(rows)}
        parts += [f"- `{first[key]}`" for key in reversed(first)]
        parts += [""]
    return "\n".join(parts)


def _key(row: dict) -> str:
    """Return what rows have in common that one command is shown for."""
    baseline = "baselines" in row["command"]
    return row["command"] if baseline else group_of(row["run"])


def write() -> None:
    """Write README.md."""
    families = {path.stem: rows_of(path) for path in sorted(HERE.glob("*.jsonl"))}
    (HERE / "README.md").write_text(page(families))


if __name__ == "__main__":
    write()
