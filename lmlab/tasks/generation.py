"""A text that is answered with a text: translation, summaries, the word that comes next."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lmlab.errors import UserError
from lmlab.tasks import metrics as scores
from lmlab.tasks.base import Task, text_of
from lmlab.tasks.classification import short

if TYPE_CHECKING:
    from lmlab.tasks.tallies import Tallies


@dataclass(kw_only=True)
class Generation(Task):
    """One or more texts, and a text to write. The arguments of `Task`, and

    Args:
        bleu_tokenize: how sacrebleu cuts texts into words: 13a, zh, ja-mecab, char, none ...

    `target` is a column with a text or with a list of texts: all are references, the first one is learnt.
    A prediction is a string. `accuracy` (equal but for white space) is a fraction, the other metrics are per cent.
    """

    kind = "text"
    num_outputs = 0  # the vocabulary answers
    known_metrics = dict.fromkeys(scores.TEXT_METRICS) | scores.TEXT_PACKAGES

    bleu_tokenize: str = "13a"

    @property
    def perfect(self) -> float:
        return 1.0 if self.metrics[0] == "accuracy" else 100.0

    def parse_target(self, row: dict, where: str) -> list[str]:
        texts = [row[self.target]] if isinstance(row[self.target], str) else row[self.target]
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{where}: '{self.target}' is neither a text nor a list of texts: {short(row)}")
        return texts

    def reference(self, row: dict) -> list[str]:
        return row["target"]

    def accepted(self, row: dict) -> list[str]:
        return row["target"]

    def from_record(self, record: dict) -> tuple[str, list[str]]:
        return record["prediction"], record["references"]

    def score(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        available = scores.TEXT_METRICS | {"bleu": partial(scores.bleu, tokenize=self.bleu_tokenize)}
        return scores.compute(self.metrics, predictions, references, available)

    def tallies(self, metric: str, predictions: list[str], references: list[list[str]]) -> "Tallies":
        from lmlab.tasks import tallies

        if scores.TEXT_PACKAGES.get(metric) == "sacrebleu":
            return tallies.of_corpus(metric, predictions, references, self.bleu_tokenize)
        make = tallies.averaged if metric in scores.TEXT_METRICS else tallies.recomputed
        return make(self, metric, predictions, references)


@dataclass(kw_only=True)
class LastWord(Generation):
    """The last word of a passage, given all before it (LAMBADA, Paperno et al. 2016, arXiv:1606.06031).

    `fields` names one column, the whole passage; there is no `target`.
    """

    target: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.fields) != 1:
            raise UserError(f"task '{self.name}': fields must name the column of the passage, not {self.fields}")

    def parse_inputs(self, row: dict, where: str) -> dict[str, Any]:
        return {self.fields[0]: self.halves(row, where)[0]}

    def parse_target(self, row: dict, where: str) -> list[str]:
        return [self.halves(row, where)[1]]

    def halves(self, row: dict, where: str) -> list[str]:
        """The passage without its last word, and that word."""
        halves = text_of(row, self.fields[0], where).rsplit(maxsplit=1)
        if len(halves) < 2:
            raise UserError(f"{where}: '{self.fields[0]}' needs two words or more: {short(row)}")
        return halves
