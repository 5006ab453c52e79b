"""Rows of tasks: labels in both forms, held-out shares, messages for data that is not as it should be."""

import json
import re
from collections import Counter

import pytest

from lmlab.config.build import build
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.tasks.classification import Classification
from lmlab.tasks.nested import unfold
from lmlab.tasks.pydocs_topic import without_name
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction, locate
from lmlab.tasks.tagging import Tagging


def put(folder, name, split, rows):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def sentiment(folder, **settings):
    words = {"name": "mood", "source": "mood", "fields": ["text"], "labels": ["bad", "good"], "metrics": ["accuracy"]}
    return Classification(**words | {"data_dir": str(folder)} | settings)


def test_labels_are_read_as_ids_as_names_and_as_ids_in_letters(tmp_path):
    labels = [1, "good", "1", 1.0, "bad", 0]
    put(tmp_path, "mood", "validation", [{"text": "t", "label": label} for label in labels])
    rows = sentiment(tmp_path).rows("validation")
    assert [row["target"] for row in rows] == [1, 1, 1, 1, 0, 0]
    assert rows[0] == {"id": "validation-0", "inputs": {"text": "t"}, "target": 1}


@pytest.mark.parametrize("label", ["goood", 2, -1, None, 0.5, [1]])
def test_unknown_labels_are_told_with_their_row(tmp_path, label):
    put(tmp_path, "mood", "validation", [{"text": "fine", "label": 1}, {"text": "odd one", "label": label}])
    with pytest.raises(UserError, match=r"row 1.*unknown label.*0 bad, 1 good.*odd one"):
        sentiment(tmp_path).rows("validation")


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path):
    put(tmp_path, "mood", "train", [{"review": "t", "label": 1}])
    with pytest.raises(UserError, match="no column 'text'; columns there: review, label"):
        sentiment(tmp_path).rows("train")


def test_an_empty_set_and_a_column_that_is_no_text_are_told(tmp_path):
    put(tmp_path, "mood", "validation", [])
    with pytest.raises(UserError, match="empty"):
        sentiment(tmp_path).rows("validation")
    put(tmp_path, "mood", "validation", [{"text": None, "label": 1}])
    with pytest.raises(UserError, match="'text' holds None"):
        sentiment(tmp_path).rows("validation")


def test_missing_data_is_told_with_where_to_put_it(tmp_path):
    with pytest.raises(UserError, match="mood"):
        sentiment(tmp_path).rows("train")


def test_without_a_validation_split_a_fixed_share_of_the_training_rows_is_held_out(tmp_path):
    put(tmp_path, "mood", "train", [{"text": f"text {i}", "label": i % 2} for i in range(400)])
    task = sentiment(tmp_path, held_out=0.2)
    train, held_out = ({row["inputs"]["text"] for row in task.rows(split)} for split in ("train", "validation"))
    assert not train & held_out
    assert len(train | held_out) == 400
    assert 50 < len(held_out) < 110
    # A row's part does not depend on the other rows.
    put(tmp_path, "mood", "train", [{"text": f"text {i}", "label": i % 2} for i in range(200)])
    assert {row["inputs"]["text"] for row in task.rows("validation")} <= held_out


def test_rows_on_one_passage_and_rows_of_one_text_stay_together(tmp_path):
    rows = [{"text": f"text {i // 5}", "label": i % 2} for i in range(500)]
    put(tmp_path, "mood", "train", rows)
    questions = [{"question": f"Who {i}?", "context": f"It was Ann, number {i // 5}."} for i in range(500)]
    put(tmp_path, "qa", "train", [row | {"answers": {"text": ["Ann"], "answer_start": [7]}} for row in questions])
    for task, column in ((sentiment(tmp_path), "text"), (answers(tmp_path), "context")):
        train, held_out = ([row["inputs"][column] for row in task.rows(split)] for split in ("train", "validation"))
        assert len(train) + len(held_out) == 500 and 10 < len(held_out) < 90
        assert not set(train) & set(held_out)


def test_a_split_that_gets_no_row_is_told_from_an_empty_source(tmp_path):
    put(tmp_path, "mood", "train", [{"text": "one text", "label": 1}] * 20)
    empty = r"none of 20 rows fell into the held-out 10 %.*/mood/validation\.jsonl, or raise the share"
    with pytest.raises(UserError, match=empty):
        sentiment(tmp_path).rows("validation")
    with pytest.raises(UserError, match=r"all of 20 rows fell into the held-out 99\.9 %.*or lower the share"):
        sentiment(tmp_path, held_out=0.999).rows("train")
    put(tmp_path, "mood", "train", [])
    for read in (sentiment(tmp_path).rows, lambda split: next(sentiment(tmp_path).raw_rows(split))):
        for split in ("train", "validation"):
            with pytest.raises(UserError, match="mood/train: the data set is empty, it has no rows"):
                read(split)
    put(tmp_path, "mood", "train", [{"text": "one text", "label": -1}])
    with pytest.raises(UserError, match="no row is left; each lacks a label"):
        sentiment(tmp_path, no_label=-1, evaluation_splits=["a", "b"]).rows("train")


def test_training_rows_are_divided_by_what_they_read(tmp_path):
    task = answers(tmp_path)
    inputs = [{"question": f"Who {i}?", "context": f"It was Ann, number {i // 5}."} for i in range(500)]
    rows = [{"id": str(i), "inputs": each, "target": None} for i, each in enumerate(inputs)]
    learn, judge = task.split_training(rows, 0.1)
    assert len(learn) + len(judge) == 500 and 50 <= len(judge) < 55
    assert not {row["inputs"]["context"] for row in learn} & {row["inputs"]["context"] for row in judge}
    assert [learn, judge] == [sorted(part, key=lambda row: int(row["id"])) for part in (learn, judge)]
    assert (learn, judge) == task.split_training(rows, 0.1) != task.split_training(rows, 0.1, salt="another")
    backwards = task.split_training(rows[::-1], 0.1)
    assert backwards[1] == judge[::-1]  # whatever order the rows stand in
    held_out = [row for row in rows if task._is_held_out(row["inputs"])]
    assert held_out and sum(row in judge for row in held_out) < len(held_out) / 2


def test_a_few_training_rows_are_divided_and_a_single_text_is_refused(tmp_path):
    task = sentiment(tmp_path)
    few = [{"id": str(i), "inputs": {"text": f"text {i}"}, "target": 0} for i in range(2)]
    for share in (0.001, 0.999):
        assert [len(part) for part in task.split_training(few, share)] == [1, 1]
    for rows in ([], few[:1], few[:1] * 9):
        with pytest.raises(UserError, match=r"'mood': \d training rows with [01] different texts cannot be divided"):
            task.split_training(rows, 0.1)


def test_limits_are_nested_and_fixed(tmp_path):
    put(tmp_path, "mood", "train", [{"text": f"text {i}", "label": 0} for i in range(50)])
    put(tmp_path, "mood", "validation", [{"text": "t", "label": 0}])
    ids = [[row["id"] for row in sentiment(tmp_path, max_train_rows=n).rows("train")] for n in (10, 10, 20)]
    assert len(ids[0]) == 10 and ids[0] == ids[1] and set(ids[0]) < set(ids[2])
    with pytest.raises(UserError, match="max_train_rows"):
        sentiment(tmp_path, max_train_rows=0)


def test_unlabelled_rows_are_a_split_or_what_is_not_learnt(tmp_path):
    put(tmp_path, "mood", "train", [{"text": f"text {i}", "label": i % 2} for i in range(50)])
    put(tmp_path, "mood", "validation", [{"text": "t", "label": 0}])
    assert sentiment(tmp_path).unlabelled_rows() == []
    few = sentiment(tmp_path, max_train_rows=10)
    left_out = few.unlabelled_rows()
    assert all(row.keys() == {"id", "inputs", "target"} and row["target"] is None for row in left_out)
    everything = [row["id"] for row in sentiment(tmp_path).rows("train")]
    assert sorted(row["id"] for row in left_out + few.rows("train")) == sorted(everything)
    assert len(sentiment(tmp_path, max_train_rows=10, max_unlabelled_rows=7).unlabelled_rows()) == 7
    put(tmp_path, "mood", "unlabeled", [{"text": f"new {i}"} for i in range(3)])
    assert [row["inputs"]["text"] for row in few.unlabelled_rows()] == ["new 0", "new 1", "new 2"]
    assert len(sentiment(tmp_path, max_train_rows=10, unlabelled_split=None).unlabelled_rows()) == 40


def test_unlabelled_rows_may_be_nested_and_lack_the_label(tmp_path):
    columns = {"text": "says.text", "label": "says.label"}
    put(tmp_path, "mood", "unlabeled", [{"says": {"text": "new"}}])
    (row,) = sentiment(tmp_path, columns=columns).unlabelled_rows()
    assert row == {"id": "unlabeled-0", "inputs": {"text": "new"}, "target": None}
    with pytest.raises(UserError, match=r"no column 'words' of says\.words"):
        sentiment(tmp_path, columns=columns | {"text": "says.words"}).unlabelled_rows()


def test_classification_scores_names_and_counts_other_answers_as_wrong(tmp_path):
    task = sentiment(tmp_path, metrics=["accuracy", "f1"])
    assert task.score(["good", "bad", "dunno"], ["good", "bad", "bad"]) == {"accuracy": pytest.approx(2 / 3), "f1": 1.0}
    assert task.score(["good", "good"], ["good", "bad"])["degenerate"] == 1


def test_several_evaluation_splits_are_named_apart(tmp_path):
    task = sentiment(tmp_path, evaluation_splits=["validation_matched", "validation_mismatched"])
    assert task.main_metric == "accuracy_matched"
    assert task.metric_key("loss", "validation_mismatched") == "loss_mismatched"


def test_regression_refuses_what_lies_outside_its_range(tmp_path):
    task = Regression(name="s", source="s", fields=["t"], metrics=["pearson"], low=0, high=5, data_dir=str(tmp_path))
    put(tmp_path, "s", "validation", [{"t": "x", "label": "2.5"}])
    assert task.rows("validation")[0]["target"] == 2.5
    for label in (5.1, "much", None, float("nan")):
        put(tmp_path, "s", "validation", [{"t": "x", "label": label}])
        with pytest.raises(UserError, match="from 0 to 5"):
            task.rows("validation")


def tagger(folder):
    words = {"name": "pos", "source": "pos", "fields": ["tokens"], "target": "upos", "labels": ["NOUN", "VERB"]}
    return Tagging(**words, metrics=["accuracy"], data_dir=str(folder))


def test_tagging_counts_words_that_were_cut_off_as_wrong(tmp_path):
    scores = tagger(tmp_path).score([["NOUN", "VERB", None]], [["NOUN", "VERB", "NOUN"]])
    assert scores == {"accuracy": pytest.approx(2 / 3)}


def test_tagging_wants_a_label_for_each_word(tmp_path):
    put(tmp_path, "pos", "validation", [{"tokens": ["dogs", "bark"], "upos": ["NOUN"]}])
    with pytest.raises(UserError, match="one label for each of 2 words"):
        tagger(tmp_path).rows("validation")
    put(tmp_path, "pos", "validation", [{"tokens": ["dogs", "bark"], "upos": ["NOUN", 1]}])
    assert tagger(tmp_path).rows("validation")[0]["target"] == [0, 1]


def answers(folder, **settings):
    words = {"name": "qa", "source": "qa", "fields": ["question", "context"], "target": "answers"}
    return SpanExtraction(**words, metrics=["f1"], data_dir=str(folder), **settings)


def test_answers_are_found_where_their_start_is_off():
    assert locate("a cat and a cat", "cat", 2) == 2
    assert locate("a cat and a cat", "cat", 11) == 12
    assert locate("a cat and a cat", "cat", 0) == 2
    assert locate("a cat and a cat", "dog", 2) == -1


def test_questions_without_answer_need_a_task_that_allows_them(tmp_path):
    row = {"id": "q1", "question": "Who?", "context": "Ann did.", "answers": {"text": [], "answer_start": []}}
    put(tmp_path, "qa", "validation", [row])
    with pytest.raises(UserError, match="no answer"):
        answers(tmp_path).rows("validation")
    task = answers(tmp_path, unanswerable=True)
    (parsed,) = task.rows("validation")
    assert task.record(parsed, {"text": "Ann", "null_odds": 1.0}) == {
        "id": "q1", "inputs": {"question": "Who?", "context": "Ann did."}, "prediction": "", "references": [""],
    }  # fmt: skip


@pytest.mark.parametrize(("texts", "empty"), [(["", "fine", "\n"], 2), (["fine"], 0)])
def test_empty_texts_are_counted_and_told_once(tmp_path, caplog, texts, empty):
    put(tmp_path, "mood", "validation", [{"id": f"r{i}", "text": text, "label": 0} for i, text in enumerate(texts)])
    assert len(sentiment(tmp_path).rows("validation")) == len(texts)
    told = (
        [f"task 'mood', mood/validation: {empty} of 3 rows have an empty text, the first one is 'r0'"] if empty else []
    )
    assert caplog.messages == told


def test_rows_without_any_text_are_refused(tmp_path):
    put(tmp_path, "mood", "validation", [{"text": " ", "label": 0}] * 3)
    with pytest.raises(UserError, match="every row has an empty text"):
        sentiment(tmp_path).rows("validation")


def test_answers_that_are_not_in_their_context_are_counted(tmp_path, caplog):
    answer = {"text": ["Bob"], "answer_start": [0]}
    put(tmp_path, "qa", "validation", [{"question": "Who?", "context": "Ann did.", "answers": answer}])
    assert answers(tmp_path).rows("validation")[0]["target"]["answer_start"] == [-1]
    assert "1 answers do not occur in their context" in caplog.text


def test_rows_without_a_label_are_left_out(tmp_path):
    put(tmp_path, "mood", "validation", [{"text": "t", "label": label} for label in (0, -1, 1)])
    assert [row["target"] for row in sentiment(tmp_path, no_label=-1).rows("validation")] == [0, 1]


def test_data_that_can_only_be_scored_says_so(tmp_path):
    put(tmp_path, "mood", "validation", [{"text": "t", "label": 0}])
    task = sentiment(tmp_path, train_split=None)
    assert len(task.rows("validation")) == 1
    with pytest.raises(UserError, match="has no training rows: it can only be scored"):
        task.rows(task.train_split)


def test_metrics_are_checked_before_anything_is_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no metric 'acuracy' here, did you mean 'accuracy'"):
        sentiment(tmp_path, metrics=["acuracy"])
    monkeypatch.setattr("lmlab.tasks.metrics.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'f1' needs the package seqeval: pip install 'lmlab\[metrics\]'"):
        Tagging(name="n", source="n", fields=["t"], labels=["O", "B-X"], metrics=["f1"])


def test_entity_metrics_need_bio_labels():
    with pytest.raises(UserError, match=r"labels are O, B-\.\.\. and I-\.\.\., not NOUN; metrics over words: accuracy"):
        Tagging(name="n", source="n", fields=["t"], labels=["NOUN", "O"], metrics=["accuracy", "f1"])


# ---- nested rows


NESTED = {"text": {"body": "p"}, "qs": [{"q": "a", "as": [{"t": 1}, {"t": 2}]}, {"q": "b", "as": [{"t": 3}]}]}


def test_nested_rows_are_unfolded():
    columns = {"passage": "text.body", "question": "qs[].q", "answer": "qs[].as[].t"}
    rows = list(unfold(NESTED, columns, "here"))
    assert rows == [{"passage": "p", "question": q, "answer": t} for q, t in (("a", 1), ("a", 2), ("b", 3))]
    assert list(unfold({"a": {"b": 1}}, {"x": "a.b"}, "here")) == [{"x": 1}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": "text.boddy"}, "here: no column 'boddy' of text.boddy, did you mean 'body'"),
        ({"x": "qs[].q.r"}, "no column 'r' of q.r; columns there: none"),
        ({"x": "qs[].q", "y": "others[].z"}, "others and qs are two lists side by side"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(columns, message):
    with pytest.raises(UserError, match=re.escape(message)):
        list(unfold(NESTED, columns, "here"))


# ---- what needs no model


def test_baselines_are_the_scores_of_constant_answers(tmp_path):
    mood = sentiment(tmp_path, metrics=["accuracy", "f1"])
    train, rows = ([{"target": label} for label in labels] for labels in ([1, 1, 0], [1, 0, 0, 0]))
    assert mood.baseline(train, rows) == {"accuracy": 0.25, "f1": pytest.approx(2 / 5)}
    assert mood.baseline([], rows) == {}
    pos = tagger(tmp_path)
    assert pos.baseline([{"target": [0, 1, 1]}], [{"target": [1]}, {"target": [0, 0, 1]}]) == {"accuracy": 0.5}
    number = Regression(name="s", source="s", fields=["t"], metrics=["pearson"])
    assert number.baseline([{"target": 1.0}], [{"target": 2.0}, {"target": 3.0}]) == {"pearson": 0.0}
    gold = [{"target": {"text": texts}} for texts in ([], ["Ann"])]
    assert answers(tmp_path, unanswerable=True).baseline(gold, gold)["f1"] == 50.0


def test_a_baseline_is_the_constant_answer_that_is_best_under_its_metric(tmp_path):
    mood = sentiment(tmp_path, metrics=["f1", "accuracy", "macro_f1", "matthews"])
    train, rows = ([{"target": label} for label in labels] for labels in ([0] * 63 + [1] * 37, [0] * 5 + [1] * 3))
    expected = {"f1": 2 * 3 / (8 + 3), "accuracy": 5 / 8, "macro_f1": (2 * 5 / (8 + 5)) / 2, "matthews": 0}
    assert mood.baseline(train, rows) == pytest.approx(expected)
    for metric, found in mood.baseline(train, train).items():  # no other class would be better
        references = [mood.reference(row) for row in train]
        assert found == max(mood.score([label] * 100, references)[metric] for label in mood.labels)


def test_the_baseline_of_entities_answers_with_one(tmp_path):
    pytest.importorskip("seqeval")
    labels = ["O", "B-X", "I-X", "B-Y"]
    task = Tagging(name="n", source="n", fields=["t"], labels=labels, metrics=["f1", "accuracy"])
    rows = [{"target": [0, 0, 3, 0]}, {"target": [1, 2, 0]}, {"target": [3, 0, 0]}]
    # Each of 10 words is a Y: two of three entities are found. Of the words 6 are outside.
    assert task.baseline(rows, rows) == {"f1": pytest.approx(2 * 2 / (10 + 3)), "accuracy": 0.6}
    assert task.baseline([{"target": [0]}], rows)["f1"] == 0


@pytest.mark.parametrize(
    ("task", "predictions", "targets"),
    [
        (lambda folder: sentiment(folder, metrics=["accuracy", "f1"]), ["good", "dunno", "bad"], [1, 1, 0]),
        (tagger, [["NOUN", None], ["VERB"]], [[0, 1], [1]]),
        (
            lambda folder: answers(folder, unanswerable=True),
            ["Ann", "", "no"],
            [
                {"text": ["Ann", "Anna"]},
                {"text": []},
                {"text": []},
            ],
        ),
    ],
)
def test_scores_of_written_records_are_those_of_the_predictions(tmp_path, task, predictions, targets):
    task = task(tmp_path)
    rows = [{"id": str(i), "inputs": {}, "target": target} for i, target in enumerate(targets)]
    written = json.loads(json.dumps([task.record(*pair) for pair in zip(rows, predictions, strict=True)]))
    assert task.score_records(written) == task.score(predictions, [task.reference(row) for row in rows])


# ---- the embedded task


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    settings = compose("finetune", ["task=pydocs_topic"]).task
    return build(settings, cache_dir=str(tmp_path_factory.mktemp("cache")))


@pytest.mark.slow
def test_pydocs_topic_is_balanced_and_its_splits_share_no_text(topics):
    train, validation = topics.rows("train"), topics.rows("validation")
    texts = [row["inputs"]["text"].lower() for row in train + validation]
    assert len(texts) == len(set(texts)) > 1000
    counts = Counter(row["target"] for row in train + validation)
    assert len(counts) == len(topics.labels) and len(set(counts.values())) == 1
    assert 0.1 < len(validation) / len(texts) < 0.2
    assert topics.rows("train") == train  # from the cache


@pytest.mark.slow
def test_pydocs_topic_can_be_learnt_but_not_from_the_modules_name(topics):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    columns = [
        [(row["inputs"]["text"], row["target"]) for row in topics.rows(split)] for split in ("train", "validation")
    ]
    (train_texts, train_labels), (texts, labels) = (list(zip(*column, strict=True)) for column in columns)
    bag_of_words = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=200)).fit(train_texts, train_labels)
    assert 0.5 < bag_of_words.score(texts, labels) < 0.9
    assert (
        without_name("Use asyncio.run, as Asyncio does; see _run.", "asyncio.runners") == "Use run, as does; see _run."
    )
    assert without_name("The _pydecimal and the decimal module.", "_pydecimal") == "The and the module."
