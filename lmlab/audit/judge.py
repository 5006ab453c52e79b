"""Whether figures are what they should be.

Three verdicts. *impossible*: no training can be meant by it, or it breaks what always holds; such a run stops. *off*:
further from what is expected than chance allows; in one report of a thousand, chance alone puts a figure off. *ok*: all
others of which something is expected. The 95 % intervals are there to be read; they decide nothing, since one in
twenty of them misses.
"""

from collections.abc import Sequence

from lmlab.audit.figures import Figure

OK, OFF, IMPOSSIBLE, NONE = "ok", "off", "impossible", ""
BY_CHANCE = 0.001  # how often a report without a fault calls a figure off
ROUNDING = 1e-12


def judge(figures: Sequence[Figure]) -> list[str]:
    """The verdict on each figure of a report."""
    tested = sum(figure.estimate.p is not None for figure in figures)
    return [_verdict(figure, BY_CHANCE / max(1, tested)) for figure in figures]  # Bonferroni


def problems(figures: Sequence[Figure]) -> list[str]:
    """What is impossible, one sentence each."""
    verdicts = judge(figures)
    found = (figure for figure, verdict in zip(figures, verdicts, strict=True) if verdict == IMPOSSIBLE)
    return [f"{figure.why} ({figure.group}: {figure.name})" for figure in found]


def _verdict(figure: Figure, threshold: float) -> str:
    value, p = figure.estimate.value, figure.estimate.p
    if not figure.least - ROUNDING <= value <= figure.most + ROUNDING:
        return IMPOSSIBLE
    if p is not None:
        return OFF if p < threshold else OK
    return NONE if figure.why == "" else OK
