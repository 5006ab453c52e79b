"""What every way of tuning is."""

from abc import ABC, abstractmethod

from torch import nn


class Tuning(ABC):
    """Decides which weights of a learner (`.model` and `.heads`) move."""

    @abstractmethod
    def prepare(self, learner: nn.Module) -> None:
        """Set `requires_grad` of every parameter; change the learner's modules where needed. Called once."""
