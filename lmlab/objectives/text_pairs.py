"""Questions in text: inputs that are read, targets that are written."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import VocabularyObjective
from lmlab.text.passage import Passage


class TextPairObjective(VocabularyObjective):
    """Makes inputs and targets of one block: an encoder-decoder reads the first and writes the second, a decoder goes
    on from one to the other.
    """

    layouts: ClassVar[tuple[str, ...]] = ("encoder-decoder", "decoder")
    sees_inputs_whole = True

    @abstractmethod
    def sizes(self, num_tokens: int) -> tuple[int, int]:
        """The most inputs and the most targets that are made of `num_tokens` of text."""

    def joint_length(self, num_tokens: int) -> int:
        """The most inputs and targets together, where that is less than the sum of both `sizes`."""
        return sum(self.sizes(num_tokens))

    def block_length(self, seq_len: int) -> int:
        """The longest text whose inputs fit into `seq_len`; its targets may be longer."""
        length = 1
        while self.sizes(length + 1)[0] <= seq_len:
            length += 1
        return length

    def sequence_length(self, seq_len: int, layout: str) -> int:
        length = self.block_length(seq_len)
        return self.joint_length(length) - 1 if layout == "decoder" else max(self.sizes(length))


class NoiseObjective(TextPairObjective):
    """Asks for the noise of a corruption, and for nothing else.

    Args:
        corruption: says which tokens are noise.
        eos_id: the end token, which closes inputs and targets.
    """

    corruption_needs: ClassVar[tuple[str, ...]] = ("hides", "selects")

    def __init__(self, corruption: Corruption, eos_id: int):
        self.corruption, self.eos_id = corruption, require_end(eos_id)

    def expected_spans(self, num_tokens: int) -> float:
        """How many spans of noise there are in `num_tokens` of text, on average."""
        _, num_spans = self.corruption.fixed_counts(num_tokens) or (None, None)
        if num_spans is not None:
            return num_spans
        text = one_token_words(num_tokens)
        if (spans := self.corruption.expected_spans(text)) is not None:
            return float(spans[1:].sum())
        noise = self.corruption.expected_noise(text) or 0.0
        return noise * (1 - noise / num_tokens)  # as when each token is noise or not by itself


def require_end(eos_id: int | None) -> int:
    """The id of the end token. Raises ValueError where the tokenizer has none."""
    if eos_id is None:
        raise ValueError("this objective needs a tokenizer with an end token ([SEP], </s> or <|endoftext|>)")
    return eos_id


def one_token_words(num_tokens: int) -> Passage:
    """Text of which only the length matters: every token is a word, and the first begins a sentence."""
    every = np.ones(num_tokens, dtype=bool)
    return Passage(np.arange(num_tokens), every, every, np.arange(num_tokens) == 0)
