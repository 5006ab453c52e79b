"""Multiple choice and generated text: rows, scores, records."""

import json

import pytest

from lmlab.errors import UserError
from lmlab.tasks.choice import Choice
from lmlab.tasks.generation import Generation, LastWord
from lmlab.tasks.record import Record


def choice(**settings) -> Choice:
    words = {"name": "copa", "source": "copa", "fields": ["premise"], "choices": ["a", "b"], "metrics": ["accuracy"]}
    return Choice(**words | settings)


def parsed(task, *rows: dict) -> list[dict]:
    return [task.parse(row, str(number), f"row {number}") for number, row in enumerate(rows)]


@pytest.mark.parametrize("label", [1, "1", "right"])
def test_the_right_choice_is_an_index_or_a_text(label):
    (row,) = parsed(choice(), {"premise": "p", "a": "wrong", "b": "right", "label": label})
    assert row["inputs"] == {"premise": "p", "choices": ["wrong", "right"]}
    assert row["target"] == 1


@pytest.mark.parametrize("label", [2, -1, None, "rihgt", []])
def test_a_label_that_names_no_choice_is_told(label):
    with pytest.raises(UserError, match=r"row 0: .* is neither a choice nor the index of one"):
        parsed(choice(), {"premise": "p", "a": "wrong", "b": "right", "label": label})


def test_choices_may_be_one_list_and_several_may_be_right():
    task = choice(choices=["list"], metrics=["accuracy", "f1", "exact_match"])
    rows = parsed(task, {"premise": "p", "list": ["x y", "y", "z"], "label": ["y", "x y"]})
    assert (rows[0]["target"], task.accepted(rows[0])) == (0, ["x y", "y"])
    references = [task.reference(row) for row in rows]
    assert task.score([1], references) == {"accuracy": 1, "f1": 100, "exact_match": 100}
    assert task.score([2], references) == {"accuracy": 0, "f1": 0, "exact_match": 0}
    with pytest.raises(UserError, match="must give two or more texts"):
        parsed(task, {"premise": "p", "list": ["only"], "label": 0})


def minimal_pairs(number: int) -> tuple[Choice, list[dict]]:
    task = choice(fields=[], target=None, report_by="kind")
    return task, parsed(task, *({"a": f"good {i}", "b": f"bad {i}", "kind": "nv"[i % 2]} for i in range(number)))


def test_a_first_choice_that_is_right_is_not_always_shown_first():
    """Otherwise a model that scores all choices alike would be perfect, and a perfect one looked degenerate."""
    task, rows = minimal_pairs(400)
    assert all(row["inputs"]["choices"][row["target"]].startswith("good") for row in rows)
    references = [task.reference(row) for row in rows]
    always_first = task.score([0] * 400, references)
    assert 0.4 < always_first["accuracy"] < 0.6 and always_first["degenerate"] == 1
    perfect = task.score([row["target"] for row in rows], references)
    assert perfect == {"accuracy": 1, "accuracy_n": 1, "accuracy_v": 1}
    assert rows == minimal_pairs(400)[1]


def test_accuracy_is_also_given_by_group():
    task, rows = minimal_pairs(4)
    predictions = [row["target"] if row["group"] == "n" else 1 - row["target"] for row in rows]
    scores = task.score(predictions, [task.reference(row) for row in rows])
    assert (scores["accuracy"], scores["accuracy_n"], scores["accuracy_v"]) == (0.5, 1, 0)


def test_a_record_of_a_choice_can_be_read_and_scored_again():
    task, rows = minimal_pairs(10)
    records = json.loads(json.dumps([task.record(row, 0) for row in rows]))
    assert records[0]["prediction"] == rows[0]["inputs"]["choices"][0]
    assert (
        task.score_records(records)["accuracy"]
        == task.score([0] * 10, [task.reference(row) for row in rows])["accuracy"]
    )


def test_the_constant_choice_is_the_most_frequent_place_even_where_there_are_fewer_choices():
    task = choice(choices=["list"])
    train = parsed(task, *({"premise": "p", "list": ["x", "y", "z"], "label": 2} for _ in range(3)))
    rows = parsed(
        task, {"premise": "p", "list": ["x", "y"], "label": 1}, {"premise": "p", "list": ["x", "y"], "label": 0}
    )
    assert task.baseline(train, rows) == {"accuracy": 0.5}


def test_the_constant_place_counts_all_right_choices():
    task = choice(choices=["list"])
    train = parsed(task, *({"premise": "p", "list": ["x", "y", "z"], "label": label} for label in (["x", "z"], 1, 2)))
    assert task.constant_answers(train, train) == [2, 2, 2]


def test_entities_of_record_are_read_from_their_places():
    task = Record(
        name="r", source="r", fields=["passage", "query"], choices=["entities"], target="answers", metrics=["f1"],
        columns={"passage": "text", "entity_spans": "entities", "query": "qas[].query", "answers": "qas[].answers"},
    )  # fmt: skip
    spans = [{"start": 0, "end": 2}, {"start": 8, "end": 10}, {"start": 13, "end": 15}]
    raw = {"text": "Ann met Bob, Ann ran", "entities": spans}
    raw["qas"] = [{"query": "@placeholder ran", "answers": [{"start": 0, "end": 2, "text": "Ann"}]}]
    (row,) = [task.parse(flat, "0", "here") for flat in task.flat_rows(raw, "here")]
    assert row["inputs"]["choices"] == ["Ann", "Bob"] and row["target"] == 0


# ---- text


def translation(**settings) -> Generation:
    words = {"name": "mt", "source": "mt", "fields": ["en"], "target": "de", "metrics": ["bleu", "exact_match"]}
    return Generation(**words | settings)


def test_references_are_one_text_or_several():
    task = translation()
    one, two = parsed(task, {"en": "a", "de": "b"}, {"en": "a", "de": ["b", "c"]})
    assert (one["target"], two["target"]) == (["b"], ["b", "c"])
    for wrong in ([], [1], None):
        with pytest.raises(UserError, match="'de' is neither a text nor a list of texts"):
            parsed(task, {"en": "a", "de": wrong})
    assert task.baseline([one], [two]) == {}


def test_texts_are_scored_against_all_references_and_so_are_records():
    task = translation(metrics=["exact_match", "accuracy"])
    rows = parsed(task, {"en": "a", "de": ["The dog.", "x"]}, {"en": "a", "de": "cat"})
    references = [task.reference(row) for row in rows]
    scores = task.score(["dog", "cat  "], references)
    assert scores == {"exact_match": 100, "accuracy": 0.5}
    records = json.loads(json.dumps([task.record(*pair) for pair in zip(rows, ["dog", "cat  "], strict=True)]))
    assert task.score_records(records) == scores


def test_the_last_word_of_a_passage_is_asked_for():
    task = LastWord(name="l", source="l", fields=["text"], metrics=["accuracy"])
    (row,) = parsed(task, {"text": "He said\n“never  again” "})
    assert (row["inputs"], row["target"]) == ({"text": "He said\n“never"}, ["again”"])
    assert (task.perfect, task.score(["again”"], [row["target"]])) == (1.0, {"accuracy": 1.0})
    with pytest.raises(UserError, match="needs two words or more"):
        parsed(task, {"text": "alone "})
