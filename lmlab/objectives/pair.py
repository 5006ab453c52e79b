"""Yes-or-no questions about two segments of text."""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.objectives.base import Example, Question, Score
from lmlab.objectives.sequences import Wrapper
from lmlab.text.passage import Pair


class PairObjective(Question):
    """Asks one question about a pair, through BERT's pooler and a linear layer.

    All such questions share the names of their heads, so that a model trained on one can be scored on another, as
    ALBERT's table 5 does. In a sum, the question is asked in the forward pass of another objective, whose inputs are
    made of the pair as it was posed.

    Args:
        cls_id, sep_id: of the tokenizer.
    """

    layouts = ("encoder",)
    pools = True

    def __init__(self, cls_id: int, sep_id: int):
        self.wrap = Wrapper(cls_id, sep_id)

    @abstractmethod
    def pose(self, pair: Pair, generator: np.random.Generator) -> tuple[Pair, bool]:
        """The pair as the model sees it, and the answer."""

    def example(self, unit: Pair, generator: np.random.Generator) -> Example:
        pair, answer = self.pose(unit, generator)
        text, segment_ids = self.wrap(pair)
        return {"inputs": text.tokens, "segment_ids": segment_ids, "sentence_label": np.int64(answer)}

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        answer = nn.Linear(model.hidden_size, 2)
        nn.init.trunc_normal_(answer.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(answer.bias)
        return {"pooler": model.pooler(), "pair_answer": answer}

    def counts(self, batch: Batch) -> dict[str, int]:
        return {self.terms[0]: len(batch.targets["sentence_labels"])}

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, labels = self._logits(hidden, heads, targets)
        return {self.terms[0]: F.cross_entropy(logits, labels, reduction="sum")}

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        logits, labels = self._logits(hidden, heads, targets)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {self.terms[0]: Score(loss, (logits.argmax(-1) == labels).sum())}

    def _logits(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        labels = targets["sentence_labels"]
        first_tokens = hidden[len(hidden) - len(labels) :]  # the converter puts them last among the positions
        return heads["pair_answer"](heads["pooler"](first_tokens)).to(torch.float32), labels
