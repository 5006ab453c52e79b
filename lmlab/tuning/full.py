"""All weights move."""

from torch import nn

from lmlab.tuning.base import Tuning


class Full(Tuning):
    """Fine-tuning of the model and of its heads, as in GPT and BERT."""

    def prepare(self, learner: nn.Module) -> None:
        learner.requires_grad_(True)
