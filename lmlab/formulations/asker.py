"""A pre-trained model that is asked how likely a text is, as it was pre-trained to tell; no gradient, no new weights.

A decoder predicts each token from all before it (GPT-2, Radford et al. 2019). A masked model is shown the text with
one token masked after the other, and the log-probabilities are summed: the pseudo-log-likelihood (Salazar et al. 2020,
arXiv:1910.14659); the asked text of a `text` task is masked and predicted all at once, so that no part of a word gives
the rest away. An encoder-decoder reads what stands before with a blank and writes what it stands for: see
`lmlab.objectives.chosen`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.errors import UserError
from lmlab.formulations.batches import cut
from lmlab.formulations.prefix import cache_of
from lmlab.models.layers.vocabulary import MAX_LOGITS
from lmlab.models.layouts import Cache
from lmlab.text.features import CONVERTERS

if TYPE_CHECKING:
    from lmlab.formulations.asking import Asking


class Question(NamedTuple):
    """A text of which a part is asked.

    Attributes:
        row: id of the row that it is about, for messages.
        before: what stands before the part.
        asked: the part.
        after: what stands behind it, for models that see it.
        common: so many characters at the beginning are those of other texts, too.
    """

    row: str
    before: str
    asked: str
    after: str = ""
    common: int = 0


@dataclass
class Text:
    """A question in tokens.

    Attributes:
        ids: (T,), what stands before a text included.
        asked: places of the part that is asked, in order.
        num_bytes: of the part, in UTF-8.
        length: tokens of the longest sequence that the model reads for it.
        common: so many tokens at the beginning are those of other texts, too.
        is_cut: it has lost its beginning.
        is_beyond: what is left is longer than the model's context.
    """

    ids: np.ndarray
    asked: np.ndarray
    num_bytes: int
    length: int
    common: int = 0
    is_cut: bool = False
    is_beyond: bool = False


class Unit(NamedTuple):
    """What is asked of a text in one pass: all its places, or one of them; and where the text stood in a list."""

    number: int
    ids: np.ndarray
    asked: np.ndarray
    length: int


class Found(NamedTuple):
    """What a model says of some tokens: the logarithm of the probability of each, and the likeliest token there."""

    log_probabilities: np.ndarray
    best: np.ndarray


class Asker(nn.Module):
    """A pre-trained model with its head over the vocabulary.

    Args:
        model: hidden states.
        head: the pre-trained one over the vocabulary.
        task: a `lmlab.tasks` task.
        tokenizer: the model's.
        formulation: what asks.
    """

    def __init__(self, model: nn.Module, head: nn.Module, task: Any, tokenizer: Any, formulation: "Asking") -> None:
        super().__init__()
        self.model, self.heads = model, nn.ModuleDict({"vocabulary": head})
        self.task, self.tokenizer, self.formulation = task, tokenizer, formulation
        self.asks, self.context = formulation.asks, formulation.context
        pad_id = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
        self.convert = CONVERTERS[model.layout](pad_id or 0, False, model.start_id)

    # ---- from questions to tokens

    def encode(self, questions: Sequence[Question]) -> list[Text]:
        """The questions in tokens, however long they are.

        What stands before and what is asked are encoded together, as in running text. The space between them is asked,
        too: for most words it is a part of their token, so that a choice for which it is a token of its own must not
        get it for nothing.

        Raises:
            UserError: a part has no token that could be asked.
        """
        whole = [question.before + question.asked + question.after for question in questions]
        return list(map(self._text, questions, self.tokenizer.encode_batch_with_words(whole)))

    def _text(self, question: Question, encoded: Any) -> Text:
        begin, end = len(question.before.rstrip(" ")), len(question.before) + len(question.asked)
        num_start = len(self.asks.start)
        places = np.flatnonzero((encoded.ends > begin) & (encoded.ends <= end)) + num_start
        if not len(places):
            raise UserError(
                f"task '{self.task.name}', row {question.row}: {question.asked!r} has no token that could be asked"
            )
        ids = np.concatenate([self.asks.start, encoded.ids]).astype(np.int64)
        common = num_start + int(np.sum(encoded.ends <= question.common)) if question.common else 0
        return Text(ids, places, max(1, len(question.asked.encode())), self.length(ids, places), common)

    def length(self, ids: np.ndarray, asked: np.ndarray) -> int:
        """Tokens of the longest sequence that the model reads when these places of a text are asked."""
        example, _ = self.asks(ids, asked)
        if self.model.layout == "encoder":
            return len(example["inputs"])
        sizes = len(example["inputs"]), len(example["targets"])
        return sum(sizes) - 1 if self.model.layout == "decoder" else max(sizes)

    # ---- asking

    def sums(self, texts: Sequence[Text], micro_batch_tokens: int) -> np.ndarray:
        """The log-probability (N,) of what is asked of each text."""
        totals = np.zeros(len(texts))
        for number, found in self.ask(texts, micro_batch_tokens, one_by_one=True):
            totals[number] += found.log_probabilities.sum()
        return totals

    @torch.no_grad()
    def ask(self, texts: Sequence[Text], micro_batch_tokens: int, one_by_one: bool) -> Iterator[tuple[int, Found]]:
        """Yield the number of a text and what the model says of its asked tokens, in an order that is fast.

        What texts have in common is read once: the beginning of all of them by a decoder, and all of a text but the one
        token that is asked, such as the labels of one example.

        Args:
            one_by_one: an encoder is asked for a token at a time, and a text comes up once for each.
        """
        one_by_one = one_by_one and self.model.layout == "encoder"
        units = [
            Unit(number, text.ids, part, text.length)
            for number, text in enumerate(texts)
            for part in (text.asked[:, None] if one_by_one else [text.asked])
        ]
        self.eval()
        for beginning, members in self._by_beginning(units, texts):
            cache = cache_of(self.model, beginning)
            alike = read_alike(members)
            lengths = [group[0].length for group in alike]  # with the beginning, whose keys and values take room, too
            for chosen in cut(range(len(alike)), lengths, micro_batch_tokens):
                yield from self._answers([alike[i] for i in chosen], len(beginning), cache)

    def _by_beginning(self, units: Sequence[Unit], texts: Sequence[Text]) -> Iterator[tuple[np.ndarray, list[Unit]]]:
        """The units by what their texts begin with, (S,): nothing, but for models that read it from left to right.

        The token before the first one that is asked is left: it is what predicts that one.
        """
        found: dict[bytes, list[Unit]] = {}
        for unit in units:
            size = min(texts[unit.number].common, int(unit.asked[0]) - 1) if self.reads_on else 0
            found.setdefault(unit.ids[: max(0, size)].tobytes(), []).append(unit)
        return ((np.frombuffer(key, dtype=np.int64), members) for key, members in found.items())

    @property
    def reads_on(self) -> bool:
        """Whether tokens are read from left to right, so that what follows them changes nothing."""
        objective = self.asks.objective
        whole = objective.sees_inputs_whole or objective.corruption is not None
        return self.model.layout == "decoder" and not whole

    def _answers(
        self, groups: Sequence[Sequence[Unit]], num_read: int, cache: Cache | None
    ) -> Iterator[tuple[int, Found]]:
        """Groups of units that the model reads alike, in one pass after `num_read` tokens that are in the cache."""
        texts = [group[0].ids[num_read:] for group in groups]
        batch, counts = self.collate(texts, [group[0].asked - num_read for group in groups])
        batch = batch.to(next(self.parameters()).device)
        hidden = self.model(**batch.inputs, **({} if cache is None else {"cache": cache}))
        rows = np.split(np.arange(len(hidden)), np.cumsum(counts)[:-1])
        pairs = [(unit, of_group) for group, of_group in zip(groups, rows, strict=True) for unit in group]
        labels = np.concatenate([predicted(unit.ids, unit.asked, len(of_unit)) for unit, of_unit in pairs])
        index = torch.from_numpy(np.concatenate([of_unit for _, of_unit in pairs])).to(hidden.device)
        found = self._look_up(hidden[index], torch.from_numpy(labels).to(hidden.device))
        borders = np.cumsum([len(of_unit) for _, of_unit in pairs])[:-1]
        parts = zip(*(np.split(array, borders) for array in found), strict=True)
        yield from zip((unit.number for unit, _ in pairs), map(Found._make, parts), strict=True)

    def collate(self, texts: Sequence[np.ndarray], places: Sequence[np.ndarray]) -> tuple[Batch, list[int]]:
        """Ids of texts as one batch in which only `places` are asked, and how many of them are predicted in each."""
        asked = [self.asks(ids, chosen) for ids, chosen in zip(texts, places, strict=True)]
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
        ids = predicted(text.ids, text.asked, len(best))
        wrong = np.flatnonzero((best != ids) | is_unknown(ids, self.tokenizer.unk_id))
        if not len(wrong):
            return reference
        # What follows a wrong token was predicted after the right one, and is no continuation of it.
        answer = best if self.model.layout == "encoder" else [*ids[: wrong[0]], best[wrong[0]]]
        string = self.tokenizer.decode(answer, skip_special=False).strip()
        # Other tokens that read the same go on the word before, mostly; no score takes the mark for punctuation.
        return f"…{string}" if string == reference else string


def read_alike(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units in groups that differ in nothing but the one token that is asked, which no model sees."""
    found: dict[Any, list[Unit]] = {}
    for unit in units:
        key: Any = unit.number, unit.asked[0]
        if len(unit.asked) == 1:
            key = np.delete(unit.ids, unit.asked).tobytes(), unit.asked[0]
        found.setdefault(key, []).append(unit)
    return list(found.values())


def predicted(ids: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """Of the asked tokens those that are predicted, the last `count`: nothing predicts a first token of all."""
    return ids[asked][len(asked) - count :]


def is_unknown(ids: np.ndarray, unk_id: int | None) -> np.ndarray:
    """Which tokens stand for what the tokenizer does not know."""
    return np.zeros(len(ids), dtype=bool) if unk_id is None else ids == unk_id
