"""A text from a text: translation, summarisation.

An encoder-decoder writes with its decoder (Raffel et al. 2019, arXiv:1910.10683; BART, Lewis et al. 2019,
arXiv:1910.13461); a decoder goes on after the source (GPT-2, Radford et al. 2019; as a prefix LM, Dong et al. 2019,
arXiv:1905.03197); an encoder writes after [SEP] itself, as in that paper, or gets a fresh decoder on top (Rothe et al.
2019, arXiv:1907.12461). All learn the next token of the first reference, and its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.errors import UserError, nearest
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.head import LAYOUTS, UNLIMITED, decoder_start
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.writing import TERM, InPlace, OneSequence, OnTop, TwoSequences, Writing
from lmlab.models.decoder_on_top import DecoderOnTop
from lmlab.models.decoding import beam_search
from lmlab.models.layouts import Encoder

ENCODER_GENERATES = ("in_place", "on_top")
SHORTEST = 4  # tokens of a source that says anything, special ones included


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
        if encoder_generates not in ENCODER_GENERATES:
            hint = nearest(str(encoder_generates), ENCODER_GENERATES)
            known = " or ".join(ENCODER_GENERATES)
            raise UserError(f"formulation.encoder_generates must be {known}, not {encoder_generates!r}{hint}")
        counts = {"max_target_length": max_target_length, "num_beams": num_beams}
        for key, value in (counts | {"num_decoder_layers": num_decoder_layers}).items():
            if value is not None and value < 1:
                raise UserError(f"formulation.{key}={value} must be at least 1")
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
        return WritingLearner(model, heads, writing, task, tokenizer)

    def writing(self, model: nn.Module, tokenizer: Any) -> Writing:
        """How this model reads and writes.

        Raises:
            UserError: there is no room in its positions, no end token, or nothing that hides the future.
        """
        if tokenizer.eos_id is None:
            raise UserError("the tokenizer has no end token ([SEP], </s> or <|endoftext|>) that could close a target")
        in_place = model.layout == "encoder" and self.encoder_generates == "in_place"
        frame = Frame(model.layout, tokenizer, self.source_length(model, in_place or model.layout == "decoder"))
        named = {"frame": frame, "end_id": tokenizer.eos_id, "max_target_length": self.max_target_length}
        if model.layout == "decoder":
            return OneSequence(self.sees_text_whole, **named)
        if model.layout == "encoder":
            refuse_unfit(model, in_place)
        if in_place:
            return InPlace(**named)
        start_id = decoder_start(model, tokenizer)
        return (OnTop if model.layout == "encoder" else TwoSequences)(start_id, **named)

    def source_length(self, model: nn.Module, shares_positions: bool) -> int:
        """Tokens of a source, checked against the positions that it may share with the target."""
        positions, asked = model.max_positions, self.max_length
        if asked is not None and asked < SHORTEST:
            raise UserError(f"formulation.max_length={asked} leaves no room beside the special tokens")
        if positions is None:
            return asked or UNLIMITED
        room = positions - self.max_target_length if shares_positions else positions
        length = min(room, UNLIMITED) if asked is None else asked
        if not SHORTEST <= length <= room or self.max_target_length > positions:
            both = "source and target together" if shares_positions else "each of the two"
            raise UserError(
                f"formulation.max_length={length} (seq_len) and formulation.max_target_length={self.max_target_length} "
                f"do not fit: a source takes {SHORTEST} tokens or more, and {both} at most the model's {positions} "
                f"positions"
            )
        return length

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
        examples = list(learner.examples(rows))

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.writing.collate([examples[i] for i in chosen])

        lengths = [len(example.ids) + len(example.labels) for example in examples]
        return TaskBatches(lengths, make_batch, micro_batch_tokens, seed, batch_size, batch_tokens)

    @torch.no_grad()
    def answer(self, learner: "WritingLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        """What is written for each row, and the mean loss of a token of the first reference, read as it stands."""
        device, examples = next(learner.parameters()).device, list(learner.examples(rows))
        lengths = [self.num_beams * (len(example.ids) + self.max_target_length) for example in examples]
        was_training, texts, total, count = learner.training, [""] * len(rows), 0.0, 0
        learner.eval()
        for chosen in cut(range(len(examples)), lengths, micro_batch_tokens):
            part = [examples[i] for i in chosen]
            batch = learner.writing.collate(part).to(device)
            total += float(learner(batch)[TERM])
            count += batch.counts[TERM]
            for index, text in zip(chosen, learner.write(part, self.num_beams, self.length_penalty), strict=True):
                texts[index] = text
        learner.train(was_training)
        return Answers(texts, total / max(1, count))


class WritingLearner(nn.Module):
    """The model and what writes with it.

    Attributes:
        model: hidden states.
        heads: `vocabulary`, the pre-trained one where there is one, and `decoder` for a decoder on top.
        writing: layout of sources and targets; it holds no weights.
    """

    def __init__(
        self, model: nn.Module, heads: Mapping[str, nn.Module], writing: Writing, task: Any, tokenizer: Any
    ) -> None:
        super().__init__()
        self.model, self.heads, self.writing = model, nn.ModuleDict(heads), writing
        self.task, self.tokenizer = task, tokenizer
        beyond = range(tokenizer.vocab_size, model.vocab_size)  # rows of the embedding without a token
        self.never = sorted({*tokenizer.special_ids, *beyond} - {writing.end_id})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"sequence": cross-entropy in nats, summed over the tokens of the targets}."""
        hidden = self.writing.states(self.model, self.heads, batch.inputs)
        return {TERM: self.heads["vocabulary"].cross_entropy(hidden, batch.targets["labels"])}

    def examples(self, rows: Sequence[dict]) -> Iterator[Example]:
        """Sources with targets."""
        return self.writing.examples(self.task, self.tokenizer, rows)

    def write(self, examples: Sequence[Example], num_beams: int = 1, length_penalty: float = 1.0) -> list[str]:
        """What the model writes for each source."""
        device = next(self.parameters()).device
        steps, tokens = self.writing.begin(self.model, self.heads, examples, device)
        written = beam_search(
            steps,
            self.heads["vocabulary"],
            tokens,
            self.writing.max_target_length,
            self.writing.end_id,
            num_beams,
            length_penalty,
            banned_ids=torch.tensor(self.never, dtype=torch.long, device=device),
        )
        return [self.tokenizer.decode(ids) for ids in written]

    def train(self, mode: bool = True) -> "WritingLearner":
        """As usual, but a model none of whose weights move is a fixed function: its dropout stays off."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self


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
