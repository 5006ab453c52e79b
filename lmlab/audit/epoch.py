"""What one epoch reads of the text, exactly: from where its units lie."""

import numpy as np

from lmlab.audit.estimate import Estimate
from lmlab.audit.figures import MOSTLY, NUMBER, Figure
from lmlab.text.store import TokenStore
from lmlab.text.units import Blocks, SentencePairs

GROUP = "text of an epoch"


def epoch_figures(units: Blocks | SentencePairs, store: TokenStore) -> list[Figure]:
    """Size of the text, what the first epoch reads of it, how many words are not known, how many pairs are cut."""
    num_tokens = len(store.ids)
    read = coverage(*units.segments(0), num_tokens)
    names = ("read once", "read several times", "never read")
    unknown = Estimate(store.unknown_tokens / num_tokens)
    why = "the tokenizer does not know most of this text"
    figures = [
        Figure(GROUP, "tokens", Estimate(float(num_tokens)), NUMBER, note=f"{len(store.document_ends):,} documents"),
        Figure(GROUP, "sequences", Estimate(float(len(units))), NUMBER),
        *(Figure(GROUP, name, Estimate(share)) for name, share in zip(names, read, strict=True)),
        Figure(GROUP, "unknown tokens", unknown, most=MOSTLY, why=why),
    ]
    if isinstance(units, SentencePairs):
        figures.append(Figure(GROUP, "segments cut inside a sentence", Estimate(cut_share(units))))
    return figures


def coverage(starts: np.ndarray, ends: np.ndarray, num_tokens: int) -> tuple[float, float, float]:
    """Shares of the tokens that lie in one of the stretches [start, end), in several, and in none."""
    borders = np.concatenate([starts, ends])
    order = np.argsort(borders, kind="stable")
    depth = np.repeat([1, -1], len(starts))[order].cumsum()
    widths = np.diff(borders[order], append=num_tokens)
    once, several = widths[depth == 1].sum() / num_tokens, widths[depth > 1].sum() / num_tokens
    return float(once), float(several), float(1 - once - several)


def cut_share(units: SentencePairs) -> float:
    """Share of the segments of the first epoch that do not begin and end with a sentence."""
    starts, ends = units.segments(0)
    return float(1 - (np.isin(starts, units.starts) & np.isin(ends, units.ends)).mean())
