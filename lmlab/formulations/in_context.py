"""Learning in context: a pre-trained model reads a few solved examples, the shots, and goes on; nothing is trained.

Zero, one or a few shots from the training rows, and answers judged by their likelihood: GPT-3 (Brown et al. 2020,
arXiv:2005.14165, sections 2 and 2.4). What comes out depends on the shots, their order and the wording; much of that is
a liking for some labels whatever is asked, which contextual calibration takes out (Zhao et al. 2021, arXiv:2102.09690).
See `lmlab.formulations.asker` for how the models of each layout are asked.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain, islice, product
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import nn

from lmlab.errors import UserError
from lmlab.formulations.asker import Asker, Question, Text
from lmlab.formulations.asking import Asking, choose, complete, share, shares, sizes
from lmlab.formulations.base import Answers
from lmlab.formulations.prompts import Prompt, draw, refuse_too_few
from lmlab.formulations.settings import LAYOUTS, refuse_below_one
from lmlab.formulations.template import Template, usual_prompt

CONTENT_FREE = ("N/A", "", "[MASK]")


class Told(NamedTuple):
    """A row after the shots for which there is room: a text for each of its answers."""

    shots: list[dict]
    texts: list[Text]


class PromptAsker(Asker):
    """Asks for the answer to a row after its shots. The arguments of `Asker`.

    Attributes:
        prompts: those that are tried.
        orders: for each draw of shots all training rows, the shots first.
    """

    def __init__(self, model: nn.Module, head: nn.Module, task: Any, tokenizer: Any, formulation: "InContext") -> None:
        super().__init__(model, head, task, tokenizer, formulation)
        for key in ("balanced", "calibrate"):
            if getattr(formulation, key) and task.kind != "classification":
                raise UserError(
                    f"formulation.{key}=true: the answers of task '{task.name}' ({task.kind}) are no labels, the same"
                    f" for all rows; take formulation.{key}=false"
                )
        self.prompts, self.orders = formulation.prompts_of(task), formulation.draws_of(task)
        limits = [limit for limit in (self.context, model.max_positions) if limit is not None]
        self.limit = min(limits, default=math.inf)

    # ---- what is read

    def shots_of(self, row: dict, order: Sequence[dict]) -> list[dict]:
        """The first rows of an order that do not read like the row itself."""
        number = self.formulation.shots
        shots = list(islice((each for each in order if each["inputs"] != row["inputs"]), number))
        refuse_too_few(number, len(shots), self.task, " besides the question itself")
        return shots

    def lay_out(self, prompt: Prompt, rows: Sequence[dict], shots: Sequence[list[dict]]) -> list[Told]:
        """Each row after its shots; the first ones are left out where there is no room."""
        questions = [prompt.questions(*pair) for pair in zip(rows, shots, strict=True)]
        texts = iter(self.encode(list(chain.from_iterable(questions))))
        told = [Told(*pair) for pair in zip(shots, (list(islice(texts, len(q))) for q in questions), strict=True)]
        return [
            each if self.fits(each.texts) else self.shortened(prompt, row, each.shots)
            for row, each in zip(rows, told, strict=True)
        ]

    def fits(self, texts: Sequence[Text]) -> bool:
        """Whether there is room for each of the texts."""
        return max(text.length for text in texts) <= self.limit

    def shortened(self, prompt: Prompt, row: dict, shots: list[dict]) -> Told:
        """A row after as many of the last shots as there is room for. Raises UserError where there is none at all."""

        def texts_without(num_dropped: int) -> list[Text]:
            return self.encode(prompt.questions(row, shots[num_dropped:]))

        num_dropped = bisect_left(range(len(shots)), True, key=lambda number: self.fits(texts_without(number)))
        texts = texts_without(num_dropped)
        if not self.fits(texts):
            raise UserError(
                f"task '{self.task.name}', row {row['id']}: without any shot the question makes a sequence of"
                f" {max(text.length for text in texts)} tokens, and the model's context has {self.limit} positions;"
                f" take a shorter prompt (formulation.prompts, template), or a model that reads more"
            )
        return Told(shots[num_dropped:], texts)

    def dropped(self, num_kept: int, num_questions: int) -> dict[str, float]:
        """`shots_dropped`: the share of the shots of so many questions that are left out; {} where all are read."""
        num_dropped = self.formulation.shots * num_questions - num_kept
        message = "shots are left out, the first of each question: there is no room for them in the model's context"
        return share("shots_dropped", [True] * num_dropped + [False] * num_kept, message)

    # ---- what is answered

    def judge(self, prompt: Prompt, rows: Sequence[dict], told: Sequence[Told], micro_batch_tokens: int) -> Answers:
        """The answers to rows, in the words of the task."""
        if self.task.kind == "text":
            return complete(self, rows, [each.texts[0] for each in told], micro_batch_tokens)
        answers = list(map(prompt.answers, rows))
        scores = self.scores(prompt, answers, told, micro_batch_tokens)
        if self.formulation.calibrate:
            scores -= self.bias(prompt, told, micro_batch_tokens)
        best, loss = choose(rows, answers, scores)
        return Answers([self.task.labels[i] for i in best] if self.task.kind == "classification" else best, loss)

    def scores(
        self, prompt: Prompt, answers: Sequence[Sequence[str]], told: Sequence[Told], micro_batch_tokens: int
    ) -> np.ndarray:
        """The normalised log-probability of each answer to each row, one after the other."""
        texts = [text for each in told for text in each.texts]
        scores = self.sums(texts, micro_batch_tokens) / sizes(texts, self.formulation.normalise)
        if self.formulation.normalise != "answer":
            return scores
        names = list(chain.from_iterable(answers))
        distinct = list(dict.fromkeys(names))
        alone = self.encode([Question("without a question", prompt.last_words, name) for name in distinct])
        frequency = dict(zip(distinct, self.sums(alone, micro_batch_tokens), strict=True))
        return scores - [frequency[name] for name in names]

    def bias(self, prompt: Prompt, told: Sequence[Told], micro_batch_tokens: int) -> np.ndarray:
        """The logarithm of each label's probability after the shots of each row without content, one after the other.

        Rows have other shots than most where these hold the row itself, or where there is no room for all.
        """
        found: dict[tuple[int, ...], np.ndarray] = {}
        keys = [tuple(map(id, each.shots)) for each in told]
        for key, each in zip(keys, told, strict=True):
            if key not in found:
                found[key] = self.without_content(prompt, each.shots, micro_batch_tokens)
        return np.concatenate([found[key] for key in keys])

    def without_content(self, prompt: Prompt, shots: list[dict], micro_batch_tokens: int) -> np.ndarray:
        """The logarithm (L,) of p_cf, the mean probability of each label over the texts without content."""
        rows = [
            {"id": f"without content: {text!r}", "inputs": dict.fromkeys(self.task.fields, text)}
            for text in self.formulation.content_free
        ]
        told = self.lay_out(prompt, rows, [shots] * len(rows))
        scores = self.scores(prompt, list(map(prompt.answers, rows)), told, micro_batch_tokens).reshape(len(rows), -1)
        log_probabilities = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        return np.logaddexp.reduce(log_probabilities, axis=0) - math.log(len(rows))


class InContext(Asking):
    """Puts a row after solved rows, and asks for its answer.

    What is read: the instruction, the shots and the question, with `template.between` between them. A shot is a prompt
    of the template with a row written into it, a space (where the prompt does not end in white space) and the answer;
    the question is the same without the answer. Shots are training rows other than the question; the first 4 of
    16 shots are those that 4 shots would be. Where not all fit into the model's context, the first ones are left
    out, the question never; `shots_dropped` is their share over all that is tried.

    `classification` and `choice` tasks: the answer with the highest score wins, its score being its log-probability;
    the loss is the cross-entropy of the scores' soft-max. `text` tasks: the (first) reference is read as it stands, see
    `lmlab.formulations.likelihood`; whether the model would end there is not asked. Nor is it of a label: one that
    begins another ("top" and "top up") is never less likely than that, unless `normalise` or `calibrate` divides.

    With several orders or prompts the predictions are those of the first ones; the metrics of the task have a mean,
    standard deviation (n - 1), minimum and maximum over all of them: `accuracy_mean`, `accuracy_std`, ...

    Args:
        shots: how many solved examples are read; 0: the question alone.
        seed: which training rows they are, and their order.
        balanced: classification: as many of each label as possible.
        orders: so many draws of the shots, each with rows and an order of its own, are tried.
        prompts: which of the template's prompts, counted from 0; None: the first; "all" are tried.
        normalise: what the probability of an answer is divided by, lest long or frequent ones win: "none"; its log is
            divided by its "tokens" or "bytes"; "answer", its probability without the question, after the last words of
            the prompt alone (Brown et al., section 2.4).
        calibrate: classification: divide the probabilities of the labels by those that they have after the same shots
            when the question has no content, W = diag(p_cf)^-1 (Zhao et al., section 5).
        content_free: what then stands in place of every column; the probabilities are averaged.
        template: the texts of the task, a `lmlab.formulations.template.Template`.
        asks, context: see `Asking`.
    """

    fits = dict.fromkeys(("classification", "choice", "text"), LAYOUTS)
    option = "in_context"
    asker = PromptAsker

    def __init__(
        self,
        shots: int = 0,
        seed: int = 0,
        balanced: bool = False,
        orders: int = 1,
        prompts: int | Literal["all"] | None = None,
        normalise: Literal["none", "tokens", "bytes", "answer"] = "none",
        calibrate: bool = False,
        content_free: Sequence[str] = CONTENT_FREE,
        template: Template | None = None,
        asks: Any = None,
        context: int | None = None,
    ) -> None:
        refuse_below_one(orders=orders)
        if shots < 0 or seed < 0:
            raise UserError(f"formulation.shots={shots} and formulation.seed={seed} must not be negative")
        if calibrate and not content_free:
            raise UserError('formulation.content_free=[] leaves nothing to calibrate with; give texts such as ["N/A"]')
        self.shots, self.seed, self.balanced, self.orders, self.prompts = shots, seed, balanced, orders, prompts
        self.normalise, self.calibrate, self.content_free = normalise, calibrate, content_free
        self.template, self.asks, self.context = template or Template(), asks, context

    def prompts_of(self, task: Any) -> list[Prompt]:
        """The prompts that are tried. Raises UserError for one that there is not, or that does not fit the task."""
        texts = self.template.prompts or [usual_prompt(task)]
        prompts = [Prompt(self.template, text, f"template.prompts[{i}]", task) for i, text in enumerate(texts)]
        if self.prompts == "all":
            return prompts
        if not 0 <= (number := self.prompts or 0) < len(prompts):
            raise UserError(
                f"formulation.prompts={number}: the template of task '{task.name}' has the prompts 0 to"
                f" {len(prompts) - 1}; take one of them, or all"
            )
        return [prompts[number]]

    def draws_of(self, task: Any) -> list[list[dict]]:
        """For each order all training rows, the shots first. Raises UserError where there are too few."""
        if not self.shots:
            return [[]]
        if task.train_split is None:
            raise UserError(
                f"formulation.shots={self.shots}: task '{task.name}' has no training rows to take them from;"
                f" take formulation.shots=0"
            )
        rows = task.rows(task.train_split)
        refuse_too_few(self.shots, len(rows), task)
        return [draw(rows, (self.seed, number), self.balanced) for number in range(self.orders)]

    def answer(self, learner: PromptAsker, rows: list[dict], micro_batch_tokens: int) -> Answers:
        tried, num_kept = [], 0
        for prompt, order in product(learner.prompts, learner.orders):
            told = learner.lay_out(prompt, rows, [learner.shots_of(row, order) for row in rows])
            answers = learner.judge(prompt, rows, told, micro_batch_tokens)
            if not tried:
                texts = [text for each in told for text in each.texts]
                answers.metrics |= shares(texts, learner.tokenizer.unk_id)
            tried.append(answers)
            num_kept += sum(len(each.shots) for each in told)
        dropped = learner.dropped(num_kept, len(tried) * len(rows))
        metrics = spread(learner.task, rows, tried) | dropped | tried[0].metrics
        return Answers(tried[0].predictions, tried[0].loss, metrics)


def spread(task: Any, rows: Sequence[dict], tried: Sequence[Answers]) -> dict[str, float]:
    """Mean, standard deviation (n - 1), minimum and maximum of the task's metrics; {} where there is one of each."""
    if len(tried) < 2:
        return {}
    references = [task.reference(row) for row in rows]
    scores = [task.score(answers.predictions, references) for answers in tried]
    statistics = {"mean": fmean, "std": stdev, "min": min, "max": max}
    return {
        f"{name}_{what}": function([each[name] for each in scores])
        for name in task.metrics
        for what, function in statistics.items()
    }
