"""Tokenizers in older files read as transformers reads them."""

import json

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

from lmlab.text.published import load_published

transformers = pytest.importorskip("transformers")

TEXTS = ["The quick brown fox, naïve & 3.14!", "  two  spaces\nand a line", "Don't <mask> [MASK] it", "日本 Ünï"]


def train(folder, specials, suffix=None):
    """vocab.json and merges.txt of a byte-pair encoding of `TEXTS`."""
    backend = Backend(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if suffix else pre_tokenizers.ByteLevel(False)
    alphabet = [] if suffix else pre_tokenizers.ByteLevel.alphabet()
    settings = {"end_of_word_suffix": suffix} if suffix else {}
    texts = [text.lower() if suffix else text for text in TEXTS]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=specials, initial_alphabet=sorted(alphabet), show_progress=False, **settings
    )
    backend.train_from_iterator(texts * 3, trainer)
    backend.model.save(str(folder))


def test_byte_pairs_of_gpt2(tmp_path):
    train(tmp_path, ["<|endoftext|>"])
    theirs = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    ours = load_published(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.eos_id == ours.bos_id == 0 and ours.decode(ours.encode(TEXTS[1])) == TEXTS[1]


def test_byte_pairs_of_roberta(tmp_path):
    train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    theirs = transformers.RobertaTokenizer.from_pretrained(tmp_path)
    ours = load_published(tmp_path)
    assert (ours.cls_id, ours.pad_id, ours.sep_id, ours.mask_id) == (0, 1, 2, 4)
    for text in (each for each in TEXTS if "<mask>" not in each):
        assert ours.encode(text) == theirs(text)["input_ids"][1:-1]
    assert ours.encode("a <mask>") == ours.encode("a<mask>")  # as in the published tokenizer.json


def test_byte_pairs_of_gpt1(tmp_path):
    train(tmp_path, ["<unk>"], suffix="</w>")
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(tmp_path)
    ours = load_published(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"]


def word_pieces(folder, *more):
    """vocab.txt of the characters of `TEXTS` and some words."""
    letters = sorted(set("".join(TEXTS).lower() + "".join(TEXTS)) - set(" \n"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *more]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    return len(words)


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_of_bert(lowercase, tmp_path):
    word_pieces(tmp_path, "quick", "fox")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    ours = load_published(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"][1:-1]


def test_a_line_of_vocab_txt_ends_at_nothing_but_its_end(tmp_path):
    word_pieces(tmp_path, "\u2028", "\x85", "\x1c", "quick", "fox")
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    assert load_published(tmp_path).encode("quick fox") == theirs("quick fox")["input_ids"][1:-1]


def test_tokens_that_were_added_have_their_ids(tmp_path):
    size = word_pieces(tmp_path, "quick", "fox")
    (tmp_path / "added_tokens.json").write_text(json.dumps({"NEWWORD": size + 1, "<user>": size, "fox": size - 1}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<user>"}))
    ours = load_published(tmp_path)
    assert ours.vocab_size == size + 2 and ours.eos_id == size and ours.mask_id == 4
    assert ours.special_ids == {0, 1, 2, 3, 4, size}
    assert ours.encode("quick NEWWORD <user> fox") == [size - 2, size + 1, size, size - 1]


def test_tokens_that_were_added_to_byte_pairs(tmp_path):
    train(tmp_path, ["<|endoftext|>"])
    size = len(json.loads((tmp_path / "vocab.json").read_text()))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": size}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    ours = load_published(tmp_path)
    assert (ours.pad_id, ours.eos_id, ours.vocab_size) == (size, 0, size + 1)
    assert ours.encode("a[PAD]") == [*ours.encode("a"), size]
