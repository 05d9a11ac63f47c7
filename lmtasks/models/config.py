"""TransformerConfig: one set of independent switches for every architecture."""

from __future__ import annotations

import dataclasses

from lmtasks.models import limits


@dataclasses.dataclass(frozen=True)
class Attention:
    """Switches of self- and cross-attention.

    Attributes:
        heads: query heads N.
        kv_heads: key/value heads K; 0 = as many as heads (Llama 3 groups them).
        head_dim: H; 0 = width / heads (T5-11B and Gemma set it apart).
        bias: biases on query, key and value (GPT-2, BERT, Qwen2).
        out_bias: bias on the output projection (GPT-2, BERT).
        scale: multiplies q.k; 0 = head_dim ** -0.5 (T5 uses 1).
        qk_norm: "" | "head" (Qwen3) | "width" (OLMo-2), RMS norm of q and k.
        soft_cap: cap * tanh(logits / cap); 0 = off (Gemma 2).
        window: sliding window per layer, cycled; 0 = full (Mistral, Gemma 2).
        implementation: "xla" (anywhere) | "cudnn" (NVIDIA GPU, bf16) | "splash" (TPU) |
            "auto", which layers.kernels turns into one of these.
    """

    heads: int = 4
    kv_heads: int = 0
    head_dim: int = 0
    bias: bool = False
    out_bias: bool = False
    scale: float = 0.0
    qk_norm: str = ""
    soft_cap: float = 0.0
    window: tuple[int, ...] = ()
    implementation: str = "xla"


@dataclasses.dataclass(frozen=True)
class Norm:
    """Normalization: its kind, where it stands, and its epsilon.

    Attributes:
        kind: "layer" (scale and bias) | "rms" (Llama, T5) | "rms1" (1 + w, Gemma).
        at: "pre" (GPT-2) | "post" (BERT) | "sandwich" (Gemma 2) | "output" (OLMo-2).
        eps: added to the variance.
        final: one more norm after the last layer (pre-norm models).
        bias: of "layer" (ModernBERT has none).
        first: the first layer has its norm before attention (ModernBERT has none).
    """

    kind: str = "rms"
    at: str = "pre"
    eps: float = 1e-6
    final: bool = True
    bias: bool = True
    first: bool = True


@dataclasses.dataclass(frozen=True)
class Positions:
    """How a position enters the model.

    Attributes:
        kind: "learned" (GPT-2, BERT) | "sinusoidal" (Vaswani et al., 2017) |
            "rotary" (Su et al., 2021) | "t5" (relative bias, Raffel et al., 2020) |
            "alibi" (Press et al., 2022) | "disentangled" (He et al., 2021, DeBERTa,
            encoders only) | "none".
        size: largest number of positions; the table's rows when learned.
        offset: first row in use (RoBERTa, BART, OPT: 2).
        base: rotary theta per layer, cycled (Gemma 3 alternates two).
        fraction: share of the head dim that rotates (GPT-NeoX .25).
        scaling: "" | "linear" | "llama3" | "yarn", with the four numbers below.
        factor, low, high, original: the scaling's factor, low and high frequency
            factors (yarn: beta_slow, beta_fast) and the length trained on.
        scaled: which layers the scaling is for, cycled (Gemma 3: the full ones).
        buckets, distance: relative buckets and largest distance (T5, DeBERTa).
    """

    kind: str = "rotary"
    size: int = 2048
    offset: int = 0
    base: tuple[float, ...] = (10000.0,)
    fraction: float = 1.0
    scaling: str = ""
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192
    scaled: tuple[bool, ...] = (True,)
    buckets: int = 32
    distance: int = 128


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """The shape of a transformer; see `Attention`, `Norm`, `Positions` for parts.

    Attributes:
        vocab: V, rows of the token table.
        width: D. layers: L of each stack. mlp: F, 0 = 4 * width.
        decoder_layers: layers of the decoder of an encoder-decoder; 0 = layers.
        block: "attention" | "lstm", which takes the place of self-attention and feed-
            forward, both ways in an encoder. Positions that attention reads (rotary,
            t5, alibi) then mean nothing, and weights start with 1 / sqrt(inputs).
        context: what a decoder reads of its encoder: "attention" (all of it) |
            "vector" (the mean of it, one for all steps, Cho et al., 2014).
        activation: "gelu" | "gelu_tanh" | "relu" | "relu2" | "silu" | "quick_gelu".
        gated: activation(gate) * up (Llama, T5 v1.1, Gemma).
        mlp_bias: biases of the feed-forward (GPT-2, BERT).
        token_types: rows of the token-type table (BERT 2); 0 = none.
        embed_norm: norm after the embeddings (BERT, BLOOM).
        embed_scale: multiplies the embeddings (Gemma sqrt(D)).
        embed_dim: width of the token table with a projection (OPT); 0 = width.
        embed_inputs: positions, types and norm are embed_dim wide too, and the
            projection, with a bias, comes after them (ALBERT, ELECTRA).
        tied: the head shares the token table.
        head_scale: multiplies the last hidden state (T5 v1.0: D ** -0.5).
        head_bias: bias over the vocabulary (BERT).
        head_transform: dense, activation, norm before the vocabulary (BERT).
        pooling: what an encoder's class head reads: "cls" | "mean" of the text.
        pooler: dense and activation before a class head (BERT).
        pooler_activation: "tanh" (BERT) | "relu" (DistilBERT) | "gelu" (ELECTRA).
        pooler_norm: norm after them (ModernBERT).
        head_dense_bias: bias of the pooler and of the head's transform.
        class_bias: bias of a class head's last projection (decoders have none).
        logit_soft_cap: cap * tanh(logits / cap); 0 = off (Gemma 2).
        parallel: attention and feed-forward from the same input (GPT-NeoX).
        shared_layers: one layer applied L times (ALBERT).
        dropout: on embeddings and sublayer outputs. attention_dropout: on weights.
        init: "normal" (std init_std) | "fan_in" (1 / sqrt(inputs), T5).
        init_std: standard deviation of "normal".
        scan_layers: one compiled layer, parameters stacked over L.
        remat: "" | "full" | "dots": what is computed again in the backward pass.
        dtype: of activations and matmuls, "float32" | "bfloat16".
        matmul: of the layers' projections in training, "" = dtype | "int8".
        cache_dtype: of cached keys and values, "" = dtype | "float32" | "bfloat16" |
            "int8" (with a scale for each vector).
    """

    vocab: int = 256
    width: int = 64
    layers: int = 2
    mlp: int = 0
    decoder_layers: int = 0
    block: str = "attention"
    context: str = "attention"
    activation: str = "gelu"
    gated: bool = False
    mlp_bias: bool = False
    attention: Attention = Attention()
    norm: Norm = Norm()
    positions: Positions = Positions()
    token_types: int = 0
    embed_norm: bool = False
    embed_scale: float = 1.0
    embed_dim: int = 0
    embed_inputs: bool = False
    tied: bool = True
    head_scale: float = 1.0
    head_bias: bool = False
    head_transform: bool = False
    pooling: str = "cls"
    pooler: bool = False
    pooler_activation: str = "tanh"
    pooler_norm: bool = False
    head_dense_bias: bool = True
    class_bias: bool = True
    logit_soft_cap: float = 0.0
    parallel: bool = False
    shared_layers: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0
    init: str = "normal"
    init_std: float = 0.02
    scan_layers: bool = False
    remat: str = ""
    dtype: str = "float32"
    matmul: str = ""
    cache_dtype: str = ""

    @property
    def head_dim(self) -> int:
        """H, the width of one head."""
        return self.attention.head_dim or self.width // self.attention.heads

    @property
    def kv_heads(self) -> int:
        """K, the number of key/value heads."""
        return self.attention.kv_heads or self.attention.heads

    @property
    def hidden(self) -> int:
        """F, the hidden width of the feed-forward."""
        return self.mlp or 4 * self.width

    def __post_init__(self):
        limits.check(self)
