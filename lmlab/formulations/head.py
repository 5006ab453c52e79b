"""A small new layer on top of the model (GPT, Radford et al. 2018; BERT, Devlin et al. 2018).

What is read: one token of a text, or the mean of all; for tagging the first piece of each word; for spans every token.
The token whose state stands for the sequence (an encoder's first, a decoder's last) goes through the family's pooler,
the pre-trained one if the checkpoint has it.

A pair of texts is one sequence, or two that are read apart and compared as vectors u and v, the way of sentence
encoders: the layer reads u, v, |u - v| and u * v (InferSent, Conneau et al. 2017, arXiv:1705.02364; without the
product Sentence-BERT, Reimers & Gurevych 2019, arXiv:1908.10084).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.errors import UserError
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.learner import Learner
from lmlab.formulations.questions import Choice, Classification, Question, Regression, Tagging
from lmlab.formulations.sequences import Example, Examples, Frame, decoder_start
from lmlab.formulations.settings import LAYOUTS, refuse_below_one, refuse_unknown, refuse_unseen, sequence_length
from lmlab.formulations.spans import Span
from lmlab.models.base import initialize
from lmlab.models.layers.dropout import Dropout

POOLINGS = ("token", "first", "last", "mean", "last_four")
PAIRS = ("joined", "apart")
DECODER_INPUTS = ("text", "start", "none")
QUESTIONS = {each.term: each for each in (Classification, Regression, Tagging, Span, Choice)}  # by kind of task


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
        refuse_unknown("decoder_input", decoder_input, DECODER_INPUTS)
        refuse_unknown("pooling", pooling, POOLINGS)
        refuse_unknown("pairs", pairs, PAIRS)
        refuse_below_one(max_answer_length=max_answer_length, max_question_tokens=max_question_tokens)
        if dropout is not None and not 0 <= dropout < 1:
            raise UserError(f"formulation.dropout={dropout} must be at least 0 and below 1")
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
        refuse_unseen(model, self.sees_text_whole)
        kind = QUESTIONS[task.kind]
        self.check_pairs(kind, task)
        start_is_enough = kind.pooled and self.pooling not in ("last", "mean")
        read = "text" if self.decoder_input == "start" and not start_is_enough else self.decoder_input
        start_id, length = decoder_start(model, tokenizer), sequence_length(self.max_length, model.max_positions)
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
        left_to_right = model.layout == "decoder" and not self.sees_text_whole
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
        bundles = Bundles(question, question.trainable(question.examples(rows)))
        if not len(bundles.sizes):
            raise UserError(f"task '{question.task.name}': no training row can be learnt from")

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.collate(bundles.examples(chosen))

        sizes = (batch_size, batch_tokens, bundles.sizes)
        return TaskBatches(bundles.lengths, make_batch, micro_batch_tokens, seed, *sizes)

    def answer(self, learner: "HeadLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        question, bundles, found = learner.question, learner.prepared(rows), {}
        pieces = cut(range(len(bundles.sizes)), bundles.lengths, micro_batch_tokens, bundles.sizes)

        def answered(batch: Batch, examples: Sequence[Example]) -> Tensor:
            outputs = learner.predict(batch)
            question.read(outputs, examples, found)
            return question.loss(outputs, batch.targets)

        loss = learner.mean_loss(map(bundles.examples, pieces), answered)
        return Answers([question.answer(row, found.get(index)) for index, row in enumerate(rows)], loss)


class Bundles:
    """Examples ready to be laid out; those that must share a batch are one (see `Question.share_batch`).

    Attributes:
        lengths: tokens of the longest sequence of each bundle.
        sizes: how many sequences each has.
    """

    def __init__(self, question: Question, examples: Iterable[Example]) -> None:
        self._examples = Examples(examples)
        rows, lengths = self._examples.rows, np.array([question.frame.length(example) for example in self._examples])
        self._begins = np.flatnonzero(np.diff(rows, prepend=-1)) if question.share_batch else np.arange(len(rows))
        self.sizes = np.diff(self._begins, append=len(rows))
        self.lengths = np.maximum.reduceat(lengths.astype(np.int64), self._begins)

    def examples(self, chosen: Sequence[int]) -> list[Example]:
        """The sequences of some bundles."""
        places = ((int(self._begins[i]), int(self.sizes[i])) for i in chosen)
        return [self._examples[place] for begin, size in places for place in range(begin, begin + size)]


class HeadLearner(Learner):
    """The model and the new layers above it.

    Attributes:
        model: hidden states.
        heads: `pooler` (where the state read is the one that the family pools) and `output`; over a decoder that has no
            bias, as in GPT (Radford et al. 2018, equation 3), where one answer per text is asked.
        question: examples, loss and answers; it holds no weights.
    """

    def __init__(self, model: nn.Module, question: Question, num_outputs: int, dropout: float) -> None:
        has_bias = model.layout != "decoder" or not question.pooled
        output = nn.Linear(model.hidden_size * question.num_states, num_outputs, bias=has_bias)
        initialize(output, std=0.02)
        super().__init__(model, {"output": output} | ({"pooler": model.pooler()} if question.has_pooler else {}))
        self.question, self.dropout = question, Dropout(dropout)

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
        question = self.question
        inputs = question.frame.collate(examples)
        targets = question.targets(examples, inputs) | question.groups(examples)
        num_tokens = sum(map(question.frame.length, examples))
        return Batch(inputs, targets, {question.term: question.count(examples)}, num_tokens)

    def prepare(self, rows: list[dict]) -> Bundles:
        return Bundles(self.question, self.question.examples(rows))


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
