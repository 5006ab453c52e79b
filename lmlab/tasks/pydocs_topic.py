"""The embedded task: which part of the standard library does this docstring come from?

It needs no download, so that fine-tuning runs on a fresh machine. The words that give the answer away (the
name of the docstring's own module) are taken out of the text; areas hold equally many examples; no text
occurs twice.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmlab.errors import UserError
from lmlab.files import atomic_write, cache_dir
from lmlab.tasks.base import content_hash
from lmlab.tasks.classification import Classification


@dataclass(kw_only=True)
class PydocsTopic(Classification):
    """Docstring -> area of the standard library. The arguments of `Classification`, and

    Args:
        areas: for each label, the top-level modules that belong to it.
        min_words: shorter docstrings are left out.
        max_characters: a longer docstring is cut after the last whole word.
        cache_dir: where the extracted examples are kept; None: the user's cache folder.
    """

    areas: dict[str, list[str]]
    min_words: int
    max_characters: int
    labels: list[str] = field(default_factory=list)
    source: str = "pydocs"
    fields: list[str] = field(default_factory=lambda: ["text"])
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        self.labels = self.labels or list(self.areas)
        super().__post_init__()

    def has_split(self, split: str) -> bool:
        return split in ("train", "validation")

    def find(self, split: str) -> Iterator[dict]:
        if not self.has_split(split):
            raise UserError(f"task '{self.name}' has the splits train and validation, not '{split}'")
        for row in self._all_rows():
            held_out = content_hash(row["text"], "split") < self.held_out * 2**64
            if held_out == (split == "validation"):
                yield row

    def _all_rows(self) -> list[dict]:
        """The balanced examples of both splits; reading the library takes seconds, so they are kept."""
        from lmlab.text.pydocs import EXTRACTOR_VERSION

        settings = (EXTRACTOR_VERSION, self.areas, self.min_words, self.max_characters)
        key = content_hash(sys.version, sys.base_prefix, *settings)
        path = Path(self.cache_dir or cache_dir()) / "tasks" / f"pydocs_topic-{key:016x}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        rows = balanced(self._labelled())
        atomic_write(path, json.dumps(rows, ensure_ascii=False))
        return rows

    def _labelled(self) -> Iterator[dict]:
        from lmlab.text.pydocs import docstrings

        area_of = {module: area for area, modules in self.areas.items() for module in modules}
        seen = set()
        for docstring in docstrings():
            area = area_of.get(docstring["module"].split(".")[0])
            if area is None:
                continue
            text = without_name(docstring["text"], docstring["module"])
            text = shortened(text, self.max_characters)
            if len(text.split()) < self.min_words or text.lower() in seen:
                continue
            seen.add(text.lower())
            yield {"id": docstring["name"], "text": text, "label": area}


def without_name(text: str, module: str) -> str:
    """The text without the parts of its module's dotted name: `asyncio.run` becomes `run`."""
    names = module.split(".")
    variants = {variant for name in names for variant in (name, name.lstrip("_"), name.removeprefix("_py"))}
    own = "|".join(sorted(map(re.escape, variants), key=len, reverse=True))
    text = re.sub(rf"\b(?:{own})\b\.?", "", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, cut between words."""
    return text if len(text) <= limit else text[: limit + 1].rsplit(" ", 1)[0]


def balanced(rows: Iterator[dict]) -> list[dict]:
    """As many rows of each label as the rarest has, drawn by hash of the text, in no telling order."""
    by_label: dict[str, list[dict]] = {}
    for row in sorted(rows, key=lambda row: content_hash(row["text"], "balance")):
        by_label.setdefault(row["label"], []).append(row)
    size = min(map(len, by_label.values()), default=0)
    kept = [row for group in by_label.values() for row in group[:size]]
    return sorted(kept, key=lambda row: content_hash(row["text"], "order"))
