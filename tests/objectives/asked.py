"""What the tests of objectives share: a small vocabulary, objectives over it, texts and batches."""

import numpy as np

from lmlab.batch import Batch
from lmlab.corruptions.chain import Chain
from lmlab.corruptions.deletion import Deletion
from lmlab.corruptions.drop import Drop
from lmlab.corruptions.fragment import Fragment
from lmlab.corruptions.infilling import Infilling
from lmlab.corruptions.sentence_permutation import SentencePermutation
from lmlab.corruptions.shuffle import Shuffle
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.objectives.base import Objective
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.denoising import Denoising
from lmlab.objectives.drop_spans import DropSpans
from lmlab.objectives.field_lm import FieldLm
from lmlab.objectives.mass import Mass
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.sop import Sop
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.text.features import CONVERTERS
from lmlab.text.passage import Pair, Passage, Record, plain

PAD, UNK, CLS, SEP, MASK = range(5)
END = SEP
SENTINELS = list(range(5, 105))
SPECIAL = frozenset(range(105))
VOCAB = 8192
FIELDS = ["title", "author", "text"]
MARKS = {"cls_id": CLS, "sep_id": SEP}


def token_mask(**settings) -> TokenMask:
    return TokenMask(MASK, VOCAB, SPECIAL, **settings)


def mlm(**settings) -> Mlm:
    return Mlm(token_mask(**settings), **MARKS)


def span_corruption(**settings) -> SpanCorruption:
    return SpanCorruption(Spans(MASK, **settings), SENTINELS, END)


def field_lm(**settings) -> FieldLm:
    return FieldLm(FIELDS, SENTINELS, END, **settings)


def bart() -> Chain:
    return Chain({"permutation": SentencePermutation(), "infilling": Infilling(MASK)})


ASK_IN_TEXT = {
    "prefix_lm": PrefixLm,
    "span_corruption": span_corruption,
    "span_corruption of tokens": lambda: SpanCorruption(token_mask(), SENTINELS, END),
    "span_corruption of deletions": lambda: SpanCorruption(Deletion(), SENTINELS, END),
    "span_corruption of infilling": lambda: SpanCorruption(Infilling(MASK), SENTINELS, END),
    "drop_spans": lambda: DropSpans(Drop(), END),
    "drop_spans of tokens": lambda: DropSpans(token_mask(), END),
    "mass": lambda: Mass(Fragment(MASK, VOCAB, SPECIAL)),
    "denoising": lambda: Denoising(bart(), END),
    "denoising of shuffled text": lambda: Denoising(Shuffle(), END),
    "denoising of masked text": lambda: Denoising(token_mask(), END),
}
ASK_DECODERS = {"causal_lm": CausalLm, "field_lm": field_lm, **ASK_IN_TEXT}
ASK_ENCODERS = {"mlm": mlm, "nsp": lambda: Nsp(**MARKS), "sop": lambda: Sop(**MARKS)}


def text(length: int, seed: int = 0) -> Passage:
    """Random words, a sentence of eight tokens after the other."""
    tokens = np.random.default_rng(seed).integers(len(SPECIAL), VOCAB, length)
    every = np.ones(length, dtype=bool)
    return Passage(tokens, every, every, np.arange(length) % 8 == 0)


def with_ends(unit: Passage, *places: int) -> Passage:
    """The text with documents that end at `places`."""
    tokens, ordinary = unit.tokens.copy(), unit.ordinary.copy()
    tokens[list(places)], ordinary[list(places)] = END, False
    return Passage(tokens, ordinary, unit.word_starts, unit.sentence_starts)


def pair(seed: int = 0, is_random: bool = False, lengths: tuple[int, int] = (9, 12)) -> Pair:
    a, b = (plain(text(length, 2 * seed + i).tokens) for i, length in enumerate(lengths))
    return Pair(a, b, is_random, (0, int(is_random)))


def record(*lengths: int, seed: int = 0) -> Record:
    """Fields of so many tokens, their end tokens included."""
    fields = (text(length, 3 * seed + number) for number, length in enumerate(lengths))
    return Record(tuple(with_ends(field, -1) if len(field) else field for field in fields))


def unit_for(objective: Objective, seq_len: int, seed: int = 0) -> Passage | Pair | Record:
    if objective.unit == "block":
        return text(objective.block_length(seq_len), seed)
    if objective.unit == "record":
        return record(5, 4, seq_len - 11, seed=seed)
    return pair(seed, bool(seed % 2) and objective.unit == "sentence_pair", ((seq_len - 3) // 2, (seq_len - 3) // 2))


def batches_of(objective: Objective, layout: str, units: list[Passage | Pair | Record]) -> list[Batch]:
    """One batch for each forward pass."""
    batches = []
    for number, question in enumerate(objective.passes):
        examples = [question.example(unit, np.random.default_rng(i)) for i, unit in enumerate(units)]
        batch = CONVERTERS[layout](PAD, question.pools)(examples)
        batch.counts, batch.part = question.counts(batch), number
        batches.append(batch)
    return batches
