"""ReCoRD as SuperGLUE's files hold it."""

from collections.abc import Iterator
from dataclasses import dataclass

from lmlab.tasks.choice import Choice


@dataclass(kw_only=True)
class Record(Choice):
    """A passage, a query with a gap, and the passage's entities to choose from (Zhang et al. 2018, arXiv:1810.12885).

    The entities of SuperGLUE's own files are places in the passage, `entity_spans`; here they become the column
    `entities`, each text once. The hub's rows have that column already.
    """

    def flat_rows(self, raw: dict, where: str) -> Iterator[dict]:
        for row in super().flat_rows(raw, where):
            if "entity_spans" in row and "entities" not in row:
                texts = (row["passage"][span["start"] : span["end"] + 1] for span in row["entity_spans"])
                row["entities"] = list(dict.fromkeys(texts))
                row["answers"] = list(dict.fromkeys(answer["text"] for answer in row["answers"]))
            yield row
