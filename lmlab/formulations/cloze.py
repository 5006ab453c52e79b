"""A task as a gap that a masked language model fills: pattern-exploiting training, PET.

Schick & Schuetze 2021a (arXiv:2001.07676, sections 3.1 and 3.2); label words of several tokens, and choices: Schick &
Schuetze 2021b (arXiv:2009.07118, section 3.1). Nothing here is new to the model: its own head over the vocabulary
answers, so that it can be asked without training, too.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.corruptions.token_mask import TokenMask
from lmlab.errors import UserError
from lmlab.formulations.asking import best_of
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.blanks import Blank, Blanks
from lmlab.formulations.filling import fill
from lmlab.formulations.learner import Learner
from lmlab.formulations.sequences import Frame
from lmlab.formulations.settings import refuse_below_one, sequence_length
from lmlab.formulations.template import Template
from lmlab.text.passage import Passage

LABELLED, UNLABELLED = 0, 1  # parts of a step: see `Batch.part`
TERM, MLM = "cloze", "mlm"  # names of their losses
MARGIN = 1.0  # by which the right word's log-probability is to lead


class Cloze(Formulation):
    """Fills the blank of a pattern with the words of a verbalizer; what fits best is the answer.

    One token for each label: a soft-max over the scores of those tokens, and the cross-entropy of it.

    Several tokens, and choices: the probabilities of the words are no distribution over them, so the loss is the
    multi-class hinge loss: the log-probability of the right word is to lead that of each other one by 1. In training,
    one forward pass over as many masks as the longest word has tokens gives them all, as the product of the
    probabilities at each place. For an answer, each word has its own number of masks, and is filled in token by token
    (`lmlab.formulations.filling`). Where several choices are right, each is held against the wrong ones, and the mean
    over them counts. A word that begins with the whole of another one cannot lead it in one pass: choose others.

    Unlabelled text, in the same pattern, keeps the language model alive: loss = (1 - w) * labelled + w * MLM, the
    blank itself never being asked.

    Args:
        max_length: tokens of a sequence, special ones included; what comes from a row is cut where it is too long,
            longest field first, never the pattern's own words. None takes as many as the model has positions, at most
            512.
        pattern: which of the template's patterns, from 0.
        max_word_tokens: a label's word or a choice with more tokens is refused.
        mlm_weight: w above; 0: no unlabelled text is read.
        unlabelled_ratio: unlabelled sequences to a labelled one in each step.
        mlm_rate: share of their tokens that is asked, hidden as in BERT.
        template: the texts of the task.
        context: tokens of the longest sequence that the model was trained on; None: any.
    """

    fits = dict.fromkeys(("classification", "choice"), ("encoder",))
    answers_untrained = True

    def __init__(
        self,
        max_length: int | None = None,
        pattern: int = 0,
        max_word_tokens: int = 32,
        mlm_weight: float = 1e-4,
        unlabelled_ratio: int = 3,
        mlm_rate: float = 0.15,
        template: Template | None = None,
        context: int | None = None,
    ) -> None:
        refuse_below_one(max_word_tokens=max_word_tokens, unlabelled_ratio=unlabelled_ratio)
        if not 0 <= mlm_weight < 1:
            raise UserError(f"formulation.mlm_weight={mlm_weight} must be at least 0 and below 1: a share of the loss")
        if not 0 < mlm_rate < 1:
            raise UserError(f"formulation.mlm_rate={mlm_rate} must lie between 0 and 1: a share of the tokens")
        self.max_length, self.context, self.template, self.pattern = max_length, context, template, pattern
        self.max_word_tokens, self.mlm_rate = max_word_tokens, mlm_rate
        self.mlm_weight, self.unlabelled_ratio = mlm_weight, unlabelled_ratio

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> "ClozeLearner":
        if tokenizer.mask_id is None:
            raise UserError(
                "formulation=cloze needs a tokenizer with a mask token ([MASK] or <mask>); this one has none"
            )
        if pretrained_heads is not None and "vocabulary" not in pretrained_heads:
            raise UserError(
                f"formulation=cloze needs a model that predicts words; this one has the heads"
                f" {', '.join(pretrained_heads) or 'none'}, and no vocabulary head"
            )
        length = sequence_length(self.max_length, model.max_positions)
        length = length if self.context is None else min(length, self.context)
        frame = Frame(model.layout, tokenizer, length)
        blanks = Blanks(task, tokenizer, frame, self.template, self.pattern, self.max_word_tokens)
        noise = TokenMask(tokenizer.mask_id, tokenizer.vocab_size, frozenset(tokenizer.special_ids), rate=self.mlm_rate)
        head = model.vocabulary_head()
        if pretrained_heads is not None:
            head.load_state_dict(pretrained_heads["vocabulary"].state_dict())
        return ClozeLearner(model, head, blanks, noise, self.mlm_weight)

    def batches(
        self,
        learner: "ClozeLearner",
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        examples = learner.prepared(rows)

        def make_batch(chosen: Sequence[int]) -> Batch:
            return learner.collate([examples[i] for i in chosen])

        labelled = (lengths(examples), make_batch, micro_batch_tokens, seed, batch_size, batch_tokens)
        text = learner.task.unlabelled_rows() if self.mlm_weight else []
        if self.mlm_weight and not text:
            logging.getLogger(__name__).warning(
                "task '%s' has no unlabelled rows, so there is no MLM loss (formulation.mlm_weight=%g); there would be"
                " some if it learnt from fewer of its rows (task.max_train_rows)",
                *(learner.task.name, self.mlm_weight),
            )
        return WithText(learner, text, self.unlabelled_ratio, *labelled) if text else TaskBatches(*labelled)

    def label_scores(
        self, learner: "ClozeLearner", rows: list[dict], micro_batch_tokens: int
    ) -> np.ndarray | list[np.ndarray]:
        """What the model says of each label (N, L), or of the choices of each row: log-probabilities of their words.

        They are not normalised over the labels.
        """
        scores = learner.scores(learner.prepared(rows), micro_batch_tokens)
        return scores if learner.task.kind == "choice" else np.stack(scores)

    def answer(self, learner: "ClozeLearner", rows: list[dict], micro_batch_tokens: int) -> Answers:
        scores, examples = self.label_scores(learner, rows, micro_batch_tokens), learner.prepared(rows)
        wanted = {name: torch.from_numpy(each) for name, each in wanted_of(examples).items()}
        table = torch.zeros(wanted["right"].shape, dtype=torch.double)
        for line, of_row in zip(table, scores, strict=True):
            line[: len(of_row)] = torch.from_numpy(of_row)
        loss = float(learner.loss(table, wanted)) / len(rows)
        if learner.task.kind == "choice":
            choices = (row["inputs"]["choices"] for row in rows)
            return Answers([best_of(*each) for each in zip(scores, choices, strict=True)], loss)
        return Answers([learner.task.labels[best] for best in scores.argmax(axis=1)], loss)


class ClozeLearner(Learner):
    """A masked language model that fills blanks.

    Attributes:
        model: hidden states.
        heads: `vocabulary`, the pre-trained one where there is one.
        blanks: makes sequences from rows; it holds no weights.
        columns: the label's words, where each is a single token (L,); else None.
    """

    def __init__(self, model: nn.Module, head: nn.Module, blanks: Blanks, noise: TokenMask, mlm_weight: float) -> None:
        super().__init__(model, {"vocabulary": head})
        self.blanks, self.task, self.tokenizer, self.frame = blanks, blanks.task, blanks.tokenizer, blanks.frame
        self.noise, self.mlm_weight = noise, mlm_weight
        is_single = blanks.words is not None and max(map(len, blanks.words)) == 1
        self.columns = torch.from_numpy(np.concatenate(blanks.words)).long() if is_single else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"cloze": loss summed over rows} or {"mlm": cross-entropy in nats, summed over tokens}, times its weight."""
        hidden, head = self.model(**batch.inputs), self.heads["vocabulary"]
        if batch.part == UNLABELLED:
            return {MLM: self.mlm_weight * head.cross_entropy(hidden, batch.targets["labels"])}
        return {TERM: (1 - self.mlm_weight) * self.loss(self.in_one_pass(hidden, batch.targets), batch.targets)}

    def in_one_pass(self, hidden: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Scores (B, C) of the words of each row from the states of its masks (N, H), see `Cloze`."""
        head = self.heads["vocabulary"]
        if self.columns is not None:
            return head(hidden, targets["columns"]).float()
        log_probabilities = head(hidden).float().log_softmax(-1)
        found = log_probabilities[targets["places"], targets["tokens"]]
        scores = found.new_zeros(targets["right"].numel())
        return scores.index_add(0, targets["words"], found).view_as(targets["right"])

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of scores (B, C) for the words of each row, summed over rows."""
        right, exists = targets["right"], targets["exists"]
        if self.columns is not None:
            return F.cross_entropy(scores, right.long().argmax(-1), reduction="sum")
        return hinge(scores, right, exists & ~right)

    def prepare(self, rows: list[dict]) -> list[Blank]:
        examples = list(self.blanks.examples(rows))
        self._report_unknown(examples)
        return examples

    def _report_unknown(self, examples: Sequence[Blank]) -> None:
        unk_id = self.tokenizer.unk_id
        if count := sum(any(unk_id in word for word in example.words) for example in examples):
            message = (
                "task '%s': %d of %d rows have a choice with a part unknown to the tokenizer: any text may stand there"
            )
            logging.getLogger(__name__).warning(message, self.task.name, count, len(examples))

    def longest_sequence(self, rows: list[dict]) -> int:
        return max(lengths(self.prepared(rows)))

    def collate(self, examples: Sequence[Blank]) -> Batch:
        """Labelled examples. `places`, `tokens` and `words` (P,) say for each token of each word at which mask it is
        looked up, which one it is, and to which word it belongs, all words of a batch being in rows of equal length.
        """
        targets = wanted_of(examples)
        if self.columns is None:
            targets |= looked_up(examples, targets["right"].shape[1])
        tensors = {name: torch.from_numpy(each) for name, each in targets.items()}
        tensors |= {} if self.columns is None else {"columns": self.columns}
        num_tokens = sum(lengths(examples))
        return Batch(self.frame.collate(examples), tensors, {TERM: len(examples)}, num_tokens, LABELLED)

    def masked(self, examples: Sequence[Blank], generator: np.random.Generator) -> Batch:
        """Text with a part of its ordinary tokens hidden, which are asked; the blank stays blank and is not."""
        structural, corrupted, labels = list(self.tokenizer.structural_ids), [], []
        for example in examples:
            noised = self.noise(Passage(example.ids, ~np.isin(example.ids, structural)), generator)
            corrupted.append(replace(example, ids=noised.tokens, asked=np.flatnonzero(noised.noise)))
            labels.append(example.ids[noised.noise])
        targets = {"labels": torch.from_numpy(np.concatenate(labels)).long()}
        counts = {MLM: len(targets["labels"])}
        return Batch(self.frame.collate(corrupted), targets, counts, sum(lengths(examples)), UNLABELLED)

    # ---- asking

    @torch.no_grad()
    def scores(self, examples: Sequence[Blank], micro_batch_tokens: int) -> list[np.ndarray]:
        """The log-probability of each word of each example, filled in the most confident token first."""
        was_training, found = self.training, [np.empty(0)] * len(examples)
        self.eval()

        def ask(sequences: Sequence[Blank], tokens: Sequence[np.ndarray]) -> list[np.ndarray]:
            return self._ask(sequences, tokens, micro_batch_tokens)

        sizes = [len(set(map(len, example.words))) for example in examples]
        for piece in cut(range(len(examples)), lengths(examples), micro_batch_tokens, sizes):
            for index, scores in zip(piece, fill([examples[i] for i in piece], ask), strict=True):
                found[index] = scores
        self.train(was_training)
        return found

    def _ask(
        self, sequences: Sequence[Blank], tokens: Sequence[np.ndarray], micro_batch_tokens: int
    ) -> list[np.ndarray]:
        """See `lmlab.formulations.filling.Ask`."""
        found = [np.empty(0)] * len(sequences)
        device = next(self.parameters()).device
        for piece in cut(range(len(sequences)), lengths(sequences), micro_batch_tokens):
            inputs = self.frame.collate([sequences[i] for i in piece])
            hidden = self.model(**{name: each.to(device) for name, each in inputs.items()})
            log_probabilities = self.heads["vocabulary"](hidden).float().log_softmax(-1)
            masks = log_probabilities.split([len(sequences[i].asked) for i in piece])
            for index, of_sequence in zip(piece, masks, strict=True):
                wanted = torch.from_numpy(tokens[index]).long().to(device)
                found[index] = of_sequence.T.gather(0, wanted).cpu().numpy()
        return found


class WithText(TaskBatches):
    """Labelled examples, and in each step unlabelled text beside them.

    The text, and what of it is hidden, is drawn anew by (seed, step). Rows become sequences when they are drawn: there
    may be far more of them than are ever read.

    Args:
        learner: writes rows into its pattern, and hides tokens.
        rows: parsed, without labels.
        ratio: how many of them to a labelled example.
        labelled: what `TaskBatches` takes.
    """

    def __init__(self, learner: ClozeLearner, rows: list[dict], ratio: int, *labelled: Any) -> None:
        super().__init__(*labelled)
        self.learner, self.rows = learner, rows
        self.size = min(ratio * self.batch_size, len(rows))

    def step(self, step: int) -> list[Batch]:
        return [*super().step(step), *self._text(step)]

    def _text(self, step: int) -> Iterator[Batch]:
        generator = np.random.default_rng((self.seed, step))
        drawn = generator.choice(len(self.rows), self.size, replace=False)
        examples = list(self.learner.blanks.examples([self.rows[i] for i in drawn]))
        for chosen in cut(range(len(examples)), lengths(examples), self.micro_batch_tokens):
            yield self.learner.masked([examples[i] for i in chosen], generator)


def lengths(examples: Sequence[Blank]) -> list[int]:
    """Tokens of each example."""
    return [len(example.ids) for example in examples]


def wanted_of(examples: Sequence[Blank]) -> dict[str, np.ndarray]:
    """Which words of each row are there, `exists` (B, C), and which of them are `right` (B, C)."""
    counts = np.array([len(example.words) for example in examples])
    place = np.arange(counts.max())
    right = np.array([np.isin(place, example.labels) for example in examples])
    return {"exists": place < counts[:, None], "right": right}


def looked_up(examples: Sequence[Blank], width: int) -> dict[str, np.ndarray]:
    """See `ClozeLearner.collate`; `width` is C, the number of words that each row has room for."""
    places, tokens, words, first_mask = [], [], [], 0
    for row, example in enumerate(examples):
        for number, word in enumerate(example.words):
            places.append(first_mask + np.arange(len(word)))
            tokens.append(word)
            words.append(np.full(len(word), row * width + number))
        first_mask += len(example.asked)
    found = {"places": places, "tokens": tokens, "words": words}
    return {name: np.concatenate(each).astype(np.int64) for name, each in found.items()}


def hinge(scores: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Weston and Watkins' multi-class hinge loss of scores (B, C), summed over rows: each right word against each wrong
    one, and the mean over the right ones.
    """
    short = (MARGIN - scores[:, :, None] + scores[:, None, :]).clamp_min(0)  # (B, right, wrong)
    pairs = right[:, :, None] & wrong[:, None, :]
    return ((short * pairs).sum((1, 2)) / right.sum(1)).sum()
