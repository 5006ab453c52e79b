"""The short audit at the start of every pre-training run."""

import numpy as np

from lmlab.audit.collect import Counts, collect
from lmlab.audit.count import Facts
from lmlab.audit.figures import figures_of
from lmlab.audit.judge import problems
from lmlab.errors import UserError
from lmlab.objectives.base import Objective
from lmlab.text.batching import PretrainBatches

NUM_SEQUENCES = 128


def look_at_the_start(batches: PretrainBatches, objective: Objective, layout: str, facts: Facts) -> str:
    """Audit the first sequences of a run; it takes a fraction of a second.

    Returns:
        What was found, in one line.

    Raises:
        UserError: something is impossible, so that training would be for nothing.
    """
    num_sequences = min(NUM_SEQUENCES, len(batches.units))
    all_counts = collect(batches, objective, layout, facts, num_sequences)
    if found := [problem for counts in all_counts for problem in problems(figures_of(counts))]:
        raise UserError(
            f"the first {num_sequences} sequences cannot be trained on:\n  - "
            + "\n  - ".join(dict.fromkeys(found))
            + "\nAll figures: lmlab audit with the same words"
        )
    return f"Audit of {num_sequences} sequences: " + "; ".join(_in_short(counts) for counts in all_counts)


def _in_short(counts: Counts) -> str:
    """What is asked and hidden in one forward pass, and its padding."""
    parts = []
    if np.nansum(counts["asked"]):
        parts.append(f"{_percent(counts, 'asked', 'tokens')} of tokens asked")
    if np.nansum(counts["writes_all"]) and np.nansum(counts["noise"]):
        parts.append(f"{_percent(counts, 'noise', 'tokens')} hidden or replaced")
    if shares := _shown(counts):
        parts[-1] += f" ({shares})"
    if np.nansum(counts["moved"]):
        parts.append(f"{100 * np.nanmean(counts['moved']):.0f} % of the texts in another order")
    if np.isfinite(counts["label"]).any():
        parts.append(f"{100 * np.nanmean(counts['label']):.0f} % of the pairs have label 1")
    padding = counts["slots"].sum() - counts["used"].sum()
    parts.append(f"{100 * padding / counts['slots'].sum():.1f} % padding" if padding else "no padding")
    return ", ".join(parts)


def _shown(counts: Counts) -> str:
    """Of the noise, what is shown as the mask, as random tokens and as it was, where each token of it is shown."""
    noise = np.nansum(counts["noise"])
    numbers = {name: np.nansum(counts[f"as_{name}"]) for name in ("mask", "random", "kept")}
    if not noise or sum(numbers.values()) < noise:
        return ""
    return ", ".join(f"{name} {100 * number / noise:.0f}" for name, number in numbers.items())


def _percent(counts: Counts, part: str, whole: str) -> str:
    return f"{100 * np.nansum(counts[part]) / np.nansum(counts[whole]):.1f} %"
