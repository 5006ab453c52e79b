"""The text of a run: what is known of it, what is refused, and what is learnt from it before training."""

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from lmlab.config.assemble import PretrainData
from lmlab.corruptions.base import Corruption
from lmlab.corruptions.none import NoCorruption
from lmlab.corruptions.sentence_permutation import SentencePermutation
from lmlab.corruptions.whole_word import WholeWord
from lmlab.errors import UserError
from lmlab.models.bert import Bert
from lmlab.text.tokenizers import WordPiece

TEXTS = ["One sentence. And one more! A third, too.", "Here is another text. It ends."] * 40
TOKENIZER = WordPiece(vocab_size=300).train(TEXTS)


class Documents:
    def __init__(self, texts: list[str]):
        self.texts = texts

    def documents(self, split: str) -> list[str]:
        return self.texts

    def fingerprint(self) -> str:
        return str(self.texts)


def data(corruption: Corruption, cache, texts: list[str] = TEXTS, unit: str = "block", **arguments) -> PretrainData:
    config = OmegaConf.create({"cache_dir": str(cache), "seq_len": 24, "seed": 1})
    says = {"reads": corruption.reads, "learns": corruption.learns, "learn": corruption.learn}
    lengths = {"block_length": lambda seq_len: seq_len, "block_overlap": lambda: 0}
    objective = SimpleNamespace(unit=unit, passes=[], **says, **lengths)
    return PretrainData(config, Documents(texts), TOKENIZER, objective, Bert, **arguments)


@pytest.mark.parametrize("unit", ["block", "sentence_pair", "consecutive_pair"])
def test_words_and_sentences_are_known_where_they_are_read_or_asked_for(tmp_path, unit):
    def passage(*arguments, **others):
        first = data(*arguments, unit=unit, **others).units("train")[0]
        return first if unit == "block" else first.a

    assert passage(NoCorruption(), tmp_path).word_starts is None
    words = WholeWord(TOKENIZER.mask_id, TOKENIZER.vocab_size)
    for known in (passage(words, tmp_path), passage(NoCorruption(), tmp_path, marks=True)):
        assert known.word_starts[0] and known.sentence_starts[0] and not known.sentence_starts.all()


def test_pairs_are_random_or_consecutive_as_the_objective_wants(tmp_path):
    for unit, expected in (("sentence_pair", True), ("consecutive_pair", False)):
        units = data(NoCorruption(), tmp_path, unit=unit).units("train")
        assert any(units[index].is_random for index in range(len(units))) == expected


def test_a_text_without_sentences_is_refused_where_sentences_are_read(tmp_path):
    lines = ["ends never " * 9] * 50
    for unit in ("block", "sentence_pair"):
        with pytest.raises(UserError, match="no document of the train split has two"):
            data(SentencePermutation(), tmp_path, lines, unit).units("train")
        data(SentencePermutation(), tmp_path, TEXTS, unit).units("train")


def test_a_corruption_learns_once_from_the_training_text(tmp_path):
    class Curious(NoCorruption):
        learns, reads = True, ("word_starts",)

        def __init__(self):
            self.stores = []

        def learn(self, store, tokenizer, cache_dir):
            self.stores.append(store)
            return "hash"

    corruption = Curious()
    source = data(corruption, tmp_path)
    for split in ("validation", "train", "validation"):
        source.units(split)
    (store,) = corruption.stores
    assert store.folder == source.store("train").folder and store.marks is not None
    assert source.data_hash not in ("", store.data_hash)
    assert data(NoCorruption(), tmp_path).data_hash == data(NoCorruption(), tmp_path).store("train").data_hash
