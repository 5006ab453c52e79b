"""What every corruption offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Corrupted:
    """What is left of a sequence, and where its noise lies.

    Attributes:
        tokens: what the model sees, (T',); as long as the original where `keeps_length`.
        noise: bool (T,) over the original tokens: which of them are asked for or were touched.
    """

    tokens: np.ndarray
    noise: np.ndarray


class Corruption(ABC):
    """A pure function of tokens and a generator.

    Attributes:
        keeps_length: token i of the result stands for token i of the original, as masked language models need it.
        hides: something is hidden or changed, so that there is something to ask for; false for `none` alone.
    """

    keeps_length: ClassVar[bool] = True
    hides: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, tokens: np.ndarray, candidates: np.ndarray, generator: np.random.Generator) -> Corrupted:
        """Corrupt one sequence.

        Args:
            tokens: ids (T,).
            candidates: bool (T,), false at tokens that must stay: special ones and padding.
            generator: the only source of chance.
        """
