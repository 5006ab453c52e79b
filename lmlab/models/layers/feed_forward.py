"""The position-wise feed-forward network (Vaswani et al. 2017), with an optional gate (Shazeer 2020)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.models.layers.dropout import Dropout

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Activation(nn.Module):
    """An activation function as a module, by its name in `ACTIVATIONS`."""

    def __init__(self, name: str):
        super().__init__()
        if name not in ACTIVATIONS:
            raise ValueError(f"activation={name!r} must be one of {', '.join(ACTIVATIONS)}")
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)

    def extra_repr(self) -> str:
        return self.name


class FeedForward(nn.Module):
    """Two linear maps with an activation between: (..., H) -> (..., H).

    Args:
        hidden_size: H.
        intermediate_size: width between the two maps.
        activation: a key of `ACTIVATIONS`; "gelu" is the exact form, "gelu_tanh" that of GPT-2.
        dropout: on the activations (T5; BERT and GPT-2 have none there).
        bias: whether the maps have biases (T5: no).
        gated: multiply the activation by a second linear map of the input (T5 v1.1).
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        bias: bool = True,
        gated: bool = False,
    ):
        super().__init__()
        self.activation = Activation(activation)
        self.expand = nn.Linear(hidden_size, intermediate_size, bias=bias)
        self.gate = nn.Linear(hidden_size, intermediate_size, bias=bias) if gated else None
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.expand(x))
        if self.gate is not None:
            inner = inner * self.gate(x)
        return self.contract(self.dropout(inner))
