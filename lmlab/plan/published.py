"""What is published about a preset: the block `_published_` of its YAML, which the model never sees.

    _published_:
      vocab_size: 30522  # tokens that there are
      parameters: 110.0e+6  # as the paper says
      objective: mlm_nsp  # trained with; its heads are counted
      heads: [vocabulary]  # those of its heads that the figure counts; left out: all
      tokens: 131.0e+9  # read in training, those of the targets not counted
      seq_len: 512  # tokens of a sequence in training
      batch_tokens: 131072  # tokens of a step
      flops: 1.0e+20  # of the training, as the paper says
      generator: {hidden_size: 64}  # ELECTRA's: what conf/objective/rtd.yaml takes for it
      source: "Devlin et al. 2018, arXiv:1810.04805"

Every key may be left out: nothing is said about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from lmlab.errors import UserError, nearest
from lmlab.objectives.base import Learner


@dataclass(frozen=True)
class Published:
    """The keys above; None: not said."""

    vocab_size: int | None = None
    parameters: float | None = None
    objective: str | None = None
    heads: tuple[str, ...] | None = None
    tokens: float | None = None
    seq_len: int | None = None
    batch_tokens: int | None = None
    flops: float | None = None
    generator: Mapping[str, Any] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "parameters", "tokens", "seq_len", "batch_tokens", "flops"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise UserError(f"model._published_.{name} must be null or a number above 0 (3.0e+9), not {value!r}")

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> "Published":
        """Read the block of a model's node; nothing is known where there is none. Raises UserError for unknown keys."""
        block = dict(model.get("_published_") or {})
        names = [field.name for field in fields(cls)]
        for name in block:
            if name not in names:
                known = ", ".join(names)
                raise UserError(
                    f"model._published_.{name}: there is no such fact{nearest(name, names)} (known: {known})"
                )
        heads = block.pop("heads", None)
        return cls(**block, heads=None if heads is None else tuple(heads))

    def count(self, learner: Learner) -> int:
        """Parameters of the model and of those heads that the published figure counts, each once.

        Raises UserError when the objective has no head of that name.
        """
        names = list(learner.heads) if self.heads is None else self.heads
        for name in names:
            if name not in learner.heads:
                known = ", ".join(learner.heads)
                raise UserError(f"model._published_.heads: the objective has no head {name!r}; it has {known}")
        counted = nn.ModuleList([learner.model, *(learner.heads[name] for name in names)])
        return sum(weight.numel() for weight in counted.parameters())
