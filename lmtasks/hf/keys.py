"""What a value of a config.json may be: a number, a switch, a name."""

from __future__ import annotations

import math
import typing

# Sizes and counts; nothing published comes near the largest.
_COUNTS = """
    vocab_size hidden_size d_model n_embd dim embedding_size word_embed_proj_dim
    num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers
    num_decoder_layers num_attention_heads n_head n_heads num_heads head_dim d_kv
    encoder_attention_heads decoder_attention_heads num_key_value_heads
    intermediate_size hidden_dim d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim n_inner
    max_position_embeddings n_positions relative_attention_num_buckets
    relative_attention_max_distance global_attn_every_n_layers local_attention
    original_max_position_embeddings sliding_window_pattern num_hidden_groups
    inner_group_num num_labels
"""
_WHOLE = """
    type_vocab_size sliding_window max_window_layers pad_token_id position_buckets
    max_relative_positions decoder_start_token_id
"""
_NUMBERS = """
    layer_norm_eps layer_norm_epsilon norm_eps rms_norm_eps hidden_dropout_prob
    attention_probs_dropout_prob dropout dropout_rate attention_dropout hidden_dropout
    embedding_dropout resid_pdrop attn_pdrop rope_theta rotary_emb_base rotary_pct
    partial_rotary_factor global_rope_theta local_rope_theta rope_local_base_freq
    attn_logit_softcapping final_logit_softcapping factor low_freq_factor
    high_freq_factor beta_fast beta_slow query_pre_attn_scalar
"""
_SWITCHES = """
    tie_word_embeddings attention_bias mlp_bias norm_bias decoder_bias classifier_bias
    enable_bias use_parallel_residual use_sliding_window scale_embedding
    scale_decoder_outputs position_biased_input relative_attention
"""
_MOST = 1 << 24
_COUNT, _INT = f"a whole number from 1 to {_MOST}", "a whole number"
_FLOAT, _BOOL = "a finite number of at least 0", "true or false"
_ACCEPTED = (
    dict.fromkeys(_COUNTS.split(), _COUNT)
    | dict.fromkeys(_WHOLE.split(), _INT)
    | dict.fromkeys(_NUMBERS.split(), _FLOAT)
    | dict.fromkeys(_SWITCHES.split(), _BOOL)
    | dict.fromkeys(("rope_parameters", "rope_scaling", "id2label"), "an object")
    | dict.fromkeys(("layer_types", "architectures"), "a list of names")
)


def check(where: str, key: str, value: typing.Any) -> None:
    """Raise ValueError when a key has a value that it never takes; null is none."""
    accepted = _ACCEPTED.get(key)
    if accepted is None or value is None or _good(accepted, value):
        return
    raise ValueError(
        f"{where}: {key}={value!r} is not {accepted}; fetch the file again or "
        "correct it"
    )


def _good(accepted: str, value: typing.Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    return {
        _COUNT: whole and 1 <= value <= _MOST,
        _INT: whole and abs(value) <= _MOST,
        _FLOAT: number and math.isfinite(value) and value >= 0,
        _BOOL: isinstance(value, bool),
        "an object": isinstance(value, dict),
    }.get(accepted, _names(value))


def _names(value: typing.Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
