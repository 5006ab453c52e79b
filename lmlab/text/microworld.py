"""The corpus of the generated world; see `lmlab.microworld.world` for what is true in it."""

from collections.abc import Iterator
from itertools import count
from math import inf
from typing import Any

from lmlab.errors import UserError
from lmlab.microworld.language import check
from lmlab.microworld.talks import check_exchanges
from lmlab.text.corpora import Corpus

# Raise this number when the texts change, so that token ids of the old ones are not used again.
GENERATOR_VERSION = 7


class MicroWorld(Corpus):
    """Stories of a small world, told in one language or in both by turns.

    Document number n is a pure function of the seed, n and the language: it is written when it is asked for, so that
    memory stays flat. With two languages the even documents are in the first and the odd ones in the second, and no
    document is told twice: nothing in the corpus says what translates what.

    Args:
        languages: a, b, or both.
        megabytes: size of the training part in 10^6 bytes of UTF-8 (a letter of B takes three); the validation part
            has `validation_fraction` of it and other documents.
        seed: which world.
        sums: share of the documents that are lines of arithmetic.
        talks: share of the others that are talks; what is left are stories, news, lives and laws.
        exchanges: kinds of what is said in talks, functions of `lmlab.microworld.talks`; None: all.
        corpus: the arguments of `Corpus`.
    """

    def __init__(
        self,
        languages: list[str] | str = ("a",),
        megabytes: float = 10,
        seed: int = 0,
        sums: float = 0.03,
        talks: float = 0.45,
        exchanges: list[str] | str | None = None,
        **corpus: Any,
    ) -> None:
        super().__init__(**corpus)
        languages = [languages] if isinstance(languages, str) else list(languages or ())
        for language in languages:
            check(language, "corpus.languages")
        if not languages or len(set(languages)) < len(languages):
            raise UserError(f"corpus.languages={languages} must name one language, or both: [a], [b] or [a,b]")
        if not isinstance(megabytes, int | float) or not 0 < megabytes < inf:
            raise UserError(f"corpus.megabytes={megabytes} must be above 0, for example 10")
        for name, share in {"sums": sums, "talks": talks}.items():
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise UserError(f"corpus.{name}={share} must lie between 0 and 1: a share of the documents")
        exchanges = [exchanges] if isinstance(exchanges, str) else list(exchanges or ())
        check_exchanges(exchanges, "corpus.exchanges")
        self.languages, self.megabytes, self.seed = languages, megabytes, seed
        self.sums, self.talks, self.exchanges = sums, talks, exchanges or None

    def __str__(self) -> str:
        return "corpus microworld"

    def has_split(self, split: str) -> bool:
        return split in ("train", "validation")

    def source(self, split: str) -> Iterator[str]:
        from lmlab.microworld.documents import told
        from lmlab.microworld.language import languages
        from lmlab.microworld.world import World

        world, spoken = World(self.seed), languages()
        step, share = (1, 1.0) if split == "train" else (-1, self.validation_fraction)
        left = self.megabytes * share * 1e6
        for number in count(step, step):
            if left <= 0:
                return
            language = spoken[self.languages[number % len(self.languages)]]
            document = told(world, number, language, self.sums, self.talks, self.exchanges)
            left -= len(document.encode()) + 1
            yield document

    def content(self) -> list[Any]:
        return [GENERATOR_VERSION]
