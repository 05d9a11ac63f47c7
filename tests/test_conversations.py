"""Conversations that cannot be learned from, and texts that go together badly."""

import pytest
import runs

from lmtasks import api
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import chat
from lmtasks.tasks import seq2seq


def talk(*said):
    """Return a record of (role, text) messages."""
    return {"messages": [{"role": role, "content": text} for role, text in said]}


GOOD = talk(("user", "Hi."), ("assistant", "Hello."))
WRONG = {
    "begins with the assistant": talk(("assistant", "Hi."), ("user", "Hello.")),
    "turns 1 and 2 of the conversation are both the user's": talk(
        ("user", "Hi."), ("user", "Hello?"), ("assistant", "Yes.")
    ),
    "turns 2 and 3 of the conversation are both the assistant's": talk(
        ("system", "Be kind."),
        ("user", "Hi."),
        ("assistant", "Hello"),
        ("assistant", "."),
    ),
    "turn 1 of the conversation, the user's, is empty": talk(
        ("user", " \n"), ("assistant", "Hello.")
    ),
    "turn 2 of the conversation, the assistant's, is empty": talk(
        ("user", "Hi."), ("assistant", ""), ("user", "Hello?"), ("assistant", "Yes.")
    ),
    "turn 2 of the conversation, the assistant's, is empty.": talk(
        ("user", "Hi."), ("assistant", " ")
    ),
    "holds no turns": talk(("system", "Be kind.")),
}


@pytest.mark.parametrize("what", WRONG)
def test_such_a_conversation_is_malformed_and_named_by_its_line(tmp_path, what):
    path = runs.write_jsonl(tmp_path / "train.jsonl", [GOOD, WRONG[what]])
    options = sources.DataOptions(dir=str(tmp_path))
    with pytest.raises(ValueError) as error:
        sources.open_split(chat.TASK.source, "train", options, check=chat.example)
    said = str(error.value)
    assert said.startswith(f"{path}:2: ") and what in said
    assert "data.on_error=skip" in said and "\n" not in said


def test_they_are_left_out_and_counted_on_request(tmp_path):
    runs.write_jsonl(tmp_path / "train.jsonl", [*[GOOD] * 70, *WRONG.values()])
    options = sources.DataOptions(dir=str(tmp_path), on_error="skip")
    found = sources.open_split(chat.TASK.source, "train", options, check=chat.example)
    assert (len(found), found.skipped) == (70, len(WRONG))


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_a_prompt_that_alone_fills_the_context_loses_its_beginning(architecture):
    loaded = runs.untrained("chat", architecture, data__length=48)
    example = chat.example(talk(("user", "x" * 200 + "END"), ("assistant", "Yes.")))
    run = loaded.run
    row = run.objective.featurize(example, run.tokenizer)[0]
    assert row["cut"] > 0  # counted, and refused by data.on_long=raise
    key = "source" if architecture == "encoder_decoder" else "tokens"
    assert "END" in run.tokenizer.decode(row[key])
    learned = row["targets"][row["weights"] > 0]
    assert "Yes." in run.tokenizer.decode(learned)
    assert api.predict(loaded, [example])[0] is not None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"source": "a"}, "the field 'target' is missing"),
        ({"target": "a"}, "the field 'source' is missing"),
        ({"source": "a", "target": None}, "must be a string, but got None"),
    ],
)
def test_a_source_without_target_is_malformed(tmp_path, row, said):
    runs.write_jsonl(tmp_path / "train.jsonl", [{"source": "a", "target": "b"}, row])
    options = sources.DataOptions(dir=str(tmp_path))
    check = seq2seq.TASK.example
    with pytest.raises(ValueError, match=said):
        found = sources.open_split(seq2seq.TASK.source, "train", options, check=check)
        loaded = runs.untrained("seq2seq", "encoder_decoder")
        for record in found:
            loaded.run.objective.featurize(check(record), loaded.run.tokenizer)


def test_a_wrong_conversation_is_refused_at_inference_with_the_reason():
    row = WRONG["begins with the assistant"]
    with pytest.raises(ValueError, match="begins with the assistant"):
        api.read_input(examples.Turns, chat.TASK, row)
