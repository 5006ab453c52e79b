"""A network at work, as a list of its parts with the number of rows that each of them computes.

A part that stands in several layers (shared weights) is listed for each of them.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.bottleneck import Bottleneck
from lmlab.models.layers.embeddings import Embeddings
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.positions import RelativePositionBias
from lmlab.models.layers.vocabulary import VocabularyHead
from lmlab.plan.calls import Call
from lmlab.plan.parts import attends_to_memory


@dataclass(frozen=True)
class Text:
    """What a stack reads.

    Attributes:
        batch, length: of its tokens.
        wanted: how many of the last hidden states are asked for.
        memory_length: of what cross-attention reads; None where there is none.
        masked: attention is told of padding or of a prefix.
        distances: it adds what it has learnt about distances.
    """

    batch: int
    length: int
    wanted: int
    memory_length: int | None = None
    masked: bool = False
    distances: bool = False

    @property
    def rows(self) -> int:
        """Hidden states between two layers."""
        return self.batch * self.length


@dataclass(frozen=True)
class Use:
    """A part at work.

    Attributes:
        part: an `Attention`, a `FeedForward`, or a module that has no others inside.
        rows: at how many positions it is computed; of attention: those of its output.
        width: numbers a row that it is given.
        text: what is read.
        crosses: attention over the memory.
        rereads: its input is that of another part, too.
    """

    part: nn.Module
    rows: int
    width: int
    text: Text
    crosses: bool = False
    rereads: bool = False


def uses_of(call: Call) -> Iterator[Use]:
    """The parts that a call runs through. Of a `VocabularyHead` those of its transform."""
    network = call.network
    if not call.batch:
        inside = network.transform if isinstance(network, VocabularyHead) else network
        if inside is not None:
            yield from _Line(Text(1, call.rows, call.rows), 0).uses(inside)
        return
    texts = _texts(call)
    for number, text in enumerate(texts):
        yield from _around(network, number, texts)
        for stack in _stacks(network):
            if len(texts) == 1 or attends_to_memory(stack) == (text.memory_length is not None):
                yield from _through(stack, text)


def _texts(call: Call) -> list[Text]:
    """The text that a model reads, or that of its encoder and that of its decoder."""
    distances = any(isinstance(each, RelativePositionBias) for each in call.network.modules())
    rows = call.rows if call.decoder_length is None else call.batch * call.length
    first = Text(call.batch, call.length, rows, masked=call.masked, distances=distances)
    if call.decoder_length is None:
        return [first]
    return [first, Text(call.batch, call.decoder_length, call.rows, call.length, distances=distances)]


def _stacks(network: nn.Module) -> list[Stack]:
    return [each for each in network.modules() if isinstance(each, Stack)]


def _around(network: nn.Module, number: int, texts: list[Text]) -> Iterator[Use]:
    """What works on a text outside of the stacks; of two modules of a kind, each text has its own."""
    text = texts[number]
    kinds = defaultdict(list)
    for part in _outermost(network):
        kinds[type(part)].append(part)
    for parts in kinds.values():
        for part in parts[number : number + 1] if len(parts) == len(texts) else parts:
            line = _Line(text, network.hidden_size)
            if part is getattr(network, "last_dropout", None):
                line.rows = text.wanted
            yield from line.uses(part)


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network that stand in no stack."""
    for child in module.children():
        if isinstance(child, Embeddings | RelativePositionBias) or not list(child.children()):
            yield child
        elif not isinstance(child, Stack):
            yield from _outermost(child)


def _through(stack: Stack, text: Text) -> Iterator[Use]:
    for number, layer in enumerate(stack.blocks, start=1):
        wanted = text.wanted if number == len(stack.blocks) else text.rows
        yield from _Line(text, 0, wanted).uses(layer)
    if stack.final_norm is not None:
        yield Use(stack.final_norm, text.wanted, _vector(stack.final_norm), text)


class _Line:
    """Goes through parts in the order in which they are defined, which is that of the computation.

    Args:
        text: what they work on, at all of its rows.
        width: numbers a row to begin with.
        wanted: rows that are left after the last attention.
    """

    def __init__(self, text: Text, width: int, wanted: int | None = None):
        self.text, self.width, self.rows = text, width, text.rows
        self.wanted = text.rows if wanted is None else wanted

    def uses(self, module: nn.Module, rereads: bool = False) -> Iterator[Use]:
        """The parts of `module`, which is one itself or is made of them."""
        if isinstance(module, Block):
            yield from self._block(module, rereads)
        elif isinstance(module, Attention):
            yield self._attention(module, rereads)
        elif isinstance(module, Embeddings):
            yield from self._embeddings(module)
        elif isinstance(module, FeedForward | RelativePositionBias) or not list(module.children()):
            yield self._use(module)
        else:
            for child in module.children():
                yield from self.uses(child, rereads=isinstance(module, Bottleneck) and module.attend_hidden)

    def _block(self, block: Block, rereads: bool) -> Iterator[Use]:
        own, cross = block.attention, block.cross_attention
        yield from self._residual(block, own, block.attention_norm, rereads)
        if cross is not None:
            yield from self._residual(block, cross, block.cross_attention_norm)
        networks = [block.feed_forward, *block.more_feed_forwards]
        norms = [block.feed_forward_norm, *block.more_feed_forward_norms]
        for network, norm in zip(networks, norms, strict=True):
            yield from self._residual(block, network, norm)

    def _residual(self, block: Block, part: nn.Module, norm: nn.Module, rereads: bool = False) -> Iterator[Use]:
        """A part of a block, the dropout on its output, and the norm before or after it."""
        rows = self.rows
        crosses = part is block.cross_attention
        is_last = crosses or (part is block.attention and block.cross_attention is None)
        if isinstance(part, Attention):
            yield self._attention(part, rereads, crosses, is_last)
        else:
            yield from self.uses(part)
        self.width = _vector(norm)
        yield self._use(block.dropout)
        yield Use(norm, rows if block.pre_norm else self.rows, self.width, self.text)

    def _attention(self, part: Attention, rereads: bool, crosses: bool = False, is_last: bool = True) -> Use:
        self.rows = self.wanted if is_last else self.rows
        return Use(part, self.rows, self.width, self.text, crosses, rereads)

    def _embeddings(self, embeddings: Embeddings) -> Iterator[Use]:
        self.width = embeddings.width
        yield from self.uses(embeddings.tokens)
        for part in (embeddings.norm, embeddings.dropout, embeddings.projection):
            if part is not None:
                yield self._use(part)

    def _use(self, part: nn.Module) -> Use:
        """A part that keeps the rows and maybe changes the width."""
        self.width = _vector(part) or self.width
        use = Use(part, self.rows, part.in_features if isinstance(part, nn.Linear) else self.width, self.text)
        if isinstance(part, nn.Linear):
            self.width = part.out_features
        return use


def _vector(part: nn.Module) -> int:
    """Width of a normalisation; 0 for what has matrices, or nothing."""
    weights = list(part.parameters(recurse=False))
    return len(weights[0]) if weights and weights[0].ndim == 1 else 0
