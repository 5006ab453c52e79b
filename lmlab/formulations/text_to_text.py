"""Every task as a text that is read and a text that is written (T5: Raffel et al. 2019, arXiv:1910.10683).

The template says what stands around the columns of a row, and what is written for a label (section 2.4 and appendix D
of the paper). What is written and means nothing is wrong.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from torch import nn

from lmlab.errors import UserError
from lmlab.formulations.sequence import TextGeneration, WritingLearner
from lmlab.formulations.settings import LAYOUTS
from lmlab.formulations.template import HOW_TO, Pattern, Rendered, Template, refuse_twins, usual_source
from lmlab.formulations.wording import Wording

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
LOOSE = re.compile(r"\s*([.+-])\s*")  # a sign in a number, with the spaces that some tokenizers put round it


class Told(Wording):
    """A task whose rows are read in a template. Here a text is written, as it is.

    Args:
        task: whose rows these are.
        tokenizer: what the answers are written with.
        pattern: what is read.
        targets: what is written for each answer, see `Template`.
        max_target_length: tokens of what is written, its end included.
        step: see `TextToText`.
    """

    def __init__(
        self,
        task: Any,
        tokenizer: Any,
        pattern: Pattern,
        targets: list[str] | None,
        max_target_length: int,
        step: float,
    ) -> None:
        super().__init__(task)
        self.tokenizer, self.pattern, self.max_target_length, self.step = tokenizer, pattern, max_target_length, step
        self.targets = None if targets is None else list(map(str, targets))

    def source(self, row: dict) -> list[Rendered]:
        return [self.pattern.render(row)]

    def as_written(self, text: str) -> str:
        """A text as the tokenizer gives it back: without its capitals, for instance."""
        return self.tokenizer.decode(self.tokenizer.encode(text, specials=False)).strip()


class Span(Told):
    """A stretch of the context: the first answer is written, nothing where there is none."""

    def target(self, row: dict) -> str:
        return next(iter(row["target"]["text"]), "")


class Answered(Told):
    """A task with answers of which a text may be none."""

    def is_answer(self, prediction: Any) -> bool:
        """Whether a prediction is more than a text that means nothing."""
        return not isinstance(prediction, str)

    def metrics(self, predictions: Sequence[Any]) -> dict[str, float]:
        """`no_label`: the share of texts that mean nothing."""
        return {"no_label": sum(not self.is_answer(each) for each in predictions) / len(predictions)}


class Label(Answered):
    """A class: a text stands for each."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        labels = self.task.labels
        self.words = self.targets or labels
        written = list(map(self.as_written, self.words))
        refuse_twins("template.targets", self.words, labels)
        self._refuse_unwritable()
        refuse_twins("template.targets (as the tokenizer writes them)", written, labels)
        self.label_of = dict(zip(written, labels, strict=True))

    def _refuse_unwritable(self) -> None:
        """Raise UserError for a text with an unknown token, which is never written, or with too many tokens."""
        room = self.max_target_length - 1  # the end takes one
        for word, label in zip(self.words, self.task.labels, strict=True):
            ids = self.tokenizer.encode(word, specials=False)
            if not ids or self.tokenizer.unk_id in ids:
                raise UserError(
                    f"template.targets: the tokenizer has no token for all of {word!r}, which stands for label"
                    f" {label!r}; {HOW_TO}"
                )
            if len(ids) > room:
                raise UserError(
                    f"template.targets: {word!r} has {len(ids)} tokens, and formulation.max_target_length="
                    f"{self.max_target_length} has room for {room} and the end"
                )

    def target(self, row: dict) -> str:
        return self.words[row["target"]]

    def prediction(self, row: dict, text: str) -> str:
        return self.label_of.get(text.strip()) or marked(text, self.task.labels)

    def is_answer(self, prediction: str) -> bool:
        return prediction in self.task.labels


class Number(Answered):
    """A number, rounded; what is no number stays a text."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.steps = 1 / self.step  # 2.5 * 5 is exact, and 2.5 / 0.2 is not
        self.decimals = max(1, -Decimal(str(self.step)).normalize().as_tuple().exponent)

    def target(self, row: dict) -> str:
        return f"{round(row['target'] * self.steps) / self.steps + 0.0:.{self.decimals}f}"  # + 0.0: no -0.0

    def prediction(self, row: dict, text: str) -> float | str:
        number = LOOSE.sub(r"\1", text.strip())
        is_number = NUMBER.fullmatch(number) and math.isfinite(float(number))
        return float(number) if is_number else text


class Choice(Answered):
    """One of several texts: the text itself is written, or what the template has for its place."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        places = self.targets or []
        refuse_twins("template.targets", places, [f"choice{place}" for place, _ in enumerate(places, start=1)])

    def words(self, row: dict) -> list[str]:
        """What is written for each choice of a row."""
        choices = row["inputs"]["choices"]
        if self.targets and len(self.targets) < len(choices):
            raise UserError(
                f"template.targets has {len(self.targets)} texts, and row {row['id']} has {len(choices)} choices"
            )
        return self.targets or choices

    def target(self, row: dict) -> str:
        return self.words(row)[row["target"]]

    def prediction(self, row: dict, text: str) -> int | str:
        choices = row["inputs"]["choices"]
        written = [self.as_written(word) for word in self.words(row)[: len(choices)]]
        return written.index(text.strip()) if text.strip() in written else marked(text, choices)


def marked(text: str, answers: Sequence[str]) -> str:
    """A text that means nothing, never the same as an answer that it was not the text for."""
    return f"…{text}" if text in answers else text


# by kind of task
WORDINGS = {"classification": Label, "regression": Number, "choice": Choice, "span": Span, "text": Told}


class TextToText(TextGeneration):
    """Source and target from the template of the task. The arguments of `TextGeneration`, and

    Args:
        template: the texts of the task; None: `name column: value ...` is read, and labels are written as they are.
        step: numbers are rounded to a multiple of it (T5's STS-B: 0.2), and written with one decimal or as many as it
            has.
        asks: given where a pre-trained model is asked as it is; then what writes must be pre-trained, too.
    """

    fits = dict.fromkeys(WORDINGS, LAYOUTS)
    answers_untrained = True

    @classmethod
    def asks_untrained(cls, kind: str, layout: str) -> bool:
        return layout != "encoder" and super().asks_untrained(kind, layout)

    def __init__(self, template: Template | None = None, step: float = 0.2, asks: Any = None, **named: Any) -> None:
        super().__init__(**named)
        if not step > 0:
            raise UserError(f"formulation.step={step} must be above 0: numbers are rounded to a multiple of it")
        self.template, self.step, self.is_untrained = template or Template(), step, asks is not None

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> WritingLearner:
        if self.is_untrained and model.layout == "encoder":
            raise UserError(
                "an encoder has not learnt to write in its pre-training: fine-tune it (lmlab finetune"
                " formulation=text_to_text), or ask a decoder or an encoder-decoder"
            )
        return super().learner(model, task, tokenizer, pretrained_heads)

    def wording(self, task: Any, tokenizer: Any) -> Wording:
        text = self.template.source or usual_source(task)
        if "||" in text:
            raise UserError(f"template.source: {text!r} has a ||, which is for patterns of cloze; a source is one text")
        pattern = self.template.pattern(text, "template.source", task)
        given = {"targets": self.template.targets, "max_target_length": self.max_target_length, "step": self.step}
        return WORDINGS[task.kind](task, tokenizer, pattern, **given)
