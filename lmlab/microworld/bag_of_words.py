"""What surface features alone can do: a task whose bag-of-words score is near its ceiling tests no understanding.

Logistic regression (scikit-learn) over counts of words and pairs of neighbours in each field; for two texts also over
the words that they share and those that only one has (the lexical features of Bowman et al. 2015, arXiv:1508.05326).
Tags come from the word alone; spans are ranked by words shared with the question (Rajpurkar et al. 2016, section 5);
a text is that of the most similar training row.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

WORD = re.compile(r"\w+|[^\w\s]")
LONGEST_SPAN = 3  # words of a candidate answer
WRONG_PER_ROW = 12  # candidates that are no answer, per training question


def answers(task: Any, train_rows: list[dict], rows: list[dict]) -> list:
    """Predictions for `rows`, in the task's own words, learnt from `train_rows`; both as `Task.rows` gives them."""
    learners = {"classification": classes, "regression": values, "tagging": tags, "span": spans, "text": texts}
    return learners[task.kind](task, train_rows, rows)


def features(inputs: dict[str, str]) -> dict[str, int]:
    """Counts of words and neighbours per field, and what two fields have in common."""
    fields = {name: WORD.findall(text.lower()) for name, text in inputs.items()}
    counts: Counter = Counter()
    for name, words in fields.items():
        counts.update(f"{name} {word}" for word in words)
        counts.update(f"{name} {first} {second}" for first, second in pairwise(words))
    *_, one, other = [set(), *map(set, fields.values())]
    if len(fields) > 1:
        counts.update(f"both {word}" for word in one & other)
        counts.update(f"one of them {word}" for word in one ^ other)
        counts["number shared"], counts["number not shared"] = len(one & other), len(one ^ other)
    return dict(sorted(counts.items()))


def classes(task: Any, train_rows: list[dict], rows: list[dict]) -> list[str]:
    """Logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = _fitted(LogisticRegression(max_iter=1000), train_rows)
    return [task.labels[label] for label in model.predict([features(row["inputs"]) for row in rows])]


def values(task: Any, train_rows: list[dict], rows: list[dict]) -> list[float]:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    model = _fitted(Ridge(alpha=10.0), train_rows)
    return [float(value) for value in model.predict([features(row["inputs"]) for row in rows])]


def _fitted(model: Any, train_rows: list[dict]) -> Any:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    pipeline = make_pipeline(DictVectorizer(), MaxAbsScaler(), model)
    return pipeline.fit([features(row["inputs"]) for row in train_rows], [row["target"] for row in train_rows])


def tags(task: Any, train_rows: list[dict], rows: list[dict]) -> list[list[str]]:
    """The most frequent tag of the word; of an unknown word that of all words."""
    counts: dict[str, Counter] = {}
    total: Counter = Counter()
    for row in train_rows:
        for word, tag in zip(words_of(row), row["target"], strict=True):
            counts.setdefault(word, Counter())[tag] += 1
            total[tag] += 1
    usual = {word: task.labels[found.most_common(1)[0][0]] for word, found in counts.items()}
    default = task.labels[total.most_common(1)[0][0]]
    return [[usual.get(word, default) for word in words_of(row)] for row in rows]


def words_of(row: dict) -> list[str]:
    """The words of a row to tag."""
    return next(iter(row["inputs"].values()))


def texts(task: Any, train_rows: list[dict], rows: list[dict]) -> list[str]:
    """The target of the training row whose words are most alike (cosine of counts)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = TfidfVectorizer(token_pattern=r"\w+")
    known = count.fit_transform(" ".join(row["inputs"].values()) for row in train_rows)
    asked = count.transform(" ".join(row["inputs"].values()) for row in rows)
    nearest = [int((known @ one.T).toarray().argmax()) for one in asked]
    return [train_rows[place]["target"][0] for place in nearest]


# --- answers in a text ------------------------------------------------------------------------------------------


def spans(task: Any, train_rows: list[dict], rows: list[dict]) -> list[str]:
    """The candidate that logistic regression ranks first; none where none is likely enough."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    seen, is_right = [], []
    for row in train_rows:
        right, wrong = _sorted_candidates(task, row)
        step = max(1, len(wrong) // WRONG_PER_ROW)
        chosen = right[:1] + wrong[::step]
        seen += [found for _, found in chosen]
        is_right += [True] * len(right[:1]) + [False] * (len(chosen) - len(right[:1]))
    model = make_pipeline(DictVectorizer(), LogisticRegression(max_iter=300))
    model.fit(seen, is_right)
    ranked = [_best(model, row, task) for row in train_rows[:500]]
    border = _border(task, train_rows[:500], ranked) if task.unanswerable else 0.0
    return [text if odds >= border else "" for text, odds in (_best(model, row, task) for row in rows)]


def _sorted_candidates(task: Any, row: dict) -> tuple[list, list]:
    """The candidates of a training row that are an answer, and the others."""
    gold = zip(row["target"]["answer_start"], row["target"]["text"], strict=True)
    right_places = {(start, start + len(text)) for start, text in gold}
    found = candidates(*(row["inputs"][field] for field in task.fields))
    right = [(place, each) for place, each in found if place in right_places]
    return right, [(place, each) for place, each in found if place not in right_places]


def candidates(question: str, context: str) -> list[tuple[tuple[int, int], dict[str, float]]]:
    """All short stretches of the context, each with what can be counted about it."""
    asked = {word.lower() for word in WORD.findall(question)}
    first = WORD.findall(question)[0].lower()
    found, begin = [], 0
    for sentence in re.split(r"(?<=\.) ", context):
        places = [
            (match.group().lower(), begin + match.start(), begin + match.end()) for match in WORD.finditer(sentence)
        ]
        shared = len(asked & {word for word, _, _ in places}) / len(asked)
        for start in range(len(places)):
            for stop in range(start + 1, min(start + LONGEST_SPAN, len(places)) + 1):
                words = [word for word, _, _ in places[start:stop]]
                before = places[start - 1][0] if start else "^"
                counted = {
                    "shared": shared,
                    "in question": len(asked & set(words)) / len(words),
                    f"{first} length {len(words)}": 1.0,
                    f"{first} first {words[0]}": 1.0,
                    f"{first} last {words[-1]}": 1.0,
                    f"{first} before {before}": 1.0,
                }
                found.append(((places[start][1], places[stop - 1][2]), counted))
        begin += len(sentence) + 1
    return found


def _best(model: Any, row: dict, task: Any) -> tuple[str, float]:
    """The text of the best candidate, and its probability."""
    question, context = (row["inputs"][field] for field in task.fields)
    found = candidates(question, context)
    odds = model.predict_proba([each for _, each in found])[:, 1]
    start, end = found[int(odds.argmax())][0]
    return context[start:end], float(odds.max())


def _border(task: Any, rows: list[dict], ranked: Sequence[tuple[str, float]]) -> float:
    """The probability below which no answer is given: the one that suits the training rows best."""
    references = [task.reference(row) for row in rows]

    def score(border: float) -> float:
        return task.score([text if odds >= border else "" for text, odds in ranked], references)["f1"]

    return max((step / 20 for step in range(21)), key=score)
