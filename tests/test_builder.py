"""A config becomes a run, or one sentence that says what cannot work."""

import dataclasses
import importlib
import json
import math

import jax
import pytest
import runs

from configs import base
from lmtasks import builder
from lmtasks import cells
from lmtasks import families
from lmtasks import presets
from lmtasks import schema
from lmtasks import taskdata
from lmtasks import tasks
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import templates
from lmtasks.models import model as models
from lmtasks.objectives import base as objectives
from lmtasks.types import ARCHITECTURES

KINDS = {name: importlib.import_module(f"lmtasks.tasks.{name}").TASK.kind.__name__
         for name in schema.modules_of(tasks)}  # fmt: skip
PRESETS = [
    f"{family}/{size}"
    for family in schema.modules_of(families)
    for size in importlib.import_module(f"lmtasks.families.{family}").PRESETS
]


def config(**changes):
    """Return a small config of the toy classification; `__` stands for a dot."""
    c = base.finetune()
    c.task, c.architecture = "toy_labelled", "encoder"
    c.data.limit, c.data.length, c.data.source_length = 50, 64, 64
    c.model.width, c.model.layers, c.model.mlp = 16, 1, 32
    c.model.attention.heads, c.model.attention.head_dim = 2, 0
    for key, value in changes.items():
        schema.override(c, key.replace("__", "."), str(value))
    return c


def refused(**changes):
    """Return the sentence with which a config is refused."""
    with pytest.raises(ValueError) as error:
        builder.build(config(**changes))
    said = str(error.value)
    assert "\n" not in said and len(said) < 600
    return said


def own(tmp_path, rows, task="classification", **changes):
    """Return a config of one's own jsonl file."""
    path = runs.write_jsonl(tmp_path / "train.jsonl", rows)
    c = config(task=task, data__limit=0, **changes)
    c.data.files.train = str(path)
    return c


REVIEWS = [
    {"text": f"{word} {i}", "label": label}
    for i, (word, label) in enumerate(
        [("fine", "good"), ("dull", "bad"), ("great", "good"), ("poor", "bad")] * 3
    )
]


# Labels.


def test_labels_are_found_in_the_training_data_and_stored(tmp_path):
    run = builder.build(own(tmp_path, REVIEWS))
    assert run.task.labels == run.config.data.labels == ("bad", "good")
    assert run.objective.classes == run.model.classes == 2
    text = json.dumps(run.config.to_dict())
    again = builder.build(schema.from_stored(json.loads(text)))
    assert again.task.labels == ("bad", "good") and again.model == run.model


def test_stored_labels_are_taken_without_reading_the_data(tmp_path):
    c = own(tmp_path, REVIEWS, data__labels="good,bad")
    c.data.files.train = str(tmp_path / "gone.jsonl")
    assert builder.build(c).task.labels == ("good", "bad")


@pytest.mark.parametrize("labels", [(1, 2, 10), (True, False), (0.5, 1.5)])
def test_labels_need_not_be_text(tmp_path, labels):
    rows = [{"text": "x", "label": labels[i % len(labels)]} for i in range(12)]
    run = builder.build(own(tmp_path, rows))
    assert run.task.labels == tuple(sorted(map(str, labels)))
    row = run.objective.featurize(run.task.example(rows[1]), run.tokenizer)[0]
    assert row["targets"][0] == run.task.labels.index(str(labels[1]))


def test_records_without_a_label_give_no_class(tmp_path):
    rows = [*REVIEWS, {"text": "unknown", "label": None}, {"text": "x", "label": ""}]
    assert builder.build(own(tmp_path, rows)).task.labels == ("bad", "good")


def test_one_label_is_no_classification(tmp_path):
    rows = [{"text": "x", "label": "only"}] * 5
    with pytest.raises(ValueError, match="1 different labels .only.*data.fields.label"):
        builder.build(own(tmp_path, rows))


def test_a_label_for_every_text_is_no_classification(tmp_path):
    rows = [{"text": "x", "label": f"id {i}"} for i in range(150)]
    with pytest.raises(ValueError, match="does not look like classes"):
        builder.build(own(tmp_path, rows))


def test_several_labels_of_one_text_are_refused_before_training(tmp_path):
    rows = [{"text": "x", "label": ["a", "b"]}, {"text": "y", "label": ["b"]}] * 4
    with pytest.raises(ValueError, match="several labels|more than one label"):
        builder.build(own(tmp_path, rows))


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_labels_are_found_when_the_answer_is_generated_too(tmp_path, architecture):
    c = own(tmp_path, REVIEWS, architecture=architecture, objective="generate")
    run = builder.build(c)
    assert run.task.labels == ("bad", "good")
    example = run.task.example(REVIEWS[0])
    assert run.task.parse(" good", example, run.task.labels)["label"] == "good"


# Names.


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"task": "sst3"}, "sst2"),
        ({"task": "base"}, "task="),
        ({"architecture": "decodr"}, "decoder"),
        ({"objective": "clasify"}, "classify"),
        ({"tokenizer__kind": "bytebp"}, "bytebpe"),
        ({"model__preset": "brt/mini"}, "bert"),
        ({"model__preset": "bert/minni"}, "bert/mini"),
        ({"model__preset": "bert"}, "bert/mini"),
        ({"prompt__template": "chatlm"}, "chatml"),
        ({"prompt__label_norm": "token"}, "tokens"),
        ({"data__on_long": "truncat"}, "truncate"),
        ({"data__on_error": "skp"}, "skip"),
        ({"eval__mode": "maximum"}, "max"),
        ({"optim__name": "adam"}, "adamw"),
        ({"optim__schedule": "cosin"}, "cosine"),
        ({"model__activation": "gellu"}, "gelu"),
        ({"model__norm__kind": "layr"}, "layer"),
        ({"model__positions__kind": "rotry"}, "rotary"),
        ({"model__dtype": "float16"}, "bfloat16"),
        ({"parallel__mode": "pmapp"}, "pmap"),
        ({"model__attention__implementation": "cudn"}, "cudnn"),
    ],
)
def test_an_unknown_name_names_the_nearest_one(changes, near):
    said = refused(**changes)
    (key, value), *_ = changes.items()
    assert str(value).partition("/")[0] in said and near in said
    assert key.rpartition("__")[2] in said


# Numbers.


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("train.steps", (0, -1)),
        ("train.batch_size", (0,)),
        ("train.accumulate", (0, -1, 3)),
        ("train.ema", (1.0, -0.1)),
        ("data.length", (3, 0)),
        ("data.source_length", (0,)),
        ("data.limit", (-1,)),
        ("data.threads", (-1,)),
        ("data.buckets", ("0,16", "-8", "'a'")),
        ("eval.batch_size", (0,)),
        ("eval.every", (-1,)),
        ("eval.limit", (-1,)),
        ("eval.patience", (-1,)),
        ("log.every", (0,)),
        ("checkpoint.every", (-1,)),
        ("decode.max_tokens", (0,)),
        ("decode.temperature", (-0.5, "nan")),
        ("decode.top_k", (-1,)),
        ("decode.top_p", (0, 1.01, "nan")),
        ("decode.min_p", (-0.1, 1.1)),
        ("decode.samples", (-1,)),
        ("optim.learning_rate", (-1e-3, "nan", "inf")),
        ("optim.warmup_steps", (-1, 10_000)),
        ("optim.clip_norm", (-1,)),
        ("optim.weight_decay", (-0.1,)),
        ("optim.b1", (1.0, -0.1)),
        ("optim.final_fraction", (1.5,)),
        ("optim.layer_decay", (0, 1.1)),
        ("loss.label_smoothing", (-0.1, 1.0, 1.5, "nan")),
        ("loss.z_loss", (-1.0, "nan")),
        ("model.width", (0, -8)),
        ("model.layers", (0,)),
        ("model.mlp", (-1,)),
        ("model.decoder_layers", (-1,)),
        ("model.token_types", (-1,)),
        ("model.dropout", (-0.1, 1.0, 1.5, "nan")),
        ("model.attention_dropout", (-0.1, 1.5)),
        ("model.attention.heads", (0, -2, 3)),
        ("model.attention.kv_heads", (-1, 3)),
        ("model.attention.head_dim", (-4,)),
        ("model.attention.window", ("-1", "'a'")),
        ("model.norm.eps", (-1e-6,)),
        ("model.init_std", (-1.0,)),
        ("model.positions.size", (0, 8)),
        ("seed", (-1,)),
    ],
)
def test_a_number_out_of_range_is_named_with_what_is_accepted(key, values):
    for value in values:
        said = refused(**{key.replace(".", "__"): value})
        assert key.rpartition(".")[2] in said, (value, said)


def test_a_batch_that_does_not_divide_says_what_to_change():
    said = refused(train__batch_size=10, train__accumulate=4)
    assert "train.batch_size=10" in said and "train.accumulate=4" in said


def test_averages_to_evaluate_must_be_kept():
    assert "train.ema" in refused(eval__ema=True)
    assert builder.build(config(eval__ema=True, train__ema=0.99)).config.eval.ema


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused():
    said = refused(model__vocab=100)
    assert "model.vocab=100" in said and "263" in said
    assert builder.build(config(model__vocab=320)).model.cfg.vocab == 320


def test_rotary_positions_need_pairs():
    said = refused(
        model__positions__kind="rotary", model__width=18, model__attention__heads=2
    )
    assert "even head dim" in said


# Cells.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", [kind.__name__ for kind in examples.KINDS])
def test_every_kind_and_architecture_is_trained_planned_or_refused(kind, architecture):
    name = objectives.supported(kind, architecture)
    if name is not None:
        objectives.check_cell(name, kind, architecture)
        return
    for one in (*set().union(*objectives.SUPPORT.values()), *objectives.PLANNED):
        with pytest.raises(ValueError) as error:
            objectives.check_cell(one, kind, architecture)
        said = str(error.value)
        assert "planned" in said or (kind in said and architecture in said)


@pytest.mark.parametrize(
    ("task", "architecture", "reason"),
    [
        ("toy_turns", "encoder", "cannot write text"),
        ("toy_pair", "encoder_decoder", "one stack"),
        ("toy_preference", "decoder", "planned"),
        ("toy_preference", "encoder", "planned"),
    ],
)
def test_an_impossible_task_fails_at_build_with_the_reason(task, architecture, reason):
    with pytest.raises(ValueError, match=reason):
        builder.build(config(task=task, architecture=architecture))


def test_a_cell_is_refused_before_any_data_is_read(tmp_path):
    c = config(task="classification", architecture="encoder", objective="generate")
    c.data.files.train = str(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="cannot write text"):
        builder.build(c)


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind == "Labelled"])
def test_what_has_labels_is_classified_unless_asked_to_write(name):
    task = taskdata.task_of(config(task=name))
    for architecture in ARCHITECTURES:
        c = config(task=name, architecture=architecture)
        cells.with_kind(task, c)
        writes = c.classify.kind == "regression" and architecture != "encoder"
        wanted = "generate" if writes else "classify"
        assert cells.default_objective(task, c) == wanted


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_task_is_read_with_its_prompt(name):
    task = taskdata.task_of(config(task=name))
    assert task.samples
    for record in task.samples:
        assert isinstance(task.example(record), task.kind)


def test_a_prompt_of_ones_own_replaces_the_tasks():
    run = builder.build(config(architecture="decoder", prompt__text="Say: {text} So:"))
    assert run.task.prompt == run.objective.setting.prompt == "Say: {text} So:"


@pytest.mark.parametrize("prompt", ["Say: {sentence}", "Say: {}", "Say: {text"])
def test_a_prompt_that_cannot_be_filled_fails_at_build(prompt):
    said = refused(architecture="decoder", prompt__text=prompt)
    assert prompt in said


def test_a_prompt_of_ones_own_is_checked_for_conversations_too():
    said = refused(task="toy_turns", architecture="decoder", prompt__text="Q: {text}")
    assert "prompt" in said


# Templates.


def test_chat_markers_are_ids_of_the_runs_own_tokenizer():
    c = config(task="toy_turns", architecture="decoder", prompt__template="chatml")
    tokenizer = builder.build(c).tokenizer
    marks = tokenizer.encode("<|im_start|>user\n<|im_end|>", special=True)
    assert len(marks) == 2 + len(tokenizer.encode("user\n"))
    assert not set(marks[:1]) & set(tokenizer.encode("<|im_start|>"))


@pytest.mark.parametrize("template", templates.TEMPLATES)
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_writing_stops_at_the_first_id_that_ends_a_trained_answer(
    template, architecture
):
    c = config(task="toy_turns", architecture=architecture, prompt__template=template)
    run = builder.build(c)
    example = run.task.example(run.task.samples[0])
    row = run.objective.featurize(example, run.tokenizer)[0]
    learned = row["targets"][row["weights"] > 0].tolist()
    reply = run.tokenizer.encode(example.turns[-1].text)
    assert learned[: len(reply)] == reply or learned[1 : len(reply) + 1] == reply
    assert not set(reply) & set(run.decode.stop_ids)
    assert set(learned) & set(run.objective.decode.stop_ids)


# Models.


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds(preset):
    architecture = importlib.import_module(
        f"lmtasks.families.{preset.partition('/')[0]}"
    ).ARCHITECTURE
    c = base.base()
    c.architecture, c.model.preset = architecture, preset
    cfg = presets.shape_of(c)
    assert presets.preset_of(preset, architecture) == cfg
    one = models.Model(architecture, cfg)
    shapes = jax.eval_shape(one.init, jax.random.key(0))
    assert models.count(models.unbox(shapes)) > 1e5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_preset_is_a_small_one_of_the_architecture(architecture):
    c = base.base()
    c.architecture = architecture
    assert presets.shape_of(c) == presets.preset_of("", architecture)
    assert presets.shape_of(c).width == 256


def test_what_the_config_says_of_the_shape_replaces_the_preset():
    run = builder.build(
        config(
            model__preset="llama/tiny",
            architecture="decoder",
            model__attention__kv_heads=1,
            model__positions__base="(5000.0, 10000.0)",
            model__norm__eps=1e-3,
            model__tied=False,
        )
    )
    cfg = run.model.cfg
    assert (cfg.width, cfg.layers, cfg.kv_heads) == (16, 1, 1)
    assert cfg.positions.base == (5000.0, 10000.0) and cfg.positions.kind == "rotary"
    assert cfg.norm.eps == 1e-3 and not cfg.tied and cfg.gated
    assert cfg.vocab == run.tokenizer.size == 263


def test_a_narrower_t5_keeps_no_scale_of_its_presets_width():
    c = config(architecture="encoder_decoder", model__preset="t5/small")
    assert builder.build(c).model.cfg.head_scale == pytest.approx(16**-0.5)
    c = config(architecture="encoder_decoder", model__preset="t5/v1.1-small")
    assert builder.build(c).model.cfg.head_scale == 1


def test_learned_positions_grow_with_the_rows_unless_their_number_is_given():
    c = config(data__length=700)
    assert builder.build(c).model.cfg.positions.size == 700
    said = refused(data__length=700, model__positions__size=512)
    assert "model.positions.size=512" in said and "700" in said


def test_learned_positions_hold_a_prompt_and_what_is_written():
    c = config(
        task="toy_turns",
        architecture="decoder",
        model__preset="gpt2/tiny",
        data__length=1000,
        decode__max_tokens=100,
    )
    assert builder.build(c).model.cfg.positions.size >= 1100


def test_the_head_is_the_objectives():
    assert builder.build(config()).model.head == "classify"
    for architecture in ("decoder", "encoder_decoder"):
        run = builder.build(config(architecture=architecture))
        assert run.model.head == "lm" and run.model.classes == 0


# Tokenizers.


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_a_tokenizer_of_every_kind_is_trained_on_the_training_data(kind):
    run = builder.build(config(tokenizer__kind=kind, tokenizer__size=400))
    assert run.tokenizer.kind == kind and run.model.cfg.vocab == run.tokenizer.size
    text = run.task.samples[0]["text"]
    assert run.tokenizer.unk_id not in run.tokenizer.encode(text)


@pytest.mark.parametrize("kind", ("char", "word", "unigram", "wordpiece"))
def test_a_trained_tokenizer_knows_the_prompt_and_the_labels(kind):
    c = config(
        architecture="decoder",
        prompt__text="REVIEW = {text} VERDICT?",
        tokenizer__kind=kind,
        tokenizer__size=400,
    )
    run = builder.build(c)
    for text in ("REVIEW = VERDICT?", "yes", "no"):
        assert run.tokenizer.unk_id not in run.tokenizer.encode(text)


@pytest.mark.parametrize("kind", ("char", "word"))
def test_a_trained_tokenizer_knows_the_chat_markers(kind):
    run = builder.build(
        config(
            task="toy_turns",
            architecture="decoder",
            prompt__template="inst",
            tokenizer__kind=kind,
        )
    )
    example = run.task.example(run.task.samples[0])
    row = run.objective.featurize(example, run.tokenizer)[0]
    assert run.tokenizer.unk_id not in row["tokens"]


def test_a_tokenizer_is_loaded_from_its_path_or_the_work_directory(tmp_path):
    made = tokenizers.train("word", ["a b c"])
    made.save(tmp_path / "elsewhere")
    c = config(tokenizer__path=tmp_path / "elsewhere")
    assert builder.build(c).tokenizer == made
    other = tokenizers.train("word", ["x y z"])
    other.save(tmp_path / "work" / "tokenizer")
    assert builder.build(c, str(tmp_path / "work")).tokenizer == other
    assert builder.build(c, str(tmp_path / "new")).tokenizer == made


@pytest.mark.parametrize("kind", ("bpe", "wordpiece", "word"))
def test_a_tokenizer_too_small_to_exist_is_refused(kind):
    for size in (0, -5, 4):
        assert "size" in refused(tokenizer__kind=kind, tokenizer__size=size)


def test_a_missing_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match="nowhere"):
        builder.build(config(tokenizer__path=tmp_path / "nowhere"))


# The run.


def test_building_leaves_the_given_config_as_it_was():
    c = config()
    before = c.to_dict()
    run = builder.build(c)
    assert c.to_dict() == before
    assert run.config.objective == "classify" and c.objective == ""


def test_the_parts_of_a_run_hold_what_the_config_says():
    run = builder.build(
        config(
            architecture="decoder",
            optim__learning_rate=0.25,
            decode__top_k=7,
            parallel__fsdp=2,
            loss__z_loss=0.5,
            prompt__label_norm="bytes",
            data__fields__text="review",
            seed=3,
        )
    )
    assert run.optim.learning_rate == 0.25 and run.decode.top_k == 7
    assert run.parallel.fsdp == 2 and run.objective.setting.z_loss == 0.5
    assert run.objective.label_norm == "bytes"
    assert run.data.fields == {"text": "review"} and run.data.seed == 3
    assert run.decode.stop_ids == (run.tokenizer.eos_id,)


def test_lists_in_a_config_are_as_good_as_tuples():
    stored = config(data__labels="yes,no", data__buckets="16,32").to_dict()
    again = schema.from_stored(json.loads(json.dumps(stored)))
    run = builder.build(again)
    assert run.task.labels == ("yes", "no")
    assert builder.buckets_of(run.config, 64) == (16, 32, 64)


def test_buckets_end_with_the_length():
    assert builder.buckets_of(config(data__buckets="16,32,80"), 64) == (16, 32, 64)
    assert builder.buckets_of(config(), 64) == (16, 24, 32, 48, 64)


def test_typed_sections_have_no_key_that_their_type_lacks():
    c = base.base()
    sections = {
        "optim": builder.optimizers.Optim,
        "parallel": builder.parallel.Parallel,
    }
    for name, cls in sections.items():
        fields = {field.name for field in dataclasses.fields(cls)}
        assert set(c[name].keys()) == fields
    shape = {field.name for field in dataclasses.fields(models.TransformerConfig)}
    # The cache's dtype belongs to decoding: config.decode.cache.
    assert set(c.model.keys()) - {"preset"} == shape - {"cache_dtype"}
    for part in ("attention", "norm", "positions"):
        kind = type(getattr(models.TransformerConfig(), part))
        assert set(c.model[part].keys()) == {f.name for f in dataclasses.fields(kind)}


def test_defaults_of_the_typed_sections_are_those_of_the_config():
    c, optim = base.base(), builder.optimizers.Optim()
    for key in ("name", "schedule", "clip_norm", "b1", "b2", "eps", "decay_mask"):
        assert getattr(optim, key) == c.optim[key]
    assert not math.isnan(c.optim.learning_rate)


def test_a_run_that_starts_from_another_reads_with_its_tokenizer(tmp_path):
    # Token tables of one size would else be taken for each other.
    made = tokenizers.train("word", ["a text of its own"])
    made.save(tmp_path / "old" / "tokenizer")
    stored = config(tokenizer__kind="word").to_dict()
    (tmp_path / "old" / "config.json").write_text(json.dumps(stored))
    c = config(tokenizer__kind="word", init=tmp_path / "old")
    assert builder.build(c).tokenizer == made


# What a class head reads.


def test_only_heads_that_read_a_text_as_a_whole_take_its_mean():
    preset = {"model__preset": "modernbert/tiny"}
    assert builder.build(config(**preset)).model.cfg.pooling == "mean"
    assert builder.build(config(model__pooling="mean")).model.cfg.pooling == "mean"
    assert builder.build(config()).model.cfg.pooling == "cls"
    for name, task in (("tag", "toy_tagged"), ("rtd", "toy_text"), ("mlm", "toy_text")):
        run = builder.build(config(task=task, objective=name, **preset))
        assert run.model.cfg.pooling == "cls", name


def test_a_decoder_has_no_class_head_whose_vectors_could_be_averaged():
    said = refused(architecture="decoder", model__pooling="mean")
    assert "model.pooling='mean' is what an encoder's class head reads" in said
    assert "model.pooling='max' is not known" in refused(model__pooling="max")
