"""An objective's own question about tokens that one chooses, for models that were trained with it."""

from copy import copy
from typing import NamedTuple

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption
from lmlab.errors import UserError
from lmlab.objectives.base import Example, Objective, VocabularyObjective
from lmlab.text.passage import Passage
from lmlab.text.tokenizer import Tokenizer

FIRST_PLACE = 2**40  # ids from here on stand for places in the text


class Asked(NamedTuple):
    """A question, and which of its answers are those that were chosen.

    Attributes:
        example: see `lmlab.objectives.base.Example`.
        wanted: bool, for each of the `targets` of a pair, or each of the `labels` of an aligned example.
    """

    example: Example
    wanted: np.ndarray


class ChosenTokens:
    """Hides chosen tokens of a text as the corruption of the pre-training would, and asks for them as it did.

    A masked model reads masks in their places; T5 reads a sentinel and writes it again before what it stands for; BART
    reads one mask for a run of tokens and writes the whole text; MASS reads a mask for each and writes them alone. An
    objective without a corruption asks for what follows: a prefix LM reads all before the first chosen token as its
    inputs, a causal one reads it from left to right.

    Args:
        objective: what the model was trained with; of a sum, the part that asks for tokens.
        tokenizer: the model's.

    Raises:
        UserError: the objective asks for no tokens.
    """

    def __init__(self, objective: Objective, tokenizer: Tokenizer):
        parts = getattr(objective, "parts", {"": objective}).values()
        asking = [part for part in parts if isinstance(part, VocabularyObjective)]
        if not asking:
            name = type(objective).__name__
            raise UserError(f"the model was trained with {name}, which asks for no tokens: it has no probabilities")
        self.objective, self.mask_id = asking[0], tokenizer.mask_id
        self.start = self._start(tokenizer)

    def _start(self, tokenizer: Tokenizer) -> list[int]:
        """What stands before a text: a marker of its field, what the tokenizer's own rule says, or an end."""
        if marker := self.objective.prompt("", tokenizer):
            return marker
        if "encoder" in self.objective.layouts:
            return []  # the objective frames the text itself
        opens = tokenizer.backend.num_special_tokens_to_add(is_pair=False) == 2  # BART: <s> text </s>
        start = tokenizer.cls_id if opens else tokenizer.eos_id  # after an end, a new document begins
        return [] if start is None else [start]

    def __call__(self, tokens: np.ndarray, chosen: np.ndarray) -> Asked:
        """Ask for the tokens at the places `chosen` of a text (T,), which begins with `start`.

        The objective is shown places instead of tokens, so that the question tells where each token went.
        """
        places = FIRST_PLACE + np.arange(len(tokens))
        hidden = np.zeros(len(tokens), dtype=bool)
        hidden[chosen] = True
        if self.objective.corruption is None:
            first = chosen[0] if self.objective.sees_inputs_whole else 0
            example = {"inputs": places[:first], "targets": places[first : chosen[-1] + 1]}
        else:
            asking = copy(self.objective)
            asking.corruption = Hide(hidden, self.mask_id, self.objective.corruption.keeps_length)
            example = asking.example(Passage(places, np.arange(len(tokens)) >= len(self.start)), None)
        answers = example["labels" if "labels" in example else "targets"]
        wanted = _at(answers, hidden, False)
        return Asked({name: _at(ids, tokens, ids) for name, ids in example.items()}, wanted)


class Hide(Corruption):
    """Hide chosen tokens: a mask for each, or for each run of them; without a mask token they are left out.

    Args:
        hidden: bool, over the places that the tokens of a passage stand for.
        mask_id: of the tokenizer, or None.
        keeps_length: a mask for each token.
    """

    def __init__(self, hidden: np.ndarray, mask_id: int | None, keeps_length: bool):
        self.hidden, self.mask_id, self.keeps_length = hidden, mask_id, keeps_length

    def __call__(self, text: Passage, generator: np.random.Generator | None) -> Corrupted:
        noise = _at(text.tokens, self.hidden, False)
        kept = ~noise
        if self.mask_id is not None:
            kept |= self.keeps_length | ~np.append(False, noise[:-1])
        return Corrupted(np.where(noise, self.mask_id or 0, text.tokens)[kept], noise)


def _at(ids: np.ndarray, values: np.ndarray, others: np.ndarray | bool) -> np.ndarray:
    """`values` at the places that `ids` stand for, `others` where an id stands for none."""
    is_place = ids >= FIRST_PLACE
    return np.where(is_place, values[np.where(is_place, ids - FIRST_PLACE, 0)], others)
