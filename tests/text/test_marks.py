"""Where words begin: right for every kind of tokenizer, with spaces between words and without."""

import random
from functools import cache

import numpy as np
import pytest
import tokenizers
from example_tokenizers import TEXT, TRAINERS
from test_tokenizer import random_text
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lmlab.text.tokenizer import Tokenizer

CHINESE = ["我们喜欢编程。很好！我们学习编程，学习很好。", "东京です。", "我 喜 欢 编 程 们 学 习 很 好"] * 50


def gpt2_like(add_prefix_space: bool, trim_offsets: bool) -> Tokenizer:
    """GPT-2 keeps the space before a word in its offsets, RoBERTa cuts it off."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=bytes_, show_progress=False)
    backend.train_from_iterator(TEXT + CHINESE, trainer)
    backend.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(backend)


def t5_like() -> Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1000, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    backend.train_from_iterator(TEXT + CHINESE, trainer)
    return Tokenizer(backend)


def llama_like() -> Tokenizer:
    """No part of it cuts text into words."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words = [word for text in TEXT[:300] + CHINESE for word in text.split()]  # so that no piece spans two words
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=["<unk>", *bytes_], show_progress=False)
    backend.train_from_iterator(words, trainer)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer(backend)


PUBLISHED = {
    "gpt2": lambda: gpt2_like(False, False),
    "roberta": lambda: gpt2_like(True, True),
    "t5": t5_like,
    "llama": llama_like,
}
EVERY = pytest.mark.parametrize("name", [*TRAINERS, *PUBLISHED])


@cache
def tokenizer(name: str) -> Tokenizer:
    return PUBLISHED[name]() if name in PUBLISHED else TRAINERS[name].train(TEXT + CHINESE)


def words(name: str, text: str) -> list[str]:
    """The words of a text as people read them."""
    (encoded,) = tokenizer(name).encode_batch_with_words([text])
    parts = np.split(encoded.ids, np.flatnonzero(encoded.word_starts)[1:])
    return [tokenizer(name).decode(part).strip() for part in parts]


@EVERY
def test_english_words_are_what_stands_between_spaces(name):
    text = "the misprogrammed parser unbelievably returns antidisestablishmentarianism of x"
    assert words(name, text) == text.split()


@EVERY
def test_chinese_words_are_tokens_and_the_bytes_of_a_character_stay_together(name):
    text = "好学程我很东龘です我们欢编喜"
    found = words(name, text)
    assert len(found) > 4 and max(map(len, found)) < 5
    (encoded,) = tokenizer(name).encode_batch_with_words([text])
    starts = encoded.word_starts
    ends = encoded.ends.tolist()
    at_border = [True] + [ends[i - 1] < ends[i] for i in range(1, len(ends))]
    if name in ("wordpiece", "char", "unigram", "t5"):  # no token is a part of a character
        expected = np.ones(len(ends), dtype=bool)
        expected[1 : 1 + (tokenizer(name).token(encoded.ids[0]) == "▁")] = False  # the space belongs to its word
        assert starts.tolist() == expected.tolist()
    if name == "byte":
        assert starts.tolist() == at_border and found == list(text)
    if name in ("bpe", "gpt2", "roberta"):
        assert "".join(found) == text  # a cut through a character would show as �
    mixed = [word.lower() for word in words(name, "我们 Python 编程")]
    assert "python" in mixed and not any("python" in word and len(word) > 6 for word in mixed)


@pytest.mark.parametrize(("name", "expected"), [
    ("wordpiece", ["don", "'", "t", "stop", ",", "cafe", "!"]),
    ("bpe", ["Don", "'t", "stop", ",", "", "café", "!"]),
    ("unigram", ["Don", "'", "t", "stop", ",", "café", "!"]),
    ("char", ["Don't", "stop", ",", "café", "!"]),
    ("byte", ["Don't", "stop", ",", "café", "!"]),
    ("gpt2", ["Don", "'t", "stop", ",", "", "café", "!"]),
])  # fmt: skip
def test_marks_and_accents_follow_the_tokenizer_or_else_the_eye(name, expected):
    if name in ("char", "unigram"):
        expected = [word.replace("é", "") for word in expected]  # not in their alphabets: [UNK]
    assert words(name, "Don't stop,  café!") == expected


@EVERY
def test_ids_are_those_of_plain_encoding_and_texts_do_not_influence_each_other(name):
    random_ = random.Random(1)
    texts = [random_text(random_, random_.randint(0, 40)) for _ in range(100)] + ["", " ", "a [MASK] b", "\ud800", ""]
    found = tokenizer(name).encode_batch_with_words(texts)
    for text, ids, encoded in zip(texts, tokenizer(name).encode_batch(texts), found, strict=True):
        (alone,) = tokenizer(name).encode_batch_with_words([text])
        assert encoded.ids.tolist() == ids.tolist() and encoded.ids.dtype == np.int32
        assert encoded.word_starts.tolist() == alone.word_starts.tolist()
        assert encoded.ends.tolist() == alone.ends.tolist() == sorted(alone.ends)
        assert all(encoded.word_starts[:1]) and (len(ids) == 0 or encoded.ends[-1] <= len(text))
    assert tokenizer(name).encode_batch_with_words([]) == []
