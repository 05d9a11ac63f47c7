"""A conversation: what was said stays read, and is what a fresh reading would be."""

import dataclasses
import functools
import io
import json
import sys

import jax
import numpy as np
import pytest
import runs
import tiny

from lmtasks import builder
from lmtasks import schema
from lmtasks.cli import chat as verb
from lmtasks.data import chat
from lmtasks.data import templates
from lmtasks.training import parallel
from lmtasks.training import talk
from lmtasks.training import writing

LINES = ("where is the bus", "and the boat", "what is it called", "is it far")


@functools.cache
def loaded(template="chatml", architecture="decoder", scale=3, **keys):
    """Return a run with drawn parameters; `__` stands for a dot."""
    c = schema.load(f"toy:toy_turns,{architecture}")
    c.prompt.template, c.tokenizer.kind = template, "byte"
    small = {"data__length": 256, "decode__max_tokens": 10, "model__width": 32,
             "model__layers": 2, "model__mlp": 64}  # fmt: skip
    for key, value in (small | keys).items():
        schema.override(c, key.replace("__", "."), str(value))
    run = builder.build(c)
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    params = jax.tree.map(lambda x: x * scale, tiny.draw(run.model))
    return writing.Loaded(run, params, 0, mesh)


def replies(one, lines=LINES):
    """Return the replies to some lines."""
    return ["".join(one.say(line)) for line in lines]


@pytest.mark.parametrize(
    ("template", "temperature"), [("chatml", 0.0), ("inst", 1.0), ("plain", 0.0)]
)
def test_a_conversation_in_the_cache_is_the_one_read_from_scratch(
    template, temperature
):
    run = loaded(template)
    one, whole = talk.Talk(run), talk.Talk(run)
    one.temperature = whole.temperature = temperature
    for line in LINES:
        said = "".join(one.say(line))
        whole._held, whole._cache = [], None  # nothing is kept
        assert "".join(whole.say(line)) == said
        assert one.turns == whole.turns
        assert whole.read == len(whole.rendered(one.turns[:-1]))
    # Of the last turns only the new line and what stands around it were read.
    assert one.read < 60 < whole.read


def test_what_is_held_is_what_a_fresh_reading_would_hold():
    run = loaded(scale=1)
    one = talk.Talk(run)
    replies(one)
    found = np.asarray(one._cache.positions[0])
    held = one._held
    assert (found[: len(held)] == np.arange(len(held))).all()
    model, ids = run.run.model, np.asarray([held])
    batch = {"tokens": ids, "positions": np.arange(len(held))[None]}
    _, cache = jax.jit(model.start, static_argnums=2)(run.params, batch, 300)
    for mine, theirs in zip(one._cache.own, cache.own, strict=True):
        size = len(held)
        a, b = np.asarray(mine.keys)[:, :, :size], np.asarray(theirs.keys)[:, :, :size]
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_a_reply_is_not_decoded_and_encoded_again():
    run = loaded()
    one = talk.Talk(run)
    "".join(one.say(LINES[0]))
    ids = one.turns[-1].ids
    odd = dataclasses.replace(one.turns[-1], text="other words")
    rendered = one.rendered([one.turns[0], odd])
    windows = (rendered[i : i + len(ids)] for i in range(len(rendered)))
    assert list(ids) in windows


def test_ids_of_a_reply_are_rendered_as_its_text_is():
    run = loaded().run
    for template in templates.TEMPLATES.values():
        texts = [talk.Said("user", "a b"), talk.Said("assistant", "c d")]
        texts.append(talk.Said("user", "e"))
        ids, learned = chat.render(texts, run.tokenizer, template, bos=True)
        reply = chat.reply_text("c d", template, run.tokenizer)
        written = tuple(run.tokenizer.encode(reply, continues=True))
        texts[1] = dataclasses.replace(texts[1], ids=written)
        assert chat.render(texts, run.tokenizer, template, bos=True) == (ids, learned)


def test_the_oldest_turns_are_left_out_and_counted():
    run = loaded(data__length=100)
    one = talk.Talk(run)
    one.reset("be kind")
    replies(one)
    assert len(one.turns) == 1 + 2 * len(LINES) and one.dropped >= 2
    seen = [one.turns[0], *one.turns[1 + one.dropped :]]
    assert one.turns[1 + one.dropped].role == "user"
    assert len(one.rendered(seen[:-1])) <= 100
    more = [one.turns[0], *one.turns[1 + one.dropped - 2 :]]
    assert len(one.rendered(more[:-1])) > 100


def test_a_turn_that_alone_fills_the_context_is_refused_and_not_kept():
    one = talk.Talk(loaded(data__length=100))
    "".join(one.say("hi"))
    with pytest.raises(
        ValueError, match=r"the turn has \d+ tokens .* data\.length=100"
    ):
        one.say("x" * 200)
    with pytest.raises(ValueError, match="an empty turn"):
        one.say("  ")
    assert len(one.turns) == 2


def test_retry_draws_another_reply_and_greedy_the_same():
    run = loaded()
    one = talk.Talk(run)
    first = "".join(one.say(LINES[0]))
    assert "".join(one.retry()) == first and len(one.turns) == 2
    one.temperature = 2.0
    assert len({"".join(one.retry()) for _ in range(4)}) > 1
    one.reset()
    with pytest.raises(ValueError, match="nothing to reply to"):
        one.retry()


def test_a_reply_that_is_ended_is_what_was_read_of_it():
    run = loaded(decode__max_tokens=40)
    one = talk.Talk(run)
    coming = one.say(LINES[0])
    begun = next(coming) + next(coming)
    coming.close()
    assert one.turns[-1].role == "assistant" and one.turns[-1].text == begun
    whole = talk.Talk(run)
    whole.turns = list(one.turns)
    assert "".join(one.say(LINES[1])) == "".join(whole.say(LINES[1]))


def test_two_turns_of_a_length_compile_once():
    one = talk.Talk(loaded())
    "".join(one.say("abcd"))
    "".join(one.say("abcd"))
    sizes = one._begin._cache_size(), one._advance._cache_size()
    "".join(one.say("efgh"))
    "".join(one.say("ijkl"))
    assert (one._begin._cache_size(), one._advance._cache_size()) == sizes


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"architecture": "encoder_decoder"}, "needs a decoder that writes"),
        ({"decode__method": "beam"}, "needs method=sample and texts=1"),
        ({"decode__texts": 2, "decode__temperature": 1.0}, "texts=2"),
    ],
)
def test_a_run_that_cannot_talk_is_refused(keys, said):
    with pytest.raises(ValueError, match=said):
        talk.Talk(loaded(**keys))


# The verb.


@pytest.fixture
def typed(monkeypatch, capsys):
    """Return a function that types lines into the verb and returns what it said."""

    def run(*lines):
        from lmtasks import api

        monkeypatch.setattr(api, "load", lambda *_: loaded())
        monkeypatch.setattr(verb.common, "used_run", lambda *_: (_Flags, None, "here"))
        monkeypatch.setattr(verb.common, "step_of", lambda *_: None)
        monkeypatch.setattr(verb.signal, "signal", lambda *_: None)
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{x}\n" for x in lines)))
        assert verb.main([]) == 0
        return capsys.readouterr()

    class _Flags:
        step = None

    return run


def test_the_verb_talks_and_saves(typed, tmp_path):
    file = tmp_path / "talk.jsonl"
    said = typed("hello", "", "and you", f"/save {file}", "/reset", "/save x", "/quit",
                 "never read")  # fmt: skip
    (row,) = map(json.loads, file.read_text().splitlines())
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["user", "assistant"] * 2
    assert row["messages"][2]["content"] == "and you"
    assert [m["content"] for m in row["messages"][1::2]] == said.out.splitlines()
    assert "4 turns saved" in said.err and "nothing was said yet" in said.err


@pytest.mark.parametrize(
    ("line", "error"),
    [("/temp hot", "/temp hot: give a number"), ("/temp -1", "give a number"),
     ("/temp nan", "give a number"), ("/save", "needs the name of a file"),
     ("/tmep 1", "is not one of /system"), ("/retry", "nothing to reply to")],
)  # fmt: skip
def test_a_wrong_command_is_a_sentence_and_the_chat_goes_on(typed, line, error):
    said = typed(line, "hello")
    assert error in said.err and len(said.out.splitlines()) == 1


def test_a_system_turn_changes_the_reply_and_temperature_the_next(typed):
    plain = typed("hello").out
    assert typed("/system be brief", "hello").out != plain
    assert typed("/temp 3", "hello", "/retry", "/retry").out.splitlines()[0] != ""
    assert "/system TEXT" in typed("/help").out


@pytest.mark.process
def test_the_command_reads_a_pipe(tmp_path, capsys):
    rows = [{"messages": [{"role": "user", "content": f"say {i}"},
                          {"role": "assistant", "content": f"it is {i}"}]}
            for i in range(8)]  # fmt: skip
    for split in ("train", "validation"):
        runs.write_jsonl(tmp_path / f"{split}.jsonl", rows)
    where = {"data__dir": tmp_path, "tokenizer__kind": "byte", "data__length": 64}
    work = tmp_path / "work"
    flags = runs.settings(**where)
    runs.good(capsys, "train", "--config=own:chat", f"--workdir={work}", *flags)
    typing = runs.start("chat", f"--workdir={work}", stdin=-1)
    _, err = typing.communicate("say 1\nsay 2\n", timeout=120)
    assert typing.returncode == 0, err
    assert "Traceback" not in err
