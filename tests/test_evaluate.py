"""What an evaluation measures is known before any training."""

import numpy as np
import pytest
import runs

from lmtasks.training import evaluate


@pytest.mark.parametrize(
    ("task", "architecture", "names"),
    [
        ("toy_choice", "decoder", {"accuracy", "acc_norm"}),
        ("toy_labelled", "encoder", {"accuracy", "ece", "brier"}),
        ("toy_labelled", "decoder", {"accuracy", "ece", "brier"}),
        ("toy_span", "encoder", {"exact_match", "f1"}),
        ("toy_tagged", "encoder", {"strict_f1", "lenient_f1", "token_accuracy"}),
        ("toy_pair", "encoder", {"recall@1", "mrr"}),
    ],
)
def test_the_best_step_may_be_chosen_by_every_metric(task, architecture, names):
    one = runs.untrained(task, architecture, eval__limit=8, data__length=64)
    split = evaluate.read_split(one.run, "validation", predict=True)
    found = evaluate.Evaluator(one.run, one.mesh).names(one.params, split)
    assert names <= set(found)


def test_thresholds_of_no_answer_may_choose_the_best_step(tmp_path, capsys):
    rows = [
        {"question": "who", "context": "Mira sings", "answer": answer}
        for answer in ("Mira", "")
    ]
    for split in ("train", "validation"):
        runs.write_jsonl(tmp_path / f"{split}.jsonl", rows * 8)
    argv = ("train", "--config=own:extractive_qa", f"--workdir={tmp_path / 'qa'}")
    where = [f"--config.data.dir={tmp_path}", "--config.tokenizer.kind=byte"]
    best = ["--config.eval.best=best_f1", "--config.eval.mode=max"]
    runs.good(capsys, *argv, *where, *best, *runs.settings())
    found = [r for r in runs.rows(tmp_path / "qa") if r["split"] == "validation"]
    assert found and all("best_f1_thresh" in row for row in found)


def test_texts_that_end_at_the_limit_are_counted_and_said(tmp_path, capsys):
    work = f"--workdir={tmp_path / 'sums'}"
    flags = runs.settings(
        decode__max_tokens=5, eval__limit=6, data__length=128, data__limit=16,
        train__steps=2, decode__texts=2, decode__temperature=1.0,
    )  # fmt: skip
    argv = ("train", "--config=write:toy_sums,decoder", work)
    out = runs.good(capsys, *argv, *flags, "--config.eval.predict=True")
    assert "of 12 texts end at decode.max_tokens=5" in out
    out = runs.good(capsys, "eval", work)
    assert "of 12 texts end at decode.max_tokens=5" in out
    assert "texts end" not in runs.good(
        capsys, "eval", work, "--config.eval.predict=False"
    )


def test_a_text_is_cut_unless_a_stop_id_or_nothing_is_its_last_token():
    one = runs.untrained("toy_turns", "decoder", data__length=64)
    evaluator = evaluate.Evaluator(one.run, one.mesh)
    stop = one.run.decode.stop_ids[0]
    evaluator._count(np.array([[[5, 6, 7], [5, 6, stop], [5, stop, -1]]]))
    assert evaluator.remark().startswith("1 of 3 texts end at decode.max_tokens=")
    evaluator.cut = 0
    assert evaluator.remark() == ""
