"""The tiny checkpoints of every family: their config.json and class in transformers.

All dims differ, so that no two can be taken for each other.
"""

from __future__ import annotations

import dataclasses

# Rows of a batch: lengths, and those of the sources of an encoder-decoder.
LENGTHS, SOURCES = (13, 7), (6, 10)
VOCAB = 53
CLASSES = 3


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint: its class in transformers and what its config is made of."""

    cls: str
    config: dict


_BERT = {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 3, "intermediate_size": 40,
         "max_position_embeddings": 20}  # fmt: skip
_LLAMA = {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2,
          "num_attention_heads": 6, "num_key_value_heads": 3,
          "intermediate_size": 40, "max_position_embeddings": 64, "eos_token_id": 2,
          "bos_token_id": 1, "pad_token_id": 0}  # fmt: skip
_BART = {"vocab_size": VOCAB, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3,
         "encoder_attention_heads": 3, "decoder_attention_heads": 3,
         "encoder_ffn_dim": 40, "decoder_ffn_dim": 40,
         "max_position_embeddings": 20}  # fmt: skip
_T5 = {"vocab_size": VOCAB, "d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 2,
       "num_decoder_layers": 3, "num_heads": 3, "relative_attention_num_buckets": 8,
       "relative_attention_max_distance": 12}  # fmt: skip
_ALBERT = _BERT | {"embedding_size": 16, "num_hidden_layers": 3}
_ELECTRA = _BERT | {"embedding_size": 16}
_DISTILBERT = {"vocab_size": VOCAB, "dim": 24, "n_layers": 2, "n_heads": 3,
               "hidden_dim": 40, "max_position_embeddings": 20}  # fmt: skip
_ROBERTA = _BERT | {"max_position_embeddings": 22, "type_vocab_size": 1}
_MODERNBERT = _BERT | {
    "num_hidden_layers": 4, "max_position_embeddings": 40, "local_attention": 4,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2,
}  # fmt: skip
_DEBERTA = _BERT | {
    "relative_attention": True, "position_biased_input": False, "share_att_key": True,
    "norm_rel_ebd": "layer_norm", "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 4, "max_relative_positions": -1,
}  # fmt: skip
_GPT2 = {"vocab_size": VOCAB, "n_embd": 24, "n_layer": 2, "n_head": 3,
         "n_positions": 20, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}  # fmt: skip
_OPT = {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 3, "ffn_dim": 40, "max_position_embeddings": 20,
        "word_embed_proj_dim": 24}  # fmt: skip
_NEOX = _BERT | {"hidden_size": 48, "num_attention_heads": 3}
_LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0,
           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 16}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "beta_fast": 4.0,
         "beta_slow": 1.0, "original_max_position_embeddings": 16}  # fmt: skip
_GEMMA3 = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
}
_GEMMA = _LLAMA | {"head_dim": 8}
_GEMMA2 = _GEMMA | {"query_pre_attn_scalar": 12, "sliding_window": 3}
_CAPS = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}
_NEAR_FAR = ["sliding_attention", "sliding_attention", "full_attention"] * 2

CASES = {
    "bert": Case("BertForMaskedLM", _BERT),
    "bert-tanh": Case("BertForMaskedLM", _BERT | {"hidden_act": "gelu_new"}),
    "bert-classify": Case("BertForSequenceClassification", _BERT),
    "bert-tag": Case("BertForTokenClassification", _BERT),
    "bert-span": Case("BertForQuestionAnswering", _BERT),
    "roberta": Case("RobertaForMaskedLM", _ROBERTA),
    "roberta-classify": Case("RobertaForSequenceClassification", _ROBERTA),
    "xlm-roberta": Case("XLMRobertaForMaskedLM", _ROBERTA),
    "camembert": Case("CamembertForMaskedLM", _ROBERTA),
    "distilbert": Case("DistilBertForMaskedLM", _DISTILBERT),
    "distilbert-classify": Case("DistilBertForSequenceClassification", _DISTILBERT),
    "albert": Case("AlbertForMaskedLM", _ALBERT),
    "albert-classify": Case("AlbertForSequenceClassification", _ALBERT),
    "electra": Case("ElectraForMaskedLM", _ELECTRA),
    "electra-classify": Case("ElectraForSequenceClassification", _ELECTRA),
    "electra-wide": Case("ElectraForTokenClassification", _BERT | {"embedding_size": 24}),
    "modernbert": Case("ModernBertForMaskedLM", _MODERNBERT),
    "modernbert-classify": Case("ModernBertForSequenceClassification", _MODERNBERT),
    "modernbert-mean": Case(
        "ModernBertForSequenceClassification",
        _MODERNBERT | {"classifier_pooling": "mean"},
    ),
    "deberta": Case("DebertaV2ForMaskedLM", _DEBERTA),
    "deberta-classify": Case("DebertaV2ForSequenceClassification", _DEBERTA),
    "gpt2": Case("GPT2LMHeadModel", _GPT2),
    "gpt2-classify": Case("GPT2ForSequenceClassification", _GPT2),
    "opt": Case("OPTForCausalLM", _OPT),
    "opt-post": Case(
        "OPTForCausalLM",
        _OPT | {"word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": Case(
        "BloomForCausalLM",
        {"vocab_size": VOCAB, "hidden_size": 24, "n_layer": 2, "n_head": 3},
    ),
    "neox": Case("GPTNeoXForCausalLM", _NEOX),
    "neox-serial": Case("GPTNeoXForCausalLM", _NEOX | {"use_parallel_residual": False}),
    "llama": Case("LlamaForCausalLM", _LLAMA),
    "llama-3": Case("LlamaForCausalLM", _LLAMA | {"rope_parameters": _LLAMA3}),
    "llama-yarn": Case(
        "LlamaForCausalLM",
        _LLAMA | {"rope_parameters": _YARN, "tie_word_embeddings": True,
                  "attention_bias": True, "mlp_bias": True},
    ),
    "llama-classify": Case("LlamaForSequenceClassification", _LLAMA),
    "mistral": Case("MistralForCausalLM", _LLAMA | {"head_dim": 8, "sliding_window": 3}),
    "qwen2": Case(
        "Qwen2ForCausalLM",
        _LLAMA | {"num_hidden_layers": 4, "use_sliding_window": True,
                  "sliding_window": 3, "max_window_layers": 2},
    ),
    "qwen3": Case("Qwen3ForCausalLM", _LLAMA | {"head_dim": 8}),
    "gemma": Case("GemmaForCausalLM", _GEMMA),
    "gemma2": Case("Gemma2ForCausalLM", _GEMMA2 | _CAPS | {"num_hidden_layers": 4}),
    "gemma3": Case(
        "Gemma3ForCausalLM",
        _GEMMA2 | {"num_hidden_layers": 6, "layer_types": _NEAR_FAR,
                   "rope_parameters": _GEMMA3},
    ),
    "phi3": Case(
        "Phi3ForCausalLM",
        _LLAMA | {"original_max_position_embeddings": 64, "sliding_window": 3},
    ),
    "olmo2": Case("Olmo2ForCausalLM", _LLAMA),
    "t5": Case("T5ForConditionalGeneration", _T5),
    "t5-v1.1": Case(
        "T5ForConditionalGeneration",
        _T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": Case("MT5ForConditionalGeneration", _T5 | {"feed_forward_proj": "gated-gelu"}),
    "bart": Case("BartForConditionalGeneration", _BART),
    "mbart": Case("MBartForConditionalGeneration", _BART | {"scale_embedding": True}),
    "pegasus": Case(
        "PegasusForConditionalGeneration",
        _BART | {"scale_embedding": True, "activation_function": "relu"},
    ),
    "marian": Case(
        "MarianMTModel",
        _BART | {"decoder_vocab_size": VOCAB, "scale_embedding": True,
                 "activation_function": "swish", "pad_token_id": VOCAB - 1,
                 "decoder_start_token_id": VOCAB - 1, "eos_token_id": 0},
    ),
}  # fmt: skip
