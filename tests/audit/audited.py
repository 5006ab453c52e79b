"""What the tests of the audit share: a small text with words, sentences and documents, and an objective's audit."""

from types import SimpleNamespace

import numpy as np

from lmlab.audit.collect import Counts, collect
from lmlab.audit.figures import Figure, figures_of
from lmlab.audit.judge import IMPOSSIBLE, OFF, judge
from lmlab.objectives.base import Objective
from lmlab.text.batching import Asking, PretrainBatches
from lmlab.text.features import CONVERTERS
from lmlab.text.store import SENTENCE_START, WORD_START
from lmlab.text.units import Blocks, Records, SentencePairs

PAD, UNK, CLS, SEP, MASK = range(5)
SENTINELS = list(range(5, 25))
SPECIAL = frozenset(range(25))
VOCAB = 1000
FACTS = {
    "vocab_size": VOCAB, "pad_id": PAD, "unk_id": UNK, "cls_id": CLS, "sep_id": SEP, "mask_id": MASK, "bos_id": CLS,
    "eos_id": SEP, "sentinel_ids": SENTINELS, "special_ids": SPECIAL, "structural_ids": SPECIAL - {UNK},
}  # fmt: skip
SEQ_LEN = 64
FIELDS = ["title", "author", "text"]


def store(ending: bool, num_documents: int = 400, seed: int = 0) -> SimpleNamespace:
    """A stand-in for a token store: words of 1 to 4 tokens, sentences of some words, documents of some sentences.

    With `ending`, each document closes with the end token and is one piece; else pieces are sentences.
    """
    rng = np.random.default_rng(seed)
    words = rng.integers(1, 5, size=num_documents * 60)
    ids, marks = rng.integers(len(SPECIAL), VOCAB, size=words.sum()), np.zeros(words.sum(), dtype=np.uint8)
    marks[words.cumsum() - words] |= WORD_START
    marks[(words.cumsum() - words)[::6]] |= SENTENCE_START
    sentence_ends = words.cumsum()[5::6]
    document_ends = np.sort(rng.choice(len(sentence_ends) - 1, num_documents - 1, replace=False)) + 1
    document_ends = np.append(document_ends, len(sentence_ends))
    if not ending:
        return SimpleNamespace(ids=ids, marks=marks, piece_ends=sentence_ends, document_ends=document_ends)
    ends = sentence_ends[document_ends - 1]
    ids, marks = np.insert(ids, ends, SEP), np.insert(marks, ends, WORD_START | SENTENCE_START)
    ends = ends + np.arange(1, num_documents + 1)
    return SimpleNamespace(ids=ids, marks=marks, piece_ends=ends, document_ends=np.arange(1, num_documents + 1))


def field_store(num_documents: int = 400, seed: int = 0) -> SimpleNamespace:
    """A stand-in for a store of fields: titles and authors that may be long or missing, texts of up to 200 tokens."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, [24, 6, 200], size=(num_documents, len(FIELDS)))
    lengths[lengths > 0] += 1  # the end token
    ends = lengths.cumsum()
    ids = rng.integers(len(SPECIAL), VOCAB, size=ends[-1])
    ids[ends[ends > 0] - 1] = SEP
    document_ends = np.arange(1, num_documents + 1) * len(FIELDS)
    return SimpleNamespace(ids=ids, marks=None, piece_ends=ends, document_ends=document_ends, unknown_tokens=0)


def units_of(objective: Objective, pairs: type = SentencePairs) -> Blocks | SentencePairs | Records:
    """The units that an objective reads."""
    if objective.unit == "record":
        return Records(field_store(), objective.block_length(SEQ_LEN), FIELDS, SPECIAL)
    if objective.unit == "block":
        length = objective.block_length(SEQ_LEN)
        return Blocks(store(ending=True), length, objective.block_overlap(), 0, SPECIAL)
    random = 0.0 if objective.unit == "consecutive_pair" else 0.5
    return pairs(store(ending=False), SEQ_LEN, random_next_prob=random, structural_ids=SPECIAL)


def batches_of(objective: Objective, layout: str, units: Blocks | SentencePairs | None = None) -> PretrainBatches:
    """Batches of 32 sequences, in micro-batches of 16."""
    passes = [
        Asking(each.example, CONVERTERS[layout](PAD, each.pools), each.counts, number)
        for number, each in enumerate(objective.passes)
    ]
    return PretrainBatches(units or units_of(objective), passes, batch_size=32, micro_batch_size=16, seed=0)


def counted(objective: Objective, layout: str, units=None, num_sequences: int = 500) -> Counts:
    """The counts of an objective's first pass."""
    batches = batches_of(objective, layout, units)
    return collect(batches, objective, layout, FACTS, min(num_sequences, len(batches.units)))[0]


def verdicts(objective: Objective, layout: str, units=None) -> tuple[dict[str, Figure], set[str], set[str]]:
    """All figures, and the names of those that are off and that are impossible."""
    units = units or units_of(objective)
    expected_random = units.expected_random(0) if objective.unit == "sentence_pair" else None
    figures = figures_of(counted(objective, layout, units), expected_random=expected_random)
    named = [f"{figure.group}: {figure.name}" for figure in figures]
    found = list(zip(named, judge(figures), strict=True))
    off, impossible = ({name for name, verdict in found if verdict == kind} for kind in (OFF, IMPOSSIBLE))
    return dict(zip(named, figures, strict=True)), off, impossible
