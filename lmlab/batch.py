"""What one forward pass is fed with, and what its losses are divided by."""

from dataclasses import dataclass

import torch

IGNORE = -100  # the label of a position where nothing is asked


@dataclass
class Batch:
    """One micro-batch, laid out for one model.

    Attributes:
        inputs: keyword arguments of the model's `forward`.
        targets: what the loss reads.
        counts: the denominator of each loss term (for example `{"mlm": 608, "nsp": 32}`), known before the
            forward pass, so that a step accumulated over several batches is divided by its whole count.
        num_tokens: real tokens of the batch; padding is not counted.
        part: which of the learner's forward passes it is for (`Objective.passes`); most learners have one.
    """

    inputs: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]
    counts: dict[str, int]
    num_tokens: int
    part: int = 0

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on `device`."""

        def moved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return Batch(moved(self.inputs), moved(self.targets), self.counts, self.num_tokens, self.part)
