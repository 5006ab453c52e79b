"""What is counted of one sequence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmlab.audit.rows import Row
from lmlab.audit.trace import HIDDEN, Trace, Tracer
from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Question
from lmlab.objectives.field_lm import FieldLm, present
from lmlab.text.passage import Pair, Passage, Record

Facts = Mapping[str, Any]
Columns = dict[str, float]


class Counter:
    """Counts the sequences of one forward pass.

    Where only a part of the text is asked for, that part is the noise; where all of it is, as in denoising, noise is
    what the model does not see.

    Args:
        question: what is asked.
        facts: of the tokenizer.

    Attributes:
        corruption: the one that hides something, or None.
        tracer: finds out what became of each token.
        asks_order: what is asked about pairs is whether they stand in their order.
        about_fields: the question about the fields of documents, or None.
    """

    def __init__(self, question: Question, facts: Facts):
        self.corruption = hiding_corruption(question)
        self.asks_order = any(part.unit == "consecutive_pair" for part in parts_of(question))
        self.about_fields = next((part for part in parts_of(question) if isinstance(part, FieldLm)), None)
        self.mask_id, self.sentinel_ids = facts["mask_id"], np.array(facts["sentinel_ids"], dtype=np.int64)
        self.chance_kept = 1 / max(1, facts["vocab_size"] - len(facts["special_ids"]))  # a random token is the true one
        marks = {self.mask_id, *facts["sentinel_ids"]} - {None}
        self.tracer = Tracer(facts["vocab_size"], facts["structural_ids"], marks, facts["cls_id"], facts["sep_id"])

    def count(self, unit: Passage | Pair | Record, row: Row, trace: Trace | None) -> Columns:
        """All counts of a sequence; which there are depends on what is asked, and on whether it could be traced."""
        found = self.of_row(row) | {"traced": trace is not None}
        if isinstance(unit, Pair):
            found |= of_pair(unit, trace)
        if isinstance(unit, Record) and self.about_fields is not None:
            found |= self.of_record(unit, row, self.about_fields)
        if trace is not None:
            found |= of_trace(trace)
            if self.corruption is not None:
                found |= self.of_noise(trace)
            if self.corruption is not None and not self.is_blurred(trace):
                found |= of_words(trace)
        return found

    def of_row(self, row: Row) -> Columns:
        """Room taken and used, tokens seen and asked for, and the sentinels among those that are seen."""
        found = {"slots": row.num_slots, "used": row.num_used, "length": row.length}
        found |= {"inputs": len(row.inputs), "questions": len(row.asked)}
        found["empty"] = len(row.asked) == 0 and row.label is None
        if row.label is not None:
            found["label"] = row.label
        if len(self.sentinel_ids):
            seen, asked = (ids[np.isin(ids, self.sentinel_ids)] for ids in (row.inputs, row.asked))
            rising = np.array_equal(seen, self.sentinel_ids[: len(seen)])
            found |= {"sentinels": len(seen), "sentinels_in_order": rising and np.array_equal(seen, asked)}
        return found

    def of_noise(self, trace: Trace) -> Columns:
        """Noise, how it is shown, and how much of it is expected."""
        noise, shown, original = noise_of(trace), trace.shown, trace.text.tokens
        writes_all, special = asks_all(trace), trace.special
        as_kept = noise & (shown == original)
        is_blank = shown == self.mask_id
        if not (trace.in_place or writes_all):  # a sentinel may stand for a single token
            is_blank = is_blank | np.isin(shown, self.sentinel_ids)
        as_mask = noise & is_blank
        as_random = noise & ~as_mask & ~as_kept & (shown != HIDDEN)
        found = {
            "noise": noise.sum(),
            "as_mask": as_mask.sum(),
            "as_random": as_random.sum(),
            "as_kept": as_kept.sum(),
            "special_drawn": self.tracer.is_special(shown[as_random]).sum(),
            "special_changed": (trace.changed & special).sum(),
            "lost": (trace.changed & ~trace.asked & ~special).sum(),
            "moved": not trace.in_order,
            "unchanged": trace.in_order and not trace.changed.any(),
            "marks": trace.num_marks,
            "writes_all": writes_all,
        }
        if not writes_all:
            found["special_asked"] = (trace.asked & special).sum()
        expected = self.corruption.expected_noise(trace.text)
        if expected is not None and (self.corruption.selects or not writes_all):
            found["expected_noise"] = expected * (self.share_changed if writes_all else 1)
        return found

    def of_record(self, record: Record, row: Row, question: FieldLm) -> Columns:
        """Which fields are left out, the order of the others, and whether they are those of the text."""
        sequence = np.append(row.inputs[:1], row.asked)  # all but its first token is asked for
        starts = np.flatnonzero(np.isin(sequence, question.marker_ids))
        parts = [part for part in np.split(sequence, starts) if len(part)]
        markers = [part[0] for part in parts]
        texts = {question.marker_ids[number]: record.fields[number].tokens for number in present(record)}
        right = [part[0] in texts and np.array_equal(part[1:], texts[part[0]]) for part in parts]
        found = {
            "tokens": len(sequence),
            "text": (~self.tracer.is_special(sequence)).sum(),
            "asked": len(row.asked),
            "wrong": sum(len(part) for part, is_right in zip(parts, right, strict=True) if not is_right),
            "in_order": markers == sorted(markers),
            "expected_in_order": (len(parts) + 1) / 2 ** len(parts),
        }
        for number, chance in question.chances_dropped(record).items():
            name = question.fields[number]
            found |= {f"without {name}": question.marker_ids[number] not in markers, f"chance without {name}": chance}
        return found

    @property
    def share_changed(self) -> float:
        """Of the noise, what the model does not see as it was."""
        mask_share, random_share = self.corruption.mask_share, self.corruption.random_share
        return 1.0 if mask_share is None else mask_share + random_share * (1 - self.chance_kept)

    def is_blurred(self, trace: Trace) -> bool:
        """Tokens that are noise but shown as they were cannot be told from others, and break spans and words."""
        return asks_all(trace) and self.share_changed < 1

    def spans(self, trace: Trace) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Numbers of spans of noise by length, and those expected; in words where they are hidden whole."""
        expected = self.corruption.expected_spans(trace.text)
        if asks_all(trace) and not trace.in_order:
            return None, expected  # what is hidden has no place any more
        if asks_all(trace) and trace.gaps is not None:
            stretches = trace.gaps
        else:
            stretches = runs(noise_of(trace))
            expected = None if expected is None else np.append(0, expected[1:])  # an empty one leaves no run
        lengths = stretches[:, 1] - stretches[:, 0]
        if self.corruption.whole_words and trace.text.word_starts is not None:
            words_before = np.concatenate([[0], trace.text.word_starts.cumsum()])
            lengths = words_before[stretches[:, 1]] - words_before[stretches[:, 0]]
        return np.bincount(lengths, minlength=1), None if self.is_blurred(trace) else expected


def parts_of(question: Question) -> list[Question]:
    """The objectives that share a forward pass."""
    return list(getattr(question, "parts", {"": question}).values())


def hiding_corruption(question: Question) -> Corruption | None:
    """The corruption of a question; of a chain the only one that hides something, where all others move tokens."""
    corruptions = (part.corruption for part in parts_of(question))
    corruption = next((each for each in corruptions if each is not None and each.hides), None)
    hiding = [each for each in getattr(corruption, "parts", {}).values() if each.selects and each.hides]
    return hiding[0] if len(hiding) == 1 else corruption


def asks_all(trace: Trace) -> bool:
    """All of the text is asked for, by a model that writes it anew."""
    return not trace.in_place and bool(trace.asked[~trace.special].all())


def noise_of(trace: Trace) -> np.ndarray:
    """Bool (T,): what is noise."""
    return (trace.changed if asks_all(trace) else trace.asked) & ~trace.special


def of_trace(trace: Trace) -> Columns:
    """What is counted for any objective."""
    special, asked = trace.special, trace.asked
    return {
        "tokens": len(special),
        "text": (~special).sum(),
        "special": special.sum(),
        "asked": asked.sum(),
        "asked_text": (asked & ~special).sum(),
        "wrong": trace.num_wrong,
        "left_out": trace.num_left_out,
    }


def of_words(trace: Trace) -> Columns:
    """Words of several tokens that noise touches, and those of which it leaves a part."""
    if trace.text.word_starts is None:
        return {}
    starts = trace.text.word_starts | trace.special
    starts[1:] |= trace.special[:-1]  # a special token ends a word
    word = starts.cumsum()
    lengths = np.bincount(word, ~trace.special)
    hidden = np.bincount(word, noise_of(trace))
    touched = (lengths > 1) & (hidden > 0)
    return {"words": touched.sum(), "words_split": (touched & (hidden < lengths)).sum()}


def of_pair(pair: Pair, trace: Trace | None) -> Columns:
    """Whether the second segment is a random one, where it comes from, and whether the two were swapped."""
    same, random = pair.documents[0] == pair.documents[1], pair.is_random
    found = {"random": random, "random_same": random and same, "next_other": not (random or same)}
    return found if trace is None else found | {"swapped": trace.swapped}


def runs(noise: np.ndarray) -> np.ndarray:
    """(K, 2), begin and end of each run of true."""
    borders = np.flatnonzero(np.diff(noise, prepend=False, append=False))
    return borders.reshape(-1, 2)
