"""The model is a fixed feature extractor."""

from torch import nn

from lmlab.tuning.base import Tuning


class Frozen(Tuning):
    """Only the heads move (for an encoder's pooled answer: the pooler and the new layer).

    The model's dropout is off, in training too: its features are those that evaluation sees, and the same in
    every epoch. The dropout before the new layer stays.
    """

    def prepare(self, learner: nn.Module) -> None:
        learner.heads.requires_grad_(True)
        learner.model.requires_grad_(False)  # last: a head over the vocabulary may share the model's embedding
        learner.train(learner.training)  # a learner keeps a model without moving weights in evaluation mode
