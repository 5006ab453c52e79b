"""What every corruption offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmlab.text.passage import Passage
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Corrupted:
    """What is left of a passage of T tokens, and where its noise lies.

    Attributes:
        tokens: what the model sees, (T',); as long as the original where `keeps_length`.
        noise: bool (T,) over the original tokens: which of them are asked for or were touched.
        origin: (T',), the place in the original of each token that is seen, a token that hides one or was drawn in its
            place included; -1 for one that stands for a whole span, or for nothing. None: all are in their own place.
    """

    tokens: np.ndarray
    noise: np.ndarray
    origin: np.ndarray | None = None

    def passage(self, text: Passage) -> Passage:
        """What is left of `text` as a passage, for a further corruption; what was changed is no longer ordinary."""
        origin = np.arange(len(text)) if self.origin is None else self.origin
        moved, kept = text.at(origin), origin >= 0
        return Passage(
            self.tokens,
            moved.ordinary & kept & (self.tokens == moved.tokens),
            None if text.word_starts is None else _starts(text.word_starts, origin) | ~kept,
            None if text.sentence_starts is None else _starts(text.sentence_starts, origin) & kept,
        )


def _starts(starts: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Where words or sentences begin among tokens that come from `origin`: where the one before is of another."""
    number = np.append(starts.cumsum(), -1)[origin]
    return np.diff(number, prepend=-2) != 0


def reordered(text: Passage, order: np.ndarray) -> Corrupted:
    """The ordinary tokens of a passage in the order given by indices among them; special tokens keep their place.

    Noise is where another token has come.
    """
    origin = np.arange(len(text))
    places = np.flatnonzero(text.ordinary)
    origin[places] = places[order]
    return Corrupted(text.tokens[origin], origin != np.arange(len(text)), origin)


class Corruption(ABC):
    """A pure function of a passage and a generator. Tokens that are not `ordinary` stay as they are.

    What is expected of it, for `lmlab audit` to measure against, is said by `expected_noise` and `expected_spans`, and
    by the attributes `mask_share` and `random_share` where it hides tokens one for one.

    Attributes:
        keeps_length: there are as many tokens as before, so that place i of the result can be asked for token i of
            the original, as masked language models do.
        selects: its noise is a part of the text that can be asked for; false where all of the text moves.
        hides: something is hidden or changed, so that there is something to ask for; false for `none` alone.
        whole_words: words are hidden whole or not at all.
        reads: what it needs to know of a passage: "word_starts", "sentence_starts".
        mask_share, random_share: of the noise, what is shown as the mask and as a random token; None where the noise
            is not shown token by token.
        learns: it looks at the training text before it is called; without, as for `lmlab plan`, it takes the text to
            hold nothing of what it seeks.
    """

    keeps_length: bool = True
    selects: bool = True
    hides: bool = True
    whole_words: bool = False
    learns: bool = False
    reads: tuple[str, ...] = ()
    mask_share: float | None = None
    random_share: float | None = None

    @abstractmethod
    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        """Corrupt one passage; `generator` is the only source of chance."""

    def learn(self, store: TokenStore, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> str:
        """Look at the training text; called once, before anything is corrupted, where `learns`.

        Args:
            store: the training text with its marks.
            tokenizer: made its tokens.
            cache_dir: root of the cache for what was learnt (None: the user's).

        Returns:
            A hash of what was learnt.

        Raises:
            UserError: the text does not hold what is sought.
        """
        raise NotImplementedError(f"{type(self).__name__} learns nothing")

    def fixed_counts(self, num_tokens: int) -> tuple[int, int | None] | None:
        """Noise tokens, and the spans they make up, of `num_tokens` ordinary tokens; None where chance decides."""
        return None

    def expected_noise(self, text: Passage) -> float | None:
        """How many tokens of the passage are noise, on average; None where that is not fixed by the options."""
        return None

    def expected_spans(self, text: Passage) -> np.ndarray | None:
        """How many spans of 0, 1, 2, ... tokens (words where `whole_words`) are hidden, on average; None as above."""
        return None
