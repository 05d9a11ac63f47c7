"""Tokenizers: published files, real and made by hand."""

import gzip
import json
import pathlib

import pytest
import sentencepiece
import tokenizers as library
from sentencepiece import sentencepiece_model_pb2 as pb2
from tokenizers import models
from tokenizers import pre_tokenizers
from tokenizers import trainers

from lmtasks import tokenizers


def vocabulary(name):
    """Return the folder of a published vocabulary, or skip where there is none."""
    folder = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip(f"there is no shared/tokenizers/{name}")
    return folder


def metaspace(scheme="always"):
    """Return a unigram tokenizer.json whose specials are in its vocabulary (T5)."""
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", "\u2581the", "\u2581cat", "cat", "s"]
    pieces += [*"<>/pad"]
    vocab = [(piece, -float(i)) for i, piece in enumerate(pieces)]
    engine = library.Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=False))
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    engine.decoder = library.decoders.Metaspace(prepend_scheme=scheme)
    engine.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return engine.to_str()


def test_gpt2_files_give_the_known_ids():
    folder = vocabulary("gpt2")
    tok = tokenizers.load(folder)
    assert tok.encode("Hello world") == [15496, 995]
    assert tok.encode_offsets("Hello world")[1] == [(0, 5), (6, 11)]
    assert tok.size == 50257
    assert tok.eos_id == tok.bos_id == tok.pad_id == 50256
    assert tok.unk_id is tok.mask_id is tok.cls_id is None
    assert 50256 not in tok.encode("<|endoftext|>")
    assert tok.encode("<|endoftext|>", special=True) == [50256]
    assert [tok.piece(i) for i in tok.encode("a \u00e9")] == ["a", "\u2581\u00e9"]
    assert tokenizers.load(folder / "vocab.bpe") == tok


def test_bert_vocabulary_gives_the_known_ids():
    tok = tokenizers.load(vocabulary("bert-base-uncased"))
    text = "The event is scheduled for Tuesday."
    assert tok.encode(text) == [1996, 2724, 2003, 5115, 2005, 9857, 1012]
    assert tok.decode(tok.encode(text)) == text.lower()
    assert (tok.pad_id, tok.unk_id, tok.cls_id, tok.sep_id) == (0, 100, 101, 102)
    assert (tok.mask_id, tok.bos_id, tok.eos_id, tok.size) == (103, None, None, 30522)
    assert 103 not in tok.encode("[MASK] [CLS]")
    ids = tok.encode("The cat is on the [MASK].", special=True)
    assert ids == [1996, 4937, 2003, 2006, 1996, 103, 1012]


@pytest.mark.parametrize("name", ["llama2/tokenizer.model", "t5-legal/spiece.model"])
def test_sentencepiece_files_agree_with_sentencepiece(name):
    path = vocabulary(name.partition("/")[0]) / name.partition("/")[2]
    tok = tokenizers.load(path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for text in (
        "Hello  world",
        " a\n\u4f60\u597d \ufb01ne \U0001f600",
        "</s> <unk>",
        "",
    ):
        assert tok.encode(text) == theirs.encode(text)
        assert len(tok.encode_offsets(text)[1]) == len(tok.encode(text))
    assert tok.eos_id == theirs.eos_id() and tok.unk_id == theirs.unk_id()
    words = ["The", "wonderful", "cat"]
    assert [i for ids in tok.encode_words(words) for i in ids] == tok.encode(
        " ".join(words)
    )


def test_llama_continues_without_another_space():
    tok = tokenizers.load(vocabulary("llama2"))
    ids = tok.encode(" cat", continues=True)
    assert tok.encode("The cat") == tok.encode("The") + ids
    assert tok.encode(" cat") != ids
    assert tok.decode(ids) == "cat" and tok.decode(ids, continues=True) == " cat"
    text = "a </s> cat"
    assert tok.encode(text, special=True)[-1] == ids[0]
    assert tok.encode_offsets("\U0001f600x")[1][-5:] == [(0, 1)] * 4 + [(1, 2)]
    assert (tok.pad_id, tok.bos_id, tok.eos_id, tok.unk_id) == (2, 1, 2, 0)


def test_t5_sentinels_lie_on_top():
    tok = tokenizers.load(vocabulary("t5-legal"), sentinels=100)
    assert tok.size == 32100 and tok.sentinels[:2] == (32099, 32098)
    words = tok.encode("Thank you me to")
    ids = tok.encode("Thank you <extra_id_0> me to", special=True)
    assert 32099 in ids and [i for i in ids if i != 32099] == words


def test_albert_is_lower_cased_without_accents():
    tok = tokenizers.load(vocabulary("albert-v1"))
    assert tok.encode("H\u00c9llo World") == tok.encode("hello world") == [10975, 126]
    text = "e\u0301tude \ufb01ne"
    assert tok.encode_offsets(text)[1][-1] == (7, 10)
    assert (tok.cls_id, tok.sep_id, tok.mask_id) == (2, 3, 4)


def test_deepseek_markers_are_special():
    tok = tokenizers.load(vocabulary("deepseek-r1"))
    user = "<\uff5cUser\uff5c>"
    assert tok.encode(user, special=True) == [128803]
    assert 128803 not in tok.encode(user)
    assert tok.decode(tok.encode(user)) == user
    assert tok.encode("<think>") == [128798]
    text = "  caf\u00e9\n\n\u4f60\u597d 123"
    assert tok.decode(tok.encode(text)) == text


@pytest.mark.parametrize("zipped", [False, True])
def test_tokenizer_json_never_finds_its_specials_in_text(tmp_path, zipped):
    content = metaspace().encode()
    if zipped:
        path = tmp_path / "tokenizer.json.gz"
        path.write_bytes(gzip.compress(content))
    else:
        path = tmp_path / "tokenizer.json"
        path.write_bytes(content)
    tok = tokenizers.load(path)
    ids = tok.encode("the</s><pad>")
    assert not {0, 1} & set(ids) and tok.decode(ids) == "the</s><pad>"
    assert tok.encode("the</s>cats", special=True) == [4, 1, 6, 7]
    assert tokenizers.load(tmp_path) == tok


def test_tokenizer_json_with_a_prefix_can_continue(tmp_path):
    (tmp_path / "tokenizer.json").write_text(metaspace())
    tok = tokenizers.load(tmp_path)
    assert tok.encode("the cat") == [4, 5]
    assert tok.encode_words(["the", "cat"]) == [[4], [5]]
    assert tok.encode("cats", continues=True) == [6, 7]
    assert tok.encode(" cat", continues=True) == [5]
    assert tok.decode([5]) == "cat" and tok.decode([5], continues=True) == " cat"


def test_a_tokenizer_json_with_dropout_cuts_the_same_each_time(tmp_path):
    tok = tokenizers.train("bytebpe", ["the cat the cat"], size=270)
    data = json.loads(tok.files()["tokenizer.json"])
    data["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    loaded = tokenizers.load(tmp_path)
    assert all(loaded.encode("the cat") == tok.encode("the cat") for _ in range(30))


def test_roles_come_from_the_files_beside(tmp_path):
    engine = library.Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, "<unk>"))
    engine.add_special_tokens(["<s>", "</s>", "<mask>", "<|turn|>"])
    engine.save(str(tmp_path / "tokenizer.json"))
    tok = tokenizers.load(tmp_path)
    assert (tok.bos_id, tok.eos_id, tok.cls_id, tok.sep_id) == (2, 3, 2, 3)
    assert tok.pad_id == tok.eos_id
    stated = {"eos_token": {"content": "<|turn|>"}, "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    tok = tokenizers.load(tmp_path)
    assert tok.eos_id == tok.pad_id == 5 and tok.bos_id is None


def test_more_special_tokens_take_free_roles(tmp_path):
    (tmp_path / "tokenizer.json").write_text(metaspace())
    small = tokenizers.load(tmp_path)
    tok = tokenizers.extend(small, extra=["<mask>", "[PAD]"], sentinels=1)
    assert (tok.mask_id, tok.pad_id, tok.sentinels) == (14, small.pad_id, (16,))
    assert small.mask_id is None and small.size == 14 and small != tok
    (tmp_path / "tokenizer.json").write_text(metaspace().replace("<pad>", "<gap>"))
    bare = tokenizers.load(tmp_path)
    assert bare.pad_id == bare.eos_id == 1
    assert tokenizers.extend(bare, extra="<pad>").pad_id == 14
    assert tokenizers.extend(bare, extra="<|end|>").pad_id == 1


def test_added_tokens_beside_a_model_get_their_ids(tmp_path):
    tokenizers.train("bpe", ["the cat sat"], size=280).save(tmp_path / "ours")
    model = (tmp_path / "ours" / "spiece.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_end|>": 300}))
    tok = tokenizers.load(tmp_path)
    assert tok.size == 301 and tok.encode("<|im_end|>", special=True) == [300]


def test_a_vocabulary_with_capitals_keeps_case(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nThe\nthe\n##s\n")
    assert tokenizers.load(path).encode("The the thes") == [5, 6, 6, 7]
    config = {"do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert tokenizers.load(path).encode("The") == [6]


def test_user_defined_markers_of_a_model_are_no_text(tmp_path):
    tok = tokenizers.train("bpe", ["the cat sat"], size=280, extra=["<|x|>"])
    proto = pb2.ModelProto.FromString(tok.files()["spiece.model"])
    proto.pieces[7].type = pb2.ModelProto.SentencePiece.USER_DEFINED
    (tmp_path / "a.model").write_bytes(proto.SerializeToString())
    loaded = tokenizers.load(tmp_path)
    assert 7 not in loaded.encode("<|x|>") and 7 in loaded.special_ids


def test_what_is_no_tokenizer_is_refused_with_what_is_accepted(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        tokenizers.load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"holds no tokenizer; give .*tokenizer\.json"):
        tokenizers.load(tmp_path)
    for name, content, said in (
        ("notes.md", "hello", "no tokenizer file"),
        ("tokenizer.json", "{}", "no readable tokenizer.json"),
        ("tokenizer.json.gz", "{}", "not a gzip file"),
        ("a.model", "hello", "no SentencePiece model"),
        ("vocab.txt", "the\ncat\n", "no unknown token"),
        ("merges.txt", "t h\n", "needs its other half"),
        ("lmtasks_tokenizer.json", "{}", "damaged"),
        ("vocab.json", "[1]", "needs its other half"),
    ):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ValueError, match=said):
            tokenizers.load(path)
        path.unlink()


def test_a_damaged_folder_is_refused(tmp_path):
    tokenizers.train("char", ["abc"]).save(tmp_path)
    (tmp_path / "pieces.json").write_text('["a"]')
    with pytest.raises(ValueError, match="8 ids instead of 10"):
        tokenizers.load(tmp_path)
    (tmp_path / "pieces.json").unlink()
    with pytest.raises(ValueError, match="damaged"):
        tokenizers.load(tmp_path)


def test_bpe_that_is_not_byte_level_is_refused(tmp_path):
    engine = library.Tokenizer(models.BPE())
    engine.train_from_iterator(["the cat"], trainers.BpeTrainer(show_progress=False))
    engine.model.save(str(tmp_path))
    with pytest.raises(ValueError, match="only byte-level BPE"):
        tokenizers.load(tmp_path)
