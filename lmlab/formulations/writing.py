"""How a source and what is to be written from it become sequences, and how a network goes on from a source.

    decoder            <eos> source <eos> target <eos>   in one sequence
    encoder, in place  [CLS] source [SEP] target [SEP]   in one sequence; source and target are segments 0 and 1
    encoder-decoder    encoder: [CLS] source [SEP]       decoder: start token, target <eos>
    encoder, on top    encoder: [CLS] source [SEP]       a fresh decoder: the same

The tokens around the source are those of `lmlab.formulations.sequences`. What is learnt and written is always the next
token, of the target and its end alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.wording import Wording, shortened
from lmlab.models.decoder_on_top import DecoderOnTop
from lmlab.models.decoding import CachedSteps
from lmlab.models.layers.block import num_seen
from lmlab.models.layouts import Cache
from lmlab.text.features import DecoderConverter, EncoderDecoderConverter, padded, padded_inputs

TERM = "sequence"  # name of the loss
OF_DECODER = ("decoder_input_ids", "positions")  # what a decoder over an encoder reads of a batch, and that alone


class Writing(ABC):
    """How one kind of network reads a source and writes a target; it holds no weights.

    Args:
        frame: puts special tokens around the source.
        end_id: the token that closes a target.
        max_target_length: tokens of a target, the end included.
    """

    def __init__(self, frame: Frame, end_id: int, max_target_length: int) -> None:
        self.frame, self.end_id, self.max_target_length = frame, end_id, max_target_length

    def examples(self, wording: Wording, tokenizer: Any, rows: Sequence[dict]) -> Iterator[Example]:
        """A source for each row, and as labels what is to be written. A target that is cut has no end to be learnt."""
        sources = [wording.source(row) for row in rows]
        encoded = iter(tokenizer.encode_batch([text.text for texts in sources for text in texts]))
        targets = tokenizer.encode_batch([wording.target(row) for row in rows])
        for index, (texts, target) in enumerate(zip(sources, targets, strict=True)):
            ids, room = [next(encoded) for _ in texts], self.frame.room(len(texts))
            is_long = sum(map(len, ids)) > room
            example = self.frame.join(shortened(texts, tokenizer, room) if is_long else ids)
            example.row, example.labels = index, np.append(target, self.end_id)[: self.max_target_length]
            yield example

    @abstractmethod
    def lengths(self, example: Example) -> list[int]:
        """Tokens of the sequences of an example, each of which is padded by itself."""

    def longest(self, example: Example) -> int:
        """How many of the positions that the model was trained with an example takes."""
        return max(self.lengths(example))

    @abstractmethod
    def room(self, model: nn.Module, heads: nn.ModuleDict) -> int | None:
        """Positions for what is written; None: there is no limit."""

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Sources and targets, padded to the longest; `targets["labels"]` (N,) are all that is asked."""
        batch = self.laid_out(examples)
        batch.counts[TERM] = len(batch.targets["labels"])
        return batch

    @abstractmethod
    def laid_out(self, examples: Sequence[Example]) -> Batch:
        """What `states` reads, with `targets["labels"]`."""

    def memory(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor | None:
        """The states of the sources (B, S, H), which both the loss and the search read; None: there are none apart."""
        return None

    @abstractmethod
    def states(
        self, model: nn.Module, heads: nn.ModuleDict, inputs: dict[str, Tensor], memory: Tensor | None = None
    ) -> Tensor:
        """Hidden states (N, H) that predict the labels of a batch; the `memory` is computed where it is not given."""

    @abstractmethod
    def begin(
        self,
        model: nn.Module,
        heads: nn.ModuleDict,
        examples: Sequence[Example],
        device: torch.device,
        memory: Tensor | None = None,
    ) -> tuple[CachedSteps, Tensor]:
        """What runs the network over the sources, and the tokens (B, T) that it goes on from."""


class OneSequence(Writing):
    """Source and target in one sequence, written by the decoder that reads it.

    Args:
        named: what `Writing` takes.
        sees_source_whole: the tokens of the source see each other in both directions (prefix LM).
    """

    def __init__(self, sees_source_whole: bool, **named: Any) -> None:
        super().__init__(**named)
        self.sees_source_whole = sees_source_whole

    def marks(self, is_source: Tensor) -> dict[str, Tensor]:
        """What the network is told of each token, by which ones are of the source, (B, T)."""
        return {"prefix_mask": is_source} if self.sees_source_whole else {}

    def lengths(self, example: Example) -> list[int]:
        return [len(example.ids) + len(example.labels)]

    def room(self, model: nn.Module, heads: nn.ModuleDict) -> int | None:
        return None if model.max_positions is None else model.max_positions - self.frame.max_length

    def laid_out(self, examples: Sequence[Example]) -> Batch:
        pairs = [{"inputs": example.ids, "targets": example.labels} for example in examples]
        batch = DecoderConverter(self.frame.pad_id)(pairs)
        batch.inputs |= self.marks(batch.inputs.pop("prefix_mask"))
        return batch

    def states(
        self, model: nn.Module, heads: nn.ModuleDict, inputs: dict[str, Tensor], memory: Tensor | None = None
    ) -> Tensor:
        return model(**inputs).flatten(0, -2)

    def begin(
        self,
        model: nn.Module,
        heads: nn.ModuleDict,
        examples: Sequence[Example],
        device: torch.device,
        memory: Tensor | None = None,
    ) -> tuple[CachedSteps, Tensor]:
        """Sources are padded on the left here, so that all targets begin in the same column."""

        def run(new: Tensor, cache: Cache, is_source: Tensor) -> Tensor:
            seen, length = num_seen(cache), new.shape[1]
            attention_mask = F.pad(is_source, (0, seen + length - is_source.shape[1]), value=True)
            in_source = is_source if seen == 0 else torch.zeros_like(new, dtype=torch.bool)
            return model(new, attention_mask=attention_mask, cache=cache, **self.marks(in_source))

        backwards = padded_inputs([example.ids[::-1] for example in examples], self.frame.pad_id)
        sources = backwards["input_ids"].flip(1).to(device)
        is_real = backwards.get("attention_mask", torch.ones_like(backwards["input_ids"], dtype=torch.bool))
        return CachedSteps(run, model.new_cache(), is_source=is_real.flip(1).to(device)), sources


class InPlace(OneSequence):
    """An encoder that writes after [SEP] itself, under a prefix mask (UniLM: Dong et al. 2019, arXiv:1905.03197).

    The source sees the source; a token of the target sees the source and the target up to itself. UniLM masks tokens of
    the target at random, and asks for them where they stand. Here the state of each token is asked for the next one:
    all tokens of a target are learnt in one pass, and generation, which reuses what is cached, does exactly what was
    learnt. Pre-training asked for tokens where they stood, so that fine-tuning has this step to learn.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(sees_source_whole=True, **named)

    def marks(self, is_source: Tensor) -> dict[str, Tensor]:
        return {"prefix_mask": is_source, "segment_ids": (~is_source).long()}


class TwoSequences(Writing):
    """The source in an encoder, the target in the decoder over it.

    Args:
        named: what `Writing` takes.
        start_id: the first token that the decoder reads.
    """

    def __init__(self, start_id: int, **named: Any) -> None:
        super().__init__(**named)
        self.start_id = start_id

    def encode(self, model: nn.Module, sources: dict[str, Tensor]) -> Tensor:
        """Hidden states of the sources (B, S, H)."""
        return model.encode(**sources)

    def decoder(self, model: nn.Module, heads: nn.ModuleDict) -> nn.Module:
        """What has `decode`, `new_cache` and `max_positions`."""
        return model

    def lengths(self, example: Example) -> list[int]:
        return [len(example.ids), len(example.labels)]

    def room(self, model: nn.Module, heads: nn.ModuleDict) -> int | None:
        return self.decoder(model, heads).max_positions

    def memory(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor | None:
        return self.encode(model, {name: each for name, each in inputs.items() if name not in OF_DECODER})

    def sources(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """What `encode` reads."""
        return padded_inputs([example.ids for example in examples], self.frame.pad_id)

    def laid_out(self, examples: Sequence[Example]) -> Batch:
        pairs = [{"inputs": example.ids, "targets": example.labels} for example in examples]
        batch = EncoderDecoderConverter(self.frame.pad_id, start_id=self.start_id)(pairs)
        batch.inputs |= self.sources(examples)
        return batch

    def states(
        self, model: nn.Module, heads: nn.ModuleDict, inputs: dict[str, Tensor], memory: Tensor | None = None
    ) -> Tensor:
        if memory is None:  # in one call, for a network that is compiled
            return model(**inputs).flatten(0, -2)
        return self.decoded(model, heads, inputs, memory)

    def decoded(self, model: nn.Module, heads: nn.ModuleDict, inputs: dict[str, Tensor], memory: Tensor) -> Tensor:
        """Hidden states (N, H) of the decoder over a memory."""
        read = {name: inputs[name] for name in (*OF_DECODER, "attention_mask") if name in inputs}
        return self.decoder(model, heads).decode(memory=memory, **read).flatten(0, -2)

    def begin(
        self,
        model: nn.Module,
        heads: nn.ModuleDict,
        examples: Sequence[Example],
        device: torch.device,
        memory: Tensor | None = None,
    ) -> tuple[CachedSteps, Tensor]:
        sources = {name: each.to(device) for name, each in self.sources(examples).items()}
        memory, decoder = self.encode(model, sources) if memory is None else memory, self.decoder(model, heads)
        mask = sources.get("attention_mask")
        steps = CachedSteps(decoder.decode, decoder.new_cache(), memory=memory, attention_mask=mask)
        return steps, torch.full((len(examples), 1), self.start_id, device=device)


class OnTop(TwoSequences):
    """An encoder, and a fresh decoder on top of it: the head `decoder`."""

    def encode(self, model: nn.Module, sources: dict[str, Tensor]) -> Tensor:
        return model(**sources)

    def decoder(self, model: nn.Module, heads: nn.ModuleDict) -> DecoderOnTop:
        return heads["decoder"]

    def longest(self, example: Example) -> int:
        """The positions of the decoder are its own, and new."""
        return len(example.ids)

    def states(
        self, model: nn.Module, heads: nn.ModuleDict, inputs: dict[str, Tensor], memory: Tensor | None = None
    ) -> Tensor:
        return self.decoded(model, heads, inputs, self.memory(model, inputs) if memory is None else memory)

    def sources(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        segments = [example.segments for example in examples]
        return super().sources(examples) | ({} if segments[0] is None else {"segment_ids": padded(segments, 0)})
