"""Next-sentence prediction (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.objectives.base import Example, Objective, Score
from lmlab.objectives.sequences import Wrapper


class Nsp(Objective):
    """Ask whether segment B follows segment A in the text or comes from another document.

    Args:
        cls_id, sep_id, special_ids: of the tokenizer.
        positive: what label 1 means: "random" as in google-research/bert and transformers (0 = IsNext,
            1 = NotNext), or "next".
    """

    layouts = ("encoder",)
    unit = "sentence_pair"
    pools = True

    def __init__(
        self,
        cls_id: int,
        sep_id: int,
        special_ids: frozenset[int] = frozenset(),
        positive: Literal["random", "next"] = "random",
    ):
        if positive not in ("random", "next"):
            raise ValueError(f"positive={positive!r} must be random or next")
        self.wrap = Wrapper(cls_id, sep_id, special_ids)
        self.positive = positive

    def example(self, unit: dict, generator: np.random.Generator) -> Example:
        tokens, segment_ids, _ = self.wrap(unit)
        label = unit["is_random"] if self.positive == "random" else not unit["is_random"]
        return {"inputs": tokens, "segment_ids": segment_ids, "sentence_label": np.int64(label)}

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        answer = nn.Linear(model.hidden_size, 2)
        nn.init.trunc_normal_(answer.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(answer.bias)
        return {"pooler": model.pooler(), "next_sentence": answer}

    def counts(self, targets: dict[str, Tensor]) -> dict[str, int]:
        return {"nsp": len(targets["sentence_labels"])}

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, labels = self._logits(hidden, heads, targets)
        return {"nsp": F.cross_entropy(logits, labels, reduction="sum")}

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        logits, labels = self._logits(hidden, heads, targets)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {"nsp": Score(loss, (logits.argmax(-1) == labels).sum())}

    def _logits(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        labels = targets["sentence_labels"]
        first_tokens = hidden[len(hidden) - len(labels) :]  # the converter puts them last among the positions
        return heads["next_sentence"](heads["pooler"](first_tokens)).to(torch.float32), labels
