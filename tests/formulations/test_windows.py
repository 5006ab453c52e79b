"""Windows over long texts: nothing is skipped, and each token has the one that shows most around it."""

import numpy as np
import pytest
import torch

from lmlab.errors import UserError
from lmlab.formulations.questions import Tagging
from lmlab.formulations.sequences import Frame
from lmlab.formulations.windows import check_stride, cut_windows, most_context
from lmlab.tasks import tagging


@pytest.mark.parametrize(
    ("length", "room", "step"), [(37, 8, 3), (37, 8, 8), (8, 8, 3), (3, 8, 3), (0, 8, 3), (9, 8, 1)]
)
def test_windows_cover_every_token_and_step_by_the_stride(length, room, step):
    windows = cut_windows(length, room, step)
    assert {i for begin, end in windows for i in range(begin, end)} == set(range(length))
    assert [begin for begin, _ in windows] == [i * step for i in range(len(windows))]
    assert windows[-1][1] == length and all(end - begin == room for begin, end in windows[:-1])


def test_without_a_stride_windows_are_half_a_window_apart():
    assert cut_windows(20, 8, None) == cut_windows(20, 8, 4)
    assert cut_windows(3, 1, None) == [(0, 1), (1, 2), (2, 3)]


def test_every_token_has_one_window_with_the_most_context():
    windows = cut_windows(37, 8, 3)
    begins = most_context(37, windows)
    for token, begin in enumerate(begins):
        margins = {b: min(token - b, e - 1 - token) for b, e in windows if b <= token < e}
        assert margins[begin] == pytest.approx(max(margins.values()), abs=0.1)


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_would_skip_tokens_is_refused(stride):
    check_stride(8, room=8)
    with pytest.raises(UserError, match=f"doc_stride={stride} .* Take 1 to 8"):
        check_stride(stride, room=8)


# --- sentences in windows ---


class Letters:
    """A tokenizer with one token a letter: a word may be longer than a window."""

    pad_id, cls_id, sep_id, bos_id, eos_id = 0, 1, 2, 1, 2
    separators_between = 1

    def encode_pretokenized(self, words):
        pieces = [(ord(letter), index) for index, word in enumerate(words) for letter in word]
        return [list(column) for column in zip(*pieces, strict=True)] or [[], []]


TASK = tagging.Tagging(name="t", source="none", fields=["w"], labels=[str(i) for i in range(20)], metrics=["accuracy"])


def asked(words, layout="encoder", max_length=12):
    """The examples of a sentence whose words are labelled with their lengths."""
    question = Tagging(TASK, Letters(), Frame(layout, Letters(), max_length))
    row = {"id": "0", "inputs": {"w": words}, "target": [len(word) for word in words]}
    return question, row, list(question.examples([row]))


@pytest.mark.parametrize("layout", ["encoder", "decoder", "encoder-decoder"])
def test_every_word_of_a_long_sentence_is_asked_once_at_its_first_piece(layout):
    generator = np.random.default_rng(0)
    for _ in range(20):
        lengths = generator.integers(1, 15, generator.integers(1, 12))  # a window shows ten letters
        words = [chr(97 + i) + "." * (length - 1) for i, length in enumerate(lengths)]
        _, _, examples = asked(words, layout)
        places = [(word, e, place) for e in examples for word, place in zip(e.window, e.asked, strict=True)]
        assert [word for word, _, _ in places] == list(range(len(words)))
        assert all(chr(e.ids[place]) == words[word][0] for word, e, place in places)
        assert [label for e in examples for label in e.labels] == list(lengths)
        assert max(len(e.ids) for e in examples) <= 12


def test_the_answers_of_all_windows_make_the_prediction_of_a_sentence():
    question, row, examples = asked(["a.....", "b", "c............", "d", "e"])
    assert len(examples) > 1
    found = {}
    for example in reversed(examples):  # the order of the windows must not matter
        outputs = np.eye(20)[example.labels]
        question.read(torch.from_numpy(outputs), [example], found)
    assert question.answer(row, found[0]) == ["6", "1", "13", "1", "1"]


def test_a_word_without_a_token_has_no_prediction():
    question, row, examples = asked(["", ""])
    assert not examples and question.answer(row, None) == [None, None]
    question, row, (example,) = asked(["a", "", "b"])
    assert example.window == [0, 2]
