"""Chat templates: the loss table of each, and templates of one's own."""

import itertools
import json

import pytest

from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import templates

SYSTEM, ASKED, SAID, MORE, LAST = "Be brief.", "Who is it?", "Ada Berg.", "Who?", "Me."
TALK = (
    examples.Turn("system", SYSTEM),
    examples.Turn("user", ASKED),
    examples.Turn("assistant", SAID),
    examples.Turn("user", MORE),
    examples.Turn("assistant", LAST),
)
# Template -> the conversation in its published form, [learned parts] in brackets.
WRITTEN = {
    "plain": "<bos>Be brief.\nWho is it?[ Ada Berg.<eos>]Who?[ Me.<eos>]",
    "inst": "<bos>Be brief.\n[INST] Who is it? [/INST][ Ada Berg.<eos>]"
    "[INST] Who? [/INST][ Me.<eos>]",
    "chatml": "<bos><|im_start|>system\nBe brief.<|im_end|>\n"
    "<|im_start|>user\nWho is it?<|im_end|>\n"
    "<|im_start|>assistant\n[Ada Berg.<|im_end|>]\n"
    "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n[Me.<|im_end|>]\n",
    "llama3": "<bos><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho is it?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[Ada Berg.<|eot_id|>]"
    "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[Me.<|eot_id|>]",
    "gemma": "<bos><start_of_turn>user\nBe brief.\n\nWho is it?<end_of_turn>\n"
    "<start_of_turn>model\n[Ada Berg.<end_of_turn>]\n"
    "<start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n[Me.<end_of_turn>]\n",
    "zephyr": "<bos><|system|>\nBe brief.<eos>\n<|user|>\nWho is it?<eos>\n"
    "<|assistant|>\n[Ada Berg.<eos>]\n<|user|>\nWho?<eos>\n"
    "<|assistant|>\n[Me.<eos>]\n",
}


def tokenizer_for(template):
    """Return a byte tokenizer that knows the template's markers."""
    return tokenizers.train("byte", (), extra=template.special)


def written(turns, template):
    """Return a rendered conversation as text, what is learned in brackets."""
    tokenizer = tokenizer_for(template)
    ids, learned = chat.render(turns, tokenizer, template, bos=True)
    text = ""
    for on, run in itertools.groupby(zip(ids, learned, strict=True), lambda x: x[1]):
        part = ""
        for special, group in itertools.groupby(
            [id for id, _ in run], tokenizer.special_ids.__contains__
        ):
            ids = list(group)
            pieces = "".join(map(tokenizer.piece, ids))
            part += pieces if special else tokenizer.decode(ids, continues=True)
        text += f"[{part}]" if on else part
    return text


def test_every_template_is_in_the_table():
    assert set(WRITTEN) == set(templates.TEMPLATES)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_conversation_is_written_as_published_and_replies_are_learned(name):
    assert written(TALK, templates.TEMPLATES[name]) == WRITTEN[name]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_reply_ends_with_what_generation_stops_at(name):
    template = templates.TEMPLATES[name]
    tokenizer = tokenizer_for(template)
    ids, learned = chat.render(TALK, tokenizer, template, bos=True)
    last = max(i for i, on in enumerate(learned) if on)
    assert ids[last] == template.stop_id(tokenizer)


def own(**changes):
    """Return a template of one's own as json."""
    form = {"user": ["Q: ", "\n"], "assistant": ["A:", "\n"], "system": ["# ", "\n"]}
    return json.dumps(form | changes)


def test_a_template_of_ones_own_is_a_file_or_its_text(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(own())
    assert templates.text_of(str(path)) == own()
    found = templates.template_of(str(path))
    assert found == templates.template_of(own())
    text = (
        "<bos># Be brief.\nQ: Who is it?\nA:[Ada Berg.<eos>]\nQ: Who?\nA:[Me.<eos>]\n"
    )
    assert written(TALK, found) == text


def test_an_own_marker_may_end_a_reply():
    text = own(assistant=["A:", "<end>\n"], ends=False, special=["<end>"])
    found = templates.template_of(text)
    assert written(TALK[1:3], found) == "<bos>Q: Who is it?\nA:[Ada Berg.<end>]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (own(assistant=["A:", ""], ends=False), "nothing ends a reply"),
        (own(user=["Q: "]), r"user=\['Q: '\] is not the two texts"),
        (own(assistant=None), "assistant=None is not the two texts"),
        (own(robot=["", ""]), "no 'robot'"),
        (own(special=["<x>"]), "'<x>' of special stands in no text"),
        (own(special=[1]), "special takes texts"),
        (own(special=None), "special takes texts"),
        (own(assistant=["A:", "\n\n### "], ends=False), "nothing ends a reply"),
        (own(start=5), "start=5 is no str"),
        (own(ends="no"), "ends='no' is no bool"),
        ("{", "no json"),
        ("[1]", "none of plain"),
        ("chatlm", "did you mean 'chatml'"),
        ("/nowhere.json", "and no file"),
    ],
)
def test_a_template_that_cannot_work_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        templates.template_of(text)


def test_a_system_turn_without_a_question_is_not_lost():
    text = written(TALK[:1], templates.TEMPLATES["gemma"])
    assert text.startswith("<bos><start_of_turn>user\nBe brief.<end_of_turn>\n")
