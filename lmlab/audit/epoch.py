"""What one epoch reads of the text, exactly: from where its units lie."""

import numpy as np

from lmlab.audit.estimate import Estimate
from lmlab.audit.figures import MOSTLY, NUMBER, Figure
from lmlab.text.store import TokenStore
from lmlab.text.units import Blocks, Records, SentencePairs

GROUP = "text of an epoch"


def epoch_figures(units: Blocks | SentencePairs | Records, store: TokenStore) -> list[Figure]:
    """Size of the text, what the first epoch reads of it, how many words are not known, how much of it is cut."""
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
    if isinstance(units, Records):
        figures += record_figures(units)
    return figures


def coverage(starts: np.ndarray, ends: np.ndarray, num_tokens: int) -> tuple[float, float, float]:
    """Shares of the tokens that lie in one of the stretches [start, end), in several, and in none."""
    borders = np.concatenate([starts, ends])
    order = np.argsort(borders, kind="stable")
    depth = np.repeat([1, -1], len(starts))[order].cumsum()
    widths = np.diff(borders[order], append=num_tokens)
    once, several = widths[depth == 1].sum() / num_tokens, widths[depth > 1].sum() / num_tokens
    return float(once), float(several), max(0.0, float(1 - once - several))


def cut_share(units: SentencePairs) -> float:
    """Share of the segments of the first epoch that do not begin and end with a sentence."""
    starts, ends = units.segments(0)
    return float(1 - (np.isin(starts, units.starts) & np.isin(ends, units.ends)).mean())


def record_figures(units: Records) -> list[Figure]:
    """Shares of the documents that lack a field, of which one is cut off, and whose body is cut into several parts."""
    is_there = units.lengths > 0
    is_cut = (units.lengths > units.share) & ~units.is_body
    shares = {f"documents without {name}": ~there for name, there in zip(units.fields, is_there.T, strict=True)}
    shares |= {
        f"{name} cut off at {units.share} tokens": cut
        for name, cut in zip(units.fields[:-1], is_cut.T[:-1], strict=True)
    }
    shares["documents in several sequences"] = units.num_parts > 1
    return [Figure(GROUP, name, Estimate(float(share.mean()))) for name, share in shares.items()]
