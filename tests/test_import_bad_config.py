"""What a config.json can have wrong: one line that names the file and the key."""

import pytest
import test_import_bad_input as bad

CONTENTS = {
    "{": "config.json is not valid json",
    "": "config.json is not valid json",
    "[" * 100000: "config.json is not valid json",
    "\ud8ff": "config.json is not valid json",
    "[]": "config.json is not a json object but []",
    "null": "config.json is not a json object but None",
    "{}": "config.json has no 'model_type', which says how to read the weights",
    '{"model_type": null}': "config.json has no 'model_type'",
    '{"model_type": 5}': "config.json: model_type='5' is not one of",
    '{"model_type": []}': "config.json: model_type='[]' is not one of",
    '{"model_type": "lama"}': "did you mean 'llama'?",
}


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_a_config_that_is_none(content, tmp_path, capsys):
    folder = bad.checkpoint(tmp_path)
    path = folder / "config.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    assert CONTENTS[content] in bad.refused(capsys, tmp_path, folder)


def test_a_config_that_is_absent(tmp_path, capsys):
    folder = bad.checkpoint(tmp_path)
    (folder / "config.json").unlink()
    said = bad.refused(capsys, tmp_path, folder)
    assert "in has no config.json, which says what its weights mean" in said


def rope(**values):
    return {"rope_parameters": {"rope_theta": 1e4} | values}


def old(**values):
    return {"rope_parameters": None, "rope_scaling": values}


UNKNOWN = "is not implemented; known here:"
COUNT = "is not a whole number from 1 to"
NUMBER = "is not a finite number of at least 0"
VALUES = [
    # What is not implemented goes by its name.
    ("gpt2", {"activation_function": "mish"}, f"activation_function='mish' {UNKNOWN}"),
    ("gpt2", {"activation_function": ["relu"]}, UNKNOWN),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, UNKNOWN),
    ("llama", rope(rope_type="longrope"), f"rope_type='longrope' {UNKNOWN}"),
    ("llama", rope(rope_type=["default"]), UNKNOWN),
    ("llama", old(type="dynamic", factor=2.0), f"rope_type='dynamic' {UNKNOWN}"),
    ("bert", {"position_embedding_type": "relative_key"},
     f"position_embedding_type='relative_key' {UNKNOWN}"),
    ("bert", {"is_decoder": True}, f"is_decoder=True {UNKNOWN}"),
    ("t5", {"feed_forward_proj": "gated-mish"}, "feed_forward_proj='gated-mish'"),
    # Values of a wrong type.
    ("bert", {"hidden_size": "a"}, f"hidden_size='a' {COUNT}"),
    ("bert", {"hidden_size": None}, "has no 'hidden_size', which its model type needs"),
    ("bert", {"num_attention_heads": 0}, f"num_attention_heads=0 {COUNT}"),
    ("bert", {"num_attention_heads": 5}, "is not divisible by attention.heads=5"),
    ("bert", {"hidden_dropout_prob": 1.5}, "dropout=1.5 must be at least 0 and below"),
    ("bert", {"type_vocab_size": 1.0}, "type_vocab_size=1.0 is not a whole number"),
    ("bert", {"architectures": "Bert"}, "architectures='Bert' is not a list of names"),
    ("bert", {"architectures": [5]}, "architectures=[5] is not a list of names"),
    ("bert", {"id2label": [1, 2]}, "id2label=[1, 2] is not an object"),
    ("bert", {"id2label": {"a": "b"}}, "id2label has the keys a, which are not"),
    ("bert", {"num_labels": "x", "id2label": None}, f"num_labels='x' {COUNT}"),
    ("gpt2", {"n_embd": "a"}, f"n_embd='a' {COUNT}"),
    ("gpt2", {"n_layer": True}, f"n_layer=True {COUNT}"),
    ("gpt2", {"n_layer": 10**12}, f"n_layer=1000000000000 {COUNT}"),
    ("gpt2", {"layer_norm_epsilon": "1e-5"}, f"layer_norm_epsilon='1e-5' {NUMBER}"),
    ("gpt2", {"layer_norm_epsilon": float("nan")}, f"layer_norm_epsilon=nan {NUMBER}"),
    ("gpt2", {"tie_word_embeddings": "no"}, "tie_word_embeddings='no' is not true or"),
    ("llama", {"num_attention_heads": 0}, f"num_attention_heads=0 {COUNT}"),
    ("llama", {"num_attention_heads": 5}, "heads=5 is not divisible by kv_heads=3"),
    ("llama", {"num_key_value_heads": 0}, f"num_key_value_heads=0 {COUNT}"),
    ("llama", {"head_dim": 3}, "rotary positions need an even head dim, got 3"),
    ("llama", {"layer_types": ["full_attention"]}, "layer_types has 1 entries for 2"),
    ("llama", {"rope_parameters": [1]}, "rope_parameters=[1] is not an object"),
    ("llama", rope(rope_theta="x"), f"rope_theta='x' {NUMBER}"),
    ("llama", rope(rope_type="linear"), "rope_type='linear' needs a 'factor'"),
    ("llama", rope(rope_type="linear", factor="a"), f"factor='a' {NUMBER}"),
    ("llama", {"num_hidden_layers": 3}, "missing (9): model.layers.2."),
    ("llama", {"vocab_size": 54}, "embed_tokens.weight is [53, 24], not [54, 24]"),
    ("bart", {"d_model": "a"}, f"d_model='a' {COUNT}"),
    ("bart", {"decoder_start_token_id": "x"}, "decoder_start_token_id='x' is not"),
    ("bart", {"decoder_start_token_id": 53}, "=53 is no piece of a vocabulary of 53"),
    ("t5", {"num_heads": None}, "has no 'num_heads'"),
    ("gemma2", {"query_pre_attn_scalar": 0}, "is not understood at query_pre_attn_sc"),
    ("deberta", {"pos_att_type": 5}, "is not understood at pos_att_type=5"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "wanted"), VALUES, ids=range(len(VALUES)))
def test_a_value_that_makes_no_model(name, values, wanted, tmp_path, capsys):
    folder = bad.checkpoint(tmp_path, name, **values)
    said = bad.refused(capsys, tmp_path, folder)
    assert wanted in said
    assert "config.json" in said
