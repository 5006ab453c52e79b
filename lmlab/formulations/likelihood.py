"""How likely a pre-trained model finds a text, asked as it was pre-trained to tell; no gradient, no new weights.

A decoder predicts each token from all before it (GPT-2, Radford et al. 2019). A masked model is shown the text with
one token masked after the other, and the log-probabilities are summed: the pseudo-log-likelihood (Salazar et al. 2020,
arXiv:1910.14659); the asked text of a `text` task is masked and predicted all at once, so that no part of a word gives
the rest away. An encoder-decoder reads the fields with a blank and writes what it stands for: see
`lmlab.objectives.chosen`.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.errors import UserError
from lmlab.formulations.base import Answers, Formulation
from lmlab.formulations.batches import TaskBatches, cut
from lmlab.formulations.settings import LAYOUTS
from lmlab.models.layers.vocabulary import MAX_LOGITS
from lmlab.text.features import CONVERTERS

DECIMALS = 4  # of log-probabilities; scores that differ by less are equal: padding moves the last digits of a float
MAX_EXPONENT = 700.0  # e to the power of more is past all floats
EQUALITY = ("accuracy", "exact_match")  # scores of a text that is predicted with its own beginning in sight
HOW_TO = "lmlab evaluate run=<pre-trained run or hf:...> task=..."


class Likelihood(Formulation):
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
        asks: makes the questions of the pre-training, a `lmlab.objectives.chosen.ChosenTokens`.
        context: tokens of the longest sequence that the model was trained on; None: any.
    """

    fits = dict.fromkeys(("choice", "text"), LAYOUTS)
    trains = False
    answers_untrained = True

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

    def learner(
        self,
        model: nn.Module,
        task: Any,
        tokenizer: Any,
        pretrained_heads: Mapping[str, nn.Module] | None = None,
    ) -> "Asker":
        if self.asks is None:
            raise UserError(f"formulation=likelihood asks a pre-trained model: {HOW_TO}")
        if task.kind == "text" and (others := [name for name in task.metrics if name not in EQUALITY]):
            raise UserError(
                f"formulation=likelihood shows the model the reference as it goes: {', '.join(others)} of task"
                f" '{task.name}' would score what is copied. Take task.metrics=[accuracy], or train a model that"
                f" writes: lmlab finetune task=... formulation=sequence"
            )
        if "vocabulary" not in (heads := pretrained_heads or {}):
            raise UserError(
                f"formulation=likelihood needs a model that predicts words; this one has the heads"
                f" {', '.join(heads) or 'none'}, and no vocabulary head"
            )
        return Asker(model, heads["vocabulary"], task, tokenizer, self)

    def batches(
        self,
        learner: nn.Module,
        rows: list[dict],
        micro_batch_tokens: int,
        seed: int,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
    ) -> TaskBatches:
        raise UserError(f"formulation=likelihood trains nothing; evaluate with: {HOW_TO}")

    def answer(self, learner: "Asker", rows: list[dict], micro_batch_tokens: int) -> Answers:
        if learner.task.kind == "choice":
            return self._choose(learner, rows, micro_batch_tokens)
        return self._complete(learner, rows, micro_batch_tokens)

    def _choose(self, learner: "Asker", rows: list[dict], micro_batch_tokens: int) -> Answers:
        texts = learner.texts(rows, [row["inputs"]["choices"] for row in rows])
        scores = np.zeros(len(texts))
        for number, found in learner.ask(texts, micro_batch_tokens, one_by_one=True):
            scores[number] += found.log_probabilities.sum()
        if self.normalise != "none":
            scores /= [text.num_bytes if self.normalise == "bytes" else len(text.asked) for text in texts]
        predictions, losses, begin = [], [], 0
        for row in rows:
            choices = row["inputs"]["choices"]
            of_row = scores[begin : begin + len(choices)]
            predictions.append(best_of(of_row, choices))
            right = row.get("right", [row["target"]])
            losses.append(np.logaddexp.reduce(of_row) - np.logaddexp.reduce(of_row[right]))
            begin += len(choices)
        return Answers(predictions, float(np.mean(losses)), shares(texts, learner.tokenizer.unk_id))

    def _complete(self, learner: "Asker", rows: list[dict], micro_batch_tokens: int) -> Answers:
        references = [row["target"][0] for row in rows]
        texts = learner.texts(rows, [[reference] for reference in references])
        predictions, total, count = [""] * len(rows), 0.0, 0
        for number, found in learner.ask(texts, micro_batch_tokens, one_by_one=False):
            predictions[number] = learner.written(texts[number], found.best, references[number])
            total -= float(found.log_probabilities.sum())
            count += len(found.best)
        words = sum(len(reference.split()) for reference in references)
        metrics = {"perplexity": perplexity(total, count), "word_perplexity": perplexity(total, words)}
        return Answers(predictions, total / max(1, count), metrics | shares(texts, learner.tokenizer.unk_id))


@dataclass
class Text:
    """A text of which a part is asked.

    Attributes:
        ids: (T,), what stands before a text included.
        asked: places of the part, in order.
        num_bytes: of the part, in UTF-8.
        length: tokens of the longest sequence that the model reads for it.
        is_cut: it has lost its beginning.
        is_beyond: what is left is longer than the model's context.
    """

    ids: np.ndarray
    asked: np.ndarray
    num_bytes: int
    length: int
    is_cut: bool
    is_beyond: bool


class Found(NamedTuple):
    """What a model says of some tokens: the logarithm of the probability of each, and the likeliest token there."""

    log_probabilities: np.ndarray
    best: np.ndarray


class Asker(nn.Module):
    """A pre-trained model with its head over the vocabulary.

    Attributes:
        model: hidden states.
        heads: `vocabulary`, the pre-trained one.
    """

    def __init__(self, model: nn.Module, head: nn.Module, task: Any, tokenizer: Any, formulation: Likelihood) -> None:
        super().__init__()
        self.model, self.heads = model, nn.ModuleDict({"vocabulary": head})
        self.task, self.tokenizer = task, tokenizer
        self.asks, self.context = formulation.asks, formulation.context
        self.separator, self.after = formulation.separator, formulation.after
        pad_id = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
        self.convert = CONVERTERS[model.layout](pad_id or 0, False, model.start_id)

    # ---- from rows to texts

    def texts(self, rows: Sequence[dict], answers: Sequence[Sequence[str]]) -> list[Text]:
        """A text for each answer to each row: the fields, then the answer, which is asked.

        Both are encoded together, as in running text. The space between them is asked, too: for most words it is a part
        of their token, so that a choice for which it is a token of its own must not get it for nothing.
        """
        ids = [row["id"] for row, of_row in zip(rows, answers, strict=True) for _ in of_row]
        befores = [self._before(row) for row, of_row in zip(rows, answers, strict=True) for _ in of_row]
        asked = [answer for of_row in answers for answer in of_row]
        whole = [f"{before}{answer}{self.after}" for before, answer in zip(befores, asked, strict=True)]
        encoded = self.tokenizer.encode_batch_with_words(whole)
        return [self._text(*each) for each in zip(ids, befores, asked, encoded, strict=True)]

    def _before(self, row: dict) -> str:
        fields = [row["inputs"][name] for name in self.task.fields]
        return "".join(field + self.separator for field in fields if field)

    def _text(self, row_id: str, before: str, asked: str, encoded: Any) -> Text:
        begin, end = len(before.rstrip()), len(before) + len(asked)
        places = np.flatnonzero((encoded.ends > begin) & (encoded.ends <= end)) + len(self.asks.start)
        if not len(places):
            raise UserError(f"task '{self.task.name}', row {row_id}: {asked!r} has no token that could be asked")
        ids = np.concatenate([self.asks.start, encoded.ids]).astype(np.int64)
        text = self._within_context(ids, places, max(1, len(asked.encode())))
        limit = self.model.max_positions
        if limit is not None and text.length > limit:
            raise UserError(
                f"task '{self.task.name}', row {row_id}: what is asked makes a sequence of {text.length} tokens, and"
                f" the model has {limit} positions"
            )
        return text

    def _within_context(self, ids: np.ndarray, asked: np.ndarray, num_bytes: int) -> Text:
        """The text without as many tokens at its beginning as do not fit; the asked ones all stay."""
        start, length = len(self.asks.start), self._length(ids, asked)
        context = length if self.context is None else self.context
        drop = min(max(0, length - context), int(asked[0]) - start)
        if drop:
            ids, asked = np.delete(ids, slice(start, start + drop)), asked - drop
            length = self._length(ids, asked)
        return Text(ids, asked, num_bytes, length, is_cut=drop > 0, is_beyond=length > context)

    def _length(self, ids: np.ndarray, asked: np.ndarray) -> int:
        example, _ = self.asks(ids, asked)
        if self.model.layout == "encoder":
            return len(example["inputs"])
        sizes = len(example["inputs"]), len(example["targets"])
        return sum(sizes) - 1 if self.model.layout == "decoder" else max(sizes)

    # ---- asking

    @torch.no_grad()
    def ask(self, texts: Sequence[Text], micro_batch_tokens: int, one_by_one: bool) -> Iterator[tuple[int, Found]]:
        """Yield, in the order of lengths, the number of a text and what the model says of its asked tokens.

        Args:
            one_by_one: an encoder is asked for a token at a time, and a text comes up once for each.
        """
        one_by_one = one_by_one and self.model.layout == "encoder"
        units = [
            (i, part) for i, text in enumerate(texts) for part in (text.asked[:, None] if one_by_one else [text.asked])
        ]
        lengths = np.array([text.length for text in texts])[[number for number, _ in units]]
        device = next(self.parameters()).device
        self.eval()
        for chosen in cut(range(len(units)), lengths, micro_batch_tokens):
            numbers, places = zip(*(units[i] for i in chosen), strict=True)
            batch, counts = self.collate([texts[number] for number in numbers], places)
            batch = batch.to(device)
            found = self._look_up(self.model(**batch.inputs), batch.targets["labels"])
            borders = np.cumsum(counts)[:-1]
            parts = (np.split(array, borders) for array in found)
            yield from zip(numbers, map(Found._make, zip(*parts, strict=True)), strict=True)

    def collate(self, texts: Sequence[Text], places: Sequence[np.ndarray]) -> tuple[Batch, list[int]]:
        """Texts as one batch in which only `places` are asked, and how many of them there are in each text."""
        asked = [self.asks(text.ids, chosen) for text, chosen in zip(texts, places, strict=True)]
        batch = self.convert([each.example for each in asked])
        wanted = [self._predicted(*each) for each in asked]
        keep = torch.from_numpy(np.concatenate(wanted))
        positions = batch.inputs.get("positions")
        positions = torch.arange(len(keep)) if positions is None else positions
        batch.inputs["positions"], batch.targets["labels"] = positions[keep], batch.targets["labels"][keep]
        return batch, [int(each.sum()) for each in wanted]

    def _predicted(self, example: Mapping[str, np.ndarray], wanted: np.ndarray) -> np.ndarray:
        """`wanted` over the answers that there are: an encoder's labels, a decoder's targets but a first token."""
        if self.model.layout == "encoder":
            return wanted[wanted]
        return wanted if self.model.layout == "encoder-decoder" or len(example["inputs"]) else wanted[1:]

    def _look_up(self, hidden: Tensor, labels: Tensor) -> Found:
        """Of each row of `hidden` (N, H): the log-probability of its label, and the likeliest token; in fp32."""
        head = self.heads["vocabulary"]
        rows, found = max(1, MAX_LOGITS // len(head.weight)), []
        for chunk, chunk_labels in zip(hidden.split(rows), labels.split(rows), strict=True):
            logits = head(chunk).float()
            found.append((-F.cross_entropy(logits, chunk_labels, reduction="none"), logits.argmax(-1)))
        log_probabilities, best = (torch.cat(each).cpu().numpy() for each in zip(*found, strict=True))
        return Found(log_probabilities.astype(np.float64), best)

    # ---- reading answers

    def written(self, text: Text, best: np.ndarray, reference: str) -> str:
        """The reference if all its tokens are the likeliest, else what the model writes: never the same string.

        An unknown token is never right: it stands for any text.
        """
        ids = text.ids[text.asked][-len(best) :]
        wrong = np.flatnonzero((best != ids) | is_unknown(ids, self.tokenizer.unk_id))
        if not len(wrong):
            return reference
        # What follows a wrong token was predicted after the right one, and is no continuation of it.
        answer = best if self.model.layout == "encoder" else [*ids[: wrong[0]], best[wrong[0]]]
        string = self.tokenizer.decode(answer, skip_special=False).strip()
        # Other tokens that read the same go on the word before, mostly; no score takes the mark for punctuation.
        return f"…{string}" if string == reference else string


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


def is_unknown(ids: np.ndarray, unk_id: int | None) -> np.ndarray:
    """Which tokens stand for what the tokenizer does not know."""
    return np.zeros(len(ids), dtype=bool) if unk_id is None else ids == unk_id


def shares(texts: Sequence[Text], unk_id: int | None) -> dict[str, float]:
    """What lowers the worth of the scores, as shares; those that are not 0 are returned, and told, too."""
    asked = np.concatenate([text.ids[text.asked] for text in texts])
    counted = {
        "truncated": (
            [text.is_cut for text in texts],
            "texts are longer than the model's context and lost their beginning",
        ),
        "beyond_context": (
            [text.is_beyond for text in texts],
            "texts have positions that the model was not trained on",
        ),
        "unknown": (is_unknown(asked, unk_id), "asked tokens are unknown to the tokenizer: any text may stand there"),
    }
    found = {}
    for name, (flags, message) in counted.items():
        if count := int(np.sum(flags)):
            logging.getLogger(__name__).warning("%d of %d %s", count, len(flags), message)
            found[name] = count / len(flags)
    return found
