"""Unigram: cuts are the likeliest ones, and the vocabulary is as good as the package's."""

import json
import random
from itertools import product

import numpy as np
import pytest
import tokenizers
from example_tokenizers import TEXT, trained
from tokenizers import models

from lmlab.text.unigram import _best_cut, learn_pieces


def test_the_best_cut_is_the_likeliest_of_all():
    random_ = random.Random(0)
    candidates = ["".join(letters) for length in (1, 2, 3) for letters in product("ab", repeat=length)]
    for _ in range(50):
        scores = {piece: -random_.random() - 2 for piece in candidates if len(piece) == 1 or random_.random() < 0.6}
        word = "".join(random_.choice("ab") for _ in range(8))
        cuts = [
            [word[start:end] for start, end in zip([0, *ends], [*ends, len(word)], strict=True)]
            for bits in product([0, 1], repeat=len(word) - 1)
            for ends in [[place + 1 for place, bit in enumerate(bits) if bit]]
        ]
        allowed = [cut for cut in cuts if all(piece in scores for piece in cut)]
        best = max(sum(scores[piece] for piece in cut) for cut in allowed)
        found = _best_cut(word, scores, 3)
        assert "".join(reversed(found)) == word
        assert sum(scores[piece] for piece in found) == pytest.approx(best)


def test_pruning_keeps_all_characters_and_the_words_that_make_up_the_text():
    words = {"▁the": 50, "▁there": 30, "▁cat": 20, "▁x?y": 2}
    alphabet = set("▁therecatxyz")
    pieces = dict(learn_pieces(words, alphabet, size=len(alphabet) + 3, seed_size=100, max_length=6))
    assert set(pieces) == alphabet | {"▁the", "▁there", "▁cat"}
    assert max(pieces, key=pieces.get) == "▁the"


def test_it_codes_text_about_as_short_as_the_package_does():
    backend = tokenizers.Tokenizer.from_str(trained("unigram").json)
    backend.model = models.Unigram()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=1395, unk_token="[UNK]", special_tokens=["[UNK]"], show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    package = sum(len(encoding.ids) for encoding in backend.encode_batch(TEXT, add_special_tokens=False))
    assert sum(map(len, trained("unigram").encode_batch(TEXT))) < 1.02 * package


def test_scores_are_log_probabilities_and_pieces_are_likely_first():
    vocabulary = json.loads(trained("unigram").json)["model"]["vocab"][105:]
    scores = np.array([score for _, score in vocabulary])
    assert np.all(np.diff(scores) <= 0)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
