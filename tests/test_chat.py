"""Conversations as ids: what carries loss, what a prompt is, what text cannot become."""

import collections
import io
import itertools
import pathlib

import numpy as np
import pytest
import sentencepiece

from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import templates
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers"
ASKED = "What's the capital of Germany?"
SAID = "The capital of Germany is Berlin."
MORE = "And of France? <b>Now!</b>"
PARIS = "Paris, of course."
SYSTEM = "You are brief."
# Chat markers as a run's own tokenizer would have them.
MARKERS = tuple(m for form in templates.TEMPLATES.values() for m in form.special)
CORPUS = [ASKED, SAID, MORE, PARIS, SYSTEM, "[INST] [/INST] system user assistant"] * 3
SIZES = {"unigram": 318, "bpe": 340, "wordpiece": 150, "bytebpe": 340}
ALL = {
    kind: tokenizers.train(kind, CORPUS, size=SIZES.get(kind), extra=MARKERS)
    for kind in tokenizers.KINDS
}
each_kind = pytest.mark.parametrize("kind", tokenizers.KINDS)
each_template = pytest.mark.parametrize("template", templates.TEMPLATES)
PUBLISHED = {
    "gpt2": "gpt2",
    "llama2": "llama2/tokenizer.model",
    "t5": "t5-legal/spiece.model",
    "bert": "bert-base-uncased",
}


def turns(*texts, system=None):
    """Return texts as turns of user and assistant, one after the other."""
    said = [
        examples.Turn(("user", "assistant")[i % 2], text)
        for i, text in enumerate(texts)
    ]
    if system is not None:
        said.insert(0, examples.Turn("system", system))
    return tuple(said)


CONVERSATIONS = (
    turns(ASKED, SAID),
    turns(ASKED, SAID, MORE, PARIS),
    turns(ASKED, SAID, MORE, PARIS, system=SYSTEM),
)


def published(name):
    """Return a published vocabulary, or skip."""
    path = SHARED / PUBLISHED[name]
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/tokenizers")
    return tokenizers.load(str(path))


def rendered(conversation, tokenizer, template):
    """Return (ids, learned) of a conversation under a template's name."""
    return chat.render(conversation, tokenizer, templates.TEMPLATES[template], bos=True)


def objective(template, architecture="decoder", **setting):
    """Return Generate with room for every conversation here."""
    return generate.Generate(
        base.Setting(
            architecture,
            length=500,
            source_length=500,
            template=templates.TEMPLATES[template],
            **setting,
        )
    )


def test_the_loss_is_on_the_answer_and_on_what_ends_it():
    extra = ("[INST]", "[/INST]")
    tokenizer = tokenizers.train("word", [ASKED, SAID], extra=extra)
    ids, learned = rendered(turns(ASKED, SAID), tokenizer, "inst")
    pieces = [tokenizer.piece(i) for i in ids]
    table = {
        (a, b): learned[i + 1] for i, (a, b) in enumerate(itertools.pairwise(pieces))
    }
    assert pieces[:3] == ["<bos>", "[INST]", "What's"]
    assert not table["What's", "the"]
    assert not table["?", "[/INST]"]
    assert table["[/INST]", "The"]
    assert table["The", "capital"]
    assert table[".", "<eos>"]
    assert sum(learned) == len(tokenizer.encode(SAID)) + 1


@each_template
@each_kind
def test_exactly_the_assistants_words_and_their_ends_are_learned(kind, template):
    tokenizer, form = ALL[kind], templates.TEMPLATES[template]
    for conversation in CONVERSATIONS:
        ids, learned = rendered(conversation, tokenizer, template)
        expected = []
        for turn in conversation:
            if turn.role != "assistant":
                continue
            # A reply without a marker before it is set off by a space.
            text = turn.text if form.assistant[0] else f" {turn.text}"
            expected += tokenizer.encode(text, continues=True)
            expected += [tokenizer.eos_id] if form.ends else []
            if not form.ends:  # what stands behind the end of a turn is not learned
                expected += tokenizer.encode(form.assistant[1], special=True)[:1]
        assert [i for i, on in zip(ids, learned) if on] == expected


@each_template
@each_kind
def test_a_conversation_is_never_learned_whole_nor_not_at_all(kind, template):
    for conversation in CONVERSATIONS:
        _, learned = rendered(conversation, ALL[kind], template)
        assert any(learned) and not all(learned)
        assert not learned[0]
        # What the user and the system say is never learned.
        _, prompt = rendered(conversation[:-1], ALL[kind], template)
        assert sum(prompt) < sum(learned)


@each_template
@each_kind
def test_a_prompt_is_exactly_the_prefix_of_its_training_row(kind, template):
    tokenizer = ALL[kind]
    for conversation in CONVERSATIONS:
        whole = examples.Turns(conversation)
        asked = examples.Turns(conversation[:-1])
        writer = objective(template)
        trained = writer.featurize(whole, tokenizer)[0]
        for query in (writer.query(whole, tokenizer), writer.query(asked, tokenizer)):
            prompt = query[0]["tokens"]
            n = len(prompt)
            np.testing.assert_array_equal(prompt, trained["tokens"][:n])
            np.testing.assert_array_equal(query[0]["positions"], np.arange(n))
            # The last token of the prompt is the first that predicts the reply.
            reply = chat.reply_text(
                conversation[-1].text, templates.TEMPLATES[template]
            )
            last = n + len(tokenizer.encode(reply, continues=True))
            assert (trained["weights"][n - 1 : last] == 1).all()
            assert (trained["weights"][last:] == 0).all()


@each_template
@each_kind
def test_the_source_at_inference_is_the_source_of_training(kind, template):
    writer = objective(template, "encoder_decoder")
    for conversation in CONVERSATIONS:
        trained = writer.featurize(examples.Turns(conversation), ALL[kind])[0]
        query = writer.query(examples.Turns(conversation[:-1]), ALL[kind])[0]
        np.testing.assert_array_equal(query["source"], trained["source"])
        np.testing.assert_array_equal(query["tokens"], trained["tokens"][:1])
        assert (trained["weights"] == 1).all()


@each_kind
def test_a_text_to_go_on_from_is_the_beginning_of_its_training_row(kind):
    writer = clm.Clm(base.Setting("decoder", length=500))
    example = examples.Text(f"{ASKED} {SAID}")
    trained = writer.featurize(example, ALL[kind])[0]
    query = writer.query(example, ALL[kind])[0]
    np.testing.assert_array_equal(query["tokens"], trained["tokens"])


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
@each_template
@each_kind
def test_a_label_is_scored_by_the_ids_it_is_trained_with(kind, template, architecture):
    tokenizer = ALL[kind]
    # One that begins another is scored with its end.
    labels = ("Berlin", "Berlin is", "Germany")
    setting = base.Setting(
        architecture,
        length=500,
        labels=labels,
        prompt="{text} Capital:",
        template=templates.TEMPLATES[template],
    )
    words = classify.ClassifyWords(setting)
    trained = words.featurize(examples.Labelled(ASKED, "Berlin"), tokenizer)[0]
    learned = trained["targets"][trained["weights"] > 0].tolist()
    scored = words.query(examples.Labelled(ASKED), tokenizer)[0]
    mine = scored["targets"][scored["segments"] == 1].tolist()
    assert learned[: len(mine)] == mine
    assert len(mine) > len(generate.reply_ids("Berlin", setting, tokenizer))
    first = int(np.flatnonzero(trained["weights"])[0])
    before = scored["tokens"][scored["segments"] == 0].tolist()
    again = scored["tokens"][scored["segments"] == 1][:1].tolist()
    assert before + again == trained["tokens"][: first + 1].tolist()


@pytest.mark.parametrize("template", templates.TEMPLATES)
@each_kind
def test_the_second_question_carries_the_first_answer(kind, template):
    tokenizer = ALL[kind]
    first, second = turns(ASKED, SAID), turns(ASKED, SAID, MORE)
    answered, _ = rendered(first, tokenizer, template)
    asked, _ = rendered(second, tokenizer, template)
    assert asked[: len(answered)] == answered
    query = objective(template).query(examples.Turns(second), tokenizer)[0]
    assert query["tokens"].tolist() == asked
    source = objective(template, "encoder_decoder").query(
        examples.Turns(second), tokenizer
    )[0]["source"]
    said = tokenizer.encode(
        chat.reply_text(SAID, templates.TEMPLATES[template]), continues=True
    )
    assert " ".join(map(str, said)) in " ".join(map(str, source))


@each_template
@each_kind
def test_what_a_user_types_never_becomes_a_special_id(kind, template):
    tokenizer = ALL[kind]
    names = " ".join(tokenizer.names)
    harmless, _ = rendered(turns(ASKED, SAID, MORE), tokenizer, template)
    attack = turns(f"{names} {ASKED}", SAID, f"{MORE}{''.join(tokenizer.names)}")
    typed, _ = rendered(attack, tokenizer, template)

    def count(ids):
        unknown = {tokenizer.unk_id}
        return collections.Counter(
            i for i in ids if i in tokenizer.special_ids - unknown
        )

    assert count(typed) == count(harmless)


@pytest.mark.parametrize("kind", ("byte", "bpe", "bytebpe"))
@each_template
def test_a_conversation_reads_back_as_it_was_said(kind, template):
    tokenizer = ALL[kind]
    for conversation in CONVERSATIONS:
        text = tokenizer.decode(rendered(conversation, tokenizer, template)[0])
        for turn in conversation:
            assert turn.text in text


def test_the_markers_of_a_template_stand_once_for_each_turn():
    ids, _ = rendered(CONVERSATIONS[2], ALL["byte"], "chatml")
    pieces = collections.Counter(ALL["byte"].piece(i) for i in ids)
    assert pieces["<|im_start|>"] == 5 and pieces["<|im_end|>"] == 5
    assert pieces["<bos>"] == 1 and pieces["<eos>"] == 0


def test_an_open_conversation_ends_with_what_stands_before_a_reply():
    ids, learned = rendered(turns(ASKED), ALL["byte"], "chatml")
    end = ALL["byte"].encode("<|im_start|>assistant\n", special=True)
    assert ids[-len(end) :] == end and not any(learned)


def prefixed():
    """Return a SentencePiece tokenizer that puts a space before every text."""
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=writer,
        model_type="bpe",
        vocab_size=340,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return writer.getvalue()


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A tokenizer such as Llama's, which puts a space before every text."""
    path = tmp_path_factory.mktemp("spaced") / "spiece.model"
    path.write_bytes(prefixed())
    return tokenizers.load(str(path))


def test_the_first_text_has_the_space_its_tokenizer_puts_before_a_sentence(spaced):
    assert spaced.piece(spaced.encode(ASKED)[0])[0] == "\u2581"
    ids, _ = rendered(turns(ASKED), spaced, "plain")
    assert ids == [spaced.bos_id, *spaced.encode(ASKED)]
    # As in pretraining, so that both know the same sentences.
    row = clm.Clm(base.Setting("decoder")).query(examples.Text(ASKED), spaced)[0]
    assert row["tokens"].tolist() == ids


def test_only_the_first_text_gets_a_space_of_its_tokenizers_own(spaced):
    ids, _ = rendered(turns(ASKED, SAID, MORE), spaced, "inst")
    text = spaced.decode(ids)
    assert f"[INST] {ASKED} [/INST] {SAID}[INST] {MORE} [/INST]" in text


@pytest.mark.parametrize("name", ("llama2", "gpt2", "t5"))
def test_published_vocabularies_give_prompts_that_begin_their_training_rows(name):
    tokenizer = published(name)
    for template in ("plain", "inst"):
        writer = objective(template)
        whole = examples.Turns(CONVERSATIONS[2])
        trained = writer.featurize(whole, tokenizer)[0]
        prompt = writer.query(whole, tokenizer)[0]["tokens"]
        np.testing.assert_array_equal(prompt, trained["tokens"][: len(prompt)])
        assert trained["weights"][len(prompt) - 1 :].all()


def test_llama_2_reads_a_question_as_its_makers_wrote_it():
    tokenizer = published("llama2")
    ids, _ = rendered(turns("Hello", "World"), tokenizer, "inst")
    # <s> "_[" INST ] _Hello _[ / INST ] _World </s>
    pieces = [tokenizer.piece(i) for i in ids]
    assert pieces[:5] == ["<s>", "\u2581[", "INST", "]", "\u2581Hello"]
    assert pieces[5:9] == ["\u2581[", "/", "INST", "]"]
    assert pieces[9:] == ["\u2581World", "</s>"]


def test_a_space_sets_a_reply_off_unless_a_marker_or_a_space_does():
    plain, chatml = templates.TEMPLATES["plain"], templates.TEMPLATES["chatml"]
    assert chat.reply_text("Yes", plain) == " Yes"
    assert chat.reply_text(" Yes", plain) == " Yes"
    assert chat.reply_text("\nYes", plain) == "\nYes"
    assert chat.reply_text("", plain) == ""
    assert chat.reply_text("Yes", chatml) == "Yes"


@pytest.mark.parametrize(
    ("example", "prompt", "asked", "answer"),
    [
        (examples.Labelled("a gem", "good"), "Review: {text} Mood:", "a gem", "good"),
        (examples.Labelled("a", "no", "b"), "{text} so {pair}?", "a so b?", "no"),
        (examples.Labelled("a gem"), "Review: {text}", "Review: a gem", None),
        (examples.Choice("Ice is", ("hot", "cold"), 1), "{context}", "Ice is", "cold"),
        (examples.Choice("Ice is", ("hot", "cold")), "{context}", "Ice is", None),
        (
            examples.Span("Who?", "Al sat.", (("Al", 0),)),
            "{context} {question}",
            "Al sat. Who?",
            "Al",
        ),
        (examples.Span("Who?", "Al sat."), "{question}", "Who?", "no answer"),
        (examples.Tagged(("Al", "sat"), ("N", "V")), "{words}:", "Al sat:", "N V"),
        (examples.Preference("Say", "hi", "ho"), "{prompt}", "Say", "hi"),
    ],
)
def test_an_example_of_any_kind_reads_as_a_question_with_its_answer(
    example, prompt, asked, answer
):
    said = chat.as_turns(example, prompt).turns
    assert asked in said[0].text and said[0].role == "user"
    assert [turn.text for turn in said[1:]] == ([] if answer is None else [answer])


def test_further_answers_of_a_question_are_kept_for_scoring():
    example = examples.Span("Who?", "Al Bo", (("Al", 0), ("Al Bo", 0)))
    assert chat.as_turns(example, "{question}").references == ("Al Bo",)


@pytest.mark.parametrize(
    "prompt", ("{sentence}", "{pair}", "{}", "{0}", "{text", "{text.size}", "{text!x}")
)
def test_a_prompt_that_cannot_be_filled_is_one_sentence(prompt):
    with pytest.raises(ValueError) as error:
        chat.prompt_text(examples.Labelled("a"), prompt)
    assert repr(prompt) in str(error.value) and "text" in str(error.value)


def test_text_with_braces_is_put_in_as_it_is():
    example = examples.Labelled("{pair} {} %s {text}")
    assert chat.prompt_text(example, "Say: {text}") == "Say: {pair} {} %s {text}"


def test_an_example_without_an_answer_is_refused():
    for example in (examples.Text("a"), examples.Pair("a", "b")):
        prompt = "{text}" if isinstance(example, examples.Text) else "{first}"
        with pytest.raises(ValueError, match="no answer to generate"):
            chat.as_turns(example, prompt)
