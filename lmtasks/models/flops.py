"""Model FLOPs by formula: what the matrix products need, whatever is recomputed."""

from __future__ import annotations

from lmtasks.models.config import TransformerConfig


def forward(
    architecture: str,
    cfg: TransformerConfig,
    *,
    tokens: int,
    length: int,
    sources: int = 0,
    source_length: int = 0,
    heads: int | None = None,
    classes: int = 0,
) -> float:
    """Return the FLOPs of one forward pass; training needs three times as many.

    Convention: 2 FLOPs a multiply-add; full attention (no causal half); padding is
    counted as computed; embeddings, norms and softmax are not counted.

    Args:
        architecture, cfg: the model.
        tokens: slots B * T. length: T, the keys each query sees.
        sources, source_length: B * S and S of an encoder-decoder.
        heads: positions the head reads; None = all tokens.
        classes: C of a class head; 0 = the vocabulary.
    """
    heads = tokens if heads is None else heads
    total = 2.0 * heads * cfg.width * (classes or cfg.vocab)
    if architecture != "encoder_decoder":
        both = architecture == "encoder"
        return total + cfg.layers * _layer(cfg, tokens, length, both)
    depth = cfg.decoder_layers or cfg.layers
    total += cfg.layers * _layer(cfg, sources, source_length, True)
    total += depth * _layer(cfg, tokens, length)
    query, memory = _projections(cfg, tokens, sources)
    return total + depth * (query + memory + _scores(cfg, tokens, source_length))


def _projections(cfg, queries, keys):
    d, h, n, k = cfg.width, cfg.head_dim, cfg.attention.heads, cfg.kv_heads
    return 2.0 * queries * 2 * d * n * h, 2.0 * keys * 2 * d * k * h


def _scores(cfg, queries, length):
    return 2.0 * 2 * queries * length * cfg.attention.heads * cfg.head_dim


def _layer(
    cfg: TransformerConfig, tokens: int, length: int, both: bool = False
) -> float:
    if cfg.block == "lstm":  # four gates of D units, or of two times D / 2
        return 2.0 * tokens * 4 * cfg.width**2 * (1.5 if both else 2)
    mlp = 2.0 * tokens * cfg.width * cfg.hidden * (3 if cfg.gated else 2)
    return sum(_projections(cfg, tokens, tokens)) + _scores(cfg, tokens, length) + mlp
