"""Scores of predictions against references.

Accuracy, F1, Matthews and the correlations are fractions (scikit-learn's and scipy's own numbers). SQuAD's
exact match and F1 are per cent, as the official script prints them. A score that is undefined (a constant
prediction under a correlation, an empty row under Matthews) is 0, never NaN, and `compute` then adds the flag
`degenerate`.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from lmlab.errors import UserError, nearest

OTHER = -1  # an answer that is no label at all: wrong for every class


def accuracy(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Share of predictions equal to their reference."""
    return sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references)


def f1(predictions: Sequence[int], references: Sequence[int]) -> float:
    """F1 of class 1, the positive one (GLUE's F1 of MRPC and QQP): not an average over classes."""
    from sklearn.metrics import f1_score

    # labels=[1] with average="micro" is the binary F1, and also stands predictions outside {0, 1}.
    return float(f1_score(references, predictions, labels=[1], average="micro", zero_division=0))


def macro_f1(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Mean F1 over the classes that occur among predictions or references."""
    from sklearn.metrics import f1_score

    classes = sorted((set(predictions) | set(references)) - {OTHER})
    return float(f1_score(references, predictions, labels=classes, average="macro", zero_division=0))


def matthews(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Matthews correlation; 0 when predictions or references hold one class only."""
    from sklearn.metrics import matthews_corrcoef

    if is_constant(predictions) or is_constant(references):
        return 0.0
    return float(matthews_corrcoef(references, predictions))


def pearson(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Pearson correlation; 0 when one side is constant."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, references)


def spearman(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Spearman rank correlation; 0 when one side is constant."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, references)


CLASS_METRICS = {function.__name__: function for function in (accuracy, f1, macro_f1, matthews)}
VALUE_METRICS = {function.__name__: function for function in (pearson, spearman)}


def compute(names: Sequence[str], predictions: Sequence, references: Sequence, available: dict) -> dict[str, float]:
    """Every named metric, in the order given; plus `degenerate: 1.0` when all predictions are the same.

    Raises:
        UserError: a name is not among the `available` functions.
    """
    for name in names:
        if name not in available:
            listed = ", ".join(available)
            hint = nearest(name, available)
            raise UserError(f"task.metrics: no metric '{name}' here{hint}; available: {listed}")
    scores = {name: available[name](predictions, references) for name in names}
    if len(predictions) > 1 and is_constant(predictions):
        scores["degenerate"] = 1.0
    return scores


def is_constant(values: Sequence) -> bool:
    """Whether all values are the same."""
    return len(set(values)) < 2


def _correlation(function, predictions: Sequence[float], references: Sequence[float]) -> float:
    if is_constant(predictions) or is_constant(references):
        return 0.0
    value = float(function(predictions, references)[0])
    return value if value == value else 0.0  # NaN: values so close that their variance underflows


# ---------------------------------------------------------------- SQuAD (Rajpurkar et al. 2016, 2018)


def normalize_answer(text: str) -> str:
    """Lower-case, drop punctuation, drop articles, squeeze spaces: in this order."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def answer_exact(prediction: str, gold: str) -> float:
    """1 when both are equal once normalised."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def answer_f1(prediction: str, gold: str) -> float:
    """F1 over the multisets of normalised words; with an empty side 1 if both are (SQuAD 2), else 0."""
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted))


def answer_scores(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1), each the best over the gold answers; no gold answer means that "" is right."""
    golds = [gold for gold in golds if normalize_answer(gold)] or [""]
    return max(answer_exact(prediction, g) for g in golds), max(answer_f1(prediction, g) for g in golds)


def best_threshold(
    scores: Sequence[float], answered: Sequence[bool], answerable: Sequence[bool], null_odds: Sequence[float]
) -> tuple[float, float]:
    """The threshold on `null_odds` above which answering "" scores best, chosen on these very examples.

    The search of the official SQuAD 2 script (`find_best_thresh`): start from answering nothing, then accept
    answers from the least null-like on. An unanswerable question costs one point as soon as it is answered.

    Args:
        scores: score of each example's answer.
        answered: whether that answer is a non-empty one.
        answerable: whether the example has a gold answer.
        null_odds: null score minus best answer's score.

    Returns:
        The best mean score (a fraction), and its threshold.
    """
    current = best = float(sum(not has for has in answerable))
    threshold = 0.0
    for index in sorted(range(len(scores)), key=lambda i: null_odds[i]):
        current += scores[index] if answerable[index] else -float(answered[index])
        if current > best:
            best, threshold = current, null_odds[index]
    return best / len(scores), threshold
