"""Cutting text into sentences, for English and Chinese, by rules that can be read in a minute."""

import re
from collections.abc import Iterator

# A sentence may end where one of these marks, with any closing quotes and brackets, is followed by white
# space and something that can begin a sentence. Chinese marks need no space and nothing after them.
END = re.compile(
    r"[.!?…]+[\"'”’»)\]]*(?=\s+[\"'“‘«(\[]*[^\W_a-z])"
    r"|(?:[。！？]|…{2,})[。！？…]*[”’」』）】》\"']*"
)

# Words whose full stop is part of the word ...
ALWAYS = re.compile(
    r"(?:mr|mrs|ms|dr|prof|rev|hon|gen|col|capt|lt|sgt|st|messrs|mme|mlle|jr|e\.g|i\.e|cf|vs|viz|approx)",
    re.I,
)
# ... and those that are abbreviations only before a number.
BEFORE_NUMBER = re.compile(
    r"(?:nos?|figs?|pp?|vols?|ch|chap|sec|eq|art|bk|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)", re.I
)

INITIALS = re.compile(r"(?:^|[.\s(\[\"'“‘])[A-HJ-Z]$")  # "J. Smith", "U.S. Army", but not "So do I. Then"


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text` in order, without the white space around them.

    A line break ends a paragraph and so a sentence. No character but white space is lost:
    `"".join(split_sentences(text))` and `text` are equal once white space is taken out of both.
    """
    return [text[start:end] for start, end in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of `text` lie: the characters `text[start:end]` of each."""
    spans, offset = [], 0
    for paragraph in text.split("\n"):
        start = 0
        for end in [*(match.end() for match in _ends(paragraph)), len(paragraph)]:
            sentence = paragraph[start:end].strip()
            if sentence:
                first = offset + paragraph.index(sentence, start)
                spans.append((first, first + len(sentence)))
            start = end
        offset += len(paragraph) + 1
    return spans


def _ends(paragraph: str) -> Iterator[re.Match]:
    """The marks that end a sentence of one paragraph."""
    start = 0
    for match in END.finditer(paragraph):
        if _is_end(paragraph, start, match):
            yield match
            start = match.end()


def _is_end(paragraph: str, start: int, match: re.Match) -> bool:
    """Say whether a mark that could end a sentence does."""
    if match.group() != ".":  # only a lone full stop can belong to a word
        return True
    before = paragraph[max(start, match.start() - 20) : match.start()]
    word = before.rsplit(None, 1)[-1].lstrip("\"'“‘([") if before and not before[-1].isspace() else ""
    if ALWAYS.fullmatch(word) or INITIALS.search(before):
        return False
    following = paragraph[match.end() : match.end() + 8].lstrip()[:1]
    if following.isdigit() and BEFORE_NUMBER.fullmatch(word):
        return False
    is_list_number = word.isdigit() and paragraph[start : match.start()].strip() == word
    return not is_list_number
