"""A text from a text: translation, summarisation; and what other tasks in words build on.

An encoder-decoder writes with its decoder (Raffel et al. 2019, arXiv:1910.10683; BART, Lewis et al. 2019,
arXiv:1910.13461); a decoder goes on after the source (GPT-2, Radford et al. 2019; as a prefix LM, Dong et al. 2019,
arXiv:1905.03197); an encoder writes after [SEP] itself, as in that paper, or gets a fresh decoder on top (Rothe et al.
2019, arXiv:1907.12461). All learn the next token of the target, and its end.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.errors import Diverged, UserError
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.learner import Learner
from lmlab.formulations.sequences import Example, Frame, decoder_start
from lmlab.formulations.settings import (
    LAYOUTS,
    SHORTEST,
    UNLIMITED,
    refuse_below_one,
    refuse_unknown,
    refuse_unseen,
    sequence_length,
)
from lmlab.formulations.wording import Wording
from lmlab.formulations.writing import TERM, InPlace, OneSequence, OnTop, TwoSequences, Writing
from lmlab.models.decoder_on_top import DecoderOnTop
from lmlab.models.decoding import beam_search
from lmlab.models.layouts import Encoder

ENCODER_GENERATES = ("in_place", "on_top")


class TextGeneration(Formulation):
    """Source in, target out, token by token.

    Args:
        max_length: tokens of a source, special ones included; longer pairs lose tokens of the longer text first. None
            takes as many as the model has positions for, at most 512.
        max_target_length: tokens of a target, its end included, in training and in generation.
        sees_text_whole: a decoder reads the source in both directions, as a prefix LM; None: no.
        encoder_generates: how an encoder does: "in_place", after [SEP] under a prefix mask, or "on_top", by a fresh
            decoder over its states.
        num_decoder_layers: of that decoder; None: as many as the encoder has.
        num_beams: 1 is greedy search.
        length_penalty: beams are compared by log-probability / length ** length_penalty; above 0 favours long texts.
    """

    fits = dict.fromkeys(("text",), LAYOUTS)
    decoding = ("max_target_length", "num_beams", "length_penalty")

    def __init__(
        self,
        max_length: int | None = None,
        max_target_length: int = 64,
        sees_text_whole: bool | None = None,
        encoder_generates: str = "in_place",
        num_decoder_layers: int | None = None,
        num_beams: int = 1,
        length_penalty: float = 1.0,
    ) -> None:
        refuse_unknown("encoder_generates", encoder_generates, ENCODER_GENERATES)
        refuse_below_one(
            max_target_length=max_target_length, num_beams=num_beams, num_decoder_layers=num_decoder_layers
        )
        self.max_length, self.max_target_length = max_length, max_target_length
        self.sees_text_whole, self.encoder_generates = bool(sees_text_whole), encoder_generates
        self.num_decoder_layers, self.num_beams, self.length_penalty = num_decoder_layers, num_beams, length_penalty

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> "WritingLearner":
        writing = self.writing(model, tokenizer)
        heads = {"vocabulary": model.vocabulary_head()}
        if pretrained_heads and "vocabulary" in pretrained_heads:
            heads["vocabulary"].load_state_dict(pretrained_heads["vocabulary"].state_dict())
        if isinstance(writing, OnTop):
            depth = self.num_decoder_layers or len(model.stack.blocks)
            heads["decoder"] = DecoderOnTop(model, depth, max_positions=self.max_target_length)
        return WritingLearner(model, heads, writing, self.wording(task, tokenizer), tokenizer)

    def wording(self, task: Any, tokenizer: Any) -> Wording:
        """What the rows of a task read as, and what is to be written from them."""
        return Wording(task)

    def writing(self, model: nn.Module, tokenizer: Any) -> Writing:
        """How this model reads and writes.

        Raises:
            UserError: there is no room in its positions, no end token, or nothing that hides the future.
        """
        if tokenizer.eos_id is None:
            raise UserError("the tokenizer has no end token ([SEP], </s> or <|endoftext|>) that could close a target")
        refuse_unseen(model, self.sees_text_whole)
        in_place = model.layout == "encoder" and self.encoder_generates == "in_place"
        frame = Frame(model.layout, tokenizer, self.source_length(model, in_place))
        named = {"frame": frame, "end_id": tokenizer.eos_id, "max_target_length": self.max_target_length}
        if model.layout == "decoder":
            return OneSequence(self.sees_text_whole, **named)
        if model.layout == "encoder":
            refuse_unfit(model, in_place)
        if in_place:
            return InPlace(**named)
        start_id = decoder_start(model, tokenizer)
        return (OnTop if model.layout == "encoder" else TwoSequences)(start_id, **named)

    def source_length(self, model: nn.Module, in_place: bool) -> int:
        """Tokens of a source, checked against the positions that it may share with the target."""
        positions, together = model.max_positions, in_place or model.layout == "decoder"
        if positions is None or not (together or model.layout == "encoder-decoder"):
            return sequence_length(self.max_length, positions)  # a decoder on top has positions of its own
        room = positions - self.max_target_length if together else positions
        length = min(room, UNLIMITED) if self.max_length is None else self.max_length
        if room < max(SHORTEST, length) or self.max_target_length > positions:
            both = "source and target together" if together else "each of the two"
            raise UserError(
                f"formulation.max_length={length} (seq_len) and formulation.max_target_length={self.max_target_length} "
                f"do not fit: a source takes {SHORTEST} tokens or more, and {both} at most the model's {positions} "
                f"positions"
            )
        return sequence_length(self.max_length, room)

    def decode(self, learner: "WritingLearner", **settings: Any) -> "TextGeneration":
        """The formulation of a learner that writes in another way: `settings` replace some of `decoding`.

        The loss stays that of the targets that were learnt. Raises UserError where there is no room for what is asked.
        """
        other = copy(self)
        vars(other).update(settings)
        refuse_below_one(max_target_length=other.max_target_length, num_beams=other.num_beams)
        room = learner.writing.room(learner.model, learner.heads)
        if room is not None and other.max_target_length > room:
            raise UserError(
                f"formulation.max_target_length={other.max_target_length}: the model has positions for {room} tokens of"
                f" a target, beside a source of {learner.writing.frame.max_length} (seq_len)"
            )
        return other

    def batches(
        self,
        learner: "WritingLearner",
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        if not any(parameter.requires_grad for parameter in learner.parameters()):
            raise UserError("tuning=frozen leaves nothing to learn: all weights are the model's own; take tuning=full")
        examples = learner.prepared(rows)

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.collate([examples[i] for i in chosen])

        lengths = list(map(learner.writing.lengths, examples))
        return TaskBatches(lengths, make_batch, micro_batch_tokens, seed, batch_size, batch_tokens)

    def answer(self, learner: "WritingLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        """What is written for each row, as the task understands it, and the mean loss of a token of the targets."""
        examples, texts, wording = learner.prepared(rows), [""] * len(rows), learner.wording
        lengths = [self.num_beams * (len(example.ids) + self.max_target_length) for example in examples]
        pieces = cut(range(len(examples)), lengths, micro_batch_tokens)

        def answered(batch: Batch, part: Sequence[Example]) -> Tensor:
            memory = learner.writing.memory(learner.model, batch.inputs)
            loss = learner(batch, memory)[TERM]
            if not loss.isfinite():
                raise Diverged(
                    f"the model's loss on task '{wording.task.name}' is {float(loss)}: its weights are no numbers"
                )
            for example, text in zip(part, learner.write(part, self, memory), strict=True):
                texts[example.row] = text
            return loss

        loss = learner.mean_loss(([examples[i] for i in chosen] for chosen in pieces), answered)
        predictions = [wording.prediction(row, text) for row, text in zip(rows, texts, strict=True)]
        return Answers(predictions, loss, wording.metrics(predictions))


class WritingLearner(Learner):
    """The model and what writes with it.

    Attributes:
        model: hidden states.
        heads: `vocabulary`, the pre-trained one where there is one, and `decoder` for a decoder on top.
        writing: layout of sources and targets; it holds no weights.
        wording: what sources and targets are.
    """

    def __init__(
        self, model: nn.Module, heads: Mapping[str, nn.Module], writing: Writing, wording: Wording, tokenizer: Any
    ) -> None:
        super().__init__(model, heads)
        self.writing, self.wording, self.tokenizer = writing, wording, tokenizer
        beyond = range(tokenizer.vocab_size, model.vocab_size)  # rows of the embedding without a token
        self.never = sorted({*tokenizer.special_ids, *beyond} - {writing.end_id})

    def forward(self, batch: Batch, memory: Tensor | None = None) -> dict[str, Tensor]:
        """{"sequence": cross-entropy in nats, summed over the tokens of the targets}."""
        hidden = self.writing.states(self.model, self.heads, batch.inputs, memory)
        return {TERM: self.heads["vocabulary"].cross_entropy(hidden, batch.targets["labels"])}

    def collate(self, examples: Sequence[Example]) -> Batch:
        return self.writing.collate(examples)

    def prepare(self, rows: Sequence[dict]) -> list[Example]:
        """Sources with targets."""
        return list(self.writing.examples(self.wording, self.tokenizer, rows))

    def longest_sequence(self, rows: list[dict]) -> int:
        """Tokens of the longest sequence of rows, source and target together where they share the model's positions."""
        return max(map(self.writing.longest, self.prepared(rows)))

    def write(self, examples: Sequence[Example], how: TextGeneration, memory: Tensor | None = None) -> list[str]:
        """What the model writes for each source; `memory` as `Writing.memory` gives it for a batch of them."""
        device = next(self.parameters()).device
        steps, tokens = self.writing.begin(self.model, self.heads, examples, device, memory)
        written = beam_search(
            steps,
            self.heads["vocabulary"],
            tokens,
            how.max_target_length,
            self.writing.end_id,
            how.num_beams,
            how.length_penalty,
            banned_ids=torch.tensor(self.never, dtype=torch.long, device=device),
        )
        return [self.tokenizer.decode(ids) for ids in written]


def refuse_unfit(model: nn.Module, in_place: bool) -> None:
    """Raise UserError for an encoder that cannot write."""
    name = type(model).__name__
    if not isinstance(model, Encoder):
        raise UserError(f"{name} is no lmlab.models.layouts.Encoder: it has neither a prefix mask nor a cache")
    if in_place and model.embeds_neighbours:
        raise UserError(
            f"formulation.encoder_generates=in_place: the embeddings of {name} (model.trigram=true) read the next"
            f" token, the one to be written; take on_top"
        )
