"""How likely a pre-trained model finds the answers of a task after its fields, with no words around them.

See `lmlab.formulations.asker` for how the models of each layout are asked.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lmlab.errors import UserError
from lmlab.formulations.asker import Asker, Question, Text
from lmlab.formulations.asking import Asking, choose, complete, shares, sizes
from lmlab.formulations.base import Answers
from lmlab.formulations.settings import LAYOUTS


class FieldAsker(Asker):
    """Asks for what follows the fields of a row."""

    def texts(self, rows: Sequence[dict], answers: Sequence[Sequence[str]]) -> list[Text]:
        """A text for each answer to each row: the fields, then the answer, which is asked."""
        questions = [
            Question(row["id"], self._before(row), answer, self.formulation.after)
            for row, of_row in zip(rows, answers, strict=True)
            for answer in of_row
        ]
        return [
            self._within_context(question.row, text)
            for question, text in zip(questions, self.encode(questions), strict=True)
        ]

    def _before(self, row: dict) -> str:
        fields = [row["inputs"][name] for name in self.task.fields]
        return "".join(field + self.formulation.separator for field in fields if field)

    def _within_context(self, row_id: str, text: Text) -> Text:
        """The text without as many tokens at its beginning as do not fit; the asked ones all stay."""
        start, context = len(self.asks.start), text.length if self.context is None else self.context
        drop = min(max(0, text.length - context), int(text.asked[0]) - start)
        if drop:
            ids, asked = np.delete(text.ids, slice(start, start + drop)), text.asked - drop
            text = Text(ids, asked, text.num_bytes, self.length(ids, asked), is_cut=True)
        limit = self.model.max_positions
        if limit is not None and text.length > limit:
            raise UserError(
                f"task '{self.task.name}', row {row_id}: what is asked makes a sequence of {text.length} tokens, and"
                f" the model has {limit} positions"
            )
        text.is_beyond = text.length > context
        return text


class Likelihood(Asking):
    """Asks a pre-trained model for the log-probability of texts.

    `choice` tasks: the choice with the highest score wins, its score being the log-probability of its tokens given
    the fields; without fields, of the whole text. The loss is the cross-entropy of the scores' soft-max.

    `text` tasks: the model predicts the tokens of the (first) reference, each given those before it. All right is the
    same as writing the reference greedily; then the prediction is the reference, and else what it wrote up to
    the first token that is wrong (a masked model: all tokens). The loss is the mean over tokens; `perplexity` is e to
    its power, `word_perplexity` the same per word of the references, which does not depend on the tokenizer. Only
    scores that ask for equal texts mean something here (accuracy, exact match): a long text is for `sequence` to write.

    Three shares are told where they are not 0. `truncated`: texts longer than the model's context, which lose their
    beginning. `beyond_context`: texts whose asked part alone is longer; it is read whole, at positions that were never
    trained, since sentences are compared only if nothing of any is left out. `unknown`: asked tokens that stand for
    what the tokenizer does not know; a text with one is never right, and choices may differ in nothing else.

    Args:
        normalise: what the log-probability of a choice is divided by: "none", its "tokens" or its "bytes" (Brown et
            al. 2020, arXiv:2005.14165, section 2.4, divide by tokens), lest long choices lose.
        separator: between the fields, and before the text that is asked.
        after: behind it, for models that see what follows.
        asks, context: see `Asking`.
    """

    fits = dict.fromkeys(("choice", "text"), LAYOUTS)
    option = "likelihood"
    asker = FieldAsker

    def __init__(
        self,
        normalise: Literal["none", "tokens", "bytes"] = "none",
        separator: str = " ",
        after: str = "",
        asks: Any = None,
        context: int | None = None,
    ) -> None:
        self.normalise, self.separator, self.after = normalise, separator, after
        self.asks, self.context = asks, context

    def answer(self, learner: FieldAsker, rows: list[dict], micro_batch_tokens: int) -> Answers:
        if learner.task.kind == "choice":
            choices = [row["inputs"]["choices"] for row in rows]
            texts = learner.texts(rows, choices)
            scores = learner.sums(texts, micro_batch_tokens) / sizes(texts, self.normalise)
            answers = Answers(*choose(rows, choices, scores))
        else:
            texts = learner.texts(rows, [row["target"][:1] for row in rows])
            answers = complete(learner, rows, texts, micro_batch_tokens)
        answers.metrics |= shares(texts, learner.tokenizer.unk_id)
        return answers
