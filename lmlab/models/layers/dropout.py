"""Dropout (Srivastava et al. 2014), drawn from random 16-bit words on a CPU.

`torch.nn.functional.dropout` spends most of its time on a CPU in `bernoulli_`. Comparing raw random words with a
threshold is several times faster, comes from the same generator (`torch.manual_seed` makes it repeatable) and
gives the rate to within 1/65536.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dropout_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """Return a CPU tensor of `shape` that is 0 with probability `p` and 1 / (1 - p) elsewhere."""
    num_elements = shape.numel()
    words = torch.empty((num_elements + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None)  # the whole range: the default one leaves the sign bit, every fourth word, at 0
    words = words.view(torch.int16)[:num_elements].view(shape)
    threshold = round(p * 65536) - 32768
    # A comparison gives bytes of 0 and 1; read as int8 they convert far faster than as bool.
    return (words >= threshold).view(torch.int8).to(dtype).mul_(1 / (1 - p))


class _MaskedDropout(torch.autograd.Function):
    """Multiply by a mask that is kept for the backward pass in the precision of the input."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        mask = dropout_mask(x.shape, p, x.dtype)
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0], None


class Dropout(nn.Module):
    """Zero elements with probability `p` while training and scale the others by 1 / (1 - p)."""

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout={p} must lie in [0, 1)")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        return _MaskedDropout.apply(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
