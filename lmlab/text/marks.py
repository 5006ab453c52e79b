"""Where words begin, token by token, from what a tokenizer says of its tokens and from the characters they cover."""

import unicodedata
from functools import cache

import numpy as np

SPACE, WORD, OTHER, ALONE = range(4)  # kinds of characters; ALONE: of a script that writes no spaces between words

# Han (with its iteration marks), kana, Thai, Lao, Burmese, Khmer.
SCRIPTS_WITHOUT_SPACES = [
    (0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF), (0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF),
]  # fmt: skip


def word_starts(text: str, starts: np.ndarray, ends: np.ndarray, word_ids: np.ndarray | None) -> np.ndarray:
    """Say which tokens begin a word: bool (T,).

    The words are the tokenizer's own. In scripts without spaces, where those may be whole sentences, each token is a
    word. Pieces of one character (bytes) stay together, and a piece that is only a space goes with its word.

    Args:
        text: what was tokenized.
        starts, ends: the characters of each token, `text[start:end]`, (T,).
        word_ids: the tokenizer's word of each token, (T,); None for one that does not cut text into words
            (characters, bytes): there words are runs of letters and digits, or of other marks, each with the white
            space after it.
    """
    kinds, is_mark = _kinds(text)
    visible = np.where(kinds != SPACE, np.arange(len(kinds)), len(kinds) - 1)
    first = np.minimum.accumulate(visible[::-1])[::-1][starts]  # the first character of a token that is no space
    blank = first >= ends
    before = np.roll(ends, 1) - 1
    if word_ids is None:
        kinds[1:-1][(kinds[:-2] == WORD) & _is_apostrophe(text)[1:] & (kinds[2:] == WORD)] = WORD
        begins = ((kinds[first] != kinds[first - 1]) | (kinds[first] == ALONE)) & ~is_mark[first] & ~blank
    else:
        without_spaces = (kinds[first] == ALONE) | (kinds[before] == ALONE)
        begins = word_ids != np.roll(word_ids, 1)
        begins |= without_spaces & ~is_mark[first] & ~blank & ~np.roll(blank, 1)
    begins &= starts > before  # else it shares a character with the token before it
    begins[:1] = True
    return begins


def _kinds(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each character and whether it is an accent on the one before it; one space more at the end."""
    distinct, places = np.unique(_codes(text + " "), return_inverse=True)
    kinds = np.array([_kind(chr(code)) for code in distinct], dtype=np.uint8)[places]
    is_mark = np.array([unicodedata.category(chr(code))[0] == "M" for code in distinct])[places]
    return kinds, is_mark


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _is_apostrophe(text: str) -> np.ndarray:
    return np.isin(_codes(text), [ord("'"), ord("’")])


@cache
def _kind(character: str) -> int:
    if character.isspace():
        return SPACE
    category = unicodedata.category(character)[0]
    if category in "LMN" and any(first <= ord(character) <= last for first, last in SCRIPTS_WITHOUT_SPACES):
        return ALONE
    return WORD if category in "LMN" or character == "_" else OTHER
