"""Checkpoint folders: numbering, special tokens, roles, and the way back."""

import io
import json
import struct

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb2

from lmtasks import tokenizers
from lmtasks.tokenizers import frame
from lmtasks.tokenizers import publish

TEXTS = ["the cat sat on the mat", "a cat and a hat", "that is the end of it"] * 4
SAYINGS = ["the cat", "a  hat on it", "the <mask> </s> end", "Zebra \u4f60"]


def model(size=40, front=("<unk>", "<s>", "</s>"), **more):
    """Return a SentencePiece model file whose first pieces are `front`."""
    writer = io.BytesIO()
    ids = {f"{role}_id": -1 for role in ("bos", "eos", "pad")}
    names = {"<unk>": "unk", "[UNK]": "unk", "<s>": "bos", "[CLS]": "bos"}
    names |= {"</s>": "eos", "[SEP]": "eos", "<pad>": "pad", "[PAD]": "pad"}
    for i, piece in enumerate(front):
        ids |= {f"{names[piece]}_id": i, f"{names[piece]}_piece": piece}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=writer,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
        **more,
    )
    return writer.getvalue()


def checkpoint(folder, name, content, **config):
    """Write a vocabulary with its configuration; return what is loaded."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizers.load(folder)


def theirs_of(folder, kind):
    """Return the transformers tokenizer of a folder, or skip."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    found = getattr(transformers, kind).from_pretrained(folder)
    found.split_special_tokens = True
    return found


def test_xlm_r_counts_from_fairseqs_four(tmp_path):
    content = model()
    tok = checkpoint(
        tmp_path,
        "sentencepiece.bpe.model",
        content,
        tokenizer_class="XLMRobertaTokenizer",
    )
    plain = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert [tok.piece(i) for i in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    for text in SAYINGS:
        wanted = [3 if i == 0 else i + 1 for i in plain.encode(text)]
        assert tok.encode(text) == wanted
    assert tok.mask_id == tok.size - 1 == plain.vocab_size() + 1
    roles = (tok.bos_id, tok.pad_id, tok.eos_id, tok.unk_id, tok.cls_id, tok.sep_id)
    assert roles == (0, 1, 2, 3, 0, 2)
    assert frame.frame_of(tok) == frame.Frame((0,), (2, 2), (2,))
    tok.save(tmp_path / "saved")
    assert tokenizers.load(tmp_path / "saved") == tok


@pytest.mark.parametrize(
    "kind",
    ["XLMRoberta", "MBart", "MBart50", "Camembert", "Pegasus", "T5", "DebertaV2"],
)
def test_the_ids_of_a_model_file_are_those_of_transformers(tmp_path, kind):
    front, name = ("<unk>", "<s>", "</s>"), "sentencepiece.bpe.model"
    if kind in ("Pegasus", "T5"):
        front, name = ("<pad>", "</s>", "<unk>"), "spiece.model"
    if kind == "DebertaV2":
        front, name = ("[PAD]", "[CLS]", "[SEP]", "[UNK]"), "spm.model"
    config = {"tokenizer_class": f"{kind}Tokenizer"}
    if kind == "Pegasus":  # as the released file has them
        config |= {"mask_token": "<mask_2>", "mask_token_sent": "<mask_1>"}
    tok = checkpoint(tmp_path, name, model(front=front), **config)
    theirs = theirs_of(tmp_path, f"{kind}Tokenizer")
    for text in ("the cat", "a hat on it", "that is the end of the mat"):
        assert tok.encode(text) == theirs.encode(text, add_special_tokens=False), text
    for role in ("bos", "eos", "cls", "sep", "pad", "unk", "mask"):
        known = getattr(theirs, f"{role}_token_id", None)
        if known is not None and (kind, role) != ("Pegasus", "mask"):
            assert tok.roles.get(role) == known, role
    if kind != "Pegasus":
        assert len(theirs) == tok.size
    if kind.startswith("MBart"):
        assert tok.names["en_XX"] == theirs.convert_tokens_to_ids("en_XX")


def test_pegasus_counts_from_103(tmp_path):
    content = model(front=("<pad>", "</s>", "<unk>"))
    (tmp_path / "config.json").write_text('{"model_type": "pegasus"}')
    tok = checkpoint(tmp_path, "spiece.model", content)
    plain = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert tok.encode("the cat") == [i + 103 for i in plain.encode("the cat")]
    first = [tok.piece(i) for i in (0, 1, 2, 3, 4, 104, 105)]
    assert first == ["<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk_102>",
                     "<unk>"]  # fmt: skip
    assert (tok.mask_id, tok.unk_id, tok.eos_id) == (3, 105, 1)


def test_t5s_sentinels_come_without_being_asked_for(tmp_path):
    content = model(front=("<pad>", "</s>", "<unk>"))
    tok = checkpoint(
        tmp_path, "spiece.model", content, tokenizer_class="T5TokenizerFast"
    )
    assert len(tok.sentinels) == 100 and tok.sentinels[0] == tok.size - 1
    assert tok.bos_id is tok.cls_id is None and tok.eos_id == 1
    assert frame.frame_of(tok) == frame.Frame((), (1,), (1,))
    fewer = {"tokenizer_class": "T5Tokenizer", "extra_ids": 3}
    assert len(checkpoint(tmp_path, "spiece.model", content, **fewer).sentinels) == 3


def test_deberta_v2_puts_its_mask_on_top(tmp_path):
    content = model(front=("[PAD]", "[CLS]", "[SEP]", "[UNK]"))
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    tok = checkpoint(tmp_path, "spm.model", content, do_lower_case=False)
    assert tok.names["[MASK]"] == tok.mask_id == tok.size - 1 == tok.core.size
    roles = (tok.pad_id, tok.cls_id, tok.sep_id, tok.unk_id, tok.bos_id, tok.eos_id)
    assert roles == (0, 1, 2, 3, 1, 2)


def test_the_same_file_under_an_unknown_class_is_refused(tmp_path):
    for config, said in (
        ({}, "depend on the model.*config.json"),
        ({"tokenizer_class": "M2M100Tokenizer"}, "M2M100Tokenizer numbers the pieces"),
        ({"tokenizer_class": "NllbTokenizer"}, "NLLB's language codes"),
    ):
        with pytest.raises(ValueError, match=said):
            checkpoint(tmp_path, "sentencepiece.bpe.model", model(), **config)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "source.spm").write_bytes(model())
    (tmp_path / "m" / "vocab.json").write_text("{}")
    with pytest.raises(ValueError, match="this is a Marian vocabulary"):
        tokenizers.load(tmp_path / "m")
    with pytest.raises(ValueError, match="stands where the model has special tokens"):
        checkpoint(
            tmp_path, "sentencepiece.bpe.model", model(front=("<unk>",)),
            tokenizer_class="XLMRobertaTokenizer",
        )  # fmt: skip


def test_nllb_puts_the_stated_languages_on_top(tmp_path):
    config = {"additional_special_tokens": ["ace_Latn", "eng_Latn"]}
    tok = checkpoint(
        tmp_path, "sentencepiece.bpe.model", model(), tokenizer_class="NllbTokenizer",
        **config,
    )  # fmt: skip
    top = [tok.piece(i) for i in range(tok.size - 3, tok.size)]
    assert top == ["ace_Latn", "eng_Latn", "<mask>"]


def byte_files(folder, specials=("<s>", "<pad>", "</s>", "<unk>", "<mask>")):
    """Write vocab.json and merges.txt as RoBERTa has them."""
    data = json.loads(
        tokenizers.train("bytebpe", TEXTS, size=280).files()["tokenizer.json"]
    )
    old = sorted(data["model"]["vocab"], key=data["model"]["vocab"].get)[7:]
    vocab = {name: i for i, name in enumerate((*specials[:4], *old, *specials[4:]))}
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = [" ".join(pair) for pair in data["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return vocab


@pytest.mark.parametrize("spaced", [False, True])
def test_roberta_files_have_its_roles_and_ids(tmp_path, spaced):
    vocab = byte_files(tmp_path)
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": spaced}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tok = tokenizers.load(tmp_path)
    roles = (tok.bos_id, tok.pad_id, tok.eos_id, tok.unk_id, tok.cls_id, tok.sep_id)
    assert roles == (0, 1, 2, 3, 0, 2) and tok.mask_id == vocab["<mask>"]
    assert "<mask>" in tok.left
    assert frame.frame_of(tok) == frame.Frame((0,), (2, 2), (2,))
    theirs = theirs_of(tmp_path, "RobertaTokenizer")
    for text in SAYINGS:
        assert tok.encode(text) == theirs.encode(text, add_special_tokens=False)
    pair = theirs("the cat", "a hat")["input_ids"]
    around = frame.frame_of(tok)
    assert pair == [
        *around.before, *tok.encode("the cat"), *around.between, *tok.encode("a hat"),
        *around.after,
    ]  # fmt: skip


def test_added_tokens_that_are_no_markers_are_text(tmp_path):
    vocab = byte_files(tmp_path)
    top = len(vocab)
    decoder = {
        str(top): {"content": "<|im_start|>", "special": True},
        str(top + 1): {"content": "    ", "special": False},
        str(top + 2): {"content": "<think>", "special": False, "rstrip": False},
    }
    config = {"added_tokens_decoder": decoder, "pad_token": "<|fill|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tok = tokenizers.load(tmp_path)
    assert top + 1 in tok.encode("a    b") and tok.encode("<think>") == [top + 2]
    assert top not in tok.encode("<|im_start|>")
    assert tok.encode("<|im_start|>", special=True) == [top]
    assert tok.pad_id == top + 3 == tok.size - 1
    decoder[str(top + 9)] = {"content": "  ", "special": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="do not follow upon the last id"):
        tokenizers.load(tmp_path)


def test_a_vocabulary_cut_by_another_rule_is_refused(tmp_path):
    byte_files(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ValueError, match="Qwen2Tokenizer cuts text by a rule"):
        tokenizers.load(tmp_path)


def test_words_that_a_bert_configuration_calls_special_are(tmp_path):
    pieces = [
        "[PAD]",
        "[unused0]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "[",
        "]",
    ]
    tok = checkpoint(
        tmp_path, "vocab.txt", "\n".join(pieces).encode(),
        additional_special_tokens=["[unused0]"], do_lower_case=False,
    )  # fmt: skip
    assert tok.names["[unused0]"] == 1 and 1 not in tok.encode("[unused0]")
    assert tok.encode("the [unused0]", special=True) == [6, 1]
    assert frame.frame_of(tok) == frame.Frame((3,), (4,), (4,))


def test_llama2_cs_vocabulary_is_a_model_with_bytes(tmp_path):
    texts = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{b:02X}>" for b in range(256))]
    texts += [" ", "a", "b", " a", "ab", "\u00e9"]
    scores = [0.0] * 262 + [-1.0, -2.0, -9.0]
    entries = [
        struct.pack("<fi", score, len(text.encode())) + text.encode()
        for text, score in zip(texts, scores, strict=True)
    ]
    path = tmp_path / "tok265.bin"
    path.write_bytes(struct.pack("<i", 9) + b"".join(entries))
    tok = tokenizers.load(path)
    assert tokenizers.load(tmp_path) == tok and tok.size == 265
    # " a" has the better score, so "ab" is not there to be merged.
    assert tok.encode("ab") == [262, 261] and tok.encode("b  a") == [259, 261, 259, 262]
    assert tok.encode("\u00e9\u4f60")[1:] == [264, 231, 192, 163]
    assert tok.decode(tok.encode("  b\u4f60\n a")) == "  b\u4f60\n a"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="no vocabulary in the layout of llama2.c"):
        tokenizers.load(path)
    path.write_bytes(struct.pack("<i", 9) + entries[0])
    with pytest.raises(ValueError, match="begins with 259 entries"):
        tokenizers.load(path)


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_what_is_published_loads_in_transformers(tmp_path, kind):
    tok = tokenizers.train(kind, TEXTS, size=None if kind == "byte" else 320,
                           options=tokenizers.Options(exact=False))  # fmt: skip
    tok = tokenizers.extend(tok, extra=["<|im_start|>"])
    notes = publish.publish(tok, tmp_path)
    if kind in ("byte", "char", "word"):
        assert len(notes) == 1 and "no tokenizer of kind" in notes[0]
        assert not any(tmp_path.iterdir())
        return
    assert notes == []
    names = [path.name for path in tokenizers.published_files(tmp_path)]
    assert "tokenizer_config.json" in names and len(names) == 3
    again = tokenizers.load(tmp_path)
    assert (again.names, again.roles) == (tok.names, tok.roles)
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the cat", " a  hat on it", "Zebra \u4f60 caf\u00e9", "\n  x"):
        wanted = theirs.encode(text, add_special_tokens=False)
        assert tok.encode(text) == again.encode(text) == wanted, text
    if kind in ("wordpiece", "bytebpe"):
        cls, sep = tok.cls_id, tok.sep_id
        pair = [cls, *tok.encode("the"), sep, *tok.encode("cat"), sep]
        assert theirs("the", "cat")["input_ids"] == pair
        assert frame.frame_of(again) == frame.Frame((cls,), (sep,), (sep,))


def test_published_files_leaves_the_model_alone(tmp_path):
    for name in (
        "tokenizer.json", "vocab.txt", "spm.model", "source.spm", "config.json",
        "model.safetensors", "pytorch_model.bin", "lmtasks_tokenizer.json",
    ):  # fmt: skip
        (tmp_path / name).write_bytes(b"")
    found = [path.name for path in tokenizers.published_files(tmp_path)]
    assert found == ["source.spm", "spm.model", "tokenizer.json", "vocab.txt"]


def test_a_renumbered_model_keeps_what_normalizes_text(tmp_path):
    content = model(normalization_rule_name="nmt_nfkc")
    tok = checkpoint(
        tmp_path,
        "sentencepiece.bpe.model",
        content,
        tokenizer_class="XLMRobertaTokenizer",
    )
    proto = pb2.ModelProto.FromString(content)
    mine = pb2.ModelProto.FromString(tok.core.model)
    assert mine.normalizer_spec == proto.normalizer_spec
    assert tok.encode("  the\u3000cat ") == tok.encode("the cat")
