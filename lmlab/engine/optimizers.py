"""Optimizers: what the YAML says, and which weights decay."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import nn

FP32 = 4  # bytes of a number


class Optimizer(Protocol):
    """A recipe that makes a torch optimizer for given weights.

    It may have a method `state_bytes(shape: Sequence[int]) -> int`: what is kept between steps of a weight of this
    shape in fp32. Without it, `lmlab plan` makes a step to count.

    Attributes:
        lr: the peak learning rate, which the schedule scales.
    """

    lr: float

    def create(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Decay matrices and embeddings; leave biases and the weights of norms, which are vectors, alone."""
    parameters = list(parameters)
    groups = (
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]


def refuse_impossible(**numbers: float) -> None:
    """Raise ValueError for a number that is negative, and for a learning rate of 0."""
    for name, number in numbers.items():
        if number < 0 or (name == "lr" and number == 0):
            raise ValueError(f"{name}={number} must {'be above 0' if name == 'lr' else 'not be negative'}")


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
    ):
        self.lr, self.betas, self.eps, self.weight_decay = lr, tuple(betas), eps, weight_decay
        refuse_impossible(lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={list(betas)} must lie in [0, 1)")

    def create(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, self.weight_decay)
        fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused)

    def state_bytes(self, shape: Sequence[int]) -> int:
        """What is kept of a weight between steps: two moments of every number, and the step."""
        return FP32 * (2 * math.prod(shape) + 1)


class Adafactor:
    """Adam with a factored second moment (Shazeer and Stern 2018, arXiv:1804.04235), as T5 is trained.

    A step is relative to the root mean square of the weights it moves, and never larger than 1 / sqrt(step).
    """

    def __init__(
        self,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float, float] = (1e-15, 1e-3),
        clip_threshold: float = 1.0,
        weight_decay: float = 0.0,
    ):
        self.lr, self.beta2_decay, self.eps = lr, beta2_decay, tuple(eps)
        self.clip_threshold, self.weight_decay = clip_threshold, weight_decay
        if self.eps[0] ** 2 < torch.finfo(torch.float32).tiny:
            raise ValueError(f"eps={list(eps)}: the square of the first must be a number in fp32: 1e-18 or more")
        refuse_impossible(lr=lr, weight_decay=weight_decay, clip_threshold=clip_threshold)

    def create(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adafactor(
            decay_groups(parameters, self.weight_decay),
            lr=self.lr,
            beta2_decay=self.beta2_decay,
            eps=self.eps,
            d=self.clip_threshold,
        )

    def state_bytes(self, shape: Sequence[int]) -> int:
        """What is kept of a weight between steps: a number for every row and column of a matrix, and the step."""
        if len(shape) < 2:
            return FP32 * (math.prod(shape) + 1)
        *others, rows, columns = shape
        return FP32 * (math.prod(others) * (rows + columns) + 1)
