"""A small new layer on top of the model (GPT, Radford et al. 2018; BERT, Devlin et al. 2018).

What is read: one token of a text, or the mean of all; for tagging the first piece of each word; for spans every token.
The token whose state stands for the sequence (an encoder's first, a decoder's last) goes through the family's pooler,
the pre-trained one if the checkpoint has it.

A pair of texts is one sequence, or two that are read apart and compared as vectors u and v, the way of sentence
encoders: the layer reads u, v, |u - v| and u * v (InferSent, Conneau et al. 2017, arXiv:1705.02364; without the
product Sentence-BERT, Reimers & Gurevych 2019, arXiv:1908.10084).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.errors import UserError, nearest
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.questions import Choice, Classification, Question, Regression, Tagging
from lmlab.formulations.sequences import Example, Frame
from lmlab.formulations.spans import Span
from lmlab.models.base import initialize
from lmlab.models.layers.dropout import Dropout

LAYOUTS = ("encoder", "decoder", "encoder-decoder")
POOLINGS = ("token", "first", "last", "mean", "last_four")
PAIRS = ("joined", "apart")
DECODER_INPUTS = ("text", "start", "none")
QUESTIONS = {each.term: each for each in (Classification, Regression, Tagging, Span, Choice)}  # by kind of task
UNLIMITED = 512  # sequence length taken for a model without a limit when none is asked for


class Head(Formulation):
    """A linear layer over hidden states, for each kind of task.

    Args:
        max_length: tokens of a sequence, special ones included; longer pairs lose tokens of the longer text
            first. None takes as many as the model has positions, at most 512.
        pooling: what stands for a whole text: "token" (an encoder's first, a decoder's last), "first" or "last", "mean"
            (of all tokens), or "last_four": the token's states of the last four layers side by side (BERT's features,
            section 5.3 of its paper). These four are also what tags and spans are read from; the others leave tags and
            spans as they are.
        pairs: classification and regression: "joined" reads two texts as one sequence, "apart" each as one, of up to
            `max_length` tokens, pooled as `pooling` says, without a pooler (it was trained on joined pairs). A text
            alone is read the same with either.
        dropout: before the new layer; None takes the model's own rate.
        decoder_input: what the decoder of an encoder-decoder reads: "text" (the same text again, as BART),
            "start" (its start token alone: cheaper, and enough for one answer per text; tags, spans, means and the
            last token take the text all the same) or "none" (the decoder is left out, and the encoder's states are
            read: Sentence-T5, Ni et al. 2021, arXiv:2108.08877).
        sees_text_whole: a decoder reads the text in both directions, as a prefix LM reads its inputs; None: no.
        doc_stride: span tasks and long sentences of tagging: tokens from the start of one window to the start of the
            next (the step, not the overlap); None takes half of what a window can show.
        max_question_tokens: span tasks: a longer question is cut.
        max_answer_length: span tasks: tokens of the longest answer considered.
    """

    fits = dict.fromkeys(QUESTIONS, LAYOUTS)

    def __init__(
        self,
        max_length: int | None = None,
        pooling: str = "token",
        pairs: str = "joined",
        dropout: float | None = None,
        decoder_input: str = "text",
        sees_text_whole: bool | None = None,
        doc_stride: int | None = None,
        max_question_tokens: int = 64,
        max_answer_length: int = 30,
    ) -> None:
        for key, value, known in (
            ("decoder_input", decoder_input, DECODER_INPUTS),
            ("pooling", pooling, POOLINGS),
            ("pairs", pairs, PAIRS),
        ):
            if value not in known:
                hint = nearest(str(value), known)
                raise UserError(f"formulation.{key} must be one of {', '.join(known)}, not {value!r}{hint}")
        self.pooling, self.pairs = pooling, pairs
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
        """What the head is asked about the task.

        Raises:
            UserError: the model does not offer what is to be read, or nothing sensible fits into a sequence.
        """
        kind = QUESTIONS[task.kind]
        self.check_pairs(kind, task)
        start_is_enough = kind.pooled and self.pooling not in ("last", "mean")
        read = "text" if self.decoder_input == "start" and not start_is_enough else self.decoder_input
        start_id, length = decoder_start(model, tokenizer), self.length_for(model)
        frame = Frame(model.layout, tokenizer, length, read, start_id, self.sees_text_whole)
        options = {name: getattr(self, name) for name in kind.options}
        question = kind(task, tokenizer, frame, **options, pooling=self.pooling)
        question.check()
        self.check_pooling(model, question)
        return question

    def check_pairs(self, kind: type[Question], task: Any) -> None:
        """Raise a UserError when a task has other texts than one or two with one answer, and pairs are read apart."""
        if self.pairs == "apart" and ("pairs" not in kind.options or len(task.fields) > 2):
            kinds = " or ".join(name for name, each in QUESTIONS.items() if "pairs" in each.options)
            raise UserError(
                f"formulation.pairs=apart is for tasks with two texts, of {kinds}; task '{task.name}' is one of"
                f" {task.kind} (fields: {', '.join(task.fields) or 'none'}); take formulation.pairs=joined"
            )

    def check_pooling(self, model: nn.Module, question: Question) -> None:
        """Raise a UserError when the model has too few layers, or a first token that sees nothing."""
        left_to_right = model.layout == "decoder" and not (self.sees_text_whole and model.bidirectional_prefix)
        if question.pooling == "first" and left_to_right:
            raise UserError(
                "formulation.pooling=first: the first token of a decoder that reads from left to right has seen nothing"
                " of the text; take token, last or mean, or formulation.sees_text_whole=true with a prefix LM"
            )
        if question.num_layers > 1 and (found := depth(model, question.frame)) < question.num_layers:
            raise UserError(
                f"formulation.pooling={self.pooling} reads {question.num_layers} layers, and the model has {found}"
                f" (model.num_layers); take {', '.join(POOLINGS[:-1])}"
            )

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

        bundles = Bundles(question, examples)

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.collate(bundles.examples(chosen))

        sizes = (batch_size, batch_tokens, bundles.sizes)
        return TaskBatches(bundles.lengths, make_batch, micro_batch_tokens, seed, *sizes)

    @torch.no_grad()
    def answer(self, learner: "HeadLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        question, device = learner.question, next(learner.parameters()).device
        bundles = learner.prepared(rows)
        was_training, found, total, count = learner.training, {}, 0.0, 0
        learner.eval()
        for chosen in cut(range(len(bundles.sizes)), bundles.lengths, micro_batch_tokens, bundles.sizes):
            part = bundles.examples(chosen)
            batch = learner.collate(part).to(device)
            outputs = learner.predict(batch)
            question.read(outputs, part, found)
            total += float(question.loss(outputs, batch.targets))
            count += batch.counts[question.term]
        learner.train(was_training)
        predictions = [question.answer(row, found.get(index)) for index, row in enumerate(rows)]
        return Answers(predictions, total / max(1, count))


class Bundles:
    """Examples ready to be laid out; those that must share a batch are one (see `Question.bundles`).

    Attributes:
        lengths: tokens of the longest sequence of each bundle.
        sizes: how many sequences each has.
    """

    def __init__(self, question: Question, examples: list[Example]) -> None:
        self.bundles = question.bundles(examples)
        self.lengths = np.array([max(map(question.frame.length, bundle)) for bundle in self.bundles], dtype=np.int64)
        self.sizes = np.array([len(bundle) for bundle in self.bundles], dtype=np.int64)

    def examples(self, chosen: Sequence[int]) -> list[Example]:
        """The sequences of some bundles."""
        return [example for i in chosen for example in self.bundles[i]]


class HeadLearner(nn.Module):
    """The model and the new layers above it.

    Attributes:
        model: hidden states.
        heads: `pooler` (where the state read is the one that the family pools) and `output`; over a decoder that has no
            bias, as in GPT (Radford et al. 2018, equation 3), where one answer per text is asked.
        question: examples, loss and answers; it holds no weights.
    """

    def __init__(self, model: nn.Module, question: Question, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.model, self.question, self.dropout = model, question, Dropout(dropout)
        has_bias = model.layout != "decoder" or not question.pooled
        output = nn.Linear(model.hidden_size * question.num_states, num_outputs, bias=has_bias)
        initialize(output, std=0.02)
        self.heads = nn.ModuleDict({"output": output})
        if question.has_pooler:
            self.heads["pooler"] = model.pooler()
        self._prepared: dict[int, tuple[list[dict], Bundles]] = {}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{loss term: loss summed over `batch.counts[term]` questions}."""
        return {self.question.term: self.question.loss(self.predict(batch), batch.targets)}

    def predict(self, batch: Batch) -> Tensor:
        """Scores (N, num_outputs) at the positions asked, or (B, T, 2) for spans."""
        if self.question.num_layers == 1:
            hidden = self.model(**batch.inputs)
        else:
            hidden = torch.cat(self.model.hidden_states(**batch.inputs, last=self.question.num_layers), dim=-1)
        if "groups" in batch.targets:
            hidden = mean_by_group(hidden, batch.targets["groups"], batch.targets["sizes"])
        if self.question.apart:
            hidden = compared(hidden)
        if "pooler" in self.heads:
            hidden = self.heads["pooler"](hidden)
        return self.heads["output"](self.dropout(hidden))

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Examples as one batch, padded to the longest of them."""
        question = self.question
        inputs = question.frame.collate(examples)
        targets = question.targets(examples, inputs) | question.groups(examples)
        num_tokens = sum(map(question.frame.length, examples))
        return Batch(inputs, targets, {question.term: question.count(examples)}, num_tokens)

    def prepared(self, rows: list[dict]) -> Bundles:
        """The examples of rows that are scored again and again; they are tokenised once."""
        if id(rows) not in self._prepared:
            self._prepared[id(rows)] = rows, Bundles(self.question, list(self.question.examples(rows)))
        return self._prepared[id(rows)][1]

    def train(self, mode: bool = True) -> "HeadLearner":
        """As usual, but a model none of whose weights move is a fixed function: its dropout stays off."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self


def mean_by_group(rows: Tensor, groups: Tensor, sizes: Tensor) -> Tensor:
    """(N, H) -> (G, H): the mean of the rows of each group; `groups` (N,) says whose each is, `sizes` (G,) how many."""
    sums = torch.zeros(len(sizes), rows.shape[1], device=rows.device)  # in float32: many are added up
    return (sums.index_add(0, groups, rows.float()) / sizes[:, None]).to(rows.dtype)


def compared(states: Tensor) -> Tensor:
    """(2N, H) -> (N, 4H): u, v, |u - v| and u * v of the states u and v of two texts, which follow each other."""
    u, v = states[::2], states[1::2]
    return torch.cat([u, v, (u - v).abs(), u * v], dim=-1)


@torch.no_grad()
def depth(model: nn.Module, frame: Frame) -> int:
    """How many layers give states where the head reads: those of one token tell."""
    return len(model.hidden_states(**frame.collate([frame.join([np.zeros(1)])]))) - 1


def dropout_rate(model: nn.Module) -> float:
    """The largest dropout of the model's own layers."""
    return max((float(part.p) for part in model.modules() if isinstance(part, Dropout | nn.Dropout)), default=0.0)


def decoder_start(model: nn.Module, tokenizer: Any) -> int:
    """The first token of an encoder-decoder's decoder: the model's own, else the padding token (T5)."""
    return next((i for i in (getattr(model, "start_id", None), tokenizer.pad_id) if i is not None), 0)
