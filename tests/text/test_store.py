"""The token store: its content is plain encoding, it is built once, whole or not at all, in flat memory."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from lmlab.errors import UserError
from lmlab.text import store as store_module
from lmlab.text.corpora import FieldText
from lmlab.text.sentences import split_sentences
from lmlab.text.store import TokenStore
from lmlab.text.tokenizers import BPE, Byte, Char, WordPiece

ROOT = Path(__file__).parents[2]
TEXT = [part for part in Path(textwrap.__file__).read_text("utf-8").split("\n\n") if part.strip()]
LONG = "\n".join(Path(os.__file__).read_text("utf-8").split("\n"))


class Documents:
    """A corpus of given texts that counts how often it is read."""

    def __init__(self, texts, fingerprint="texts"):
        self.texts, self.name, self.read = texts, fingerprint, 0

    def documents(self, split):
        self.read += 1
        yield from self.texts

    def fingerprint(self):
        return self.name


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(store_module, "BATCH_CHARACTERS", 700)
    monkeypatch.setattr(store_module, "LONGEST_PART", 1500)


@pytest.mark.parametrize("trainer", [WordPiece(vocab_size=600), BPE(vocab_size=600), Char()], ids=["wp", "bpe", "char"])
def test_documents_are_plain_encoding_with_an_end_each(tmp_path, small_batches, trainer):
    texts = [
        "",
        *TEXT[:30],
        " \t" if isinstance(trainer, WordPiece) else "x",
        LONG,
        "[SEP] [MASK] naïve ☃",
        *TEXT[30:],
    ]
    tokenizer = trainer.train(TEXT)
    store = TokenStore.build(Documents(texts), tokenizer, "train", "document", tmp_path)
    expected = [tokenizer.encode(text, specials=False) for text in texts]
    expected = [[*ids, tokenizer.eos_id] for ids in expected if ids]
    assert store.ids.tolist() == [id for ids in expected for id in ids]
    assert store.piece_ends.tolist() == np.cumsum([len(ids) for ids in expected]).tolist()
    assert store.document_ends.tolist() == list(range(1, len(expected) + 1))
    assert store.num_bytes == sum(len(text.encode()) for text in texts)
    assert store.unknown_tokens == sum(ids.count(tokenizer.unk_id) for ids in expected)
    assert store.ids.dtype == np.uint16 and store.piece_ends.dtype == store.document_ends.dtype == np.int64
    assert isinstance(store.ids, np.memmap) and isinstance(store.piece_ends, np.memmap)


def test_sentences_are_pieces_without_ends(tmp_path, small_batches):
    tokenizer = BPE(vocab_size=600).train(TEXT)
    texts = [*TEXT[:20], "", "\n\n", LONG, TEXT[20]]
    store = TokenStore.build(Documents(texts), tokenizer, "train", "sentence", tmp_path)
    sentences = [split_sentences(text) for text in texts]
    expected = [tokenizer.encode(sentence, specials=False) for document in sentences for sentence in document]
    assert store.ids.tolist() == [id for ids in expected for id in ids]
    assert store.piece_ends.tolist() == np.cumsum([len(ids) for ids in expected]).tolist()
    assert store.document_ends.tolist() == np.cumsum([len(d) for d in sentences if d]).tolist()


def test_fields_are_pieces_with_an_end_each_and_may_be_empty(tmp_path, small_batches):
    tokenizer = BPE(vocab_size=600).train(TEXT)
    documents = [FieldText(fields) for fields in [(TEXT[0], "", LONG), ("", TEXT[1], ""), ("[MASK]", "b", TEXT[2])]]
    store = TokenStore.build(Documents(documents), tokenizer, "train", "field", tmp_path)
    fields = [tokenizer.encode(field, specials=False) for document in documents for field in document.fields]
    expected = [[*ids, tokenizer.eos_id] if ids else [] for ids in fields]
    assert store.ids.tolist() == [id for ids in expected for id in ids]
    assert store.piece_ends.tolist() == np.cumsum([len(ids) for ids in expected]).tolist()
    assert store.document_ends.tolist() == [3, 6, 9]


@pytest.mark.parametrize("pieces", ["document", "sentence"])
def test_marks_say_where_words_and_sentences_begin(tmp_path, small_batches, pieces):
    tokenizer = WordPiece(vocab_size=600).train(TEXT)
    texts = ["One of them. Two!", "", " \n", LONG, "他走了。不好", "unbelievably so"]
    store = TokenStore.build(Documents(texts), tokenizer, "train", pieces, tmp_path, marks=True)
    plain = TokenStore.build(Documents(texts), tokenizer, "train", pieces, tmp_path)
    assert store.data_hash == plain.data_hash and plain.marks is None and store.marks.dtype == np.uint8
    assert len(store.marks) == len(store.ids)
    words = (store.marks & store_module.WORD_START) > 0
    assert [tokenizer.token(id).startswith("##") for id in store.ids] == (~words).tolist()
    sentences = [sentence for text in texts for sentence in split_sentences(text)]
    assert store.num_sentences == sum(len(tokenizer.encode(each)) > 0 for each in sentences)
    found = np.split(store.ids, np.flatnonzero(store.marks & store_module.SENTENCE_START)[1:])
    found = [part.tolist() for part in found if pieces == "sentence" or part.tolist() != [tokenizer.eos_id]]
    assert found == [ids for ids in (tokenizer.encode(each, specials=False) for each in sentences) if ids]


def test_it_is_built_once_and_keyed_by_all_that_matters(tmp_path):
    corpus, tokenizer = Documents(TEXT), Byte().train()
    seen = []
    first = TokenStore.build(corpus, tokenizer, "train", "document", tmp_path, lambda *done: seen.append(done))
    again = TokenStore.build(corpus, tokenizer, "train", "document", tmp_path)
    assert corpus.read == 1 and again.data_hash == first.data_hash and again.folder == first.folder
    assert seen == [(len(TEXT), sum(map(len, TEXT)))]
    TokenStore.build(corpus, tokenizer, "validation", "document", tmp_path)
    TokenStore.build(corpus, tokenizer, "train", "sentence", tmp_path)
    TokenStore.build(corpus, Byte(num_sentinels=0).train(), "train", "document", tmp_path)
    other = Documents(TEXT[:3], "other texts")
    assert TokenStore.build(other, tokenizer, "train", "document", tmp_path).data_hash != first.data_hash
    assert corpus.read == 4 and other.read == 1
    assert len(list((tmp_path / "tokens").iterdir())) == 5
    copy = pickle.loads(pickle.dumps(first))
    assert isinstance(copy.ids, np.memmap) and np.array_equal(copy.ids, first.ids)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65535, np.uint16), (65536, np.uint32)])
def test_ids_are_as_wide_as_the_vocabulary(tmp_path, vocab_size, dtype):
    characters = [chr(code) for code in range(0x10000, 0x10000 + vocab_size - 5)]
    tokenizer = Char(vocab_size=70_000, num_sentinels=0).train(characters)
    assert tokenizer.vocab_size == vocab_size
    store = TokenStore.build(Documents(characters[-9:]), tokenizer, "train", "document", tmp_path)
    assert store.ids.dtype == dtype and store.ids[-2] == vocab_size - 1


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_an_empty_corpus_is_told_and_leaves_nothing(tmp_path, texts):
    with pytest.raises(UserError, match="no text in its validation split"):
        TokenStore.build(Documents(texts), Byte().train(), "validation", "document", tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []


BUILD_FOREVER = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
from test_store import TEXT, Documents, store_module
from lmlab.text.tokenizers import Byte
class Endless(Documents):
    def documents(self, split):
        while True: yield from TEXT
store_module.TokenStore.build(Endless(TEXT), Byte().train(), "train", "document", {cache!r})
"""


def test_a_killed_build_leaves_nothing_that_counts(tmp_path):
    script = BUILD_FOREVER.format(root=str(ROOT), tests=str(Path(__file__).parent), cache=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script])
    while not any(path.stat().st_size for path in tmp_path.glob("tokens/*/ids.bin")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.suffix for path in (tmp_path / "tokens").iterdir()] == [".tmp"]
    corpus, tokenizer = Documents(TEXT), Byte().train()
    store = TokenStore.build(corpus, tokenizer, "train", "document", tmp_path)
    assert corpus.read == 1 and list((tmp_path / "tokens").iterdir()) == [store.folder]
    assert sum(map(len, tokenizer.encode_batch(TEXT))) + len(TEXT) == len(store.ids)


def test_a_failing_build_leaves_nothing(tmp_path):
    def broken():
        yield TEXT[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        TokenStore.build(Documents(broken()), Byte().train(), "train", "document", tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []


PEAK = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
from test_store import LONG, Documents, TokenStore, store_module
from lmlab.text.tokenizers import BPE
store_module.BATCH_CHARACTERS, store_module.LONGEST_PART = 100_000, 30_000
class Repeated(Documents):
    def documents(self, split):
        for _ in range({times}): yield LONG * 10
tokenizer = BPE(vocab_size=600).train([LONG])
TokenStore.build(Repeated([]), tokenizer, "train", {pieces!r}, {cache!r})
lines = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("pieces", ["document", "sentence"])
def test_memory_does_not_grow_with_the_text(tmp_path, pieces):
    peaks = []
    for times in (1, 10):
        values = {"root": str(ROOT), "tests": str(Path(__file__).parent), "times": times}
        script = PEAK.format(pieces=pieces, cache=str(tmp_path / str(times)), **values)
        peaks.append(int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 6 * 1024  # KB; ten times the text is 4 MB longer, its encodings 100 MB
