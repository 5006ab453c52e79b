"""Real text that every machine has, and small tokenizers of each kind trained on it."""

import argparse
import collections
import textwrap
from functools import cache
from pathlib import Path

from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import BPE, Byte, Char, Unigram, WordPiece

# The source of three modules, one paragraph per document.
SOURCES = [Path(module.__file__).read_text("utf-8") for module in (argparse, collections, textwrap)]
TEXT = [part for source in SOURCES for part in source.split("\n\n")]
TRAINERS = {
    "wordpiece": WordPiece(vocab_size=1500),
    "bpe": BPE(vocab_size=1500),
    "unigram": Unigram(vocab_size=1500, seed_size=10_000),
    "char": Char(),
    "byte": Byte(),
}


@cache
def trained(name: str) -> Tokenizer:
    """The tokenizer of that name, trained on `TEXT`."""
    return TRAINERS[name].train(iter(TEXT))
