"""Text before it is tokenized: parts and counts are those of the whole."""

import collections

import numpy as np
from example_tokenizers import TEXT, TRAINERS, trained

from lmlab.text.words import count_words, repeated, split_long


def test_words_counted_by_run_are_those_of_the_whole_text():
    for name in ("wordpiece", "unigram"):
        backend = trained(name).backend
        expected = collections.Counter()
        for text in TEXT:
            normal = backend.normalizer.normalize_str(text)
            expected.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal) if word != "▁")
        found = count_words(iter(TEXT), backend)
        del found["▁"]  # of a text without words the whole has one, its runs none
        assert found == expected


def test_repeated_words_come_as_often_as_counted():
    counts = {"a": 3, "b": 10_000, "c": 25_001}
    assert collections.Counter(" ".join(repeated(counts)).split()) == counts


def test_parts_of_a_long_document_have_the_tokens_of_the_whole():
    text = "\n".join([*TEXT[:80], "", " indented", "a\n\n\nb\n"]) + "end"
    parts = list(split_long(text, 500))
    assert "".join(parts) == text and len(parts) > 10
    for name in TRAINERS:
        tokenizer = trained(name)
        joined = np.concatenate(tokenizer.encode_batch(parts)).tolist()
        assert joined == tokenizer.encode(text, specials=False), name
