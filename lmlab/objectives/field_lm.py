"""Language modelling over the fields of documents (Zellers et al. 2019, arXiv:1905.12616, section 3)."""

import re

import numpy as np

from lmlab.errors import UserError, nearest
from lmlab.objectives.base import Example, VocabularyObjective
from lmlab.objectives.text_pairs import require_end
from lmlab.text.passage import Record
from lmlab.text.tokenizer import Tokenizer

SHORTEST = 6  # tokens of a sequence for each field but one: a marker and two tokens of it, and as many of the body


class FieldLm(VocabularyObjective):
    """Ask for each token of a document's fields given those before it, the fields being split at random in two sets.

    Each field that is shown falls into either set with the same chance; the first set comes first, and inside a set the
    fields stand in the order of the corpus. A field is a marker of its own, its text, and the end token; one that is
    cut because it is too long has no end token. So the model learns to write any field given any others, and that a
    sequence may begin with any. Markers and ends are asked for like all tokens; only the first token is not.

    The last field that a document has is its body. It is always shown (the paper does not say whether it may be left
    out too), and a long one makes several sequences: see `lmlab.text.units.Records`. Any other field is left out by
    itself with probability `drop_rate`, and all others together with `body_only_rate`.

    Args:
        fields: their names, which are columns of the corpus; None if it has none.
        sentinel_ids: those of the tokenizer; the k-th field's marker is the k-th of them, which no corpus text becomes.
        eos_id: the end token.
        drop_rate, body_only_rate: see above; 0.1 and 0.35 in the paper.
    """

    layouts = ("decoder",)
    unit = "record"
    answers = (("decoder", "generate"),)
    name = "field_lm"

    def __init__(
        self,
        fields: list[str] | None,
        sentinel_ids: list[int],
        eos_id: int | None,
        drop_rate: float = 0.1,
        body_only_rate: float = 0.35,
    ):
        if not fields:
            raise UserError(
                "objective=field_lm needs documents made of fields: name the columns with corpus.fields, the one with"
                " the long text last, such as corpus=local corpus.path=rows.jsonl corpus.fields=[title,author,text], or"
                " corpus=pydocs corpus.fields=[module,text]"
            )
        if len(fields) > len(sentinel_ids):
            raise UserError(
                f"corpus.fields names {len(fields)} fields, each marked by a sentinel (<extra_id_0>, ...), but the"
                f" tokenizer has {len(sentinel_ids)} of them: raise tokenizer.num_sentinels, or take a tokenizer that"
                " has them"
            )
        for name, rate in (("drop_rate", drop_rate), ("body_only_rate", body_only_rate)):
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}={rate} must lie in [0, 1]")
        self.fields, self.eos_id = list(fields), require_end(eos_id)
        self.marker_ids = np.array(sentinel_ids[: len(fields)])
        self.drop_rate, self.body_only_rate = drop_rate, body_only_rate

    def block_length(self, seq_len: int) -> int:
        return seq_len + 1

    def sequence_length(self, seq_len: int, layout: str) -> int:
        if seq_len < (shortest := SHORTEST * (len(self.fields) - 1)):
            raise UserError(f"seq_len={seq_len} leaves no room for {len(self.fields)} fields: at least {shortest}")
        return seq_len

    def example(self, unit: Record, generator: np.random.Generator) -> Example:
        order = self.order(unit, generator)
        tokens = np.concatenate([np.append(self.marker_ids[field], unit.fields[field].tokens) for field in order])
        return {"inputs": tokens[:0], "targets": tokens}

    def order(self, unit: Record, generator: np.random.Generator) -> list[int]:
        """Numbers of the fields that are shown, in the order in which they are."""
        body_only = generator.random() < self.body_only_rate
        dropped = generator.random(len(self.fields)) < self.drop_rate
        is_second = generator.random(len(self.fields)) < 0.5
        *others, body = present(unit)
        shown = [field for field in others if not (body_only or dropped[field])] + [body]
        return sorted(shown, key=lambda field: (is_second[field], field))

    def chances_dropped(self, unit: Record) -> dict[int, float]:
        """How likely each field that the document has is left out."""
        *others, body = present(unit)
        return dict.fromkeys(others, 1 - (1 - self.body_only_rate) * (1 - self.drop_rate)) | {body: 0.0}

    def prompt(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """Ids of fields written as `<title>Moby-Dick<text>Call me`; all but the last one are closed.

        What stands before the first name of a field is the beginning of the body.

        Raises:
            UserError: a name between < and > is that of no field.
        """
        names = "|".join(map(re.escape, self.fields))
        before, *parts = re.split(rf"\s*<({names}|[^<>\s]+)>\s*", text)
        if before or not parts:
            parts = [self.fields[-1], before, *parts]
        ids: list[int] = []
        for name, content in zip(parts[::2], parts[1::2], strict=True):
            if name not in self.fields:
                known = ", ".join(f"<{field}>" for field in self.fields)
                raise UserError(f"<{name}> is no field; this model knows {known}{nearest(name, self.fields)}")
            ids += [int(self.marker_ids[self.fields.index(name)]), *tokenizer.encode(content), self.eos_id]
        return ids[:-1]


def present(unit: Record) -> list[int]:
    """Numbers of the fields that a document has, the body last."""
    return [number for number, field in enumerate(unit.fields) if len(field)]
