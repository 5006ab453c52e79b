"""Scores of predictions against references.

Accuracy, F1, Matthews and the correlations are fractions (scikit-learn's, scipy's and seqeval's own numbers).
SQuAD's exact match and F1, BLEU, chrF and ROUGE are per cent, as their scripts print them. A score that is
undefined (a constant prediction under a correlation, an empty row under Matthews) is 0, never NaN, and `compute`
then adds the flag `degenerate`.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import zip_longest
from statistics import fmean, pstdev

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
WORD_METRICS = {function.__name__: function for function in (accuracy, macro_f1)}


def compute(names: Sequence[str], predictions: Sequence, references: Sequence, available: dict) -> dict[str, float]:
    """Every named metric, in the order given; plus `degenerate: 1.0` when all predictions are the same.

    Raises:
        UserError: a name is not among the `available` functions.
    """
    check_names(names, available)
    scores = {name: available[name](predictions, references) for name in names}
    if len(predictions) > 1 and is_constant(predictions):
        scores["degenerate"] = 1.0
    return scores


def check_names(names: Sequence[str], available: Collection[str]) -> None:
    """Raise UserError for a metric that is not available here."""
    for name in names:
        if name not in available:
            hint = nearest(name, available)
            raise UserError(f"task.metrics: no metric '{name}' here{hint}; available: {', '.join(available)}")


def check_packages(names: Sequence[str], packages: Mapping[str, str | None]) -> None:
    """Raise UserError for a metric whose package (`packages[name]`, if it needs one) is not installed."""
    for name in names:
        if packages[name] and find_spec(packages[name]) is None:
            raise UserError(f"task.metrics: '{name}' needs the package {packages[name]}: pip install 'lmlab[metrics]'")


def is_constant(values: Sequence) -> bool:
    """Whether all values are the same."""
    return len(set(values)) < 2


def is_collapsed(predictions: Sequence[float], references: Sequence[float]) -> bool:
    """Whether the standard deviation of predictions is below 1 % of that of the references."""
    return pstdev(predictions) < 0.01 * pstdev(references)


def _correlation(function, predictions: Sequence[float], references: Sequence[float]) -> float:
    if is_constant(predictions) or is_constant(references):
        return 0.0
    value = float(function(predictions, references)[0])
    return value if value == value else 0.0  # NaN: values so close that their variance underflows


# ---------------------------------------------------------------- named entities


def entity_scores(predictions: Sequence[Sequence[str | None]], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over whole entities of BIO labels: seqeval's, which are those of CoNLL's `conlleval`.

    A word without a prediction is outside of any entity.
    """
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    predicted = [[label or "O" for label in labels] for labels in predictions]
    wanted = [list(labels) for labels in references]
    values = precision_recall_fscore_support(wanted, predicted, average="micro", zero_division=0)
    return dict(zip(("precision", "recall", "f1"), map(float, values[:3]), strict=True))


# ---------------------------------------------------------------- generated text


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = "13a") -> float:
    """BLEU of the whole corpus (Papineni et al. 2002), as sacrebleu computes it (Post 2018), 0 to 100."""
    from sacrebleu.metrics import BLEU

    return float(BLEU(tokenize=tokenize).corpus_score(predictions, _streams(references)).score)


def chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF of the whole corpus (Popovic 2015), as sacrebleu computes it, 0 to 100."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(predictions, _streams(references)).score)


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """The first reference of every row, the second of every row ...; None where a row has fewer."""
    return [list(stream) for stream in zip_longest(*references)]


def _rouge(name: str, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean F of the best reference (Lin 2004), words stemmed, as rouge-score computes it, 0 to 100."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([name], use_stemmer=True)
    pairs = zip(predictions, references, strict=True)
    return 100 * fmean(scorer.score_multi(golds, prediction)[name].fmeasure for prediction, golds in pairs)


def text_exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Share of texts equal to a reference by SQuAD's rules, in per cent."""
    return 100 * fmean(answer_scores(*pair)[0] for pair in zip(predictions, references, strict=True))


def text_accuracy(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Share of texts equal to a reference but for white space, a fraction."""
    pairs = zip(predictions, references, strict=True)
    return fmean(text.split() in [gold.split() for gold in golds] for text, golds in pairs)


TEXT_METRICS = {
    "bleu": bleu,
    "chrf": chrf,
    **{name: partial(_rouge, name) for name in ("rouge1", "rouge2", "rougeL")},
    "exact_match": text_exact_match,
    "accuracy": text_accuracy,
}
TEXT_PACKAGES = dict.fromkeys(("bleu", "chrf"), "sacrebleu") | dict.fromkeys(
    ("rouge1", "rouge2", "rougeL"), "rouge_score"
)


# ---------------------------------------------------------------- SQuAD (Rajpurkar et al. 2016, 2018)


def normalize_answer(text: str, split_chinese: bool = False) -> str:
    """Lower-case, drop punctuation, drop articles, squeeze spaces: in this order.

    With `split_chinese` every Chinese character is a word and all Unicode punctuation is dropped, as in MLQA's
    script (Lewis et al. 2020): the rules for text without spaces.
    """
    text = text.lower()
    if split_chinese:
        text = "".join(character for character in text if unicodedata.category(character)[0] != "P")
        text = re.sub(r"([\u3400-\u9fff\uf900-\ufaff])", r" \1 ", text)
    text = "".join(character for character in text if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def answer_f1(prediction: str, gold: str) -> float:
    """F1 over the multisets of words of normalised answers; with an empty side 1 if both are (SQuAD 2), else 0."""
    predicted, wanted = prediction.split(), gold.split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted))


def answer_scores(prediction: str, golds: Sequence[str], split_chinese: bool = False) -> tuple[float, float]:
    """(exact match, F1), each the best over the gold answers; no gold answer means that "" is right."""
    golds = [text for gold in golds if (text := normalize_answer(gold, split_chinese))] or [""]
    prediction = normalize_answer(prediction, split_chinese)
    return float(prediction in golds), max(answer_f1(prediction, gold) for gold in golds)


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
