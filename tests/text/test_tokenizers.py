"""Tokenizers: training is deterministic, text survives, special tokens are special only when asked for."""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from lmlab.errors import UserError
from lmlab.text.tokenizers import (
    BPE,
    SPECIAL_TOKENS,
    Byte,
    Char,
    Pretrained,
    Tokenizer,
    Unigram,
    WordPiece,
    _count_words,
    _repeated,
    load_or_train,
    split_long,
)

ROOT = Path(__file__).parents[2]
# Real text that every machine has: the source of three modules, one paragraph per document.
SOURCES = [Path(module.__file__).read_text("utf-8") for module in (argparse, collections, textwrap)]
TEXT = [part for source in SOURCES for part in source.split("\n\n")]
TRAINERS = {
    "wordpiece": WordPiece(vocab_size=1500),
    "bpe": BPE(vocab_size=1500),
    "unigram": Unigram(vocab_size=1500, seed_size=10_000),
    "char": Char(),
    "byte": Byte(),
}
EVERY = pytest.mark.parametrize("name", TRAINERS)
LOSSLESS = ["bpe", "byte", "char"]


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {name: trainer.train(iter(TEXT)) for name, trainer in TRAINERS.items()}


def random_text(random_: random.Random, length: int) -> str:
    """Characters of all of Unicode (no surrogates), spaces and line ends among them."""
    ranges = [(0x20, 0x7F), (0x09, 0x0E), (0xA0, 0x600), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF), (0, 0xD7FF)]
    return "".join(chr(random_.randint(*random_.choice(ranges))) for _ in range(length))


# --- training


TRAIN_ALL = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
from test_tokenizers import TEXT, TRAINERS
print(*(f"{{name}}={{trainer.train(TEXT).hash}}" for name, trainer in TRAINERS.items()))
"""


def test_training_is_the_same_in_every_process(trained):
    script = TRAIN_ALL.format(root=str(ROOT), tests=str(Path(__file__).parent))
    processes = []
    for seed in range(5):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(1 + seed % 2)}
        environment |= {"OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", script]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    expected = " ".join(f"{name}={tokenizer.hash}" for name, tokenizer in trained.items())
    assert [process.communicate()[0].strip() for process in processes] == [expected] * 5


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["WordPiece", "BPE", "Unigram"])
def test_training_on_books_is_the_same_in_every_process(name):
    if not os.environ.get("LMLAB_DATA"):
        pytest.skip("LMLAB_DATA is not set")
    file = Path(os.environ["LMLAB_DATA"], "english-books", "validation.jsonl.gz")
    script = (
        f"import sys, gzip, json; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from lmlab.text.tokenizers import {name}\n"
        f"texts = [json.loads(line)['text'] for line in gzip.open({str(file)!r}, 'rt', encoding='utf-8')]\n"
        f"print({name}(vocab_size=8000).train(texts).hash)"
    )
    found = set()
    for seed in range(6):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(1 + seed % 2)}
        found.add(subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True).stdout)
    assert len(found) == 1 and found != {b""}


def test_order_of_documents_does_not_matter(trained):
    for name, trainer in TRAINERS.items():
        shuffled = random.Random(0).sample(TEXT, len(TEXT))
        assert trainer.train(iter(shuffled)).hash == trained[name].hash, name


@EVERY
def test_vocabulary_begins_with_special_tokens_and_has_the_size_asked_for(trained, name):
    tokenizer = trained[name]
    sentinels = [f"<extra_id_{number}>" for number in range(100)]
    assert [tokenizer.token(id) for id in range(105)] == SPECIAL_TOKENS + sentinels
    ids = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    assert ids == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.sentinel_ids) == (2, 3, list(range(5, 105)))
    assert tokenizer.special_ids == set(range(105))
    assert len({tokenizer.token(id) for id in range(tokenizer.vocab_size)}) == tokenizer.vocab_size
    if name in ("wordpiece", "bpe", "unigram"):
        assert tokenizer.vocab_size == 1500
    assert tokenizer.id(tokenizer.token(150)) == 150
    assert tokenizer.token(10**6) == "" and tokenizer.id("no such token") is None


def test_wordpiece_learns_what_the_package_learns(trained):
    """The fixed order of characters only breaks ties: nearly all pieces are those of the package."""
    backend = tokenizers.Tokenizer.from_str(trained["wordpiece"].json)
    backend.model = models.WordPiece(unk_token="[UNK]")
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=1500, special_tokens=["[UNK]"], show_progress=False)
    backend.train_from_iterator(TEXT, trainer)
    package = {token for token in backend.get_vocab(with_added_tokens=False) if len(token) > 3}
    ours = {trained["wordpiece"].token(id) for id in range(105, 1500)}
    assert len({token for token in ours if len(token) > 3} - package) < 0.05 * len(ours)


def test_unigram_codes_text_about_as_short_as_the_package_does(trained):
    backend = tokenizers.Tokenizer.from_str(trained["unigram"].json)
    backend.model = models.Unigram()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=1395, unk_token="[UNK]", special_tokens=["[UNK]"], show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    package = sum(len(encoding.ids) for encoding in backend.encode_batch(TEXT, add_special_tokens=False))
    assert sum(map(len, trained["unigram"].encode_batch(TEXT))) < 1.02 * package


def test_unigram_scores_are_log_probabilities_and_pieces_are_likely_first(trained):
    vocabulary = json.loads(trained["unigram"].json)["model"]["vocab"][105:]
    scores = np.array([score for _, score in vocabulary])
    assert np.all(np.diff(scores) <= 0)
    assert 0.8 < np.exp(scores).sum() <= 1.0


def test_words_counted_by_run_are_those_of_the_whole_text(trained):
    for name in ("wordpiece", "unigram"):
        backend = trained[name].backend
        expected = collections.Counter()
        for text in TEXT:
            normal = backend.normalizer.normalize_str(text)
            expected.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal) if word != "▁")
        found = _count_words(iter(TEXT), backend)
        del found["▁"]  # of a text without words the whole has one, its runs none
        assert found == expected


def test_repeated_words_come_as_often_as_counted():
    counts = {"a": 3, "b": 10_000, "c": 25_001}
    assert collections.Counter(" ".join(_repeated(counts)).split()) == counts


def test_chinese_and_rare_characters():
    text = ["我们在北京学习语言模型。" * 20 + "龘", "language models 语言 模型 are learnt"] * 3
    tokenizer = WordPiece(vocab_size=400, character_coverage=0.99).train(text)
    assert [tokenizer.token(id) for id in tokenizer.encode("北京龘")] == ["北", "京", "[UNK]"]
    tokenizer = Char(min_count=4).train(text)
    assert tokenizer.decode(tokenizer.encode("北京\n"), skip_special=False) == "北京[UNK]"
    unigram = Unigram(vocab_size=400, character_coverage=0.99).train(text)
    assert tokenizer.unk_id == 1 and unigram.encode("龘")[-1] == unigram.unk_id
    assert unigram.decode(unigram.encode("语言模型 models")) == "语言模型 models"


# --- mistakes


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"vocab_size=100 is too small.*need"):
        WordPiece(vocab_size=100).train(TEXT)
    for trainer in (BPE(vocab_size=300), Unigram(vocab_size=150), Char(vocab_size=105)):
        with pytest.raises(UserError, match="too small"):
            trainer.train(TEXT)
    for trainer in (WordPiece(), BPE(), Unigram(), Char()):
        for documents in ([], ["", " \n"]):
            with pytest.raises(UserError, match="no text"):
                trainer.train(iter(documents))


def test_mistakes_about_pretrained_ones(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"needs tokenizer\.path"):
        Pretrained().train()
    with pytest.raises(UserError, match=r"put a tokenizer.json into.*nowhere"):
        Pretrained(path=str(tmp_path / "nowhere")).train()
    with pytest.raises(UserError, match=r"holds no tokenizer.json.*put a tokenizer.json"):
        Pretrained(path=str(tmp_path)).train()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as a tokenizer"):
        Pretrained(path=str(tmp_path)).train()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"no-such-owner/no-such-name.*cache"):
        Pretrained(path="no-such-owner/no-such-name").train()


# --- text to ids and back


@pytest.mark.parametrize("name", LOSSLESS)
def test_decoding_gives_back_any_text(trained, name):
    random_ = random.Random(0)
    texts = [random_text(random_, random_.randint(0, 60)) for _ in range(300)] + TEXT[:50]
    tokenizer = Char().train(texts) if name == "char" else trained[name]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.decode(ids) == text


@EVERY
def test_batch_and_single_agree_on_any_text(trained, name):
    random_ = random.Random(1)
    texts = [random_text(random_, random_.randint(0, 40)) for _ in range(100)] + [
        "",
        " ",
        "a [MASK] b",
        "\ud800",
    ]
    arrays = trained[name].encode_batch(texts)
    assert all(array.dtype == np.int32 for array in arrays)
    assert [array.tolist() for array in arrays] == [trained[name].encode(text, specials=False) for text in texts]


@EVERY
def test_special_tokens_are_text_in_a_corpus_and_special_for_people(trained, name):
    tokenizer, text = trained[name], "return [MASK] or <extra_id_7> [SEP] and"
    assert not tokenizer.special_ids.intersection(tokenizer.encode_batch([text])[0]) - {tokenizer.unk_id}
    ids = tokenizer.encode(text)
    assert [id for id in ids if id in tokenizer.special_ids] == [tokenizer.mask_id, 12, tokenizer.sep_id]
    assert tokenizer.decode(ids).split() == ["return", "or", "and"]
    assert "[MASK]" in tokenizer.decode(ids, skip_special=False)
    assert tokenizer.encode(text, specials=False) == tokenizer.encode_batch([text])[0].tolist()


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_mask_takes_the_place_of_a_word_with_its_space(trained, name):
    tokenizer = trained[name]
    expected = [*tokenizer.encode("return the"), tokenizer.mask_id, *tokenizer.encode(" object")]
    assert tokenizer.encode("return the [MASK] object") == expected


def test_wordpiece_decodes_for_people(trained):
    text = "don't (ever) use well-known names, he said: [a] is 'it'; 50% of os.path."
    decoded = trained["wordpiece"].decode(trained["wordpiece"].encode(text))
    assert decoded.startswith("don't (ever) use well-known names, he said: [a] is ") and "50% of" in decoded


@EVERY
def test_offsets_point_at_the_characters_of_each_token(trained, name):
    tokenizer, text = trained[name], "The  parser, é returns\n  an “ärgument” 语言 [MASK] twice. "
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
def test_pretokenized_words_are_the_text_with_spaces(trained, name):
    tokenizer, words = trained[name], ["The", "parser", "returns", "an", "argument", ",", "twice"]
    ids, word_ids = tokenizer.encode_pretokenized(words)
    assert ids == tokenizer.encode(" ".join(words), specials=False)
    assert sorted(set(word_ids)) == list(range(len(words))) and word_ids == sorted(word_ids)
    for index, word in enumerate(words):
        own = [id for id, word_id in zip(ids, word_ids, strict=True) if word_id == index]
        assert tokenizer.decode(own).strip() == (word.lower() if name == "wordpiece" else word)
    assert tokenizer.encode_pretokenized([]) == ([], [])


def test_parts_of_a_long_document_have_the_tokens_of_the_whole(trained):
    text = "\n".join([*TEXT[:80], "", " indented", "a\n\n\nb\n"]) + "end"
    parts = list(split_long(text, 500))
    assert "".join(parts) == text and len(parts) > 10
    for name, tokenizer in trained.items():
        joined = np.concatenate(tokenizer.encode_batch(parts)).tolist()
        assert joined == tokenizer.encode(text, specials=False), name


# --- files


@EVERY
def test_saved_and_loaded_is_the_same(trained, name, tmp_path):
    import pickle

    trained[name].save(tmp_path / "tokenizer.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    for loaded in (Tokenizer.load(tmp_path / "tokenizer.json"), pickle.loads(pickle.dumps(trained[name]))):
        assert loaded.hash == trained[name].hash
        assert loaded.roles == trained[name].roles and loaded.special_ids == trained[name].special_ids
        assert loaded.encode(TEXT[3]) == trained[name].encode(TEXT[3])


def test_cache_holds_settings_and_corpus_apart(tmp_path):
    calls = []

    def documents():
        calls.append(1)
        return iter(TEXT[:50])

    first = load_or_train(BPE(vocab_size=400), documents, "corpus 1", tmp_path)
    assert load_or_train(BPE(vocab_size=400), documents, "corpus 1", tmp_path).hash == first.hash
    assert len(calls) == 1
    load_or_train(BPE(vocab_size=400), documents, "corpus 2", tmp_path)
    assert load_or_train(BPE(vocab_size=401), documents, "corpus 1", tmp_path).vocab_size == 401
    assert len(calls) == 3 and len(list((tmp_path / "tokenizers").iterdir())) == 3
    load_or_train(Byte(), documents, "corpus 1", tmp_path)
    assert len(calls) == 3


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
