"""Metrics against scikit-learn, scipy and plain formulas, also on degenerate inputs; SQuAD's official rules."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from lmlab.errors import UserError
from lmlab.tasks import metrics
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction
from lmlab.tasks.tagging import Tagging

RANDOM = [np.random.default_rng(seed).integers(0, 3, (2, 50)).tolist() for seed in range(5)]


@pytest.mark.parametrize(("predictions", "references"), RANDOM)
def test_class_metrics_equal_scikit_learn(predictions, references):
    assert metrics.accuracy(predictions, references) == reference.accuracy_score(references, predictions)
    assert metrics.macro_f1(predictions, references) == pytest.approx(
        reference.f1_score(references, predictions, average="macro")
    )
    assert metrics.matthews(predictions, references) == pytest.approx(
        reference.matthews_corrcoef(references, predictions)
    )
    binary = [[min(value, 1) for value in row] for row in (predictions, references)]
    assert metrics.f1(*binary) == pytest.approx(reference.f1_score(binary[1], binary[0]))


def test_binary_f1_is_that_of_class_1_and_takes_answers_that_are_no_label():
    # 2 true positives, 1 false positive, 1 missed.
    assert metrics.f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert metrics.f1([1, -1], [1, 1]) == pytest.approx(2 / 3)


def test_correlations_equal_scipy():
    x, y = np.random.default_rng(0).normal(size=(2, 40)).tolist()
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "predictions", "references", "wanted"),
    [
        ("pearson", [2.0] * 4, [1.0, 2.0, 3.0, 4.0], 0),
        ("spearman", [2.0] * 4, [1.0, 2.0, 3.0, 4.0], 0),
        ("matthews", [1] * 4, [0, 1, 0, 1], 0),
        ("f1", [0] * 4, [0, 1, 0, 1], 0),
        ("macro_f1", [-1] * 4, [0, 1, 0, 1], 0),
    ],
)
def test_constant_predictions_score_0_and_are_flagged(name, predictions, references, wanted):
    available = metrics.CLASS_METRICS | metrics.VALUE_METRICS
    assert metrics.compute([name], predictions, references, available) == {name: wanted, "degenerate": 1.0}


def test_numbers_that_hardly_differ_are_constant():
    """A network that has collapsed gives numbers that differ in their last digits, and may correlate by chance."""
    task = Regression(name="r", source="r", fields=["t"], metrics=["pearson", "spearman"], low=0, high=5)
    references = [0.0, 1.0, 2.5, 4.0, 5.0]
    for spread, is_constant in ((1e-9, True), (5e-5, True), (9e-3, True), (1.1e-2, False), (1.0, False)):
        predictions = [2.5 + spread * reference for reference in references]
        perfect = {"pearson": pytest.approx(1), "spearman": pytest.approx(1)}
        collapsed = {"pearson": 0, "spearman": 0, "degenerate": 1}
        assert task.score(predictions, references) == (collapsed if is_constant else perfect)
    assert "degenerate" not in task.score([2.5], [3.0])
    assert task.score([1.0, 2.0], [3.0, 3.0]) == {"pearson": 0, "spearman": 0}


@pytest.mark.filterwarnings("error")
def test_correlation_with_constant_references_is_0_not_nan():
    assert metrics.pearson([1.0, 2.0], [3.0, 3.0]) == 0
    tiny = [1.0, 1.0 + 1e-16, math.nextafter(1.0, 2)]
    assert not math.isnan(metrics.pearson([1.0, 2.0, 3.0], tiny[:1] * 3))


# ---- named entities


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def entities(labels: list[str]) -> set[tuple[str, int, int]]:
    """(type, first, last) of the entities; I- begins one after another type or after O, as conlleval has it."""
    found, begun = set(), None
    for place, label in enumerate([*labels, "O"]):
        mark, _, kind = label.partition("-")
        if begun and (mark != "I" or kind != begun[0]):
            found.add((*begun, place - 1))
            begun = None
        if mark != "O" and begun is None:
            begun = (kind, place)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_entity_scores_equal_seqeval_and_the_plain_definition(seed):
    seqeval = pytest.importorskip("seqeval.metrics")
    drawn = np.random.default_rng(seed).choice(TAGS, (2, 30, 8)).tolist()
    predicted, wanted = (
        np.where(np.random.default_rng(9).random((30, 8)) < 0.6, drawn[1], side).tolist() for side in drawn
    )
    scores = metrics.entity_scores(predicted, wanted)
    assert scores["f1"] == pytest.approx(seqeval.f1_score(wanted, predicted))
    assert scores["precision"] == pytest.approx(seqeval.precision_score(wanted, predicted))
    assert scores["recall"] == pytest.approx(seqeval.recall_score(wanted, predicted))
    sets = [
        [(row, *each) for row, labels in enumerate(side) for each in entities(labels)] for side in (predicted, wanted)
    ]
    assert scores["f1"] == pytest.approx(2 * len(set(sets[0]) & set(sets[1])) / (len(sets[0]) + len(sets[1])))


@pytest.mark.filterwarnings("error")
def test_a_tagger_that_finds_no_entity_scores_0_and_is_flagged():
    pytest.importorskip("seqeval")
    task = Tagging(name="ner", source="ner", fields=["t"], labels=TAGS, metrics=["f1", "accuracy"])
    assert task.score([["O", "O"]], [["B-PER", "O"]]) == {"f1": 0.0, "accuracy": 0.5, "degenerate": 1.0}
    assert task.score([["O", None]], [["O", "O"]])["accuracy"] == 0.5  # cut off by the window: wrong
    assert task.score([["B-PER", None]], [["B-PER", "I-PER"]])["f1"] == 0  # and an entity is cut short


# ---- generated text


WORDS = ["the", "cats", "sat", "on", "mats,", "running", "dogs", "ran", "."]


def sentences(seed: int, number: int = 20) -> list[str]:
    return [" ".join(words) for words in np.random.default_rng(seed).choice(WORDS, (number, 9))]


@pytest.mark.parametrize("seed", range(3))
def test_bleu_and_chrf_equal_sacrebleu(seed):
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, first, second = sentences(seed), sentences(seed + 10), sentences(seed + 20)
    references = [list(pair) for pair in zip(first, second, strict=True)]
    assert metrics.bleu(predictions, references) == pytest.approx(
        sacrebleu.corpus_bleu(predictions, [first, second]).score
    )
    assert metrics.chrf(predictions, references) == pytest.approx(
        sacrebleu.corpus_chrf(predictions, [first, second]).score
    )
    assert metrics.bleu(first, references) == pytest.approx(100)


def test_rows_may_have_different_numbers_of_references():
    pytest.importorskip("sacrebleu")
    first, second = "the cats sat on the mats", "a dog ran over the green field"
    assert metrics.bleu([first, second], [[first], ["no words in common here at all", second]]) == pytest.approx(100)


def test_bleu_of_chinese_needs_its_own_words():
    pytest.importorskip("sacrebleu")
    pair = ["今天天气很好我们去公园"], [["今天天气很好我们去学校"]]
    assert metrics.bleu(*pair) < 1 < 50 < metrics.bleu(*pair, tokenize="zh")


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_equals_rouge_score(name):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    predictions, first, second = sentences(1), sentences(2), sentences(3)
    scorer = rouge_scorer.RougeScorer([name], use_stemmer=True)
    single = [
        [scorer.score(gold, text)[name].fmeasure for text, gold in zip(predictions, golds, strict=True)]
        for golds in (first, second)
    ]
    wanted = 100 * np.max(single, axis=0).mean()
    references = [list(pair) for pair in zip(first, second, strict=True)]
    assert metrics.TEXT_METRICS[name](predictions, references) == pytest.approx(wanted)


def test_rouge_1_and_l_by_hand():
    pytest.importorskip("rouge_score")
    pair = ["the cat sat"], [["sat the black cat"]]
    assert metrics.TEXT_METRICS["rouge1"](*pair) == pytest.approx(100 * 2 * 3 / (3 + 4))
    assert metrics.TEXT_METRICS["rougeL"](*pair) == pytest.approx(100 * 2 * 2 / (3 + 4))  # the cat


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", metrics.TEXT_METRICS)
def test_empty_and_constant_texts_score_0_and_are_flagged(name):
    if package := metrics.TEXT_PACKAGES.get(name):
        pytest.importorskip(package)
    for text in ("", "zzz"):
        scores = metrics.compute([name], [text] * 3, [["some words here"]] * 3, metrics.TEXT_METRICS)
        assert scores == {name: pytest.approx(0, abs=1e-3), "degenerate": 1.0}


def test_unknown_metric_is_a_users_mistake():
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        metrics.compute(["acuracy"], [0], [0], metrics.CLASS_METRICS)


# ---- SQuAD


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Normans!", "normans"),
        ("a b-c the d", "bc d"),  # punctuation is dropped, not replaced by a space
        ("An, apple", "apple"),
        ("theory of a tan", "theory of tan"),  # articles are whole words
        ("U.S.A.", "usa"),
        ("the.", ""),  # punctuation goes first, so that the article is seen
        ("«été»", "«été»"),  # only ASCII punctuation
    ],
)
def test_answers_are_normalised_as_officially(text, wanted):
    assert metrics.normalize_answer(text) == wanted


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("the Normans", ["Normans"], 1, 1),
        ("in the 10th century", ["10th century", "the 10th"], 0, 2 * 2 / (3 + 2)),
        ("to be or to be", ["to be"], 0, 2 * 2 / (5 + 2)),  # words count as often as both sides have them
        ("to to to", ["to be to"], 0, 2 / 3),
        ("Paris", ["London", "paris."], 1, 1),
        ("Paris", ["London"], 0, 0),
        ("", [], 1, 1),
        ("something", [], 0, 0),
        ("", ["something"], 0, 0),
        ("the", ["a"], 1, 1),  # both are empty once normalised
        ("the", ["a", "b"], 0, 0),  # gold answers that are empty once normalised do not count beside others
    ],
)
def test_answer_scores_follow_the_official_rules(prediction, golds, exact, f1):
    assert metrics.answer_scores(prediction, golds) == (exact, pytest.approx(f1))


def official(prediction: str, gold: str) -> tuple[bool, float]:
    """SQuAD's rules, written a second time: over lists of words, one step after the other."""
    bags = []
    for text in (prediction, gold):
        letters = [letter for letter in text.lower() if letter not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
        words = [" " if word in ("a", "an", "the") else word for word in "".join(letters).split(" ")]
        bags.append([word for word in words if word.strip()])
    left, shared = list(bags[1]), 0
    for word in bags[0]:
        if word in left:
            left.remove(word)
            shared += 1
    if not bags[0] or not bags[1] or not shared:
        return bags[0] == bags[1], float(bags[0] == bags[1])
    precision, recall = shared / len(bags[0]), shared / len(bags[1])
    return bags[0] == bags[1], 2 * precision * recall / (precision + recall)


def test_answer_scores_equal_the_official_rules_on_random_answers():
    generator = np.random.default_rng(0)
    words = ["the", "a", "An", "Norman", "norman's", "10th", "(century)", "of", "-", "U.S."]
    texts = [" ".join(generator.choice(words, generator.integers(0, 5))) for _ in range(400)]
    for prediction, *golds in zip(texts[::4], texts[1::4], texts[2::4], texts[3::4], strict=True):
        pairs = [official(prediction, gold) for gold in golds if metrics.normalize_answer(gold)] or [
            official(prediction, "")
        ]
        exact, f1 = metrics.answer_scores(prediction, golds)
        assert (exact, f1) == (max(pair[0] for pair in pairs), pytest.approx(max(pair[1] for pair in pairs)))


def test_chinese_answers_are_counted_by_character():
    exact, f1 = metrics.answer_scores("在巴黎。", ["巴黎"], split_chinese=True)
    assert (exact, f1) == (0, pytest.approx(2 * 2 / (3 + 2)))
    assert metrics.answer_scores("《巴黎》", ["巴黎"], split_chinese=True) == (1, 1)
    assert metrics.answer_scores("在巴黎", ["巴黎"]) == (0, 0)
    assert metrics.answer_scores("iPhone 4手机", ["iphone 4"], split_chinese=True)[1] == pytest.approx(2 * 2 / (4 + 2))


def squad(**settings):
    common = {"name": "squad", "source": "squad", "fields": ["question", "context"], "metrics": ["f1", "exact_match"]}
    return SpanExtraction(**common, **settings)


def test_squad_scores_are_means_in_per_cent():
    scores = squad().score(["Normans", "the 10th"], [["The Normans"], ["10th century"]])
    assert scores == {"f1": pytest.approx(100 * (1 + 2 / 3) / 2), "exact_match": 50.0}


def test_squad_2_reports_the_best_threshold_beside_the_score():
    predictions = [
        {"text": "right", "null_odds": -5.0},  # answered, right
        {"text": "right", "null_odds": 1.0},  # right, but held back at threshold 0
        {"text": "wrong", "null_odds": 2.0},  # has no answer, held back
        {"text": "wrong", "null_odds": -1.0},  # has no answer, answered
    ]
    scores = squad(unanswerable=True).score(predictions, [["right"], ["right"], [], []])
    assert scores["exact_match"] == 50.0
    assert (scores["has_answer_exact_match"], scores["no_answer_exact_match"]) == (50.0, 50.0)
    # Thresholds: none answered 2, -5: 3, -1: 2, 1: 3, 2: 2; the first best one is kept.
    assert (scores["best_exact_match"], scores["best_exact_match_threshold"]) == (75.0, -5.0)


def test_best_threshold_equals_trying_every_threshold():
    generator = np.random.default_rng(1)
    for _ in range(20):
        odds, score = generator.normal(size=12), generator.random(12)
        answerable = generator.random(12) < 0.5
        score = score * answerable
        answered = generator.random(12) < 0.9
        tried = [
            np.where(odds <= threshold, np.where(answerable, score, ~answered), ~answerable).mean()
            for threshold in [-np.inf, *odds]
        ]
        best, threshold = metrics.best_threshold(score, answered, answerable, odds)
        assert best == pytest.approx(max(tried))
        reached = np.where(odds <= threshold, np.where(answerable, score, ~answered), ~answerable).mean()
        assert best in (pytest.approx(reached), pytest.approx(tried[0]))
