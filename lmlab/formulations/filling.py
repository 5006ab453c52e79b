"""Words of several tokens, filled into a blank the most confident token first.

Schick & Schuetze 2021b (arXiv:2009.07118, section 3.1): the blank has as many masks as the word has tokens. Of the
tokens that are still to come the one that the model finds likeliest at its place is put there; then the model is asked
anew, until all are in. The score of the word is the sum of the log-probabilities that its tokens had when put there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmlab.formulations.blanks import Blank

Ask = Callable[[Sequence[Blank], Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Log-probabilities (W, M), for each sequence, of W times M tokens (W, M) at its M masks."""


@dataclass
class Filling:
    """A word on its way into a blank.

    Attributes:
        example: the sequence as far as it is filled; `asked` are its open masks.
        tokens: those of the word that belong there.
        score: sum of the log-probabilities of the others.
    """

    example: Blank
    tokens: np.ndarray
    score: float = 0.0

    def put(self, log_probabilities: np.ndarray) -> None:
        """Fill in the likeliest of the tokens (M,)."""
        best = int(log_probabilities.argmax())
        ids = self.example.ids.copy()
        ids[self.example.asked[best]] = self.tokens[best]
        self.example = replace(self.example, ids=ids, asked=np.delete(self.example.asked, best))
        self.tokens = np.delete(self.tokens, best)
        self.score += float(log_probabilities[best])


def fill(examples: Sequence[Blank], ask: Ask) -> list[np.ndarray]:
    """The scores of the words of each example; sequences that are equal are asked about once."""
    fillings = [[Filling(each.with_masks(len(word)), word) for word in each.words] for each in examples]
    while waiting := [filling for words in fillings for filling in words if len(filling.tokens)]:
        equal: dict[bytes, list[Filling]] = {}
        for filling in waiting:
            equal.setdefault(filling.example.ids.tobytes(), []).append(filling)
        groups = list(equal.values())
        tokens = [np.stack([filling.tokens for filling in group]) for group in groups]
        for group, found in zip(groups, ask([group[0].example for group in groups], tokens), strict=True):
            for filling, log_probabilities in zip(group, found, strict=True):
                filling.put(log_probabilities)
    return [np.array([filling.score for filling in words]) for words in fillings]
