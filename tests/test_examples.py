"""The worked examples of the task table, one function each."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from lmtasks import losses
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import templates
from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.decode import sampling
from lmtasks.metrics import answers
from lmtasks.metrics import classification
from lmtasks.metrics import inputs
from lmtasks.metrics import spans
from lmtasks.metrics import tagging
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate
from lmtasks.tasks import multi30k
from lmtasks.tasks import sick
from lmtasks.tasks import sst2

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers"
QUESTION = "What's the capital of Germany?"
REPLY = "The capital of Germany is Berlin."


def words(*texts, extra=()):
    """Return a tokenizer whose pieces are the words of the texts."""
    return tokenizers.train("word", texts, extra=extra)


def bert():
    """Return BERT's published vocabulary, or skip."""
    path = SHARED / "bert-base-uncased"
    if not path.exists():
        pytest.skip("needs ../shared/tokenizers/bert-base-uncased")
    return tokenizers.load(str(path))


def talk(*texts):
    """Return texts as turns of user and assistant."""
    roles = ("user", "assistant")
    turns = (examples.Turn(roles[i % 2], text) for i, text in enumerate(texts))
    return examples.Turns(tuple(turns))


def learned_of(row, tokenizer):
    """Return the text that a row's loss is on."""
    return tokenizer.decode(row["targets"][row["weights"] > 0])


def pieces_of(row, tokenizer, key="tokens"):
    """Return the readable pieces of one array of a row."""
    return [tokenizer.piece(i) for i in row[key]]


def writer(architecture="decoder", template="plain", **changes):
    """Return what trains a written answer."""
    form = templates.TEMPLATES[template]
    return generate.Generate(
        base.Setting(architecture, 300, 300, template=form, **changes)
    )


def test_dialogue_the_loss_table():
    tokenizer = words(QUESTION, REPLY, extra=("[INST]", "[/INST]"))
    row = writer(template="inst").featurize(talk(QUESTION, REPLY), tokenizer)[0]
    names = {"<bos>": "<s>", "<eos>": "</s>"}
    said = [names.get(p, p) for p in pieces_of(row, tokenizer)]
    following = [names.get(p, p) for p in pieces_of(row, tokenizer, "targets")]
    table = dict(zip(zip(said, following, strict=True), row["weights"], strict=True))
    assert said[:3] == ["<s>", "[INST]", "What's"]
    assert table["What's", "the"] == 0
    assert table["?", "[/INST]"] == 0
    assert table["[/INST]", "The"] == 1
    assert table["The", "capital"] == 1
    assert table[".", "</s>"] == 1


def test_dialogue_the_second_input_carries_the_first_answer():
    more = "And how many people live there?"
    tokenizer = words(QUESTION, REPLY, more, extra=("[INST]", "[/INST]"))
    query = writer(template="inst").query(talk(QUESTION, REPLY, more), tokenizer)[0]
    said = " ".join(pieces_of(query, tokenizer))
    assert said == (
        "<bos> [INST] What's the capital of Germany ? [/INST] "
        "The capital of Germany is Berlin . <eos> "
        "[INST] And how many people live there ? [/INST]"
    )


def test_tags_become_entities():
    sentence = ["Barack", "Obama", "was", "born", "in", "Hawaii", "."]
    tags = ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    found = {}
    for kind, first, end in tagging.chunks(tags):
        found.setdefault(kind, []).append(" ".join(sentence[first:end]))
    assert found == {"PER": ["Barack Obama"], "LOC": ["Hawaii"]}


def test_a_word_cut_into_pieces_keeps_its_pieces_together():
    tokenizer = tokenizers.train("byte", ())
    cut = tokenizer.encode_words(["Barack", "Obama"])
    assert [tokenizer.decode(ids).strip() for ids in cut] == ["Barack", "Obama"]
    assert min(map(len, cut)) > 1
    whole = [i for ids in cut for i in ids]
    assert whole == tokenizer.encode("Barack Obama")


def test_inference_softmax_of_three_logits():
    class Model:
        def apply(self, params, batch):
            return jnp.float32([[[-4.6, 6.2, -3.1]]])

    setting = base.Setting("encoder", labels=sick.LABELS)
    head = classify.ClassifyHead(setting)
    said = head.predict(Model(), None, {"tokens": np.zeros((1, 4), np.int32)})
    row = {"probabilities": said["probabilities"][0]}
    found = head.answer([row], examples.Labelled("a", None, "b"), None)
    assert found["label"] == "neutral"
    np.testing.assert_allclose(
        list(found["scores"].values()), [2.04e-5, 0.999888, 9.14e-5], rtol=1e-3
    )


def kept(probabilities, top_p, top_k=0):
    """Return how many of the probabilities a nucleus keeps."""
    decode = plan.Decode(temperature=1.0, top_p=top_p, top_k=top_k)
    logits = jnp.log(jnp.float32([probabilities]))
    return int(sampling.keep_mask(logits, sampling.sampling_of(decode, 1)).sum())


@pytest.mark.parametrize(("top_p", "size"), [(0.69, 2), (0.85, 3), (0.9, 3), (0.91, 4)])
def test_nucleus_keeps_the_smallest_set_of_enough_mass(top_p, size):
    for order in ([0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.3, 0.1, 0.4, 0.2]):
        assert kept(order, top_p) == size


CAT = ("sleeping", "purring", "running", "barking")
CAT_TOKENIZER = words("The cat is sleeping purring running barking")
CAT_ODDS = {"sleeping": 0.4, "purring": 0.3, "running": 0.2, "barking": 0.1}


@struct.dataclass
class Nothing:
    """A cache that holds nothing."""

    none: jax.Array


def cat_logits(rows):
    """Return the logits after "The cat is": the four words and nothing else."""
    odds = np.full(CAT_TOKENIZER.size, 1e-30, np.float32)
    for word, p in CAT_ODDS.items():
        odds[CAT_TOKENIZER.id_of(word)] = p
    return jnp.broadcast_to(jnp.log(odds), (rows, CAT_TOKENIZER.size))


@functools.partial(jax.jit, static_argnums=(0, 1))
def cats(decode, count):
    """Return `count` next words after "The cat is", as ids."""
    tokens = jnp.tile(jnp.int32(CAT_TOKENIZER.encode("The cat is")), (count, 1))
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    empty = Nothing(jnp.zeros(count))
    return methods.write(
        lambda batch, size: (cat_logits(count), empty),
        lambda *_: (
            cat_logits(count * decode.lanes).reshape(count, decode.lanes, -1),
            empty,
        ),
        {"tokens": tokens, "positions": places},
        decode=decode,
        keys=jax.random.split(jax.random.key(0), count),
    )


def shares(**options):
    """Return word -> share of it among 4000 continuations."""
    decode = plan.Decode(max_tokens=1, **options)
    written = np.asarray(cats(decode, 4000).tokens[:, 0, 0])
    return {word: np.mean(written == CAT_TOKENIZER.id_of(word)) for word in CAT}


def test_the_cat_is_sleeping_when_greedy():
    found = cats(plan.Decode(max_tokens=1), 2)
    assert CAT_TOKENIZER.decode(found.tokens[0, 0]) == "sleeping"
    assert float(found.log_probs[0, 0, 0]) == pytest.approx(math.log(0.4), rel=1e-5)


def test_the_cat_is_one_of_the_two_likeliest_by_two_beams():
    found = cats(plan.Decode(method="beam", beams=2, texts=2, max_tokens=1), 2)
    said = [CAT_TOKENIZER.decode(tokens) for tokens in found.tokens[0]]
    assert said == ["sleeping", "purring"]


def test_the_cat_is_anything_when_sampled():
    assert shares(temperature=1.0) == pytest.approx(CAT_ODDS, abs=0.03)


@pytest.mark.parametrize("limit", [{"top_k": 3}, {"top_p": 0.9}])
def test_the_cat_is_one_of_three_by_top_k_and_by_top_p(limit):
    expected = {"sleeping": 4 / 9, "purring": 3 / 9, "running": 2 / 9, "barking": 0}
    found = shares(temperature=1.0, **limit)
    assert found == pytest.approx(expected, abs=0.03)
    assert found["barking"] == 0


def test_the_cat_is_surer_when_cooler():
    weights = {word: p**2 for word, p in CAT_ODDS.items()}
    expected = {word: w / 0.3 for word, w in weights.items()}
    assert shares(temperature=0.5) == pytest.approx(expected, abs=0.03)


def test_causal_modelling_predicts_each_next_word():
    sentence = "The teacher teaches the student."
    tokenizer = words(sentence)
    row = clm.Clm(base.Setting("decoder")).featurize(examples.Text(sentence), tokenizer)
    said, targets = (pieces_of(row[0], tokenizer, k) for k in ("tokens", "targets"))
    assert said == ["<bos>", "The", "teacher", "teaches", "the", "student", "."]
    assert targets == ["The", "teacher", "teaches", "the", "student", ".", "<eos>"]
    assert row[0]["weights"].tolist() == [1] * 7


def test_inference_pair_as_bert_reads_it():
    pair = examples.Labelled(
        "The event is scheduled for Tuesday.",
        "contradiction",
        "The event is on the weekend.",
    )
    head = classify.ClassifyHead(base.Setting("encoder", labels=sick.LABELS))
    row = head.featurize(pair, bert())[0]
    assert row["tokens"].tolist() == [
        101, 1996, 2724, 2003, 5115, 2005, 9857, 1012, 102,
        1996, 2724, 2003, 2006, 1996, 5353, 1012, 102,
    ]  # fmt: skip
    assert row["token_types"].tolist() == [0] * 9 + [1] * 8
    assert row["targets"][0] == 2 and row["weights"].tolist() == [1] + [0] * 16


def test_inference_pair_as_a_decoder_reads_it():
    pair = examples.Labelled("A boy feeds ducks", "entailment", "A child feeds birds")
    words = classify.ClassifyWords(
        base.Setting("decoder", labels=sick.LABELS, prompt=sick.TASK.prompt)
    )
    tokenizer = tokenizers.train("byte", ())
    row = words.featurize(pair, tokenizer)[0]
    assert tokenizer.decode(row["tokens"]) == (
        "Premise: A boy feeds ducks Hypothesis: A child feeds birds Relation: entailment"
    )
    assert learned_of(row, tokenizer) == " entailment"


def test_classification_as_an_encoder_reads_it():
    head = classify.ClassifyHead(base.Setting("encoder", labels=sst2.LABELS))
    tokenizer = words("a gem of a film")
    row = head.featurize(examples.Labelled("a gem", "positive"), tokenizer)[0]
    assert pieces_of(row, tokenizer) == ["<cls>", "a", "gem", "<sep>"]
    assert row["targets"][0] == sst2.LABELS.index("positive")


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_classification_by_label_words_has_its_loss_on_the_label_only(architecture):
    setting = base.Setting(
        architecture, labels=("Negative", "Positive"), prompt=sst2.TASK.prompt
    )
    tokenizer = tokenizers.train("byte", ())
    review = examples.Labelled("a gem", "Positive")
    row = classify.ClassifyWords(setting).featurize(review, tokenizer)[0]
    prompt = "tokens" if architecture == "decoder" else "source"
    assert tokenizer.decode(row[prompt]).startswith("Review: a gem Sentiment:")
    assert learned_of(row, tokenizer).strip() == "Positive"
    learned = row["targets"][row["weights"] > 0]
    assert learned[-1] == tokenizer.eos_id
    # The space before the label belongs to the label, not to the prompt.
    if architecture == "decoder":
        assert tokenizer.decode(learned) == " Positive"


def test_a_uniform_choice_among_ten_has_perplexity_ten():
    sums = losses.token_cross_entropy(
        jnp.zeros((2, 3, 10)), np.int32([[0, 1, 2], [3, 4, 9]]), np.ones((2, 3))
    )
    totals = {name: tuple(map(float, pair)) for name, pair in sums.items()}
    assert writer().report(totals, [])["perplexity"] == pytest.approx(10, rel=1e-6)


def test_five_apples_less_two_are_three():
    steps = "John has 5 apples. He gives 2 to Mary: 5 - 2 = 3. The answer is 3."
    assert answers.extract(steps) == "3"
    question = "If John has 5 apples and gives 2 to Mary, how many are left?"
    scored = [talk(question, "5 - 2 = 3. The answer is 3.")]
    assert answers.accuracy([{"text": steps}], scored)["answer_accuracy"] == 1
    wrong = [{"text": "5 + 2 = 7. The answer is 7."}]
    assert answers.accuracy(wrong, scored)["answer_accuracy"] == 0


def test_train_and_car_meet_at_five():
    # 60 mph from 10:00 and 70 mph from 11:00: 60 t = 70 (t - 1), t = 7 hours.
    hours = 70 / (70 - 60)
    said = f"t = {hours:.0f} hours. The answer is {10 + hours - 12:.0f}:00 PM."
    assert answers.extract(said) == "5:00 PM"
    assert answers.value("5:00 PM") == answers.value("17:00") == answers.value("5 p.m.")
    assert answers.value("5:00 PM") != answers.value("5:00 AM")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3", "3.0"),
        ("1,200", "1200"),
        ("$18", "18 dollars"),
        ("0.75", "3/4"),
        ("12 km", "12"),
        ("5:00 PM", "5 pm"),
    ],
)
def test_answers_are_numbers_times_units_money_and_fractions(one, other):
    assert answers.value(one) == answers.value(other)


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_translation_is_a_prompt_with_the_loss_on_its_answer(architecture):
    tokenizer = tokenizers.train("byte", ())
    prompt = "translate English to Spanish: I like music."
    row = writer(architecture).featurize(
        talk(prompt, "Me gusta la m\u00fasica."), tokenizer
    )
    read = row[0]["tokens" if architecture == "decoder" else "source"]
    assert tokenizer.decode(read).startswith(prompt)
    assert learned_of(row[0], tokenizer).strip() == "Me gusta la m\u00fasica."
    assert row[0]["targets"][-1] == tokenizer.eos_id


def test_translation_of_a_data_set_says_its_languages():
    said = multi30k.TASK.example({"source": "A dog runs.", "target": "Ein Hund rennt."})
    assert said.turns[0].text == "translate English to German: A dog runs."
    assert said.turns[1].text == "Ein Hund rennt."


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_a_summary_has_its_loss_on_the_summary_only(architecture):
    tokenizer = tokenizers.train("byte", ())
    article = "The bridge was closed on Monday. It opens in May."
    prompt = f"Summarize the following article: {article} Summary:"
    row = writer(architecture).featurize(
        talk(prompt, "Bridge shut until May."), tokenizer
    )
    assert learned_of(row[0], tokenizer).strip() == "Bridge shut until May."
    read = row[0]["tokens" if architecture == "decoder" else "source"]
    assert tokenizer.decode(read).startswith(prompt)
    query = writer(architecture).query(talk(prompt), tokenizer)[0]
    asked = query["tokens" if architecture == "decoder" else "source"]
    np.testing.assert_array_equal(asked, read[: len(asked)])


def test_byte_pairs_merge_h_and_e_first_then_t_and_he():
    sentence = "the teacher taught the student"
    tokenizer = tokenizers.train("bytebpe", sentence.split(), size=7 + 256 + 2)
    merges = json.loads(tokenizer.files()["tokenizer.json"])["model"]["merges"]
    assert merges == [["h", "e"], ["t", "he"]]
    assert sentence.count("he") == 3
    options = tokenizers.Options(exact=False)
    pieces = tokenizers.train("bpe", sentence.split(), size=300, options=options)
    assert pieces.id_of("he") + 1 == pieces.id_of("the")


def test_an_answer_is_scored_without_its_articles_and_signs():
    scored = [examples.Span("Who?", "by Steve Jobs", (("Steve Jobs", 3),))]
    found = spans.squad_v1([{"text": "The Steve Jobs!"}], scored)
    assert found == {"exact_match": 100.0, "f1": 100.0}
    found = spans.squad_v1([{"text": "Apple CEO Steve Jobs"}], scored)
    assert found["f1"] == pytest.approx(66.6667, abs=1e-3)
    assert found["exact_match"] == 0


def test_lenient_and_strict_entities_differ():
    gold = examples.Tagged(("w",) * 5, ("B-PER", "I-PER", "O", "B-LOC", "I-LOC"))
    said = [{"tags": ["I-PER", "I-PER", "O", "B-LOC", "B-LOC"]}]
    found = tagging.entities(said, [gold])
    assert found["lenient_f1"] == pytest.approx(0.4)
    assert found["strict_f1"] == 0


def test_a_label_is_read_from_what_was_written():
    example = examples.Labelled("a gem", "Positive")
    parse = sst2.TASK.parse
    said = parse(" positive, of course", example, ("Negative", "Positive"))
    assert said["label"] == "Positive"
    nothing = parse("I do not know", example, ("Negative", "Positive"))
    assert nothing["label"] is None
    found = classification.accuracy([said, nothing], [example, example])
    assert found == {"accuracy": 0.5, "unparsed": 1.0}
    assert inputs.said_texts([nothing]) == ["I do not know"]
