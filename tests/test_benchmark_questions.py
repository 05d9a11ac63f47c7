"""The benchmark of answers does what it says: same windows, rules and answers."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import runs

from lmtasks.objectives import span
from lmtasks.objectives import span_search

ROOT = pathlib.Path(__file__).parents[1]
WORDS = tuple("abcdefghij")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ASKED = "answer/bert-tiny/24x64"


def _vocabulary(folder):
    """Return a WordPiece list: single letters."""
    pieces = [*SPECIALS, *WORDS]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return str(folder / "vocab.txt")


def _questions(folder):
    """Return a folder with files as SQuAD writes them; texts of several windows."""
    rng = np.random.default_rng(0)
    (folder / "squad").mkdir()
    for name in ("one", "two"):
        paragraphs = []
        for i in range(3):
            context = " ".join(rng.choice(WORDS, rng.integers(20, 120)))
            asked = [" ".join(rng.choice(WORDS, 5)) for _ in range(2)]
            answers = [{"text": context[:3], "answer_start": 0}]
            qas = [{"id": f"{i}{q}", "question": q, "answers": answers} for q in asked]
            paragraphs.append({"context": context, "qas": qas})
        data = {"data": [{"title": name, "paragraphs": paragraphs}]}
        (folder / "squad" / f"{name}.json").write_text(json.dumps(data))
    return str(folder / "squad")


def test_questions_are_read_in_order_and_again(tmp_path):
    cases = runs.benchmark("questions_cases")
    pairs = cases.read(_questions(tmp_path))
    assert len(pairs) == 12
    again = cases.repeated(pairs)
    assert [next(again) for _ in range(13)][12] == pairs[0]
    with pytest.raises(ValueError, match="no SQuAD file"):
        cases.read(str(tmp_path / "nowhere"))


def test_the_rules_are_those_of_the_product():
    cases, options = runs.benchmark("questions_cases"), span.Options()
    assert cases.LONGEST == options.max_answer
    assert cases.NO_ANSWER == options.no_answer
    case = runs.benchmark("cases").choose("", cases.CASES)[0]
    assert case.name == "answer/bert-small/1000x384"
    assert case.stride == options.stride


def test_the_peers_search_finds_the_best_span():
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    best_spans = runs.benchmark("questions_peer").best_spans
    rng = np.random.default_rng(0)
    starts, ends = rng.standard_normal((2, 20, 17))
    allowed = rng.random((20, 17)) < 0.6
    allowed[3] = False
    score, first, last = best_spans(starts, ends, allowed, 5)
    for i in range(20):
        found = span_search.best_spans(
            starts[i], ends[i], longest=5, count=1, allowed=allowed[i]
        )
        if i == 3:
            assert found == [] and score[i] == -np.inf
            continue
        assert found == [(pytest.approx(score[i]), first[i], last[i])]
    assert torch is not None


def test_an_answer_that_differs_stops_the_run_unless_it_is_a_tie():
    check = runs.benchmark("questions").check
    mine = {"text": "a", "start": 0, "end": 1}
    peer = {"text": "b", "start": 2, "end": 3}
    near = mine | {"n_best": [[0, 1, 0.5], [2, 3, 0.499999]]}
    assert check([near], [mine]) == []
    (said,) = check([near], [peer])
    assert "'a'" in said and "'b'" in said
    far = mine | {"n_best": [[0, 1, 0.5], [2, 3, 0.4999]]}
    for wrong in (far, mine | {"n_best": [[0, 1, 1.0]]}):
        with pytest.raises(ValueError, match="question 0.*do not do the same"):
            check([wrong], [peer])


def test_answers_have_variety_and_lie_in_several_windows(tmp_path):
    """The same answer to every question would prove nothing of the peer's."""
    ours, cases = runs.benchmark("questions_ours"), runs.benchmark("questions_cases")
    plan = cases.Plan(
        ASKED,
        data=_questions(tmp_path),
        vocab=_vocabulary(tmp_path),
        work=str(tmp_path / "work"),
        bucket=32,
    )
    answering = ours.Answering()
    facts = answering.setup(vars(plan))
    assert facts["windows"] >= 24 > facts["questions"] > 5
    assert {batch["tokens"].shape[1] for batch in answering.batches} <= {32, 64}
    said = answering.answers()["answers"]
    assert len(said) == facts["questions"]
    assert len({one["text"] for one in said if one["text"]}) > 3
    assert answering.run("model", seconds=0)["calls"] == 1


def test_the_row_of_answers_is_of_medians():
    questions, cases = runs.benchmark("questions"), runs.benchmark("questions_cases")
    case = runs.benchmark("cases").choose(ASKED, cases.CASES)[0]
    ours = {"questions": 5, "windows": 24, "tokens": 100, "slots": 150}
    found = {
        ("ours", "all"): [2.0, 3.0, 9.0], ("peer", "all"): [6.0, 6.0, 1.0],
        ("ours", "model"): [1.0], ("peer", "model"): [4.0],
    }  # fmt: skip
    row = questions.row(case, {"ours": ours, "peer": {"slots": 120}}, found)
    assert row["windows_per_s"] == 8.0 and row["peer_windows_per_s"] == 4.0
    assert (row["ratio"], row["model_ratio"]) == (2.0, 4.0)
    assert (row["pad"], row["peer_pad"]) == (1.5, 1.2)
    row = questions.row(
        case, {"ours": ours}, {k: v for k, v in found.items() if k[0] == "ours"}
    )
    assert row["ratio"] is row["peer_pad"] is None


def _answered(folder, *flags):
    """Return (row, standard output) of the command on a few texts."""
    out = folder / "rows.jsonl"
    command = [sys.executable, "-m", "experiments.benchmarks.questions"]
    command += [f"--json={out}", f"--cases={ASKED}", "--blocks=2", "--seconds=0"]
    command += [f"--data={_questions(folder)}", f"--vocab={_vocabulary(folder)}"]
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["case"] == ASKED and row["windows"] >= 24
    assert row["windows_per_s"] > 0 and row["first_s"] > 0
    assert row["case"] in done.stdout
    return row, done.stdout


@pytest.mark.process
def test_tiny_answers_from_the_command_line(tmp_path):
    row, said = _answered(tmp_path)
    assert row["ratio"] is row["peer_windows_per_s"] is row["same"] is None
    assert set(row["blocks"]) == {"ours all", "ours model"}
    assert "first call" in said


@pytest.mark.slow
def test_tiny_answers_are_the_peers(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    row, _ = _answered(tmp_path, "--peer=torch")
    assert row["same"] + row["ties"] == row["questions"]
    assert row["same"] > 5
    assert row["ratio"] == row["windows_per_s"] / row["peer_windows_per_s"]


def test_wrong_flags_are_one_sentence(tmp_path, capsys):
    main = runs.benchmark("questions").main
    where = [f"--data={tmp_path}", "--vocab=x"]
    assert main([*where, "--cases=answer/bert-smal/1000x384"]) == 2
    assert "did you mean 'answer/bert-small/1000x384'" in capsys.readouterr().err
    assert main([*where, "--blocks=0"]) == 2
    assert "--blocks" in capsys.readouterr().err
