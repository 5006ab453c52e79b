"""Memory of training, in bytes: weights, gradients, the optimizer's state, and what forward keeps for backward."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lmlab.engine.optimizers import FP32, Optimizer
from lmlab.models.layers.attention import PLAIN_UP_TO, Attention
from lmlab.models.layers.bottleneck import SharedBottleneckProjection
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.feed_forward import Activation, FeedForward
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.plan.calls import Call, Calls
from lmlab.plan.flops import extent, in_pieces
from lmlab.plan.uses import Use, uses_of

INT64 = 8  # bytes of a number


@dataclass(frozen=True)
class Memory:
    """Of one device that holds everything.

    Attributes:
        weights: those that the network computes with and, where these are shorter, their fp32 masters.
        gradients: of both.
        optimizer: its state, for the fp32 weights.
        activations: what the forward pass of a micro-batch keeps for the backward pass.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


def memory_of(
    learner: nn.Module, passes: Iterable[Calls], optimizer: Optimizer, dtype: torch.dtype, on_cpu: bool
) -> Memory:
    """What training keeps, without temporaries; `lmlab.engine.precision.Weights` keeps fp32 beside bf16.

    Temporaries are what a single operation needs while it runs, above all in the backward pass. They come on top.
    """
    weights = list(learner.parameters())
    each = FP32 if dtype == torch.float32 else dtype.itemsize + FP32
    total = each * sum(weight.numel() for weight in weights)
    return Memory(total, total, optimizer_state(optimizer, weights), Activations(dtype, on_cpu).of(passes))


# --- the optimizer ---


def optimizer_state(optimizer: Optimizer, weights: Iterable[nn.Parameter]) -> int:
    """Bytes that an optimizer keeps between steps for fp32 weights, as it says itself or as is counted."""
    shapes = Counter(weight.shape for weight in weights)
    of_one = getattr(optimizer, "state_bytes", None) or partial(counted_state, optimizer)
    return sum(number * of_one(shape) for shape, number in shapes.items())


def counted_state(optimizer: Optimizer, shape: torch.Size) -> int:
    """Bytes that are there after a step of a weight of this shape, on the meta device: torch takes a second for it."""
    weight = nn.Parameter(torch.empty(shape, device="meta"))
    weight.grad = torch.empty_like(weight)
    made = optimizer.create([weight])
    with _NumbersAreOne():
        made.step()
    tensors = [each for each in made.state[weight].values() if isinstance(each, torch.Tensor)]
    return sum(each.numel() * each.element_size() for each in tensors)


class _NumbersAreOne(TorchFunctionMode):
    """A number that is asked of a tensor without content is 1."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return 1.0 if func is torch.Tensor.item else func(*args, **(kwargs or {}))


# --- activations ---


class Activations:
    """What the forward pass keeps for the backward pass, in bytes.

    On a CPU as the parts of `lmlab.models` compute there. On other devices attention is taken to be fused, which keeps
    no scores, dropout to keep a byte an element, and normalisations to be fused. A part of a kind that is not known
    here is taken to keep its input.

    Args:
        dtype: of the weights and of what is computed.
        on_cpu: whether the device is one.
    """

    def __init__(self, dtype: torch.dtype, on_cpu: bool):
        self.size, self.on_cpu = dtype.itemsize, on_cpu

    def of(self, passes: Iterable[Calls]) -> int:
        """Of the networks that the largest pass runs through, as far as they are trained.

        The trainer goes backward after each pass, which frees what it kept, before it begins the next.
        """
        return max(sum(self._call(call) for call in calls if call.trained) for calls in passes)

    def _call(self, call: Call) -> int:
        total = sum(self._use(use) for use in uses_of(call))
        if isinstance(call.network, VocabularyHead):  # computes its gradients at once, and keeps them
            head = call.network
            own = sum(weight.numel() for weight in head.parameters(recurse=False))
            width = head.weight.shape[1] + (0 if head.more_columns is None else head.more_columns.shape[1])
            total += self.size * (own + call.rows * width)
        if call.decoder_length is not None:  # the memory, which every layer of the decoder reads
            total += self.size * call.batch * call.length * call.network.hidden_size
        return total

    def _use(self, use: Use) -> int:
        part, given = use.part, use.rows * use.width
        if isinstance(part, Attention):
            return self._attention(use)
        if isinstance(part, FeedForward):
            return self._feed_forward(use)
        if isinstance(part, RelativePositionBias):
            buckets = use.text.length**2
            return INT64 * buckets + (0 if self.on_cpu else self.size * buckets * part.scores.embedding_dim)
        if isinstance(part, Dropout):
            return self._mask(part.p, given)
        if isinstance(part, nn.LayerNorm):
            return self.size * given + 2 * use.rows * (self.size if self.on_cpu else FP32)
        if isinstance(part, nn.RMSNorm):
            return self._rms_norm(use)
        if isinstance(part, nn.Identity | nn.Embedding) or keeps_result(part):
            return 0  # what is looked up is kept with the batch; a result is what the next part is given
        return self.size * given

    def _mask(self, p: float, numbers: int) -> int:
        """Of dropout."""
        return (self.size if self.on_cpu else 1) * numbers if p else 0

    def _rms_norm(self, use: Use) -> int:
        """On a CPU torch computes it step by step in fp32, and keeps what is normalised before it is scaled."""
        numbers = use.rows * use.width
        return (2 * FP32 if self.on_cpu else self.size) * numbers + FP32 * use.rows

    def _feed_forward(self, use: Use) -> int:
        """Its input; what the activation keeps, the factors of a gate, and the input of the second map."""
        part: FeedForward = use.part
        inner = use.rows * part.contract.in_features
        copies = 1 if keeps_result(part.activation) else 2  # before the gate
        if part.gate is not None:
            copies += 2  # what it gives, and the product
        elif part.dropout.p and keeps_result(part.activation):
            copies += 1  # else the result is the input of the second map
        return self.size * (use.rows * part.expand.in_features + copies * inner) + self._mask(part.dropout.p, inner)

    def _attention(self, use: Use) -> int:
        """Its input; queries, keys and values; the scores or what a fused kernel keeps; the input of the last map."""
        part, text = use.part, use.text
        queries, keys = extent(part, text, use.crosses)
        inner = part.inner_size * text.batch * queries
        scores = part.num_heads * text.batch * queries * keys
        pieces = in_pieces(part, text)
        if pieces:
            mixed = 5 * inner  # each piece has the keys and values of two
        elif use.crosses:
            mixed = inner + 2 * part.inner_size * text.batch * keys
        else:
            mixed = 4 * inner  # the scaled queries are a second copy
        numbers, output = self._read(use) + mixed, part.inner_size * use.rows
        if self.on_cpu and (keys <= PLAIN_UP_TO or part.dropout):
            return self.size * (numbers + scores * (3 if part.dropout else 1) + output)
        if self.on_cpu and (pieces or (text.distances and not use.crosses)):  # torch takes fp32: no kernel knows these
            copies = 5 if pieces or self.size == FP32 else 3
            return self.size * (self._read(use) + output) + FP32 * (copies * inner + scores)
        if not self.on_cpu and use.rows == text.rows:
            output = 0  # it is the kernel's own result
        statistics = FP32 * part.num_heads * text.batch * queries
        return self.size * (numbers + inner + output) + statistics

    def _read(self, use: Use) -> int:
        """Numbers that the maps to queries, keys and values are given."""
        packed, rows = use.part.query_key_value, use.text.rows
        if isinstance(packed, SharedBottleneckProjection):
            between = packed.bottleneck.out_features  # given to its normalisation, and to the second map
            return rows * 2 * between + (0 if use.rereads else rows * packed.bottleneck.in_features)
        return 0 if use.rereads else rows * packed.in_features


def keeps_result(part: nn.Module) -> bool:
    """Whether an activation function keeps what it returns, rather than what it is given."""
    return part.name in ("relu", "tanh") if isinstance(part, Activation) else isinstance(part, nn.ReLU | nn.Tanh)
