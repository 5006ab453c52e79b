"""Sentences of English and Chinese; nothing is lost."""

import random

import pytest

from lmlab.text.sentences import sentence_spans, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "Dr. Smith met J. K. Rowling in the U.S. on Jan. 5. She said “No.” Then left! Really?! Yes.",
            [
                "Dr. Smith met J. K. Rowling in the U.S. on Jan. 5.",
                "She said “No.”",
                "Then left!",
                "Really?!",
                "Yes.",
            ],
        ),
        (
            "See Fig. 3, e.g. Python 3.11. So do I. He said no. Done",
            ["See Fig. 3, e.g. Python 3.11.", "So do I.", "He said no.", "Done"],
        ),
        ("“Stop!” he cried. (It did.) 1905 was over.", ["“Stop!” he cried.", "(It did.)", "1905 was over."]),
        ("1. First item. 2. Second item.", ["1. First item.", "2. Second item."]),
        ("A heading\n\nA line . Another one .", ["A heading", "A line .", "Another one ."]),
        (
            "他说：“好。”我走了！真的吗？？是的……不",
            ["他说：“好。”", "我走了！", "真的吗？？", "是的……", "不"],
        ),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_nothing_but_white_space_is_lost_and_long_lines_are_fast():
    letters = "aB1.!?…。！？”\"') \n\t\u2028é中"
    for seed in range(200):
        text = "".join(random.Random(seed).choices(letters, k=200))
        assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
        spans = sentence_spans(text)
        assert spans == sorted(spans) and all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert len(split_sentences("It is so. " * 100_000)) == 100_000  # quadratic work would take minutes
