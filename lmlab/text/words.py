"""Text before it is tokenized: cut into parts, limited, and counted by word for those who learn pieces."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from tokenizers import Tokenizer

from lmlab.errors import UserError


def valid_unicode(text: str) -> str:
    """`text` with question marks for lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def split_long(text: str, limit: int) -> Iterator[str]:
    """Cut `text` into parts of about `limit` characters, so that a huge document needs little memory.

    Cuts are at line ends if there are any, always before the last white space ahead of other characters:
    there BERT's pattern, GPT-2's and ours separate anyway, so that parts have the same tokens as the whole.
    """
    start = 0
    while len(text) - start > limit:
        place = start + limit
        near = (pattern.search(text, place, place + limit) for pattern in _LINE_ENDS)
        match = next(filter(None, near), None) or _SPACE.search(text, place)
        if match is None:
            break
        yield text[start : match.end() - 1]
        start = match.end() - 1
    if start < len(text):
        yield text[start:]


_LINE_ENDS = [re.compile(r"(?<=\S)\n(?=\S)"), re.compile(r"\n\s*(?=\S)")]
_SPACE = re.compile(r"\s(?=\S)")


def limited(documents: Iterable[str], max_characters: int) -> Iterator[str]:
    """The documents that hold text, as far as `max_characters` go.

    Raises:
        UserError: there is none.
    """
    with_text = (valid_unicode(text) for text in documents if text and not text.isspace())
    first = next(with_text, None)
    if first is None:
        raise UserError("the corpus holds no text to train a tokenizer on: its documents are empty or it has none")
    left = max_characters
    for text in chain([first], with_text):
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def count_words(documents: Iterable[str], backend: Tokenizer, most: int = 2_000_000) -> Counter[str]:
    """How often each word occurs, words as `backend` cuts them.

    White space always separates words, so that each distinct run of other characters is looked at once only.
    Words seen least are forgotten when there are too many, so that memory has a bound (text without spaces).
    """
    words: Counter[str] = Counter()
    runs: Counter[str] = Counter()

    def flush() -> None:
        for run, times in runs.items():
            for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(run)):
                words[word] += times
        runs.clear()
        rare = 1
        while len(words) > most:
            for word in [word for word, times in words.items() if times <= rare]:
                del words[word]
            rare *= 2

    for text in documents:
        for part in split_long(text, 1_000_000):
            runs.update(part.split())
            if len(runs) > 500_000:
                flush()
    flush()
    return words


def frequent_characters(words: Mapping[str, int], coverage: float, lowercase: bool) -> set[str]:
    """The most frequent characters that make up `coverage` of the text, and those of any keyboard."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for character in word:
            counts[character] += times
    found = set(string.ascii_lowercase + string.digits + string.punctuation)
    found.update("" if lowercase else string.ascii_uppercase)
    covered, wanted = 0, coverage * counts.total()
    for character in frequent_first(counts):
        if covered >= wanted:
            break
        found.add(character)
        covered += counts[character]
    return found


def frequent_first(counts: Mapping[str, float]) -> list[str]:
    """The keys with the largest values first, in Unicode's order where the values are equal."""
    return sorted(counts, key=lambda text: (-counts[text], text))


def repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Text in which each word occurs as often as counted: the trainers of the package take no counts."""
    for word, times in sorted(words.items()):
        for start in range(0, times, 10_000):
            yield " ".join([word] * min(10_000, times - start))
