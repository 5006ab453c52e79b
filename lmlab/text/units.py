"""Units: the pieces of text that an objective is shown, cut from a store of token ids.

A store has `ids` (the tokens of all pieces, one after another), `piece_ends` (where each piece ends in `ids`)
and `document_ends` (where each document ends in the list of pieces). Every unit is a pure function of (seed,
epoch, index), so that training can stop, resume and skip ahead exactly. The epoch of validation is
"validation" or None.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lmlab.errors import UserError
from lmlab.text.passage import Pair, Passage, Record
from lmlab.text.store import SENTENCE_START, WORD_START

Epoch = int | str | None


@lru_cache(maxsize=8)  # of few epochs, and asked for by every unit
def _random_offset(seed: int, epoch: int, num_tokens: int) -> int:
    """Where the first block of an epoch begins."""
    return int(np.random.default_rng([seed, epoch]).integers(num_tokens))


class Blocks:
    """Equally long runs of tokens, across the borders of documents, without padding.

    Each epoch cuts the text at another offset, so that a model does not see the same borders every time. The
    text is read as a circle: `len()` is the same in every epoch, every token but the last remainder (less
    than one block) is read exactly once, and in an epoch with an offset one block may join the end of the
    text to its beginning.

    Args:
        store: see the module.
        length: tokens of a block.
        overlap: tokens that a block shares with the next one. A causal model that reads n tokens and predicts
            each next one takes `length=n + 1, overlap=1`, so that every token is predicted once.
        seed: of the offsets.
        structural_ids: of the tokenizer; such tokens are not ordinary text.

    Raises:
        UserError: the text is empty.
    """

    def __init__(
        self, store: Any, length: int, overlap: int = 0, seed: int = 0, structural_ids: Collection[int] = ()
    ) -> None:
        if not 0 <= overlap < length:
            raise ValueError(f"overlap={overlap} must be at least 0 and less than length={length}")
        self.ids, self.marks, self.length, self.seed = store.ids, getattr(store, "marks", None), length, seed
        self.is_structural = _table(structural_ids)
        self.stride, self.num_tokens = length - overlap, len(store.ids)
        if self.num_tokens <= overlap:
            raise UserError(f"the text has {self.num_tokens} tokens, too few for one block of {length}; give more text")
        self.num_blocks = max(1, (self.num_tokens - overlap) // self.stride)

    def __len__(self) -> int:
        return self.num_blocks

    def __getitem__(self, index: int) -> Passage:
        return self.get(index, None)

    def get(self, index: int, epoch: Epoch) -> Passage:
        """Return block `index` of an epoch, `length` tokens long; shorter only where the whole text is shorter."""
        if not 0 <= index < self.num_blocks:
            raise IndexError(f"block {index} of {self.num_blocks}")
        start = (self.offset(epoch) + index * self.stride) % self.num_tokens
        marks = None if self.marks is None else self._circular(self.marks, start)
        return _passage(self._circular(self.ids, start), marks, self.is_structural)

    def _circular(self, array: np.ndarray, start: int) -> np.ndarray:
        """`length` elements from `start` on, the beginning following the end."""
        part = array[start : start + self.length]
        missing = min(self.length, self.num_tokens) - len(part)
        return np.concatenate([part, array[:missing]]) if missing else part

    def offset(self, epoch: Epoch) -> int:
        """Return where the first block of an epoch begins; 0 for validation and for a text of one block."""
        if epoch in (None, "validation") or self.num_tokens < self.length:
            return 0
        return _random_offset(self.seed, epoch, self.num_tokens)

    def segments(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """Where the stretches of text that an epoch reads begin and end; what blocks share counts to the later one."""
        start = (self.offset(epoch) + np.arange(self.num_blocks) * self.stride) % self.num_tokens
        end = start + min(self.stride, self.num_tokens)
        over = end[end > self.num_tokens] - self.num_tokens  # what is read at the beginning of the text
        starts, ends = np.append(start, np.zeros_like(over)), np.append(np.minimum(end, self.num_tokens), over)
        return starts, ends


def _passage(ids: np.ndarray, marks: np.ndarray | None, special: np.ndarray) -> Passage:
    """A part of a store, which begins a word and a sentence in any case."""
    tokens = np.array(ids, dtype=np.int64)  # no longer a part of the mapped file, which computes slower
    ordinary = ~special[np.minimum(tokens, len(special) - 1)]
    if marks is None:
        return Passage(tokens, ordinary)
    marks = np.asarray(marks)
    words, sentences = (marks & WORD_START) > 0, (marks & SENTENCE_START) > 0
    words[:1] = sentences[:1] = True
    return Passage(tokens, ordinary, words, sentences)


def _table(ids: Collection[int]) -> np.ndarray:
    """Which of the numbers up to the largest of `ids` are among them; one more entry stands for all larger ones."""
    table = np.zeros(max(ids, default=-1) + 2, dtype=bool)
    table[list(ids)] = True
    return table


@dataclass
class _Pairs:
    """The pairs of one epoch; all arrays have one entry per pair. Positions count tokens."""

    a_start: np.ndarray
    a_length: np.ndarray
    b_start: np.ndarray
    b_length: np.ndarray
    is_random: np.ndarray
    has_choice: np.ndarray
    a_document: np.ndarray
    b_document: np.ndarray


class SentencePairs:
    """Two segments of text each, the second being the real next one or a random one of another document.

    The sampling of `create_instances_from_document` in google-research/bert (Devlin et al. 2018, appendix
    A.2): whole sentences are gathered until they reach a target length, which is the full length, or for a
    share of the documents a random one; they are cut in two at a random sentence border; half of the time the
    second part is exchanged for a run of sentences of another document, and the sentences it replaced are
    used again; at last the longer segment loses tokens, from its front or its back at random, until the pair
    fits.

    Two places differ, without changing a probability that matters: another document is drawn at once (BERT
    draws up to 10 times and then accepts the same one), and the number of tokens that a segment loses in
    front is drawn as one number.

    The label balance is not 50 %: where a document's remaining sentences make a single segment there is no
    next one, so the pair is always random. Corpora of short documents give far more random pairs than half;
    BERT has the same rule and it is kept here. A classifier is better than chance only above the share of the
    larger class.

    `len()` is the number of pairs of epoch 0, which validation uses as well. Another epoch has slightly more
    or fewer: it leaves out, or repeats, a few pairs taken at random.

    Args:
        store: see the module; pieces are sentences.
        length: tokens of [CLS] a [SEP] b [SEP], the three marks counted.
        short_seq_prob: share of documents with a random target length between 2 and the full one.
        random_next_prob: how often the second segment is a random one, where there is a choice. 0: never, as
            sentence-order prediction needs it (Lan et al. 2019, arXiv:1909.11942): a segment that has no next one
            is left out (the ALBERT code gives it a random partner), and sentences are gathered at least in twos.
        seed: of everything drawn.
        structural_ids: of the tokenizer; such tokens are not ordinary text.

    Raises:
        UserError: there are fewer than two documents (for `random_next_prob=0`: no document has two sentences), or
            `length` is less than 5.
    """

    def __init__(
        self,
        store: Any,
        length: int,
        short_seq_prob: float = 0.1,
        random_next_prob: float = 0.5,
        seed: int = 0,
        structural_ids: Collection[int] = (),
    ) -> None:
        if length < 5:
            raise UserError(f"seq_len={length} is too short for [CLS] a [SEP] b [SEP]; give at least 5")
        self.ids, self.marks, self.max_tokens, self.seed = store.ids, getattr(store, "marks", None), length - 3, seed
        self.short_seq_prob, self.random_next_prob = short_seq_prob, random_next_prob
        self.is_structural = _table(structural_ids)
        self.starts, self.ends, self.documents = _filled_pieces(store)
        if random_next_prob == 0:
            if not (np.diff(self.documents) > 1).any():
                raise UserError(
                    "sentence order needs two sentences that follow each other, but no document of this corpus has two:"
                    " use an objective without pairs (mlm), or a corpus of longer documents"
                )
        elif len(self.documents) < 3:
            raise UserError(
                f"sentence pairs need at least two documents, this corpus has {len(self.documents) - 1}: a"
                " random second segment comes from another document. Use an objective without pairs (mlm), or say"
                " where documents begin (for plain text: corpus.document=blank_line)"
            )
        self._epochs: dict[int, _Pairs] = {}

    def __len__(self) -> int:
        return self.num_pairs(0)

    def __getitem__(self, index: int) -> Pair:
        return self.get(index, None)

    def num_pairs(self, epoch: Epoch) -> int:
        """Return how many pairs an epoch has before it is brought to `len()`."""
        return len(self._pairs(epoch).is_random)

    def get(self, index: int, epoch: Epoch) -> Pair:
        """Return pair `index` of an epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        pairs = self._pairs(epoch)
        i = index % len(pairs.is_random)
        return Pair(
            self._passage(pairs.a_start[i], pairs.a_length[i]),
            self._passage(pairs.b_start[i], pairs.b_length[i]),
            bool(pairs.is_random[i]),
            (int(pairs.a_document[i]), int(pairs.b_document[i])),
        )

    def segments(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """Where the segments of all pairs of an epoch begin and end in the text: those of a, then those of b."""
        pairs = self._pairs(epoch)
        starts = np.concatenate([pairs.a_start, pairs.b_start])
        return starts, starts + np.concatenate([pairs.a_length, pairs.b_length])

    def expected_random(self, epoch: Epoch) -> float:
        """Share of pairs that are random on average: of those with a choice `random_next_prob`, and all others."""
        choices = self._pairs(epoch).has_choice.mean()
        return float(1 - choices * (1 - self.random_next_prob))

    def _passage(self, start: int, length: int) -> Passage:
        marks = None if self.marks is None else self.marks[start : start + length]
        return _passage(self.ids[start : start + length], marks, self.is_structural)

    def _pairs(self, epoch: Epoch) -> _Pairs:
        """Return the index of an epoch. Epoch 0 and the two used last are kept: steps may straddle epochs."""
        number = 0 if epoch in (None, "validation") else int(epoch)
        if number not in self._epochs:
            later = [other for other in self._epochs if other]
            if len(later) > 1:
                del self._epochs[later[0]]
            self._epochs[number] = self._sample(np.random.default_rng([self.seed, number]))
        return self._epochs[number]

    def _sample(self, rng: np.random.Generator) -> _Pairs:
        first, middle, last, document, target, is_random = self._chunks(rng)
        has_choice = last - first > 1
        a_start, a_end = self.starts[first], self.ends[middle - 1]
        b_start, b_end = self.starts[np.minimum(middle, len(self.starts) - 1)], self.ends[last - 1]
        at = np.flatnonzero(is_random)
        wanted = target[at] - (a_end - a_start)[at]
        other = document.copy()
        other[at] = self._other_documents(document[at], rng)
        b_start[at], b_end[at] = self._segments_of(other[at], wanted, rng)
        (a_start, a_length), (b_start, b_length) = _truncated(a_start, a_end, b_start, b_end, self.max_tokens, rng)
        order = rng.permutation(len(is_random))  # so that what `len()` cuts off is no particular document
        lengths = (a_length.astype(np.int32), b_length.astype(np.int32))
        arrays = (a_start, lengths[0], b_start, lengths[1], is_random, has_choice, document, other)
        return _Pairs(*(array[order] for array in arrays))

    def _chunks(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Walk through all documents and return (first, middle, last, document, target, is_random) per pair.

        Segment a is the sentences [first, middle), the real next segment [middle, last).
        """
        num_documents = len(self.documents) - 1
        targets = np.full(num_documents, self.max_tokens)
        short = np.flatnonzero(rng.random(num_documents) < self.short_seq_prob)
        targets[short] = rng.integers(2, self.max_tokens, size=len(short), endpoint=True)
        chunks: list[np.ndarray] = []
        for group in _groups(self.documents):
            chunks.append(self._group_chunks(group, targets, rng))
        first, middle, last, document, is_random = np.concatenate(chunks).T
        return first, middle, last, document, targets[document], is_random.astype(bool)

    def _group_chunks(self, group: range, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The chunks of a few documents, (chunks, 5) int64; plain lists, which Python walks fastest."""
        offset, bounds = int(self.documents[group.start]), self.documents[group.start : group.stop + 1]
        pieces = slice(offset, int(bounds[-1]))
        starts, ends, bounds = (
            self.starts[pieces].tolist(),
            self.ends[pieces].tolist(),
            (bounds - offset).tolist(),
        )
        at_least = 1 if self.random_next_prob else 2
        draws = iter(rng.random(2 * len(starts)).tolist())  # at most one chunk begins at a sentence
        found = []
        for document, begin, end, target in zip(group, bounds, bounds[1:], targets[group].tolist(), strict=False):
            i = begin
            while i < end:
                last = max(bisect_left(ends, starts[i] + target, i, end) + 1, i + at_least)
                last = min(last, end)
                count = last - i
                if count < at_least:
                    break
                where, coin = next(draws), next(draws)
                middle = i + (1 if count == 1 else 1 + int(where * (count - 1)))
                is_random = count == 1 or coin < self.random_next_prob
                found.append((i + offset, middle + offset, last + offset, document, is_random))
                i = middle if is_random else last  # the unused sentences are put back
        return np.array(found, dtype=np.int64).reshape(-1, 5)

    def _other_documents(self, document: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each document another one."""
        other = rng.integers(len(self.documents) - 2, size=len(document))
        return other + (other >= document)

    def _segments_of(
        self, document: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs of sentences of each document, at least `wanted` tokens long or up to the document's end."""
        first = rng.integers(self.documents[document], self.documents[document + 1])
        start = self.starts[first]
        last = np.searchsorted(self.ends, start + np.maximum(wanted, 1))
        return start, self.ends[np.minimum(last, self.documents[document + 1] - 1)]


class Records:
    """The fields of one document each, as many tokens as fit into a sequence with one more for each field's marker.

    The last field that a document has is its body. A body that is too long is cut into as few parts as fit, equally
    long to a token; each makes a unit of its own, with all other fields beside it. Those are given at most half of the
    sequence, each an equal share of it: what is beyond is cut off and never read. Every epoch has the same units.

    Args:
        store: see the module; pieces are fields.
        length: tokens of a sequence, markers included; at least 6 for each field but one.
        fields: their names, in the order of the store.
        structural_ids: of the tokenizer; such tokens are not ordinary text.

    Attributes:
        lengths: tokens of each field, with its end token, (documents, fields); 0 where there is none.
        is_body: bool (documents, fields).
        share: tokens that are shown at most of a field that is not the body.
        num_parts: units that each document makes, (documents,).
    """

    def __init__(self, store: Any, length: int, fields: Sequence[str], structural_ids: Collection[int] = ()) -> None:
        self.ids, self.marks, self.fields = store.ids, getattr(store, "marks", None), tuple(fields)
        self.is_structural = _table(structural_ids)
        ends = np.asarray(store.piece_ends, dtype=np.int64)
        self.starts = np.concatenate([[0], ends[:-1]]).reshape(-1, len(fields))
        self.lengths = ends.reshape(-1, len(fields)) - self.starts
        body = len(fields) - 1 - (self.lengths[:, ::-1] > 0).argmax(1)
        self.is_body = np.arange(len(fields)) == body[:, None]
        self.share = length // (2 * (len(fields) - 1)) - 1
        shown = np.where(self.is_body, 0, np.minimum(self.lengths, self.share))
        room = length - shown.sum(1) - (self.lengths > 0).sum(1)
        self.num_parts = -(-self.lengths.max(1, where=self.is_body, initial=0) // room)
        self._last = self.num_parts.cumsum()

    def __len__(self) -> int:
        return int(self._last[-1])

    def __getitem__(self, index: int) -> Record:
        return self.get(index, None)

    def get(self, index: int, epoch: Epoch) -> Record:
        """Return unit `index`, the same in every epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return Record(tuple(self._passage(start, end) for start, end in zip(*self._stretches(index), strict=True)))

    def segments(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """Where the fields of all units begin and end in the text."""
        starts, ends = self._stretches(np.arange(len(self)))
        return starts.ravel(), ends.ravel()

    def _stretches(self, index: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the fields of a unit begin and end in the text, (fields,) each; of several units (units, fields)."""
        document = np.searchsorted(self._last, index, side="right")
        lengths, is_body = self.lengths[document], self.is_body[document]
        num_parts = self.num_parts[document][..., None]
        part = num_parts - (self._last[document] - index)[..., None]
        begin = np.where(is_body, lengths * part // num_parts, 0)
        end = np.where(is_body, lengths * (part + 1) // num_parts, np.minimum(lengths, self.share))
        return self.starts[document] + begin, self.starts[document] + end

    def _passage(self, start: int, end: int) -> Passage:
        marks = None if self.marks is None else self.marks[start:end]
        return _passage(self.ids[start:end], marks, self.is_structural)


def _filled_pieces(store: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (start, end) in tokens of every piece that is not empty, and the borders of the documents that
    have any.

    Document d has the pieces [borders[d], borders[d + 1]).
    """
    ends = np.asarray(store.piece_ends, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    filled = np.flatnonzero(ends > starts)
    borders = np.searchsorted(filled, np.asarray(store.document_ends, dtype=np.int64))
    return starts[filled], ends[filled], np.unique(np.concatenate([[0], borders]))


def _groups(borders: np.ndarray, num_pieces: int = 200_000) -> list[range]:
    """Ranges of documents of about `num_pieces` pieces each, so that lists stay small whatever the corpus."""
    groups, start = [], 0
    while start < len(borders) - 1:
        stop = int(np.searchsorted(borders, borders[start] + num_pieces))
        stop = min(max(stop, start + 1), len(borders) - 1)
        groups.append(range(start, stop))
        start = stop
    return groups


def _truncated(
    a_start: np.ndarray,
    a_end: np.ndarray,
    b_start: np.ndarray,
    b_end: np.ndarray,
    max_tokens: int,
    rng: np.random.Generator,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Shorten pairs to `max_tokens`: token by token, the longer segment (b when equal) loses its first or
    last one.

    Returns (start, length) of both segments. Taking tokens off one by one amounts to this: the shorter
    segment stays whole if it is at most half of the room, else both end as halves; each lost token is in
    front with chance 1/2.
    """
    a_length, b_length = a_end - a_start, b_end - b_start
    fits = a_length + b_length <= max_tokens
    a_room = np.maximum(max_tokens - b_length, (max_tokens + 1) // 2)
    b_room = np.maximum(max_tokens - a_length, max_tokens // 2)
    a_kept = np.where(fits, a_length, np.minimum(a_length, a_room))
    b_kept = np.where(fits, b_length, np.minimum(b_length, b_room))
    a_front, b_front = rng.binomial(a_length - a_kept, 0.5), rng.binomial(b_length - b_kept, 0.5)
    return (a_start + a_front, a_kept), (b_start + b_front, b_kept)
