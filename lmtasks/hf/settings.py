"""A config.json read key by key: nothing in it is ignored without a word."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.hf import keys
from lmtasks.models import config as shapes

_REQUIRED = object()
# Keys that change no number of the forward pass, or that others than the model read.
_HARMLESS = """
    architectures model_type torch_dtype dtype transformers_version _name_or_path
    use_cache bos_token_id eos_token_id pad_token_id cls_token_id sep_token_id
    unk_token_id unk_token initializer_range initializer_factor init_std
    initializer_cutoff_factor id2label label2id num_labels problem_type
    task_specific_params finetuning_task is_encoder_decoder decoder_start_token_id
    forced_bos_token_id forced_eos_token_id gradient_checkpointing output_past
    return_dict output_hidden_states output_attentions chunk_size_feed_forward
    classifier_dropout classifier_dropout_prob cls_dropout pooler_dropout hidden_dropout
    summary_type summary_use_proj summary_activation summary_last_dropout
    summary_proj_to_labels summary_first_dropout layerdrop embd_pdrop encoder_layerdrop
    decoder_layerdrop activation_dropout qa_dropout seq_classif_dropout classif_dropout
    n_ctx pretraining_tp slow_but_exact deterministic_flash_attn sparse_prediction
    sparse_pred_ignore_index reference_compile repad_logits_with_grad torchscript
    attn_implementation _attn_implementation cache_implementation max_length min_length
    num_beams length_penalty early_stopping no_repeat_ngram_size do_sample bad_words_ids
    top_k top_p temperature repetition_penalty prefix gap_size layer_norm_type
    down_scale_factor net_structure_type decoder_vocab_size extra_pos_embeddings
    masked_softmax_fusion bias_dropout_fusion attention_softmax_in_fp32 seq_length
    unsloth_version unsloth_fixed
"""
HARMLESS = frozenset(_HARMLESS.split())
ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "relu": "relu",
    "relu2": "relu2", "silu": "silu", "swish": "silu", "quick_gelu": "quick_gelu",
}  # fmt: skip
_THEIR_ACTIVATIONS = {
    "gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "relu2": "relu2",
    "silu": "silu", "quick_gelu": "quick_gelu",
}  # fmt: skip


class Settings:
    """The values of a config.json, which of them were read, and which one last."""

    def __init__(self, values: Mapping[str, typing.Any], where: str = "config.json"):
        self.values, self.where = values, where
        self._read: set[str] = set()
        self.last = ""

    def has(self, key: str) -> bool:
        """Return whether the key is there and not null; that counts as reading it."""
        self._read.add(key)
        self.last = key
        return self.values.get(key) is not None

    def take(self, key: str, default: typing.Any = _REQUIRED) -> typing.Any:
        """Return the value of a key, or the default where it is absent or null.

        Raises:
            ValueError: it is absent and has no default, or it is of a wrong type.
        """
        if self.has(key):
            keys.check(self.where, key, self.values[key])
            return self.values[key]
        if default is _REQUIRED:
            raise ValueError(f"{self.where} has no {key!r}, which its model type needs")
        return default

    def only(self, key: str, accepted: Sequence, default: typing.Any) -> typing.Any:
        """Return the value of a key that must be one of `accepted`.

        Raises:
            ValueError: another value, which is not implemented.
        """
        value = self.take(key, default)
        if value not in accepted:
            self.refuse(key, value, accepted)
        return value

    def refuse(self, key: str, value, accepted: Iterable) -> typing.NoReturn:
        """Raise ValueError: the value of the key is not implemented."""
        known = ", ".join(repr(one) for one in accepted)
        raise ValueError(
            f"{self.where}: {key}={value!r} is not implemented; known here: {known}"
        )

    def activation(self, key: str, default: str) -> str:
        """Return our name of an activation."""
        value = self.take(key, default)
        if value not in tuple(ACTIVATIONS):  # a list has no hash
            self.refuse(key, value, ACTIVATIONS)
        return ACTIVATIONS[value]

    def unread(self) -> list[str]:
        """Return the keys that were not read and may matter."""
        return sorted(self.values.keys() - self._read - HARMLESS)


def their_activation(name: str) -> str:
    """Return transformers' name of our activation."""
    return _THEIR_ACTIVATIONS[name]


Fields = Sequence[tuple]
"""(our field, their key) or (our field, their key, their default); a field of a part
is written "attention.heads".
"""


def read(settings: Settings, fields: Fields) -> dict[str, typing.Any]:
    """Return {our field: value} of the keys that mean the same on both sides."""
    return {ours: settings.take(key, *default) for ours, key, *default in fields}


def write(cfg: shapes.TransformerConfig, fields: Fields) -> dict[str, typing.Any]:
    """Return {their key: value}, what `read` reads."""
    return {key: get(cfg, ours) for ours, key, *_ in fields}


def get(cfg: shapes.TransformerConfig, field: str):
    """Return a field of a shape; 0 that stands for a rule comes as its value."""
    known = {
        "mlp": cfg.hidden,
        "attention.kv_heads": cfg.kv_heads,
        "attention.head_dim": cfg.head_dim,
        "decoder_layers": cfg.decoder_layers or cfg.layers,
    }
    return known[field] if field in known else field_of(cfg, field)


def field_of(cfg: shapes.TransformerConfig, field: str):
    """Return a field of a shape as it was given; of a part as "attention.heads"."""
    part, _, name = field.rpartition(".")
    return getattr(getattr(cfg, part) if part else cfg, name)


def shape(values: Mapping[str, typing.Any], **changes) -> shapes.TransformerConfig:
    """Return the shape of {our field: value}; further fields as parts__field."""
    values = {**values, **{k.replace("__", "."): v for k, v in changes.items()}}
    parts: dict[str, dict] = {"attention": {}, "norm": {}, "positions": {}}
    own = {}
    for field, value in values.items():
        part, _, name = field.rpartition(".")
        (parts[part] if part else own)[name] = value
    return shapes.TransformerConfig(
        **own,
        attention=shapes.Attention(**parts["attention"]),
        norm=shapes.Norm(**parts["norm"]),
        positions=shapes.Positions(**parts["positions"]),
    )


def canonical(cfg: shapes.TransformerConfig, head: str) -> shapes.TransformerConfig:
    """Return the shape with every rule spelt out and no field of training, of speed or
    of other heads, so that two shapes of the same function are equal.
    """
    plain = shapes.TransformerConfig()
    same = ("dropout", "attention_dropout", "init", "init_std", "scan_layers", "remat",
            "dtype", "matmul", "cache_dtype")  # fmt: skip
    if head in ("lm", "none"):
        same += ("class_bias", "pooling", "pooler", "pooler_activation", "pooler_norm")
    a, p, depth = cfg.attention, cfg.positions, max(cfg.layers, cfg.decoder_layers)
    scaled = spread(p.scaled, depth) if p.scaling else (True,)
    positions = dataclasses.replace(
        p, base=tuple(spread(p.base, depth)), scaled=tuple(scaled)
    )
    attention = dataclasses.replace(
        cfg.attention,
        window=tuple(spread(a.window, depth)) if any(a.window) else (),
        kv_heads=cfg.kv_heads,
        head_dim=cfg.head_dim,
        scale=cfg.attention.scale or cfg.head_dim**-0.5,
        implementation=plain.attention.implementation,
    )
    return dataclasses.replace(
        cfg,
        attention=attention,
        positions=positions,
        mlp=cfg.hidden,
        decoder_layers=cfg.decoder_layers or cfg.layers,
        **{field: getattr(plain, field) for field in same},
    )


def spread(pattern: Sequence, layers: int) -> list:
    """Return the pattern's value of each layer; 0 for an empty one."""
    return [pattern[i % len(pattern)] if pattern else 0 for i in range(layers)]
