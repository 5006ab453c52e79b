"""A small new layer on top of the model (GPT, Radford et al. 2018; BERT, Devlin et al. 2018).

What is read: the first token of an encoder or the last of a decoder, through the family's pooler (the pre-trained
one if the checkpoint has it), or the mean of all tokens; for tagging the first piece of each word; for spans
every token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.errors import UserError
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.questions import Classification, Question, Regression, Tagging
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.spans import Span
from lmlab.models.base import initialize
from lmlab.models.layers.dropout import Dropout

LAYOUTS = ("encoder", "decoder", "encoder-decoder")
UNLIMITED = 512  # sequence length taken for a model without a limit when none is asked for


class Head(Formulation):
    """A linear layer over hidden states, for each kind of task.

    Args:
        max_length: tokens of a sequence, special ones included; longer pairs lose tokens of the longer text
            first. None takes as many as the model has positions, at most 512.
        pooling: what stands for a whole text: "token" (an encoder's first, a decoder's last) or "mean" (of all).
        dropout: before the new layer; None takes the model's own rate.
        decoder_input: what the decoder of an encoder-decoder reads: "text" (the same text again, as BART),
            "start" (its start token alone: cheaper, and enough for one answer per text; tags, spans and means
            take the text all the same) or "none" (the decoder is left out, and the encoder's states are read:
            Sentence-T5, Ni et al. 2021, arXiv:2108.08877).
        sees_text_whole: a decoder reads the text in both directions, as a prefix LM reads its inputs; None: no.
        doc_stride: span tasks: tokens from the start of one window to the start of the next (the step, not
            the overlap); None takes half of what a window can show.
        max_question_tokens: span tasks: a longer question is cut.
        max_answer_length: span tasks: tokens of the longest answer considered.
    """

    fits = dict.fromkeys(("classification", "regression", "tagging", "span"), LAYOUTS)

    def __init__(
        self,
        max_length: int | None = None,
        pooling: str = "token",
        dropout: float | None = None,
        decoder_input: str = "text",
        sees_text_whole: bool | None = None,
        doc_stride: int | None = None,
        max_question_tokens: int = 64,
        max_answer_length: int = 30,
    ) -> None:
        if decoder_input not in ("text", "start", "none"):
            raise UserError(f"formulation.decoder_input must be text, start or none, not {decoder_input!r}")
        if pooling not in ("token", "mean"):
            raise UserError(f"formulation.pooling must be token or mean, not {pooling!r}")
        self.pooling = pooling
        self.max_length, self.dropout, self.decoder_input = max_length, dropout, decoder_input
        self.sees_text_whole = bool(sees_text_whole)
        self.doc_stride, self.max_question_tokens = doc_stride, max_question_tokens
        self.max_answer_length = max_answer_length

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> "HeadLearner":
        question = self.question(model, task, tokenizer)
        dropout = dropout_rate(model) if self.dropout is None else self.dropout
        learner = HeadLearner(model, question, task.num_outputs, dropout)
        if pretrained_heads and "pooler" in pretrained_heads and "pooler" in learner.heads:
            learner.heads["pooler"].load_state_dict(pretrained_heads["pooler"].state_dict())
        return learner

    def question(self, model: nn.Module, task: Any, tokenizer: Any) -> Question:
        """What the head is asked about the task."""
        kinds = {"classification": Classification, "regression": Regression, "tagging": Tagging, "span": Span}
        pooled = kinds[task.kind].pooled
        start_is_enough = pooled and self.pooling == "token"
        read = "text" if self.decoder_input == "start" and not start_is_enough else self.decoder_input
        start_id, length = decoder_start(model, tokenizer), self.length_for(model)
        frame = Frame(model.layout, tokenizer, length, read, start_id, self.sees_text_whole)
        if task.kind == "span":
            spans = (self.doc_stride, self.max_question_tokens, self.max_answer_length)
            question: Question = Span(task, tokenizer, frame, *spans)
        else:
            question = kinds[task.kind](task, tokenizer, frame)
            question.mean = pooled and self.pooling == "mean"
        question.check()
        return question

    def length_for(self, model: nn.Module) -> int:
        """The sequence length, checked against the model's positions."""
        positions = model.max_positions
        if self.max_length is None:
            return min(positions or UNLIMITED, UNLIMITED)
        if positions is not None and self.max_length > positions:
            raise UserError(
                f"formulation.max_length={self.max_length} (seq_len) is beyond the model's positions; "
                f"take at most {positions}"
            )
        if self.max_length < 4:
            raise UserError(f"formulation.max_length={self.max_length} leaves no room beside the special tokens")
        return self.max_length

    def batches(
        self,
        learner: "HeadLearner",
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        question = learner.question
        examples = question.trainable(list(question.examples(rows)))
        if not examples:
            raise UserError(f"task '{question.task.name}': no training row can be learnt from")

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.collate([examples[i] for i in chosen])

        lengths = [question.frame.length(example) for example in examples]
        return TaskBatches(lengths, make_batch, micro_batch_tokens, seed, batch_size, batch_tokens)

    @torch.no_grad()
    def answer(self, learner: "HeadLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        question, device = learner.question, next(learner.parameters()).device
        examples = list(question.examples(rows))
        lengths = [question.frame.length(example) for example in examples]
        was_training, found, total, count = learner.training, {}, 0.0, 0
        learner.eval()
        for chosen in cut(range(len(examples)), lengths, micro_batch_tokens):
            part = [examples[i] for i in chosen]
            batch = learner.collate(part).to(device)
            outputs = learner.predict(batch)
            question.read(outputs, part, found)
            total += float(question.loss(outputs, batch.targets))
            count += batch.counts[question.term]
        learner.train(was_training)
        predictions = [question.answer(row, found.get(index)) for index, row in enumerate(rows)]
        return Answers(predictions, total / max(1, count))


class HeadLearner(nn.Module):
    """The model and the new layers above it.

    Attributes:
        model: hidden states.
        heads: `pooler` (one answer per text, not from a mean) and `output`; over a decoder that has no bias, as in GPT
            (Radford et al. 2018, equation 3), where one answer per text is asked.
        question: examples, loss and answers; it holds no weights.
    """

    def __init__(self, model: nn.Module, question: Question, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.model, self.question, self.dropout = model, question, Dropout(dropout)
        output = nn.Linear(model.hidden_size, num_outputs, bias=model.layout != "decoder" or not question.pooled)
        initialize(output, std=0.02)
        self.heads = nn.ModuleDict({"output": output})
        if question.pooled and not question.mean:
            self.heads["pooler"] = model.pooler()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{loss term: loss summed over `batch.counts[term]` questions}."""
        return {self.question.term: self.question.loss(self.predict(batch), batch.targets)}

    def predict(self, batch: Batch) -> Tensor:
        """Scores (N, num_outputs) at the positions asked, or (B, T, 2) for spans."""
        hidden = self.model(**batch.inputs)
        if (groups := batch.targets.get("groups")) is not None:
            hidden = mean_by_group(hidden, groups)
        if "pooler" in self.heads:
            hidden = self.heads["pooler"](hidden)
        return self.heads["output"](self.dropout(hidden))

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Examples as one batch, padded to the longest of them."""
        question = self.question
        inputs = question.frame.collate(examples)
        targets = question.targets(examples, inputs)
        num_tokens = sum(map(question.frame.length, examples))
        return Batch(inputs, targets, {question.term: question.count(examples)}, num_tokens)

    def train(self, mode: bool = True) -> "HeadLearner":
        """As usual, but a model none of whose weights move is a fixed function: its dropout stays off."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self


def mean_by_group(rows: Tensor, groups: Tensor) -> Tensor:
    """(N, H) -> (G, H): the mean of the rows of each group; `groups` (N,) counts from 0 without gaps."""
    sums = rows.new_zeros(int(groups[-1]) + 1, rows.shape[1]).index_add(0, groups, rows)
    return sums / groups.bincount()[:, None].to(rows.dtype)


def dropout_rate(model: nn.Module) -> float:
    """The largest dropout of the model's own layers."""
    return max((float(part.p) for part in model.modules() if isinstance(part, Dropout | nn.Dropout)), default=0.0)


def decoder_start(model: nn.Module, tokenizer: Any) -> int:
    """The first token of an encoder-decoder's decoder: the model's own, else the padding token (T5)."""
    return next((i for i in (getattr(model, "start_id", None), tokenizer.pad_id) if i is not None), 0)
