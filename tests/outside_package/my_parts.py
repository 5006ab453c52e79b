"""A user's own parts, written without touching lmlab: a model, an objective, a corruption and a task."""

import numpy as np
from torch import Tensor, nn

from lmlab.batch import IGNORE
from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.models.base import Model
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.objectives.base import Example, VocabularyObjective
from lmlab.tasks.classification import Classification
from lmlab.text.passage import Passage


class MyModel(Model):
    """Each token is mixed with its two neighbours, and that is all."""

    layout = "encoder"
    max_positions = None

    def __init__(self, vocab_size: int, hidden_size: int = 32):
        super().__init__()
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.mix = nn.Conv1d(hidden_size, hidden_size, kernel_size=3, padding=1)

    def hidden_states(
        self, input_ids: Tensor, segment_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> list[Tensor]:
        embedded = self.tokens(input_ids)  # (B, T, H)
        return [embedded, embedded + self.mix(embedded.mT).mT]

    def forward(self, input_ids: Tensor, positions: Tensor | None = None, **inputs: Tensor) -> Tensor:
        hidden = self.hidden_states(input_ids, **inputs)[-1]
        return hidden if positions is None else hidden.reshape(-1, self.hidden_size)[positions]

    def vocabulary_head(self) -> VocabularyHead:
        return VocabularyHead(self.tokens.weight)


class MyCorruption(Corruption):
    """Swap some tokens with the ones after them."""

    def __init__(self, rate: float = 0.1):
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must lie in (0, 1]")
        self.rate = rate

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        seen, noise = text.tokens.copy(), np.zeros(len(text), dtype=bool)
        places = np.flatnonzero(text.ordinary[:-1] & text.ordinary[1:])[::2]
        count = min(len(places), max(1, round(self.rate * len(text) / 2)))
        for place in generator.permutation(places)[:count]:
            if not noise[place : place + 2].any():
                seen[[place, place + 1]] = text.tokens[[place + 1, place]]
                noise[place : place + 2] = True
        return Corrupted(seen, noise)


class MyObjective(VocabularyObjective):
    """Say at each swapped place which token stood there."""

    layouts = ("encoder",)
    corruption_needs = ("keeps_length", "hides")
    name = "unswap"

    def __init__(self, corruption: Corruption):
        self.corruption = corruption

    def example(self, unit: Passage, generator: np.random.Generator) -> Example:
        corrupted = self.corruption(unit, generator)
        return {"inputs": corrupted.tokens, "labels": np.where(corrupted.noise, unit.tokens, IGNORE)}


class MyTask(Classification):
    """Does a sentence speak of lists or of files? Made up on the spot."""

    def find(self, split: str):
        subjects = {
            "lists": ["the list", "an item", "the sequence"],
            "files": ["the file", "a folder", "the path"],
        }
        verbs = ["returns", "changes", "removes"] if split == self.train_split else ["reads", "copies"]
        for label, things in subjects.items():
            for thing in things:
                for verb in verbs:
                    yield {"text": f"{verb} {thing}", "label": label}
