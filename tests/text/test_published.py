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


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_of_bert(lowercase, tmp_path):
    letters = sorted(set("".join(TEXTS).lower() + "".join(TEXTS)) - set(" \n"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), "quick", "fox"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    ours = load_published(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"][1:-1]
