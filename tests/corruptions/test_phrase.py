"""Phrases are hidden whole; a list without phrases is refused."""

import numpy as np
import pytest

from lmlab.corruptions.chain import Chain
from lmlab.corruptions.phrase import Phrase
from lmlab.corruptions.rotation import Rotation
from lmlab.errors import UserError
from lmlab.text.passage import Passage, join
from lmlab.text.store import TokenStore
from lmlab.text.tokenizers import WordPiece
from lmlab.text.units import Blocks

TEXTS = ["the count of monte cristo met old ali baba near new york . unbelievably so !"] * 60
TOKENIZER = WordPiece(vocab_size=230).train(TEXTS)
FACTS = {
    "mask_id": TOKENIZER.mask_id,
    "vocab_size": TOKENIZER.vocab_size,
    "special_ids": frozenset(TOKENIZER.special_ids),
}


class Documents:
    def documents(self, split: str) -> list[str]:
        return TEXTS

    def fingerprint(self) -> str:
        return "phrases"


@pytest.fixture
def store(tmp_path) -> TokenStore:
    return TokenStore.build(Documents(), TOKENIZER, "train", "document", tmp_path, marks=True)


def learnt(store: TokenStore, **settings) -> Phrase:
    corruption = Phrase(**FACTS, **settings)
    corruption.learn(store, TOKENIZER, store.folder)
    return corruption


def passages(store: TokenStore) -> list[Passage]:
    blocks = Blocks(store, 40, structural_ids=TOKENIZER.special_ids)
    return [join(TOKENIZER.cls_id, blocks[index], TOKENIZER.sep_id) for index in range(len(blocks))]


def test_a_phrase_is_hidden_whole_and_shown_in_one_way(store):
    corruption, whole = learnt(store, phrases=["monte cristo", "Ali Baba", "new york"], rate=0.3), 0
    generator = np.random.default_rng(0)
    for text in passages(store):
        corrupted, units = corruption(text, generator), corruption.units(text)
        assert units.lengths.sum() == text.ordinary.sum() and not corrupted.noise[~text.ordinary].any()
        assert corrupted.noise.sum() <= corruption.wanted(text)
        for start, length in zip(units.first, units.lengths, strict=True):
            noise, seen = corrupted.noise[start : start + length], corrupted.tokens[start : start + length]
            assert noise.all() or not noise.any()
            masks = seen == TOKENIZER.mask_id
            assert masks.all() or not masks.any()
            whole += noise.all() and TOKENIZER.decode(text.tokens[start : start + length]) == "monte cristo"
    assert whole > 5


def test_without_a_list_phrases_are_sought_in_the_training_text(store):
    corruption = learnt(store, min_score=0.9)
    sizes = [len(word) for text in passages(store) for word in [corruption.units(text)]]
    words = [text.word_starts[text.ordinary].sum() for text in passages(store)]
    assert sum(sizes) < 0.5 * sum(words)  # the same sentence again and again is made of phrases
    chain = Chain({"rotation": Rotation(), "phrase": Phrase(**FACTS)})
    chain.learn(store, TOKENIZER, store.folder)
    text = passages(store)[0]
    assert chain.learns and chain(text, np.random.default_rng(0)).noise.any()


def test_tiny_passages_are_no_problem(store):
    corruption = learnt(store, phrases=["new york"])
    for ordinary in ([], [False], [True], [False, True], [False, False]):
        size, special = len(ordinary), np.array(ordinary, dtype=bool)
        text = Passage(np.full(size, 30), special, np.ones(size, dtype=bool))
        assert corruption(text, np.random.default_rng(0)).noise.sum() == min(1, special.sum())


def test_no_phrases_are_refused(store, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    for phrases in ([], [" "]):
        with pytest.raises(ValueError, match="phrases"):
            Phrase(**FACTS, phrases=phrases)
    for name, problem in {"empty.txt": "holds none", "none.txt": "is no text file"}.items():
        with pytest.raises(UserError, match=problem):
            learnt(store, phrases=str(tmp_path / name))
    with pytest.raises(UserError, match="knows none of the 1 phrases"):
        learnt(store, phrases=["我们"])
    with pytest.raises(UserError, match="no phrase that occurs 10000 times"):
        learnt(store, min_count=10_000)
    for settings in ({"max_words": 1}, {"min_count": 0}, {"min_score": 2.0}, {"rate": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Phrase(**FACTS, **settings)


def test_what_was_learnt_has_a_hash_and_a_trained_model_needs_no_file(store, tmp_path):
    file = tmp_path / "phrases.txt"
    hashes = []
    for text in ("monte cristo", "monte cristo\n", "new york"):
        file.write_text(text)
        hashes.append(Phrase(**FACTS, phrases=str(file)).learn(store, TOKENIZER))
    assert hashes[0] == hashes[1] != hashes[2]
    file.unlink()
    assert Phrase(**FACTS, phrases=str(file)).finder is None
