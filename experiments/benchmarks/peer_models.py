"""The peer's models: our shapes as transformers says them, and its classes."""

from __future__ import annotations

import transformers

from lmtasks.models.config import TransformerConfig


def bert_config(cfg: TransformerConfig, vocab: int) -> transformers.BertConfig:
    """Return the shape as transformers says it."""
    return transformers.BertConfig(
        vocab_size=vocab,
        hidden_size=cfg.width,
        num_hidden_layers=cfg.layers,
        num_attention_heads=cfg.attention.heads,
        intermediate_size=cfg.hidden,
        max_position_embeddings=cfg.positions.size,
        layer_norm_eps=cfg.norm.eps,
        hidden_dropout_prob=cfg.dropout,
        attention_probs_dropout_prob=cfg.attention_dropout,
    )


def gpt2_config(cfg: TransformerConfig, vocab: int) -> transformers.GPT2Config:
    """Return the shape as transformers says it."""
    return transformers.GPT2Config(
        vocab_size=vocab,
        n_embd=cfg.width,
        n_layer=cfg.layers,
        n_head=cfg.attention.heads,
        n_positions=cfg.positions.size,
        layer_norm_epsilon=cfg.norm.eps,
        embd_pdrop=cfg.dropout,
        resid_pdrop=cfg.dropout,
        attn_pdrop=cfg.attention_dropout,
        use_cache=False,
    )


def t5_config(cfg: TransformerConfig, vocab: int) -> transformers.T5Config:
    """Return the shape as transformers says it."""
    return transformers.T5Config(
        vocab_size=vocab,
        d_model=cfg.width,
        d_kv=cfg.head_dim,
        d_ff=cfg.hidden,
        num_layers=cfg.layers,
        num_heads=cfg.attention.heads,
        layer_norm_epsilon=cfg.norm.eps,
        dropout_rate=cfg.dropout,
        feed_forward_proj=cfg.activation,
        decoder_start_token_id=0,
        use_cache=False,
    )


# family -> (its shape, its token table).
SHAPES = {
    "bert": (bert_config, "bert.embeddings.word_embeddings.weight"),
    "gpt2": (gpt2_config, "transformer.wte.weight"),
    "t5": (t5_config, "shared.weight"),
}
# (family, head) -> model.
CLASSES = {
    ("bert", "lm"): transformers.BertForMaskedLM,
    ("bert", "classify"): transformers.BertForSequenceClassification,
    ("bert", "tag"): transformers.BertForTokenClassification,
    ("gpt2", "lm"): transformers.GPT2LMHeadModel,
    ("t5", "lm"): transformers.T5ForConditionalGeneration,
}
