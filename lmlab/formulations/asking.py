"""What the formulations have in common that ask a pre-trained model for probabilities: `likelihood`, `in_context`."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
from torch import nn

from lmlab.errors import UserError
from lmlab.formulations.asker import Asker, Text, is_unknown
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches

DECIMALS = 4  # of log-probabilities; scores that differ by less are equal: padding moves the last digits of a float
MAX_EXPONENT = 700.0  # e to the power of more is past all floats
EQUALITY = ("accuracy", "exact_match")  # scores of a text that is predicted with its own beginning in sight
HOW_TO = "lmlab evaluate run=<pre-trained run or hf:...> task=..."


class Asking(Formulation):
    """Asks a pre-trained model for probabilities and trains nothing.

    Attributes:
        option: what the formulation is called in the config.
        asker: makes the learner, with the arguments of `Asker`.
        asks: makes the questions of the pre-training, a `lmlab.objectives.chosen.ChosenTokens`.
        context: tokens of the longest sequence that the model was trained on; None: any.
    """

    trains = False
    answers_untrained = True
    option: ClassVar[str]
    asker: ClassVar[type[Asker]]
    asks: Any
    context: int | None

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> Asker:
        if self.asks is None:
            raise UserError(f"formulation={self.option} asks a pre-trained model: {HOW_TO}")
        if task.kind == "text" and (others := [name for name in task.metrics if name not in EQUALITY]):
            raise UserError(
                f"formulation={self.option} shows the model the reference as it goes: {', '.join(others)} of task"
                f" '{task.name}' would score what is copied. Take task.metrics=[accuracy], or train a model that"
                f" writes: lmlab finetune task=... formulation=sequence"
            )
        if "vocabulary" not in (heads := pretrained_heads or {}):
            raise UserError(
                f"formulation={self.option} needs a model that predicts words; this one has the heads"
                f" {', '.join(heads) or 'none'}, and no vocabulary head"
            )
        return self.asker(model, heads["vocabulary"], task, tokenizer, self)

    def batches(
        self,
        learner: nn.Module,
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        raise UserError(f"formulation={self.option} trains nothing; evaluate with: {HOW_TO}")


# ---- from scores to answers


def sizes(texts: Sequence[Text], normalise: str) -> np.ndarray:
    """What log-probabilities (N,) are divided by: 1 ("none"), the tokens or the UTF-8 bytes of what is asked."""
    size = {"tokens": lambda text: len(text.asked), "bytes": lambda text: text.num_bytes}
    return np.array(list(map(size.get(normalise, lambda text: 1), texts)))


def choose(rows: Sequence[dict], choices: Sequence[Sequence[str]], scores: Sequence[float]) -> tuple[list[int], float]:
    """Of each row the choice with the highest score; and the mean cross-entropy of the scores' soft-max.

    Args:
        scores: of all choices of all rows, one after the other.
    """
    parts = np.split(np.asarray(scores), np.cumsum(list(map(len, choices)))[:-1])
    losses = []
    for row, of_row in zip(rows, parts, strict=True):
        right = row.get("right", [row["target"]])
        losses.append(np.logaddexp.reduce(of_row) - np.logaddexp.reduce(of_row[right]))
    return list(map(best_of, parts, choices)), float(np.mean(losses))


def complete(learner: Asker, rows: Sequence[dict], texts: Sequence[Text], micro_batch_tokens: int) -> Answers:
    """What the model writes in place of the first reference of each row, which is what its text asks."""
    references = [row["target"][0] for row in rows]
    predictions, total, count = [""] * len(rows), 0.0, 0
    for number, found in learner.ask(texts, micro_batch_tokens, one_by_one=False):
        predictions[number] = learner.written(texts[number], found.best, references[number])
        total -= float(found.log_probabilities.sum())
        count += len(found.best)
    words = sum(len(reference.split()) for reference in references)
    metrics = {"perplexity": perplexity(total, count), "word_perplexity": perplexity(total, words)}
    return Answers(predictions, total / max(1, count), metrics)


def best_of(scores: np.ndarray, choices: Sequence[str]) -> int:
    """The choice with the highest score.

    A tie goes by a checksum of the texts, which is as good as chance: the order says nothing, and data sets may have
    the right choice always first (BLiMP).
    """
    rounded = np.round(scores, DECIMALS)
    return max(range(len(choices)), key=lambda i: (rounded[i], crc32(choices[i].encode())))


def perplexity(total: float, count: int) -> float:
    """e to the power of the mean of `count` losses in nats."""
    return math.exp(min(total / max(1, count), MAX_EXPONENT))


# ---- what lowers the worth of the scores


def shares(texts: Sequence[Text], unk_id: int | None) -> dict[str, float]:
    """What lowers the worth of the scores, as shares; those that are not 0 are returned, and told, too."""
    asked = np.concatenate([text.ids[text.asked] for text in texts])
    cut_short, beyond = [text.is_cut for text in texts], [text.is_beyond for text in texts]
    return {
        **share("truncated", cut_short, "texts are longer than the model's context and lost their beginning"),
        **share("beyond_context", beyond, "texts have positions that the model was not trained on"),
        **share(
            "unknown",
            is_unknown(asked, unk_id),
            "asked tokens are unknown to the tokenizer: any text may stand there",
        ),
    }


def share(name: str, flags: Sequence[bool], message: str) -> dict[str, float]:
    """{name: share of those that are true}, told with a message; {} where none is."""
    if not (count := int(np.sum(flags))):
        return {}
    logging.getLogger(__name__).warning("%d of %d %s", count, len(flags), message)
    return {name: count / len(flags)}
