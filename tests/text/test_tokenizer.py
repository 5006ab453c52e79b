"""The wrapper: text survives, special tokens are special only when asked for, files hold all there is."""

import json
import pickle
import random
import unicodedata

import numpy as np
import pytest
import tokenizers
from example_tokenizers import TEXT, TRAINERS, trained
from tokenizers import decoders, models, pre_tokenizers, processors

from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import BPE, SPECIAL_TOKENS, Char, Pretrained

EVERY = pytest.mark.parametrize("name", TRAINERS)


def random_text(random_: random.Random, length: int) -> str:
    """Characters of all of Unicode (no surrogates), spaces and line ends among them."""
    ranges = [(0x20, 0x7F), (0x09, 0x0E), (0xA0, 0x600), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF), (0, 0xD7FF)]
    return "".join(chr(random_.randint(*random_.choice(ranges))) for _ in range(length))


@pytest.mark.parametrize("name", ["bpe", "byte", "char"])
def test_decoding_gives_back_any_text(name):
    random_ = random.Random(0)
    texts = [random_text(random_, random_.randint(0, 60)) for _ in range(300)] + TEXT[:50]
    tokenizer = Char().train(texts) if name == "char" else trained(name)
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.decode(ids) == text


@EVERY
def test_batch_and_single_agree_on_any_text(name):
    random_ = random.Random(1)
    texts = [random_text(random_, random_.randint(0, 40)) for _ in range(100)] + [
        "",
        " ",
        "a [MASK] b",
        "\ud800",
    ]
    arrays = trained(name).encode_batch(texts)
    assert all(array.dtype == np.int32 for array in arrays)
    assert [array.tolist() for array in arrays] == [trained(name).encode(text, specials=False) for text in texts]


@EVERY
def test_special_tokens_are_text_in_a_corpus_and_special_for_people(name):
    tokenizer, text = trained(name), "return [MASK] or <extra_id_7> [SEP] and"
    assert not tokenizer.special_ids.intersection(tokenizer.encode_batch([text])[0]) - {tokenizer.unk_id}
    ids = tokenizer.encode(text)
    assert [id for id in ids if id in tokenizer.special_ids] == [tokenizer.mask_id, 12, tokenizer.sep_id]
    assert tokenizer.decode(ids).split() == ["return", "or", "and"]
    assert "[MASK]" in tokenizer.decode(ids, skip_special=False)
    assert tokenizer.encode(text, specials=False) == tokenizer.encode_batch([text])[0].tolist()


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_mask_takes_the_place_of_a_word_with_its_space(name):
    tokenizer = trained(name)
    expected = [*tokenizer.encode("return the"), tokenizer.mask_id, *tokenizer.encode(" object")]
    assert tokenizer.encode("return the [MASK] object") == expected


def test_wordpiece_decodes_for_people():
    text = "don't (ever) use well-known names, he said: [a] is 'it'; 50% of os.path."
    decoded = trained("wordpiece").decode(trained("wordpiece").encode(text))
    assert decoded.startswith("don't (ever) use well-known names, he said: [a] is ") and "50% of" in decoded


@EVERY
def test_offsets_point_at_the_characters_of_each_token(name):
    tokenizer, text = trained(name), "The  parser, é returns\n  an “ärgument” 语言 [MASK] twice. "
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text, specials=False)
    for id, (start, end) in zip(ids, offsets, strict=True):
        assert not text[start:end][:1].isspace() or text[start:end].isspace()
        if id != tokenizer.unk_id and name in ("wordpiece", "unigram", "char"):
            token = tokenizer.token(id).removeprefix("##").removeprefix("▁")
            covered = text[start:end].lower()
            plain = "".join(c for c in unicodedata.normalize("NFD", covered) if not unicodedata.combining(c))
            assert token.lower() in (plain.strip(), covered.strip(), covered)
    assert max(end for _, end in offsets) >= len(text.rstrip())


@EVERY
def test_pretokenized_words_are_the_text_with_spaces(name):
    tokenizer, words = trained(name), ["The", "parser", "returns", "an", "argument", ",", "twice"]
    ids, word_ids = tokenizer.encode_pretokenized(words)
    assert ids == tokenizer.encode(" ".join(words), specials=False)
    assert sorted(set(word_ids)) == list(range(len(words))) and word_ids == sorted(word_ids)
    for index, word in enumerate(words):
        own = [id for id, word_id in zip(ids, word_ids, strict=True) if word_id == index]
        assert tokenizer.decode(own).strip() == (word.lower() if name == "wordpiece" else word)
    assert tokenizer.encode_pretokenized([]) == ([], [])


@EVERY
def test_saved_and_loaded_is_the_same(name, tmp_path):
    trained(name).save(tmp_path / "tokenizer.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    for loaded in (Tokenizer.load(tmp_path / "tokenizer.json"), pickle.loads(pickle.dumps(trained(name)))):
        assert loaded.hash == trained(name).hash
        assert loaded.roles == trained(name).roles and loaded.special_ids == trained(name).special_ids
        assert loaded.encode(TEXT[3]) == trained(name).encode(TEXT[3])


def test_special_ids_of_published_tokenizers(tmp_path):
    """By name (BERT, RoBERTa, GPT-2, T5), from the files beside it, and after saving elsewhere."""

    def published(*names: str, **config: object) -> Tokenizer:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        backend = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "text": 1, "<s>": 2}, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.decoder = decoders.WordPiece()
        backend.add_special_tokens(list(names))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{names[0]} $A", special_tokens=[(names[0], backend.token_to_id(names[0]))]
        )
        backend.enable_truncation(2)
        backend.enable_padding(length=7)
        backend.save(str(folder / "tokenizer.json"))
        if config:
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return Pretrained(path=str(folder)).train()

    bert = published(*SPECIAL_TOKENS)
    assert (bert.token(bert.cls_id), bert.token(bert.eos_id), bert.bos_id) == ("[CLS]", "[SEP]", bert.cls_id)
    assert len(bert.encode("text text text")) == 3  # neither cut, nor padded, nor with [CLS]
    roberta = published("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ids = (roberta.cls_id, roberta.sep_id, roberta.bos_id, roberta.mask_id)
    assert [roberta.token(id) for id in ids] == ["<s>", "</s>", "<s>", "<mask>"]
    gpt = published("<|endoftext|>")
    assert gpt.bos_id == gpt.eos_id == gpt.id("<|endoftext|>")
    assert (gpt.pad_id, gpt.mask_id, gpt.cls_id, gpt.sentinel_ids) == (None, None, None, [])
    t5 = published("<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in reversed(range(3))))
    assert [t5.token(id) for id in t5.sentinel_ids] == ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
    assert (t5.token(t5.eos_id), t5.cls_id, t5.bos_id) == ("</s>", None, None)
    own = published("<gap>", "<end>", mask_token={"content": "<gap>"}, eos_token="<end>", pad_token=None)
    assert (own.mask_id, own.eos_id) == (own.id("<gap>"), own.id("<end>"))
    own.save(tmp_path / "run" / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "run" / "tokenizer.json")
    assert (again.mask_id, again.eos_id, again.special_ids) == (own.mask_id, own.eos_id, own.special_ids)
    assert again.encode("text <gap> text") == [1, own.mask_id, 1]


def test_two_separators_stand_between_texts_where_the_tokenizer_says_so():
    backend = BPE(vocab_size=400).train(["the red dog runs over the green field"] * 20).backend
    assert Tokenizer(backend).separators_between == 1
    for name in ("<s>", "</s>"):
        backend.add_special_tokens([name])
    ends = [(name, backend.token_to_id(name)) for name in ("</s>", "<s>")]
    backend.post_processor = tokenizers.processors.RobertaProcessing(*ends)
    assert Tokenizer(backend).separators_between == 2
    backend.post_processor = tokenizers.processors.BertProcessing(*ends)
    assert Tokenizer(backend).separators_between == 1
