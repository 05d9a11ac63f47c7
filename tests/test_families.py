"""Each family's presets have the published shapes, counted without any weights."""

import contextlib
import dataclasses
import functools
import importlib
import pkgutil

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lmtasks import families
from lmtasks.hf import writing
from lmtasks.models import model as models
from lmtasks.training import parallel

# Counted by formula from the published shapes; they match the published counts.
COUNTS = {
    "bert/base": 108_891_648,
    "bert/large": 335_141_888 - 1024 * 1024 - 1024,  # without its pooler
    "bart/base": 139_420_416 + 50_265,  # with the bias of its logits
    "bart/large": 406_291_456 + 50_265,
    "distilbert/base": 66_362_880,
    "gemma/2b": 2_506_172_416,
    "gemma/7b": 8_537_680_896,
    "gemma/2-2b": 2_614_341_888,
    "gpt2/small": 124_439_808,
    "gpt2/medium": 354_823_168,
    "gpt2/large": 774_030_080,
    "gpt2/xl": 1_557_611_200,
    "llama/2-7b": 6_738_415_616,
    "llama/3-8b": 8_030_261_248,
    "llama/3-70b": 70_553_706_496,
    "llama/3.2-1b": 1_235_814_400,
    "llama/tinyllama-1.1b": 1_100_048_384,
    "llama/mistral-7b": 7_241_732_096,
    "qwen/2.5-0.5b": 494_032_768,
    "qwen/3-0.6b": 596_049_920,
    "roberta/base": 124_645_632 - 768 * 768 - 768,
    "roberta/large": 355_359_744 - 1024 * 1024 - 1024,
    "t5/small": 60_506_624,
    "t5/base": 222_903_552,
    "t5/large": 737_668_096,
    "t5/3b": 2_851_598_336,
    "t5/11b": 11_307_321_344,
    "t5/v1.1-small": 76_961_152,
    "t5/v1.1-base": 247_577_856,
    "t5/v1.1-large": 783_150_080,
    "t5/v1.1-xl": 2_849_757_184,
    "t5/v1.1-xxl": 11_135_332_352,
}


def _presets():
    found = {}
    for module in pkgutil.iter_modules(families.__path__):
        family = importlib.import_module(f"{families.__name__}.{module.name}")
        for size, cfg in getattr(family, "PRESETS", {}).items():
            head = "none" if family.ARCHITECTURE == "encoder" else "lm"
            one = models.Model(family.ARCHITECTURE, cfg, head)
            found[f"{module.name}/{size}"] = one
    return found


PRESETS = _presets()


@functools.cache
def _shapes(name):
    """Return the boxed parameter tree as shapes."""
    return jax.eval_shape(PRESETS[name].init, jax.random.key(0))


@pytest.mark.parametrize("name", COUNTS)
def test_a_preset_has_its_published_number_of_parameters(name):
    assert models.count(_shapes(name)) == COUNTS[name]


def test_bert_with_a_class_head_has_its_pooler():
    cfg = PRESETS["bert/base"].cfg
    one = models.Model("encoder", cfg, "classify", 2)
    count = models.count(jax.eval_shape(one.init, jax.random.key(0)))
    assert count == 109_482_240 + 2 * 768 + 2


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_has_as_many_known_axes_as_dims(name):
    one = PRESETS[name]
    cfg = dataclasses.replace(one.cfg, layers=2, decoder_layers=0)
    one = dataclasses.replace(one, cfg=cfg)
    shapes = jax.eval_shape(lambda: models.unbox(one.init(jax.random.key(0))))
    axes = models.logical_axes(one)
    flat = jax.tree_util.tree_leaves_with_path(
        axes, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )
    leaves = jax.tree.leaves(shapes)
    assert len(flat) == len(leaves)
    for (path, spec), x in zip(flat, leaves, strict=True):
        assert len(spec) == x.ndim, path
        for axis in spec:
            parallel.mesh_axes(axis)  # raises for an unknown name


@pytest.mark.parametrize("head", ["lm", "classify", "tag", "span"])
def test_the_heads_parameters_have_known_axes(head):
    cfg = PRESETS["bert/tiny"].cfg
    axes = models.logical_axes(models.Model("encoder", cfg, head, 3))
    for spec in jax.tree.leaves(axes, is_leaf=lambda x: isinstance(x, PartitionSpec)):
        for axis in spec:
            parallel.mesh_axes(axis)


@pytest.mark.parametrize("name", [n for n in PRESETS if n.endswith(("tiny", "mini"))])
def test_the_small_presets_map_tokens_to_logits(name):
    one = PRESETS[name]
    rows = np.zeros((2, 6), np.int32)
    batch = dict.fromkeys(("tokens", "positions", "source", "source_positions"), rows)
    out = jax.eval_shape(one.apply, models.unbox(_shapes(name)), batch)
    wide = one.cfg.width if one.head == "none" else one.cfg.vocab
    assert out.shape == (2, 6, wide)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_written_as_a_checkpoints_config(name):
    one = PRESETS[name]
    family = importlib.import_module(f"lmtasks.families.{name.split('/')[0]}").FAMILY
    written = []
    for kind in family.types:
        with contextlib.suppress(ValueError):
            written.append(writing.config_of(writing.Export(family, kind, one)))
    assert written, "no model type of the family holds it"


def test_the_published_traits_of_each_family_are_set():
    cfg = {name: one.cfg for name, one in PRESETS.items()}
    t5, gated = cfg["t5/base"], cfg["t5/v1.1-base"]
    assert t5.attention.scale == 1.0  # the scale is in the initialization
    assert t5.tied and t5.head_scale == pytest.approx(768**-0.5)
    assert not gated.tied and gated.head_scale == 1.0 and gated.gated
    assert (t5.activation, gated.activation) == ("relu", "gelu_tanh")
    assert cfg["gpt2/small"].activation == "gelu_tanh"
    bert = cfg["bert/base"]
    assert (bert.activation, bert.norm.at, bert.norm.eps) == ("gelu", "post", 1e-12)
    assert bert.token_types == 2 and bert.embed_norm and bert.pooler
    llama = cfg["llama/3.2-1b"].positions
    assert (llama.base, llama.scaling, llama.factor) == ((5e5,), "llama3", 32.0)
    assert llama.original == 8192
    assert cfg["llama/3-8b"].kv_heads == 8 and cfg["llama/2-7b"].kv_heads == 32
